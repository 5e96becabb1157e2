"""Token buckets: what a peer, token or facility may ask for, without a clock of their own."""

from __future__ import annotations

import pytest

from gateway.rates import Buckets, Seldom, peer_key


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    buckets = Buckets(2.0, burst_s=3.0)
    assert [buckets.take("a", 0.0) for _ in range(6)] == [0.0] * 6
    assert buckets.take("a", 0.0) == pytest.approx(0.5), "the seconds until there is one again"
    assert buckets.take("a", 0.5) == 0.0
    assert buckets.take("a", 0.5) > 0
    assert [buckets.take("a", 100.0) for _ in range(7)][:6] == [0.0] * 6, "it never holds more than its burst"
    assert buckets.take("a", 100.0) > 0


def test_each_key_has_a_bucket_of_its_own_and_asking_takes_nothing() -> None:
    buckets = Buckets(1.0, burst_s=1.0)
    assert (buckets.take("a", 0.0), buckets.wait_s("b", 0.0), buckets.take("b", 0.0)) == (0.0, 0.0, 0.0)
    assert (buckets.wait_s("a", 0.0), buckets.wait_s("a", 0.5)) == (1.0, 0.5)


def test_a_rate_of_nothing_is_no_limit() -> None:
    buckets = Buckets(0.0, burst_s=1.0)
    assert {buckets.take("a", 0.0) for _ in range(100)} == {0.0}


def test_strangers_cannot_fill_the_memory_and_who_is_held_stays_held() -> None:
    buckets = Buckets(1.0, burst_s=1.0, most_keys=10)
    assert buckets.take("held", 1000.0) == 0.0
    for number in range(5):
        buckets.take(str(number), 1000.0)
    assert buckets.take("held", 1000.0) > 0
    for number in range(1000):
        buckets.take(f"other {number}", 1000.0)
    assert len(buckets._left) <= 10


def test_what_happens_all_the_time_is_told_once_in_a_while_with_its_count() -> None:
    seldom = Seldom(10.0)
    assert [seldom.due("a", second) for second in (0.0, 1.0, 9.0, 10.0, 11.0, 30.0)] == [1, 0, 0, 3, 0, 2]
    assert seldom.due("b", 1.0) == 1


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_a_peer_is_its_address_and_of_ipv6_its_network(host: str, key: str) -> None:
    assert peer_key(host) == key

"""MLLP framing: the same blocks out of a stream however it is cut into packets (domain A.7)."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import FrameError, Next
from gateway.mllp import framing
from gateway.mllp.framing import BlockTooLargeError, Deframer, frame

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 1024 * 1024

# Content without FS and VT, which cannot be escaped in MLLP; CR and LF and any other byte may occur.
contents = st.binary(min_size=1, max_size=40).map(lambda b: re.sub(rb"[\x0b\x1c]", b"\r", b))
noise = st.binary(max_size=10).map(lambda b: b.replace(b"\x0b", b"\n"))
# Few different bytes, so that every rule is met often.
awkward = st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"a", b"MSH|"]), max_size=40).map(b"".join)


def deframer(max_bytes: int = 1000) -> Deframer:
    return Deframer(max_bytes=max_bytes)


def feed_all(machine: Deframer, packets: Iterable[bytes]) -> list[bytes]:
    return [block for packet in packets for block in machine.feed(packet)]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if b > a]


def counters(machine: Deframer) -> tuple[int, int, int, bool]:
    return machine.noise_bytes, machine.empty_blocks, machine.restarts, machine.partial


@given(st.lists(contents, max_size=8), st.lists(st.integers(min_value=0), max_size=12))
def test_any_split_of_a_stream_of_frames_gives_the_frames_in_order(blocks: list[bytes], places: list[int]) -> None:
    stream = b"".join(frame(block) for block in blocks)
    machine = deframer()
    assert feed_all(machine, cut(stream, places)) == blocks
    assert counters(machine) == (0, 0, 0, False)
    assert machine.waiting == 0


@given(st.lists(st.tuples(noise, contents), max_size=6), st.lists(st.integers(min_value=0), max_size=12))
def test_noise_between_frames_is_dropped_and_counted(parts: list[tuple[bytes, bytes]], places: list[int]) -> None:
    stream = b"".join(junk + frame(block) for junk, block in parts)
    machine = deframer()
    assert feed_all(machine, cut(stream, places)) == [block for _, block in parts]
    assert machine.noise_bytes == sum(len(junk) - junk.count(b"\r") - junk.count(b"\n") for junk, _ in parts)


@given(awkward, st.lists(st.integers(min_value=0), max_size=12))
def test_where_packets_end_never_changes_what_is_read(stream: bytes, places: list[int]) -> None:
    whole, pieces, single = deframer(), deframer(), deframer()
    expected = whole.feed(stream)
    assert feed_all(pieces, cut(stream, places)) == expected
    assert feed_all(single, (stream[i : i + 1] for i in range(len(stream)))) == expected
    assert counters(whole) == counters(pieces) == counters(single)
    assert whole.waiting == pieces.waiting == single.waiting


@given(contents, st.integers(min_value=1, max_value=40), st.lists(st.integers(min_value=0), max_size=12))
def test_a_block_is_refused_if_and_only_if_it_is_longer_than_the_cap(block: bytes, cap: int, places: list[int]) -> None:
    machine = deframer(cap)
    packets = cut(frame(block), places)
    if len(block) <= cap:
        assert feed_all(machine, packets) == [block]
    else:
        with pytest.raises(FrameError):
            feed_all(machine, packets)


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([b"\x0b", b"A", b"\x1c", b"\r"], [b"A"]),
        ([b"\x0bA\x1c", b"\r\x0bB\x1c\r"], [b"A", b"B"]),
        ([b"\x0bA\x1c", b"\x0bB\x1c\r"], [b"A", b"B"]),
        ([b"\x0bA\x1c\x0bB\x1c\x0bC\x1c\r"], [b"A", b"B", b"C"]),
        ([b"\x0bA\x1c\r\n\x0bB\x1c\r\n\r\n"], [b"A", b"B"]),
        ([b"\x0bMSH|A\rPID|1\r\x1c\r"], [b"MSH|A\rPID|1\r"]),
        ([b"\x0bMSH|A\rPID|1\x1c\r"], [b"MSH|A\rPID|1"]),
        ([b"\x0bMSH|A\nPID|1\n\x1c\r"], [b"MSH|A\nPID|1\n"]),
    ],
    ids=["bytewise", "FS, CR", "FS, VT", "no CR at all", "LF after CR", "final CR", "no final CR", "LF segments"],
)
def test_what_senders_do(packets: list[bytes], expected: list[bytes]) -> None:
    machine = deframer()
    assert feed_all(machine, packets) == expected
    assert machine.noise_bytes == 0


def test_fs_lf_before_a_vt_ends_the_block() -> None:
    machine = deframer()
    assert machine.feed(b"\x0bA\x1c\n\x0bB\x1c\n") == [b"A"]
    assert machine.awaiting_cr
    assert machine.feed(b"\x0bC\x1c\r") == [b"B", b"C"]
    assert machine.noise_bytes == 0


def test_fs_lf_at_the_end_is_a_whole_block_once_the_clock_says_so() -> None:
    machine = deframer()
    assert machine.feed(b"\x0bA\x1c") == []
    assert machine.feed(b"\n") == []
    assert machine.finish() == [b"A"]
    assert not machine.partial


def test_fs_before_anything_else_stays_content() -> None:
    machine = deframer()
    assert machine.feed(b"\x0bA\x1cB\x1c\nC\x1c\x1c\r") == [b"A\x1cB\x1c\nC\x1c"]


def test_vt_inside_a_frame_drops_what_came_before_and_begins_anew() -> None:
    machine = deframer()
    assert machine.feed(b"\x0bMSH|half") == []
    assert machine.feed(b"\x0bMSH|whole\x1c\r") == [b"MSH|whole"]
    assert machine.restarts == 1
    assert machine.noise_bytes == len(b"MSH|half")


def test_the_frame_given_up_counts_against_the_cap() -> None:
    with pytest.raises(BlockTooLargeError):
        deframer(4).feed(b"\x0b12345\x0b1\x1c\r")


def test_an_empty_block_is_ignored_and_counted() -> None:
    machine = deframer()
    assert machine.feed(b"\x0b\x1c\r\x0b\x1c\x0bA\x1c\r") == [b"A"]
    assert machine.empty_blocks == 2
    assert machine.feed(b"\x0b\x1c\r") == []
    assert machine.empty_blocks == 3


def test_a_begun_frame_shows_as_partial() -> None:
    machine = deframer()
    assert not machine.partial
    machine.feed(b"\x0b")
    assert (machine.partial, machine.waiting) == (True, 0)
    machine.feed(b"MSH|")
    assert (machine.partial, machine.waiting) == (True, 4)
    machine.feed(b"\x1c\r")
    assert (machine.partial, machine.waiting) == (False, 0)


def test_drop_forgets_the_frame_under_way() -> None:
    machine = deframer()
    machine.feed(b"\x0bMSH|")
    assert machine.drop() == 4
    assert machine.feed(frame(b"A")) == [b"A"]


def test_finish_ends_a_frame_whose_fs_came_without_cr() -> None:
    machine = deframer()
    machine.feed(b"\x0bA\x1c")
    assert machine.awaiting_cr
    assert machine.finish() == [b"A"]
    assert not machine.partial
    assert machine.feed(b"\r\x0bB\x1c\r") == [b"B"], "a CR that comes late is skipped"
    assert machine.noise_bytes == 0


def test_finish_leaves_an_unfinished_frame_alone() -> None:
    machine = deframer()
    machine.feed(b"\x0bA")
    assert machine.finish() == []
    assert machine.feed(b"B\x1c\r") == [b"AB"]


def test_the_cap_strikes_before_the_frame_ends() -> None:
    machine = deframer(10)
    machine.feed(b"\x0b0123456789")
    with pytest.raises(FrameError) as caught:
        machine.feed(b"x")
    assert caught.value.next is Next.REFUSE
    assert machine.waiting == 0, "what was kept is let go"


def test_a_frame_of_exactly_the_cap_passes_whatever_the_split() -> None:
    content = b"0123456789"
    assert deframer(10).feed(frame(content)) == [content]
    assert feed_all(deframer(10), [b"\x0b" + content, b"\x1c", b"\r"]) == [content]


def test_frames_whole_before_an_oversized_one_come_with_the_error() -> None:
    with pytest.raises(BlockTooLargeError) as caught:
        deframer(5).feed(frame(b"A") + frame(b"B") + b"\x0b123456")
    assert caught.value.complete == [b"A", b"B"]
    assert "123456" not in str(caught.value)


def test_a_never_ending_frame_keeps_no_more_than_the_cap_and_a_packet() -> None:
    machine = deframer(100_000)
    packet = b"x" * 65_536
    machine.feed(b"\x0b")
    machine.feed(packet)
    assert machine.waiting == len(packet)
    with pytest.raises(FrameError):
        machine.feed(packet)
    assert machine.waiting == 0


def test_noise_is_not_kept() -> None:
    machine = deframer()
    for _ in range(100):
        machine.feed(b"GET / HTTP/1.1 ")
        assert machine.waiting == 0
    assert machine.noise_bytes == 1500


class CountingSearch:
    """Stands in for the compiled pattern and adds up how many bytes it was asked to look at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.calls = 0
        self.looked_at = 0

    def search(self, source: bytes, position: int) -> re.Match[bytes] | None:
        self.calls += 1
        found = self.pattern.search(source, position)
        self.looked_at += (found.end() if found else len(source)) - position
        return found


@pytest.mark.parametrize(("size", "packet"), [(5 * MIB, 65_536), (20_000, 1)], ids=["64 KiB packets", "bytewise"])
def test_no_byte_of_a_large_frame_is_searched_twice(size: int, packet: int, monkeypatch: pytest.MonkeyPatch) -> None:
    search = CountingSearch(framing._END)
    monkeypatch.setattr(framing, "_END", search)
    content = b"OBX|1|ED|" + b"A" * (size - 9)
    stream = frame(content)
    packets = [stream[i : i + packet] for i in range(0, len(stream), packet)]
    assert feed_all(deframer(5 * MIB), packets) == [content]
    assert search.calls <= len(packets)
    assert search.looked_at <= len(stream) + len(packets)


def test_many_frames_in_one_packet_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    search = CountingSearch(framing._END)
    monkeypatch.setattr(framing, "_END", search)
    stream = frame(b"MSH|x") * 10_000
    assert len(deframer().feed(stream)) == 10_000
    assert search.looked_at <= len(stream)


def test_a_packet_that_is_one_frame_is_sliced_and_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    search = CountingSearch(framing._END)
    monkeypatch.setattr(framing, "_END", search)
    machine = deframer()
    assert machine.feed(frame(b"MSH|x")) == [b"MSH|x"]
    assert search.calls == 0

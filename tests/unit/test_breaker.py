"""One dead listener costs its own letters a pause, and nobody else anything."""

from __future__ import annotations

import pytest

from gateway.errors import DeliveryUnavailableError
from gateway.pipeline.breaker import (
    BURST,
    DOUBLE_S,
    FIRST_PAUSE_S,
    FIRST_RATE,
    LONGEST_PAUSE_S,
    MOST_SUSPECTS,
    SERVES_S,
    Breaker,
    NotTriedError,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_target_that_answers_is_always_tried() -> None:
    breaker = Breaker(Clock())
    breaker.check("a")
    breaker.answered("a")
    breaker.check("a")


def test_after_a_failure_its_letters_are_put_off_and_no_others() -> None:
    breaker = Breaker(Clock())
    breaker.failed("a")
    with pytest.raises(DeliveryUnavailableError):
        breaker.check("a")
    breaker.check("b")


def test_when_the_pause_is_over_one_tries_and_the_others_wait_for_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    clock.now += FIRST_PAUSE_S
    breaker.check("a")
    with pytest.raises(DeliveryUnavailableError):
        breaker.check("a")
    breaker.answered("a")
    breaker.check("a")


def test_the_pause_doubles_up_to_its_longest() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(20):
        breaker.failed("a")
    clock.now += LONGEST_PAUSE_S - 0.1
    with pytest.raises(DeliveryUnavailableError):
        breaker.check("a")
    clock.now += 0.2
    breaker.check("a")


def test_a_service_is_left_alone_only_after_failures_in_a_row() -> None:
    breaker = Breaker(Clock(), threshold=3)
    assert not breaker.failed("a")
    assert not breaker.failed("a")
    breaker.answered("a")  # one good answer between them
    assert not breaker.failed("a")
    assert not breaker.failed("a")
    assert breaker.room("a", 5) == 5
    assert breaker.failed("a")
    assert breaker.room("a", 5) == 0
    assert breaker.room("b", 5) == 5


def test_a_service_on_probation_takes_one_try_and_its_wish_is_followed() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a", after=30)
    clock.now += 29
    assert breaker.room("a", 5) == 0
    assert breaker.wait("a") == pytest.approx(1)
    clock.now += 1
    assert breaker.room("a", 5) == 1
    breaker.took("a", 1)
    assert breaker.room("a", 5) == 0


def test_only_a_second_failure_after_the_pause_is_an_outage() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    assert not breaker.outage("a")  # it may have been this one task's fault
    clock.now += FIRST_PAUSE_S
    breaker.failed("a")
    assert breaker.outage("a")
    breaker.answered("a")
    assert not breaker.outage("a")


def test_a_backlog_is_let_in_step_by_step_after_an_outage_and_then_freely() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    assert breaker.answered("a")
    begun = []
    for _ in range(8):
        room = breaker.room("a", 10_000)
        breaker.took("a", room)
        begun.append(room)
        clock.now += DOUBLE_S
    assert begun[0] == 1
    assert begun[1:3] == [BURST, BURST]
    assert begun[-1] == 10_000  # nothing is held back any more
    assert not breaker.answered("a")


def test_a_paced_listener_says_when_the_next_letter_may_go() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    breaker.answered("a")
    breaker.check("a")
    with pytest.raises(NotTriedError) as put_off:
        breaker.check("a")
    assert put_off.value.after == pytest.approx(1 / FIRST_RATE)
    clock.now += put_off.value.after
    breaker.check("a")


def test_a_failure_during_pacing_begins_the_pause_anew() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    breaker.answered("a")
    breaker.failed("a")
    assert breaker.room("a", 1) == 0
    breaker.answered("a")
    assert breaker.room("a", 100) == 1


def test_what_failed_waits_behind_all_others_until_somebody_is_served() -> None:
    breaker = Breaker(Clock())
    for item in (7, 8, 7):
        breaker.suspect("a", item)
    assert breaker.suspects("a") == [8, 7]
    assert breaker.suspects("b") == []
    breaker.served("a")
    assert breaker.suspects("a") == []


def test_suspects_are_remembered_up_to_a_cap() -> None:
    breaker = Breaker(Clock())
    for item in range(MOST_SUSPECTS + 10):
        breaker.suspect("a", item)
    assert len(breaker.suspects("a")) == MOST_SUSPECTS
    assert breaker.suspects("a")[0] == 10


def test_a_target_serves_for_a_while_after_it_served_somebody() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.answered("a")
    assert not breaker.serves("a"), "an answer may be a refusal"
    breaker.served("a")
    clock.now += SERVES_S
    assert breaker.serves("a")
    clock.now += 1
    assert not breaker.serves("a")


def test_a_target_has_moved_only_while_it_is_down() -> None:
    breaker = Breaker(Clock())
    assert not breaker.moved("a", now_moved=True)
    breaker.failed("a")
    assert breaker.moved("a", now_moved=True)
    breaker.answered("a")
    assert not breaker.moved("a")

"""One dead listener costs its own letters a pause, and nobody else anything."""

from __future__ import annotations

import pytest

from gateway.errors import DeliveryUnavailableError
from gateway.pipeline.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


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

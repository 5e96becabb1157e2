"""Retry is a decision: which error comes again, when at the latest, and which one a person sees."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    BirthBusyError,
    ConfigError,
    DeliveryRefusedError,
    DeliveryUnavailableError,
    IllegalMoveError,
    KeyMissingError,
    ProcotError,
    RegistryProtocolError,
    RegistryRefusedError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
    SignatureError,
    StoreUnavailableError,
)
from gateway.pipeline.retry import (
    LONGEST_WISH_S,
    MOST_ATTEMPTS,
    UNKNOWN_ERROR_ATTEMPTS,
    Again,
    Fault,
    GiveUp,
    Pace,
    advice,
    code_of,
    decide,
    fault_of,
)

RNG = random.Random(7)
PASSING = [
    (RegistryUnavailableError("x"), 1, 300),
    (RegistryUnknownOutcomeError("x"), 0.5, 60),
    (DeliveryUnavailableError("x"), 1, 300),
    (StoreUnavailableError("x"), 0.5, 15),
    (BirthBusyError(), 0.2, 5),
    (KeyMissingError("x"), 5, 60),
]


def after(error: BaseException, attempt: int, before: str | None = None) -> float:
    decision = decide(error, attempt=attempt, rng=RNG, before=before)
    assert isinstance(decision, Again)
    return decision.after_s


@pytest.mark.parametrize(("error", "first", "highest"), PASSING, ids=lambda v: type(v).__name__)
def test_what_passes_is_tried_again_with_a_growing_capped_delay_of_full_jitter(
    error: ProcotError, first: float, highest: float
) -> None:
    for attempt in (1, 2, 3, 10, MOST_ATTEMPTS - 1):
        ceiling = min(highest, first * 2 ** min(attempt - 1, 60))
        delays = [after(error, attempt) for _ in range(200)]
        assert all(0 < delay <= ceiling for delay in delays)
        assert min(delays) < ceiling / 4 < ceiling * 3 / 4 < max(delays)


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("x"), BirthBusyError(), KeyMissingError("x")], ids=lambda e: type(e).__name__
)
def test_what_stops_everybody_at_once_is_never_a_single_births_fault(error: ProcotError) -> None:
    assert after(error, 10_000) > 0


@pytest.mark.parametrize(
    "error",
    [RegistryUnavailableError("x"), RegistryUnavailableError("x", after=5), RegistryUnknownOutcomeError("x"),
     DeliveryUnavailableError("x"), ValueError("x")],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_attempts_are_bounded_whatever_came_between(error: Exception) -> None:
    assert after(error, MOST_ATTEMPTS - 1, before="ANOTHER") > 0
    assert decide(error, attempt=MOST_ATTEMPTS, rng=RNG, before="ANOTHER") == GiveUp(code_of(error))


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RegistryRefusedError("x", reason="R"), Fault.THEIRS),
        (RegistryProtocolError("x"), Fault.THEIRS),
        (DeliveryRefusedError("x"), Fault.THEIRS),
        (RegistryUnavailableError("x"), Fault.UNAVAILABLE),
        (DeliveryUnavailableError("x"), Fault.UNAVAILABLE),
        (RegistryUnknownOutcomeError("x"), Fault.UNKNOWN),
        (StoreUnavailableError("x"), Fault.OURS),
        (KeyMissingError("x"), Fault.OURS),
        (IllegalMoveError("x"), Fault.OURS),
        (ZeroDivisionError(), Fault.OURS),
    ],
)
def test_every_error_says_whose_turn_it_is_and_what_to_do(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault
    assert "retry" in advice(code_of(error)) or fault in (Fault.THEIRS, Fault.OURS)
    assert len(advice(code_of(error))) > 20


def test_the_jitter_spreads_a_herd() -> None:
    delays = {round(after(StoreUnavailableError("x"), 20), 4) for _ in range(100)}
    assert len(delays) > 90
    assert max(delays) - min(delays) > 10


@given(st.floats(0.01, 1000), st.floats(0.01, 10_000), st.integers(1, 2**40), st.integers())
def test_a_delay_lies_between_half_its_ceiling_and_its_ceiling(
    first: float, highest: float, attempt: int, seed: int
) -> None:
    delay = Pace(first, highest).delay(attempt, random.Random(seed))
    ceiling = min(highest, first * 2.0 ** min(attempt - 1, 20))
    assert ceiling / 2 <= delay <= ceiling


def test_the_registrys_wish_is_followed_within_reason() -> None:
    assert 120 <= after(RegistryUnavailableError("x", after=120), 1) <= 121
    assert 0 <= after(RegistryUnavailableError("x", after=0), 9) <= 1
    assert 0 <= after(RegistryUnavailableError("x", after=-5), 1) <= 1
    assert after(RegistryUnavailableError("x", after=1e12), 1) <= LONGEST_WISH_S + 1


@pytest.mark.parametrize(
    "error",
    [
        RegistryProtocolError("x"),
        RegistryRefusedError("x", reason="R"),
        DeliveryRefusedError("x"),
        IllegalMoveError("x"),
        SignatureError("x"),
        ConfigError("x"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_does_not_pass_is_for_a_person_at_once(error: ProcotError) -> None:
    assert decide(error, attempt=1, rng=RNG) == GiveUp(error.code)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), OSError("x"), TimeoutError()])
def test_what_nobody_knows_is_tried_a_few_times(error: Exception) -> None:
    for attempt in range(1, UNKNOWN_ERROR_ATTEMPTS):
        assert after(error, attempt) <= 2 ** (attempt - 1)
    assert decide(error, attempt=UNKNOWN_ERROR_ATTEMPTS, rng=RNG) == GiveUp(type(error).__name__)
    assert decide(error, attempt=99, rng=RNG, before=type(error).__name__) == GiveUp(type(error).__name__)


def test_a_task_that_waited_long_for_good_reasons_is_not_given_up_for_one_odd_error() -> None:
    assert after(ValueError("x"), 20, before="IN_PROCESS") <= 60
    assert after(ValueError("x"), 20, before="REGISTRY_UNAVAILABLE") <= 60


def test_an_error_of_ours_to_be_retried_without_a_pace_is_an_unknown_one() -> None:
    class OddError(RegistryUnknownOutcomeError):
        code = "ODD"

    assert after(OddError("x"), 1) <= 1
    assert decide(OddError("x"), attempt=5, rng=RNG) == GiveUp("ODD")


def test_codes_name_errors_without_their_text() -> None:
    assert code_of(KeyMissingError("secret")) == "KEY_MISSING"
    assert code_of(ValueError("secret")) == "ValueError"

"""The life of a birth is a table."""

from __future__ import annotations

import itertools

import pytest

from gateway.contract.lifecycle import (
    CERTIFIED,
    FINAL,
    JUDGED,
    MOVES,
    WAITS,
    State,
    check_move,
    diagram,
    judged_state,
)
from gateway.errors import IllegalMoveError

S = State


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(State, State)))
def test_a_move_that_is_not_in_the_table_is_refused(source: State, target: State) -> None:
    if target in MOVES[source]:
        check_move(source, target)
    else:
        with pytest.raises(IllegalMoveError, match=source.value):
            check_move(source, target)


def test_nothing_waits_unseen() -> None:
    """Every state that is not an end has an owner and a time-out."""
    assert set(WAITS) == set(State) - FINAL


def test_a_certificate_is_not_taken_back_without_a_person() -> None:
    for state in (S.ISSUED, S.DELIVERED):
        assert not MOVES[state] & (JUDGED | {S.CANCELLED, S.SUBMITTED})


def test_what_may_have_left_the_house_is_not_judged_anew() -> None:
    """But for a change in which nothing is open, which amends the case (F 18), and what the registry asks for."""
    assert MOVES[S.SUBMITTED] & JUDGED == {S.HOLD_DATA}
    assert MOVES[S.IN_PROCESS] & JUDGED == {S.HOLD_DATA, S.READY}


def test_every_state_can_be_reached() -> None:
    seen, waiting = {S.RECEIVED}, [S.RECEIVED]
    while waiting:
        new = MOVES[waiting.pop()] - seen
        seen |= new
        waiting += new
    assert seen == set(State)


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        (set(), S.READY),
        ({S.AWAIT_FORM}, S.AWAIT_FORM),
        ({S.HOLD_NAME, S.AWAIT_FORM}, S.HOLD_NAME),
        ({S.HOLD_NAME, S.REVIEW}, S.REVIEW),
        ({S.STILLBIRTH, S.REVIEW}, S.REVIEW),
        ({S.STILLBIRTH, S.HOLD_NAME}, S.STILLBIRTH),
        (set(JUDGED), S.HOLD_DATA),
    ],
)
def test_the_strongest_hold_wins(holds: set[State], expected: State) -> None:
    assert judged_state(holds) is expected


def test_the_diagram_shows_every_move() -> None:
    text = diagram()
    assert text.startswith("stateDiagram-v2")
    assert all(f"{a.value} --> {b.value}" in text for a, targets in MOVES.items() for b in targets if a is not b)
    assert all(f"{state.value} --> [*]" in text for state in FINAL)
    assert not CERTIFIED & JUDGED

"""The life of a birth, as one table. A move that is not in it is refused and changes nothing.

Every wait has an owner and a time-out, so that nothing can be stuck unseen. The diagram in docs/lifecycle.md is
generated from this file.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum

from gateway.errors import IllegalMoveError


class State(Enum):
    """Where a birth is. Values are what API, logs and officers see."""

    RECEIVED = "RECEIVED"
    HOLD_DATA = "HOLD_DATA"
    HOLD_NAME = "HOLD_NAME"
    AWAIT_FORM = "AWAIT_FORM"
    REVIEW = "REVIEW"
    STILLBIRTH = "LAHIR_MATI"
    READY = "READY"
    SEALED = "SEALED"
    AWAIT_OFFICE = "AWAIT_OFFICE"
    SUBMITTED = "SUBMITTED"
    IN_PROCESS = "IN_PROCESS"
    ISSUED = "ISSUED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"
    REFUSED = "REFUSED"
    AMENDMENT_REVIEW = "AMENDMENT_REVIEW"
    REVOCATION_REVIEW = "REVOCATION_REVIEW"
    MERGED = "MERGED"
    DEAD_LETTER = "DEAD_LETTER"


_S = State
# Before anything left the house: a new revision may put the birth into any of these.
JUDGED = frozenset({_S.HOLD_DATA, _S.HOLD_NAME, _S.AWAIT_FORM, _S.REVIEW, _S.STILLBIRTH, _S.READY})
# It may have left the house; a change now needs the registry.
IN_FLIGHT = frozenset({_S.SUBMITTED, _S.IN_PROCESS})
# A certificate exists; a change now is a legal act.
CERTIFIED = frozenset({_S.ISSUED, _S.DELIVERED, _S.AMENDMENT_REVIEW, _S.REVOCATION_REVIEW})

# The registry's word about bytes it has: it goes on with them (or they are withdrawn there), or it issued what
# meanwhile was changed here.
_HEARD = frozenset({_S.IN_PROCESS, _S.ISSUED, _S.AMENDMENT_REVIEW})

MOVES: dict[State, frozenset[State]] = {
    _S.RECEIVED: JUDGED | {_S.CANCELLED, _S.MERGED},
    **{state: JUDGED | _HEARD | {_S.CANCELLED, _S.MERGED} for state in JUDGED - {_S.READY, _S.HOLD_DATA}},
    # An office that takes its records itself takes its stillbirths too, for another document (F 73).
    _S.STILLBIRTH: JUDGED | _HEARD | {_S.AWAIT_OFFICE, _S.CANCELLED, _S.MERGED},
    _S.HOLD_DATA: JUDGED | _HEARD | {_S.REFUSED, _S.CANCELLED, _S.MERGED},
    _S.READY: JUDGED | _HEARD | {_S.SEALED, _S.AWAIT_OFFICE, _S.CANCELLED, _S.MERGED, _S.DEAD_LETTER},
    _S.SEALED: JUDGED | _HEARD | {_S.SUBMITTED, _S.CANCELLED, _S.MERGED, _S.DEAD_LETTER},
    _S.AWAIT_OFFICE: JUDGED | _HEARD | {_S.CANCELLED, _S.MERGED},
    _S.SUBMITTED: frozenset({_S.IN_PROCESS, _S.ISSUED, _S.REFUSED, _S.CANCELLED, _S.HOLD_DATA, _S.DEAD_LETTER}),
    # READY: a change that the office takes while it works on the case goes the same way, and amends it (F 18).
    _S.IN_PROCESS: frozenset({_S.ISSUED, _S.REFUSED, _S.CANCELLED, _S.HOLD_DATA, _S.READY, _S.DEAD_LETTER}),
    _S.ISSUED: frozenset({_S.DELIVERED, _S.AMENDMENT_REVIEW, _S.REVOCATION_REVIEW, _S.DEAD_LETTER}),
    _S.DELIVERED: frozenset({_S.AMENDMENT_REVIEW, _S.REVOCATION_REVIEW}),
    _S.CANCELLED: JUDGED | {_S.REVOCATION_REVIEW},
    _S.REFUSED: JUDGED | _HEARD | {_S.CANCELLED},
    _S.AMENDMENT_REVIEW: frozenset({_S.ISSUED, _S.DELIVERED, _S.REVOCATION_REVIEW}),
    _S.REVOCATION_REVIEW: frozenset({_S.ISSUED, _S.DELIVERED, _S.AMENDMENT_REVIEW, _S.CANCELLED}),
    _S.MERGED: frozenset(),
    _S.DEAD_LETTER: JUDGED | CERTIFIED | {_S.SEALED, _S.SUBMITTED, _S.IN_PROCESS, _S.REFUSED, _S.CANCELLED},
}


@dataclass(frozen=True, slots=True)
class Wait:
    """Who has the next move, and after how long somebody must look."""

    owner: str
    after: dt.timedelta


_DAY = dt.timedelta(days=1)
WAITS: dict[State, Wait] = {
    _S.RECEIVED: Wait("gateway", dt.timedelta(minutes=5)),
    _S.HOLD_DATA: Wait("hospital", _DAY),
    _S.HOLD_NAME: Wait("parents", 7 * _DAY),
    _S.AWAIT_FORM: Wait("parents", 7 * _DAY),
    _S.REVIEW: Wait("officer", _DAY),
    _S.STILLBIRTH: Wait("officer", _DAY),
    _S.READY: Wait("gateway", dt.timedelta(minutes=15)),
    _S.SEALED: Wait("gateway", dt.timedelta(minutes=15)),
    _S.AWAIT_OFFICE: Wait("registry", _DAY),
    _S.SUBMITTED: Wait("gateway", dt.timedelta(hours=1)),
    _S.IN_PROCESS: Wait("registry", 2 * _DAY),
    _S.ISSUED: Wait("hospital", dt.timedelta(hours=4)),
    _S.REFUSED: Wait("officer", _DAY),
    _S.AMENDMENT_REVIEW: Wait("officer", _DAY),
    _S.REVOCATION_REVIEW: Wait("officer", _DAY),
    _S.DEAD_LETTER: Wait("operator", dt.timedelta(hours=1)),
}
FINAL = frozenset({_S.DELIVERED, _S.CANCELLED, _S.MERGED})


def check_move(current: State, target: State) -> None:
    """Raise IllegalMoveError unless the table has this move. Staying is not a move."""
    if target not in MOVES[current]:
        raise IllegalMoveError(f"a birth in {current.value} cannot become {target.value}")


# What wins when findings ask for different waits: first what the hospital must mend, then what a person decides.
_PRECEDENCE = (_S.HOLD_DATA, _S.REVIEW, _S.STILLBIRTH, _S.HOLD_NAME, _S.AWAIT_FORM)


def judged_state(holds: set[State]) -> State:
    """Return the state that a set of demanded holds leads to: the first by precedence, else READY."""
    return next((state for state in _PRECEDENCE if state in holds), State.READY)


def diagram() -> str:
    """Return the life cycle as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> RECEIVED"]
    for source in State:  # not MOVES: it is built from sets, whose order changes with each process
        lines += [f"    {source.value} --> {target.value}" for target in State if target in MOVES[source] - {source}]
    lines += [f"    {state.value} --> [*]" for state in sorted(FINAL, key=lambda s: s.value)]
    return "\n".join(lines) + "\n"

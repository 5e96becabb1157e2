"""The events that a birth's whole journey leaves: one for every move, and no person in any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from tests.simulators.facilities import CLOCK, sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulators.journey import Journey


async def test_a_journey_of_one_birth_leaves_an_event_for_every_move(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    moves = [(e["from_state"], e["to_state"]) for e in await way.events() if e["from_state"] != e["to_state"]]
    assert moves == [
        (None, "RECEIVED"),
        ("RECEIVED", "READY"),
        ("READY", "SEALED"),
        ("SEALED", "SUBMITTED"),
        ("SUBMITTED", "IN_PROCESS"),
        ("IN_PROCESS", "ISSUED"),
        ("ISSUED", "DELIVERED"),
    ]
    assert all(e["actor"] and e["at"] for e in await way.events())
    assert CLOCK.tzinfo is not None


def _texts(events: Sequence[object]) -> str:
    return " ".join(map(str, events))


async def test_events_hold_no_person(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    text = _texts([dict(e) for e in await way.events()])
    for person in ("AHMAD", "SITI", "BUDI", "3510165203959001", "3510160407929001"):
        assert person not in text
    assert b"AHMAD" in sample("01")

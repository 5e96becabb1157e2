"""Judge a birth's record as it stands and move the birth to where that leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import State, judged_state
from gateway.hl7.location import Location
from gateway.pipeline.draft import places
from gateway.store import births, queue
from gateway.store.births import Keys
from gateway.store.queue import Kind
from gateway.verify.content import deadline, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.contract.finding import Finding
    from gateway.contract.ports import Draft
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context, Rules
    from gateway.store.births import Birth, Why
    from gateway.store.database import Connection

MESSAGE = "message"  # marks a stored finding that only a message can show, and only a later one takes back


async def rejudge(
    context: Rules, connection: Connection, birth: Birth, why: Why, *, told: Draft | None = None
) -> State:
    """Find what is wrong now, store it, move the birth; READY gets its next task.

    `told` is the message that changed the record. What an adapter found in an earlier message stays until a later one
    speaks of the same field: the record alone does not show it.
    """
    more = told.findings if told else ()
    judgement = judge(
        birth.record,
        places(birth.record),
        facility=context.facility(birth.facility),
        now=context.clock(),
        require_form=context.config.registry.require_form,
        adapter_findings=tuple(more),
    )
    stored = [f.as_dict() | ({"by": MESSAGE} if f in more else {}) for f in judgement.findings]
    codes = {f["code"] for f in stored}
    stored += [f for f in birth.findings if f.get("by") == MESSAGE and f["code"] not in codes and not _retold(f, told)]
    await births.set_findings(connection, birth, stored)
    holds = {State(f["state"]) for f in stored if f["state"] and f["code"] not in birth.accepted}
    state = judged_state(holds)
    await go(context, connection, birth, state, why)
    return state


def _retold(finding: Mapping[str, Any], told: Draft | None) -> bool:
    """Tell whether a message speaks of the field an earlier finding is about."""
    if told is None or not finding["place"]:
        return False
    place = Location.parse(finding["place"])
    return any((p.segment, p.field) == (place.segment, place.field) for p in told.places.values())


def state_of(findings: Sequence[Finding], accepted: frozenset[str]) -> State:
    """Return where findings lead, leaving out those a person took responsibility for."""
    return judged_state({f.entry.hold for f in findings if f.entry.hold and f.code not in accepted})


async def go(context: Rules, connection: Connection, birth: Birth, state: State, why: Why) -> None:
    """Move a birth, drop the work a newer decision made pointless, and add the next task."""
    await queue.drop(connection, birth.id, Kind.CHECK, Kind.SEAL, Kind.SUBMIT)
    if await births.move(connection, birth, state, why):
        context.metrics.moves.labels(state.value).inc()
    else:
        await births.note(connection, birth, why)
    if state is State.READY and not birth.held:
        await queue.add(connection, Kind.CHECK, birth_id=birth.id, priority=birth.priority)


def keys_of(context: Context, record: BirthRecord) -> Keys:
    """Return what a birth is found by: the mother, under a keyed hash, and the time of birth."""
    mother = record.mother
    nik = mother.nik.reveal() if mother and mother.nik else ""
    return Keys(
        mother_key=context.keyring.index(nik) if nik else None,
        born_at=record.child.moment_of_birth,
        deadline=deadline(record, context.clock()),
    )

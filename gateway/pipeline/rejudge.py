"""Judge a birth's record as it stands and move the birth to where that leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State, judged_state
from gateway.pipeline.draft import places
from gateway.store import births, queue
from gateway.store.births import Keys
from gateway.store.queue import Kind
from gateway.verify.content import deadline, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contract.finding import Finding
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context, Rules
    from gateway.store.births import Birth, Why
    from gateway.store.database import Connection


async def rejudge(
    context: Rules, connection: Connection, birth: Birth, why: Why, *, more: Sequence[Finding] = ()
) -> State:
    """Find what is wrong now, store it, move the birth; READY gets its next task. `more` are an adapter's findings."""
    judgement = judge(
        birth.record,
        places(birth.record),
        facility=context.facility(birth.facility),
        now=context.clock(),
        require_form=context.config.registry.require_form,
        adapter_findings=tuple(more),
    )
    await births.set_findings(connection, birth, [f.as_dict() for f in judgement.findings])
    state = state_of(judgement.findings, birth.accepted)
    await go(context, connection, birth, state, why)
    return state


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

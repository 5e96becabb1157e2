"""Babies of one delivery go to the registry together, where that costs them little (domain F 1, 3).

A complete one waits, before it is signed, for a sibling nobody told of yet, and longer for one that is held; then it
goes alone, and a sibling that never came is told of. What leaves within a day, or nears the end of its term, waits for
nobody. The wait is the task's own: whoever completes the set ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.record import PluralityKind
from gateway.errors import LeaseLostError
from gateway.pipeline.clocks import LEAVES_SOON
from gateway.pipeline.rejudge import keep_findings
from gateway.store import births, queue
from gateway.store import siblings as store
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.queue import Task
    from gateway.store.siblings import Siblings

_log = structlog.get_logger()
# How the task says what it waited for (tasks.last_error).
UNTOLD, HELD = "TWIN_AWAITED", "TWIN_HELD"


async def awaited(context: Context, connection: Connection, birth: Birth, task: Task) -> bool:
    """Put the task off where a READY birth is to wait for a sibling; else let the siblings that wait for it go on."""
    plurality = birth.record.child.plurality
    if birth.twin_group is None or plurality in (None, PluralityKind.SINGLE) or birth.submitted:
        return False
    others = await store.of(connection, birth)
    untold = len(others.ids) + 1 < plurality
    code, seconds = _wait(context, others, untold=untold)
    if seconds and birth.priority > LEAVES_SOON and not _waited(task, code):
        if not await queue.postpone(connection, task, delay_s=seconds, code=code):
            raise LeaseLostError(f"task {task.id} ({task.kind.value}) was taken over by another worker")
        await store.be_patient(connection, birth, seconds)
        why = Why("gateway", "seal", "waits for its twin", detail={"code": code, "seconds": seconds})
        await births.note(connection, birth, why)
        return True
    if untold:
        await _alone(context, connection, birth, len(others.ids) + 1)
    if not code:
        for other in others.ids:
            await queue.hurry(connection, other, Kind.SEAL)
    return False


def _wait(context: Context, others: Siblings, *, untold: bool) -> tuple[str, float]:
    registry = context.config.registry
    if untold:
        return UNTOLD, registry.twin_wait_s
    return (HELD, registry.twin_held_s) if others.held else ("", 0.0)


def _waited(task: Task, code: str) -> bool:
    """Tell whether the task's wait is over: one that began for an untold sibling goes on where that one is held."""
    return task.last_error == code or (task.last_error == HELD and code == UNTOLD)


async def _alone(context: Context, connection: Connection, birth: Birth, known: int) -> None:
    """Tell that a sibling never came; nothing waits for it any more."""
    finding = Finding("TWIN_MISSING", parameters={"count": str(known)})
    kept = [f for f in birth.findings if f["code"] != finding.code]
    await keep_findings(context, connection, birth, [*kept, finding.as_dict()])
    await births.note(connection, birth, Why("gateway", "seal", "goes alone: its twin was never told of"))
    _log.warning("birth.twin_missing", birth_id=str(birth.id), facility=birth.facility, state=State.READY.value)

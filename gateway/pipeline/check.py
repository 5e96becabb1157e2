"""Before sealing: the registry's opinion on the parents (domain C.2). It is asked outside of any transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.pipeline.rejudge import go, state_of
from gateway.store import births, queue
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from gateway.contract.finding import Finding
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.queue import Task


async def run(context: Context, task: Task) -> None:
    """Ask about both parents; seal next, or hold the birth with what the registry found."""
    assert task.birth_id is not None  # noqa: S101 - a check task is made with its birth
    async with context.database.connection() as connection:
        asked = await births.read(connection, task.birth_id)
    findings: list[Finding] = []
    if asked.state is State.READY:
        findings = [f for c in await context.registry.check_parents(asked.record) for f in c.findings]
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.finish(connection, task)
        if birth.state is State.READY and birth.revision == asked.revision:
            await _go_on(context, connection, birth, findings)


async def _go_on(context: Context, connection: Connection, birth: Birth, findings: list[Finding]) -> None:
    if findings:
        known = [f for f in birth.findings if f["code"] not in {new.code for new in findings}]
        await births.set_findings(connection, birth, known + [f.as_dict() for f in findings])
    state = state_of(findings, birth.accepted)
    if state is State.READY:
        await births.note(connection, birth, Why("registry", "check", "parents agree with the population register"))
        await queue.add(connection, Kind.SEAL, birth_id=birth.id, priority=birth.priority)
    else:
        codes = {"codes": sorted(f.code for f in findings)}
        await go(context, connection, birth, state, Why("registry", "check", "parents' data differ", detail=codes))

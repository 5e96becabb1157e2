"""Before sealing: the registry's opinion on the parents (domain C.2). It is asked outside of any transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import State
from gateway.contract.revision import build_record, changed_paths, leaves_of, proposed
from gateway.pipeline.pause import unless_refused
from gateway.pipeline.rejudge import go, keep_findings, keys_of, state_of
from gateway.store import births, queue, revisions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.contract.finding import Finding
    from gateway.contract.masked import Personal
    from gateway.contract.ports import ParentCheck
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.queue import Task

REGISTER = "registry"  # provenance of what the population register told


async def run(context: Context, task: Task) -> None:
    """Ask about both parents; seal next, or hold the birth with what the registry found."""
    assert task.birth_id is not None  # noqa: S101 - a check task is made with its birth
    async with context.database.connection() as connection:
        asked = await births.read(connection, task.birth_id)
    checks: tuple[ParentCheck, ...] = ()
    if asked.state is State.READY:
        async with unless_refused(context):
            checks = await context.registry.check_parents(asked.record)
    findings = [f for c in checks for f in c.findings]
    learned = {path: value for c in checks for path, value in c.learned.items()}
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.finish(connection, task)
        if birth.state is State.READY and birth.revision == asked.revision:
            if learned:
                await _learn(context, connection, birth, learned)
            await _go_on(context, connection, birth, findings, _verdicts(asked.revision, checks))


async def _learn(context: Context, connection: Connection, birth: Birth, learned: Mapping[str, Personal]) -> None:
    """Fill in what the record did not hold and the register told; nothing that was told by anybody is changed."""
    leaves = leaves_of(birth.record)
    new = {path: value for path, value in learned.items() if path not in leaves}
    if not new:
        return
    sources = {**birth.record.provenance, **dict.fromkeys(new, REGISTER)}
    record = proposed(build_record({**leaves, **new}).model_copy(update={"variant": birth.record.variant}))
    record = record.model_copy(update={"provenance": sources})
    changed = changed_paths(birth.record, record)
    why = Why("registry", "check", "looked up in the population register", detail={"changed": list(changed)})
    await revisions.revise(connection, birth, record, keys=keys_of(context, record), changed=changed, why=why)
    await births.note(connection, birth, why)


def _verdicts(revision: int, checks: Sequence[ParentCheck]) -> dict[str, Any]:
    """Return what the event keeps for the officer: by field whether it agrees, and the score; no values."""
    if not checks:
        return {}
    told = [
        {
            "parent": check.parent,
            "elements": {e.field: {"agrees": e.agrees, "score": e.score} for e in check.elements},
            "codes": sorted(f.code for f in check.findings),
        }
        for check in checks
    ]
    return {"revision": revision, "checks": told}


async def _go_on(
    context: Context, connection: Connection, birth: Birth, findings: list[Finding], told: dict[str, Any]
) -> None:
    if findings:
        known = [f for f in birth.findings if f["code"] not in {new.code for new in findings}]
        await keep_findings(context, connection, birth, known + [f.as_dict() for f in findings])
    state = state_of(findings, birth.accepted)
    if state is State.READY:
        await births.note(
            connection, birth, Why("registry", "check", "parents agree with the population register", detail=told)
        )
        await queue.add(connection, Kind.SEAL, birth_id=birth.id, priority=birth.priority)
    else:
        codes = {"codes": sorted(f.code for f in findings), **told}
        await go(context, connection, birth, state, Why("registry", "check", "parents' data differ", detail=codes))

"""Step 6: the record becomes the registry's document, its canonical bytes are signed, both are kept (T2).

What was signed is what is stored and what is submitted; nothing is serialised again after this step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import TwinGroup
from gateway.evidence.canonical import canonical, sha256_hex
from gateway.evidence.envelope import sign_detached
from gateway.store import births, queue, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind
from gateway.store.submissions import Seal

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.queue import Task


async def run(context: Context, task: Task) -> None:
    """Seal the present revision of a READY birth."""
    assert task.birth_id is not None  # noqa: S101 - a seal task is made with its birth
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.finish(connection, task)
        if birth.state is not State.READY:
            return
        seal = make_seal(context, birth)
        await submissions.keep_seal(connection, birth.id, birth.revision, seal)
        why = Why("gateway", "seal", "signed", detail={"sha256": seal.sha256, "key_id": seal.key_id})
        if await births.move(connection, birth, State.SEALED, why):
            context.metrics.moves.labels(State.SEALED.value).inc()
        await queue.add(connection, Kind.SUBMIT, birth_id=birth.id, priority=birth.priority)


def make_seal(context: Context, birth: Birth) -> Seal:
    """Return canonical bytes and signature of a birth's present revision. Raises KeyMissingError."""
    child = birth.record.child
    twins = None
    if birth.twin_group is not None and child.plurality is not None:
        twins = TwinGroup(str(birth.twin_group), int(child.plurality))
    document = context.registry.document(birth.record, birth_id=str(birth.id), revision=birth.revision, twins=twins)
    payload = canonical(document)
    key = context.keyring.signing
    return Seal(payload, sha256_hex(payload), sign_detached(payload, key), key.key_id)

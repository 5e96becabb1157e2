"""Step 6: the record becomes the registry's document, its canonical bytes are signed, both are kept (T2).

What was signed is what is stored and what is submitted; nothing is serialised again after this step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gateway.contract.lifecycle import State
from gateway.contract.ports import TwinGroup
from gateway.evidence.canonical import canonical, sha256_hex
from gateway.evidence.envelope import sign_detached
from gateway.pipeline import siblings
from gateway.pipeline.rejudge import doubt, rejudge
from gateway.pipeline.routing import Route, route
from gateway.store import births, likenesses, queue, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind
from gateway.store.submissions import Seal

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.pipeline.routing import Way
    from gateway.store.births import Birth
    from gateway.store.queue import Task


async def run(context: Context, task: Task) -> None:
    """Seal the present revision of a READY birth."""
    assert task.birth_id is not None  # noqa: S101 - a seal task is made with its birth
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        if birth.state is State.READY and await siblings.awaited(context, connection, birth, task):
            return
        await queue.finish(connection, task)
        if birth.state is not State.READY:
            return
        if context.schema_level >= likenesses.SINCE and await doubt(connection, birth):
            # An older gateway beside this one judged it: it knows nothing of doubles, and nobody decided.
            await rejudge(context, connection, birth, Why("gateway", "seal", "resembles another birth"))
            return
        found = _route(context, birth)
        if found.way != (birth.way or "push"):
            await births.set_way(connection, birth, way=found.way, office=found.office)
        seal = make_seal(context, birth)
        await submissions.keep_seal(connection, birth.id, birth.revision, seal)
        pushed = found.way == "push"
        reason = "signed" if pushed else f"signed; waits for office {found.office} ({found.way}, by {found.reason})"
        why = Why("gateway", "seal", reason, detail={"sha256": seal.sha256, "key_id": seal.key_id})
        state = State.SEALED if pushed else State.AWAIT_OFFICE
        if await births.move(connection, birth, state, why):
            context.metrics.moves.labels(state.value).inc()
        if pushed:
            await queue.add(connection, Kind.SUBMIT, birth_id=birth.id, priority=birth.priority)


def _route(context: Context, birth: Birth) -> Route:
    """Return where a record goes. What left the house one way goes on that way: nothing is registered twice."""
    if birth.submitted:
        return Route(birth.office, cast("Way", birth.way or "push"), "left that way before")
    return route(birth.record, context.config)


def make_seal(context: Context, birth: Birth) -> Seal:
    """Return canonical bytes and signature of a birth's present revision. Raises KeyMissingError.

    What is submitted is the registry's own document; what an office takes is the record itself.
    """
    child = birth.record.child
    twins = None
    if birth.twin_group is not None and child.plurality is not None:
        twins = TwinGroup(str(birth.twin_group), int(child.plurality))
    if not birth.way:
        document = context.registry.document(birth.record, birth_id=str(birth.id), revision=birth.revision, twins=twins)
    else:
        document = {
            "version": "1",
            "birth_id": str(birth.id),
            "revision": birth.revision,
            "office": birth.office,
            "twins": {"group": twins.group_id, "size": twins.size} if twins else None,
            "record": birth.record.model_dump(mode="json", exclude_none=True),
        }
    payload = canonical(document)
    key = context.keyring.signing
    return Seal(payload, sha256_hex(payload), sign_detached(payload, key), key.key_id)

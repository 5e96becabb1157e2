"""A review after issue that nobody has to decide any more: what brought it on was taken back (domain F 19, 23, 24).

A changed notice ends where record and akta agree again, a withdrawal where the hospital tells the birth anew. What an
officer, the registry or a merge laid open is never closed here; nor is anything while an act is under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import ActKind, Effect
from gateway.contract.registered import as_registered, differing
from gateway.contract.revision import changed_paths, legal_changes
from gateway.pipeline.rejudge import go
from gateway.store import acts, events, outbound, revisions, submissions
from gateway.store.births import Why

if TYPE_CHECKING:
    from gateway.pipeline.change import Told
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_CAUSES = {State.AMENDMENT_REVIEW: events.CHANGED, State.REVOCATION_REVIEW: events.WITHDRAWN}


async def close_review(context: Context, connection: Connection, birth: Birth, told: Told) -> None:
    """Close the review of a certified birth, where a message that was just applied took its cause back."""
    cause = _CAUSES.get(birth.state)
    if cause is None or told.late or (cause == events.WITHDRAWN and told.draft.effect is not Effect.OPEN):
        return
    if not await _is_hospitals(connection, birth, cause):
        return
    differs = bool(await unlike_akta(connection, birth))
    if cause == events.CHANGED and differs:
        return
    said = "told again: the withdrawal is taken back" if cause == events.WITHDRAWN else "record and akta agree again"
    detail = {"cause": events.CHANGED} if differs else {}
    why = Why(told.why.actor, told.why.step, f"{told.why.reason}: {said}", told.why.message_id, detail)
    await go(context, connection, birth, State.AMENDMENT_REVIEW if differs else await _issued(connection, birth), why)


async def _is_hospitals(connection: Connection, birth: Birth, cause: str) -> bool:
    """Whether the hospital's word alone keeps the review open."""
    if not await events.is_only_cause(connection, birth, cause):
        return False
    if await acts.undecided(connection, birth.id) is not None or await submissions.revoked(connection, birth.id):
        return False
    return await acts.last(connection, birth.id, ActKind.REVOKE) is None


async def unlike_akta(connection: Connection, birth: Birth) -> tuple[str, ...]:
    """Return the paths in which a certified birth's record differs from what its akta says. Raises LookupError."""
    certificate = await submissions.certificate(connection, birth.id)
    if certificate is None:
        raise LookupError("there is no certificate")
    asked = await revisions.record_of(connection, birth.id, await submissions.certified_revision(connection, birth.id))
    issued = as_registered(asked, certificate.registered, differing(asked, certificate.registered))
    return legal_changes(changed_paths(issued, birth.record))


async def _issued(connection: Connection, birth: Birth) -> State:
    told = await outbound.told(connection, birth.id) and not await outbound.waiting(connection, birth.id)
    return State.DELIVERED if told else State.ISSUED

"""Legal acts a person decides: correction and revocation of an akta, withdrawal before issue, documents asked for.

Nothing here talks to the registry: an act is kept in the transaction of the decision, and a worker sends it
(pipeline.act). A preview says what would be asked, in names of fields, never in values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import CERTIFIED, State
from gateway.contract.ports import ActKind
from gateway.errors import IllegalMoveError
from gateway.pipeline.act import ask_to_withdraw, can_withdraw
from gateway.pipeline.likeness import begun_again
from gateway.pipeline.rejudge import go, would_be
from gateway.pipeline.settle import asked_for_data, end_revoked
from gateway.pipeline.taken_back import unlike_akta
from gateway.store import acts, attachments, births, outbound, queue, submissions
from gateway.store.queue import Kind

if TYPE_CHECKING:
    import uuid

    from gateway.pipeline.operate import Desk
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_REVIEWS = (State.AMENDMENT_REVIEW, State.REVOCATION_REVIEW)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be asked of the registry: `paths` are the fields that change, `kind` None where nothing is asked."""

    kind: ActKind | None
    state: State
    number: str
    paths: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    note: str = ""


async def plan_amendment(connection: Connection, desk: Desk, birth: Birth) -> Plan:
    """Return what `amend` would ask. Raises IllegalMoveError saying what to do instead."""
    await _nothing_open(connection, birth)
    if asked_for_data(birth):
        found = [d for d in await attachments.of_birth(connection, birth.id) if d["here"] and d["sha256"]]
        if not found:
            raise IllegalMoveError("the registry asks for documents or data and none are here; send them by the form")
        return Plan(ActKind.DOCUMENTS, birth.state, "", digests=tuple(sorted({d["sha256"] for d in found})))
    certificate = await submissions.certificate(connection, birth.id)
    if certificate is None or birth.state is not State.AMENDMENT_REVIEW:
        raise IllegalMoveError(
            f"the birth is {birth.state.value}: an akta is corrected in AMENDMENT_REVIEW, which a change by A08 after "
            "issue leads to; before issue the hospital's A08 goes to the registry by itself"
        )
    paths = await unlike_akta(connection, birth)
    if not paths:
        raise IllegalMoveError("the akta says what the hospital says: nothing to correct; close the review by --keep")
    if would_be(desk, birth) is not State.READY:
        raise IllegalMoveError(
            "the changed record is not ready for the registry (births show); the hospital mends it by A08"
        )
    return Plan(ActKind.CORRECT, birth.state, certificate.number, paths)


async def plan_withdrawal(connection: Connection, birth: Birth) -> Plan:
    """Return what `withdraw` would ask. Raises IllegalMoveError saying what to do instead."""
    await _nothing_open(connection, birth)
    certificate = await submissions.certificate(connection, birth.id)
    if certificate is None:
        if can_withdraw(birth):
            return Plan(ActKind.WITHDRAW, birth.state, "")
        raise IllegalMoveError(
            f"the birth is {birth.state.value} and the registry has no open case of it; "
            "what did not leave the house is withdrawn by procot births cancel"
        )
    if birth.state not in CERTIFIED:
        raise IllegalMoveError(f"the birth is {birth.state.value}: there is nothing to revoke")
    if await submissions.revoked(connection, birth.id):
        return Plan(None, birth.state, certificate.number, note="the registry has revoked it: the hospital is told")
    return Plan(ActKind.REVOKE, birth.state, certificate.number)


async def _nothing_open(connection: Connection, birth: Birth) -> None:
    if birth.way:
        raise IllegalMoveError(
            f"office {birth.office} has this record by {birth.way}, not over an interface: it decides by its outcome"
        )
    if (act := await acts.undecided(connection, birth.id)) is not None:
        raise IllegalMoveError(f"the registry still decides on the {act.kind.value} that {act.actor} asked for")


async def amend(desk: Desk, birth_id: uuid.UUID, *, basis: str, order: str = "") -> Plan:
    """Ask the registry to correct an akta, or send it the documents it asked for. Raises LookupError, IllegalMoveError.

    `basis` is `clerical` or `court`; a court's order is named by its number.
    """
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        plan = await plan_amendment(connection, desk, birth)
        detail: dict[str, object] = {"sha256": list(plan.digests)}
        if plan.kind is ActKind.CORRECT:
            detail = {"basis": basis, "order": order, "paths": list(plan.paths)}
        await _keep(connection, desk, birth, plan, detail)
        return plan


async def withdraw(desk: Desk, birth_id: uuid.UUID) -> Plan:
    """Ask the registry to withdraw an open case, or to revoke an akta. Raises LookupError, IllegalMoveError.

    Where it has revoked the akta already, the birth ends and the hospital is told (MDM^T11).
    """

    async def work(connection: Connection) -> Plan:
        birth = await births.lock(connection, birth_id)
        plan = await plan_withdrawal(connection, birth)
        if plan.kind is ActKind.WITHDRAW:
            await ask_to_withdraw(connection, birth, desk.why("withdraw"))
            return plan
        if plan.kind is None:
            await end_revoked(desk, connection, birth, desk.why("withdraw"))
            return plan
        if birth.state is not State.REVOCATION_REVIEW:
            await go(desk, connection, birth, State.REVOCATION_REVIEW, desk.why("withdraw"))
        await _keep(connection, desk, birth, plan, {})
        return plan

    return await begun_again(desk.database, work)


async def _keep(connection: Connection, desk: Desk, birth: Birth, plan: Plan, detail: dict[str, object]) -> None:
    assert plan.kind is not None  # noqa: S101 - the callers' plans ask for something
    revision = birth.submitted if plan.kind is not ActKind.CORRECT else birth.revision
    await acts.ask(
        connection, birth.id, plan.kind, revision=revision, actor=desk.actor, reason=desk.reason, detail=detail
    )
    told = {"act": plan.kind.value, "changed": list(plan.paths)}
    await births.note(connection, birth, desk.why("amend" if plan.kind is not ActKind.REVOKE else "withdraw", told))
    await queue.add(connection, Kind.ACT, birth_id=birth.id, priority=birth.priority)


async def keep_issued(desk: Desk, birth_id: uuid.UUID) -> State:
    """Leave the akta as it is and close the review. Raises LookupError, IllegalMoveError."""
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        await _nothing_open(connection, birth)
        if birth.state not in _REVIEWS:
            raise IllegalMoveError(f"the birth is {birth.state.value}: --keep closes a review after issue")
        if await submissions.revoked(connection, birth.id):
            raise IllegalMoveError("the registry has revoked this akta: it cannot be kept; procot births withdraw")
        told = await outbound.told(connection, birth.id) and not await outbound.waiting(connection, birth.id)
        await go(desk, connection, birth, State.DELIVERED if told else State.ISSUED, desk.why("keep"))
        return birth.state

"""What is asked of the registry about a case it has: withdrawal, correction, revocation, documents (domain C.4).

An act is made in the transaction of the decision behind it, signed once, and sent under one key until the registry has
decided. That a try leaves is written down first: after a crash or a lost answer the registry is asked whether it has
the act before the same bytes go again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import (
    ActKind,
    ActOutcome,
    ActStatus,
    Ask,
    Outcome,
    RegistryStatus,
    Scan,
    SignedAct,
)
from gateway.errors import RegistryRefusedError, RegistryUnavailableError
from gateway.evidence.canonical import canonical
from gateway.evidence.envelope import sign_detached
from gateway.pipeline.retry import Pace
from gateway.pipeline.settle import settle
from gateway.store import acts, attachments, births, queue, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.acts import Act
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.queue import Task

_WITHDRAWABLE = frozenset(
    {State.IN_PROCESS, State.HOLD_DATA, State.HOLD_NAME, State.AWAIT_FORM, State.REVIEW, State.READY, State.SEALED}
)


async def run(context: Context, task: Task) -> None:
    """Send a birth's act, or ask what became of it, until the registry has decided."""
    assert task.birth_id is not None  # noqa: S101 - an act task is made with its birth
    prepared = await _prepare(context, task)
    if prepared is None:
        return
    act, signed = prepared
    outcome = await _outcome(context, act, signed)
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.holds(connection, task)
        await settle(context, connection, birth, outcome, actor="registry", step="act")
        if await acts.undecided(connection, birth.id) is None:
            await queue.finish(connection, task)
            return
        settings = context.config.registry
        delay = Pace(settings.poll_first_s, settings.poll_max_s).delay(task.attempts + 1, context.rng)
        await queue.postpone(connection, task, delay_s=delay, code="IN_PROCESS")


async def _prepare(context: Context, task: Task) -> tuple[Act, SignedAct] | None:
    """Sign the act once and write down that it leaves; None where nothing is to be done any more.

    The act returned tells whether an earlier try may have reached the registry (`sent_at`).
    """
    assert task.birth_id is not None  # noqa: S101 - as above
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        act = await acts.undecided(connection, birth.id)
        if act is None:
            await queue.finish(connection, task)
            return None
        await queue.holds(connection, task)
        scans = await _scans(connection, birth, act)
        if act.payload is None:
            payload = canonical(context.registry.act_document(await _ask(connection, birth, act, scans), birth.record))
            signature = sign_detached(payload, context.keyring.signing)
            await acts.sign(connection, act, payload, signature)
            act = replace(act, payload=payload, signature=signature)
        await acts.leaves(connection, act)
    signed = SignedAct(
        kind=act.kind,
        birth_id=str(act.birth_id),
        revision=act.revision,
        reference=birth.reference,
        key=act.key,
        payload=act.payload or b"",
        signature=act.signature or "",
        scans=scans,
    )
    return act, signed


async def _ask(connection: Connection, birth: Birth, act: Act, scans: tuple[Scan, ...]) -> Ask:
    certificate = await submissions.certificate(connection, birth.id)
    return Ask(
        kind=act.kind,
        birth_id=str(birth.id),
        revision=act.revision,
        number=certificate.number if certificate else "",
        reason=act.reason,
        basis=act.detail.get("basis", ""),
        order=act.detail.get("order", ""),
        paths=tuple(act.detail.get("paths", ())),
        scans=scans,
    )


async def _scans(connection: Connection, birth: Birth, act: Act) -> tuple[Scan, ...]:
    if act.kind is not ActKind.DOCUMENTS:
        return ()
    return await attachments.scans(connection, birth.id, act.detail["sha256"])


async def _outcome(context: Context, act: Act, signed: SignedAct) -> Outcome:
    """Ask where a try may have arrived; send where the registry has it not."""
    if act.sent_at is not None:
        told = await context.registry.ask(
            birth_id=signed.birth_id, revision=signed.revision, reference=signed.reference
        )
        if act.status == "accepted" or any(known.key == act.key for known in told.acts):
            return told
    try:
        return await context.registry.act(signed)
    except RegistryRefusedError as refusal:
        no = ActOutcome(act.key, ActStatus.REFUSED, refusal.reason)
        return Outcome(signed.birth_id, signed.revision, RegistryStatus.UNKNOWN, acts=(no,))
    except RegistryUnavailableError:
        if act.sent_at is None:  # it did not get there: nothing is to be asked about
            async with context.database.connection() as connection:
                await acts.not_sent(connection, act)
        raise


async def withdraw(context: Context, connection: Connection, birth: Birth, why: Why) -> bool:
    """Ask the registry to withdraw its open case of a birth (domain F 23); False where that must wait.

    What was about to be sent of it is not sent any more; the birth waits for the office's word.
    """
    act = await acts.undecided(connection, birth.id)
    if act is not None:
        return act.kind is ActKind.WITHDRAW
    if not can_withdraw(birth) or ActKind.WITHDRAW not in context.registry.acts:
        return False
    await ask_to_withdraw(connection, birth, why)
    return True


def can_withdraw(birth: Birth) -> bool:
    """Tell whether the registry has an open case of a birth that it could be asked to withdraw."""
    return bool(birth.at_registry and birth.reference and not birth.way) and birth.state in _WITHDRAWABLE


async def ask_to_withdraw(connection: Connection, birth: Birth, why: Why) -> None:
    """Make the act of withdrawal, and let the birth wait for the office."""
    await acts.ask(
        connection, birth.id, ActKind.WITHDRAW, revision=birth.at_registry, actor=why.actor, reason=why.reason
    )
    await queue.drop(connection, birth.id, Kind.CHECK, Kind.SEAL, Kind.SUBMIT)
    asked = Why(why.actor, why.step, f"{why.reason}: withdrawal asked of the registry", why.message_id)
    if not await births.move(connection, birth, State.IN_PROCESS, asked):
        await births.note(connection, birth, asked)
    await queue.add(connection, Kind.ACT, birth_id=birth.id, priority=birth.priority)

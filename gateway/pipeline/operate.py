"""What a person may do to a birth: hold it, let it go on, try again, cancel. Each is an event with an actor."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import FINAL, IN_FLIGHT, State
from gateway.errors import IllegalMoveError
from gateway.observe.metrics import Metrics
from gateway.pipeline.context import known
from gateway.pipeline.likeness import begun_again
from gateway.pipeline.pack import Pack
from gateway.pipeline.rejudge import LIKENESS, go, rejudge
from gateway.pipeline.routing import office_name
from gateway.pipeline.settle import asked_for_data
from gateway.store import attachments, births, events, outbound, queue, revisions, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from gateway.config import Config
    from gateway.contract.facility import FacilityProfile
    from gateway.store.births import Birth
    from gateway.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a person works: the store, the rules, who it is and why. It satisfies pipeline.context.Rules."""

    database: Database
    config: Config
    actor: str
    reason: str
    metrics: Metrics = field(default_factory=Metrics)
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    def facility(self, code: str) -> FacilityProfile:
        """Return a facility's profile. Raises LookupError."""
        return known({facility.code: facility for facility in self.config.facility}, code)

    def why(self, step: str, detail: dict[str, Any] | None = None) -> Why:
        """Return the words of the event row."""
        return Why(self.actor, step, self.reason, detail=detail or {})


# What a person may take responsibility for. A name or data that are missing cannot be waved through.
_CHECKED_AGAIN = (State.HOLD_DATA, State.REVIEW, State.REFUSED)
_RELEASABLE = (State.REVIEW, State.AWAIT_FORM)
# The digits of some real NIK tell the other sex: the office may find them right (domain F 36).
_MAY_BE_RIGHT = frozenset({"MOTHER_NIK_SEX_MISMATCH", "FATHER_NIK_SEX_MISMATCH"})


async def hold(desk: Desk, birth_id: uuid.UUID) -> State:
    """Stop a birth before its next step. What is under way ends first. Raises LookupError, IllegalMoveError."""
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        if birth.state in FINAL:
            raise IllegalMoveError(f"the birth is {birth.state.value}: there is no next step to hold")
        if birth.state in IN_FLIGHT:
            raise IllegalMoveError(
                f"the registry has this birth ({birth.state.value}); it can be held when it answered"
            )
        await births.set_held(connection, birth, held=True)
        await queue.drop(connection, birth.id, Kind.CHECK, Kind.SEAL, Kind.SUBMIT, Kind.COLLECT)
        await births.note(connection, birth, desk.why("hold"))
        return birth.state


async def release(desk: Desk, birth_id: uuid.UUID) -> State:
    """Let a held birth go on, or take responsibility for what REVIEW or AWAIT_FORM waits for, or for an odd NIK.

    A stillbirth that is registered goes to the office, for its letter.

    Raises LookupError, and IllegalMoveError where nothing can be released, saying what is missing.
    """
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        if birth.held:
            await births.set_held(connection, birth, held=False)
            await births.note(connection, birth, desk.why("release"))
            await _next_task(connection, birth)
        elif birth.state is State.REVIEW and any(f.get("by") == LIKENESS for f in birth.findings):
            raise IllegalMoveError(
                "the birth resembles another one: procot births pairs shows both sides, then procot births merge or "
                "procot births split decides"
            )
        elif (codes := _taken_on(birth)) is not None:
            await births.set_accepted(connection, birth, birth.accepted | codes)
            why = desk.why("release", {"accepted": sorted(codes)})
            await rejudge(desk, connection, birth, why)
        else:
            raise IllegalMoveError(_what_instead(birth))
        return birth.state


def _taken_on(birth: Birth) -> frozenset[str] | None:
    """Return what a person answers for by releasing a birth, None where nobody can."""
    codes = frozenset(f["code"] for f in birth.findings if f["state"] == birth.state.value)
    odd = birth.state is State.HOLD_DATA and bool(codes) and codes - birth.accepted <= _MAY_BE_RIGHT
    # A stillbirth is registered by letter from 28 weeks on; an earlier fetal death is not (domain F 73, 74).
    registered = birth.state is State.STILLBIRTH and "STILLBIRTH_LT_28W" not in codes
    return codes if odd or registered or birth.state in _RELEASABLE else None


async def retry(desk: Desk, birth_id: uuid.UUID) -> State:
    """Try the step again at which a birth stopped or waits. Raises LookupError, IllegalMoveError."""
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        if birth.held:
            raise IllegalMoveError("the birth is held; release it first")
        why = desk.why("retry")
        if birth.state in _CHECKED_AGAIN and not asked_for_data(birth):
            await _judge_anew(desk, connection, birth)
            return birth.state
        if birth.state is State.DEAD_LETTER:
            await births.move(connection, birth, await _back_to(connection, birth), why)
        else:
            await births.note(connection, birth, why)
        if not await _next_task(connection, birth):
            raise IllegalMoveError(_what_instead(birth))
        return birth.state


async def _judge_anew(desk: Desk, connection: Connection, birth: Birth) -> None:
    """Ask the registry again about what it held or refused: it may have mended its own data (domain F 34).

    A refused application goes again as a new revision: the registry answers an old key as it did before.
    """
    before = birth.state
    if before is State.REFUSED:
        keys = await births.keys_as_stored(connection, birth)
        await revisions.revise(connection, birth, birth.record, keys=keys, changed=(), why=desk.why("retry"))
    if await rejudge(desk, connection, birth, desk.why("retry")) is before:
        raise IllegalMoveError(_what_instead(birth))


async def cancel(desk: Desk, birth_id: uuid.UUID) -> State:
    """Withdraw a birth that did not leave the house. Raises LookupError, IllegalMoveError."""

    async def work(connection: Connection) -> State:
        birth = await births.lock(connection, birth_id)
        if birth.submitted and birth.state is not State.REFUSED:
            raise IllegalMoveError(
                "the registry may have this birth; ask the office to withdraw or revoke it (procot births withdraw)"
            )
        await go(desk, connection, birth, State.CANCELLED, desk.why("cancel"))
        return birth.state

    return await begun_again(desk.database, work)


async def _back_to(connection: Connection, birth: Birth) -> State:
    """Return where a DEAD_LETTER goes on: where it was, unless a certificate is there, or its seal is not."""
    if await submissions.certificate(connection, birth.id) is not None:
        return State.ISSUED
    before = await events.state_before(connection, birth, State.DEAD_LETTER)
    return State.READY if before is State.SEALED else before  # the record may have changed since it was sealed


async def _next_task(connection: Connection, birth: Birth) -> bool:
    """Add (or make due) the task a birth's state waits for; False where it waits for a person."""
    kinds = {
        State.READY: Kind.CHECK,
        State.SEALED: Kind.SUBMIT,
        State.SUBMITTED: Kind.SUBMIT,
        State.IN_PROCESS: Kind.POLL,
    }
    kind = Kind.POLL if asked_for_data(birth) else kinds.get(birth.state)
    if birth.way and kind in (Kind.SUBMIT, Kind.POLL):
        return False  # an office has it; its lease ends by itself
    if birth.state is State.ISSUED:
        await _deliver_again(connection, birth)
        return True
    if kind is None:
        return False
    if kind is Kind.CHECK and await queue.hurry(connection, birth.id, Kind.SEAL):
        return True  # it was checked and waits for its twin
    await queue.add(connection, kind, birth_id=birth.id, priority=birth.priority)
    await queue.hurry(connection, birth.id, kind)
    return True


async def resume(connection: Connection, birth: Birth) -> bool:
    """Give a birth the task its state waits for; False where it waits for a person."""
    return await _next_task(connection, birth)


async def _deliver_again(connection: Connection, birth: Birth) -> None:
    waiting = await outbound.waiting(connection, birth.id)
    certificate = await submissions.certificate(connection, birth.id)
    if certificate is not None and not certificate.document:
        await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)
        await queue.hurry(connection, birth.id, Kind.COLLECT)
    for number in waiting:
        await queue.add(connection, Kind.DELIVER, birth_id=birth.id, outbound_id=number, priority=birth.priority)
    await queue.hurry(connection, birth.id, Kind.DELIVER)


def _what_instead(birth: Birth) -> str:
    wanted = ", ".join(sorted(f["code"] for f in birth.findings if f["state"])) or "nothing of yours"
    return (
        f"the birth is {birth.state.value} and waits for {wanted}; "
        "missing names and data come by A08/A31 from the hospital, decisions after issue by the office"
    )


async def hand_over(desk: Desk, birth_id: uuid.UUID, *, outage: bool = False) -> Pack:
    """Give a birth's record to the family for an office that is not connected, and return the pack (domain F 61).

    From then on the record has left the house, like one that was submitted. Asked for again, the same pack comes.
    `outage`: also one that was to be submitted to a registry that is away, and did not reach it (domain F 95).
    Raises LookupError, and IllegalMoveError where the birth goes another way.
    """
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        turned = outage and await _turn_to_paper(desk, connection, birth)
        if birth.way != "handover" or birth.state not in (State.AWAIT_OFFICE, State.IN_PROCESS):
            raise IllegalMoveError(
                f"the birth is {birth.state.value}; a pack is for one that is AWAIT_OFFICE for an office without "
                "[[office]] block, this one "
                + (f"goes to office {birth.office} by {birth.way}" if birth.way else "is submitted to the registry")
            )
        if birth.state is State.AWAIT_OFFICE:
            await submissions.begin_attempt(connection, birth.id, birth.revision)
            birth.submitted = birth.revision
            await births.move(connection, birth, State.IN_PROCESS, desk.why("handover", {"office": birth.office}))
            desk.metrics.moves.labels(State.IN_PROCESS.value).inc()
        elif not turned:
            await births.note(connection, birth, desk.why("handover", {"office": birth.office, "again": True}))
        sealed = await submissions.sealed(connection, birth.id, birth.submitted)
        keys = await births.keys_as_stored(connection, birth)
        return Pack(
            birth_id=str(birth.id),
            revision=birth.submitted,
            office=birth.office,
            office_name=office_name(birth.office, desk.config),
            deadline=keys.deadline,
            record=await revisions.record_of(connection, birth.id, birth.submitted),
            documents=await attachments.of_birth(connection, birth.id),
            payload=sealed.payload,
            signature=sealed.signature,
            made_at=desk.clock(),
        )


async def _turn_to_paper(desk: Desk, connection: Connection, birth: Birth) -> bool:
    """Take a signed birth off the way to a registry that is away, for good: it goes one way only (domain F 95)."""
    if birth.way:
        return False
    waits = birth.state in (State.SEALED, State.SUBMITTED) and not birth.at_registry
    if not waits or await submissions.must_ask(connection, birth.id, birth.revision):
        raise IllegalMoveError(
            f"the birth is {birth.state.value}, and the registry has it or may have it; a pack during an outage is for "
            "one that was signed and did not reach it"
        )
    await queue.drop(connection, birth.id, Kind.SUBMIT)
    await births.set_way(connection, birth, way="handover", office=birth.office)
    await submissions.begin_attempt(connection, birth.id, birth.revision)
    birth.submitted = birth.revision
    why = desk.why("handover", {"office": birth.office, "outage": True})
    await births.move(connection, birth, State.IN_PROCESS, why)
    desk.metrics.moves.labels(State.IN_PROCESS.value).inc()
    return True


async def restrict(desk: Desk, birth_id: uuid.UUID, why: str) -> State:
    """Let fewer people see a birth (vip, adoption, violence, foundling, other), or "": all again (domain F 83-85)."""
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        await births.restrict(connection, birth, why)
        await births.note(connection, birth, desk.why("restrict", {"restricted": why or None}))
        return birth.state

"""Step 5: whose birth is it? Kept messages of one baby, in order, become a birth, a new revision, or an event.

All messages of a baby that wait, under any of its record numbers, are applied in one transaction under one lock, oldest
first, so that two workers never apply them crosswise. What would change a birth while the registry has it waits until
the registry has answered; results and documents wait for a birth that nobody reported yet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import PATIENT, ActKind, Effect
from gateway.contract.revision import apply_draft, may_open
from gateway.pipeline import act, change, family, identity, late, likeness, reuse, visit
from gateway.pipeline.change import Told, because, is_certified, registry_has_it, review, twin_group
from gateway.pipeline.family import Family
from gateway.pipeline.likeness import patiently
from gateway.pipeline.rejudge import go, keys_of, rejudge
from gateway.pipeline.reread import read_kept
from gateway.pipeline.taken_back import close_review
from gateway.store import acts, attachments, births, events, likenesses, messages, queue
from gateway.store.births import Why
from gateway.verify.likeness import Verdict

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.messages import Kept
    from gateway.store.queue import Task

_TOLD_WHOLE = frozenset({Effect.OPEN, Effect.AMEND, Effect.OBSERVE})  # with nothing new they are repetitions
_OLDER = "older than what is known: kept, not applied"
URGENT, USUAL = 0, 5  # parents are about to leave (domain A.1, A03)
_LOOK_AGAIN_S = 30.0


async def run(context: Context, task: Task) -> None:
    """Assign every waiting message of the task's baby."""
    numbers: frozenset[str] = frozenset()

    async def attempt(mothers: frozenset[bytes]) -> None:
        nonlocal numbers
        while more := await _try(context, task, numbers, mothers):
            numbers = more

    await patiently(attempt, context.rng)


async def _try(context: Context, task: Task, numbers: frozenset[str], mothers: frozenset[bytes]) -> frozenset[str]:
    """Do it under the locks of these numbers; where more are needed, change nothing and return them all.

    Raises BirthBusyError where other mothers are needed (pipeline.likeness).
    """
    assert task.message_id is not None  # noqa: S101 - an assign task is made with its message
    async with context.database.transaction() as connection:
        if mothers:
            await likenesses.lock_mothers(connection, mothers)
        facility, medical_record = await messages.baby_of(connection, task.message_id)
        locked = await family.lock(connection, facility, numbers | {medical_record})
        if not isinstance(locked, Family):
            return locked
        await queue.holds(connection, task)
        if await _assign(context, connection, locked):
            await queue.finish(connection, task)
        else:
            await queue.postpone(connection, task, delay_s=_LOOK_AGAIN_S, code="REGISTRY_HAS_IT")
    return frozenset()


async def _assign(context: Context, connection: Connection, baby: Family) -> bool:
    """Apply what waits, oldest first; False at the first message that must wait for the registry."""
    patient: list[Kept] = []
    for kept in await messages.unassigned(connection, baby.facility, *baby.numbers):
        if Effect(kept.effect) in PATIENT and baby.birth(kept.medical_record) is None:
            patient.append(kept)
        elif not await _take(context, connection, baby, kept):
            return False
    for kept in patient:  # their notice may just have come
        if baby.birth(kept.medical_record) is not None and not await _take(context, connection, baby, kept):
            return False
    return True


async def _take(context: Context, connection: Connection, baby: Family, kept: Kept) -> bool:
    """Apply one message and write down whose it is; False where it must wait for the registry."""
    draft, stay = await read_kept(context, connection, kept)
    told = Told(kept, draft)
    before = baby.revisions
    if told.draft.prior:
        done, birth = await identity.join(context, connection, baby, told)
        if birth is not None and birth.revision != before.get(birth.id) and context.schema_level >= likenesses.SINCE:
            keys = keys_of(context, birth.record)
            await likeness.look_at_united(context, connection, birth, keys, told.why)
    elif told.draft.linked:
        done, birth = await identity.link_newborns(context, connection, baby, told)
    else:
        number = baby.number(kept.medical_record)
        done, birth = await _apply(context, connection, baby.births.get(number), told, number=number)
        if birth is not None:
            baby.births[number] = birth
            await visit.note(context, connection, birth, kept, stay)
    if done:
        verdict = _verdict(birth, before, told) if birth and context.schema_level >= likenesses.SINCE else None
        await messages.assigned(connection, kept.id, birth.id if birth else None, verdict=verdict)
    if len(baby.births) > 1:  # one may have changed by what was told of the other
        await baby.read_again(connection)
    return done


def _verdict(birth: Birth, before: Mapping[uuid.UUID, int], told: Told) -> str:
    """Return what a message was to its birth; `before` are the revisions there were.

    Where it showed something about another birth, that is stored instead (store.messages). The explanation stands in
    the events: of both births (step likeness), or of this message.
    """
    if birth.id not in before:
        return Verdict.NEW.value
    again = told.draft.record is not None and before[birth.id] == birth.revision
    return "replay" if again and told.draft.effect in _TOLD_WHOLE else "amendment"


async def _apply(
    context: Context, connection: Connection, birth: Birth | None, told: Told, *, number: str
) -> tuple[bool, Birth | None]:
    """Apply one message to the birth under `number`; False where it must wait for the registry."""
    told = Told(told.kept, identity.addressed(told.draft, number))
    if birth is not None:
        told = replace(told, certified=await is_certified(connection, birth))
        if await _is_about_another(context, connection, birth, told, number=number):
            return True, None
        if birth.medical_record != number:  # it was withdrawn, and stepped aside
            birth = None
    if birth is not None:
        return await _tell(context, connection, birth, told), birth
    return True, await _open(context, connection, told) if _opens(context, told) else None


async def _is_about_another(context: Context, connection: Connection, birth: Birth, told: Told, *, number: str) -> bool:
    """Note a message that is about another baby than the one under `number`, or only about a number it had before."""
    if told.draft.effect is Effect.CANCEL and told.kept.medical_record != number:
        await births.note(connection, birth, because(told.why, "a number it had before: noted, nothing else"))
        return True
    another = reuse.found(context, birth, told)
    if another is None:
        return False
    if reuse.frees_number(context, birth, told):
        await reuse.step_aside(connection, birth, told)
        return False
    await reuse.refuse(context, connection, birth, told, another)
    return True


async def _tell(context: Context, connection: Connection, birth: Birth, told: Told) -> bool:
    """Apply one message to its birth; False where it must wait for the registry."""
    draft = told.draft
    match draft.effect:
        case Effect.CANCEL:
            return await _cancel(context, connection, birth, told)
        case Effect.MOVE:
            await births.note(connection, birth, because(told.why, "place or class in the hospital only"))
        case Effect.UNDO_DISCHARGE:
            await _stay(connection, birth, told)
        case Effect.ATTACH:
            await _attach(context, connection, birth, told)
        case Effect.LINK if draft.record is not None:
            return await identity.link_mother(context, connection, birth, told)
        case Effect.UNLINK if draft.record is not None:
            return await identity.unlink_mother(context, connection, birth, told)
        case _:
            return await _update(context, connection, birth, told)
    return True


def _opens(context: Context, told: Told) -> bool:
    """Tell whether a message begins a birth: by the verdict, or as an update of what turned out to be unknown."""
    kept, draft = told.kept, told.draft
    if draft.record is None or Effect(kept.effect) is Effect.OPEN:
        return draft.record is not None
    both_amend = Effect(kept.effect) is draft.effect is Effect.AMEND
    return both_amend and may_open(draft) and context.facility(kept.facility).update_creates


async def _open(context: Context, connection: Connection, told: Told) -> Birth:
    kept, draft = told.kept, told.draft
    record = apply_draft(None, draft)
    keys = keys_of(context, record)
    found = await likeness.relatives(context, connection, record, keys)
    birth = await births.open_birth(
        connection,
        record=record,
        keys=keys,
        message_id=kept.id,
        received_at=kept.received_at,
        twin_group=await twin_group(connection, record, keys),
    )
    if told_at := told.at:
        await births.set_told_at(connection, birth, told_at)
    why = Why("gateway", "assign", "judged", kept.id)
    verdict = await likeness.keep(context, connection, birth, found, why)
    detail = {"verdict": verdict.value, "compared": len(found)}
    await rejudge(context, connection, birth, Why("gateway", "assign", "judged", kept.id, detail), told=draft)
    return birth


async def _update(context: Context, connection: Connection, birth: Birth, told: Told) -> bool:
    draft, why = told.draft, told.why
    if draft.effect is Effect.DISCHARGE and birth.priority != URGENT:
        await births.set_priority(connection, birth, URGENT)
        await births.note(connection, birth, Why(why.actor, why.step, "discharge: urgency raised", why.message_id))
    if draft.record is None:
        return True
    if birth.state is State.MERGED:
        await births.note(connection, birth, because(why, "this record was merged into another"))
        return True
    if birth.state is State.CANCELLED and draft.effect is not Effect.OPEN:
        await births.note(connection, birth, because(why, "the birth notice was withdrawn: only a new one reopens it"))
        return True
    record, told = await late.in_its_place(context, connection, birth, told)
    if record is None:
        await births.note(connection, birth, because(why, told.late))
        return True
    if draft.effect is Effect.OPEN and not told.late and await _being_withdrawn(connection, birth):
        return False
    done = await change.apply(context, connection, birth, record, told, dated=draft.effect is not Effect.OBSERVE)
    if done:
        await reuse.settle_doubt(context, connection, birth, told)
    if done and told.certified:
        await close_review(context, connection, birth, told)
    return done


async def _being_withdrawn(connection: Connection, birth: Birth) -> bool:
    """Whether the registry still decides on a withdrawal; one that it refused is over when the birth is told again."""
    if not birth.at_registry:
        return False
    if await acts.undecided(connection, birth.id) is not None:
        return True
    withdrawal = await acts.last(connection, birth.id, ActKind.WITHDRAW)
    if withdrawal is not None and withdrawal.status == "granted" and withdrawal.revision == birth.at_registry:
        return True  # the case's own end is still to come, and would end what is told now
    await acts.take_back(connection, birth.id)
    return False


async def _stay(connection: Connection, birth: Birth, told: Told) -> None:
    """Lower the urgency again, and nothing else (F 25)."""
    if told.older_than(birth.told_at):
        await births.note(connection, birth, because(told.why, _OLDER))
        return
    if birth.priority == URGENT:
        await births.set_priority(connection, birth, USUAL)
    await births.note(connection, birth, because(told.why, "discharge undone: urgency lowered"))


async def _attach(context: Context, connection: Connection, birth: Birth, told: Told) -> None:
    """Keep the documents of a message with its birth, up to the cap; a larger one lies in the raw message only."""
    limit = context.config.limits.document_bytes
    kept, large = [], 0
    for attachment in told.draft.attachments:
        content = attachment.content if attachment.size <= limit else b""
        large += attachment.size > limit
        if await attachments.keep(connection, birth.id, told.kept.id, attachment, content or None):
            kept.append(attachment.sha256 or "pointer")
    reason = f"{len(kept)} documents kept" + (f", {large} of them larger than {limit} bytes: noted only" * bool(large))
    why = because(told.why, reason)
    await births.note(connection, birth, Why(why.actor, why.step, why.reason, why.message_id, {"documents": kept}))


async def _cancel(context: Context, connection: Connection, birth: Birth, told: Told) -> bool:
    """Withdraw a birth notice (domain F 22 to 24)."""
    why = told.why
    if birth.state is State.MERGED or told.older_than(birth.told_at):
        reason = "this record was merged into another" if birth.state is State.MERGED else _OLDER
        await births.note(connection, birth, because(why, reason))
        return True
    if await reuse.stays(context, connection, birth, told):
        return True
    there = not told.certified and (registry_has_it(birth) or birth.at_registry > 0)
    if there and not await act.withdraw(context, connection, birth, why):
        return False
    if told.at:
        await births.set_told_at(connection, birth, told.at)
    if there:
        return True
    if told.certified:
        reason, cause = f"{why.reason} after issue: the office decides", {"cause": events.WITHDRAWN}
        why = Why(why.actor, why.step, reason, why.message_id, cause)
        await review(context, connection, birth, State.REVOCATION_REVIEW, why)
    else:
        await go(context, connection, birth, State.CANCELLED, why)
    return True

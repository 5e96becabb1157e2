"""Step 5: whose birth is it? Kept messages of one baby, in order, become a birth, a new revision, or an event.

All messages of a baby that wait are applied in one transaction under one lock, oldest first, so that two workers never
apply them crosswise. What would change a birth while the registry has it waits until the registry has answered.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, MOVES, State
from gateway.contract.ports import Draft, Effect
from gateway.contract.record import BirthRecord, PluralityKind
from gateway.contract.revision import apply_draft, changed_paths, legal_changes
from gateway.pipeline.draft import load
from gateway.pipeline.rejudge import go, keys_of, rejudge
from gateway.store import births, messages, queue, submissions
from gateway.store.births import Why

if TYPE_CHECKING:
    import datetime as dt

    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.messages import Kept
    from gateway.store.queue import Task

_OLDER = "older than what is known: kept, not applied"
URGENT = 0  # parents are about to leave (domain A.1, A03)
_LOOK_AGAIN_S = 30.0


async def run(context: Context, task: Task) -> None:
    """Assign every waiting message of the task's baby."""
    assert task.message_id is not None  # noqa: S101 - an assign task is made with its message
    async with context.database.transaction() as connection:
        facility, medical_record = await messages.baby_of(connection, task.message_id)
        birth = await births.lock_by_record_number(connection, facility, medical_record)
        await queue.holds(connection, task)
        for kept in await messages.unassigned(connection, facility, medical_record):
            assigned, birth = await _apply(context, connection, birth, kept)
            if not assigned:
                await queue.postpone(connection, task, delay_s=_LOOK_AGAIN_S, code="REGISTRY_HAS_IT")
                return
            await messages.assigned(connection, kept.id, birth.id if birth else None)
        await queue.finish(connection, task)


async def _apply(
    context: Context, connection: Connection, birth: Birth | None, kept: Kept
) -> tuple[bool, Birth | None]:
    """Apply one message; False where it must wait for the registry."""
    draft = load(kept.draft)
    if birth is None:
        if draft.record is None or Effect(kept.effect) is not Effect.OPEN:
            return True, None
        return True, await _open(context, connection, kept, draft)
    certified = birth.state in CERTIFIED or await submissions.certificate(connection, birth.id) is not None
    if draft.effect is Effect.CANCEL:
        return await _cancel(context, connection, birth, (kept, draft), certified=certified), birth
    return await _update(context, connection, birth, (kept, draft), certified=certified), birth


async def _open(context: Context, connection: Connection, kept: Kept, draft: Draft) -> Birth:
    record = apply_draft(None, draft)
    keys = keys_of(context, record)
    birth = await births.open_birth(
        connection,
        record=record,
        keys=keys,
        message_id=kept.id,
        received_at=kept.received_at,
        twin_group=await _twin_group(connection, record, keys),
    )
    if told_at := _told_at(kept, draft):
        await births.set_told_at(connection, birth, told_at)
    await rejudge(context, connection, birth, Why("gateway", "assign", "judged", kept.id), told=draft)
    return birth


async def _twin_group(connection: Connection, record: BirthRecord, keys: births.Keys) -> uuid.UUID | None:
    """Return the group of a multiple birth: that of a sibling within 24 hours, or a new one (domain F 1, 2)."""
    child = record.child
    if child.plurality in (None, PluralityKind.SINGLE) or keys.mother_key is None or keys.born_at is None:
        return None
    sibling = await births.twin_of(
        connection,
        mother_key=keys.mother_key,
        born_at=keys.born_at,
        facility=record.facility.code,
        medical_record=child.medical_record.reveal(),
    )
    if sibling is None:
        return uuid.uuid4()
    birth_id, group = sibling
    if group is None:
        group = uuid.uuid4()
        await births.set_twin_group(connection, birth_id, group)
    return group


async def _join_twins(context: Context, connection: Connection, birth: Birth) -> None:
    """Give a birth its group where only a later message told that it is one of several."""
    if birth.twin_group is None:
        group = await _twin_group(connection, birth.record, keys_of(context, birth.record))
        if group is not None:
            await births.set_twin_group(connection, birth.id, group)
            birth.twin_group = group


async def _update(
    context: Context, connection: Connection, birth: Birth, told: tuple[Kept, Draft], *, certified: bool
) -> bool:
    kept, draft = told
    why = Why("hospital", "assign", kept.event, kept.id)
    if draft.effect is Effect.DISCHARGE and birth.priority != URGENT:
        await births.set_priority(connection, birth, URGENT)
        await births.note(connection, birth, Why("hospital", "assign", "discharge: urgency raised", kept.id))
    if draft.record is None:
        return True
    told_at = _told_at(kept, draft)
    if birth.told_at and told_at and told_at < birth.told_at:
        await births.note(connection, birth, _because(why, _OLDER))
        return True
    if birth.state is State.CANCELLED and draft.effect is not Effect.OPEN:
        await births.note(connection, birth, _because(why, "the birth notice was withdrawn: only a new one reopens it"))
        return True
    record = apply_draft(birth.record, draft)
    changed = changed_paths(birth.record, record)
    legal = legal_changes(changed)
    if legal and not certified and _registry_has_it(birth):
        return False
    if told_at:
        await births.set_told_at(connection, birth, told_at)
    if changed or birth.state is State.CANCELLED:
        detailed = Why("hospital", "assign", kept.event, kept.id, {"changed": list(changed)})
        await births.revise(connection, birth, record, keys=keys_of(context, record), changed=changed, why=detailed)
        await _join_twins(context, connection, birth)
        await _after_revision(context, connection, birth, (detailed, draft, bool(legal)), certified=certified)
    else:
        await births.note(connection, birth, _because(why, "told again: nothing new"))
    return True


async def _after_revision(
    context: Context, connection: Connection, birth: Birth, revised: tuple[Why, Draft, bool], *, certified: bool
) -> None:
    why, draft, legal = revised
    if certified and legal and birth.state is not State.REVOCATION_REVIEW:
        why = _because(why, "changed after issue: an officer decides")
        await _review(context, connection, birth, State.AMENDMENT_REVIEW, why)
    elif certified or _registry_has_it(birth):
        await births.note(connection, birth, _because(why, "not part of the akta: recorded only"))
    else:
        await rejudge(context, connection, birth, why, told=draft)


async def _review(context: Context, connection: Connection, birth: Birth, state: State, why: Why) -> None:
    """Lay a certified birth before an officer; one whose state has no such move (issued unasked) gets an event."""
    if state in MOVES[birth.state]:
        await go(context, connection, birth, state, why)
    else:
        await births.note(connection, birth, why)


def _registry_has_it(birth: Birth) -> bool:
    """Whether bytes of this birth may lie at the registry without a final answer."""
    return birth.state in IN_FLIGHT or (birth.state is State.DEAD_LETTER and birth.submitted > 0)


async def _cancel(
    context: Context, connection: Connection, birth: Birth, told: tuple[Kept, Draft], *, certified: bool
) -> bool:
    """Withdraw a birth notice (domain F 22 to 24)."""
    kept, draft = told
    why = Why("hospital", "assign", kept.event, kept.id)
    told_at = _told_at(kept, draft)
    if birth.told_at and told_at and told_at < birth.told_at:
        await births.note(connection, birth, _because(why, _OLDER))
        return True
    if not certified and _registry_has_it(birth):
        return False
    if told_at:
        await births.set_told_at(connection, birth, told_at)
    if certified:
        why = Why("hospital", "assign", f"{kept.event} after issue: the office decides", kept.id)
        await _review(context, connection, birth, State.REVOCATION_REVIEW, why)
    else:
        await go(context, connection, birth, State.CANCELLED, why)
    return True


def _told_at(kept: Kept, draft: Draft) -> dt.datetime | None:
    """Return when a message was written, but not later than it came: a fast clock must not outrank the rest (F 110)."""
    return min(draft.sent_at, kept.received_at) if draft.sent_at else None


def _because(why: Why, reason: str) -> Why:
    return Why(why.actor, why.step, f"{why.reason}: {reason}", why.message_id, why.detail)

"""A record number used again: a message about another baby than the one that has its number (domain A.6).

A part of step 5. It is never applied: the baby that has the number keeps what is known of it and, as long as nothing
of it has left the house, waits for a person; after that the event tells of it. A number whose baby was withdrawn is
free: the withdrawn birth steps aside, and the new notice opens one of its own. What was in doubt by this is not
withdrawn by a message that names nothing but the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import JUDGED, State
from gateway.contract.ports import Draft, Effect
from gateway.pipeline.change import because, registry_has_it
from gateway.pipeline.rejudge import MESSAGE, rejudge
from gateway.store import births, events
from gateway.store.births import Why
from gateway.verify.reuse import Reuse, Telling, affirms, compared, opens, reused

if TYPE_CHECKING:
    import datetime as dt

    from gateway.pipeline.change import Told
    from gateway.pipeline.context import Context, Rules
    from gateway.store.births import Birth
    from gateway.store.database import Connection

REUSED, CONTRADICTION = "MRN_REUSED", "MERGE_CONTRADICTION"
REASON = "another baby than the one with this record number: not applied"
_OPEN = JUDGED | {State.RECEIVED, State.SEALED, State.AWAIT_OFFICE}  # judged anew by whatever is told
_VACANT = (State.CANCELLED, State.MERGED)
_log = structlog.get_logger()


def found(context: Context, birth: Birth, told: Told) -> Reuse | None:
    """Return why a message is about another baby than a known birth, None where it may be about that one."""
    draft = told.draft
    if draft.record is None or not compared(draft):
        return None
    zone = ZoneInfo(context.facility(birth.facility).time_zone)
    seen = reused(
        Telling(birth.record, _day(birth.told_at, zone)),
        Telling(draft.record, _day(told.at, zone)),
        opens=draft.effect is Effect.OPEN,
        today=context.clock().astimezone(zone).date(),
    )
    return seen or (Reuse("told-at-the-door", ()) if told.kept.refused else None)


def _day(moment: dt.datetime | None, zone: ZoneInfo) -> dt.date | None:
    return moment.astimezone(zone).date() if moment else None


def frees_number(context: Context, birth: Birth, told: Told) -> bool:
    """Tell whether another baby's notice may have the number of this birth: it was withdrawn, or is part of another."""
    may = opens(told.draft, context.facility(birth.facility))
    return birth.state in _VACANT and may and not told.kept.refused


async def step_aside(connection: Connection, birth: Birth, told: Told) -> None:
    """Free the record number of a withdrawn birth; its record, papers and letters keep it."""
    await births.note(connection, birth, because(told.why, "its record number is another baby's now"))
    await births.rekey(connection, birth, f"{birth.medical_record}#{birth.id}")


async def refuse(context: Context, connection: Connection, birth: Birth, told: Told, seen: Reuse) -> None:
    """Lay a message aside that is about another baby, and let the known one wait for a person where it still can."""
    why = because(told.why, REASON)
    detail = {"reused": seen.rule, "reasons": list(seen.reasons)}
    why = Why(why.actor, why.step, why.reason, why.message_id, detail)
    context.metrics.numbers_reused.labels(seen.rule).inc()
    _log.warning(
        "birth.number_reused",
        birth_id=str(birth.id),
        facility=birth.facility,
        state=birth.state.value,
        code=seen.rule,
    )
    if told.draft.effect is Effect.CANCEL or told.certified:
        await births.note(connection, birth, why)
    else:
        await lay_before_a_person(context, connection, birth, REUSED, why)


async def lay_before_a_person(context: Rules, connection: Connection, birth: Birth, code: str, why: Why) -> None:
    """Let a birth wait in REVIEW with a finding; one that is not judged any more (at the registry, out) gets an event.

    Who let it pass before did not know of this: the finding asks anew.
    """
    if birth.state not in _OPEN:
        await births.note(connection, birth, why)
        return
    if code in birth.accepted:
        await births.set_accepted(connection, birth, birth.accepted - {code})
    doubt = Draft(Effect.LINK, birth.medical_record, None, findings=(Finding(code),))
    await rejudge(context, connection, birth, why, told=doubt)


async def settle_doubt(context: Context, connection: Connection, birth: Birth, told: Told) -> None:
    """End the doubt about whose a number is where the ward told of its baby again: mother and moment, beyond doubt."""
    doubted = any(f["code"] == REUSED and f.get("by") == MESSAGE for f in birth.findings)
    if not doubted or not _affirmed(context, birth, told):
        return
    rest = [f for f in birth.findings if not (f["code"] == REUSED and f.get("by") == MESSAGE)]
    await births.set_findings(connection, birth, rest)
    if birth.state in _OPEN:
        await rejudge(context, connection, birth, because(told.why, "the number is this baby's: told again"))


async def stays(context: Context, connection: Connection, birth: Birth, told: Told) -> bool:
    """Tell whether a birth is not withdrawn, since the message may mean another baby that was told under its number.

    It says no more than the number, and two babies were told under it, or a merge named another mother's.
    """
    if told.certified or _affirmed(context, birth, told):
        return False
    open_ = {f["code"] for f in birth.findings if f.get("by") == MESSAGE} - birth.accepted
    out = registry_has_it(birth) or birth.at_registry > 0
    if not open_ & {REUSED, CONTRADICTION} and not (out and await events.is_told(connection, birth, "reused")):
        return False
    await births.note(connection, birth, because(told.why, "two babies were told under this number: not applied"))
    return True


def _affirmed(context: Context, birth: Birth, told: Told) -> bool:
    zone = ZoneInfo(context.facility(birth.facility).time_zone)
    today = context.clock().astimezone(zone).date()
    return told.draft.record is not None and affirms(birth.record, told.draft.record, today=today)

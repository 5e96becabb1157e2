"""Two clocks of a birth: the legal term, and the family's discharge (domain B.7, A.1). They order every queue.

The term is counted in calendar days at the place, day 0 being the day of birth: 60 days for a birth, 30 for a
stillbirth. On day 7, 30, 50 and 58 of an open birth somebody is told, once each; of several days that passed unseen
(a gateway that was down, a birth told late) the last one only. The day after the term it becomes a late registration
(LT) and is judged anew. For a stillbirth the days are 7, 20 and 28: as many before the end as those of a birth.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from gateway.contract.lifecycle import JUDGED, State
from gateway.contract.record import Event
from gateway.errors import StoreUnavailableError
from gateway.observe.logging import describe
from gateway.pipeline.rejudge import rejudge
from gateway.store import births
from gateway.store import urgency as store
from gateway.store.births import Why
from gateway.verify.moment import BIRTH_TERM, STILLBIRTH_TERM

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_log = structlog.get_logger()
# Priorities, the first first; 0 and 5 are set by discharge and its undoing (pipeline.assign).
LEAVING, LAST_DAYS, LEAVES_SOON, LATE_IN_TERM, USUAL = 0, 1, 2, 3, 5
_SOON = dt.timedelta(hours=24)
STEPS = {Event.LIVE_BIRTH: (7, 30, 50, 58, 61), Event.STILLBIRTH: (7, 20, 28, 31)}
_PRIORITY_BY_DAYS_LEFT = ((2, LAST_DAYS), (10, LATE_IN_TERM))
_BATCH = 500
OPEN = tuple(s.value for s in State if s in JUDGED | {State.RECEIVED, State.SEALED, State.AWAIT_OFFICE, State.SUBMITTED,
                                                     State.IN_PROCESS, State.REFUSED, State.DEAD_LETTER})  # fmt: skip


def urgency(leaves_at: dt.datetime | None, *, now: dt.datetime) -> int:
    """Return the priority that an expected discharge alone gives; the discharge itself (A03) is LEAVING."""
    if leaves_at is None or leaves_at - now > _SOON:
        return USUAL
    return LEAVES_SOON


def term_of(event: Event) -> dt.timedelta:
    """Return the legal term."""
    return STILLBIRTH_TERM if event is Event.STILLBIRTH else BIRTH_TERM


def day_of_term(birth: Birth, today: dt.date) -> int | None:
    """Return how many days after the birth `today` is, None where the day of birth is not known."""
    born = birth.record.child.born_on
    return (today - born).days if born else None


def step_due(birth: Birth, today: dt.date, *, told: int) -> int:
    """Return the day somebody is to be told of now, 0 for none: the last one reached and not told yet."""
    day = day_of_term(birth, today)
    reached = [s for s in STEPS[birth.record.event] if day is not None and s <= day]
    return reached[-1] if reached and reached[-1] > told else 0


async def hasten(connection: Connection, birth: Birth, priority: int) -> None:
    """Make a birth as urgent as `priority`, or leave it as urgent as it is."""
    if priority < birth.priority:
        await births.set_priority(connection, birth, priority)


async def escalate(context: Context) -> int:
    """Tell of every birth whose day has come, and raise what leaves within a day; returns how many were told of.

    Each birth in a transaction of its own: what was told is written with the word that it was.
    """
    today = {code: _today(context, code) for code in context.facilities}
    told = 0
    for birth_id in await store.escalation_due(context.database, today, OPEN, limit=_BATCH):
        try:
            async with context.database.transaction() as connection:
                birth = await births.lock(connection, birth_id)
                told += await _tell(context, connection, birth, today[birth.facility])
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one birth, the others' days have come too
            _log.warning("clocks.failed", birth_id=str(birth_id), **describe(error))
    async with context.database.transaction() as connection:
        for birth_id in await store.leaving_before(
            connection, context.clock() + _SOON, OPEN, priority=LEAVES_SOON, limit=_BATCH
        ):
            await hasten(connection, await births.lock(connection, birth_id), LEAVES_SOON)
    return told


async def _tell(context: Context, connection: Connection, birth: Birth, today: dt.date) -> bool:
    step = step_due(birth, today, told=await store.escalated(connection, birth.id))
    if not step or birth.state.value not in OPEN:
        return False
    await store.set_escalated(connection, birth.id, step)
    days = term_of(birth.record.event).days
    passed = step > days
    left = days - step
    await hasten(connection, birth, next((p for limit, p in _PRIORITY_BY_DAYS_LEFT if left <= limit), USUAL))
    reason = f"the term of {days} days has passed: late registration" if passed else f"day {step} of {days}"
    why = Why("gateway", "clock", reason, detail={"day": step, "term": days})
    if passed and birth.state in JUDGED:
        await rejudge(context, connection, birth, why)
    else:
        await births.note(connection, birth, why)
    context.metrics.escalations.labels(str(step)).inc()
    _log.warning(
        "birth.escalated",
        birth_id=str(birth.id),
        facility=birth.facility,
        state=birth.state.value,
        code=f"DAY_{step}",
    )
    return True


def _today(context: Context, facility: str) -> dt.date:
    return context.clock().astimezone(ZoneInfo(context.facility(facility).time_zone)).date()

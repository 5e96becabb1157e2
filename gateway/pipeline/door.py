"""At the door: whether a message is about the baby that has its number, and a merge about the numbers of one baby.

Compared with what the store knows at that moment (a birth, or a notice that waits), by the rules of step 5
(pipeline.reuse, pipeline.identity), which looks again under its locks. What it finds is said in the answer: a message
about another baby is refused (AE), kept, and never applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import CERTIFIED, State
from gateway.contract.ports import Effect
from gateway.errors import Hl7SyntaxError
from gateway.hl7.location import Location
from gateway.store.births import record_in
from gateway.verify.reuse import Telling, compared, contradiction, opens, reused

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from gateway.contract.facility import FacilityProfile
    from gateway.contract.ports import Draft
    from gateway.pipeline.verdict import Judge
    from gateway.store.known import Baby, Known

_PID_3, _MRG_1 = Location("PID", 1, 3), Location("MRG", 1, 1)
_JOINS = (Effect.MERGE, Effect.RENUMBER)
_VACANT = (State.CANCELLED, State.MERGED)


@dataclass(frozen=True, slots=True)
class Objection:
    """What the answer says instead of the usual findings. `refused`: nothing of the message is applied."""

    findings: tuple[Finding, ...]
    refused: bool = False


def compares(draft: Draft) -> bool:
    """Tell whether a message is compared with what is known: it says who its baby is, or which two are one."""
    return compared(draft) or draft.effect in _JOINS


def object_to(
    judge: Judge, facility: FacilityProfile, draft: Draft, known: Mapping[Baby, Known], *, now: dt.datetime
) -> Objection | None:
    """Return what is to be said of a message in view of what is known, None where nothing is.

    Whether it holds is decided in step 5: where a withdrawal waits to be applied, nothing is said here.
    """
    if draft.effect in _JOINS:
        return _object_to_merge(judge, facility, draft, known, now=now)
    mine = known.get((facility.code, draft.medical_record))
    if mine is None or not compared(draft):
        return None
    if draft.effect is Effect.CANCEL and mine.retired:
        return Objection(())  # of a number that a baby had before: noted, nothing else
    if mine.withdrawal or not _is_about_another(judge, facility, draft, mine, now=now):
        return None
    if State(mine.state) in _VACANT and opens(draft, facility):
        return Objection((Finding("MRN_REUSED_FREE", _PID_3),))
    return Objection((Finding("MRN_REUSED", _PID_3),), refused=True)


def _is_about_another(judge: Judge, facility: FacilityProfile, draft: Draft, mine: Known, *, now: dt.datetime) -> bool:
    before = _telling(judge, facility, mine)
    if before is None or draft.record is None:
        return False
    zone = ZoneInfo(facility.time_zone)
    at = min(draft.sent_at, now) if draft.sent_at else None
    told = Telling(draft.record, at.astimezone(zone).date() if at else None)
    today = now.astimezone(zone).date()
    return reused(before, told, opens=draft.effect is Effect.OPEN, today=today) is not None


def _object_to_merge(
    judge: Judge, facility: FacilityProfile, draft: Draft, known: Mapping[Baby, Known], *, now: dt.datetime
) -> Objection | None:
    today = now.astimezone(ZoneInfo(facility.time_zone)).date()
    for pair in draft.prior:
        sides = [known.get((facility.code, number)) for number in (pair.old, pair.new)]
        if sides[0] is None or sides[1] is None or _is_settled(sides[0], sides[1]):
            continue
        records = [_telling(judge, facility, side) for side in sides if side]
        states = {State(side.state) for side in sides if side}
        if records[0] and records[1] and contradiction(records[0].record, records[1].record, states, today=today):
            return Objection((Finding("MERGE_CONTRADICTION", _MRG_1, severity_override="E"),))
    return None


def _is_settled(prior: Known, survivor: Known) -> bool:
    """Whether nothing of two numbers is to be compared: they are one birth already, or both have a certificate."""
    same = prior.birth_id is not None and prior.birth_id == survivor.birth_id
    return same or prior.retired or {State(prior.state), State(survivor.state)} <= CERTIFIED


def _telling(judge: Judge, facility: FacilityProfile, known: Known) -> Telling | None:
    """Return what is known under a number, None where it has no record yet, or cannot be read."""
    zone = ZoneInfo(facility.time_zone)
    if known.record is not None:
        told_at = known.told_at.astimezone(zone).date() if known.told_at else None
        return Telling(record_in(dict(known.record)), told_at)
    draft = known.draft
    if draft is None and known.waiting is not None:
        try:
            draft = judge.read_again(*known.waiting, facility)
        except Hl7SyntaxError:
            return None
    if draft is None or draft.record is None:
        return None
    return Telling(draft.record, draft.sent_at.astimezone(zone).date() if draft.sent_at else None)

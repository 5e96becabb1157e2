"""When a child was born: the day and time an akta will say, by the clock of the place, and the term that begins then.

Pure (domain B.7, B.12, F 66-71). Wall time and offset stay as they came; where they leave the day in doubt, it is told.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gateway.contract.facility import INDONESIAN_OFFSETS
from gateway.contract.record import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from gateway.contract.record import BirthRecord

BIRTH_TERM = dt.timedelta(days=60)
STILLBIRTH_TERM = dt.timedelta(days=30)
VIABLE_WEEKS = 28  # F 73, 74
_DAY = dt.timedelta(days=1)
_CLOCK_TOLERANCE = dt.timedelta(hours=1)  # F 70
# Provinces (Kemendagri) east of WIB, by the offset of their clocks (domain B.12).
_OFFSETS = {
    **dict.fromkeys(("51", "52", "53", "63", "64", "65", "71", "72", "73", "74", "75", "76"), "+08:00"),
    **dict.fromkeys(("81", "82", "91", "92", "93", "94", "95", "96", "97"), "+09:00"),
}
_WIB = "+07:00"

Problem = tuple[str, str, dict[str, str]]  # code, path, parameters


def deadline(record: BirthRecord, now: dt.datetime) -> dt.date | None:
    """Return the last day to register: 60 days after a birth, 30 after a stillbirth (B.7, F 73).

    None without a credible birth date (one after `now` is none) and below 28 weeks, where nothing is registered (F 74).
    """
    child = record.child
    return _last_day(child.born_on, child.gestation_weeks, now, live=record.event is Event.LIVE_BIRTH)


def _last_day(born: dt.date | None, weeks: int | None, now: dt.datetime, *, live: bool) -> dt.date | None:
    if born is None or born > now.date() + _DAY:
        return None
    if live:
        return born + BIRTH_TERM
    return None if weeks is not None and weeks < VIABLE_WEEKS else born + STILLBIRTH_TERM


def moment_problems(values: Mapping[str, Any], *, zone: ZoneInfo, now: dt.datetime, live: bool) -> list[Problem]:
    """Return what is wrong with day and time of a birth. `zone` is the facility's, `live` whether a living child's."""
    born, offset = values.get("child.born_on"), values.get("child.utc_offset")
    if born is None:
        return [("BIRTH_DATE", "child.born_on", {})]
    found: list[Problem] = []
    at = values.get("child.born_at")
    if live and at is None:
        found.append(("BIRTH_TIME", "child.born_at", {}))
    today = now.astimezone(zone).date()
    if _is_future(born, at, offset, now=now, today=today):
        found.append(("BIRTH_FUTURE", "child.born_on", {}))
    if today - born > STILLBIRTH_TERM:  # the shorter term: most are told within it
        last = _last_day(born, values.get("child.gestation_weeks"), now, live=live)
        if last and today > last:
            found.append(("BIRTH_LATE", "child.born_on", {"days": str((today - born).days)}))
    if offset and offset != _offset_on(zone, born):
        sure = _is_days_own(born, at, offset, zone) or offset == _offset_at(values.get("child.place_region"))
        code = "BIRTH_OFFSET" if sure and offset in INDONESIAN_OFFSETS else "BIRTH_ZONE"
        found.append((code, "child.utc_offset", {"offset": offset}))
    return found


def _is_days_own(born: dt.date, at: str | None, offset: str, zone: ZoneInfo) -> bool:
    """Tell whether the day by the sent offset is the facility's day, too: of two the akta can bear one only."""
    if at is None:
        return True
    return (_instant(born, at, offset)).astimezone(zone).date() == born


def _offset_at(region: str | None) -> str:
    """Return the offset of a region's clocks, "" where no region is known."""
    return _OFFSETS.get(region[:2], _WIB) if region else ""


@lru_cache(maxsize=512)
def _offset_on(zone: ZoneInfo, day: dt.date) -> str:
    """Return a zone's offset at noon of a day, as records write it."""
    text = dt.datetime.combine(day, dt.time(12), zone).strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def _is_future(born: dt.date, at: str | None, offset: str | None, *, now: dt.datetime, today: dt.date) -> bool:
    if at is None or offset is None:
        return born > today
    return _instant(born, at, offset) > now + _CLOCK_TOLERANCE


def _instant(born: dt.date, at: str, offset: str) -> dt.datetime:
    wall = dt.datetime(born.year, born.month, born.day, int(at[:2]), int(at[3:]), tzinfo=dt.UTC)
    return wall - _east_of_utc(offset)


@lru_cache(maxsize=512)
def _east_of_utc(offset: str) -> dt.timedelta:
    """Read an offset as records write it."""
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return dt.timedelta(minutes=-minutes if offset[0] == "-" else minutes)

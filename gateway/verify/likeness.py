"""Are two record numbers one baby? Twins, a duplicate, a contradiction or strangers, with reasons (domain F 1-9, 62).

Pure: two records in, a verdict and its reasons out. The mother decides whether they have anything to do with each other
at all; order, sex, moment, weight and name decide what. A rule is the first that fits (`RULES`); reasons are what was
seen, each with its weight for (+) or against (-) one baby. Nothing here holds a person's data: codes and numbers only.

What order, plurality or sex show to be two babies is never suspected to be one. What cannot be told apart by what is
known is a conflict: a person looks.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gateway.contract.naming import is_placeholder, normalise_name
from gateway.contract.nobody import is_no_name, is_nobody
from gateway.contract.record import PluralityKind
from gateway.verify.nik import birth_date_of, check_nik, clean_nik, sex_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.contract.masked import Personal
    from gateway.contract.record import BirthRecord, Child, Parent


class Verdict(Enum):
    """What one birth is to another, by the strongest word it leads to."""

    NEW = "new"
    TWIN = "twin"
    CONFLICT = "conflict"
    SUSPECT = "suspect"


class Mother(Enum):
    """Whether two births have one mother."""

    SAME = "same"  # by her NIK or passport
    LIKELY = "likely"  # by name and birth date, father or family card
    POSSIBLE = "possible"  # by name alone
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that was seen, and how much it speaks for one baby."""

    code: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Likeness:
    """A verdict, the rule that led to it, and what was seen. `owner`: the side of the hospital of birth, 0, 1 or -1."""

    verdict: Verdict
    rule: str
    reasons: tuple[Reason, ...] = ()
    owner: int = -1

    @property
    def score(self) -> int:
        """The sum of the weights."""
        return sum(reason.weight for reason in self.reasons)

    def as_dict(self) -> dict[str, Any]:
        """Return the stored and published form."""
        return {
            "verdict": self.verdict.value,
            "rule": self.rule,
            "score": self.score,
            "reasons": [{"code": r.code, "weight": r.weight} for r in self.reasons],
        }


# What the rules are, in their order; docs/identity.md is made from this.
RULES: dict[str, tuple[Verdict, str]] = {
    "other-mother": (Verdict.NEW, "The mothers are two women, or nothing shows that they are one."),
    "date-mistyped": (
        Verdict.SUSPECT,
        "More than a day apart, but the date looks mistyped: the clock time is the same, and no weight or sex differs.",
    ),
    "date-untold": (Verdict.NEW, "The day of birth of one is not known yet: compared when it is."),
    "another-day": (Verdict.NEW, "More than a day apart: not one delivery."),
    "orders-differ": (Verdict.TWIN, "Within a day, and the orders (PID-25, or in the placeholder name) differ."),
    "child-nik": (Verdict.SUSPECT, "The child's NIK is the same."),
    "same-order-one-baby": (
        Verdict.SUSPECT,
        "One of several; the same order and sex, and moment and weight are those of one baby (mistyped at most).",
    ),
    "same-order": (
        Verdict.CONFLICT,
        "One of several; the same order twice, but sex, moment or weight are of two babies.",
    ),
    "set-told-already": (
        Verdict.SUSPECT,
        "One of several, no order; moment, weight or name of one baby, and all of the set have been told.",
    ),
    "order-untold": (Verdict.CONFLICT, "One of several, no order, and nothing tells the two apart."),
    "siblings": (Verdict.TWIN, "One of several, no order; sex, moment, weight or name are of two babies."),
    "alike": (Verdict.SUSPECT, "Single births of one mother within a day; what is known is that of one baby."),
    "sex-mistyped": (Verdict.SUSPECT, "As `alike`, but for the sex; moment and weight, name or letter are the same."),
    "two-in-a-day": (
        Verdict.CONFLICT,
        "Single births of one mother within a day that are of two babies: PID-24 is missing, or the mother is wrong.",
    ),
    "same-name-alike": (
        Verdict.SUSPECT,
        "The mothers' names agree, no more is known of them; the babies agree in moment, and weight, name or letter.",
    ),
    "same-name": (Verdict.NEW, "The mothers' names agree, no more is known of them, and the babies differ: two women."),
}

_DAY = dt.timedelta(days=1)
_BOTH = 2
_SAME_MOMENT = 5  # minutes: domain F 9
_SAME_WEIGHT, _NEAR_WEIGHT = 20, 100  # grams
_SAME_LENGTH = 1.0  # centimetres
_SHORTEST_NAME = 3  # letters: NN and X are nobody's
_LONGEST_PREGNANCY = 150  # days between two births of one mother that cannot be two deliveries
_HONORIFICS = frozenset({"NY", "NYONYA", "NN", "NONA", "IBU", "TN", "TUAN", "SDR", "SDRI", "SAUDARI", "HJ"})
_LETTERS = re.compile(r"[^A-Z ]+")
_ORDER_WORD = re.compile(r"\b(?:KEMBAR|TWIN|KE)? ?(III|II|I|IV|V|[1-9]|[A-D])$")
_ORDERS = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "A": 1, "B": 2, "C": 3, "D": 4}
_MISSHAPEN = {"LENGTH", "FORMAT", "DATE"}


def compare(one: BirthRecord, other: BirthRecord, *, today: dt.date, complete: bool = False) -> Likeness:
    """Return what `other` is to `one`; the order of the two makes no difference but for `owner`.

    `complete`: all babies of the set have been told without one of the two (their other siblings count as told).
    """
    mother, seen = same_mother(one, other, today=today)
    if mother is Mother.OTHER:
        return _verdict("other-mother", seen)
    pair = _Pair(one, other, mother, tuple(seen), complete=complete)
    return _verdict(_rule(pair), (*seen, *pair.reasons), owner=_owner(one, other))


def _verdict(rule: str, reasons: Iterable[Reason], *, owner: int = -1) -> Likeness:
    return Likeness(RULES[rule][0], rule, tuple(reasons), owner)


# --------------------------------------------------------------------------------------------------------- rules


def _rule(pair: _Pair) -> str:
    if pair.undated:
        return "date-untold"
    if pair.far:
        return "date-mistyped" if _is_date_mistyped(pair) else "another-day"
    both = pair.several_told == _BOTH
    if pair.orders_differ:
        return "orders-differ" if both or pair.mother is not Mother.POSSIBLE else "same-name"
    if pair.has("CHILD_NIK_SAME"):
        return "child-nik"
    if pair.mother is Mother.POSSIBLE:
        return _of_one_name(pair)
    return _of_several(pair) if pair.several_told else _of_singles(pair)


def _is_date_mistyped(pair: _Pair) -> bool:
    alike = pair.has("DATE_TYPED") and pair.has("CLOCK_SAME") and not pair.shows_two and not pair.orders_differ
    single = pair.mother is Mother.SAME and not pair.several_told  # nobody has two deliveries within months
    return alike and (single or (pair.marked and pair.mother is not Mother.POSSIBLE))


def _of_one_name(pair: _Pair) -> str:
    if not pair.shows_two and (pair.has("MOMENT_SAME") or pair.has("MOMENT_TYPED")) and pair.marked:
        return "order-untold" if pair.several_told and not pair.has("ORDER_SAME") else "same-name-alike"
    return "siblings" if pair.several_told == _BOTH and pair.shows_two and not pair.has("ORDER_SAME") else "same-name"


def _of_several(pair: _Pair) -> str:
    if pair.has("ORDER_SAME"):
        return "same-order-one-baby" if _is_one_of_several(pair) else "same-order"
    if pair.shows_two or pair.has("MOMENT_APART") or pair.has("NAME_DIFFERS"):
        return "siblings"
    if not (pair.marked or (pair.has("MOMENT_EQUAL") and not pair.has("WEIGHT_NEAR"))):
        return "siblings"
    return "set-told-already" if pair.complete else "order-untold"


def _is_one_of_several(pair: _Pair) -> bool:
    if pair.shows_two or (pair.has("NAME_DIFFERS") and not pair.has("WEIGHT_SAME")):
        return False
    if pair.has("MOMENT_EQUAL"):
        return True
    if pair.has("MOMENT_SAME"):
        return pair.marked or not pair.weights_known
    return pair.marked and not pair.has("MOMENT_APART")


def _of_singles(pair: _Pair) -> str:
    if pair.has("SEX_DIFFERS") or pair.has("LIFE_DIFFERS"):
        mistyped = pair.has("MOMENT_SAME") and pair.marked and not pair.has("LIFE_DIFFERS")
        return "sex-mistyped" if mistyped else "two-in-a-day"
    if pair.has("MOMENT_SAME"):
        return "two-in-a-day" if pair.has("WEIGHT_DIFFERS") and pair.has("NAME_DIFFERS") else "alike"
    if pair.has("WEIGHT_DIFFERS"):
        return "two-in-a-day"
    return "alike" if pair.marked or not pair.has("MOMENT_APART") else "two-in-a-day"


class _Pair:
    """Two births of women who may be one, and what was seen of the babies."""

    def __init__(
        self, one: BirthRecord, other: BirthRecord, mother: Mother, seen: Sequence[Reason], *, complete: bool
    ) -> None:
        a, b = one.child, other.child
        self.mother = mother
        self.complete = complete
        self.reasons = tuple(observed(one, other))
        self._codes = {reason.code for reason in (*seen, *self.reasons)}
        self.weights_known = a.weight_g is not None and b.weight_g is not None
        self.several_told = sum(child.plurality not in (None, PluralityKind.SINGLE) for child in (a, b))
        orders = (order_of(one), order_of(other))
        self.orders_differ = None not in orders and orders[0] != orders[1]
        self.undated = a.born_on is None or b.born_on is None
        self.far = _is_far(a, b)

    def has(self, code: str) -> bool:
        """Tell whether something was seen."""
        return code in self._codes

    @property
    def marked(self) -> bool:
        """Whether something that two babies hardly share is the same."""
        return any(self.has(code) for code in ("WEIGHT_SAME", "NAME_SAME", "LETTER_SAME"))

    @property
    def shows_two(self) -> bool:
        """Whether something that no typing error explains differs."""
        return any(self.has(code) for code in ("SEX_DIFFERS", "LIFE_DIFFERS", "WEIGHT_DIFFERS", "CHILD_NIK_DIFFERS"))


# -------------------------------------------------------------------------------------------------- the babies


def observed(one: BirthRecord, other: BirthRecord) -> Iterable[Reason]:
    """Yield what is the same of two babies, and what differs."""
    a, b = one.child, other.child
    yield from _moments(a, b)
    yield from _measures(a, b)
    yield from _names(a, b)
    yield from _numbers(one, other)
    if a.sex and b.sex:
        yield Reason("SEX_SAME", 1) if a.sex is b.sex else Reason("SEX_DIFFERS", -4)
    if one.event is not other.event:
        yield Reason("LIFE_DIFFERS", -4)
    kinds = {a.plurality, b.plurality} - {None}
    if PluralityKind.SINGLE in kinds and len(kinds) > 1:
        yield Reason("PLURALITY_DIFFERS")
    orders = (order_of(one), order_of(other))
    if None not in orders:
        yield Reason("ORDER_SAME", 1) if orders[0] == orders[1] else Reason("ORDER_DIFFERS", -6)
    if one.facility.code != other.facility.code:
        yield Reason("OTHER_FACILITY")


def order_of(record: BirthRecord) -> int | None:
    """Return the order within the delivery: PID-25, or what a placeholder name says (BY NY SITI II)."""
    child = record.child
    if child.birth_order is not None:
        return child.birth_order
    name = normalise_name(child.name.reveal()) if child.name else ""
    told = _ORDER_WORD.search(name) if child.plurality is not PluralityKind.SINGLE else None
    if told is None or not is_placeholder(name):
        return None
    return _ORDERS.get(told[1]) or int(told[1])


def _moments(a: Child, b: Child) -> Iterable[Reason]:
    if a.born_on is None or b.born_on is None:
        return
    apart = _minutes(a, b)
    if apart is None:
        if a.born_on == b.born_on:
            yield Reason("DATE_SAME", 1)
        elif _is_date_slip(a.born_on, b.born_on):
            yield Reason("DATE_TYPED")
        return
    if apart <= _SAME_MOMENT:
        yield Reason("MOMENT_SAME", 4)
        if apart == 0:
            yield Reason("MOMENT_EQUAL", 1)
        return
    clock = a.born_at == b.born_at
    if clock:
        yield Reason("CLOCK_SAME", 1)
    dates = a.born_on != b.born_on and _is_date_slip(a.born_on, b.born_on)
    if dates:
        yield Reason("DATE_TYPED")
    times = a.born_on == b.born_on and _is_time_slip(a.born_at or "", b.born_at or "")
    if (clock and (dates or a.born_on == b.born_on)) or times:
        yield Reason("MOMENT_TYPED", 2)
    else:
        yield Reason("MOMENT_APART", -2)


def _minutes(a: Child, b: Child) -> float | None:
    """Return how far two births are apart, None where a time is not known."""
    one, other = a.moment_of_birth, b.moment_of_birth
    return abs((one - other).total_seconds()) / 60 if one and other else None


def _is_far(a: Child, b: Child) -> bool:
    """Whether two births are too far apart to be one delivery (domain F 2)."""
    if a.born_on is None or b.born_on is None:
        return False
    one, other = a.moment_of_birth, b.moment_of_birth
    return abs(one - other) > _DAY if one and other else abs(a.born_on - b.born_on) > _DAY


def _is_date_slip(one: dt.date, other: dt.date) -> bool:
    """Tell whether a date is another one mistyped: a day off, day and month exchanged, or one digit."""
    days = abs((one - other).days)
    if days == 1:
        return True
    if days >= _LONGEST_PREGNANCY:
        return False
    exchanged = (one.day, one.month, one.year) == (other.month, other.day, other.year)
    return exchanged or is_slip(one.strftime("%d%m%Y"), other.strftime("%d%m%Y"))


def _is_time_slip(one: str, other: str) -> bool:
    """Tell whether a time of day is another one mistyped: a digit, two exchanged, or twelve hours."""
    if is_slip(one.replace(":", ""), other.replace(":", "")):
        return True
    return one[2:] == other[2:] and abs(int(one[:2] or 0) - int(other[:2] or 0)) == 12  # noqa: PLR2004 - hours


def is_slip(one: str, other: str) -> bool:
    """Tell whether two texts differ by one slip of the finger: a character, or two neighbours exchanged."""
    if len(one) == len(other):
        differs = [i for i, (x, y) in enumerate(zip(one, other, strict=True)) if x != y]
        if len(differs) == 1:
            return True
        exchanged = len(differs) == 2 and differs[1] == differs[0] + 1  # noqa: PLR2004 - two neighbours
        return exchanged and (one[differs[0]], one[differs[1]]) == (other[differs[1]], other[differs[0]])
    short, long = sorted((one, other), key=len)
    return len(long) - len(short) == 1 and any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


def _measures(a: Child, b: Child) -> Iterable[Reason]:
    if a.weight_g is not None and b.weight_g is not None:
        apart = abs(a.weight_g - b.weight_g)
        if apart <= _SAME_WEIGHT:
            yield Reason("WEIGHT_SAME", 3)
        elif apart <= _NEAR_WEIGHT or is_slip(str(a.weight_g), str(b.weight_g)):
            yield Reason("WEIGHT_NEAR", 1)
        else:
            yield Reason("WEIGHT_DIFFERS", -3)
    if a.length_cm is not None and b.length_cm is not None:
        same = abs(a.length_cm - b.length_cm) <= _SAME_LENGTH
        yield Reason("LENGTH_SAME", 1) if same else Reason("LENGTH_DIFFERS", -1)


def _names(a: Child, b: Child) -> Iterable[Reason]:
    if a.name is None or b.name is None:
        return
    placeholders = [is_no_name(child.name.reveal()) for child in (a, b) if child.name]
    if all(placeholders):
        yield Reason("NAME_AWAITED")
    elif any(placeholders):
        yield Reason("NAME_GIVEN")
    else:
        like = alike(a.name, b.name)
        yield Reason("NAME_SAME", 3) if like == _EQUAL else Reason("NAME_DIFFERS", -1)


def _numbers(one: BirthRecord, other: BirthRecord) -> Iterable[Reason]:
    a, b = one.child.nik, other.child.nik
    if a and b:
        same = clean_nik(a.reveal()) == clean_nik(b.reveal())
        yield Reason("CHILD_NIK_SAME", 8) if same else Reason("CHILD_NIK_DIFFERS", -8)
    letters = (one.facility.letter_number, other.facility.letter_number)
    if all(letters) and letters[0] == letters[1] and one.facility.code == other.facility.code:
        yield Reason("LETTER_SAME", 4)


def _owner(one: BirthRecord, other: BirthRecord) -> int:
    """Return whose hospital is that of birth, by what it alone writes down: letter, attendant, Apgar (F 62)."""
    if one.facility.code == other.facility.code:
        return -1
    told = [
        sum(x is not None for x in (r.facility.letter_number, r.child.attendant, r.child.apgar_1, r.child.apgar_5))
        for r in (one, other)
    ]
    return -1 if told[0] == told[1] else int(told[1] > told[0])


# -------------------------------------------------------------------------------------------------- the mothers

_EQUAL, _CLOSE, _DIFFERENT, _UNKNOWN = "equal", "close", "different", "unknown"


def same_mother(one: BirthRecord, other: BirthRecord, *, today: dt.date) -> tuple[Mother, list[Reason]]:
    """Return whether two births have one mother, and by what."""
    a, b = one.mother, other.mother
    if a is None or b is None:
        return Mother.OTHER, [Reason("MOTHER_UNTOLD")]
    names = alike(a.name, b.name)
    numbers = _same_number(one, other, names, today=today)
    if numbers is not None:
        return numbers
    if names in (_DIFFERENT, _UNKNOWN):
        return Mother.OTHER, [Reason(f"MOTHER_NAME_{names.upper()}")]
    seen = [Reason(f"MOTHER_NAME_{'SAME' if names == _EQUAL else 'CLOSE'}", 1)]
    return _by_what_else(one, other, seen, today=today)


def _same_number(
    one: BirthRecord, other: BirthRecord, names: str, *, today: dt.date
) -> tuple[Mother, list[Reason]] | None:
    """Decide by NIK or passport; None where they say nothing."""
    a, b = one.mother, other.mother
    assert a is not None and b is not None  # noqa: S101, PT018 - the caller has looked
    papers = [p.travel_document.reveal() if p.travel_document else "" for p in (a, b)]
    if all(papers):
        same = papers[0] == papers[1]
        return (
            (Mother.SAME, [Reason("MOTHER_PASSPORT_SAME", 4)]) if same else (Mother.OTHER, [Reason("MOTHER_PASSPORT")])
        )
    niks = [own_nik(record, today=today) for record in (one, other)]
    if not all(niks):
        return None
    if niks[0] == niks[1]:
        if names == _DIFFERENT:  # one number for two women: one of them is wrong
            return Mother.POSSIBLE, [Reason("MOTHER_NIK_SAME", 2), Reason("MOTHER_NAME_DIFFERENT", -2)]
        return Mother.SAME, [Reason("MOTHER_NIK_SAME", 4)]
    return Mother.OTHER, [Reason("MOTHER_NIK_DIFFERS", -6)]


def own_nik(record: BirthRecord, *, today: dt.date) -> str:
    """Return the mother's NIK, "" where it is misshapen or her husband's: then it says nothing of her."""
    mother, father = record.mother, record.father
    if mother is None or mother.nik is None:
        return ""
    digits = clean_nik(mother.nik.reveal())
    if _MISSHAPEN & set(check_nik(digits, sex=None, born_on=None, today=today)):
        return ""
    husband = bool(father and father.nik and clean_nik(father.nik.reveal()) == digits)
    return "" if husband and sex_of(digits) is not mother.sex else digits


def _by_what_else(
    one: BirthRecord, other: BirthRecord, seen: list[Reason], *, today: dt.date
) -> tuple[Mother, list[Reason]]:
    """Decide by a misshapen NIK, birth date, father and family card where the names agree."""
    digits = [clean_nik(r.mother.nik.reveal()) if r.mother and r.mother.nik else "" for r in (one, other)]
    likely = all(digits) and (digits[0] == digits[1] or is_slip(digits[0], digits[1]))
    if likely:
        seen.append(Reason("MOTHER_NIK_TYPED", 2))
    days = [_born(record.mother, today) for record in (one, other)]
    if days[0] and days[1]:
        if days[0] == days[1]:
            likely = True
            seen.append(Reason("MOTHER_BORN_SAME", 2))
        elif is_birthday_slip(days[0], days[1]):
            seen.append(Reason("MOTHER_BORN_TYPED"))
        else:
            return Mother.OTHER, [*seen, Reason("MOTHER_BORN_DIFFERS", -4)]
    for code, numbers in (("FATHER_NIK", _fathers(one, other)), ("FAMILY_CARD", [card_of(r) for r in (one, other)])):
        if all(numbers):
            if numbers[0] == numbers[1]:
                likely = True
                seen.append(Reason(f"{code}_SAME", 2))
            elif code == "FATHER_NIK" and not is_slip(*numbers):
                return Mother.OTHER, [*seen, Reason("FATHER_NIK_DIFFERS", -4)]
    return (Mother.LIKELY if likely else Mother.POSSIBLE), seen


def is_birthday_slip(one: dt.date, other: dt.date) -> bool:
    """Tell whether a birth date is another one mistyped: day and month exchanged, or one slip of the finger."""
    exchanged = (one.day, one.month, one.year) == (other.month, other.day, other.year)
    return exchanged or is_slip(one.strftime("%d%m%Y"), other.strftime("%d%m%Y"))


def _born(mother: Parent | None, today: dt.date) -> dt.date | None:
    if mother is None or mother.born_on is not None or mother.nik is None:
        return mother.born_on if mother else None
    return birth_date_of(mother.nik.reveal(), today=today) if sex_of(mother.nik.reveal()) is not None else None


def _fathers(*records: BirthRecord) -> list[str]:
    return [clean_nik(r.father.nik.reveal()) if r.father and r.father.nik else "" for r in records]


def card_of(record: BirthRecord) -> str:
    """Return the number of the family card, the family's or the mother's, "" where none is told."""
    card = record.family_card or (record.mother.family_card if record.mother else None)
    return card.reveal() if card else ""


def alike(one: Personal | None, other: Personal | None) -> str:
    """Return whether two names are one: `equal`, `close` (a slip, or a part left out), `different` or `unknown`."""
    a, b = (words_of(name.reveal()) if name and not is_nobody(name.reveal()) else [] for name in (one, other))
    if not a or not b:
        return _UNKNOWN
    if "".join(a) == "".join(b) or sorted(a) == sorted(b):
        return _EQUAL
    short, long = sorted((set(a), set(b)), key=len)
    close = short < long or is_slip("".join(a), "".join(b))
    return _CLOSE if close else _DIFFERENT


def words_of(name: str) -> list[str]:
    """Return a name's words as they are compared: capitals without accents, strokes and honorifics."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.upper()) if not unicodedata.combining(c))
    return [
        word for word in _LETTERS.sub(" ", plain.replace("'", "").replace("`", "")).split() if word not in _HONORIFICS
    ]


def name_key(record: BirthRecord) -> str:
    """Return what a mother is looked up by besides her NIK, before it is hashed: the letters of her name, or "".

    Sorted, so that blanks, the order of words and exchanged letters make no difference; `compare` looks closer.
    """
    name = record.mother.name if record.mother else None
    letters = sorted("".join(words_of(name.reveal()))) if name and not is_nobody(name.reveal()) else []
    return "".join(letters) if len(letters) >= _SHORTEST_NAME else ""


def strongest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that counts for a birth that was compared with several."""
    found = set(verdicts)
    return next((v for v in (Verdict.SUSPECT, Verdict.CONFLICT, Verdict.TWIN) if v in found), Verdict.NEW)


def is_set_told(orders: Sequence[int | None], plurality: PluralityKind | None) -> bool:
    """Tell whether as many different orders were told as the set has babies."""
    known = sorted({order for order in orders if order is not None})
    size = int(plurality) if plurality not in (None, PluralityKind.SINGLE, PluralityKind.OTHER) else 0
    return bool(size) and len(known) >= size and all(b - a == 1 for a, b in pairwise(known))

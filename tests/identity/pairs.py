"""Pairs of births of invented people, each labelled with what a person would decide. Seeded: a seed is always the same.

NIK serials are 90xx: numbers that nobody has. Names come from small lists, so that they collide as real ones do.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.contract.masked import Nik, Personal
from gateway.contract.record import Attendant, BirthRecord, Child, Facility, Parent, PluralityKind, Sex
from gateway.verify.likeness import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TODAY = dt.date(2025, 6, 30)
_FIRST = ("SITI", "DEWI", "RINA", "YULI", "SRI", "RATNA", "WULAN", "INDAH", "NUR", "FITRI", "KADEK", "NI LUH")
_LAST = ("AMINAH", "LESTARI", "RAHMAWATI", "HANDAYANI", "UTAMI", "KHASANAH", "SUSANTI", "WAHYUNI", "AYU", "HIDAYAH")
_BOYS = ("AHMAD", "RIZKI", "ARYA", "BAGAS", "DIMAS", "FAJAR", "GALIH", "RAKA", "SATRIA", "WISNU")
_GIRLS = ("AISYAH", "NADIA", "KHALISA", "ALYA", "ZAHRA", "KIRANA", "SEKAR", "LARAS", "INTAN", "PUTRI")
_SECOND = ("PRATAMA", "LESTARI", "CAHYANI", "NUGRAHA", "WIJAYA", "KUSUMA", "PERMATA", "ANGGRAINI", "SAPUTRA", "MAULANA")
_HOSPITALS = ("RSU CEMPAKA CONTOH", "RSIA KENANGA CONTOH", "PUSKESMAS MELATI CONTOH")
_ROMAN = ("I", "II", "III", "IV")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Two births, what kind of pair they are, and the verdict a person would give."""

    kind: str
    one: BirthRecord
    other: BirthRecord
    truth: Verdict


@dataclass(slots=True)
class Family:
    """An invented mother and father."""

    mother: str
    mother_nik: str
    mother_born: dt.date
    father_nik: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Baby:
    """A baby as one hospital types it; `told` overrides any field of the record's child."""

    family: Family
    born: dt.datetime
    sex: Sex
    grams: int
    order: int | None = None
    size: int = 1
    name: str = ""
    hospital: str = _HOSPITALS[0]
    number: str = ""
    nik: str | None = None
    mother: str | None = None
    mother_born: dt.date | None = None
    told: dict[str, Any] = field(default_factory=dict)

    def record(self) -> BirthRecord:
        family = self.family
        child = {
            "medical_record": Personal(self.number or f"{self.born:%y%m%d%H%M}"),
            "name": Personal(self.name) if self.name else None,
            "sex": self.sex,
            "born_on": self.born.date(),
            "born_at": f"{self.born:%H:%M}",
            "utc_offset": "+07:00",
            "plurality": PluralityKind(min(self.size, 5)) if self.size else None,
            "birth_order": self.order,
            "weight_g": self.grams or None,
            "attendant": Attendant.MIDWIFE_OR_NURSE,
        }
        nik = family.mother_nik if self.nik is None else self.nik
        mother = Parent(
            name=Personal(self.mother or family.mother),
            nik=Nik(nik) if nik else None,
            born_on=self.mother_born or family.mother_born,
            sex=Sex.FEMALE,
        )
        return BirthRecord(
            facility=Facility(code=self.hospital, name=self.hospital, region="3510"),
            child=Child(**(child | self.told)),
            mother=mother,
            father=Parent(nik=Nik(family.father_nik), sex=Sex.MALE),
        )


class Maker:
    """Makes what a kind of pair needs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def family(self) -> Family:
        rng = self.rng
        born = dt.date(1983, 1, 1) + dt.timedelta(days=rng.randrange(8400))
        his = born - dt.timedelta(days=rng.randrange(100, 2500))
        district, serial = rng.randrange(1, 25), rng.randrange(9000, 9100)
        return Family(
            mother=f"{rng.choice(_FIRST)} {rng.choice(_LAST)}",
            mother_nik=f"3510{district:02}{born.day + 40:02}{born:%m%y}{serial}",
            mother_born=born,
            father_nik=f"3510{district:02}{his:%d%m%y}{serial}",
        )

    def baby(self, family: Family | None = None, **told: Any) -> Baby:
        rng = self.rng
        family = family or self.family()
        minutes = rng.randrange(24 * 60 * 60)
        values: dict[str, Any] = {
            "born": dt.datetime(2025, 3, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=minutes),
            "sex": rng.choice((Sex.MALE, Sex.FEMALE)),
            "grams": round(rng.gauss(3100, 420) / 10) * 10,
            "number": f"{rng.randrange(10**8):08}",
        } | told
        baby = Baby(family, **values)
        baby.name = baby.name or (self.name(baby.sex) if rng.random() < 0.4 else self.placeholder(family))
        return baby

    def name(self, sex: Sex) -> str:
        return f"{self.rng.choice(_BOYS if sex is Sex.MALE else _GIRLS)} {self.rng.choice(_SECOND)}"

    def placeholder(self, family: Family, order: int | None = None) -> str:
        what = self.rng.choice(("BY NY", "BAYI NY.", "BBL NY", "BY. NY."))
        return f"{what} {family.mother}" + (f" {_ROMAN[order - 1]}" if order else "")

    def again(self, baby: Baby, **told: Any) -> Baby:
        """Return the same baby under another number, as a second clerk types it."""
        values = {name: getattr(baby, name) for name in Baby.__dataclass_fields__} | {
            "number": f"{self.rng.randrange(10**8):08}",
            "told": dict(baby.told),
        }
        copy = Baby(**(values | told))
        if "name" not in told:
            copy.name = self.rng.choice((baby.name, self.name(baby.sex), self.placeholder(baby.family)))
        return copy

    def siblings(self, size: int, *, gap: tuple[int, int] = (1, 45), same_sex: bool = False, **told: Any) -> list[Baby]:
        """Return the babies of one delivery in their order, minutes apart."""
        rng = self.rng
        first = self.baby(size=size, order=1, grams=round(rng.gauss(2450, 300) / 10) * 10, **told)
        babies = [first]
        for order in range(2, size + 1):
            born = babies[-1].born + dt.timedelta(minutes=rng.randrange(*gap))
            sex = first.sex if same_sex else rng.choice((Sex.MALE, Sex.FEMALE))
            grams = round(rng.gauss(2450, 300) / 10) * 10
            babies.append(self.baby(first.family, size=size, order=order, born=born, sex=sex, grams=grams))
        return babies

    def slip(self, born: dt.datetime) -> dt.datetime:
        """Return a time as it is typed wrongly: minutes off, a digit, two exchanged, or twelve hours."""
        rng = self.rng
        match rng.randrange(4):
            case 0:
                return born + dt.timedelta(minutes=rng.choice((-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)))
            case 1:
                return born.replace(minute=born.minute // 10 * 10 + rng.randrange(10))
            case 2:
                a, b = divmod(born.minute, 10)
                return born.replace(minute=b * 10 + a) if b < 6 else born.replace(minute=(born.minute + 3) % 60)
            case _:
                return born.replace(hour=(born.hour + 12) % 24)


# ----------------------------------------------------------------------------------------------- the kinds of pairs

_Two = tuple[BirthRecord, BirthRecord]


def _twins_over_midnight(m: Maker) -> _Two:
    late = dt.datetime(2025, 4, 1, 23, m.rng.randrange(30, 60), tzinfo=dt.UTC) + dt.timedelta(days=m.rng.randrange(60))
    one, two = m.siblings(2, born=late, gap=(31, 180))
    assert one.born.date() != two.born.date()
    return one.record(), two.record()


def _twins_of_one_placeholder(m: Maker) -> _Two:
    one, two = m.siblings(2, same_sex=True)
    one.name = two.name = m.placeholder(one.family)
    return one.record(), two.record()


def _twins_at_one_minute(m: Maker) -> _Two:
    """Differ in nothing but the order: same sex, name, minute and weight."""
    one, two = m.siblings(2, same_sex=True)
    two.name, two.born, two.grams = one.name, one.born, one.grams
    return one.record(), two.record()


def _twins_by_placeholder_only(m: Maker) -> _Two:
    one, two = m.siblings(2)
    one.name, two.name = m.placeholder(one.family, 1), m.placeholder(one.family, 2)
    one.order = two.order = None
    return one.record(), two.record()


def _twins_without_order(m: Maker) -> _Two:
    """No order at all, but weights or sexes of two: their own finding (BIRTH_ORDER) asks for it."""
    one, two = m.siblings(2, gap=(6, 45))
    two.grams = one.grams + m.rng.choice((-1, 1)) * m.rng.randrange(150, 600)
    one.order = two.order = None
    return one.record(), two.record()


def _triplets_out_of_order(m: Maker) -> _Two:
    babies = m.siblings(3, same_sex=m.rng.random() < 0.5)
    for baby in babies:
        baby.name = m.placeholder(baby.family)
    one, two = m.rng.sample(babies, 2)
    return one.record(), two.record()


def _one_twin_stillborn(m: Maker) -> _Two:
    from gateway.contract.record import Event  # noqa: PLC0415 - used here alone

    one, two = m.siblings(2, same_sex=True)
    return one.record(), two.record().model_copy(update={"event": Event.STILLBIRTH})


def _mothers_of_one_name(m: Maker) -> _Two:
    """Two women, both with NIK, in one hospital in one hour."""
    one = m.baby()
    family = m.family()
    family.mother = one.family.mother
    two = m.baby(family, born=one.born + dt.timedelta(minutes=m.rng.randrange(60)), sex=one.sex)
    two.name = one.name
    return one.record(), two.record()


def _mothers_of_one_name_without_nik(m: Maker) -> _Two:
    """Two women without NIK, told apart by their birth dates."""
    one = m.baby(nik="")
    family = m.family()
    family.mother = one.family.mother
    two = m.baby(family, nik="", born=one.born + dt.timedelta(minutes=m.rng.randrange(60)), sex=one.sex)
    return one.record(), two.record()


def _sent_again(m: Maker) -> _Two:
    baby = m.baby()
    return baby.record(), m.again(baby).record()


def _named_meanwhile(m: Maker) -> _Two:
    baby = m.baby()
    baby.name = m.placeholder(baby.family)
    return baby.record(), m.again(baby, name=m.name(baby.sex)).record()


def _time_mistyped(m: Maker) -> _Two:
    baby = m.baby()
    return baby.record(), m.again(baby, born=m.slip(baby.born)).record()


def _weighed_again(m: Maker) -> _Two:
    baby = m.baby()
    grams = baby.grams + m.rng.choice((-1, 1)) * m.rng.randrange(30, 250)
    minutes = dt.timedelta(minutes=m.rng.randrange(5))
    return baby.record(), m.again(baby, grams=grams, born=baby.born + minutes).record()


def _date_mistyped(m: Maker) -> _Two:
    baby = m.baby()
    tens, ones = divmod(baby.born.day, 10)
    days = [d for d in (*range(1, 29),) if d != baby.born.day and (d // 10 == tens or d % 10 == ones)]
    wrong = baby.born.replace(day=m.rng.choice(days))
    return baby.record(), m.again(baby, born=wrong).record()


def _sex_mistyped(m: Maker) -> _Two:
    baby = m.baby()
    other = Sex.FEMALE if baby.sex is Sex.MALE else Sex.MALE
    return baby.record(), m.again(baby, sex=other).record()


def _mother_without_nik(m: Maker) -> _Two:
    baby = m.baby()
    return baby.record(), m.again(baby, nik="").record()


def _nik_misshapen(m: Maker) -> _Two:
    baby = m.baby()
    at = m.rng.randrange(16)
    dirt = baby.family.mother_nik[:at] + baby.family.mother_nik[at + 1 :]
    return baby.record(), m.again(baby, nik=dirt).record()


def _only_names(m: Maker) -> _Two:
    """Neither NIK nor the mother's birth date on the second notice; the time is right, the weight too."""
    baby = m.baby()
    first, second = baby.record(), m.again(baby, nik="").record()
    assert second.mother is not None
    return first, second.model_copy(
        update={"mother": second.mother.model_copy(update={"born_on": None}), "father": None}
    )


def _time_untold(m: Maker) -> _Two:
    baby = m.baby()
    return baby.record(), m.again(baby, told={"born_at": None}).record()


def _two_hospitals(m: Maker) -> _Two:
    """Transferred: other facility, weighed anew, the name and what is known of the mother as they typed it there."""
    baby = m.baby()
    there = m.again(
        baby,
        hospital=m.rng.choice(_HOSPITALS[1:]),
        grams=baby.grams + m.rng.choice((0, 0, -10, -20, -40, 50)),
        nik=m.rng.choice((None, None, "")),
        born=m.rng.choice((baby.born, m.slip(baby.born))),
        told={"attendant": None},
    )
    return baby.record(), there.record()


def _twin_sent_again(m: Maker) -> _Two:
    babies = m.siblings(m.rng.choice((2, 2, 2, 3)), same_sex=True)
    baby = m.rng.choice(babies)
    minutes = dt.timedelta(minutes=m.rng.choice((0, 0, 0, 1, -2)))
    return baby.record(), m.again(baby, name=baby.name, born=baby.born + minutes).record()


def _same_order_twice(m: Maker) -> _Two:
    one, two = m.siblings(2, gap=(2, 45))
    two.order = one.order
    if one.sex is two.sex and abs(one.grams - two.grams) <= 20:
        two.grams = one.grams + 180
    if m.rng.random() < 0.5:
        one.name = two.name = m.placeholder(one.family)
    return one.record(), two.record()


def _twins_not_told_to_be(m: Maker) -> _Two:
    """PID-24 is empty or N on both."""
    one, two = m.siblings(2, gap=(6, 45))
    one.size = two.size = m.rng.choice((0, 1))
    one.order = two.order = None
    two.grams = one.grams + m.rng.choice((-1, 1)) * m.rng.randrange(150, 600)
    one.name, two.name = m.placeholder(one.family), m.placeholder(two.family)
    return one.record(), two.record()


def _years_apart(m: Maker) -> _Two:
    baby = m.baby()
    later = baby.born + dt.timedelta(days=m.rng.randrange(290, 2500))
    return baby.record(), m.baby(baby.family, born=later, sex=baby.sex).record()


def _strangers(m: Maker) -> _Two:
    baby = m.baby()
    return baby.record(), m.baby(born=baby.born, sex=baby.sex, grams=baby.grams).record()


S, T, N, C = Verdict.SUSPECT, Verdict.TWIN, Verdict.NEW, Verdict.CONFLICT
KINDS: dict[str, tuple[Verdict, Callable[[Maker], _Two], str]] = {
    "twins over midnight": (T, _twins_over_midnight, "orders differ, dates differ"),
    "twins of one placeholder": (T, _twins_of_one_placeholder, "same sex, same `BY NY …`, orders differ"),
    "twins at one minute": (T, _twins_at_one_minute, "same sex, name, minute and weight; the orders differ"),
    "twins by placeholder": (T, _twins_by_placeholder_only, "no PID-25; `BY NY … I` and `… II`"),
    "twins without order": (T, _twins_without_order, "no order; weights of two"),
    "triplets out of order": (T, _triplets_out_of_order, "two of three, in any order, one placeholder"),
    "one twin stillborn": (T, _one_twin_stillborn, "orders differ, one of them stillborn"),
    "sent again, new number": (S, _sent_again, "the same content under another record number"),
    "named meanwhile": (S, _named_meanwhile, "a placeholder first, then the name"),
    "time mistyped": (S, _time_mistyped, "minutes off, a digit, two exchanged, twelve hours"),
    "weighed again": (S, _weighed_again, "30 to 250 g off, minutes off"),
    "date mistyped": (S, _date_mistyped, "one digit of the day"),
    "sex mistyped": (S, _sex_mistyped, "the other sex, all else the same"),
    "mother without NIK": (S, _mother_without_nik, "the second notice has her name and birth date only"),
    "mother's NIK misshapen": (S, _nik_misshapen, "15 digits"),
    "mother by name only": (S, _only_names, "neither NIK nor birth date nor father"),
    "time not told": (S, _time_untold, "PID-7 without time"),
    "two hospitals": (S, _two_hospitals, "moved: weighed anew, one in three without NIK"),
    "a twin sent again": (S, _twin_sent_again, "one of several under a third number"),
    "same order twice": (C, _same_order_twice, "two twins, both told as first"),
    "twins not told to be": (C, _twins_not_told_to_be, "PID-24 empty or N on both"),
    "mothers of one name": (N, _mothers_of_one_name, "two NIK, one hospital, one hour"),
    "mothers of one name, no NIK": (N, _mothers_of_one_name_without_nik, "two birth dates, one hour"),
    "years apart": (N, _years_apart, "the mother's next baby"),
    "strangers": (N, _strangers, "same minute, sex and weight, other mothers"),
}


def pairs(*, each: int, seed: int = 4, dirt: bool = False) -> Iterator[Labelled]:
    """Yield `each` pairs of every kind; which of the two is told first is left to chance.

    With `dirt` each notice loses or garbles fields besides, as real ones do (`soiled`).
    """
    rng = random.Random(seed)
    maker = Maker(rng)
    for kind, (truth, make, _) in KINDS.items():
        for _ in range(each):
            one, other = make(maker)
            if rng.random() < 0.5:
                one, other = other, one
            if dirt:
                one, other = soiled(one, rng), soiled(other, rng)
            yield Labelled(kind, one, other, truth)


def soiled(record: BirthRecord, rng: random.Random) -> BirthRecord:
    """Return a notice as a tired clerk and an old system send it."""
    child: dict[str, Any] = {}
    lost = {"weight_g": 0.08, "born_at": 0.04, "birth_order": 0.05, "plurality": 0.04}
    child |= {name: None for name, share in lost.items() if rng.random() < share}
    if rng.random() < 0.03 and record.child.weight_g:
        child["weight_g"] = record.child.weight_g + rng.choice((-50, -30, 30, 50))
    if rng.random() < 0.02:
        child["utc_offset"] = "+08:00"
    update: dict[str, Any] = {"child": record.child.model_copy(update=child)}
    if record.mother is not None:
        update["mother"] = record.mother.model_copy(update=_soiled_mother(record.mother, rng))
    if rng.random() < 0.3:
        update["father"] = None
    return record.model_copy(update=update)


def _soiled_mother(mother: Parent, rng: random.Random) -> dict[str, Any]:
    told: dict[str, Any] = {}
    nik = mother.nik.reveal() if mother.nik else ""
    chance = rng.random()
    if chance < 0.08:
        told["nik"] = None
    elif chance < 0.11 and nik:
        told["nik"] = Nik(nik[:-1])
    elif chance < 0.13 and nik:  # another woman's: only the register can tell
        told["nik"] = Nik(f"{nik[:14]}{(int(nik[14:]) + rng.randrange(1, 99)) % 100:02}")
    if rng.random() < 0.3:
        told["born_on"] = None
    if rng.random() < 0.04 and mother.name:
        name = mother.name.reveal()
        at = rng.randrange(len(name))
        told["name"] = Personal(name[:at] + name[at + 1 :])
    return told

"""The content rules: what is wrong with a birth record, and in which state that leaves it (domain A.5, B, F).

Pure. A rule names a code of the catalogue and the place in the message; texts, severity and hold are the catalogue's.
Nothing is corrected here, and nothing guessed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State, judged_state
from gateway.contract.record import Event, PlaceKind, PluralityKind, Sex, Variant
from gateway.hl7.location import Location
from gateway.verify.cards import check_card
from gateway.verify.form import missing_items
from gateway.verify.names import check_name
from gateway.verify.nik import LENGTH, age_on, birth_date_of, check_nik, clean_nik

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.contract.facility import FacilityProfile
    from gateway.contract.record import BirthRecord

BIRTH_TERM = dt.timedelta(days=60)
STILLBIRTH_TERM = dt.timedelta(days=30)
_CLOCK_TOLERANCE = dt.timedelta(hours=1)  # F 70
_VIABLE_WEEKS = 28  # F 73, 74
_GRAMS, _CENTIMETRES, _WEEKS = (300, 7000), (20, 65), (20, 45)  # B.5
_MOTHER_AGE = (17, 60)  # F 54, 55
_REGION = 4  # digits of a kabupaten or kota

# Where something that is not there should have been.
_EXPECTED = {
    "child.name": Location("PID", 1, 5),
    "child.born_on": Location("PID", 1, 7),
    "child.born_at": Location("PID", 1, 7),
    "child.sex": Location("PID", 1, 8),
    "child.place_name": Location("PID", 1, 23),
    "child.birth_order": Location("PID", 1, 25),
    "mother": Location("PID", 1, 21),
    "mother.nik": Location("PID", 1, 21),
    "mother.name": Location("NK1", 1, 2),
    "father": Location("NK1", 1, 3),
    "father.nik": Location("NK1", 1, 33),
    "father.family_card": Location("NK1", 1, 33),
    "child.gestation_weeks": Location("OBX", 1, 5),
    "form": Location("ZKL", 1),
    "consent.given": Location("ZKL", 1, 13),
}
_SEVERITIES = "EWI"
_IDENTITY = {
    parent: [f"{parent}.{field}" for field in ("name", "nik", "travel_document")] for parent in ("mother", "father")
}


@dataclass(frozen=True)
class Judgement:
    """What the rules found, errors first, and the state it leads to."""

    findings: tuple[Finding, ...]
    state: State


_NOTHING_WRONG = Judgement((), judged_state(set()))


class _Case:
    """One birth under judgement: its values by path, where they came from, and when and where it is judged."""

    __slots__ = ("facility", "live", "now", "places", "require_form", "today", "values", "zone")

    def __init__(
        self,
        values: Mapping[str, Any],
        places: Mapping[str, Location],
        facility: FacilityProfile,
        now: dt.datetime,
        *,
        require_form: bool,
    ) -> None:
        self.values = values
        self.places = places
        self.facility = facility
        self.now = now
        self.require_form = require_form
        self.zone = ZoneInfo(facility.time_zone)
        # The calendar day at the place of birth (B.7).
        self.today = now.astimezone(self.zone).date()
        # Whether a living child was born: a stillborn one has no name, NIK or akta (F 73).
        self.live = values.get("event") is not Event.STILLBIRTH

    @property
    def abandoned(self) -> bool:
        """Whether PID-31 says that nobody knows the parents, and nothing else does (F 83)."""
        return (
            self.values.get("variant") is Variant.NO_PARENTS
            and not any(path.startswith("mother.") for path in self.values)
            and not self.is_known("father")
        )

    def is_known(self, parent: str) -> bool:
        """Tell whether there is a parent one could name or look up."""
        return any(self.values.get(path) for path in _IDENTITY[parent])

    def found(self, code: str, path: str, **parameters: str) -> Finding:
        """Return a finding at the place a path came from, or should have come from."""
        return Finding(code, self.places.get(path, _EXPECTED.get(path)), parameters)


def judge(
    values: Mapping[str, Any],
    places: Mapping[str, Location],
    *,
    facility: FacilityProfile,
    now: dt.datetime,
    require_form: bool,
    adapter_findings: Iterable[Finding] = (),
) -> Judgement:
    """Judge the values of a record by path (contract.revision.leaves_of, contract.ports.Draft).

    Findings of the adapter count too; a code is told once, where the rules agree with it.
    """
    case = _Case(values, places, facility, now, require_form=require_form)
    found: dict[str, Finding] = {}
    for finding in adapter_findings:
        found.setdefault(finding.code, finding)
    for rule in _RULES:
        for finding in rule(case):
            found.setdefault(finding.code, finding)
    if not found:
        return _NOTHING_WRONG
    ordered = sorted(found.values(), key=lambda finding: _SEVERITIES.find(finding.severity))
    holds = {finding.entry.hold for finding in ordered if finding.entry.hold}
    return Judgement(tuple(ordered), judged_state(holds))


def deadline(record: BirthRecord, now: dt.datetime) -> dt.date | None:
    """Return the last day to register: 60 days after a birth, 30 after a stillbirth (B.7, F 73).

    None without a credible birth date (one after `now` is none) and below 28 weeks, where nothing is registered (F 74).
    """
    child = record.child
    return _last_day(child.born_on, child.gestation_weeks, now, live=record.event is Event.LIVE_BIRTH)


def _last_day(born: dt.date | None, weeks: int | None, now: dt.datetime, *, live: bool) -> dt.date | None:
    if born is None or born > now.date() + dt.timedelta(days=1):
        return None
    if live:
        return born + BIRTH_TERM
    return None if weeks is not None and weeks < _VIABLE_WEEKS else born + STILLBIRTH_TERM


def _event(case: _Case) -> Iterator[Finding]:
    """F 73-75: from 28 weeks on a stillbirth is registered, before it is not; unknown, or alive, is for a person."""
    if case.live:
        return
    for path in ("child.apgar_1", "child.apgar_5", "child.apgar_10"):
        if case.values.get(path):
            yield case.found("STILLBIRTH_CONTRADICTION", path)
    weeks = case.values.get("child.gestation_weeks")
    if weeks is None:
        yield case.found("GESTATION_UNKNOWN", "child.gestation_weeks")
    else:
        yield case.found(
            "STILLBIRTH_GE_28W" if weeks >= _VIABLE_WEEKS else "STILLBIRTH_LT_28W", "child.gestation_weeks"
        )


def _moment(case: _Case) -> Iterator[Finding]:
    """F 66-71: the day and time of birth."""
    born, offset = case.values.get("child.born_on"), case.values.get("child.utc_offset")
    if born is None:
        yield case.found("BIRTH_DATE", "child.born_on")
        return
    if case.live and "child.born_at" not in case.values:
        yield case.found("BIRTH_TIME", "child.born_at")
    if _is_future(case, born, offset):
        yield case.found("BIRTH_FUTURE", "child.born_on")
    last = _last_day(born, case.values.get("child.gestation_weeks"), case.now, live=case.live)
    if last and case.today > last:
        yield case.found("BIRTH_LATE", "child.born_on", days=str((case.today - born).days))
    if offset and offset != _offset_on(case.zone, born):
        yield case.found("BIRTH_OFFSET", "child.utc_offset", offset=offset)


@lru_cache(maxsize=512)
def _offset_on(zone: ZoneInfo, day: dt.date) -> str:
    """Return a zone's offset at noon of a day, as records write it."""
    text = dt.datetime.combine(day, dt.time(12), zone).strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def _is_future(case: _Case, born: dt.date, offset: str | None) -> bool:
    at = case.values.get("child.born_at")
    if at is None or offset is None:
        return born > case.today
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    wall = dt.datetime(born.year, born.month, born.day, int(at[:2]), int(at[3:]), tzinfo=dt.UTC)
    return wall - dt.timedelta(minutes=-minutes if offset[0] == "-" else minutes) > case.now + _CLOCK_TOLERANCE


def _place(case: _Case) -> Iterator[Finding]:
    """F 63, 64: the akta needs the place; born outside a facility, somebody else than it has to vouch for the birth."""
    values = case.values
    if not case.live:
        return
    if not (values.get("child.place_name") or values.get("child.place_region")):
        yield case.found("BIRTH_PLACE", "child.place_name")
    elsewhere = values.get("child.place_kind") in (PlaceKind.HOME, PlaceKind.OTHER)
    if elsewhere and not values.get("facility.letter_number"):
        yield case.found("BORN_ELSEWHERE", "child.place_kind")


def _death(case: _Case) -> Iterator[Finding]:
    """F 76, 77: a child that lived and died gets its akta of birth, and then one of death."""
    if case.live and case.values.get("child.died_at"):
        yield case.found("CHILD_DIED", "child.died_at")


def _sex(case: _Case) -> Iterator[Finding]:
    """F 78: the form knows two; anything else is the office's decision."""
    if case.live and "child.sex" not in case.values:
        yield case.found("SEX_UNKNOWN", "child.sex")


def _order(case: _Case) -> Iterator[Finding]:
    """F 4: of a multiple birth the order must be known, and must lie within the set."""
    plurality = case.values.get("child.plurality")
    if not case.live or plurality in (None, PluralityKind.SINGLE):
        return
    limit = plurality if plurality is not PluralityKind.OTHER else 10
    order = case.values.get("child.birth_order")
    if order is None or order > limit:
        yield case.found("BIRTH_ORDER", "child.birth_order")


_MEASURES = (
    ("WEIGHT_RANGE", "child.weight_g", _GRAMS),
    ("LENGTH_RANGE", "child.length_cm", _CENTIMETRES),
    ("GESTATION_RANGE", "child.gestation_weeks", _WEEKS),
)


def _measures(case: _Case) -> Iterator[Finding]:
    """B.5: what is out of the ordinary is said, not stopped."""
    for code, path, (low, high) in _MEASURES:
        value = case.values.get(path)
        if value is not None and not low <= value <= high and (case.live or code == "WEIGHT_RANGE"):
            yield case.found(code, path)


def _name(case: _Case) -> Iterator[Finding]:
    """B.8, F 26-33."""
    values = case.values
    if not case.live:
        return
    name = values.get("child.name")
    if name is None:
        yield case.found("NAME_MISSING", "child.name")
        return
    parents = [found for path in ("mother.name", "father.name") if (found := values.get(path))]
    for code in check_name(name, as_sent=values.get("child.name_as_sent") or "", parents=parents):
        parameters = {"count": str(len(name))} if code == "LENGTH" else {}
        yield case.found(f"NAME_{code}", "child.name", **parameters)


def _mother(case: _Case) -> Iterator[Finding]:
    """F 34-45, 54-56, 60, 83."""
    if not case.is_known("mother"):
        yield case.found("FOUNDLING", "variant") if case.abandoned else case.found("MOTHER_MISSING", "mother")
        return
    if "mother.name" not in case.values:
        yield case.found("MOTHER_NAME_MISSING", "mother.name")
    yield from _parent(case, "mother", Sex.FEMALE)
    yield from _mother_age(case)
    yield from _domicile(case)


def _father(case: _Case) -> Iterator[Finding]:
    """F 36, 48-50, 57. A birth without a father is complete (F 48)."""
    if case.is_known("father"):
        yield from _parent(case, "father", Sex.MALE)
    elif case.live and not case.abandoned:
        yield case.found("NO_FATHER", "father")


def _parent(case: _Case, role: str, sex: Sex) -> Iterator[Finding]:
    """Check the NIK by the role's sex: what NK1-15 says of it does not help a father's number in the mother's place."""
    prefix, path, values = role.upper(), f"{role}.nik", case.values
    foreign = values.get(f"{role}.citizenship") == "WNA"
    if foreign:
        yield case.found(f"{prefix}_FOREIGN", f"{role}.citizenship")
    number = values.get(path)
    if number is None:
        if not foreign:
            yield case.found(f"{prefix}_NIK_MISSING", path)
        return
    if clean_nik(number) in (values.get(f"{role}.family_card"), values.get("family_card")):
        problems = ["FORMAT"]  # F 42: the digits of a KK are no birth date, so that only this is said
    else:
        problems = check_nik(number, sex=sex, born_on=values.get(f"{role}.born_on"), today=case.today)
    for code in problems:
        yield case.found(f"{prefix}_NIK_{code}", path, **_counted(code, number))


def _counted(code: str, number: str) -> dict[str, str]:
    return {"count": str(len(clean_nik(number)))} if code == "LENGTH" else {}


def _mother_age(case: _Case) -> Iterator[Finding]:
    """F 54, 55: very young (no KTP, child protection) or beyond belief: a person looks."""
    day = case.values.get("child.born_on") or case.today
    told, nik = case.values.get("mother.born_on"), case.values.get("mother.nik")
    cards = (case.values.get("mother.family_card"), case.values.get("family_card"))
    is_nik = nik and clean_nik(nik) not in cards  # F 42: the digits of a KK are no birth date
    born = told or (birth_date_of(nik, today=case.today) if nik and is_nik else None)
    if born and not _MOTHER_AGE[0] <= age_on(born, day) <= _MOTHER_AGE[1]:
        yield case.found("MOTHER_AGE", "mother.born_on" if told else "mother.nik")


def _domicile(case: _Case) -> Iterator[Finding]:
    """F 60: by the family card, else by the village of residence; a NIK keeps the prefix of its first issue."""
    for path in ("mother.family_card", "family_card"):
        number = clean_nik(case.values.get(path) or "")
        if len(number) == LENGTH and number.isascii() and number.isdigit():
            region, source = number[:_REGION], path
            break
    else:
        region, source = (case.values.get("residence.village") or "")[:_REGION], "residence.village"
    if region and region != case.facility.region:
        yield case.found("MOTHER_OTHER_KABUPATEN", source)


# Of table 0002 and Indonesian words: not married now. A widow may well have been when the child was conceived (F 52).
_UNMARRIED = frozenset({"S", "B", "D", "N", "BELUM KAWIN", "BELUM MENIKAH", "LAJANG", "CERAI", "CERAI HIDUP"})


def _marriage(case: _Case) -> Iterator[Finding]:
    """F 50, 51: a father without a marriage is kept and told of; a marriage that NK1-14 denies is looked at."""
    values = case.values
    if not (case.live and case.is_known("father") and case.is_known("mother")):
        return
    match values.get("marriage.status"):
        case "TIDAK":
            yield case.found("FATHER_NOT_ON_AKTA", "marriage.status")
        case "TERCATAT":
            for path in ("mother.marital_status", "father.marital_status"):
                if (values.get(path) or "").upper() in _UNMARRIED:
                    yield case.found("MARRIAGE_CONFLICT", path)


def _form(case: _Case) -> Iterator[Finding]:
    """F 88, B.6: what HL7 alone cannot bring. Texts name what is missing, in both languages."""
    if not (case.require_form and case.live):
        return
    missing = missing_items(case.values, today=case.today)
    if missing:
        parameters = {"missing": ", ".join(m[0] for m in missing), "missing_en": ", ".join(m[1] for m in missing)}
        yield case.found("FORM_INCOMPLETE", "form", **parameters)


def _consent(case: _Case) -> Iterator[Finding]:
    """F 87: where the facility does not lean on the public task, the parents must have agreed."""
    if case.live and case.facility.consent == "required" and not case.values.get("consent.given"):
        yield case.found("CONSENT_MISSING", "consent.given")


def _papers(case: _Case) -> Iterator[Finding]:
    """F 59: of parents without any papers, none of them Indonesian, another document is issued."""
    known = [parent for parent in ("mother", "father") if case.is_known(parent)]
    if known and all(_is_without_papers(case, parent) for parent in known):
        yield case.found("NO_PAPERS", f"{known[0]}.citizenship")


def _is_without_papers(case: _Case, parent: str) -> bool:
    papers = any(case.values.get(f"{parent}.{field}") for field in ("nik", "travel_document"))
    return case.values.get(f"{parent}.citizenship") == "WNA" and not papers


def _cards(case: _Case) -> Iterator[Finding]:
    """F 89: parents in two family cards: said, and the office asks into which one the child goes."""
    cards = {clean_nik(c) for parent in ("mother", "father") if (c := case.values.get(f"{parent}.family_card"))}
    if len(cards) > 1:
        yield case.found("PARENTS_KK_DIFFER", "father.family_card")


def _card_numbers(case: _Case) -> Iterator[Finding]:
    """Judge the form of the cards that were told (B.2). A wrong one holds nothing: the office has the right one."""
    for path in ("family_card", "mother.family_card", "father.family_card"):
        number = case.values.get(path)
        if number and (problem := check_card(number, today=case.today)):
            yield case.found(f"KK_{problem}", path, count=str(len(clean_nik(number))))


_RULES: tuple[Callable[[_Case], Iterator[Finding]], ...] = (
    _event,
    _moment,
    _place,
    _death,
    _sex,
    _order,
    _measures,
    _mother,
    _father,
    _papers,
    _cards,
    _card_numbers,
    _marriage,
    _name,
    _form,
    _consent,
)

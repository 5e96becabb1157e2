"""The content rules: what is wrong with a birth record, and in which state that leaves it (domain A.5, B, F).

Pure. A rule names a code of the catalogue and the place in the message; texts, severity and hold are the catalogue's.
Nothing is corrected here, and nothing guessed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State, judged_state
from gateway.contract.record import BirthRecord, Event, Parent, PluralityKind, Sex, Variant
from gateway.hl7.location import Location
from gateway.verify.form import is_known, missing_items
from gateway.verify.names import check_name
from gateway.verify.nik import LENGTH, age_on, birth_date_of, check_nik, clean_nik

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.contract.facility import FacilityProfile

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
    "child.birth_order": Location("PID", 1, 25),
    "mother": Location("PID", 1, 21),
    "mother.nik": Location("PID", 1, 21),
    "mother.name": Location("NK1", 1, 2),
    "father": Location("NK1", 1, 3),
    "father.nik": Location("NK1", 1, 33),
    "child.gestation_weeks": Location("OBX", 1, 5),
    "form": Location("ZKL", 1),
}
_SEVERITIES = "EWI"


@dataclass(frozen=True)
class Judgement:
    """What the rules found, errors first, and the state it leads to."""

    findings: tuple[Finding, ...]
    state: State


@dataclass(frozen=True, slots=True)
class _Case:
    record: BirthRecord
    places: Mapping[str, Location]
    facility: FacilityProfile
    now: dt.datetime
    require_form: bool

    @property
    def today(self) -> dt.date:
        """The calendar day at the place of birth (B.7)."""
        return self.now.astimezone(ZoneInfo(self.facility.time_zone)).date()

    @property
    def live(self) -> bool:
        """Whether a living child was born: a stillborn one has no name, NIK or akta (F 73)."""
        return self.record.event is Event.LIVE_BIRTH

    def found(self, code: str, path: str, **parameters: str) -> Finding:
        """Return a finding at the place a path came from, or should have come from."""
        return Finding(code, self.places.get(path, _EXPECTED.get(path)), parameters)


def judge(
    record: BirthRecord,
    places: Mapping[str, Location],
    *,
    facility: FacilityProfile,
    now: dt.datetime,
    require_form: bool,
    adapter_findings: Iterable[Finding] = (),
) -> Judgement:
    """Judge a record. Findings of the adapter count too; a code is told once, where the rules agree with it."""
    case = _Case(record, places, facility, now, require_form)
    found: dict[str, Finding] = {}
    for finding in (*adapter_findings, *(f for rule in _RULES for f in rule(case))):
        found.setdefault(finding.code, finding)
    ordered = sorted(found.values(), key=lambda finding: _SEVERITIES.find(finding.severity))
    holds = {finding.entry.hold for finding in ordered if finding.entry.hold}
    return Judgement(tuple(ordered), judged_state(holds))


def deadline(record: BirthRecord, now: dt.datetime) -> dt.date | None:
    """Return the last day to register: 60 days after a birth, 30 after a stillbirth (B.7, F 73).

    None without a credible birth date (one after `now` is none) and below 28 weeks, where nothing is registered (F 74).
    """
    born = record.child.born_on
    if born is None or born > now.date() + dt.timedelta(days=1):
        return None
    if record.event is Event.LIVE_BIRTH:
        return born + BIRTH_TERM
    weeks = record.child.gestation_weeks
    return None if weeks is not None and weeks < _VIABLE_WEEKS else born + STILLBIRTH_TERM


def _event(case: _Case) -> Iterator[Finding]:
    """F 73-75: from 28 weeks on a stillbirth is registered, before it is not; unknown, or alive, is for a person."""
    if case.live:
        return
    child = case.record.child
    for path in ("apgar_1", "apgar_5", "apgar_10"):
        if getattr(child, path):
            yield case.found("STILLBIRTH_CONTRADICTION", f"child.{path}")
    weeks = child.gestation_weeks
    if weeks is None:
        yield case.found("GESTATION_UNKNOWN", "child.gestation_weeks")
    else:
        yield case.found(
            "STILLBIRTH_GE_28W" if weeks >= _VIABLE_WEEKS else "STILLBIRTH_LT_28W", "child.gestation_weeks"
        )


def _moment(case: _Case) -> Iterator[Finding]:
    """F 66-71: the day and time of birth."""
    child = case.record.child
    if child.born_on is None:
        yield case.found("BIRTH_DATE", "child.born_on")
        return
    if case.live and child.born_at is None:
        yield case.found("BIRTH_TIME", "child.born_at")
    if _is_future(case):
        yield case.found("BIRTH_FUTURE", "child.born_on")
    last = deadline(case.record, case.now)
    if last and case.today > last:
        yield case.found("BIRTH_LATE", "child.born_on", days=str((case.today - child.born_on).days))
    at = dt.datetime.combine(child.born_on, dt.time(12), ZoneInfo(case.facility.time_zone))
    if child.utc_offset and child.utc_offset.replace(":", "") != f"{at:%z}"[:5]:
        yield case.found("BIRTH_OFFSET", "child.utc_offset", offset=child.utc_offset)


def _is_future(case: _Case) -> bool:
    child = case.record.child
    if child.born_on is None:
        return False
    if child.born_at is None or child.utc_offset is None:
        return child.born_on > case.today
    hours, minutes = int(child.utc_offset[1:3]), int(child.utc_offset[4:6])
    offset = dt.timedelta(hours=hours, minutes=minutes) * (-1 if child.utc_offset[0] == "-" else 1)
    wall = dt.datetime.combine(child.born_on, dt.time(int(child.born_at[:2]), int(child.born_at[3:])), dt.UTC)
    return wall - offset > case.now + _CLOCK_TOLERANCE


def _sex(case: _Case) -> Iterator[Finding]:
    """F 78: the form knows two; anything else is the office's decision."""
    if case.live and case.record.child.sex is None:
        yield case.found("SEX_UNKNOWN", "child.sex")


def _order(case: _Case) -> Iterator[Finding]:
    """F 4: of a multiple birth the order must be known, and must lie within the set."""
    child = case.record.child
    if not case.live or child.plurality in (None, PluralityKind.SINGLE):
        return
    limit = child.plurality if child.plurality is not PluralityKind.OTHER else 10
    if child.birth_order is None or child.birth_order > limit:
        yield case.found("BIRTH_ORDER", "child.birth_order")


def _measures(case: _Case) -> Iterator[Finding]:
    """B.5: what is out of the ordinary is said, not stopped."""
    child = case.record.child
    for code, path, value, (low, high) in (
        ("WEIGHT_RANGE", "child.weight_g", child.weight_g, _GRAMS),
        ("LENGTH_RANGE", "child.length_cm", child.length_cm, _CENTIMETRES),
        ("GESTATION_RANGE", "child.gestation_weeks", child.gestation_weeks, _WEEKS),
    ):
        if value is not None and not low <= value <= high and (case.live or code == "WEIGHT_RANGE"):
            yield case.found(code, path)


def _name(case: _Case) -> Iterator[Finding]:
    """B.8, F 26-33."""
    record = case.record
    if not case.live:
        return
    if record.child.name is None:
        yield case.found("NAME_MISSING", "child.name")
        return
    parents = [p.name.reveal() for p in (record.mother, record.father) if p and p.name]
    name, sent = record.child.name.reveal(), record.child.name_as_sent
    for code in check_name(name, as_sent=sent.reveal() if sent else "", parents=parents):
        parameters = {"count": str(len(name))} if code == "LENGTH" else {}
        yield case.found(f"NAME_{code}", "child.name", **parameters)


def _mother(case: _Case) -> Iterator[Finding]:
    """F 34-45, 54-56, 60, 83."""
    mother = case.record.mother
    if not is_known(mother) or mother is None:
        abandoned = case.record.variant is Variant.NO_PARENTS
        yield case.found("FOUNDLING", "variant") if abandoned else case.found("MOTHER_MISSING", "mother")
        return
    if mother.name is None:
        yield case.found("MOTHER_NAME_MISSING", "mother.name")
    yield from _parent(case, "mother", mother, Sex.FEMALE)
    yield from _mother_age(case, mother)
    yield from _domicile(case)


def _father(case: _Case) -> Iterator[Finding]:
    """F 36, 48-50, 57. A birth without a father is complete (F 48)."""
    father = case.record.father
    if not is_known(father) or father is None:
        if case.live and case.record.variant is not Variant.NO_PARENTS:
            yield case.found("NO_FATHER", "father")
        return
    yield from _parent(case, "father", father, Sex.MALE)


def _parent(case: _Case, role: str, parent: Parent, sex: Sex) -> Iterator[Finding]:
    """Check the NIK by the role's sex: what NK1-15 says of it does not help a father's number in the mother's place."""
    prefix, path = role.upper(), f"{role}.nik"
    if parent.citizenship == "WNA":
        yield case.found(f"{prefix}_FOREIGN", f"{role}.citizenship")
    if parent.nik is None:
        if parent.citizenship != "WNA":
            yield case.found(f"{prefix}_NIK_MISSING", path)
        return
    number = parent.nik.reveal()
    if _is_family_card(case, parent, number):
        problems = ["FORMAT"]  # F 42: the digits of a KK are no birth date, so that only this is said
    else:
        problems = check_nik(number, sex=sex, born_on=parent.born_on, today=case.today)
    for code in problems:
        yield case.found(f"{prefix}_NIK_{code}", path, **_counted(code, number))


def _counted(code: str, number: str) -> dict[str, str]:
    return {"count": str(len(clean_nik(number)))} if code == "LENGTH" else {}


def _is_family_card(case: _Case, parent: Parent, number: str) -> bool:
    cards = {card.reveal() for card in (parent.family_card, case.record.family_card) if card}
    return clean_nik(number) in cards


def _mother_age(case: _Case, mother: Parent) -> Iterator[Finding]:
    """F 54, 55: very young (no KTP, child protection) or beyond belief: a person looks."""
    day = case.record.child.born_on or case.today
    born = mother.born_on or (birth_date_of(mother.nik.reveal(), today=case.today) if mother.nik else None)
    if born and not _MOTHER_AGE[0] <= age_on(born, day) <= _MOTHER_AGE[1]:
        yield case.found("MOTHER_AGE", "mother.born_on" if mother.born_on else "mother.nik")


def _domicile(case: _Case) -> Iterator[Finding]:
    """F 60: by the family card, else by the village of residence; a NIK keeps the prefix of its first issue."""
    record = case.record
    cards = (
        ("mother.family_card", record.mother.family_card if record.mother else None),
        ("family_card", record.family_card),
    )
    for path, card in cards:
        number = clean_nik(card.reveal()) if card else ""
        if len(number) == LENGTH and number.isascii() and number.isdigit():
            region, source = number[:_REGION], path
            break
    else:
        region = ((record.residence.village if record.residence else None) or "")[:_REGION]
        source = "residence.village"
    if region and region != case.facility.region:
        yield case.found("MOTHER_OTHER_KABUPATEN", source)


def _form(case: _Case) -> Iterator[Finding]:
    """F 88, B.6: what HL7 alone cannot bring. Texts name what is missing, in both languages."""
    if not (case.require_form and case.live):
        return
    missing = missing_items(case.record, today=case.today)
    if missing:
        parameters = {"missing": ", ".join(m[0] for m in missing), "missing_en": ", ".join(m[1] for m in missing)}
        yield case.found("FORM_INCOMPLETE", "form", **parameters)


_RULES: tuple[Callable[[_Case], Iterator[Finding]], ...] = (
    _event,
    _moment,
    _sex,
    _order,
    _measures,
    _mother,
    _father,
    _name,
    _form,
)

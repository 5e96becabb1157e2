"""The content rules: what is wrong with a birth record, and in which state that leaves it (domain A.5, B, F).

Pure. A rule names a code of the catalogue and the place in the message; texts, severity and hold are the catalogue's.
Nothing is corrected here, and nothing guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State, judged_state
from gateway.contract.nobody import is_nobody
from gateway.contract.record import Event, PlaceKind, PluralityKind, Sex, Variant
from gateway.hl7.location import Location
from gateway.verify.cards import check_card
from gateway.verify.form import missing_items
from gateway.verify.moment import VIABLE_WEEKS, moment_problems
from gateway.verify.names import check_name, check_parent_name, is_unreadable
from gateway.verify.nik import LENGTH, age_on, birth_date_of, check_nik, clean_nik

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping

    from gateway.contract.facility import FacilityProfile

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
    "father.name": Location("NK1", 1, 2),
    "father.nik": Location("NK1", 1, 33),
    "father.family_card": Location("NK1", 1, 33),
    "child.gestation_weeks": Location("OBX", 1, 5),
    "form": Location("ZKL", 1),
    "consent.given": Location("ZKL", 1, 13),
    "reporter.name": Location("ZKL", 1, 10),
    "witnesses.0.name": Location("ZKL", 1, 11),
    "witnesses.1.name": Location("ZKL", 1, 12),
}
_SEVERITIES = "EWI"
_STILLBIRTH = Event.STILLBIRTH
_ELSEWHERE = (PlaceKind.HOME, PlaceKind.OTHER)


class _Parent(NamedTuple):
    """The paths of a parent's values, and what its findings begin with."""

    prefix: str
    sex: Sex  # by the role: what NK1-15 says of it does not help a father's number in the mother's place
    name: str
    nik: str
    travel_document: str
    citizenship: str
    born_on: str
    family_card: str


def _parent_of(role: str, sex: Sex) -> _Parent:
    paths = [f"{role}.{field}" for field in _Parent._fields[2:]]
    return _Parent(role.upper(), sex, *paths)


_MOTHER, _FATHER = _parent_of("mother", Sex.FEMALE), _parent_of("father", Sex.MALE)


@dataclass(frozen=True)
class Judgement:
    """What the rules found, errors first, and the state it leads to."""

    findings: tuple[Finding, ...]
    state: State


_NOTHING_WRONG = Judgement((), judged_state(set()))


class _Case:
    """One birth under judgement: its values by path, where they came from, when and where, and what was found."""

    __slots__ = (
        "facility",
        "father",
        "findings",
        "live",
        "mother",
        "now",
        "places",
        "require_form",
        "today",
        "values",
        "zone",
    )

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
        self.findings: list[Finding] = []
        self.zone = ZoneInfo(facility.time_zone)
        # The calendar day at the place of birth (B.7).
        self.today = now.astimezone(self.zone).date()
        # Whether a living child was born: a stillborn one has no name, NIK or akta (F 73).
        self.live = values.get("event") is not _STILLBIRTH
        # Whether there is a parent one could name or look up.
        self.mother = bool(
            values.get("mother.name") or values.get("mother.nik") or values.get("mother.travel_document")
        )
        self.father = bool(
            values.get("father.name") or values.get("father.nik") or values.get("father.travel_document")
        )

    @property
    def abandoned(self) -> bool:
        """Whether PID-31 says that nobody knows the parents, and nothing else does (F 83)."""
        return (
            self.values.get("variant") is Variant.NO_PARENTS
            and not any(path.startswith("mother.") for path in self.values)
            and not self.father
        )

    def tell(self, code: str, path: str, **parameters: str) -> None:
        """Add a finding at the place a path came from, or should have come from."""
        self.findings.append(Finding(code, self.places.get(path, _EXPECTED.get(path)), parameters))


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
    case.findings.extend(adapter_findings)
    for rule in _RULES:
        rule(case)
    if not case.findings:
        return _NOTHING_WRONG
    found: dict[str, Finding] = {}
    for finding in case.findings:
        found.setdefault(finding.code, finding)
    ordered = sorted(found.values(), key=lambda finding: _SEVERITIES.find(finding.severity))
    holds = {finding.entry.hold for finding in ordered if finding.entry.hold}
    return Judgement(tuple(ordered), judged_state(holds))


def _event(case: _Case) -> None:
    """F 73-75: from 28 weeks on a stillbirth is registered, before it is not; unknown, or alive, is for a person."""
    if case.live:
        return
    for path in ("child.apgar_1", "child.apgar_5", "child.apgar_10"):
        if case.values.get(path):
            case.tell("STILLBIRTH_CONTRADICTION", path)
    weeks = case.values.get("child.gestation_weeks")
    if weeks is None:
        case.tell("GESTATION_UNKNOWN", "child.gestation_weeks")
    else:
        case.tell("STILLBIRTH_GE_28W" if weeks >= VIABLE_WEEKS else "STILLBIRTH_LT_28W", "child.gestation_weeks")


def _moment(case: _Case) -> None:
    """F 66-71: the day and time of birth."""
    for code, path, parameters in moment_problems(case.values, zone=case.zone, now=case.now, live=case.live):
        case.tell(code, path, **parameters)


def _place(case: _Case) -> None:
    """F 63, 64: the akta needs the place; born outside a facility, somebody else than it has to vouch for the birth."""
    values = case.values
    if not case.live:
        return
    name = values.get("child.place_name")
    if name and not name.isascii() and is_unreadable(name):
        case.tell("BIRTH_PLACE_UNREADABLE", "child.place_name")  # the region's code, if there is one, is the place
        name = None
    if not (name or values.get("child.place_region")):
        case.tell("BIRTH_PLACE", "child.place_name")
    if values.get("child.place_kind") in _ELSEWHERE and not values.get("facility.letter_number"):
        case.tell("BORN_ELSEWHERE", "child.place_kind")


def _death(case: _Case) -> None:
    """F 76, 77: a child that lived and died gets its akta of birth, and then one of death."""
    if case.live and case.values.get("child.died_at"):
        case.tell("CHILD_DIED", "child.died_at")


def _sex(case: _Case) -> None:
    """F 78: the form knows two; anything else is the office's decision."""
    if case.live and "child.sex" not in case.values:
        case.tell("SEX_UNKNOWN", "child.sex")


def _order(case: _Case) -> None:
    """F 4: of a multiple birth the order must be known, and must lie within the set."""
    plurality, order = case.values.get("child.plurality"), case.values.get("child.birth_order")
    if not case.live or plurality is None or plurality is PluralityKind.SINGLE:
        return
    limit = plurality if plurality is not PluralityKind.OTHER else 10
    if order is None or order > limit:
        case.tell("BIRTH_ORDER", "child.birth_order")


_MEASURES = (
    ("WEIGHT_RANGE", "child.weight_g", _GRAMS),
    ("LENGTH_RANGE", "child.length_cm", _CENTIMETRES),
    ("GESTATION_RANGE", "child.gestation_weeks", _WEEKS),
)


def _measures(case: _Case) -> None:
    """B.5: what is out of the ordinary is said, not stopped."""
    for code, path, (low, high) in _MEASURES:
        value = case.values.get(path)
        if value is not None and not low <= value <= high and (case.live or code == "WEIGHT_RANGE"):
            case.tell(code, path)


def _name(case: _Case) -> None:
    """B.8, F 26-33."""
    values = case.values
    if not case.live:
        return
    name = values.get("child.name")
    if name is None:
        case.tell("NAME_MISSING", "child.name")
        return
    found = check_name(
        name,
        as_sent=values.get("child.name_as_sent") or "",
        mother=values.get("mother.name") or "",
        father=values.get("father.name") or "",
    )
    for code in found:
        parameters = {"count": str(len(name))} if code == "LENGTH" else {}
        case.tell(f"NAME_{code}", "child.name", **parameters)


def _mother(case: _Case) -> None:
    """F 34-45, 54-56, 60, 83."""
    if not case.mother:
        if case.abandoned:
            case.tell("FOUNDLING", "variant")
        else:
            case.tell("MOTHER_MISSING", "mother")
        return
    _parent(case, _MOTHER)
    _mother_age(case)
    _domicile(case)


def _father(case: _Case) -> None:
    """F 36, 48-50, 57. A birth without a father is complete (F 48)."""
    if case.father:
        _parent(case, _FATHER)
    elif case.live and not case.abandoned:
        case.tell("NO_FATHER", "father")


def _parent(case: _Case, parent: _Parent) -> None:
    values = case.values
    name = values.get(parent.name)
    if not name:
        case.tell(f"{parent.prefix}_NAME_MISSING", parent.name)
    elif code := check_parent_name(name):
        case.tell(f"{parent.prefix}_NAME_{code}", parent.name)
    foreign = values.get(parent.citizenship) == "WNA"
    if foreign:
        case.tell(f"{parent.prefix}_FOREIGN", parent.citizenship)
    number = values.get(parent.nik)
    if number is None:
        if not foreign:
            case.tell(f"{parent.prefix}_NIK_MISSING", parent.nik)
        return
    digits = clean_nik(number)
    if digits in (values.get(parent.family_card), values.get("family_card")):
        problems = ["FORMAT"]  # F 42: the digits of a KK are no birth date, so that only this is said
    else:
        problems = check_nik(digits, sex=parent.sex, born_on=values.get(parent.born_on), today=case.today)
    for code in problems:
        parameters = {"count": str(len(digits))} if code == "LENGTH" else {}
        case.tell(f"{parent.prefix}_NIK_{code}", parent.nik, **parameters)


def _mother_age(case: _Case) -> None:
    """F 54, 55: very young (no KTP, child protection) or beyond belief: a person looks."""
    told = case.values.get(_MOTHER.born_on)
    born = told or _born_by_nik(case, _MOTHER)
    if born and not _MOTHER_AGE[0] <= age_on(born, case.values.get("child.born_on") or case.today) <= _MOTHER_AGE[1]:
        case.tell("MOTHER_AGE", _MOTHER.born_on if told else _MOTHER.nik)


def _born_by_nik(case: _Case, parent: _Parent) -> dt.date | None:
    digits = clean_nik(case.values.get(parent.nik) or "")
    if digits in (case.values.get(parent.family_card), case.values.get("family_card")):
        return None  # F 42: the digits of a KK are no birth date
    return birth_date_of(digits, today=case.today)


def _domicile(case: _Case) -> None:
    """F 60: by the family card, else by the village of residence; a NIK keeps the prefix of its first issue."""
    for path in (_MOTHER.family_card, "family_card"):
        number = clean_nik(case.values.get(path) or "")
        if len(number) == LENGTH and number.isascii() and number.isdigit():
            region, source = number[:_REGION], path
            break
    else:
        region, source = (case.values.get("residence.village") or "")[:_REGION], "residence.village"
    if region and region != case.facility.region:
        case.tell("MOTHER_OTHER_KABUPATEN", source)


# Of table 0002 and Indonesian words: not married now. A widow may well have been when the child was conceived (F 52).
_UNMARRIED = frozenset({"S", "B", "D", "N", "BELUM KAWIN", "BELUM MENIKAH", "LAJANG", "CERAI", "CERAI HIDUP"})


def _marriage(case: _Case) -> None:
    """F 50, 51: a father without a marriage is kept and told of; a marriage that NK1-14 denies is looked at."""
    values = case.values
    if not (case.live and case.father and case.mother):
        return
    status = values.get("marriage.status")
    if status == "TIDAK":
        case.tell("FATHER_NOT_ON_AKTA", "marriage.status")
    elif status == "TERCATAT":
        for path in ("mother.marital_status", "father.marital_status"):
            if (values.get(path) or "").upper() in _UNMARRIED:
                case.tell("MARRIAGE_CONFLICT", path)


def _form(case: _Case) -> None:
    """F 88, B.6: what HL7 alone cannot bring. Texts name what is missing, in both languages."""
    if not (case.require_form and case.live):
        return
    missing = missing_items(case.values, today=case.today)
    if missing:
        parameters = {"missing": ", ".join(m[0] for m in missing), "missing_en": ", ".join(m[1] for m in missing)}
        case.tell("FORM_INCOMPLETE", "form", **parameters)


_PARTICIPANTS = (
    ("REPORTER", "reporter.name", ""),
    ("WITNESS", "witnesses.0.name", "I"),
    ("WITNESS", "witnesses.1.name", "II"),
)


def _participants(case: _Case) -> None:
    """A.8, F 105: reporter and witnesses are named in the register, whoever has to name them."""
    values = case.values
    for who, path, which in _PARTICIPANTS:
        name = values.get(path)
        if not name:
            continue
        if not name.isascii() and is_unreadable(name):
            case.tell(f"{who}_NAME_UNREADABLE", path, which=which)
        elif is_nobody(name):
            case.tell(f"{who}_NAME_PLACEHOLDER", path, which=which)


def _consent(case: _Case) -> None:
    """F 87: where the facility does not lean on the public task, the parents must have agreed."""
    if case.live and case.facility.consent == "required" and not case.values.get("consent.given"):
        case.tell("CONSENT_MISSING", "consent.given")


def _papers(case: _Case) -> None:
    """F 59: of parents without any papers, none of them Indonesian, another document is issued."""
    if case.mother and not _is_without_papers(case, _MOTHER):
        return
    if case.father and not _is_without_papers(case, _FATHER):
        return
    if case.mother or case.father:
        case.tell("NO_PAPERS", (_MOTHER if case.mother else _FATHER).citizenship)


def _is_without_papers(case: _Case, parent: _Parent) -> bool:
    values = case.values
    return values.get(parent.citizenship) == "WNA" and not (
        values.get(parent.nik) or values.get(parent.travel_document)
    )


def _cards(case: _Case) -> None:
    """F 89: parents in two family cards: said, and the office asks into which one the child goes."""
    mother, father = case.values.get(_MOTHER.family_card), case.values.get(_FATHER.family_card)
    if mother and father and clean_nik(mother) != clean_nik(father):
        case.tell("PARENTS_KK_DIFFER", _FATHER.family_card)


def _card_numbers(case: _Case) -> None:
    """Judge the form of the cards that were told (B.2). A wrong one holds nothing: the office has the right one."""
    for path in ("family_card", _MOTHER.family_card, _FATHER.family_card):
        number = case.values.get(path)
        if number and (problem := check_card(number, today=case.today)):
            case.tell(f"KK_{problem}", path, count=str(len(clean_nik(number))))


_RULES: tuple[Callable[[_Case], None], ...] = (
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
    _participants,
    _consent,
)

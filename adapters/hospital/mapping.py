"""PID, PV1 and what follows from them to the child's part of the record (domain A.3, A.4)."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from adapters.hospital.codes import NO, YES
from adapters.hospital.names import TEMPORARY, in_one_word, read_name
from adapters.hospital.observations import Observations, is_disputed, offset_of, put_order
from adapters.hospital.parents import CARD_TYPES, NIK_TYPES, Identifier, clean_nik, first_of, identifiers, read_sex
from adapters.hospital.sheet import DELETE, Sheet, clean, deleted, meant, read_moment
from gateway.contract.facility import INDONESIAN_OFFSETS
from gateway.contract.naming import normalise_name
from gateway.contract.nobody import is_no_name
from gateway.contract.record import Event, PluralityKind, Variant
from gateway.hl7.dates import Moment, Precision
from gateway.hl7.location import Location
from gateway.hl7.message import Message, cells_of, place_of, text_of
from gateway.hl7.value import Value

if TYPE_CHECKING:
    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.lexer import Segment

RECORD_NUMBER_TYPES = (frozenset({"MR", "MRN"}), frozenset({""}), frozenset({"PI"}))
_VILLAGE_LENGTH = 10
_HOME = (("residence.street", 1), ("residence.city", 3), ("residence.postal_code", 5))  # XAD
# Table 0112, and what Indonesian systems write there.
_EXPIRED = frozenset({"20", "40", "41", "42", "EXPIRED", "MENINGGAL", "DIED", "DEAD"})
_APGARS = ("apgar_1", "apgar_5", "apgar_10")
_HOUR = dt.timedelta(hours=1)
_DAY = Precision.DAY
_SINGLE = PluralityKind.SINGLE


def medical_record_of(message: Message) -> Value:
    """Return the record number of the first patient, empty where there is none."""
    pid = message.first("PID")
    return record_number_of(pid) if pid else Value("", Location("PID", 1, 3))


def record_number_of(pid: Segment) -> Value:
    """Return a patient's record number: PID-3 type MR, else untyped, else PID-2, else PID-4 (domain A.3)."""
    numbers = identifiers(pid, 3)
    for types in RECORD_NUMBER_TYPES:
        if found := first_of(numbers, types):
            return Value(clean(found[0]), place_of(pid, 3, 1, found[1]))
    for field in (2, 4):
        if number := meant(text_of(pid, field)):
            return Value(number, place_of(pid, field))
    return Value("", Location("PID", pid.sequence, 3))


def map_facility(sheet: Sheet, message: Message, facility: FacilityProfile) -> None:
    """Write who reports: the profile, and the national code from MSH-4.2 where the profile has none."""
    msh = message.segments[0]
    place = place_of(msh, 4)
    national = facility.faskes
    if not national:
        sent = text_of(msh, 4, 2)
        national = sent if sent.isascii() and sent.isdigit() else ""
    sheet.put("facility.code", facility.code, place)
    sheet.put("facility.name", facility.display_name, place)
    sheet.put("facility.region", facility.region, place)
    sheet.write("facility.national_code", national, msh, 4, 2)


def map_child(
    sheet: Sheet, pid: Segment, numbers: dict[str, Identifier], message: Message, facility: FacilityProfile
) -> None:
    """Write what PID and PV1 say about the child and its home. `numbers` are PID-3."""
    map_name_of_child(sheet, pid, facility)
    sex = text_of(pid, 8)
    known = read_sex(sex)
    if known:
        sheet.write("child.sex", known, pid, 8)
    elif sex:
        sheet.clear("child.sex")  # U, A and O say that what was known is not: never keep an older value (F 78)
    if card := first_of(numbers, CARD_TYPES):
        sheet.write("family_card", clean_nik(card[0]), pid, 3, 1, card[1])
    if pv1 := message.first("PV1"):
        sheet.text("child.visit", pv1, 19)
    _map_residence(sheet, pid)
    _map_set(sheet, pid)
    _map_death(sheet, pid, message)
    if text_of(pid, 31).upper() in YES:
        sheet.write("variant", Variant.NO_PARENTS, pid, 31)


def _map_death(sheet: Sheet, pid: Segment, message: Message) -> None:
    """PID-29 and 30, or a discharge disposition (PV1-36) that says so; where only that is told, its code stands."""
    dead, disposition = text_of(pid, 30).upper(), message.text("PV1", 36).upper()
    if dead in YES:
        sheet.write("child.died_at", "Y", pid, 30)
        sheet.text("child.died_at", pid, 29)
    elif dead in NO or deleted(pid, 29) or deleted(pid, 30):
        sheet.clear("child.died_at")
    elif disposition in _EXPIRED and (pv1 := message.first("PV1")):
        sheet.write("child.died_at", disposition, pv1, 36)


def map_name_of_child(sheet: Sheet, pid: Segment, facility: FacilityProfile) -> None:
    """Write PID-5, and find where it says that it is no name yet."""
    name, kind, repetition = read_name(pid, 5, facility.name_order)
    if name:
        sheet.write("child.name", normalise_name(name), pid, 5, 1, repetition)
        sheet.write("child.name_as_sent", clean(name), pid, 5, 1, repetition)
        if kind in TEMPORARY or (not in_one_word(pid, 5) and _is_swapped_placeholder(pid, name)):
            sheet.find("NAME_PLACEHOLDER", place_of(pid, 5, 1, repetition))
    elif deleted(pid, 5):
        sheet.clear("child.name", "child.name_as_sent")


def _is_swapped_placeholder(pid: Segment, name: str) -> bool:
    """Tell whether a name is a placeholder the other way round only: one as it stands is found by the rules."""
    swapped = read_name(pid, 5, "family_given")[0]
    return swapped != name and is_no_name(swapped) and not is_no_name(name)


def map_birth_moment(sheet: Sheet, pid: Segment, sent_at: dt.datetime | None, zone: dt.tzinfo) -> Moment | None:
    """PID-7: the day, and the time only if it was sent, never 00:00 in its stead (F 66). Wall time at the place.

    Returns what was read, None where that is no whole day, or no newborn's.
    """
    value = text_of(pid, 7)
    if value == DELETE:
        sheet.clear("child.born_on", "child.born_at", "child.utc_offset")
        return None
    moment = read_moment(value, zone) if value else None
    if moment is None or moment.precision < _DAY or sheet.misdated:
        return None
    at, place, has_time = moment.at, place_of(pid, 7), moment.has_time
    sheet.put("child.born_on", at.date(), place)
    if has_time:
        sheet.put("child.born_at", f"{at.hour:02}:{at.minute:02}", place)
        sheet.put("child.utc_offset", offset_of(at), place)
    elif moment.has_offset and (offset := offset_of(at)) not in INDONESIAN_OFFSETS and offset != _usual(at, zone):
        sheet.find("BIRTH_ZONE", place, offset=offset)  # whose day it is, a time told later does not say
    if moment.rolled:
        sheet.find("BIRTH_TIME_MIDNIGHT", place)  # 2400 is the next day's 00:00 (F 67)
    if sent_at and at > sent_at + _HOUR:  # of a day without a time, its beginning
        sheet.find("BIRTH_FUTURE", place)  # F 70
    return moment


def _usual(at: dt.datetime, zone: dt.tzinfo) -> str:
    """Return the offset of the facility's own clocks at that hour."""
    return offset_of(at.replace(tzinfo=zone))


def map_child_nik(sheet: Sheet, pid: Segment, numbers: dict[str, Identifier]) -> None:
    """PID-3 NI, if the registry has given one already. Often it is the mother's (E.1): it must fit the birth date."""
    nik = first_of(numbers, NIK_TYPES)
    born = sheet.values.get("child.born_on")
    if nik is None or born is None:
        return
    digits = clean_nik(nik[0])
    tail = f"{born.month:02}{born.year % 100:02}"
    fits = digits[6:12] in (f"{born.day:02}{tail}", f"{born.day + 40:02}{tail}")
    if digits.isascii() and digits.isdigit() and len(digits) == 16 and fits:  # noqa: PLR2004 - digits of a NIK
        sheet.write("child.nik", digits, pid, 3, 1, nik[1])


def _map_residence(sheet: Sheet, pid: Segment) -> None:
    """PID-11 of the baby is where the family lives: the home address (XAD.7 H) of several, else the first."""
    if deleted(pid, 11):
        sheet.clear("residence")
        return
    cells = cells_of(pid, 11)
    if not cells:
        return
    chosen = _home_among(cells)
    address = cells[chosen - 1]
    sent = len(address)
    for path, component in _HOME:
        if component <= sent:
            sheet.told(path, address[component - 1], pid, 11, component, chosen)
    code = clean_nik(address[8]) if sent > 8 else ""  # noqa: PLR2004 - XAD.9
    if len(code) == _VILLAGE_LENGTH and code.isascii() and code.isdigit():
        sheet.write("residence.village", code, pid, 11, 9, chosen)


def _home_among(addresses: list[list[str]]) -> int:
    """Return the number of the first home address, 1 where none is called so."""
    for number, address in enumerate(addresses, 1):
        if len(address) > 6 and address[6].upper() == "H":  # noqa: PLR2004 - XAD.7
            return number
    return 1


def _map_set(sheet: Sheet, pid: Segment) -> None:
    """PID-24 and 25. A set of unsaid size is a pair, or as large as the order shows; 57722-1 and ZKL-3 correct it."""
    multiple, place_in_set = text_of(pid, 24), text_of(pid, 25)
    if place_in_set == DELETE:
        sheet.clear("child.birth_order")
    if place_in_set:
        put_order(sheet, place_in_set, place_of(pid, 25))
    if not multiple:
        return
    order = sheet.values.get("child.birth_order", 0)
    multiple = multiple.upper()
    if multiple in NO:
        sheet.write("child.plurality", _SINGLE, pid, 24)
    elif multiple in YES and multiple != "1":  # of F-2.01 a 1 is "Tunggal": of such a field nothing is known
        size = min(max(order, PluralityKind.TWIN), PluralityKind.OTHER)
        sheet.suppose("child.plurality", PluralityKind(size))
    elif multiple == DELETE:
        sheet.clear("child.plurality")


def settle_order(sheet: Sheet) -> None:
    """Drop an order above 1 of a single birth: such senders put the parity into PID-25 (domain 0.19, B.5).

    Where a field says that there were several, it may well be the order: it stays, and a person looks.
    """
    single = sheet.values.get("child.plurality") is _SINGLE
    if single and sheet.values.get("child.birth_order", 1) > 1 and not is_disputed(sheet):
        del sheet.values["child.birth_order"], sheet.places["child.birth_order"]
        sheet.findings = [f for f in sheet.findings if f.code != "BIRTH_ORDER"]


def map_stillbirth(sheet: Sheet, pid: Segment, observed: Observations) -> None:
    """Tell whether the child was born dead (F 6, 73-76). Signs of life beside it are for a person to weigh (F 75)."""
    apgars = [n for i in _APGARS if i in observed.results and (n := observed.number(i)) is not None]
    alive = observed.code("living")
    lives = alive.startswith("Y") or alive in YES
    place = _stillborn_by(pid, observed, apgars, sheet.values.get("child.plurality"))
    if place is None:
        if lives:
            sheet.put("event", Event.LIVE_BIRTH, observed.results["living"].place)
        sheet.values.pop("stillbirth.cause", None)
        sheet.places.pop("stillbirth.cause", None)
        return
    sheet.put("event", Event.STILLBIRTH, place)
    if any(apgars) or lives:
        sheet.find("STILLBIRTH_CONTRADICTION", place)


def _stillborn_by(
    pid: Segment, observed: Observations, apgars: list[float], plurality: PluralityKind | None
) -> Location | None:
    """Return where the message says stillborn: 73757-7 N; all of the delivery dead (73772-6); dead with Apgar 0."""
    living = observed.code("living")
    if living.startswith("N") or living in NO:
        return observed.results["living"].place
    dead = observed.number("fetal_deaths") or 0
    # In a larger delivery the count does not say which child it is about.
    if dead >= max(1, plurality or 1):
        return observed.results["fetal_deaths"].place
    died = text_of(pid, 30).upper() in YES
    if died and apgars and not any(apgars) and "gestation" in observed.results:
        return place_of(pid, 30)
    return None

"""Messages about several record numbers: merges and renumberings (MRG), links of two patients (domain A.1, F 10 to 14).

They say who is who. Of the birth they tell what the PID says of the child, for what nothing else told, and of a linked
mother what her own PID says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.hospital.mapping import (
    RECORD_NUMBER_TYPES,
    map_birth_moment,
    map_facility,
    map_name_of_child,
    record_number_of,
)
from adapters.hospital.parents import (
    CARD_TYPES,
    NIK_TYPES,
    WELL_FORMED_NIK,
    clean_nik,
    first_of,
    identifiers,
    map_name,
    read_sex,
)
from adapters.hospital.recognise import is_baby, is_past_infancy
from adapters.hospital.sheet import Sheet, clean, meant
from gateway.contract.ports import Draft, Effect, Prior
from gateway.contract.record import Sex
from gateway.hl7.message import Message, place_of, repetitions_of, text_of, value_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.lexer import Segment
    from gateway.hl7.value import Value

_MAX_NUMBER = 1000  # characters: numbers are indexed keys of the store


def draft_merge(
    message: Message,
    effect: Effect,
    facility: FacilityProfile,
    *,
    sent_at: dt.datetime | None,
    at: dt.datetime,
    zone: dt.tzinfo,
) -> Draft:
    """Return the pairs of old and new numbers. Patients known to be older than a year are not our business."""
    pids = message.all("PID")
    if pids and all(is_past_infancy(pid, at, zone) for pid in pids):
        return Draft(Effect.NONE, str(record_number_of(pids[0])), None, sent_at=sent_at)
    pairs = tuple(_pairs(message, facility, at, zone))
    number = pairs[0].new if pairs else str(record_number_of(pids[0])) if pids else ""
    return Draft(effect, number, None, prior=pairs, sent_at=sent_at)


def _pairs(message: Message, facility: FacilityProfile, at: dt.datetime, zone: dt.tzinfo) -> Iterator[Prior]:
    """Yield a pair for each prior number; A40 repeats the group of PID and MRG."""
    pid: Segment | None = None
    for segment in message.segments:
        if segment.name == "PID":
            pid = segment
        elif segment.name == "MRG" and pid is not None and not is_past_infancy(pid, at, zone):
            new = str(record_number_of(pid))
            for old in dict.fromkeys(_prior_numbers(segment)):
                if new and old != new and max(len(new), len(old)) <= _MAX_NUMBER:
                    yield Prior(old, new, _says(message, pid, new, facility, zone))


def _says(message: Message, pid: Segment, number: str, facility: FacilityProfile, zone: dt.tzinfo) -> Draft | None:
    """Return what a PID tells of the child: name, sex and birth date, None where it tells no name."""
    sheet = Sheet()
    map_facility(sheet, message, facility)
    sheet.put("child.medical_record", number, place_of(pid, 3))
    map_name_of_child(sheet, pid, facility)
    if "child.name" not in sheet.values:
        return None
    if sex := read_sex(text_of(pid, 8)):
        sheet.write("child.sex", sex, pid, 8)
    map_birth_moment(sheet, pid, None, zone)
    return Draft(Effect.AMEND, number, sheet.values, sheet.places, findings=tuple(sheet.findings))


def _prior_numbers(mrg: Segment) -> list[str]:
    """MRG-1 of type MR, else untyped; else MRG-4, which holds it in old systems, else MRG-2. MRG-3 is an account."""
    for types in RECORD_NUMBER_TYPES:
        values = (
            value_of(mrg, 1, repetition=n)
            for n in repetitions_of(mrg, 1)
            if value_of(mrg, 1, repetition=n, component=5).upper() in types
        )
        if found := [clean(v) for v in values if meant(v)]:
            return found
    return [clean(v) for field in (4, 2) if meant(v := value_of(mrg, field))][:1]


def draft_link(
    message: Message,
    effect: Effect,
    facility: FacilityProfile,
    *,
    sent_at: dt.datetime | None,
    at: dt.datetime,
    zone: dt.tzinfo,
) -> Draft:
    """Return whom A24 or A37 names: a mother and her newborn, or two newborns. Anything else is not about a birth."""
    babies: dict[str, Value] = {}
    grown: list[Segment] = []
    for pid in message.all("PID"):
        number = record_number_of(pid)
        if not is_baby(pid, facility, at=at, zone=zone):
            grown.append(pid)
        elif number and len(number) <= _MAX_NUMBER:
            babies[str(number)] = number
    numbers = list(babies)
    if len(numbers) > 1:
        return Draft(effect, numbers[0], None, linked=tuple(numbers[1:]), sent_at=sent_at)
    if not numbers or len(grown) != 1 or read_sex(text_of(grown[0], 8)) is Sex.MALE:
        return Draft(Effect.NONE, "", None, sent_at=sent_at)
    sheet = _mother(message, babies[numbers[0]], grown[0], facility, zone)
    return Draft(effect, numbers[0], sheet.values, sheet.places, sent_at=sent_at)


def _mother(message: Message, number: Value, pid: Segment, facility: FacilityProfile, zone: dt.tzinfo) -> Sheet:
    """Write what the mother's own PID says of her: name, NIK, family card, sex and birth date."""
    sheet = Sheet()
    map_facility(sheet, message, facility)
    sheet.put("child.medical_record", str(number), number.place)
    map_name(sheet, "mother.name", pid, 5, facility)
    numbers = identifiers(pid, 3)
    own = first_of(numbers, NIK_TYPES)
    nik = clean_nik(own[0] if own else text_of(pid, 19))
    if WELL_FORMED_NIK.fullmatch(nik):
        sheet.put("mother.nik", nik, place_of(pid, 3, 1, own[1]) if own else place_of(pid, 19))
    if card := first_of(numbers, CARD_TYPES):
        sheet.write("mother.family_card", clean_nik(card[0]), pid, 3, 1, card[1])
    sex = read_sex(text_of(pid, 8))
    if sex:
        sheet.put("mother.sex", sex, place_of(pid, 8))
    sheet.date("mother.born_on", pid, 7, zone)
    return sheet

"""OBX to F-2.01 items (domain A.2). An allow-list: an observation that is not on it never reaches a record (F 86).

Of several results of one item: C beats F beats P, then the later OBX-14, then the later segment (F 82). D, W and X take
back what was said before them (F 81).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from adapters.hospital.codes import ATTENDANT_WORDS, ATTENDANTS, PLACE_WORDS, PLACES, PLURALITIES, PLURALITY_WORDS
from adapters.hospital.sheet import DELETE, LONGEST, Sheet, clean, read_moment, read_number
from gateway.contract.record import PluralityKind
from gateway.hl7.dates import parse_moment
from gateway.hl7.message import Message, cells_of, place_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.hl7.lexer import Segment
    from gateway.hl7.location import Location

# LOINC to item. An alias stands behind the code it stands for.
_ITEMS = {
    "8339-4": "weight",
    "3141-9": "weight",
    "89269-5": "length",
    "11884-4": "gestation",
    "9272-6": "apgar_1",
    "9274-2": "apgar_5",
    "9271-8": "apgar_10",
    "57722-1": "plurality",
    "73772-6": "fetal_deaths",
    "73771-8": "order",
    "73757-7": "living",
    "87286-1": "attendant",
    "73764-3": "attendant",
    "73766-8": "place",
    "11638-4": "children_living",
    "68496-9": "children_dead",
    "76060-3": "cause_of_death",
    "57715-5": "birth_time",
}
# Measured at a birth only: an ORU without any of them is about something else (3141-9 is anybody's weight).
_AT_BIRTH = frozenset(_ITEMS) - {"3141-9"}
BIRTH_WEIGHT_CODES = frozenset(code for code, item in _ITEMS.items() if item == "weight" and code == "8339-4")
_RANK = {"C": 2, "F": 1, "": 1, "P": 0}
_TAKEN_BACK = frozenset({"D", "W", "X"})
# Where an item goes; a taken-back one is deleted there. The others only help to tell a stillbirth or the parity.
_PATHS = {
    "weight": "child.weight_g",
    "length": "child.length_cm",
    "gestation": "child.gestation_weeks",
    "apgar_1": "child.apgar_1",
    "apgar_5": "child.apgar_5",
    "apgar_10": "child.apgar_10",
    "plurality": "child.plurality",
    "order": "child.birth_order",
    "attendant": "child.attendant",
    "place": "child.place_kind",
    "birth_time": "child.born_at",
    "cause_of_death": "stillbirth.cause",
}

_NO_TIME, _ONE_MINUTE = dt.timedelta(0), dt.timedelta(minutes=1)
_KILO_BELOW = 20  # nobody is born with 20 g: a number below is kilograms, whatever the unit says (domain E.1)
_POUND = 453.592
_MAX_GRAMS = 100_000
_MAX_CM = 1000
_TO_CM = {"mm": 0.1, "m": 100.0, "[in_i]": 2.54, "in": 2.54}
_MAX_WEEKS = 60
_MAX_APGAR = 10
_MONTHS = frozenset({"mo", "month", "months", "bulan", "bln"})
_MAX_ORDER = 10
_SINGLE = PluralityKind.SINGLE
_MAX_PARITY = 30


@dataclass(slots=True)
class Observation:
    """The result of one item that counts: OBX-5.1 and its place, and the status (OBX-11)."""

    item: str
    segment: Segment
    value: str
    place: Location
    status: str

    @property
    def unit(self) -> str:
        """OBX-6.1, lower case."""
        return text_of(self.segment, 6).lower()


class Observations:
    """The results of a message by item, and the items whose results were taken back."""

    def __init__(self, message: Message, zone: dt.tzinfo) -> None:
        grouped: dict[str, list[Segment]] = {}
        for obx in message.all("OBX"):
            item = _item(obx)
            if item:
                grouped.setdefault(item, []).append(obx)
        self.results: dict[str, Observation] = {}
        self.taken_back: set[str] = set()
        for item, segments in grouped.items():
            # One result is the rule; the order of results matters to nobody then.
            chosen = segments[0] if len(segments) == 1 else _chosen(segments, zone)
            status = _status(chosen) if chosen else ""
            if chosen and status in _RANK and chosen.field(5):
                self.results[item] = Observation(item, chosen, text_of(chosen, 5), place_of(chosen, 5), status)
            elif not _TAKEN_BACK.isdisjoint(map(_status, segments)):
                self.taken_back.add(item)

    def number(self, item: str) -> float | None:
        """Return a result as a number, None where there is none."""
        result = self.results.get(item)
        read = read_number(result.value) if result else None
        return read[0] if read else None

    def code(self, item: str) -> str:
        """Return a result's code in capitals, "" where there is none."""
        result = self.results.get(item)
        return result.value.upper() if result else ""


def tells_of_birth(message: Message) -> bool:
    """Tell whether a message has a result that is measured at a birth."""
    return any(text_of(obx, 3, c) in _AT_BIRTH for obx in message.all("OBX") for c in (1, 4))


def _item(obx: Segment) -> str | None:
    """Return the item of OBX-3: its code, or the alternate one (CE.4)."""
    cells = cells_of(obx, 3)
    if not cells:
        return None
    code = cells[0]
    return _ITEMS.get(code[0]) or (_ITEMS.get(code[3]) if len(code) > 3 else None)  # noqa: PLR2004 - CE.4


def _status(obx: Segment) -> str:
    return text_of(obx, 11).upper()


def _chosen(segments: list[Segment], zone: dt.tzinfo) -> Segment | None:
    """Return the result that counts of several of one item, None where all were taken back."""
    undone = (float("-inf"), 0)
    for obx in segments:
        if _status(obx) in _TAKEN_BACK:
            undone = max(undone, _when(obx, zone))
    best: Segment | None = None
    highest = (False, -1, undone)
    for obx in segments:
        status, when = _status(obx), _when(obx, zone)
        if status not in _RANK or not obx.field(5) or when <= undone:
            continue
        rank = (text_of(obx, 3) != "3141-9", _RANK[status], when)
        if best is None or rank > highest:
            best, highest = obx, rank
    return best


def _when(obx: Segment, zone: dt.tzinfo) -> tuple[float, int]:
    moment = read_moment(text_of(obx, 14), zone)
    return (moment.at.timestamp() if moment else 0.0, obx.sequence)


def map_observations(sheet: Sheet, observed: Observations, zone: dt.tzinfo) -> None:
    """Write the items. What is only preliminary is kept, and held (F 81)."""
    for item in observed.taken_back:
        if path := _PATHS.get(item):
            sheet.clear(path)
    for item, result in observed.results.items():
        path = _PATHS.get(item)
        if path is None:
            continue
        if result.value == DELETE:
            sheet.clear(path)
            continue
        _WRITERS[item](sheet, result, zone)
        if result.status == "P" and path in sheet.values:
            sheet.find("OBSERVATION_PRELIMINARY", result.place)
    _map_parity(sheet, observed)


def _map_parity(sheet: Sheet, observed: Observations) -> None:
    """Kelahiran ke: children before this delivery, and this one's place in it (B.5). PID-25 says nothing about it."""
    living, dead = observed.number("children_living"), observed.number("children_dead")
    if living is None or dead is None:
        return
    parity = int(living + dead) + sheet.values.get("child.birth_order", 1)
    if 1 <= parity <= _MAX_PARITY:
        sheet.put("child.parity", parity, observed.results["children_living"].place)


def _weight(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    put_weight(sheet, result.value, result.place, result.unit)


def put_weight(sheet: Sheet, value: str, place: Location, unit: str) -> None:
    """Write a weight in grams (F 80): kg by its unit or its size, pounds by their unit."""
    read = read_number(value)
    number, unit = (read[0], read[1] or unit) if read else (0.0, unit)
    if unit.startswith(("lb", "[lb")):
        grams = number * _POUND
    else:
        grams = number * 1000 if unit.startswith("kg") or number < _KILO_BELOW else number
    whole = round(grams)
    if 1 <= whole <= _MAX_GRAMS:
        sheet.put("child.weight_g", whole, place)
    else:
        sheet.find("WEIGHT_RANGE", place)


def _length(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    put_length(sheet, result.value, result.place, result.unit)


def put_length(sheet: Sheet, value: str, place: Location, unit: str) -> None:
    """Write a length in centimetres."""
    read = read_number(value)
    number, unit = (read[0], read[1] or unit) if read else (0.0, unit)
    length = round(number * _TO_CM.get(unit, 1.0), 1)
    if 0 < length <= _MAX_CM:
        sheet.put("child.length_cm", length, place)
    else:
        sheet.find("LENGTH_RANGE", place)


def _gestation(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    read = read_number(result.value)
    number, unit = (read[0], read[1] or result.unit) if read else (0.0, "")
    weeks = int(number // 7 if unit in ("d", "day", "days", "hari") else number)
    # Months are no weeks, and how many weeks they are nobody counted: below 28 a stillbirth is not even registered.
    if 1 <= weeks <= _MAX_WEEKS and unit not in _MONTHS:
        sheet.put("child.gestation_weeks", weeks, result.place)
    else:
        sheet.find("GESTATION_RANGE", result.place)


def _apgar(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    read = read_number(result.value)
    if read and read[0] <= _MAX_APGAR:
        sheet.put(_PATHS[result.item], int(read[0]), result.place)
    else:
        sheet.find("APGAR_RANGE", result.place)


def _plurality(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    kind = PLURALITY_WORDS.get(result.value.upper()) or PLURALITY_WORDS.get(text_of(result.segment, 5, 2).upper())
    read = read_number(result.value)
    if kind is None and read and read[0] >= 1:
        kind = PLURALITIES.get(int(read[0]), PluralityKind.OTHER)
    if kind:
        put_plurality(sheet, kind, result.place)


def put_plurality(sheet: Sheet, kind: PluralityKind, place: Location) -> None:
    """Write whether one was born or how many. Fields that contradict each other are a finding, at the one that counts.

    PID-24 Y alone says nothing of the size, so that any number above one agrees with it.
    """
    known = sheet.values.get("child.plurality")
    if known is not None:
        differs = known is not kind and ("child.plurality" in sheet.places or kind is _SINGLE)
        if differs or is_disputed(sheet):
            sheet.findings = [f for f in sheet.findings if f.code != "PLURALITY_CONFLICT"]
            sheet.find("PLURALITY_CONFLICT", place)
    sheet.put("child.plurality", kind, place)


def is_disputed(sheet: Sheet) -> bool:
    """Tell whether fields contradict each other on how many were born."""
    for finding in sheet.findings:  # noqa: SIM110 - a loop is cheaper than a generator, for so few
        if finding.code == "PLURALITY_CONFLICT":
            return True
    return False


def _order(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    put_order(sheet, result.value, result.place)


def put_order(sheet: Sheet, value: str, place: Location) -> None:
    """Write the order within the delivery. Two fields that disagree are a finding: it is never guessed (F 4)."""
    read = read_number(value)
    order = int(read[0]) if read else 0
    if read is None or order != read[0] or not 1 <= order <= _MAX_ORDER:
        return
    known = sheet.values.get("child.birth_order")
    if known is not None and known != order:
        sheet.find("BIRTH_ORDER", place)
        return
    sheet.put("child.birth_order", order, place)


def _attendant(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    put_attendant(sheet, result.segment, 5)


def put_attendant(sheet: Sheet, segment: Segment, field: int) -> None:
    """Write the attendant: code of F-2.01, SNOMED (domain A.2), or the word."""
    value = text_of(segment, field)
    found = ATTENDANTS.get(value)
    if found is None and segment.field(field) and (said := _said(value, text_of(segment, field, 2))):
        found = next((attendant for word, attendant in ATTENDANT_WORDS if word in said), None)
    if found:
        sheet.write("child.attendant", found, segment, field)


def _place(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    put_place_kind(sheet, result.segment, 5)


def put_place_kind(sheet: Sheet, segment: Segment, field: int) -> None:
    """Write the kind of place: code of F-2.01, SNOMED, or the word."""
    value = text_of(segment, field)
    found = PLACES.get(value)
    if found is None and segment.field(field) and (said := _said(value, text_of(segment, field, 2))):
        found = next((place for word, place in PLACE_WORDS if re.search(rf"\b{word}", said)), None)
    if found:
        sheet.write("child.place_kind", found, segment, field)


def _said(code: str, text: str) -> str:
    """Return code and text of a result as capitals: as much of them as says something."""
    return f"{code[:LONGEST]} {text[:LONGEST]}".upper().strip()


def _birth_time(sheet: Sheet, result: Observation, zone: dt.tzinfo) -> None:
    """57715-5, a TM, for a PID-7 that has a date only (F 66)."""
    if "child.born_on" not in sheet.values or "child.born_at" in sheet.values:
        return
    day = sheet.values["child.born_on"]
    try:
        moment = parse_moment(f"{day:%Y%m%d}{result.value.replace(':', '')}", zone)
    except (ValueError, OverflowError):
        return
    if moment.has_time and not moment.rolled:
        sheet.put("child.born_at", f"{moment.at:%H:%M}", result.place)
        sheet.put("child.utc_offset", offset_of(moment.at), result.place)


def offset_of(at: dt.datetime) -> str:
    """Return the offset from UTC as the record has it: +07:00."""
    offset = at.utcoffset()
    return _written(offset) if offset is not None else ":"


@lru_cache(maxsize=256)  # a country has few
def _written(offset: dt.timedelta) -> str:
    minutes = abs(offset) // _ONE_MINUTE
    return f"{'-' if offset < _NO_TIME else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _cause(sheet: Sheet, result: Observation, _zone: dt.tzinfo) -> None:
    cause = clean(text_of(result.segment, 5, 2) or result.value)
    if cause:
        sheet.put("stillbirth.cause", cause, result.place)


_WRITERS: dict[str, Callable[[Sheet, Observation, dt.tzinfo], None]] = {
    "weight": _weight,
    "length": _length,
    "gestation": _gestation,
    **dict.fromkeys(("apgar_1", "apgar_5", "apgar_10"), _apgar),
    "plurality": _plurality,
    "order": _order,
    "attendant": _attendant,
    "place": _place,
    "birth_time": _birth_time,
    "cause_of_death": _cause,
}

"""Born in this house, and when it says so? What an admission tells of the place and the date of birth (domain F 62-64).

PV1-44 is no time of birth. But a newborn that came in days after its birth, or from somewhere else, was not born here;
and one that is weighed as a newborn long after its birth date was not born then.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from adapters.hospital.codes import YES
from adapters.hospital.observations import BIRTH_WEIGHT_CODES, Observations
from adapters.hospital.places import region_of
from adapters.hospital.recognise import is_admitted_as_newborn
from adapters.hospital.sheet import DELETE, Sheet, meant, read_moment
from gateway.contract.record import PlaceKind
from gateway.hl7.dates import Moment, Precision
from gateway.hl7.message import Message, place_of, text_of

if TYPE_CHECKING:
    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.lexer import Segment
    from gateway.hl7.location import Location

_AT_HOME = (PlaceKind.HOME, PlaceKind.OTHER)
_LONG_AFTER = dt.timedelta(hours=6)  # a child born in the house is admitted sooner
_DAY = dt.timedelta(days=1)  # where the kind of place is told, a ward may admit later
_NO_TIME = dt.timedelta(0)
# PV1-14, table 0023: from a hospital, from another facility; of newborns (UB-04) 4 is extramural, 6 born outside.
_FROM_ELSEWHERE = frozenset({"4", "6"})
_ELSEWHERE_WORDS = re.compile(
    r"\b(?:TRANSFER\w*|RUJUK\w*|PINDAHAN|LUAR|RUMAH(?! SAKIT INI)|HOME|BIDAN|DUKUN|PUSKESMAS|KLINIK|POLINDES"
    r"|EXTRAMURAL|OUTSIDE|REFERRAL)\b"
)
_LONGEST_SOURCE = 100  # characters; no admit source is called so
_NO_NEWBORN = 28  # days: with a month typed wrongly it is at least so many
_MEASURED_AT_BIRTH = ("weight", "length", "apgar_1", "apgar_5", "apgar_10")


def map_birth_place(
    sheet: Sheet, pid: Segment, born: Moment | None, message: Message, facility: FacilityProfile, zone: dt.tzinfo
) -> None:
    """PID-23: the city or regency, not the building (B.5). Without a name, a birth in the house is in its region.

    Where a message shows that it was in the house, that is told; else it is supposed, unless something speaks against
    it: the kind of place (F-2.01, 3), the facility of the event (EVN-7, F 63), where the child came from (PV1-14,
    F 62), or that it came in long after its birth (PV1-44, F 64).
    """
    name = text_of(pid, 23)
    if name == DELETE:
        sheet.clear("child.place_name", "child.place_region")
        return
    text = meant(name)
    region = region_of(text, home=facility.region)
    late = _came_after(born, message, zone)
    if text:
        sheet.write("child.place_name", text.upper(), pid, 23)
        if region:
            sheet.write("child.place_region", region, pid, 23)
        else:
            sheet.clear("child.place_region")
    elif region and not _is_elsewhere(sheet, late, message, facility):
        shown = _shown_in_house(sheet, late, message)
        if shown:
            sheet.put("child.place_region", region, shown)
        else:
            sheet.suppose("child.place_region", region)
    if late is not None and late > _LONG_AFTER and "child.place_kind" not in sheet.values:
        pv1 = message.first("PV1")
        sheet.find("ADMITTED_AFTER_BIRTH", place_of(pv1, 44) if pv1 else None)


def _is_elsewhere(sheet: Sheet, late: dt.timedelta | None, message: Message, facility: FacilityProfile) -> bool:
    kind = sheet.values.get("child.place_kind")
    if kind in _AT_HOME:
        return True
    at = message.text("EVN", 7)
    if meant(at) != "" and at.casefold() != facility.code.casefold():
        return True
    return (late is not None and late > (_LONG_AFTER if kind is None else _DAY)) or _came_from_elsewhere(message)


def _shown_in_house(sheet: Sheet, late: dt.timedelta | None, message: Message) -> Location | None:
    """Return where a message shows a birth in the house: the kind of place, or an admission at once."""
    if "child.place_kind" in sheet.values:
        return sheet.places.get("child.place_kind")
    pv1 = message.first("PV1")
    return place_of(pv1, 44) if pv1 and late is not None and late > -_LONG_AFTER else None


def _came_after(born: Moment | None, message: Message, zone: dt.tzinfo) -> dt.timedelta | None:
    """Return how long after its birth a child was admitted; of days without times, what is certain. None: not told."""
    text = message.text("PV1", 44)
    admitted = read_moment(text, zone) if text and born else None
    if born is None or admitted is None or admitted.precision < Precision.DAY:
        return None
    if born.has_time and admitted.has_time:
        return admitted.at - born.at
    days = (admitted.date - born.date).days
    return dt.timedelta(days=days - 1) if days > 1 else _NO_TIME if days == 1 else None


def _came_from_elsewhere(message: Message) -> bool:
    source = message.text("PV1", 14)
    if not source:
        return False
    said = f"{source} {message.text('PV1', 14, 2)}"[:_LONGEST_SOURCE].upper()
    return source in _FROM_ELSEWHERE or _ELSEWHERE_WORDS.search(said) is not None


def doubt_date(
    sheet: Sheet, pid: Segment, observed: Observations, message: Message, sent_at: dt.datetime | None, zone: dt.tzinfo
) -> None:
    """Ask about a birth date that a newborn's weighing or admission contradicts: a year or month typed wrongly."""
    born = read_moment(text_of(pid, 7), zone)
    if born is None or born.precision < Precision.DAY or sent_at is None:
        return
    if (sent_at.date() - born.date).days < _NO_NEWBORN:
        return  # what is told within the month is right about it, whatever else is wrong
    newborn = is_admitted_as_newborn(message) or message.text("PV2", 36).upper() in YES
    days = _days_as_newborn(observed, message, zone, newborn=newborn)
    latest = max(days, default=None)
    if (latest is not None and (latest - born.date).days >= _NO_NEWBORN) or (
        latest is None and newborn and _is_years_off(born.date, sent_at.date())
    ):
        sheet.find("BIRTH_DATE_DOUBT", place_of(pid, 7))


def _days_as_newborn(observed: Observations, message: Message, zone: dt.tzinfo, *, newborn: bool) -> list[dt.date]:
    """Return the days on which it was measured as at birth (OBX-14, else OBR-7) or admitted as a newborn."""
    texts = [message.text("PV1", 44)] if newborn else []
    for item in _MEASURED_AT_BIRTH:
        result = observed.results.get(item)
        if result and (item != "weight" or text_of(result.segment, 3) in BIRTH_WEIGHT_CODES):
            texts.append(text_of(result.segment, 14) or message.text("OBR", 7))
    moments = [read_moment(text, zone) for text in texts if text]
    return [moment.date for moment in moments if moment and moment.precision >= Precision.DAY]


def _is_years_off(born: dt.date, today: dt.date) -> bool:
    """Tell whether a birth date lies in the month before a day, but for the year."""
    for year in (today.year, today.year - 1):
        if born.year < year:
            day = dt.date(year, born.month, min(born.day, 28)) if born.month == 2 else born.replace(year=year)  # noqa: PLR2004 - February
            if 0 <= (today - day).days < _NO_NEWBORN:
                return True
    return False

"""The sheet a message is copied onto: values by record path, each with its place.

Owns the tolerance for dirt: what cannot stand in a record is left off and, where it matters, becomes a finding.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gateway.contract.finding import Finding
from gateway.hl7.dates import Moment, Precision, parse_moment
from gateway.hl7.location import Location
from gateway.hl7.message import place_of, text_of

if TYPE_CHECKING:
    import datetime as dt

    from gateway.hl7.lexer import Segment

DELETE = '""'
# A hospital's clock or birth date outside of these is a typing error, and dates near the ends of time overflow.
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
_FILLERS = frozenset({"N/A", "NA", "NULL", "NONE"})
_LONGEST_FILLER = 4
LONGEST = 1000  # characters of a value; the record's names, addresses and numbers are far shorter
_LONGEST_MOMENT = 40  # what is remembered of senders' texts must be short, too
_DAY = Precision.DAY
_NONE: frozenset[str] = frozenset()
_new_tuple = tuple.__new__


class Sheet:
    """Collects what a message says about a birth."""

    __slots__ = ("_cleared", "findings", "misdated", "places", "values")

    def __init__(self, *, misdated: bool = False) -> None:
        self.misdated = misdated  # PID-7 cannot be the newborn's: it is not taken
        self.values: dict[str, Any] = {}
        self.places: dict[str, Location] = {}
        self.findings: list[Finding] = []
        self._cleared: set[str] = set()

    def put(self, path: str, value: object, place: Location) -> None:
        """Write a value that is known to fit the record."""
        self.values[path] = value
        self.places[path] = place

    def write(
        self, path: str, value: object, segment: Segment, field: int, component: int = 1, repetition: int = 1
    ) -> None:
        """Write a value that is known to fit the record, read at that place."""
        self.values[path] = value
        # As place_of does: a message is written mostly by this, so one call less counts.
        self.places[path] = _new_tuple(Location, (segment.name, segment.sequence, field, repetition, component, 0))

    def suppose(self, path: str, value: object) -> None:
        """Write a value the message only implies. Without a place it yields to what is known (revision)."""
        self.values[path] = value

    def text(self, path: str, segment: Segment, field: int, component: int = 1, repetition: int = 1) -> None:
        """Write a text as sent, or note that the sender deletes it; an empty one changes nothing."""
        self.told(path, text_of(segment, field, component, repetition), segment, field, component, repetition)

    def told(self, path: str, text: str, segment: Segment, field: int, component: int = 1, repetition: int = 1) -> None:
        """Write like `text` what was already read at that place."""
        if not text:
            return
        if text == DELETE:
            self._cleared.add(path)
        elif len(text) > LONGEST:  # no value of a record; what it is, a person must say
            self.find("FIELD_LONG", place_of(segment, field, component, repetition), limit=str(LONGEST))
        elif text := clean(text):
            self.write(path, text, segment, field, component, repetition)

    def date(self, path: str, segment: Segment, field: int, zone: dt.tzinfo, *, component: int = 1) -> None:
        """Write a calendar day, or note its deletion; what is no whole day is left off."""
        text = text_of(segment, field, component)
        if not text:
            return
        if text == DELETE:
            self._cleared.add(path)
        elif (moment := read_moment(text, zone)) and moment.precision >= _DAY:
            self.write(path, moment.date, segment, field, component)

    def clear(self, *paths: str) -> None:
        """Note that the sender deletes these values (HL7 v2.5 chapter 2.5.3)."""
        self._cleared.update(paths)

    def find(self, code: str, place: Location | None, **parameters: str) -> None:
        """Note a finding. Parameters name fields and counts, never a person's data."""
        self.findings.append(Finding(code, place, parameters))

    @property
    def cleared(self) -> frozenset[str]:
        """Deleted paths. A value found elsewhere in the same message wins over a deletion."""
        return frozenset(self._cleared - self.values.keys()) if self._cleared else _NONE


def clean(text: str) -> str:
    """Return a text without control characters (PostgreSQL cannot keep NUL) and outer blanks."""
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " for c in text if unicodedata.category(c) != "Cs").strip()


def meant(text: str) -> str:
    """Return a text, "" where it only fills a field: a dash, dots, N/A."""
    if not text.isalnum():
        text = clean(text)
        if not text[:1].isalnum() and not _says(text[:LONGEST]):
            return ""
    return "" if len(text) <= _LONGEST_FILLER and text.upper() in _FILLERS else text


def _says(text: str) -> bool:
    """Tell whether a text has a letter or digit."""
    for character in text:  # noqa: SIM110 - a loop is cheaper than a generator, for so few
        if character.isalnum():
            return True
    return False


def deleted(segment: Segment, field: int) -> bool:
    """Tell whether a whole field is `""`."""
    fields = segment.fields
    return field < len(fields) and fields[field].strip() == DELETE


def read_moment(text: str, zone: dt.tzinfo) -> Moment | None:
    """Read an HL7 date-time; None for what is none, or lies in no living person's time."""
    return _read_moment(text, zone) if len(text) <= _LONGEST_MOMENT else None


@lru_cache(maxsize=512)  # a message says the same moment several times
def _read_moment(text: str, zone: dt.tzinfo) -> Moment | None:
    try:
        moment = parse_moment(text.strip(), zone)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.at.year <= _LAST_YEAR else None


_DIGITS = 7
_NUMBER = re.compile(r"[<>=~ ]*(\d{1,7})(?:[.,](\d{1,4}))?\s*([A-Za-z_\[\]]*)")


def read_number(text: str) -> tuple[float, str] | None:
    """Read a number with a dot or comma, and the unit behind it, as people type it: "3,2 kg" (domain E.1)."""
    if len(text) <= _DIGITS and text.isdecimal():
        return float(text), ""
    found = _NUMBER.match(text[:LONGEST].strip()) if text else None
    if not found:
        return None
    return float(f"{found[1]}.{found[2] or 0}"), found[3].lower()

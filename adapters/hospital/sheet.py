"""The sheet a message is copied onto: values by record path, each with its place; then the record in one go.

Owns the tolerance for dirt: what cannot stand in a record is left off and, where it matters, becomes a finding.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from gateway.contract.finding import Finding
from gateway.contract.record import BirthRecord
from gateway.contract.revision import propose_variant
from gateway.hl7.dates import Moment, Precision, parse_moment

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from gateway.hl7.lexer import Segment
    from gateway.hl7.location import Location
    from gateway.hl7.message import Value

DELETE = '""'
# A hospital's clock or birth date outside of these is a typing error, and dates near the ends of time overflow.
_FIRST_YEAR, _LAST_YEAR = 1900, 2200


class Sheet:
    """Collects what a message says about a birth."""

    __slots__ = ("_cleared", "findings", "places", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.places: dict[str, Location] = {}
        self.findings: list[Finding] = []
        self._cleared: set[str] = set()

    def put(self, path: str, value: object, place: Location) -> None:
        """Write a value that is known to fit the record."""
        self.values[path] = value
        self.places[path] = place

    def suppose(self, path: str, value: object) -> None:
        """Write a value the message only implies. Without a place it yields to what is known (revision)."""
        self.values[path] = value

    def text(self, path: str, value: Value) -> None:
        """Write a text as sent, or note that the sender deletes it; an empty one changes nothing."""
        if value == DELETE:
            self.clear(path)
            return
        text = clean(value)
        if text:
            self.put(path, text, value.place)

    def date(self, path: str, value: Value, zone: dt.tzinfo) -> None:
        """Write a calendar day, or note its deletion; what is no whole day is left off."""
        if value == DELETE:
            self.clear(path)
            return
        moment = read_moment(value, zone)
        if moment and moment.precision >= Precision.DAY:
            self.put(path, moment.date, value.place)

    def clear(self, *paths: str) -> None:
        """Note that the sender deletes these values (HL7 v2.5 chapter 2.5.3)."""
        self._cleared.update(paths)

    def find(self, code: str, place: Location | None, **parameters: str) -> None:
        """Note a finding. Parameters name fields and counts, never a person's data."""
        self.findings.append(Finding(code, place, parameters))

    @property
    def cleared(self) -> frozenset[str]:
        """Deleted paths. A value found elsewhere in the same message wins over a deletion."""
        return frozenset(self._cleared - self.values.keys())

    def record(self) -> BirthRecord:
        """Return the record, with the variant it speaks for and where each value came from."""
        tree: dict[str, Any] = {}
        for path, value in self.values.items():
            *parents, leaf = path.split(".")
            branch = tree
            for name in parents:
                branch = branch.setdefault(name, {})
            branch[leaf] = value
        witnesses = tree.pop("witnesses", {})
        last = max(map(int, witnesses), default=-1)
        tree["witnesses"] = tuple(witnesses.get(str(index), {}) for index in range(last + 1))
        tree["provenance"] = {path: str(place) for path, place in self.places.items()}
        record = BirthRecord.model_validate(tree)
        variant, reasons = propose_variant(record)
        return record.model_copy(update={"variant": variant, "variant_reasons": reasons})


def clean(text: str) -> str:
    """Return a text without control characters (PostgreSQL cannot keep NUL) and outer blanks."""
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " for c in text if unicodedata.category(c) != "Cs").strip()


def meant(text: str) -> str:
    """Return a text, "" where it only fills a field: a dash, dots, N/A."""
    text = clean(text)
    return "" if not any(c.isalnum() for c in text) or text.upper() in ("N/A", "NA", "NULL", "NONE") else text


def deleted(segment: Segment | None, field: int) -> bool:
    """Tell whether a whole field is `""`."""
    return segment is not None and segment.field(field).strip() == DELETE


def read_moment(text: str, zone: dt.tzinfo) -> Moment | None:
    """Read an HL7 date-time; None for what is none, or lies in no living person's time."""
    try:
        moment = parse_moment(text.strip(), zone)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.at.year <= _LAST_YEAR else None


_NUMBER = re.compile(r"[<>=~ ]*(\d{1,7})(?:[.,](\d{1,4}))?\s*([A-Za-z_\[\]]*)")


def read_number(text: str) -> tuple[float, str] | None:
    """Read a number with a dot or comma, and the unit behind it, as people type it: "3,2 kg" (domain E.1)."""
    found = _NUMBER.match(text.strip())
    if not found:
        return None
    return float(f"{found[1]}.{found[2] or 0}"), found[3].lower()


def first_of(values: Iterable[Value]) -> Value | None:
    """Return the first value that says something."""
    return next((value for value in values if meant(value)), None)

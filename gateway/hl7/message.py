"""A message one can ask: segments by name, values by position, each answer with the place it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Hl7SyntaxError
from gateway.hl7.escape import unescape
from gateway.hl7.lexer import Delimiters, Segment, split_segments
from gateway.hl7.location import Location
from gateway.hl7.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENT_LIMIT = 2000
REPETITION_LIMIT = 200  # reading one repetition costs its number: no message may make that count
_LARGE = 65_536  # characters
COMPONENT_LIMIT = 64  # no data type has as many; what follows is not split, since a text may be nothing but carets
_TEXTS = ("OBX", "NTE")  # their repetitions are lines of text, which nobody reads one by one


class Message:
    """A lexed message. Reading never raises: what is absent is empty."""

    __slots__ = ("_by_name", "delimiters", "segments")

    def __init__(self, delimiters: Delimiters, segments: list[Segment]) -> None:
        self.delimiters = delimiters
        self.segments = segments
        self._by_name: dict[str, list[Segment]] = {}
        for segment in segments:
            self._by_name.setdefault(segment.name, []).append(segment)

    def first(self, name: str) -> Segment | None:
        """Return the first segment of that name."""
        found = self._by_name.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Segment]:
        """Return every segment of that name, in order."""
        return self._by_name.get(name, [])

    def raw(self, name: str, field: int) -> str:
        """Return a raw field of the first segment of that name, "" where absent."""
        segment = self.first(name)
        return segment.field(field) if segment else ""

    def value(self, name: str, field: int, component: int = 1) -> Value:
        """Return one component of the first repetition in the first segment of that name."""
        segment = self.first(name)
        if segment is None:
            return Value("", Location(name, 1, field, 1, component))
        return value_of(segment, field, component=component)

    def text(self, name: str, field: int, component: int = 1) -> str:
        """Return like `value`, without its place."""
        found = self._by_name.get(name)
        return text_of(found[0], field, component) if found else ""


class TooManyRepetitionsError(Hl7SyntaxError):
    """A field repeats without end; `place` says which."""

    code = "HL7_REPETITIONS"

    def __init__(self, place: Location) -> None:
        super().__init__(f"{place.label} has more than {REPETITION_LIMIT} repetitions")
        self.place = place


def _check_repetitions(segment: Segment) -> None:
    if segment.name in _TEXTS:
        return
    first = 3 if segment.name == "MSH" else 1  # MSH-2 holds the separator itself
    for number, field in enumerate(segment.fields[first:], first):
        if field.count(segment.delimiters.repetition) > REPETITION_LIMIT:
            raise TooManyRepetitionsError(Location(segment.name, segment.sequence, number))


def value_of(segment: Segment, field: int, *, repetition: int = 1, component: int = 1, subcomponent: int = 1) -> Value:
    """Return one value, unescaped and stripped of outer blanks, with its place."""
    if subcomponent == 1:
        text = text_of(segment, field, component, repetition)
    else:
        text = segment.field(field)
        marks = segment.delimiters
        text = _part(text, marks.repetition, repetition)
        text = _part(text, marks.component, component)
        text = unescape(_part(text, marks.subcomponent, subcomponent), marks).strip()
    return Value(text, place_of(segment, field, component, repetition))


def place_of(segment: Segment, field: int, component: int = 1, repetition: int = 1) -> Location:
    """Return the place of a value that is there, or should be."""
    return _new_tuple(Location, (segment.name, segment.sequence, field, repetition, component, 0))


_new_tuple = tuple.__new__  # a message makes dozens of places; this is a third of the price of calling the class


def text_of(segment: Segment, field: int, component: int = 1, repetition: int = 1) -> str:
    """Return one value like `value_of`, without its place: for the many that are only looked at."""
    fields = segment.fields
    raw = fields[field] if field < len(fields) else ""
    if not raw or raw.isalnum():  # most fields of most messages are empty; of the others most are one word
        return raw if component == repetition == 1 else ""
    cells = segment.cells.get(field)
    if cells is None:
        cells = _read(segment, field, raw)
    if repetition > len(cells):
        return ""
    components = cells[repetition - 1]
    return components[component - 1] if component <= len(components) else ""


def cells_of(segment: Segment, field: int) -> list[list[str]]:
    """Return a field's components by repetition: the first sub-component each, unescaped, without outer blanks.

    [] where nothing was sent. A field is split once, however often it is read; the lists are shared: leave them alone.
    """
    fields = segment.fields
    raw = fields[field] if field < len(fields) else ""
    if not raw:
        return _NOTHING
    cells = segment.cells.get(field)
    return _read(segment, field, raw) if cells is None else cells


_NOTHING: list[list[str]] = []
_strip = str.strip


def _read(segment: Segment, field: int, raw: str) -> list[list[str]]:
    """Split a field that is not empty, and keep its cells."""
    marks = segment.delimiters
    if raw.isalnum():
        cells = [[raw]]
    elif segment.plain and marks.repetition not in raw:
        cells = [list(map(_strip, raw.split(marks.component, COMPONENT_LIMIT)))]
    else:
        cells = _split(raw, marks)
    if len(raw) < _LARGE:  # the pieces of a scanned document must not lie beside it
        segment.cells[field] = cells
    return cells


def _split(raw: str, marks: Delimiters) -> list[list[str]]:
    if marks.repetition in raw:
        return [_components(repetition, marks) for repetition in raw.split(marks.repetition, REPETITION_LIMIT)]
    return [_components(raw, marks)]


def _components(raw: str, marks: Delimiters) -> list[str]:
    parts = raw.split(marks.component, COMPONENT_LIMIT)
    if marks.subcomponent in raw:
        parts = [part.partition(marks.subcomponent)[0] for part in parts]
    if marks.escape in raw:
        parts = [unescape(part, marks) for part in parts]
    return list(map(_strip, parts))


def _part(text: str, separator: str, number: int) -> str:
    """Return the n-th part (1-based) of a text, "" where it has fewer."""
    if separator not in text:
        return text if number == 1 else ""
    parts = text.split(separator, number)
    return parts[number - 1] if number <= len(parts) else ""


def repetitions_of(segment: Segment, field: int) -> Iterator[int]:
    """Yield the numbers (1-based) of the repetitions that are there."""
    yield from range(1, len(segment.repetitions(field)) + 1)


def parse_message(text: str, *, limit: int = SEGMENT_LIMIT) -> Message:
    """Lex decoded text. Raises Hl7SyntaxError where it cannot be read at all, or where a field repeats without end."""
    delimiters, segments = split_segments(text, limit=limit)
    if text.count(delimiters.repetition) > REPETITION_LIMIT:
        for segment in segments:
            _check_repetitions(segment)
    return Message(delimiters, segments)

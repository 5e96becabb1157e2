"""A message one can ask: segments by name, values by position, each answer with the place it came from."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Self

from gateway.errors import Hl7SyntaxError
from gateway.hl7.escape import unescape
from gateway.hl7.lexer import Delimiters, Segment, split_segments
from gateway.hl7.location import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENT_LIMIT = 2000
REPETITION_LIMIT = 200  # reading one repetition costs its number: no message may make that count
_TEXTS = ("OBX", "NTE")  # their repetitions are lines of text, which nobody reads one by one


class Value(str):
    """An unescaped value that knows its place. Empty where the sender sent nothing."""

    __slots__ = ("place",)
    place: Location

    def __new__(cls, text: str, place: Location) -> Self:
        """Make a value of `text` found at `place`."""
        self = super().__new__(cls, text)
        self.place = place
        return self

    def __repr__(self) -> str:
        return f"<Value {self.place}>"  # never the content: it is about people


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
    text = segment.fields[field] if field < len(segment.fields) else ""
    if not text:  # most fields of most messages are empty
        return _empty(segment.name, segment.sequence, field, repetition, component)
    marks = segment.delimiters
    text = _part(text, marks.repetition, repetition)
    text = _part(text, marks.component, component)
    text = _part(text, marks.subcomponent, subcomponent)
    text = (unescape(text, marks) if marks.escape in text else text).strip()
    return Value(text, _place(segment.name, segment.sequence, field, repetition, component))


# The same places come again with every message. Bounded, since a sender chooses how many repetitions there are.
_place = lru_cache(maxsize=4096)(Location)


@lru_cache(maxsize=4096)
def _empty(segment: str, sequence: int, field: int, repetition: int, component: int) -> Value:
    return Value("", _place(segment, sequence, field, repetition, component))


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

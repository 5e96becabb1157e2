"""Bytes to segments and fields: the smallest walk over a message that the gateway can do its work with.

Owns delimiters, segment ends and lazy splitting. Never looks up what a field means, never unescapes before splitting
(HL7 v2.5 chapter 2.7: escape sequences are resolved inside the smallest part).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.errors import Hl7SyntaxError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MSH_LENGTH = 8  # "MSH", the field separator and at least four encoding characters
_LARGE = 65_536  # characters; below this one split in C is both faster and small enough
_HEADERS = frozenset({"MSH", "FHS", "BHS"})
_LEADING = "\ufeff\r \t"  # byte order marks, blank lines and blanks before MSH
_NAME_LENGTH = 3
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_BLANK_LINES = re.compile(r"\r[\ufeff\r \t]*\r")
_MANY_FIELDS = 500  # a line of more is cut as one, whatever its length


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2. `truncation` came with 2.7 (chapter 2.5.5.2) and is empty before."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @property
    def encoding_characters(self) -> str:
        """MSH-2 as it is written."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


DEFAULT = Delimiters()


def read_delimiters(text: str) -> Delimiters:
    """Take the delimiters from the start of `text`, which begins with MSH. Raises Hl7SyntaxError."""
    if len(text) < _MSH_LENGTH or text[:3].upper() != "MSH":
        raise Hl7SyntaxError(
            "the message does not begin with an MSH segment; send MSH first, without a header before it"
        )
    field = text[3]
    end = text.find(field, 4)
    line_end = text.find("\r", 4)
    if end < 0 or (0 <= line_end < end):
        raise Hl7SyntaxError("MSH-2 has no end; MSH-1 is the field separator and closes MSH-2 too")
    return _delimiters(field, text[4:end])


def can_be_mark(character: str) -> bool:
    """Tell whether a character may be a delimiter: no letter, digit or blank, and no C1 control character.

    The last are another set's letters: who guesses the set of our answer would not find its fields.
    """
    return not (character.isalnum() or character.isspace() or "\x7f" <= character <= "\x9f")


@lru_cache(maxsize=64)
def _delimiters(field: str, marks: str) -> Delimiters:
    if not 1 <= len(marks) <= 5:  # noqa: PLR2004 - component up to truncation
        raise Hl7SyntaxError(f"MSH-2 has {len(marks)} characters; it holds the encoding characters, usually ^~\\&")
    characters = marks + DEFAULT.encoding_characters[len(marks) :]
    every = field + characters
    if len(set(every)) != len(every) or not all(map(can_be_mark, every)):
        raise Hl7SyntaxError("MSH-1 and MSH-2 must be distinct punctuation characters, usually |^~\\&")
    return Delimiters(field, *characters)


class Segment:
    """One segment. `fields[n]` is XXX-n raw; for MSH, fields[1] is the separator itself, as the standard counts."""

    # No copy of the line beside its fields: an OBX may hold megabytes. `cells` are fields already read (hl7.message).
    # `plain` segments are of a message without escapes and sub-components, as most are.
    __slots__ = ("cells", "delimiters", "fields", "name", "plain", "sequence")

    def __init__(self, line: str | list[str], delimiters: Delimiters) -> None:
        """Make a segment of its line, or of the parts of one that was cut already."""
        parts = line.split(delimiters.field) if isinstance(line, str) else line
        self.name = parts[0]
        self.delimiters = delimiters
        self.sequence = 1
        if parts[0] in _HEADERS:
            parts.insert(1, delimiters.field)
        self.fields = parts
        self.cells: dict[int, list[list[str]]] = {}
        self.plain = False

    @property
    def raw(self) -> str:
        """The line as it came."""
        parts = self.fields if self.name not in _HEADERS else [self.fields[0], *self.fields[2:]]
        return self.delimiters.field.join(parts)

    def __repr__(self) -> str:
        return f"<Segment {self.name}[{self.sequence}]>"  # never the content: it is about people

    def field(self, number: int) -> str:
        """Return the raw field, "" where absent."""
        return self.fields[number] if number < len(self.fields) else ""

    def repetitions(self, number: int) -> list[str]:
        """Return the raw repetitions of a field, [] where it is empty."""
        raw = self.field(number)
        return raw.split(self.delimiters.repetition) if raw else []

    def components(self, number: int, repetition: int = 1) -> list[str]:
        """Return the raw components of one repetition (1-based), [] where absent."""
        repetitions = self.repetitions(number)
        if repetition > len(repetitions):
            return []
        return repetitions[repetition - 1].split(self.delimiters.component)


def split_segments(text: str, *, limit: int) -> tuple[Delimiters, list[Segment]]:
    """Split decoded text into segments. CR, LF and CRLF end a segment; blank lines and leading spaces are forgiven.

    Raises Hl7SyntaxError without MSH, with two, with broken delimiters, or past `limit` segments.
    """
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    if "\0" in text:
        text = text.replace("\0", "")  # padding; and PostgreSQL's text holds no NUL
    text = text.lstrip(_LEADING)
    delimiters = read_delimiters(text)
    if text.count("\r") > limit:
        text = _BLANK_LINES.sub("\r", text)  # a megabyte of blank lines is no megabyte of segments
        if text.count("\r") + bool(text[text.rfind("\r") + 1 :].strip(_LEADING)) > limit + 1:  # besides MSH
            raise Hl7SyntaxError(f"the message has more than {limit} segments; split it or send documents by MDM")
    plain = text.find(delimiters.subcomponent, _MSH_LENGTH) < 0 and text.find(delimiters.escape, _MSH_LENGTH) < 0
    segments: list[Segment] = []
    seen: dict[str, int] = {}
    for line in text.split("\r") if len(text) < _LARGE else _cut(text, delimiters.field):
        if not line:
            continue
        segment = Segment(line, delimiters)
        if not _is_name(segment.name):
            forgiven = _forgiven(segment, delimiters)
            if forgiven is None:
                continue
            segment = forgiven
        segment.plain = plain
        seen[segment.name] = segment.sequence = seen.get(segment.name, 0) + 1
        segments.append(segment)
    if seen["MSH"] > 1:
        # Blocks of several messages are cut before (gateway.hl7.batch); what still has two would lose one silently.
        raise Hl7SyntaxError("the message has a second MSH segment; send each message in a block of its own")
    return delimiters, segments


def _is_name(text: str) -> bool:
    return len(text) == _NAME_LENGTH and _may_be_name(text)


@lru_cache(maxsize=1024)  # few names make up all traffic; bounded, since a sender may write any
def _may_be_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _cut(text: str, separator: str) -> Iterator[list[str]]:
    """Yield the parts of line by line, cut from the text itself: no line of a large message lies beside its fields."""
    at = 0
    while at <= len(text):
        end = text.find("\r", at)
        end = len(text) if end < 0 else end
        if text.count(separator, at, end) > _MANY_FIELDS:  # its fields are small
            yield text[at:end].split(separator)
            at = end + 1
            continue
        parts = []
        while (stop := text.find(separator, at, end)) >= 0:
            parts.append(text[at:stop])
            at = stop + 1
        if parts or at < end:
            yield [*parts, text[at:end]]
        at = end + 1


def _forgiven(segment: Segment, delimiters: Delimiters) -> Segment | None:
    """Read a segment with leading blanks, a mark or a lower-case name (domain F 107); None for a line of blanks."""
    parts = segment.fields
    parts[0] = parts[0].lstrip(_LEADING)
    parts[-1] = parts[-1].rstrip(_LEADING)
    if parts == [""]:
        return None
    parts[0] = parts[0].strip().upper()  # as it should have been written
    if not _is_name(parts[0]):
        raise Hl7SyntaxError("a line does not begin with a segment name such as PID; check line ends inside fields")
    return Segment(parts, delimiters)

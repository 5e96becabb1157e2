"""No identifier holds a character that nobody sees: C0, C1 and bidirectional marks are no part of any number.

They make two numbers of one that looks the same, and command the terminal of whoever looks for it. In MSH they turn
the answer to AR, since answers and logs repeat it; elsewhere the message is answered AE and does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.finding import Finding
from gateway.contract.visible import commands
from gateway.hl7.escape import unescape
from gateway.hl7.location import Location

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.hl7.lexer import Segment
    from gateway.hl7.message import Message

_HEADER = (3, 4, 5, 6, 10)  # applications and facilities, control id
# Record numbers, NIK, KK, visit, order and document numbers, and whose they are (HL7 v2.5 chapters 3, 4, 7 and 9).
_IDENTIFIERS: dict[str, tuple[int, ...]] = {
    "PID": (2, 3, 4, 18, 19, 20, 21),
    "MRG": (1, 2, 3, 4, 5, 6),
    "NK1": (12, 33, 37),
    "PV1": (5, 19, 50),
    "ORC": (2, 3, 4),
    "OBR": (2, 3),
    "TXA": (12, 13, 14),
}
_NUMBERED = (8, 9, 10, 11, 12)  # of ZKL: number^name or number^day, and those have rules of their own


def check_header(message: Message) -> list[Finding]:
    """Return a finding for each field of MSH that routes or names the message and is marred."""
    return list(_marred(message.segments[0], _HEADER, "HEADER_CONTROL"))


def check_identifiers(message: Message) -> list[Finding]:
    """Return a finding for each identifier below MSH that is marred."""
    found: list[Finding] = []
    for segment in message.segments:
        fields = _IDENTIFIERS.get(segment.name)
        if fields:
            found += _marred(segment, fields, "IDENTIFIER_CONTROL")
        elif segment.name == "ZKL":
            found += _marred(segment, _NUMBERED, "IDENTIFIER_CONTROL", component=1)
    return found


def _marred(segment: Segment, fields: tuple[int, ...], code: str, *, component: int = 0) -> Iterable[Finding]:
    escape = segment.delimiters.escape
    for number in fields:
        raw = segment.field(number)
        if raw and (not raw.isprintable() or escape in raw) and _is_marred(segment, raw, component):
            yield Finding(code, Location(segment.name, segment.sequence, number))


def _is_marred(segment: Segment, raw: str, component: int) -> bool:
    """Look into each part: padding is of a part, and escapes are resolved in the smallest (chapter 2.7)."""
    marks = segment.delimiters
    for repetition in raw.split(marks.repetition):
        parts = repetition.split(marks.component)
        for part in parts[:component] if component else parts:
            if any(commands(unescape(text, marks).strip(" \t")) for text in part.split(marks.subcomponent)):
                return True
    return False

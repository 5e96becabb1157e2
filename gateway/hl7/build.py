r"""A small writer for the messages we send: every text leaf is escaped, so that no value can break a message.

Positions are the standard's (`{3: ...}` is XXX-3). The lexer reads back what this writes, value for value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.hl7.charset import encode
from gateway.hl7.escape import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.hl7.lexer import Delimiters

# A field is a text, or repetitions; a repetition is a text, or components; a component is a text, or sub-components.
Component = str | Sequence[str]
Repetition = str | Sequence[Component]
Field = str | Sequence[Repetition]


class Verbatim(str):
    """Text that already is in the receiver's escapes, such as a control id that is echoed."""

    __slots__ = ()


class Writer:
    """Collects the segments of one message. MSH-1 and MSH-2 are written from the delimiters."""

    __slots__ = ("_codec", "_delimiters", "_lines")

    def __init__(self, delimiters: Delimiters, codec: str = "utf-8") -> None:
        self._delimiters = delimiters
        self._codec = codec
        self._lines: list[str] = []

    def segment(self, name: str, fields: Mapping[int, Field]) -> None:
        """Append a segment. Fields that are not named are empty; trailing ones are not written."""
        separator = self._delimiters.field
        first = 3 if name == "MSH" else 1
        parts = [self._field(fields[n]) if n in fields else "" for n in range(first, max(fields, default=0) + 1)]
        if name == "MSH":
            parts.insert(0, self._delimiters.encoding_characters)
        self._lines.append(separator.join([name, *parts]))

    def render(self) -> bytes:
        """Return the message in the receiver's character set; each segment ends with CR (chapter 2.5.4)."""
        return encode("".join(f"{line}\r" for line in self._lines), self._codec)

    def _leaf(self, text: str) -> str:
        return text if isinstance(text, Verbatim) else escape(text, self._delimiters)

    def _field(self, value: Field) -> str:
        if isinstance(value, str):
            return self._leaf(value)
        return self._delimiters.repetition.join(map(self._repetition, value))

    def _repetition(self, value: Repetition) -> str:
        if isinstance(value, str):
            return self._leaf(value)
        return self._delimiters.component.join(map(self._component, value))

    def _component(self, value: Component) -> str:
        if isinstance(value, str):
            return self._leaf(value)
        return self._delimiters.subcomponent.join(map(self._leaf, value))

"""A text that knows where in its message it stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from gateway.hl7.location import Location


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

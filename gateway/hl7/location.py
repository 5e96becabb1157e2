"""Where in a message something is: the ERL of ERR-2 (HL7 v2.5 chapter 2, 2.A.28), and the ELD of ERR-1 before 2.5."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Location(NamedTuple):
    """Segment, its sequence among its like (1-based), field, repetition, component, sub-component; 0 means "whole".

    A tuple, since a message makes hundreds of them.
    """

    segment: str
    sequence: int = 1
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0

    def parts(self) -> tuple[str, ...]:
        """Return the six parts as text, without the trailing empty ones."""
        return tuple(_text(self).split("^"))

    def __str__(self) -> str:
        return _text(self)

    @property
    def label(self) -> str:
        """The way people say it: `PID-21`, `NK1[2]-33.1`."""
        text = self.segment if self.sequence <= 1 else f"{self.segment}[{self.sequence}]"
        if self.field:
            text += f"-{self.field}"
        if self.component > 1:
            text += f".{self.component}"
        return text

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read `str(location)` back. Raises ValueError."""
        return _parsed(text)


@lru_cache(maxsize=4096)  # places repeat from message to message; bounded, since a sender chooses the numbers
def _text(place: Location) -> str:
    numbers = list(place[1:])
    while numbers and not numbers[-1]:
        numbers.pop()
    return "^".join((place.segment, *(str(n) if n else "" for n in numbers)))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Location:
    segment, *numbers = text.split("^")
    return Location(segment, *(int(n) if n else 0 for n in numbers))

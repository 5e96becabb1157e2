"""Where in a message something is: the ERL of ERR-2 (HL7 v2.5 chapter 2, 2.A.28), and the ELD of ERR-1 before 2.5."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """Segment, its sequence among its like (1-based), field, repetition, component, sub-component; 0 means "whole"."""

    segment: str
    sequence: int = 1
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0

    def parts(self) -> tuple[str, ...]:
        """Return the six parts as text, without the trailing empty ones."""
        numbers = [self.sequence, self.field, self.repetition, self.component, self.subcomponent]
        while numbers and not numbers[-1]:
            numbers.pop()
        return (self.segment, *(str(n) if n else "" for n in numbers))

    def __str__(self) -> str:
        return "^".join(self.parts())

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
        segment, *numbers = text.split("^")
        return cls(segment, *(int(n) if n else 0 for n in numbers))

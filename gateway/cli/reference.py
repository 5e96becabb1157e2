"""hl7apy's own parser and validator beside ours: its verdict on a message, in its words (`validate --reference`).

It knows the standard's structure only, neither our profile nor births, and takes some fifty milliseconds a message.
"""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import ValidationError
from hl7apy.parser import parse_message

from gateway.contract.finding import CATALOGUES
from gateway.observe.logging import mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contract.finding import Finding


@dataclass(frozen=True, slots=True)
class Opinion:
    """What hl7apy says. Its warnings are about values: lengths and tables."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether it found no error."""
        return not self.errors

    def agrees(self, findings: Sequence[Finding]) -> bool:
        """Tell whether we found the message's structure as it did. What we say about the birth it cannot know."""
        wrong = any(f.severity == "E" and f.code in _on_the_wire() for f in findings)
        return self.valid is not wrong

    def as_dict(self, findings: Sequence[Finding]) -> dict[str, object]:
        """Return the published form, beside our own findings."""
        return {
            "valid": self.valid,
            "agrees": self.agrees(findings),
            "errors": list(self.errors),
            "warnings": list(self.warnings),
        }


def ask(text: str) -> Opinion:
    """Return hl7apy's opinion on the text of one message, numbers of persons masked."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", suffix=".txt") as report:
        try:
            message = parse_message(text.replace("\n", "\r"), validation_level=VALIDATION_LEVEL.TOLERANT)
            message.validate(report_file=report.name)
        except ValidationError:
            said = report.read()  # the first of what the report has in full
            return _read(said) if said else Opinion(("the message is not valid",), ())
        except Exception as error:  # noqa: BLE001 - whatever its parser stumbles over is its verdict
            return Opinion((f"{type(error).__name__}: {mask(str(error))}",), ())
        return _read(report.read())


@cache
def _on_the_wire() -> frozenset[str]:
    """Return the codes of what can be wrong with sender, envelope and structure."""
    text = resources.files("schemas").joinpath("hl7").joinpath(CATALOGUES[0]).read_text(encoding="utf-8")
    return frozenset(tomllib.loads(text))


def _read(report: str) -> Opinion:
    lines = [mask(line) for line in report.splitlines()]
    errors = tuple(line.removeprefix("Error: ") for line in lines if line.startswith("Error: "))
    return Opinion(errors, tuple(line.removeprefix("Warning: ") for line in lines if line.startswith("Warning: ")))

"""What the rules found wrong with a message: one `Finding` a problem, with place, severity and what to do.

Texts and codes come from the catalogue schemas/hl7/findings-*.toml (Indonesian and English); a rule names the code and
the place only. One catalogue serves the acknowledgement (ERR), the API and the terminal.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import State

if TYPE_CHECKING:
    from gateway.hl7.location import Location

# Where the wire is wrong (sender, structure), and where the birth is.
CATALOGUES = ("findings-wire.toml", "findings-birth.toml")


@dataclass(frozen=True, slots=True)
class Entry:
    """One catalogue entry. `error_code` is what ERR-5 bears (domain A.5), `code` what the birth's issues bear."""

    code: str
    error_code: str
    severity: str  # table 0516: E, W or I
    condition: int  # table 0357
    hold: State | None
    title: str  # ERR-5.2, English, short
    text_id: str
    text_en: str
    answer: str = ""  # "reject" turns the whole answer to AR/CR

    def sentence(self, language: str) -> str:
        """Return what is wrong, `id` or `en`: the text up to its first full stop."""
        return self._parts(language)[0]

    def remedy(self, language: str) -> str:
        """Return the right next step: the rest of the text."""
        return self._parts(language)[1]

    def _parts(self, language: str) -> tuple[str, str]:
        first, _, rest = (self.text_id if language == "id" else self.text_en).partition(". ")
        return first + "." * bool(rest), rest


@cache
def catalogue() -> dict[str, Entry]:
    """Return the catalogue by code."""
    entries: dict[str, Entry] = {}
    for name in CATALOGUES:
        raw = resources.files("schemas").joinpath("hl7").joinpath(name).read_text(encoding="utf-8")
        entries |= {code: _entry(code, values) for code, values in tomllib.loads(raw).items()}
    return entries


def _entry(code: str, values: dict[str, Any]) -> Entry:
    hold = values.get("hold")
    return Entry(
        code=code,
        error_code=values.get("error_code", code),
        severity=values["severity"],
        condition=values["condition"],
        hold=State(hold) if hold else None,
        title=values["title"],
        text_id=values["id"],
        text_en=values["en"],
        answer=values.get("answer", ""),
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of one message. `parameters` fill the texts; they name fields and counts, never a person's data."""

    code: str
    place: Location | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    severity_override: str = ""

    @property
    def entry(self) -> Entry:
        """The catalogue entry. An unknown code is a mistake of ours and raises KeyError."""
        return catalogue()[self.code]

    @property
    def severity(self) -> str:
        """E stops until the hospital sends again, W is said and accepted, I is information."""
        return self.severity_override or self.entry.severity

    def text(self, language: str) -> str:
        """Return the sentence for people, `id` or `en`."""
        template = self.entry.text_id if language == "id" else self.entry.text_en
        values = _Blank(self.parameters)
        values["place"] = self.place.label if self.place else ""
        return template.format_map(values)

    def as_dict(self) -> dict[str, Any]:
        """Return the stored and published form: code, severity, place and both sentences."""
        return {
            "code": self.code,
            "severity": self.severity,
            "place": str(self.place) if self.place else None,
            "state": self.entry.hold.value if self.entry.hold else None,
            "message": self.text("en"),
            "pesan": self.text("id"),
        }


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"

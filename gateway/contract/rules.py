"""What each finding rests on, and what enforces each rule of the domain page: schemas/hl7/rules.toml, read once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

from gateway.contract.finding import catalogue


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a finding is looked for, and the sections of the domain page it comes from."""

    place: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a section, the codes of the findings that tell of it, and what else was decided about it."""

    section: str
    text: str
    findings: tuple[str, ...]
    decision: str


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(resources.files("schemas").joinpath("hl7", "rules.toml").read_text(encoding="utf-8"))


def origins() -> dict[str, Origin]:
    """Return the origin of each finding by its code."""
    return {code: Origin(told["place"], tuple(told["from"])) for code, told in _read()["finding"].items()}


def rules() -> list[Rule]:
    """Return the rules in the order of the domain page; a `*` in a code stands for all that fit."""
    return [
        Rule(told["from"], told["rule"], tuple(_codes(told.get("findings", ()))), told.get("decision", ""))
        for told in _read()["rule"]
    ]


def _codes(patterns: list[str]) -> list[str]:
    """Return the codes that patterns name. Raises LookupError for one that names none."""
    found: list[str] = []
    for pattern in patterns:
        codes = [code for code in catalogue() if fnmatchcase(code, pattern)]
        if not codes:
            raise LookupError(f"schemas/hl7/rules.toml: no finding is called {pattern}")
        found += codes
    return found

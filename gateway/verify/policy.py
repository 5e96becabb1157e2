"""The birth profile schemas/hl7/profile.toml as one frozen object: which messages come in, and how strictly."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, get_args

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Check = Literal[
    "required-segment",
    "demanded-segment",
    "single-segment",
    "unknown-segment",
    "required",
    "demanded",
    "single",
    "type",
    "table",
    "length",
    "extra-fields",
    "extra-components",
]
_CHECKS: frozenset[str] = frozenset(get_args(Check))
_SEVERITIES = frozenset({"E", "W", "I", ""})


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the profile. Empty `events`: all of them. Empty severity: silence."""

    check: Check
    places: tuple[str, ...]
    severity: str
    events: frozenset[str] = frozenset()
    otherwise: tuple[int, ...] = ()
    limit: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The profile. Compared by identity, so that plans compiled from it can be kept beside it."""

    events: Mapping[str, frozenset[str]]  # by message type
    versions: frozenset[str]
    production: frozenset[str]
    test: frozenset[str]
    control_id_length: int
    structures: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...]

    def rules_for(self, event: str) -> dict[str, dict[str, Rule]]:
        """Return the rules that hold for an event: by check, then by place, later ones over earlier ones."""
        found: dict[str, dict[str, Rule]] = {check: {} for check in _CHECKS}
        for rule in self.rules:
            if not rule.events or event in rule.events:
                found[rule.check] |= dict.fromkeys(rule.places, rule)
        return found


@cache
def load_policy() -> Policy:
    """Return the shipped birth profile."""
    return read_policy(resources.files("schemas").joinpath("hl7").joinpath("profile.toml").read_text(encoding="utf-8"))


def read_policy(text: str) -> Policy:
    """Read a profile. Raises ConfigError for a check or severity that does not exist: absence is never permission."""
    raw = tomllib.loads(text)
    accept = raw["accept"]
    return Policy(
        events={code: frozenset(events) for code, events in accept["events"].items()},
        versions=frozenset(accept["versions"]),
        production=frozenset(accept["production"]),
        test=frozenset(accept["test"]),
        control_id_length=accept["control_id_length"],
        structures={event: tuple(names) for event, names in raw.get("structures", {}).items()},
        rules=tuple(_rule(values) for values in raw.get("rule", ())),
    )


def _rule(values: dict[str, Any]) -> Rule:
    if values["check"] not in _CHECKS:
        raise ConfigError(f"profile: there is no check {values['check']!r}; it is one of {', '.join(sorted(_CHECKS))}")
    if values["severity"] not in _SEVERITIES:
        raise ConfigError(f"profile: severity {values['severity']!r} is none of E, W, I and empty")
    return Rule(
        check=values["check"],
        places=tuple(values["places"]),
        severity=values["severity"],
        events=frozenset(values.get("events", ())),
        otherwise=tuple(values.get("otherwise", ())),
        limit=values.get("limit", 0),
    )

"""The birth profile schemas/hl7/profile.toml as one frozen object: which messages come in, and how strictly."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from gateway.contract.strictness import CHECKS, EVERYWHERE, Change, Check, is_within
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SEVERITIES = frozenset({"E", "W", "I", ""})


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the profile. Empty `events`: all. Empty severity: silence. `fixed`: no facility changes it."""

    check: Check
    places: tuple[str, ...]
    severity: str
    events: frozenset[str] = frozenset()
    otherwise: tuple[int, ...] = ()
    limit: int = 0
    also: frozenset[str] = frozenset()
    fixed: bool = False


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

    def rules_for(self, event: str) -> tuple[Rule, ...]:
        """Return the rules that hold for an event. Most events share theirs with others."""
        return tuple(rule for rule in self.rules if not rule.events or event in rule.events)


def by_place(rules: Iterable[Rule]) -> dict[str, dict[str, Rule]]:
    """Sort rules by check, then by place, later ones over earlier ones."""
    found: dict[str, dict[str, Rule]] = {check: {} for check in CHECKS}
    for rule in rules:
        found[rule.check] |= dict.fromkeys(rule.places, rule)
    return found


def load_policy(changes: tuple[Change, ...] = ()) -> Policy:
    """Return the shipped birth profile with a facility's changes, one object for the same changes: made once."""
    return _tailored(changes) if changes else _shipped()


@cache  # as many as the configuration has
def _tailored(changes: tuple[Change, ...]) -> Policy:
    return changed(_shipped(), changes)


@cache
def _shipped() -> Policy:
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


def changed(policy: Policy, changes: Iterable[Change]) -> Policy:
    """Return a profile with changes, the widest first. A rule keeps its events and limits; a fixed one stays."""
    rules = policy.rules
    for change in changes:
        rules = tuple(new for rule in rules for new in _apply(rule, change))
        silent = change.place == EVERYWHERE and not change.severity  # what no rule names is silent anyway
        if change.place and not silent and not any(_is_about(rule, change) for rule in rules):
            rules = (*rules, Rule(cast("Check", change.check), (change.place,), change.severity))
    return replace(policy, rules=rules)


def _apply(rule: Rule, change: Change) -> Iterator[Rule]:
    touched = tuple(p for p in rule.places if rule.check == change.check and not rule.fixed and change.covers(p))
    if not touched:
        yield rule
        return
    if left := tuple(p for p in rule.places if p not in touched):
        yield replace(rule, places=left)
    yield replace(rule, places=touched, severity=change.severity)


def _is_about(rule: Rule, change: Change) -> bool:
    """Tell whether the profile names this very place for the check (and a fixed one answers for what lies within)."""
    if rule.check != change.check:
        return False
    return change.place in rule.places or (
        rule.fixed and change.place != EVERYWHERE and any(is_within(change.place, p) for p in rule.places)
    )


def _rule(values: dict[str, Any]) -> Rule:
    if values["check"] not in CHECKS:
        raise ConfigError(f"profile: there is no check {values['check']!r}; it is one of {', '.join(sorted(CHECKS))}")
    if values["severity"] not in _SEVERITIES:
        raise ConfigError(f"profile: severity {values['severity']!r} is none of E, W, I and empty")
    return Rule(
        check=values["check"],
        places=tuple(values["places"]),
        severity=values["severity"],
        events=frozenset(values.get("events", ())),
        otherwise=tuple(values.get("otherwise", ())),
        limit=values.get("limit", 0),
        also=frozenset(values.get("also", ())),
        fixed=values.get("fixed", False),
    )

"""What is checked in a kind of message, compiled: hl7apy's reference tables by the rules of the birth profile.

Compiled once per version, event and structure into small tuples, which gateway.verify.structure walks a message with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gateway.hl7 import reference
from gateway.verify.datatypes import PLAIN, VALID
from gateway.verify.layout import most
from gateway.verify.policy import Rule, by_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.contract.strictness import Check
    from gateway.hl7.header import Header
    from gateway.hl7.reference import Part, Structure
    from gateway.verify.policy import Policy

Rules = Mapping[str, Mapping[str, Rule]]  # by check, then by place

OBSERVED_VALUE = 5  # OBX-5: of the data type that OBX-2 names
_INSIDE: tuple[Check, ...] = ("required-component", "component-type", "component-table", "length")
_MSH_MARKS = 2  # MSH-1 and MSH-2 are delimiters themselves
_NAME_LENGTH = 20  # no structure's name is longer: what a sender wrote there is not kept
_USUAL = ("MSH", "EVN", "PID", "PD1", "NK1", "PV1", "PV2", "OBX", "MRG", "OBR", "TXA")
_KEPT_PLANS = 512  # segments by name: more than any version has, and a sender may write any


class Inside(NamedTuple):
    """What is checked in one component of a field. An empty severity: nothing."""

    component: int
    required: str
    typed: tuple[tuple[int, Callable[[str], bool], str], ...]  # sub-component, check, data type
    mistyped: str
    values: frozenset[str]
    table: str
    uncoded: str
    longest: int
    long: str


class Divided(NamedTuple):
    """How many sub-components a component may have, and what is said of more."""

    component: int
    highest: int
    code: str
    severity: str


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """What is checked in one segment; each entry begins with a field number and ends with a severity."""

    required: tuple[tuple[int, tuple[int, ...], str], ...]
    single: tuple[tuple[int, str], ...]
    typed: tuple[tuple[int, Callable[[str], bool], str, str], ...]
    coded: tuple[tuple[int, frozenset[str], str, str], ...]
    limited: tuple[tuple[int, int, str], ...]
    composed: tuple[tuple[int, int, str], ...]
    divided: tuple[tuple[int, tuple[Divided, ...]], ...]
    inside: tuple[tuple[int, tuple[Inside, ...]], ...]
    width: int
    wide: str  # severity of more fields than `width`
    observed: str  # severity of an OBX-5 that does not fit OBX-2
    counted: bool = False  # whether anything is counted or measured, or looked for inside of a field


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is checked in one kind of message."""

    needed: tuple[tuple[str, str], ...]
    once: tuple[tuple[str, str], ...]
    structure: Structure | None
    rules: Rules
    segments: Segments
    version: str


def plan_for(header: Header, policy: Policy) -> Plan:
    """Return the plan of a message's kind. Unknown kinds share one plan: a sender cannot fill the cache."""
    version = reference.resolve_version(header.version).version
    known = header.event in policy.events.get(header.message_code, ())
    name = header.structure
    named = bool(name) and len(name) <= _NAME_LENGTH and reference.structure(version, name) is not None
    kind = (header.message_code, header.event) if known else ("", "")
    return _plan(policy, version, kind, name if named else "")


def prepare(policy: Policy, versions: Iterable[str]) -> None:
    """Compile the plans of these versions now, so that no message waits for them (versions are free to repeat)."""
    for asked in versions:
        version = reference.resolve_version(asked).version
        for code, events in policy.events.items():
            for event in events:
                segments = _plan(policy, version, (code, event), "").segments
                for name in _USUAL:
                    segments.plan(name)
                for name in (f"{code}_{event}", *policy.structures.get(event, ())):
                    if reference.structure(version, name):
                        _plan(policy, version, (code, event), name)


@lru_cache(maxsize=2048)
def _plan(policy: Policy, version: str, kind: tuple[str, str], named: str) -> Plan:
    code, event = kind
    rules, segments = _compiled(policy.rules_for(event), version)
    names = [named] if named else [f"{code}_{event}", *policy.structures.get(event, ())]
    structure = next((s for name in names if (s := reference.structure(version, name))), None)
    return Plan(
        needed=tuple((name, rule.severity) for name, rule in rules["demanded-segment"].items() if rule.severity),
        once=tuple(_once(rules["single-segment"], structure)),
        structure=structure,
        rules=rules,
        segments=segments,
        version=version,
    )


@lru_cache(maxsize=2048)
def _compiled(rules: tuple[Rule, ...], version: str) -> tuple[Rules, Segments]:
    """Return what holds for all events with the same rules, whatever structure their messages name."""
    sorted_rules = by_place(rules)
    return sorted_rules, Segments(version, sorted_rules)


class Segments:
    """Segment plans by name, each made when it is first asked for; None where nothing is checked."""

    def __init__(self, version: str, rules: Rules) -> None:
        self._compiler = _Compiler(version, rules)
        self.made: dict[str, SegmentPlan | None] = {}

    def plan(self, name: str) -> SegmentPlan | None:
        """Return the plan of a segment."""
        if name in self.made:
            return self.made[name]
        plan = self._compiler.segment(name)
        if len(self.made) < _KEPT_PLANS:
            self.made[name] = plan
        return plan


def _once(places: Mapping[str, Rule], structure: Structure | None) -> Iterable[tuple[str, str]]:
    """Yield the segments that may be there once: those that are named, and with `*` all that the structure has once."""
    for name, rule in places.items():
        if name != "*" and rule.severity:
            yield name, rule.severity
    if (everywhere := places.get("*")) and everywhere.severity and structure:
        for name in sorted(structure.known - places.keys()):
            if most(structure.tree, name) == 1:
                yield name, everywhere.severity


def rule_for(places: Mapping[str, Rule], segment: str, field: int = 0, component: int = 0) -> Rule | None:
    """Return the rule for a place, the nearest first: component, field, segment, all. None where it is silent."""
    if not places:
        return None
    rule = places.get(f"{segment}-{field}.{component}") if component else None
    rule = rule or places.get(f"{segment}-{field}") or places.get(segment) or places.get("*")
    return rule if rule and rule.severity else None


class _Compiler:
    """Makes segment plans from the tables of one version and the rules of one event."""

    def __init__(self, version: str, rules: Rules) -> None:
        self._version = version
        self._rules = rules

    def segment(self, name: str) -> SegmentPlan | None:
        """Return the plan of a segment, None where no rule is about it or the version does not have it."""
        parts = reference.segment(self._version, name)
        plan = self._segment(name, parts) if parts else _NOTHING
        if plan == _NOTHING:
            return None
        counts = plan.single or plan.limited or plan.composed or plan.divided or plan.inside or plan.wide
        return replace(plan, counted=bool(counts))

    def _segment(self, name: str, parts: tuple[Part, ...]) -> SegmentPlan:
        wide = rule_for(self._rules["extra-fields"], name)
        observed = rule_for(self._rules["type"], name, OBSERVED_VALUE) if name == "OBX" else None
        return SegmentPlan(
            required=tuple(self._required(name, parts)),
            single=tuple((p.number, rule.severity) for p, rule in self._named("single", name, parts) if p.maximum == 1),
            typed=tuple(
                (p.number, VALID[p.datatype], p.datatype, rule.severity)
                for p, rule in self._named("type", name, parts)
                if p.datatype in VALID
            ),
            coded=tuple(
                (p.number, values | rule.also, p.table, rule.severity)
                for p, rule in self._named("table", name, parts)
                if (values := reference.table(self._version, p.table))
            ),
            limited=tuple((p.number, r.limit, r.severity) for p, r in self._named("length", name, parts) if r.limit),
            composed=tuple(self._composed(name, parts)),
            divided=tuple(self._divided(name, parts)),
            inside=tuple(self._inside(name, parts)),
            width=max(part.number for part in parts) if wide else 0,
            wide=wide.severity if wide else "",
            observed=observed.severity if observed else "",
        )

    def _named(self, check: Check, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[Part, Rule]]:
        for part in parts:
            rule = rule_for(self._rules[check], name, part.number)
            if rule and (name != "MSH" or part.number > _MSH_MARKS):
                yield part, rule

    def _required(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, tuple[int, ...], str]]:
        for part in parts:
            rule = self._rules["demanded"].get(f"{name}-{part.number}")
            if not (rule and rule.severity) and part.required:
                rule = rule_for(self._rules["required"], name, part.number)
            if rule and rule.severity:
                yield part.number, rule.otherwise, rule.severity

    def _composed(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, int, str]]:
        for part, rule in self._named("extra-components", name, parts):
            highest = 1 if part.datatype in PLAIN else len(reference.datatype(self._version, part.datatype))
            if highest:
                yield part.number, highest, rule.severity

    def _components(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[Part, tuple[tuple[int, Part], ...]]]:
        """Yield each field with its components; a plain field is a component of its own."""
        for part in parts:
            if name != "MSH" or part.number > _MSH_MARKS:
                inner = (part,) if part.datatype in PLAIN else reference.datatype(self._version, part.datatype)
                yield part, tuple(enumerate(inner, start=1))

    def _divided(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, tuple[Divided, ...]]]:
        rules = self._rules["extra-subcomponents"]
        for part, components in self._components(name, parts) if rules else ():
            limits = []
            for number, component in components:
                rule = rule_for(rules, name, part.number, number)
                plain = component.datatype in PLAIN
                highest = 1 if plain else len(reference.datatype(self._version, component.datatype))
                if rule and highest:
                    code = "RECORD_NUMBER_CUT" if rule.fixed else "SUBCOMPONENT_EXTRA"
                    limits.append(Divided(number, highest, code, rule.severity))
            if limits:
                yield part.number, tuple(limits)

    def _inside(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, tuple[Inside, ...]]]:
        if not any(map(self._rules.get, _INSIDE)):
            return
        for part, components in self._components(name, parts):
            looks = (self._look(name, part, number, component) for number, component in components)
            checks = tuple(look for look in looks if look.required or look.mistyped or look.uncoded or look.long)
            if checks:
                yield part.number, checks

    def _look(self, name: str, field: Part, number: int, part: Part) -> Inside:
        """Return what is checked in a component; what a field's own first value is checked for, is not done twice."""

        def severity(check: Check) -> str:
            rule = rule_for(self._rules[check], name, field.number, number)
            return rule.severity if rule and not rule.limit else ""

        whole = part is field
        typed = () if whole or (field.datatype in VALID and number == 1) else tuple(self._typed(part))
        values = reference.table(self._version, part.table) if part.datatype in PLAIN and not whole else frozenset()
        longest = reference.longest(self._version, part.datatype) if part.datatype in PLAIN else -1
        mistyped, uncoded = severity("component-type"), severity("component-table")
        return Inside(
            component=number,
            required=severity("required-component") if part.required and not whole else "",
            typed=typed if mistyped else (),
            mistyped=mistyped if typed else "",
            values=values if uncoded else frozenset(),
            table=part.table if values and uncoded else "",
            uncoded=uncoded if values else "",
            longest=longest,
            long=severity("length") if longest >= 0 else "",
        )

    def _typed(self, part: Part) -> Iterable[tuple[int, Callable[[str], bool], str]]:
        if part.datatype in VALID:
            yield 1, VALID[part.datatype], part.datatype
            return
        for number, inner in enumerate(reference.datatype(self._version, part.datatype), start=1):
            if inner.datatype in VALID:
                yield number, VALID[inner.datatype], inner.datatype


_NOTHING = SegmentPlan((), (), (), (), (), (), (), (), 0, "", "")

"""Does the message hold together? Segments, fields, repetitions, data types, tables (HL7 v2.5 chapter 2.5 to 2.7).

hl7apy's reference tables are the rules, the birth profile says which of them matter. Both are compiled once per
version, event and structure into small tuples; a message is then walked with plain loops. Nothing of a message is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gateway.contract.finding import Finding
from gateway.hl7 import reference
from gateway.hl7.dates import is_moment, is_time
from gateway.hl7.escape import is_delete
from gateway.hl7.location import Location
from gateway.verify.layout import misfits, most
from gateway.verify.policy import by_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.contract.strictness import Check
    from gateway.hl7.header import Header
    from gateway.hl7.lexer import Segment
    from gateway.hl7.message import Message
    from gateway.hl7.reference import Part, Structure
    from gateway.verify.policy import Policy, Rule

    Rules = Mapping[str, Mapping[str, Rule]]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_SEQUENCE = re.compile(r"\d{1,4}", re.ASCII)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _is_sequence(text: str) -> bool:
    return _SEQUENCE.fullmatch(text) is not None


# By data type. DT takes a whole moment too: a time beside the date hurts nobody (2.1 has PID-7 as DT).
_VALID: dict[str, Callable[[str], bool]] = {
    "TS": is_moment,
    "DTM": is_moment,
    "DT": is_moment,
    "TM": is_time,
    "NM": _is_number,
    "SI": _is_sequence,
}
_INSIDE: tuple[Check, ...] = ("required-component", "component-type", "component-table", "length")
_PLAIN = frozenset({"ST", "ID", "IS", "NM", "SI", "DT", "DTM", "TM", "TX", "FT", "TN"})  # no components
_MOMENTS = ("TS", "DTM", "DT", "TM")
_OBSERVED_TYPE, _OBSERVED_VALUE = 2, 5
_MSH_MARKS = 2  # MSH-1 and MSH-2 are delimiters themselves
_NAME_LENGTH = 20  # no structure's name is longer: what a sender wrote there is not kept
_USUAL = ("MSH", "EVN", "PID", "PD1", "NK1", "PV1", "PV2", "OBX", "MRG", "OBR", "TXA")
_KEPT_PLANS = 512  # segments by name: more than any version has, and a sender may write any
_KEPT_SEGMENTS = 64  # the layout of longer messages is not remembered
_SPLIT_LIMIT = 64  # no data type has as many components


class _Inside(NamedTuple):
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


class _Divided(NamedTuple):
    """How many sub-components a component may have, and what is said of more."""

    component: int
    highest: int
    code: str
    severity: str


@dataclass(frozen=True, slots=True)
class _SegmentPlan:
    """What is checked in one segment; each entry begins with a field number and ends with a severity."""

    required: tuple[tuple[int, tuple[int, ...], str], ...]
    single: tuple[tuple[int, str], ...]
    typed: tuple[tuple[int, Callable[[str], bool], str, str], ...]
    coded: tuple[tuple[int, frozenset[str], str, str], ...]
    limited: tuple[tuple[int, int, str], ...]
    composed: tuple[tuple[int, int, str], ...]
    divided: tuple[tuple[int, tuple[_Divided, ...]], ...]
    inside: tuple[tuple[int, tuple[_Inside, ...]], ...]
    width: int
    wide: str  # severity of more fields than `width`
    observed: str  # severity of an OBX-5 that does not fit OBX-2
    counted: bool = False  # whether anything is counted or measured, or looked for inside of a field


class _Said(NamedTuple):
    """A finding about a segment, to be said of every message with this layout."""

    code: str
    place: Location
    severity: str


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is checked in one kind of message."""

    needed: tuple[tuple[str, str], ...]
    once: tuple[tuple[str, str], ...]
    structure: Structure | None
    rules: Rules
    segments: _Segments
    version: str


def check_structure(message: Message, header: Header, policy: Policy) -> list[Finding]:
    """Return what is wrong with the structure of a message, in message order after what is missing altogether."""
    plan = plan_for(header, policy)
    names = tuple([segment.name for segment in message.segments])
    said = _layout(plan, names) if len(names) <= _KEPT_SEGMENTS else _read_layout(plan, names)
    findings = [Finding(code, place, {"segment": place.segment}, severity) for code, place, severity in said]
    segments = plan.segments
    for segment in message.segments:
        checks = segments[segment.name]
        if checks is not None:
            _check_values(segment, checks, findings)
            if checks.counted:
                _check_amounts(segment, checks, findings)
    return findings


# ----------------------------------------------------------------------------------- which segments stand where

_MISFITS: dict[str, tuple[str, Check]] = {
    "missing": ("SEGMENT_MISSING", "required-segment"),
    "repeated": ("SEGMENT_REPEATED", "repeated-segment"),
    "order": ("SEGMENT_ORDER", "order"),
    "unexpected": ("SEGMENT_UNEXPECTED", "unexpected-segment"),
}


def _read_layout(plan: _Plan, names: tuple[str, ...]) -> tuple[_Said, ...]:
    """Return what is said of a message whose segments have these names: what is missing altogether comes first."""
    said = [_Said("SEGMENT_MISSING", Location(name), severity) for name, severity in plan.needed if name not in names]
    said += [_Said("SEGMENT_EXTRA", Location(n, 2), severity) for n, severity in plan.once if names.count(n) > 1]
    told = {(place.segment, place.sequence) for _, place, _ in said}
    known = [name for name in names if name[0] != "Z" and reference.segment(plan.version, name) is not None]
    for kind, name, sequence in misfits(plan.structure, known) if plan.structure else ():
        code, check = _MISFITS[kind]
        rule = _rule(plan.rules[check], name)
        if rule and (name, sequence) not in told:
            said.append(_Said(code, Location(name, sequence), rule.severity))
    return (*said, *_unknown(plan, names))


# Traffic has few layouts; bounded, since a sender may write any.
_layout = lru_cache(maxsize=4096)(_read_layout)


def _unknown(plan: _Plan, names: Iterable[str]) -> Iterable[_Said]:
    if not plan.rules["unknown-segment"]:
        return
    seen: dict[str, int] = {}
    for name in names:
        if name[0] != "Z" and reference.segment(plan.version, name) is None:
            seen[name] = seen.get(name, 0) + 1
            if rule := _rule(plan.rules["unknown-segment"], name):
                yield _Said("SEGMENT_UNKNOWN", Location(name, seen[name]), rule.severity)


# ---------------------------------------------------------------------------------------- what a segment holds


def _check_values(segment: Segment, checks: _SegmentPlan, findings: list[Finding]) -> None:
    fields = segment.fields
    count = len(fields)
    for number, otherwise, severity in checks.required:
        if number >= count or not fields[number]:
            _absent(segment, number, otherwise, severity, findings)
    for number, valid, datatype, severity in checks.typed:
        if number < count and (text := fields[number]) and not valid(text):
            _mistyped(segment, number, valid, (datatype, severity), findings)
    for number, values, table, severity in checks.coded:
        if number < count and (text := fields[number]) and text not in values:
            _uncoded(segment, number, values, (table, severity), findings)
    if checks.observed and count > _OBSERVED_VALUE:
        datatype = fields[_OBSERVED_TYPE]
        if datatype in _VALID and not _VALID[datatype](fields[_OBSERVED_VALUE]):
            _mistyped(segment, _OBSERVED_VALUE, _VALID[datatype], (datatype, checks.observed), findings)


def _absent(segment: Segment, number: int, otherwise: tuple[int, ...], severity: str, findings: list[Finding]) -> None:
    if not any(map(segment.field, otherwise)):
        findings.append(Finding("FIELD_REQUIRED", _place(segment, number), {}, severity))


def _check_amounts(segment: Segment, checks: _SegmentPlan, findings: list[Finding]) -> None:
    """Look for too many values, fields or components, and for values that are too long."""
    repetition = segment.delimiters.repetition
    for number, severity in checks.single:
        if repetition in segment.field(number):
            findings.append(Finding("FIELD_REPEATED", _place(segment, number, 2), {}, severity))
    for number, limit, severity in checks.limited:
        if len(segment.field(number)) > limit:
            findings.append(Finding("FIELD_LONG", _place(segment, number), {"limit": str(limit)}, severity))
    if checks.wide and len(segment.fields) - 1 > checks.width:
        findings.append(Finding("FIELD_EXTRA", _place(segment, checks.width + 1), {}, checks.wide))
    if checks.composed:
        _check_components(segment, checks, findings)
    if checks.divided or checks.inside:
        _check_parts(segment, checks, findings)


def _check_parts(segment: Segment, checks: _SegmentPlan, findings: list[Finding]) -> None:
    subcomponent = segment.delimiters.subcomponent
    for number, limits in checks.divided:
        if subcomponent in segment.field(number):
            _check_subcomponents(segment, number, limits, findings)
    for number, parts in checks.inside:
        if segment.field(number):
            _check_inside(segment, number, parts, findings)


def _values(segment: Segment, number: int) -> Iterable[tuple[int, str]]:
    """Yield what is read of a field: the first part of each repetition, neither empty nor a wish to delete."""
    marks = segment.delimiters
    for repetition, raw in enumerate(segment.repetitions(number), start=1):
        text = raw.partition(marks.component)[0].partition(marks.subcomponent)[0].strip()
        if text and not is_delete(text):
            yield repetition, text


def _mistyped(
    segment: Segment, number: int, valid: Callable[[str], bool], kind: tuple[str, str], findings: list[Finding]
) -> None:
    datatype, severity = kind
    code = "FIELD_DATE" if datatype in _MOMENTS else "FIELD_TYPE"
    for repetition, text in _values(segment, number):
        if not valid(text):
            findings.append(Finding(code, _place(segment, number, repetition), {"type": datatype}, severity))


def _uncoded(
    segment: Segment, number: int, values: frozenset[str], kind: tuple[str, str], findings: list[Finding]
) -> None:
    table, severity = kind
    for repetition, text in _values(segment, number):
        if text not in values and not _is_local(segment, number, repetition):
            told = {"table": table.removeprefix("HL7"), "values": " ".join(sorted(values))}
            findings.append(Finding("FIELD_TABLE", _place(segment, number, repetition), told, severity))


def _is_local(segment: Segment, number: int, repetition: int) -> bool:
    """Tell whether a coded value names a coding system other than HL7's own: the table does not speak of it."""
    parts = segment.components(number, repetition)
    system = parts[2].strip().upper() if len(parts) > 2 else ""  # noqa: PLR2004 - CE.3, CWE.3
    return bool(system) and not system.startswith("HL7")


def _check_components(segment: Segment, checks: _SegmentPlan, findings: list[Finding]) -> None:
    component = segment.delimiters.component
    for number, highest, severity in checks.composed:
        for repetition, raw in enumerate(segment.repetitions(number), start=1):
            if raw.count(component) >= highest:
                place = Location(segment.name, segment.sequence, number, repetition, highest + 1)
                findings.append(Finding("COMPONENT_EXTRA", place, {}, severity))


def _check_subcomponents(segment: Segment, number: int, limits: tuple[_Divided, ...], findings: list[Finding]) -> None:
    marks = segment.delimiters
    for repetition, raw in enumerate(segment.repetitions(number), start=1):
        texts = raw.split(marks.component, _SPLIT_LIMIT)
        for component, highest, code, severity in limits:
            if component <= len(texts) and texts[component - 1].count(marks.subcomponent) >= highest:
                place = Location(segment.name, segment.sequence, number, repetition, component, highest + 1)
                findings.append(Finding(code, place, {}, severity))


def _check_inside(segment: Segment, number: int, parts: tuple[_Inside, ...], findings: list[Finding]) -> None:
    """Look into each component that the profile asks about."""
    for repetition, raw in enumerate(segment.repetitions(number), start=1):
        if not raw.strip() or is_delete(raw):
            continue
        texts = raw.split(segment.delimiters.component, _SPLIT_LIMIT)
        for part in parts:
            text = texts[part.component - 1].strip() if part.component <= len(texts) else ""
            place = Location(segment.name, segment.sequence, number, repetition, part.component)
            if text and not is_delete(text):
                _check_part(text, part, place, segment.delimiters.subcomponent, findings)
            elif part.required and not text:
                findings.append(Finding("COMPONENT_REQUIRED", place, {}, part.required))


def _check_part(text: str, part: _Inside, place: Location, subcomponent: str, findings: list[Finding]) -> None:
    if part.long and len(text) > part.longest:
        findings.append(Finding("FIELD_LONG", place, {"limit": str(part.longest)}, part.long))
    if part.uncoded and text not in part.values:
        told = {"table": part.table.removeprefix("HL7"), "values": " ".join(sorted(part.values))}
        findings.append(Finding("FIELD_TABLE", place, told, part.uncoded))
    if not part.mistyped:
        return
    values = text.split(subcomponent, _SPLIT_LIMIT)
    for number, valid, datatype in part.typed:
        value = values[number - 1].strip() if number <= len(values) else ""
        if value and not is_delete(value) and not valid(value):
            code = "FIELD_DATE" if datatype in _MOMENTS else "FIELD_TYPE"
            at = place._replace(subcomponent=number if number > 1 else 0)
            findings.append(Finding(code, at, {"type": datatype}, part.mistyped))


def _place(segment: Segment, field: int = 0, repetition: int = 0) -> Location:
    return Location(segment.name, segment.sequence, field, repetition)


# ------------------------------------------------------------------------------------- compiling the plans


def plan_for(header: Header, policy: Policy) -> _Plan:
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
                    segments[name]
                for name in (f"{code}_{event}", *policy.structures.get(event, ())):
                    if reference.structure(version, name):
                        _plan(policy, version, (code, event), name)


@lru_cache(maxsize=2048)
def _plan(policy: Policy, version: str, kind: tuple[str, str], named: str) -> _Plan:
    code, event = kind
    rules, segments = _compiled(policy.rules_for(event), version)
    names = [named] if named else [f"{code}_{event}", *policy.structures.get(event, ())]
    structure = next((s for name in names if (s := reference.structure(version, name))), None)
    return _Plan(
        needed=tuple((name, rule.severity) for name, rule in rules["demanded-segment"].items() if rule.severity),
        once=tuple(_once(rules["single-segment"], structure)),
        structure=structure,
        rules=rules,
        segments=segments,
        version=version,
    )


@lru_cache(maxsize=2048)
def _compiled(rules: tuple[Rule, ...], version: str) -> tuple[Rules, _Segments]:
    """Return what holds for all events with the same rules, whatever structure their messages name."""
    sorted_rules = by_place(rules)
    return sorted_rules, _Segments(version, sorted_rules)


class _Segments(dict[str, "_SegmentPlan | None"]):
    """Segment plans by name, each made when it is first asked for; None where nothing is checked."""

    def __init__(self, version: str, rules: Rules) -> None:
        super().__init__()
        self._compiler = _Compiler(version, rules)

    def __missing__(self, name: str) -> _SegmentPlan | None:
        plan = self._compiler.segment(name)
        if len(self) < _KEPT_PLANS:
            self[name] = plan
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


def _rule(places: Mapping[str, Rule], segment: str, field: int = 0, component: int = 0) -> Rule | None:
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

    def segment(self, name: str) -> _SegmentPlan | None:
        """Return the plan of a segment, None where no rule is about it or the version does not have it."""
        parts = reference.segment(self._version, name)
        plan = self._segment(name, parts) if parts else _NOTHING
        if plan == _NOTHING:
            return None
        counts = plan.single or plan.limited or plan.composed or plan.divided or plan.inside or plan.wide
        return replace(plan, counted=bool(counts))

    def _segment(self, name: str, parts: tuple[Part, ...]) -> _SegmentPlan:
        wide = _rule(self._rules["extra-fields"], name)
        observed = _rule(self._rules["type"], name, _OBSERVED_VALUE) if name == "OBX" else None
        return _SegmentPlan(
            required=tuple(self._required(name, parts)),
            single=tuple((p.number, rule.severity) for p, rule in self._named("single", name, parts) if p.maximum == 1),
            typed=tuple(
                (p.number, _VALID[p.datatype], p.datatype, rule.severity)
                for p, rule in self._named("type", name, parts)
                if p.datatype in _VALID
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
            rule = _rule(self._rules[check], name, part.number)
            if rule and (name != "MSH" or part.number > _MSH_MARKS):
                yield part, rule

    def _required(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, tuple[int, ...], str]]:
        for part in parts:
            rule = self._rules["demanded"].get(f"{name}-{part.number}")
            if not (rule and rule.severity) and part.required:
                rule = _rule(self._rules["required"], name, part.number)
            if rule and rule.severity:
                yield part.number, rule.otherwise, rule.severity

    def _composed(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, int, str]]:
        for part, rule in self._named("extra-components", name, parts):
            highest = 1 if part.datatype in _PLAIN else len(reference.datatype(self._version, part.datatype))
            if highest:
                yield part.number, highest, rule.severity

    def _components(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[Part, tuple[tuple[int, Part], ...]]]:
        """Yield each field with its components; a plain field is a component of its own."""
        for part in parts:
            if name != "MSH" or part.number > _MSH_MARKS:
                inner = (part,) if part.datatype in _PLAIN else reference.datatype(self._version, part.datatype)
                yield part, tuple(enumerate(inner, start=1))

    def _divided(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, tuple[_Divided, ...]]]:
        rules = self._rules["extra-subcomponents"]
        for part, components in self._components(name, parts) if rules else ():
            limits = []
            for number, component in components:
                rule = _rule(rules, name, part.number, number)
                plain = component.datatype in _PLAIN
                highest = 1 if plain else len(reference.datatype(self._version, component.datatype))
                if rule and highest:
                    code = "RECORD_NUMBER_CUT" if rule.fixed else "SUBCOMPONENT_EXTRA"
                    limits.append(_Divided(number, highest, code, rule.severity))
            if limits:
                yield part.number, tuple(limits)

    def _inside(self, name: str, parts: tuple[Part, ...]) -> Iterable[tuple[int, tuple[_Inside, ...]]]:
        if not any(map(self._rules.get, _INSIDE)):
            return
        for part, components in self._components(name, parts):
            looks = (self._look(name, part, number, component) for number, component in components)
            checks = tuple(look for look in looks if look.required or look.mistyped or look.uncoded or look.long)
            if checks:
                yield part.number, checks

    def _look(self, name: str, field: Part, number: int, part: Part) -> _Inside:
        """Return what is checked in a component; what a field's own first value is checked for, is not done twice."""

        def severity(check: Check) -> str:
            rule = _rule(self._rules[check], name, field.number, number)
            return rule.severity if rule and not rule.limit else ""

        whole = part is field
        typed = () if whole or (field.datatype in _VALID and number == 1) else tuple(self._typed(part))
        values = reference.table(self._version, part.table) if part.datatype in _PLAIN and not whole else frozenset()
        longest = reference.longest(self._version, part.datatype) if part.datatype in _PLAIN else -1
        mistyped, uncoded = severity("component-type"), severity("component-table")
        return _Inside(
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
        if part.datatype in _VALID:
            yield 1, _VALID[part.datatype], part.datatype
            return
        for number, inner in enumerate(reference.datatype(self._version, part.datatype), start=1):
            if inner.datatype in _VALID:
                yield number, _VALID[inner.datatype], inner.datatype


_NOTHING = _SegmentPlan((), (), (), (), (), (), (), (), 0, "", "")

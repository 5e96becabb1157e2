"""Does the message hold together? Segments, fields, repetitions, data types, tables (HL7 v2.5 chapter 2.5 to 2.7).

hl7apy's reference tables are the rules, the birth profile says which of them matter. Both are compiled once per
version, event and structure into small tuples; a message is then walked with plain loops. Nothing of a message is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.contract.finding import Finding
from gateway.hl7 import reference
from gateway.hl7.dates import is_moment, is_time
from gateway.hl7.escape import is_delete
from gateway.hl7.location import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.hl7.header import Header
    from gateway.hl7.lexer import Segment
    from gateway.hl7.message import Message
    from gateway.hl7.reference import Part
    from gateway.verify.policy import Check, Policy, Rule

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
_PLAIN = frozenset({"ST", "ID", "IS", "NM", "SI", "DT", "DTM", "TM", "TX", "FT", "TN"})  # no components
_MOMENTS = ("TS", "DTM", "DT", "TM")
_OBSERVED_TYPE, _OBSERVED_VALUE = 2, 5
_MSH_MARKS = 2  # MSH-1 and MSH-2 are delimiters themselves


@dataclass(frozen=True, slots=True)
class _SegmentPlan:
    """What is checked in one segment; each entry begins with a field number and ends with a severity."""

    required: tuple[tuple[int, tuple[int, ...], str], ...]
    single: tuple[tuple[int, str], ...]
    typed: tuple[tuple[int, Callable[[str], bool], str, str], ...]
    coded: tuple[tuple[int, frozenset[str], str, str], ...]
    limited: tuple[tuple[int, int, str], ...]
    composed: tuple[tuple[int, int, str], ...]
    width: int
    wide: str  # severity of more fields than `width`
    observed: str  # severity of an OBX-5 that does not fit OBX-2

    @property
    def counted(self) -> bool:
        """Whether anything is counted or measured here."""
        return bool(self.single or self.limited or self.composed or self.wide)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is checked in one kind of message."""

    needed: tuple[tuple[str, str], ...]
    once: tuple[tuple[str, str], ...]
    segments: Mapping[str, _SegmentPlan]
    version: str
    unknown: str  # severity of a segment that the version does not have


def check_structure(message: Message, header: Header, policy: Policy) -> list[Finding]:
    """Return what is wrong with the structure of a message, in message order after what is missing altogether."""
    plan = plan_for(header, policy)
    findings: list[Finding] = []
    for name, severity in plan.needed:
        if message.first(name) is None:
            findings.append(Finding("SEGMENT_MISSING", Location(name), {"segment": name}, severity))
    for name, severity in plan.once:
        if len(found := message.all(name)) > 1:
            findings.append(Finding("SEGMENT_EXTRA", _place(found[1]), {"segment": name}, severity))
    segments = plan.segments
    for segment in message.segments:
        checks = segments.get(segment.name)
        if checks is not None:
            _check_values(segment, checks, findings)
            if checks.counted:
                _check_amounts(segment, checks, findings)
        elif plan.unknown and segment.name[0] != "Z" and not reference.segment(plan.version, segment.name):
            findings.append(Finding("SEGMENT_UNKNOWN", _place(segment), {"segment": segment.name}, plan.unknown))
    return findings


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


def _values(segment: Segment, number: int) -> Iterable[tuple[int, str]]:
    """Yield what is said in a field: the first component of each repetition, neither empty nor a wish to delete."""
    component = segment.delimiters.component
    for repetition, raw in enumerate(segment.repetitions(number), start=1):
        text = raw.partition(component)[0].strip()
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
        if text not in values:
            told = {"table": table.removeprefix("HL7"), "values": " ".join(sorted(values))}
            findings.append(Finding("FIELD_TABLE", _place(segment, number, repetition), told, severity))


def _check_components(segment: Segment, checks: _SegmentPlan, findings: list[Finding]) -> None:
    component = segment.delimiters.component
    for number, most, severity in checks.composed:
        for repetition, raw in enumerate(segment.repetitions(number), start=1):
            if raw.count(component) >= most:
                place = Location(segment.name, segment.sequence, number, repetition, most + 1)
                findings.append(Finding("COMPONENT_EXTRA", place, {}, severity))


def _place(segment: Segment, field: int = 0, repetition: int = 0) -> Location:
    return Location(segment.name, segment.sequence, field, repetition)


# ------------------------------------------------------------------------------------- compiling the plans


def plan_for(header: Header, policy: Policy) -> _Plan:
    """Return the plan of a message's kind. Unknown kinds share one plan: a sender cannot fill the cache."""
    version = reference.resolve_version(header.version).version
    known = header.event in policy.events.get(header.message_code, ())
    named = bool(header.structure) and reference.structure(version, header.structure) is not None
    return _plan(
        policy,
        version,
        (header.message_code, header.event) if known else ("", ""),
        header.structure if named else "",
    )


def prepare(policy: Policy, versions: Iterable[str]) -> None:
    """Compile the plans of these versions now, so that no message waits for them (versions are free to repeat)."""
    for asked in versions:
        version = reference.resolve_version(asked).version
        for code, events in policy.events.items():
            for event in events:
                _plan(policy, version, (code, event), "")
                for name in (f"{code}_{event}", *policy.structures.get(event, ())):
                    if reference.structure(version, name):
                        _plan(policy, version, (code, event), name)


@lru_cache(maxsize=2048)
def _plan(policy: Policy, version: str, kind: tuple[str, str], named: str) -> _Plan:
    code, event = kind
    rules = policy.rules_for(event)
    names = [named] if named else [f"{code}_{event}", *policy.structures.get(event, ())]
    structure = next((s for name in names if (s := reference.structure(version, name))), None)
    required = structure.required if structure else ()
    needed = {name: rule.severity for name in required if (rule := _rule(rules["required-segment"], name))}
    needed |= {name: rule.severity for name, rule in rules["demanded-segment"].items()}
    unknown = rules["unknown-segment"].get("*")
    return _Plan(
        needed=tuple((name, severity) for name, severity in needed.items() if severity),
        once=tuple((name, rule.severity) for name, rule in rules["single-segment"].items() if rule.severity),
        segments=_Compiler(version, rules).segments(),
        version=version,
        unknown=unknown.severity if unknown else "",
    )


def _rule(by_place: Mapping[str, Rule], segment: str, field: int = 0) -> Rule | None:
    """Return the rule for a place, the nearest first: field, segment, all. None where it asks for silence."""
    rule = by_place.get(f"{segment}-{field}") or by_place.get(segment) or by_place.get("*")
    return rule if rule and rule.severity else None


class _Compiler:
    """Makes segment plans from the tables of one version and the rules of one event."""

    def __init__(self, version: str, rules: Rules) -> None:
        self._version = version
        self._rules = rules

    def segments(self) -> dict[str, _SegmentPlan]:
        """Return the plans of the segments that a rule names; with a rule for `*`, of all that the version has."""
        places = {place.partition("-")[0] for by_place in self._rules.values() for place in by_place}
        names = reference.segment_names(self._version) if "*" in places else places
        plans = {}
        for name in names:
            parts = reference.segment(self._version, name)
            if parts:
                plan = self._segment(name, parts)
                if plan != _NOTHING:
                    plans[name] = plan
        return plans

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
                (p.number, values, p.table, rule.severity)
                for p, rule in self._named("table", name, parts)
                if (values := reference.table(self._version, p.table))
            ),
            limited=tuple((p.number, r.limit, r.severity) for p, r in self._named("length", name, parts) if r.limit),
            composed=tuple(self._composed(name, parts)),
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
            most = 1 if part.datatype in _PLAIN else len(reference.datatype(self._version, part.datatype))
            if most:
                yield part.number, most, rule.severity


_NOTHING = _SegmentPlan((), (), (), (), (), (), 0, "", "")

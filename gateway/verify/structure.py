"""Does the message hold together? Segments, fields, repetitions, data types, tables (HL7 v2.5 chapter 2.5 to 2.7).

hl7apy's reference tables are the rules, the birth profile says which of them matter (gateway.verify.plans compiles
both); a message is walked with plain loops. Nothing of a message is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gateway.contract.finding import Finding
from gateway.hl7 import reference
from gateway.hl7.escape import is_delete
from gateway.hl7.location import Location
from gateway.verify.datatypes import MOMENTS, VALID
from gateway.verify.layout import misfits
from gateway.verify.plans import OBSERVED_VALUE, plan_for, prepare, rule_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.contract.strictness import Check
    from gateway.hl7.header import Header
    from gateway.hl7.lexer import Segment
    from gateway.hl7.message import Message
    from gateway.verify.plans import Divided, Inside, Plan, SegmentPlan
    from gateway.verify.policy import Policy

__all__ = ["check_structure", "plan_for", "prepare"]

_OBSERVED_TYPE = 2  # OBX-2
_KEPT_SEGMENTS = 64  # the layout of longer messages is not remembered
_SPLIT_LIMIT = 64  # no data type has as many components


class _Said(NamedTuple):
    """A finding about a segment, to be said of every message with this layout."""

    code: str
    place: Location
    severity: str


def check_structure(message: Message, header: Header, policy: Policy) -> list[Finding]:
    """Return what is wrong with the structure of a message, in message order after what is missing altogether."""
    plan = plan_for(header, policy)
    names = tuple([segment.name for segment in message.segments])
    said = _layout(plan, names) if len(names) <= _KEPT_SEGMENTS else _read_layout(plan, names)
    findings = [Finding(code, place, {"segment": place.segment}, severity) for code, place, severity in said]
    made = plan.segments.made
    sound: dict[str, Callable[[str], bool]] = {}  # one moment stands in most segments of a message: it is read once
    for segment in message.segments:
        name = segment.name
        checks = made[name] if name in made else plan.segments.plan(name)
        if checks is not None:
            _check_values(segment, checks, sound, findings)
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


def _read_layout(plan: Plan, names: tuple[str, ...]) -> tuple[_Said, ...]:
    """Return what is said of a message whose segments have these names: what is missing altogether comes first."""
    said = [_Said("SEGMENT_MISSING", Location(name), severity) for name, severity in plan.needed if name not in names]
    said += [_Said("SEGMENT_EXTRA", Location(n, 2), severity) for n, severity in plan.once if names.count(n) > 1]
    told = {(place.segment, place.sequence) for _, place, _ in said}
    known = [name for name in names if name[0] != "Z" and reference.segment(plan.version, name) is not None]
    for kind, name, sequence in misfits(plan.structure, known) if plan.structure else ():
        code, check = _MISFITS[kind]
        rule = rule_for(plan.rules[check], name)
        if rule and (name, sequence) not in told:
            said.append(_Said(code, Location(name, sequence), rule.severity))
    return (*said, *_unknown(plan, names))


# Traffic has few layouts; bounded, since a sender may write any.
_layout = lru_cache(maxsize=4096)(_read_layout)


def _unknown(plan: Plan, names: Iterable[str]) -> Iterable[_Said]:
    if not plan.rules["unknown-segment"]:
        return
    seen: dict[str, int] = {}
    for name in names:
        if name[0] != "Z" and reference.segment(plan.version, name) is None:
            seen[name] = seen.get(name, 0) + 1
            if rule := rule_for(plan.rules["unknown-segment"], name):
                yield _Said("SEGMENT_UNKNOWN", Location(name, seen[name]), rule.severity)


# ---------------------------------------------------------------------------------------- what a segment holds


def _check_values(
    segment: Segment, checks: SegmentPlan, sound: dict[str, Callable[[str], bool]], findings: list[Finding]
) -> None:
    fields = segment.fields
    count = len(fields)
    for number, otherwise, severity in checks.required:
        if number >= count or not fields[number]:
            _absent(segment, number, otherwise, severity, findings)
    for number, valid, datatype, severity in checks.typed:
        if number < count and (text := fields[number]) and sound.get(text) is not valid:
            if valid(text):
                sound[text] = valid
            else:
                _mistyped(segment, number, valid, (datatype, severity), findings)
    for number, values, table, severity in checks.coded:
        if number < count and (text := fields[number]) and text not in values:
            _uncoded(segment, number, values, (table, severity), findings)
    if checks.observed and count > OBSERVED_VALUE:
        datatype = fields[_OBSERVED_TYPE]
        if datatype in VALID and not VALID[datatype](fields[OBSERVED_VALUE]):
            _mistyped(segment, OBSERVED_VALUE, VALID[datatype], (datatype, checks.observed), findings)


def _absent(segment: Segment, number: int, otherwise: tuple[int, ...], severity: str, findings: list[Finding]) -> None:
    if not any(map(segment.field, otherwise)):
        findings.append(Finding("FIELD_REQUIRED", _place(segment, number), {}, severity))


def _check_amounts(segment: Segment, checks: SegmentPlan, findings: list[Finding]) -> None:
    """Look for too many values, fields or components, and for values that are too long."""
    fields = segment.fields
    count = len(fields)
    repetition = segment.delimiters.repetition
    for number, severity in checks.single:
        if number < count and repetition in fields[number]:
            findings.append(Finding("FIELD_REPEATED", _place(segment, number, 2), {}, severity))
    for number, limit, severity in checks.limited:
        if number < count and len(fields[number]) > limit:
            findings.append(Finding("FIELD_LONG", _place(segment, number), {"limit": str(limit)}, severity))
    if checks.wide and count - 1 > checks.width:
        findings.append(Finding("FIELD_EXTRA", _place(segment, checks.width + 1), {}, checks.wide))
    if checks.composed:
        _check_components(segment, checks, findings)
    if checks.divided or checks.inside:
        _check_parts(segment, checks, findings)


def _check_parts(segment: Segment, checks: SegmentPlan, findings: list[Finding]) -> None:
    fields = segment.fields
    count = len(fields)
    subcomponent = segment.delimiters.subcomponent
    for number, limits in checks.divided:
        if number < count and subcomponent in fields[number]:
            _check_subcomponents(segment, number, limits, findings)
    for number, parts in checks.inside:
        if number < count and fields[number]:
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
    code = "FIELD_DATE" if datatype in MOMENTS else "FIELD_TYPE"
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


def _check_components(segment: Segment, checks: SegmentPlan, findings: list[Finding]) -> None:
    component = segment.delimiters.component
    for number, highest, severity in checks.composed:
        for repetition, raw in enumerate(segment.repetitions(number), start=1):
            if raw.count(component) >= highest:
                place = Location(segment.name, segment.sequence, number, repetition, highest + 1)
                findings.append(Finding("COMPONENT_EXTRA", place, {}, severity))


def _check_subcomponents(segment: Segment, number: int, limits: tuple[Divided, ...], findings: list[Finding]) -> None:
    marks = segment.delimiters
    for repetition, raw in enumerate(segment.repetitions(number), start=1):
        texts = raw.split(marks.component, _SPLIT_LIMIT)
        for component, highest, code, severity in limits:
            if component <= len(texts) and texts[component - 1].count(marks.subcomponent) >= highest:
                place = Location(segment.name, segment.sequence, number, repetition, component, highest + 1)
                findings.append(Finding(code, place, {}, severity))


def _check_inside(segment: Segment, number: int, parts: tuple[Inside, ...], findings: list[Finding]) -> None:
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


def _check_part(text: str, part: Inside, place: Location, subcomponent: str, findings: list[Finding]) -> None:
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
            code = "FIELD_DATE" if datatype in MOMENTS else "FIELD_TYPE"
            at = place._replace(subcomponent=number if number > 1 else 0)
            findings.append(Finding(code, at, {"type": datatype}, part.mistyped))


def _place(segment: Segment, field: int = 0, repetition: int = 0) -> Location:
    return Location(segment.name, segment.sequence, field, repetition)

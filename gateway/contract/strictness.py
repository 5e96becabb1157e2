"""What a facility may change about the birth profile: `[facility.policy]`, a check and how severe it is for it.

A key is a check, alone or behind a place: `table` (wherever the profile has that check), `"*.table"` (everywhere),
`"PID.table"`, `"PID-8.table"`, `"PID-3.1.component-type"`. What would lose a record number stays as the profile has it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple, get_args

from gateway.hl7 import reference

SegmentCheck = Literal[
    "required-segment",
    "demanded-segment",
    "single-segment",
    "repeated-segment",
    "order",
    "unexpected-segment",
    "unknown-segment",
]
FieldCheck = Literal["required", "demanded", "single", "type", "table", "extra-fields"]
ComponentCheck = Literal[
    "length", "extra-components", "required-component", "component-type", "component-table", "extra-subcomponents"
]
Check = SegmentCheck | FieldCheck | ComponentCheck

SEGMENT_CHECKS: tuple[str, ...] = get_args(SegmentCheck)
FIELD_CHECKS: tuple[str, ...] = get_args(FieldCheck)
CHECKS: tuple[str, ...] = (*SEGMENT_CHECKS, *FIELD_CHECKS, *get_args(ComponentCheck))
SEVERITIES = {"error": "E", "warning": "W", "ignore": ""}
EVERYWHERE = "*"

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:-([1-9]\d{0,2})(?:\.([1-9]\d{0,2}))?)?", re.ASCII)
_MOST_CHANGES = 200
# Two words for one thing: whoever loosens the first means the second, which would go on stopping the message.
_KIN = {"required": "demanded", "required-segment": "demanded-segment"}
_SEGMENT, _FIELD, _COMPONENT = 1, 2, 3


class Change(NamedTuple):
    """One line of `[facility.policy]`. An empty place: wherever the profile has the check. Severity: E, W or ""."""

    place: str
    check: str
    severity: str

    def covers(self, place: str) -> bool:
        """Tell whether the change is about a place that the profile names."""
        return self.place in ("", EVERYWHERE) or is_within(place, self.place)


def is_within(place: str, wider: str) -> bool:
    """Tell whether a place is another one or a part of it: PID-3.1 in PID-3, PID-3 in PID."""
    return place == wider or place.startswith((f"{wider}-", f"{wider}."))


def read_changes(value: object) -> object:
    """Read the table `[facility.policy]` into changes, the widest first. Raises ValueError naming key and value."""
    if not isinstance(value, Mapping):
        return value  # read before
    flat = dict(_flat(value, ""))
    if len(flat) > _MOST_CHANGES:
        raise ValueError(f"has {len(flat)} keys; {_MOST_CHANGES} are the most")
    changes = [_change(key, wanted) for key, wanted in flat.items()]
    return tuple(sorted(changes, key=lambda change: (_width(change.place), change)))


def _flat(table: Mapping[str, Any], above: str) -> list[tuple[str, object]]:
    """Join what TOML took apart: `PID-8.table` without quotes is a table in a table."""
    found: list[tuple[str, object]] = []
    for key, value in table.items():
        name = f"{above}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return found


def _width(place: str) -> int:
    """Return 0 for all that the profile has, 1 for everywhere, then segment, field, component."""
    return 0 if not place else 1 if place == EVERYWHERE else 2 + ("-" in place) + ("." in place)


def _change(key: str, wanted: object) -> Change:
    said = f"{key!r} = {wanted!r}"
    place, _, check = key.rpartition(".")
    if check not in CHECKS:
        raise ValueError(f"{said}: there is no check {check!r}; it is one of {', '.join(CHECKS)}")
    if not isinstance(wanted, str) or wanted not in SEVERITIES:
        raise ValueError(f"{said}: no such severity; it is one of {', '.join(SEVERITIES)}")
    change = Change(place, check, SEVERITIES[wanted])
    if place not in ("", EVERYWHERE):
        _check_place(said, change)
    elif place and check in ("demanded", "demanded-segment"):
        raise ValueError(f"{said}: name a {'field' if check == 'demanded' else 'segment'} before it, such as PID-5")
    if change.severity != "E":
        _check_fixed(said, change)
    return change


def _check_place(said: str, change: Change) -> None:
    found = _PLACE.fullmatch(change.place)
    depth = sum(part is not None for part in found.groups()) if found else 0
    allowed = _depths(change.check)
    if depth not in allowed:
        forms = [name for number, name in ((1, "PID"), (2, "PID-8"), (3, "PID-3.1")) if number in allowed]
        raise ValueError(f"{said}: {change.place!r} is no place for it; write one such as {' or '.join(forms)}")
    if found and not any(_exists(version, *found.groups()) for version in reversed(reference.VERSIONS)):
        raise ValueError(f"{said}: no HL7 version from 2.1 to 2.8.2 has {change.place}; correct the place")


def _depths(check: str) -> tuple[int, ...]:
    if check in SEGMENT_CHECKS or check == "extra-fields":
        return (_SEGMENT,)
    if check == "demanded":
        return (_FIELD,)
    return (_SEGMENT, _FIELD) if check in FIELD_CHECKS else (_SEGMENT, _FIELD, _COMPONENT)


def _exists(version: str, segment: str, field: str | None, component: str | None) -> bool:
    parts = reference.segment(version, segment)
    if parts is None or field is None:
        return parts is not None
    part = next((p for p in parts if p.number == int(field)), None)
    if part is None or component is None:
        return part is not None
    return int(component) <= max(1, len(reference.datatype(version, part.datatype)))


def _check_fixed(said: str, change: Change) -> None:
    """Refuse to loosen what would lose a record number. Only "*" passes it by: it is about the rest."""
    if change.place == EVERYWHERE:
        return
    fixed, free = _places(change.check)
    if not change.place and fixed:
        if not free:
            raise ValueError(f"{said}: cannot be loosened anywhere: a birth's record number would be lost")
        instead = " or ".join(f"{place}.{change.check}" for place in sorted(free))
        raise ValueError(
            f"{said}: {', '.join(sorted(fixed))} cannot be loosened: a birth's record number would be lost; "
            f"write {instead}"
        )
    hit = sorted(p for p in fixed if is_within(p, change.place) or is_within(change.place, p)) if change.place else []
    hit += sorted(p for p in _places(_KIN.get(change.check, change.check))[0] - fixed if change.place == p)
    if hit:
        raise ValueError(f"{said}: {', '.join(hit)} cannot be loosened: a birth's record number would be lost")


@cache
def _places(check: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the places of a check that the profile fixes, and those that it does not."""
    text = resources.files("schemas").joinpath("hl7").joinpath("profile.toml").read_text(encoding="utf-8")
    rules = [rule for rule in tomllib.loads(text)["rule"] if rule["check"] == check]
    fixed = frozenset(place for rule in rules if rule.get("fixed") for place in rule["places"])
    return fixed, frozenset(place for rule in rules for place in rule["places"]) - fixed

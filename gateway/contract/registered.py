"""What the akta says where the registry told it, beside what was submitted: the issued values win (domain C.4, F 97).

Pure. Paths are those of `gateway.contract.revision`; values are compared as the registry writes them: capitals, one
space between words, ISO dates, L or P.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from gateway.contract.masked import Personal
from gateway.contract.record import Sex
from gateway.contract.revision import build_record, leaves_of, proposed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.contract.record import BirthRecord

SOURCE = "registry"  # the word of the provenance
_READ = {"child.born_on": dt.date.fromisoformat, "child.sex": Sex}


def differing(record: BirthRecord, registered: Mapping[str, Personal]) -> tuple[str, ...]:
    """Return the paths in which the akta differs from a record, sorted."""
    leaves = leaves_of(record)
    return tuple(sorted(p for p, told in registered.items() if _text(leaves.get(p)) != _folded(told.reveal())))


def as_registered(record: BirthRecord, registered: Mapping[str, Personal], paths: Iterable[str]) -> BirthRecord:
    """Return a record that says at `paths` what the akta says, with the registry as the source.

    A value that the record cannot hold stays as it was: the document shows it all the same.
    """
    new: dict[str, Any] = {}
    for path in paths:
        text = registered[path].reveal()
        try:
            new[path] = _READ[path](text) if path in _READ else Personal(text)
        except ValueError:
            continue
    if not new:
        return record
    sources = {**record.provenance, **dict.fromkeys(new, SOURCE)}
    changed = build_record({**leaves_of(record), **new}).model_copy(update={"variant": record.variant})
    return proposed(changed).model_copy(update={"provenance": sources})


def _text(value: object) -> str:
    if isinstance(value, Personal):
        return _folded(value.reveal())
    if isinstance(value, dt.date):
        return value.isoformat()
    return "" if value is None else _folded(str(getattr(value, "value", value)))


def _folded(text: str) -> str:
    return " ".join(text.upper().split())

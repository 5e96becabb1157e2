"""What is told of names after issue and can be on no akta: a placeholder, or the same name with a title.

Exports of whole patient indexes repeat for years what stood there before the name was chosen. That is no change of the
akta, so that nobody is asked to correct it (domain F 19, F 26; titles: B.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.naming import is_placeholder, normalise_name
from gateway.contract.revision import build_record, leaves_of, proposed
from gateway.verify.names import without_titles

if TYPE_CHECKING:
    from gateway.contract.ports import Draft
    from gateway.contract.record import BirthRecord

_NAMES = ("child.name", "mother.name", "father.name")
_PLACEHOLDER = "NAME_PLACEHOLDER"  # of the child: a name's type may say so too (XPN.7)


def as_named(before: BirthRecord, after: BirthRecord, draft: Draft) -> tuple[BirthRecord, tuple[str, ...]]:
    """Return `after` with the names of `before` where it has none in their stead, and the paths that stayed so."""
    known, told = leaves_of(before), leaves_of(after)
    temporary = any(finding.code == _PLACEHOLDER for finding in draft.findings)
    stay = tuple(
        path
        for path in _NAMES
        if path in known and path in told and known[path] != told[path]
        if (temporary and path == _NAMES[0]) or _is_none(known[path].reveal(), told[path].reveal())
    )
    if not stay:
        return after, ()
    paths = {*stay, *(f"{path}_as_sent" for path in stay)}
    leaves = {path: value for path, value in told.items() if path not in paths}
    leaves |= {path: value for path, value in known.items() if path in paths}
    sources = {path: place for path, place in after.provenance.items() if path not in paths}
    sources |= {path: place for path, place in before.provenance.items() if path in paths}
    record = build_record(leaves).model_copy(update={"variant": after.variant})
    return proposed(record).model_copy(update={"provenance": sources}), stay


def _is_none(known: str, told: str) -> bool:
    """Whether a name that is told is none, or the one that is known with a title."""
    if is_placeholder(told):
        return not is_placeholder(known)
    return without_titles(normalise_name(told)) == without_titles(normalise_name(known))

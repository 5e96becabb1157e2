"""Whose word counts where sources differ: HL7, form, officer, registry (docs/officers.md, domain C.4, F 27, F 97).

Pure. Provenance tells the source of each value: a place in a message (ERL), or one of the words below. A weaker source
never replaces what a stronger one said, whatever came first; of two words of one source the newer counts.

| what | weakest to strongest |
|---|---|
| the family's facts: name, parents, card, residence, marriage, people, consent | look-up, HL7, form, officer |
| the hospital's facts: everything else | look-up, form, HL7, officer |

What was looked up in the population register only fills gaps; whether the rest agrees with it, the element check says.
What the registry issued stands above all of them and is kept apart, in the certificate (gateway.contract.registered
puts its words into the record, where they count against what the hospital had said before).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from gateway.contract.record import BirthRecord, Variant
from gateway.contract.revision import build_record, leaves_of, proposed

if TYPE_CHECKING:
    from collections.abc import Iterable


class Source(Enum):
    """Where a value came from; the values are the words of the provenance."""

    REGISTER = "registry"
    HL7 = "hl7"
    FORM = "form"
    OFFICER = "officer"


_FAMILY_RANKS = {Source.REGISTER: 0, Source.HL7: 1, Source.FORM: 2, Source.OFFICER: 3}
_HOSPITAL_RANKS = {Source.REGISTER: 0, Source.FORM: 1, Source.HL7: 2, Source.OFFICER: 3}
_WORDS = {source.value: source for source in Source if source is not Source.HL7}
_FAMILY = (
    "child.name",
    "mother",
    "father",
    "family_card",
    "residence",
    "marriage",
    "reporter",
    "witnesses",
    "consent",
)
# Told as one thing: a value of it is never put together from two sources.
_WHOLE = ("child.name", "residence", "marriage", "reporter", "witnesses.0", "witnesses.1", "consent")


def source_of(place: str | None) -> Source:
    """Return the source that a provenance names; a place in a message is HL7."""
    return _WORDS.get(place or "", Source.HL7)


def outranks(path: str, one: Source, other: Source) -> bool:
    """Tell whether one source's word about a path counts more than another's."""
    ranks = _FAMILY_RANKS if _under(path, _FAMILY) else _HOSPITAL_RANKS
    return ranks[one] > ranks[other]


def keep_stronger(
    before: BirthRecord, after: BirthRecord, *, by: Source | None = None
) -> tuple[BirthRecord, tuple[str, ...]]:
    """Return `after` with what a stronger source had said in `before`, and the groups that stayed so.

    `by` is who said what is new in `after`; None: as its own provenance says, value by value (two records become one).
    """
    guarded = _guarded(before, after, by)
    if not guarded:
        return after, ()
    old, new = leaves_of(before), leaves_of(after)
    stayed = {g for g in guarded if _part(old, g) != _part(new, g)}
    if not stayed:
        return _with_sources(after, before, guarded), ()
    leaves = {path: v for path, v in new.items() if _group(path) not in stayed}
    leaves |= {path: v for path, v in old.items() if _group(path) in stayed}
    record = build_record(leaves).model_copy(update={"provenance": dict(after.provenance)})
    if after.variant is Variant.NO_PARENTS:
        record = record.model_copy(update={"variant": Variant.NO_PARENTS})
    return proposed(_with_sources(record, before, guarded)), tuple(sorted(stayed))


def _guarded(before: BirthRecord, after: BirthRecord, by: Source | None) -> set[str]:
    """Return the groups that a stronger source has told. In the whole ones its every value counts.

    Against HL7 only a form's and an officer's words are stronger: most records have neither, and pay nothing here.
    """
    places = before.provenance
    if by in (Source.HL7, None) and not any(place in ("form", "officer") for place in places.values()):
        return set()
    told = leaves_of(before)
    return {
        _group(path)
        for path in told
        if outranks(path, source_of(places.get(path)), by or source_of(after.provenance.get(path)))
    }


def _with_sources(record: BirthRecord, before: BirthRecord, groups: set[str]) -> BirthRecord:
    """Return the record with the provenance that `before` had for some groups."""
    sources = {path: place for path, place in record.provenance.items() if _group(path) not in groups}
    sources |= {path: place for path, place in before.provenance.items() if _group(path) in groups}
    return record.model_copy(update={"provenance": sources})


def _part(leaves: dict[str, object], group: str) -> dict[str, object]:
    return {path: value for path, value in leaves.items() if _group(path) == group}


def _group(path: str) -> str:
    if path == "child.name_as_sent":
        return "child.name"
    return next((whole for whole in _WHOLE if _under(path, (whole,))), path)


def _under(path: str, groups: Iterable[str]) -> bool:
    return any(path == group or path.startswith((f"{group}.", f"{group}_as_sent")) for group in groups)

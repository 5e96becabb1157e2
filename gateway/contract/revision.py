"""Revisions of a birth: what a draft changes, which paths changed, which of them alter the akta (domain F 17-21).

Pure. A path is dotted, as in `child.name` or `witnesses.0.nik`; no function here returns or prints a value.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from gateway.contract.masked import Personal
from gateway.contract.record import BirthRecord, Event, Part, PlaceKind, PluralityKind, Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.contract.ports import Draft

# What the certificate says: name, day and time, sex, place, the child's number among its siblings, the parents.
LEGAL_PATHS = frozenset(
    {"event", "variant"}
    | {
        f"child.{f}"
        for f in ("name", "born_on", "born_at", "utc_offset", "sex", "place_name", "place_region", "parity")
    }
    | {
        f"{parent}.{f}"
        for parent in ("mother", "father")
        for f in ("name", "nik", "travel_document", "born_on", "born_in", "citizenship")
    }
)

# One field of the message each: a new value replaces the old one whole, so that two proofs or two addresses never mix.
_WHOLE = ("marriage", "consent", "residence")
# People told apart by their NIK: another NIK is another person, not a correction of some fields.
_PEOPLE = ("reporter", "witnesses.0", "witnesses.1")
# Derived here, or about the message instead of the birth.
_DERIVED = ("variant", "variant_reasons", "provenance", "version")
_ELSEWHERE = (PlaceKind.HOME, PlaceKind.OTHER)
_SHOWN = ("PV1", "OBX", "ZKL")  # what shows a birth in the house; PID-23 names the place
# One more sign beside the birth date makes a newborn (domain A.1: any two of).
_NEWBORN_DAYS = 30


def apply_draft(current: BirthRecord | None, draft: Draft) -> BirthRecord:
    """Return the record after a draft: what is empty stays, `""` deletes, a value replaces (HL7 v2.5 chapter 2.5.3).

    Raises ValueError where there is neither a record nor one in the draft.
    """
    if draft.record is None:
        if current is None:
            raise ValueError("neither a record nor a draft of one; only OPEN and AMEND drafts can begin a birth")
        return current
    new, provenance = leaves_of(draft.record), dict(draft.record.provenance)
    old = leaves_of(current) if current else {}
    for path in _yielding(current, draft.record) if current else ():
        new.pop(path, None)
    kept = {path: value for path, value in old.items() if not _superseded(path, old, new)}
    leaves = {path: v for path, v in {**kept, **new}.items() if path in new or not _under(path, draft.cleared)}
    sources = {**(current.provenance if current else {}), **provenance}
    marks = (draft.record.variant, current.variant if current else None)
    elsewhere = leaves.get("child.place_kind") in _ELSEWHERE and "child.place_name" not in leaves
    if elsewhere and sources.get("child.place_region", _SHOWN[0]).startswith(_SHOWN):
        leaves.pop("child.place_region", None)  # the facility's own, before it was told where
    record = build_record(leaves).model_copy(
        update={"variant": Variant.NO_PARENTS if Variant.NO_PARENTS in marks else None}
    )
    known = {path: place for path, place in sources.items() if path in leaves or path == "variant"}
    return proposed(record).model_copy(update={"provenance": known})


def _yielding(current: BirthRecord, told: BirthRecord) -> tuple[str, ...]:
    """Return what a message only implies, having no place in it, and what therefore yields to what is known."""
    paths = []
    if told.event is Event.LIVE_BIRTH:
        paths.append("event")  # an update without OBX revives nobody
    if current.child.plurality not in (None, PluralityKind.SINGLE):
        paths.append("child.plurality")  # PID-24 Y is a pair at least; 57722-1 has said how many
    if told.child.place_name is None:
        paths.append("child.place_region")  # the facility's own: of a birth that is held for its place it is no answer
    known = current.child.place_name or current.child.place_region
    return tuple(p for p in paths if p not in told.provenance or (p == "child.place_region" and known))


def under_number(record: BirthRecord, number: str) -> BirthRecord:
    """Return a record under the number the baby has now (A47, A40): the same birth, other letters (domain F 13)."""
    child = record.child.model_copy(update={"medical_record": Personal(number)})
    return record.model_copy(update={"child": child})


def propose_variant(record: BirthRecord) -> tuple[Variant | None, tuple[str, ...]]:
    """Propose the kind of akta, with reasons (domain B.6, F 48-50, 83). The office decides.

    A record marked NO_PARENTS (PID-31) keeps that until a parent is known.
    """
    if record.event is Event.STILLBIRTH:
        return None, ("STILLBIRTH",)
    father = record.father is not None and (record.father.name or record.father.nik or record.father.travel_document)
    if record.variant is Variant.NO_PARENTS and record.mother is None and not father:
        return Variant.NO_PARENTS, ("IDENTITY_UNKNOWN",)
    if not father:
        return Variant.MOTHER_ONLY, ("NO_FATHER",)
    if record.marriage is None:
        return Variant.FATHER_AND_MOTHER, ("FATHER_NAMED", "MARRIAGE_PROOF_PENDING")
    return {
        "TERCATAT": (Variant.FATHER_AND_MOTHER, ("FATHER_NAMED", "MARRIAGE_RECORDED")),
        "SPTJM": (Variant.FATHER_AND_MOTHER_PHRASE, ("FATHER_NAMED", "MARRIAGE_BY_STATEMENT")),
        "TIDAK": (Variant.MOTHER_ONLY, ("FATHER_NAMED", "MARRIAGE_NOT_PROVEN")),
    }[record.marriage.status]


def proposed(record: BirthRecord) -> BirthRecord:
    """Return a record with the variant it speaks for."""
    variant, reasons = propose_variant(record)
    return record.model_copy(update={"variant": variant, "variant_reasons": reasons})


def may_open(draft: Draft) -> bool:
    """Tell whether an update for an unknown baby knows enough to begin a birth (domain F 15).

    Any two of: born within 30 days before the message, a mother, a birth weight; and always a record number and date.
    """
    record = draft.record
    if record is None or not draft.medical_record or record.child.born_on is None:
        return False
    recent = draft.sent_at is not None and 0 <= (draft.sent_at.date() - record.child.born_on).days <= _NEWBORN_DAYS
    return sum((recent, record.mother is not None, record.child.weight_g is not None)) > 1


def changed_paths(before: BirthRecord | None, after: BirthRecord) -> tuple[str, ...]:
    """Return the dotted paths whose values differ, sorted. Provenance is no part of the birth and is not compared."""
    old = leaves_of(before, derived=True) if before else {}
    new = leaves_of(after, derived=True)
    return tuple(sorted(p for p in old.keys() | new.keys() if old.get(p) != new.get(p)))


def legal_changes(paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of `paths` that alter the akta, in their order (domain F 18-20)."""
    return tuple(path for path in paths if path in LEGAL_PATHS)


def _superseded(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether an old leaf goes because its whole field, or the person it describes, was replaced."""
    if any(_under(path, (group,)) and any(_under(p, (group,)) for p in new) for group in _WHOLE):
        return True
    for person in _PEOPLE:
        key = f"{person}.nik"
        if _under(path, (person,)) and key in old and key in new and old[key] != new[key]:
            return True
    return False


def _under(path: str, groups: Iterable[str]) -> bool:
    return any(path == group or path.startswith(f"{group}.") for group in groups)


def leaves_of(record: BirthRecord, *, derived: bool = False) -> dict[str, Any]:
    """Return a record's values by dotted path, without the empty ones."""
    leaves: dict[str, Any] = {}
    for name in BirthRecord.model_fields:
        if name in _DERIVED and not (derived and name.startswith("variant")):
            continue
        _spread(name, getattr(record, name), leaves)
    return leaves


def _spread(path: str, value: object, leaves: dict[str, Any]) -> None:
    if isinstance(value, Part):
        for name in type(value).model_fields:
            _spread(f"{path}.{name}", getattr(value, name), leaves)
    elif isinstance(value, tuple) and any(isinstance(item, Part) for item in value):
        for index, item in enumerate(value):
            _spread(f"{path}.{index}", item, leaves)
    elif isinstance(value, Enum) or (value is not None and value not in ("", ())):
        leaves[path] = value


def build_record(leaves: Mapping[str, Any]) -> BirthRecord:
    """Put values back into a record; a gap before the second witness stays a gap."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, leaf = path.split(".")
        branch = tree
        for name in parents:
            branch = branch.setdefault(name, {})
        branch[leaf] = value
    tree.setdefault("child", {}).setdefault("medical_record", "")
    witnesses = tree.pop("witnesses", {})
    last = max((int(index) for index in witnesses), default=-1)
    tree["witnesses"] = tuple(witnesses.get(str(index), {}) for index in range(last + 1))
    if "given" not in tree.get("consent", {"given": True}):
        del tree["consent"]  # its flag was deleted: there is no consent left to tell of
    if "status" not in tree.get("marriage", {"status": ""}):
        del tree["marriage"]
    return BirthRecord.model_validate(tree)

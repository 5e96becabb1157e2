"""hl7apy's reference tables as plain tuples: what a version's segments, data types, messages and tables hold.

hl7apy supplies the standard (2.1 to 2.8.2); none of its objects is built, none of its parsers runs here. A version's
module costs 5 to 45 ms to import, so versions are read when first asked for, or by `warm` at start.

hl7apy 1.3.5 knows no maximum lengths (every entry is -1), no tables before 2.3.1, and a few
2.5.1 fields without a type.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# hl7apy.SUPPORTED_LIBRARIES, oldest first; a test holds the two together.
VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
_FIRST_WITH_TABLES = "2.3.1"
_KEPT_NAMES = 2048  # names come from senders: what is remembered about them has a cap


@dataclass(frozen=True, slots=True)
class Resolved:
    """The version whose tables are used, and whether it is the one that was asked for."""

    version: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a segment or a component of a data type. `maximum` is -1 where it may repeat without limit."""

    number: int
    name: str
    datatype: str  # "" where hl7apy knows none, "WD" where the field was withdrawn
    required: bool
    maximum: int
    table: str  # HL7nnnn, "" for none
    length: int  # -1: not limited


@dataclass(frozen=True, slots=True)
class Structure:
    """A message structure, flattened: what must be there whatever happens, what may be there, what may be repeated."""

    name: str
    required: tuple[str, ...]
    groups: tuple[str, ...]  # required groups, from the outside in
    known: frozenset[str]
    repeatable: frozenset[str]


@lru_cache(maxsize=256)
def resolve_version(version: str) -> Resolved:
    """Return the supported version for what a sender wrote: itself, else the closest lower one, else the lowest."""
    if version in VERSIONS:
        return Resolved(version, exact=True)
    numbers = version.split(".")
    if not all(n.isascii() and n.isdigit() for n in numbers):
        return Resolved("2.5", exact=False)
    asked = tuple(int(n[:3]) for n in numbers)
    lower = [v for v in VERSIONS if tuple(map(int, v.split("."))) <= asked]
    return Resolved(lower[-1] if lower else VERSIONS[0], exact=False)


@cache
def _library(version: str) -> Any:  # noqa: ANN401 - a module without types
    return importlib.import_module(f"hl7apy.v{version.replace('.', '_')}")


@lru_cache(maxsize=_KEPT_NAMES)
def segment(version: str, name: str) -> tuple[Part, ...] | None:
    """Return the fields of a segment in order, None where this version has no such segment."""
    found = _library(resolve_version(version).version).SEGMENTS.get(name)
    return _parts(_children(found)) if found else None


@lru_cache(maxsize=_KEPT_NAMES)
def datatype(version: str, name: str) -> tuple[Part, ...]:
    """Return the components of a composite data type, () for a plain or unknown one."""
    return _parts(_library(resolve_version(version).version).DATATYPES_STRUCTS.get(name, ()))


def segment_names(version: str) -> frozenset[str]:
    """Return the names of all segments of a version."""
    return frozenset(_library(resolve_version(version).version).SEGMENTS)


def _children(entry: Any) -> Iterable[Any]:  # noqa: ANN401 - hl7apy's nested tuples
    """Return an entry's children. A few entries lack the leading "sequence" (2.1 ORO) or have no children (2.7)."""
    if entry and isinstance(entry[0], str):
        return entry[1] if len(entry) > 1 else ()
    return entry or ()


def _parts(children: Iterable[Any]) -> tuple[Part, ...]:
    return tuple(
        Part(
            number=int(name.rpartition("_")[2]),
            name=reference[3],
            datatype=reference[2] or "",
            required=minimum > 0,
            maximum=maximum,
            table=reference[4] or "",
            length=reference[5],
        )
        for name, reference, (minimum, maximum), _ in children
        if reference is not None
    )


@lru_cache(maxsize=_KEPT_NAMES)
def structure(version: str, name: str) -> Structure | None:
    """Return a message structure such as ADT_A01, None where this version has no such structure."""
    found = _library(resolve_version(version).version).MESSAGES.get(name)
    if not found:
        return None
    walk = _Walk()
    walk.children(_children(found), required=True, repeated=False)
    return Structure(name, tuple(walk.required), tuple(walk.groups), frozenset(walk.seen), frozenset(walk.repeatable))


class _Walk:
    """Flattens a tree of segments and groups. A group that is optional makes its segments optional."""

    def __init__(self) -> None:
        self.required: dict[str, None] = {}  # a dict for its order
        self.groups: list[str] = []
        self.seen: set[str] = set()
        self.repeatable: set[str] = set()

    def children(self, children: Iterable[Any], *, required: bool, repeated: bool) -> None:
        for name, reference, (minimum, maximum), kind in children:
            needed = required and minimum > 0
            several = repeated or maximum != 1
            if kind == "GRP":
                if needed:
                    self.groups.append(name)
                self.children(_children(reference), required=needed, repeated=several)
                continue
            if needed:
                self.required[name] = None
            if several or name in self.seen:
                self.repeatable.add(name)
            self.seen.add(name)


@lru_cache(maxsize=_KEPT_NAMES)
def table(version: str, name: str) -> frozenset[str]:
    """Return the values of a table such as HL70001, empty where hl7apy lists none.

    Versions before 2.3.1 have no tables in hl7apy; those of 2.3.1 stand in, which only added values.
    """
    library = _library(resolve_version(version).version)
    tables = library.TABLES if hasattr(library, "TABLES") else _library(_FIRST_WITH_TABLES).TABLES
    return frozenset(tables[name][1]) if name in tables else frozenset()


def warm(versions: Iterable[str]) -> None:
    """Import the tables of these versions now, so that no message waits for it."""
    for version in versions:
        _library(resolve_version(version).version)

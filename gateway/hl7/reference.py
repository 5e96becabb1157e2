"""hl7apy's reference tables as plain tuples: what a version's segments, data types, messages and tables hold.

hl7apy supplies the standard (2.1 to 2.8.2); none of its objects is built, none of its parsers runs here. A version's
module costs 5 to 45 ms to import, so versions are read when first asked for, or by `warm` at start.

hl7apy 1.3.5 knows no maximum lengths of fields (every entry is -1), only of its base data types; no tables before
2.3.1; and a few 2.5.1 fields without a type.
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
# What hl7apy's base data types hold, in characters; the others have no limit. A test holds the two together.
_LONGEST = {"ST": 199, "GTS": 199, "TN": 199, "IS": 20, "TX": 65536, "FT": 65536, "NM": 16, "SI": 4}
_LONGEST_BY_VERSION = {"2.1": {"ID": 999}, "2.6": {"ST": 999}}
_LONGEST_VERSION = 20  # characters: a sender may write any
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


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A segment (no children) or a group, where it stands in a structure. `maximum` is -1 for no limit."""

    name: str
    required: bool
    maximum: int
    children: tuple[Node, ...]
    known: frozenset[str]  # the names of all segments in it
    first: frozenset[str]  # those that it may begin with


@dataclass(frozen=True, slots=True)
class Structure:
    """A message structure: what stands at its top, and the names of all segments in it."""

    name: str
    tree: tuple[Node, ...]
    known: frozenset[str]


def resolve_version(version: str) -> Resolved:
    """Return the supported version for what a sender wrote: itself, else the closest lower one, else the lowest."""
    return _resolved(version[:_LONGEST_VERSION])


@lru_cache(maxsize=256)
def _resolved(version: str) -> Resolved:
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
    tree = _tree(found)
    return Structure(name, tree, frozenset(segment for node in tree for segment in node.known))


def _tree(entry: Any) -> tuple[Node, ...]:  # noqa: ANN401 - hl7apy's nested tuples
    one_of = bool(entry) and entry[0] == "choice"  # none of the alternatives is required for itself
    return tuple(
        _node(name, reference, kind, required=minimum > 0 and not one_of, maximum=maximum)
        for name, reference, (minimum, maximum), kind in _children(entry)
    )


def _node(name: str, reference: Any, kind: str, *, required: bool, maximum: int) -> Node:  # noqa: ANN401 - as above
    if kind != "GRP":
        return Node(name, required, maximum, (), frozenset({name}), frozenset({name}))
    children = _tree(reference)
    first: frozenset[str] = frozenset()
    for child in children:
        first |= child.first
        if child.required:
            break
    known = frozenset(name for child in children for name in child.known)
    return Node(name, required, maximum, children, known, first)


@lru_cache(maxsize=_KEPT_NAMES)
def table(version: str, name: str) -> frozenset[str]:
    """Return the values of a table such as HL70001, empty where hl7apy lists none.

    Versions before 2.3.1 have no tables in hl7apy; those of 2.3.1 stand in, which only added values.
    """
    library = _library(resolve_version(version).version)
    tables = library.TABLES if hasattr(library, "TABLES") else _library(_FIRST_WITH_TABLES).TABLES
    return frozenset(tables[name][1]) if name in tables else frozenset()


def longest(version: str, datatype: str) -> int:
    """Return how many characters a plain data type may hold, -1 where it is not limited."""
    special = _LONGEST_BY_VERSION.get(resolve_version(version).version, {})
    return special.get(datatype) or _LONGEST.get(datatype, -1)


def warm(versions: Iterable[str]) -> None:
    """Import the tables of these versions now, so that no message waits for it."""
    for version in versions:
        _library(resolve_version(version).version)

"""What differs between two revisions of a birth, field by field, with who said it and where (domain F 19, F 27).

Values are a person's data. Who may not see them gets `MASK` in their stead: that there was a value, and that it is
another one now. What tells nothing about a person (what kind of event, which facility) is never masked.
"""

from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import TYPE_CHECKING, Any

from gateway.contract.masked import MASK, Personal
from gateway.contract.precedence import source_of
from gateway.contract.revision import LEGAL_PATHS, changed_paths, leaves_of
from gateway.store import births, revisions

if TYPE_CHECKING:
    import uuid

    from gateway.contract.record import BirthRecord
    from gateway.store.database import Connection

# About the event and the paper, not about anybody.
_PLAIN = frozenset({"event", "variant", "variant_reasons", "child.plurality", "child.place_kind", "child.place_region",
                    "marriage.status", "consent.given"})  # fmt: skip


class NoSuchRevisionError(LookupError):
    """The birth has no revision of this number, or they are the wrong way round; the text says which there are."""


async def listed(connection: Connection, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return the published form of a birth's revisions, oldest first; no values."""
    return [
        {
            "revision": row["revision"],
            "at": _moment(row["at"]),
            "actor": row["actor"],
            "control_id": row["control_id"],
            "changed": list(row["changed"]),
            "legal": [path for path in row["changed"] if path in LEGAL_PATHS],
            "signed_at": _moment(row["sealed_at"]) if row["sealed_at"] else None,
        }
        for row in await revisions.listing(connection, birth_id)
    ]


async def between(
    connection: Connection, birth_id: uuid.UUID, *, revision: int | None, since: int | None, values: bool
) -> dict[str, Any]:
    """Return what changed from revision `since` (the one before, unless told) to `revision` (the newest).

    0 is the birth before anybody told of it. Raises LookupError, NoSuchRevisionError.
    """
    newest = (await births.read(connection, birth_id)).revision
    last = newest if revision is None else revision
    first = last - 1 if since is None else since
    if not 0 <= first < last <= newest:
        raise NoSuchRevisionError(f"the birth has revisions 1 to {newest}; `since` is below `revision`, 0 the least")
    after = await revisions.record_of(connection, birth_id, last)
    before = await revisions.record_of(connection, birth_id, first) if first else None
    return {
        "id": str(birth_id),
        "since": first,
        "revision": last,
        "values": values,
        "changes": changes(before, after, values=values),
    }


def changes(before: BirthRecord | None, after: BirthRecord, *, values: bool) -> list[dict[str, Any]]:
    """Return each field that differs: both sides, the source of the word that counts now, its place, and if legal.

    Of a field that is gone, source and place are those of the value that was there.
    """
    old = leaves_of(before, derived=True) if before else {}
    new = leaves_of(after, derived=True)
    found = []
    for path in changed_paths(before, after):
        known = after if path in new or before is None else before
        place = known.provenance.get(path)
        found.append(
            {
                "path": path,
                "change": "changed" if path in old and path in new else "set" if path in new else "removed",
                "before": _shown(path, old.get(path), values=values),
                "after": _shown(path, new.get(path), values=values),
                "source": source_of(place).value,
                "place": place,
                "legal": path in LEGAL_PATHS,
            }
        )
    return found


def _shown(path: str, value: Any, *, values: bool) -> Any:  # noqa: ANN401 - any leaf of a record
    """Return a leaf as JSON, or the mask."""
    if value is None:
        return None
    if not values and path not in _PLAIN and not path.startswith("facility."):
        return MASK
    if isinstance(value, Personal):
        return value.reveal()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def _moment(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

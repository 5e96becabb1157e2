"""What could not be taken and waits for a person: read, resolved by a replay that was accepted, or discarded.

Nothing here becomes a message: a replay goes through the front door like any other, and its row stays as it was told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg

    from gateway.config import Limits
    from gateway.store.database import Database

_COLUMNS = "id, received_at, peer, reason, length(raw) AS bytes, resolved_at, resolved_by, resolution"
_HIGHEST_ID = 2**63 - 1
_RECOUNT_S = 60.0  # how long a process trusts its own count
_RECOUNT_SHARE = 1000.0  # counting takes at most this part of the time
_HELD = """SELECT peer, count(*) AS rows, sum(octet_length(raw) + octet_length(answer))::bigint AS bytes
           FROM quarantine WHERE resolved_at IS NULL GROUP BY peer"""


@dataclass(frozen=True, slots=True)
class Aside:
    """One message in quarantine. `raw` may be about people; it is empty after a discard."""

    about: dict[str, Any]
    raw: bytes
    answer: bytes

    @property
    def open(self) -> bool:
        """Whether nothing was done about it yet."""
        return self.about["resolved_at"] is None


class Room:
    """What more may be set aside: messages, bytes in all, bytes of a peer. Counted now and then, and down meanwhile."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rows = self._bytes = 0
        self._of_peer: dict[str, int] = {}
        self._recount_at = 0.0

    async def recount(self, connection: asyncpg.Connection) -> None:
        """Count what lies there, where that is due. The more there is, the more seldom: it takes time."""
        began = time.monotonic()
        if began < self._recount_at:
            return
        found = await connection.fetch(_HELD)
        self._of_peer = {row["peer"]: row["bytes"] for row in found}
        self._rows, self._bytes = sum(row["rows"] for row in found), sum(self._of_peer.values())
        now = time.monotonic()
        self._recount_at = now + max(_RECOUNT_S, _RECOUNT_SHARE * (now - began))

    def take(self, peer: str, size: int) -> str:
        """Count one more in and return ""; where there is no room, the limit that it would pass."""
        limits = self._limits
        if self._rows >= limits.quarantine_rows:
            return "limits.quarantine_rows"
        if self._bytes + size > limits.quarantine_bytes:
            return "limits.quarantine_bytes"
        if self._of_peer.get(peer, 0) + size > limits.quarantine_bytes_per_peer:
            return "limits.quarantine_bytes_per_peer"
        self._rows += 1
        self._bytes += size
        self._of_peer[peer] = self._of_peer.get(peer, 0) + size
        return ""


async def listing(
    database: Database, *, reason: str | None, resolved: bool, before: int | None, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return a page, the newest first, and where the next one begins: open ones, or all with `resolved`."""
    rows = await database.fetch(
        f"""SELECT {_COLUMNS} FROM quarantine
            WHERE id < $1 AND ($2::text IS NULL OR reason = $2) AND ($3 OR resolved_at IS NULL)
            ORDER BY id DESC LIMIT $4""",  # noqa: S608 - constant columns
        _HIGHEST_ID if before is None else min(before, _HIGHEST_ID),
        reason,
        resolved,
        limit + 1,
    )
    items = [_about(row) for row in rows[:limit]]
    return items, items[-1]["id"] if len(rows) > limit else None


async def read(database: Database, number: int) -> Aside | None:
    """Return one message; None where there is none of this number."""
    row = await database.fetchrow(
        f"SELECT {_COLUMNS}, raw, answer FROM quarantine WHERE id = $1",  # noqa: S608 - constant columns
        number,
    )
    return Aside(_about(row), row["raw"], row["answer"]) if row else None


async def resolve(database: Database, number: int, *, by: str, resolution: str, keep: bool) -> bool:
    """Note what was done about an open one; False where somebody was quicker. Without `keep` its bytes are removed."""
    row = await database.fetchrow(
        """UPDATE quarantine SET resolved_at = now(), resolved_by = $2, resolution = $3,
                  raw = CASE WHEN $4 THEN raw ELSE ''::bytea END
           WHERE id = $1 AND resolved_at IS NULL RETURNING id""",
        number,
        by,
        resolution,
        keep,
    )
    return row is not None


def _about(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": row["id"],
        "received_at": row["received_at"].isoformat(),
        "peer": row["peer"],
        "reason": row["reason"],
        "bytes": row["bytes"],
        "resolved_at": row["resolved_at"].isoformat() if row["resolved_at"] else None,
        "resolved_by": row["resolved_by"],
        "resolution": row["resolution"],
    }

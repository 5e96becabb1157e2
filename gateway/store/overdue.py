"""Births that wait longer than their state may: mark the new ones, and count all by who has the next move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import WAITS, State

if TYPE_CHECKING:
    import asyncpg

    from gateway.store.database import Connection


async def newly_overdue(connection: Connection) -> list[asyncpg.Record]:
    """Mark births whose wait has timed out and return id, facility and state of the new ones."""
    return await connection.fetch(
        """UPDATE births SET overdue_since = now() WHERE id IN (
               SELECT id FROM births WHERE wait_until < now() AND overdue_since IS NULL
               ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
           RETURNING id, facility, state"""
    )


async def overdue_counts(connection: Connection) -> dict[str, int]:
    """Return how many births wait too long, by who has the next move."""
    rows = await connection.fetch(
        """SELECT state, count(*) AS n FROM births
           WHERE overdue_since IS NOT NULL AND wait_until IS NOT NULL GROUP BY state"""
    )
    counts: dict[str, int] = {}
    for row in rows:
        owner = WAITS[State(row["state"])].owner
        counts[owner] = counts.get(owner, 0) + row["n"]
    return counts

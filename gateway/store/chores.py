"""Work that one of all processes does now and then: whose turn it is, and how it ended last time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.store.database import Database

_STALE_S = 3600.0  # whoever began and has not ended by then is dead


async def claim(database: Database, name: str, *, every_s: float) -> bool:
    """Begin a chore where its time has come and nobody else is at it."""
    row = await database.fetchrow(
        """UPDATE chores SET started_at = now() WHERE name = $1 AND (
               started_at IS NULL OR started_at < now() - $2 * interval '1 second'
               OR (finished_at IS NULL OR finished_at < started_at) AND started_at < now() - $3 * interval '1 second')
           RETURNING name""",
        name,
        every_s,
        _STALE_S,
    )
    return row is not None


async def finish(database: Database, name: str, report: dict[str, Any]) -> None:
    """Write down how a chore ended."""
    await database.fetch(
        "UPDATE chores SET started_at = coalesce(started_at, now()), finished_at = now(), report = $2 WHERE name = $1",
        name,
        report,
    )


async def last(database: Database, name: str) -> dict[str, Any]:
    """Return when a chore last began and ended, and what it reported."""
    row = await database.fetchrow("SELECT started_at, finished_at, report FROM chores WHERE name = $1", name)
    return dict(row) if row else {"started_at": None, "finished_at": None, "report": {}}

"""Incidents: one row a cause, however many attempts and processes met it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    import asyncpg

    from gateway.store.database import Connection, Database

DEAD_LETTER = "dead_letter"  # the subject of incidents that end when the last of their births went on


@dataclass(frozen=True, slots=True)
class Seen:
    """What one process met since it last wrote it down. `since_s` is how long ago the first time was."""

    cause: str
    subject: str
    times: int
    since_s: float


async def note(connection: Connection, seen: Seen) -> bool:
    """Open an incident, or count on an open one; True where this opened it."""
    opened: bool = await connection.fetchval(
        """INSERT INTO incidents AS i (cause, subject, seen, opened_at)
           VALUES ($1, $2, $3, now() - $4 * interval '1 second')
           ON CONFLICT (cause, subject) WHERE closed_at IS NULL
           DO UPDATE SET seen = i.seen + $3, seen_at = now() RETURNING xmax = 0""",
        seen.cause,
        seen.subject,
        seen.times,
        seen.since_s,
    )
    return opened


_CLOSED = "RETURNING cause, subject, seen, extract(epoch FROM closed_at - opened_at)::float8 AS lasted_s"


async def close_working(connection: Connection, subjects: Collection[str], *, quiet_s: float) -> list[asyncpg.Record]:
    """Close what these subjects' good answers show to be over: nobody met it for `quiet_s`."""
    return await connection.fetch(
        f"""UPDATE incidents SET closed_at = now(), closed_by = 'gateway'
            WHERE closed_at IS NULL AND subject = ANY($1) AND seen_at < now() - $2 * interval '1 second' {_CLOSED}""",  # noqa: S608 - constant text
        list(subjects),
        quiet_s,
    )


async def close_decided(connection: Connection) -> list[asyncpg.Record]:
    """Close the dead-letter incidents whose last birth went on."""
    return await connection.fetch(
        f"""UPDATE incidents i SET closed_at = now(), closed_by = 'gateway'
            WHERE closed_at IS NULL AND subject = '{DEAD_LETTER}' AND NOT EXISTS (
                SELECT FROM births b WHERE b.state = 'DEAD_LETTER' AND (
                    SELECT e.detail ->> 'code' FROM events e WHERE e.birth_id = b.id AND e.to_state = 'DEAD_LETTER'
                    AND e.from_state <> 'DEAD_LETTER' ORDER BY e.id DESC LIMIT 1) = i.cause) {_CLOSED}"""  # noqa: S608
    )


async def open_counts(database: Database) -> dict[str, int]:
    """Return how many incidents are open, by cause."""
    rows = await database.fetch("SELECT cause, count(*) AS n FROM incidents WHERE closed_at IS NULL GROUP BY cause")
    return {row["cause"]: row["n"] for row in rows}


async def listing(database: Database, *, closed: bool, limit: int) -> list[dict[str, Any]]:
    """Return incidents, open ones first, then the newest."""
    rows = await database.fetch(
        """SELECT id, cause, subject, opened_at, seen_at, closed_at, seen FROM incidents
           WHERE $1 OR closed_at IS NULL ORDER BY closed_at IS NOT NULL, opened_at DESC, id DESC LIMIT $2""",
        closed,
        limit,
    )
    return [dict(row) for row in rows]

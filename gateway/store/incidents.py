"""Incidents: one row a cause, however many attempts and processes met it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
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


async def close_fetched(connection: Connection, subject: str) -> list[asyncpg.Record]:
    """Close the incidents of single files that no birth waits for any more."""
    return await connection.fetch(
        f"""UPDATE incidents i SET closed_at = now(), closed_by = 'gateway'
            WHERE closed_at IS NULL AND subject = $1 AND NOT EXISTS (
                SELECT FROM tasks WHERE kind = 'collect' AND (last_error = i.cause OR lease IS NOT NULL)) {_CLOSED}""",  # noqa: S608
        subject,
    )


# What waits for an incident's end: births whose tasks of its steps are due, or failed last with its cause. Those of one
# hospital are found by the letter.
_WAITING = """
SELECT count(DISTINCT t.birth_id) AS births, min(t.made_at) AS since,
       coalesce((array_agg(DISTINCT t.birth_id))[1:3], '{}') AS examples
FROM tasks t
WHERE t.birth_id IS NOT NULL AND (t.due_at <= now() OR t.last_error = $1) AND CASE $2
    WHEN 'check' THEN t.kind = 'check'
    WHEN 'registry' THEN t.kind IN ('submit', 'poll', 'act')
    WHEN 'document' THEN t.kind = 'collect'
    WHEN 'certificate_file' THEN t.kind = 'collect' AND t.last_error = $1
    WHEN 'keys' THEN t.kind = 'seal'
    WHEN 'database' THEN false
    WHEN 'dead_letter' THEN false
    ELSE t.kind = 'deliver' AND (SELECT facility FROM outbound WHERE id = t.outbound_id) = $2 END
"""
_DEAD = """
SELECT count(*) AS births, min(b.updated_at) AS since,
       coalesce((array_agg(b.id ORDER BY b.updated_at))[1:3], '{}') AS examples
FROM births b WHERE b.state = 'DEAD_LETTER' AND (
    SELECT e.detail ->> 'code' FROM events e WHERE e.birth_id = b.id AND e.to_state = 'DEAD_LETTER'
    AND e.from_state <> 'DEAD_LETTER' ORDER BY e.id DESC LIMIT 1) = $1
"""


async def waiting(connection: Connection, cause: str, subject: str) -> tuple[int, dt.datetime | None]:
    """Return how many births wait for an incident's end now, and since when the first of them."""
    row = await _waiting(connection, cause, subject)
    return row["births"], row["since"]


async def _waiting(connection: Connection, cause: str, subject: str) -> asyncpg.Record:
    if subject == DEAD_LETTER:
        (row,) = await connection.fetch(_DEAD, cause)
    else:
        (row,) = await connection.fetch(_WAITING, cause, subject)
    return row


async def open_counts(database: Database) -> dict[str, int]:
    """Return how many incidents are open, by cause."""
    rows = await database.fetch("SELECT cause, count(*) AS n FROM incidents WHERE closed_at IS NULL GROUP BY cause")
    return {row["cause"]: row["n"] for row in rows}


async def listing(database: Database, *, closed: bool, limit: int) -> list[dict[str, Any]]:
    """Return incidents, open ones first, then the newest; of open ones how many births wait, since when, and some.

    `births` is None where an incident is over.
    """
    rows = await database.fetch(
        """SELECT id, cause, subject, opened_at, seen_at, closed_at, seen FROM incidents
           WHERE $1 OR closed_at IS NULL ORDER BY closed_at IS NOT NULL, opened_at DESC, id DESC LIMIT $2""",
        closed,
        limit,
    )
    found = [dict(row) | {"births": None, "since": None, "examples": []} for row in rows]
    async with database.connection() as connection:
        for incident in found:
            if incident["closed_at"] is None:
                waits = await _waiting(connection, incident["cause"], incident["subject"])
                incident |= {
                    "births": waits["births"],
                    "since": waits["since"],
                    "examples": list(map(str, waits["examples"])),
                }
    return found


async def certificates(connection: Connection, facility: str | None = None) -> tuple[int, dt.datetime | None]:
    """Return how many births' certificates their hospitals wait for over a minute, and since when."""
    (row,) = await connection.fetch(
        """SELECT count(DISTINCT birth_id) AS births, min(made_at) AS since FROM tasks
           WHERE kind IN ('collect', 'deliver') AND made_at < now() - interval '1 minute'
             AND ($1::text IS NULL OR (SELECT facility FROM births WHERE id = birth_id) = $1)""",
        facility,
    )
    return row["births"], row["since"]

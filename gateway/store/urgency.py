"""Births by the clocks: whose day of the term has come, who leaves soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Mapping, Sequence

    from gateway.store.database import Connection, Database


async def escalation_due(
    database: Database, today: Mapping[str, dt.date], states: Sequence[str], *, limit: int
) -> list[uuid.UUID]:
    """Return births in these states whose last day told of lies behind what their day of birth asks for.

    A first sieve by the smallest distance between two days; the caller decides by the record. `today` by facility.
    """
    rows = await database.fetch(
        """SELECT b.id FROM births b
           JOIN unnest($1::text[], $2::date[]) AS z (facility, today) ON z.facility = b.facility
           CROSS JOIN LATERAL (
               SELECT z.today - (b.deadline - CASE WHEN b.record ->> 'event' = 'LAHIR_MATI' THEN 30 ELSE 60 END) AS day,
                      CASE WHEN b.record ->> 'event' = 'LAHIR_MATI' THEN '{7,20,28,31}'::int[]
                           ELSE '{7,30,50,58,61}'::int[] END AS steps) AS d
           WHERE b.state = ANY($3) AND b.deadline IS NOT NULL
             AND b.escalated < (SELECT coalesce(max(s), 0) FROM unnest(d.steps) AS s WHERE s <= d.day)
           ORDER BY b.deadline, b.id LIMIT $4""",
        list(today),
        list(today.values()),
        list(states),
        limit,
    )
    return [row["id"] for row in rows]


async def escalated(connection: Connection, birth_id: uuid.UUID) -> int:
    """Return the last day told of, 0 for none."""
    day: int = await connection.fetchval("SELECT escalated FROM births WHERE id = $1", birth_id)
    return day


async def set_escalated(connection: Connection, birth_id: uuid.UUID, day: int) -> None:
    """Keep the last day told of."""
    await connection.execute("UPDATE births SET escalated = $2 WHERE id = $1", birth_id, day)


async def leaving_before(
    connection: Connection, moment: dt.datetime, states: Sequence[str], *, priority: int, limit: int
) -> list[uuid.UUID]:
    """Return births in these states that leave before a moment and are less urgent than `priority`."""
    rows = await connection.fetch(
        """SELECT id FROM births WHERE state = ANY($1) AND leaves_at <= $2 AND priority > $3
           ORDER BY leaves_at, id LIMIT $4 FOR UPDATE SKIP LOCKED""",
        list(states),
        moment,
        priority,
        limit,
    )
    return [row["id"] for row in rows]

"""Leases of records by offices that take their births themselves: by urgency, and ended by their holder only.

A lease is a row with an id that its holder must name. It ends by itself: past `expires_at` (database time) the record
is there for whoever comes next, under another id, and the old id writes nothing any more. One that ended late but was
not taken by anybody else still counts, like a task's (store.queue).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import LeaseLostError

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Sequence

    from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Taken:
    """A record under a lease. `taken` counts how often it was given out: above 1 somebody may have begun before."""

    birth_id: uuid.UUID
    lease: uuid.UUID
    expires_at: dt.datetime
    taken: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that its id was named of. `digest` is that of the outcome which ended it, None while it is open."""

    revision: int
    holder: str
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take: so many of an office (`all`: of any), or these records; restricted ones only where allowed."""

    office: str
    restricted: bool
    count: int
    records: Sequence[uuid.UUID] = ()


# MATERIALIZED as in store.queue: the planner must not run it twice. An upsert whose WHERE fails gives no row: of two
# that want the same record at the same moment one gets it.
_TAKE = """
WITH due AS MATERIALIZED (
    SELECT b.id, b.revision FROM births b
    WHERE b.way = 'lease' AND b.state IN ('AWAIT_OFFICE', 'IN_PROCESS') AND NOT b.held
      AND ($1 = 'all' OR b.office = $1) AND ($2 OR b.restricted IS NULL)
      AND NOT EXISTS (SELECT FROM leases l
                      WHERE l.birth_id = b.id AND l.ended_at IS NULL AND l.expires_at > now())
    ORDER BY b.priority, b.leaves_at, b.deadline, b.received_at LIMIT $3 FOR UPDATE OF b SKIP LOCKED
)"""
# Stillbirths that are registered (from 28 weeks on), of offices that take records; none that was submitted before.
_STILLBORN = """
SELECT b.id FROM births b
WHERE b.state = 'LAHIR_MATI' AND NOT b.held AND (b.way = 'lease' OR (b.way IS NULL AND b.submitted = 0))
  AND b.office = ANY($1) AND ($2 = 'all' OR b.office = $2) AND ($3 OR b.restricted IS NULL)
  AND b.findings @> '[{"code": "STILLBIRTH_GE_28W"}]'
ORDER BY b.deadline LIMIT $4 FOR UPDATE OF b SKIP LOCKED
"""
# A record by its id may also be one the same office holds or has accepted (a lease that its consumer lost), one that
# was handed over on paper, or one that was issued: an officer's decision about it needs a lease too.
_TAKE_THESE = """
WITH due AS MATERIALIZED (
    SELECT b.id, b.revision FROM births b
    WHERE b.id = ANY($6) AND b.way IS NOT NULL AND NOT b.held
      AND b.state IN ('AWAIT_OFFICE', 'IN_PROCESS', 'ISSUED', 'DELIVERED', 'AMENDMENT_REVIEW', 'REVOCATION_REVIEW')
      AND ($1 = 'all' OR b.office = $1) AND ($2 OR b.restricted IS NULL)
    ORDER BY b.id LIMIT $3 FOR UPDATE OF b
)"""
_UPSERT = """
INSERT INTO leases (birth_id, id, revision, holder, expires_at)
SELECT id, gen_random_uuid(), revision, $4, now() + $5 * interval '1 second' FROM due
ON CONFLICT (birth_id) DO UPDATE SET
    id = excluded.id, revision = excluded.revision, holder = excluded.holder, taken_at = now(),
    expires_at = excluded.expires_at, ended_at = NULL, digest = NULL,
    taken = CASE WHEN leases.revision = excluded.revision THEN leases.taken + 1 ELSE 1 END
"""
_FREE = "WHERE leases.ended_at IS NOT NULL OR leases.expires_at <= now()"
_RETURNING = " RETURNING birth_id, id, expires_at, taken"


async def take(connection: Connection, wanted: Wanted, *, holder: str, seconds: float) -> list[Taken]:
    """Take records under fresh leases, the most urgent first. The births stay locked until the transaction ends."""
    arguments = (wanted.office, wanted.restricted, wanted.count, holder, seconds)
    if wanted.records:
        sql = _TAKE_THESE + _UPSERT + _RETURNING
        rows = await connection.fetch(sql, *arguments, list(wanted.records))
    else:
        rows = await connection.fetch(_TAKE + _UPSERT + _FREE + _RETURNING, *arguments)
    return [Taken(*row) for row in rows]


async def stillborn(
    connection: Connection, wanted: Wanted, *, offices: Sequence[str], limit: int = 50
) -> list[uuid.UUID]:
    """Return stillbirths to lay out for the offices that take records themselves; they stay locked."""
    rows = await connection.fetch(_STILLBORN, list(offices), wanted.office, wanted.restricted, limit)
    return [row["id"] for row in rows]


async def read(connection: Connection, birth_id: uuid.UUID, lease: uuid.UUID) -> Lease:
    """Return a lease by its id, locked. Raises LeaseLostError where another one is there now, or none."""
    row = await connection.fetchrow(
        "SELECT revision, holder, digest FROM leases WHERE birth_id = $1 AND id = $2 FOR UPDATE", birth_id, lease
    )
    if row is None:
        raise _lost(birth_id)
    return Lease(*row)


async def end(connection: Connection, birth_id: uuid.UUID, lease: uuid.UUID, *, digest: bytes, note: str) -> None:
    """End a lease by its outcome, where its id still stands there. Raises LeaseLostError."""
    sql = """UPDATE leases SET ended_at = now(), digest = $3, note = $4
             WHERE birth_id = $1 AND id = $2 AND ended_at IS NULL RETURNING birth_id"""
    if await connection.fetchval(sql, birth_id, lease, digest, note) is None:
        raise _lost(birth_id)


async def accept(connection: Connection, birth_id: uuid.UUID, lease: uuid.UUID, *, note: str) -> None:
    """Let a lease stand until its outcome: the office has the case as its own. Raises LeaseLostError."""
    sql = """UPDATE leases SET expires_at = 'infinity', note = $3
             WHERE birth_id = $1 AND id = $2 AND ended_at IS NULL RETURNING birth_id"""
    if await connection.fetchval(sql, birth_id, lease, note) is None:
        raise _lost(birth_id)


def _lost(birth_id: uuid.UUID) -> LeaseLostError:
    return LeaseLostError(
        f"the lease of record {birth_id} ended, another may have it; nothing was changed. Take it again by its id"
    )

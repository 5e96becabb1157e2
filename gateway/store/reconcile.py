"""What reconciliation reads, in pages, and the differences it leaves for a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Sequence

    from gateway.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Known:
    """A birth as our journal has it: what the registry should say of it."""

    id: uuid.UUID
    state: str
    revision: int
    submitted: int
    reference: str
    ask_first: bool
    number: str | None = field(repr=False)
    child_nik: str | None = field(repr=False)
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not agree. `detail` names states and codes, never people."""

    kind: str
    birth_id: uuid.UUID | None = None
    message_id: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


async def page(database: Database, *, after: uuid.UUID | None, days: int, limit: int) -> list[Known]:
    """Return births the registry has, or may have: the open ones, those that changed lately, those with a case."""
    rows = await database.fetch(
        """SELECT b.id, b.state, b.revision, b.submitted, b.reference, b.ask_first, c.number, c.child_nik, c.sha256
           FROM births b LEFT JOIN certificates c ON c.birth_id = b.id
           WHERE ($1::uuid IS NULL OR b.id > $1) AND (b.submitted > 0 OR b.ask_first) AND b.way IS NULL
             AND b.state <> 'MERGED'
             AND (b.state NOT IN ('DELIVERED', 'CANCELLED') OR b.updated_at > now() - $2 * interval '1 day'
                  OR EXISTS (SELECT FROM reconcile_cases r WHERE r.birth_id = b.id AND r.closed_at IS NULL))
           ORDER BY b.id LIMIT $3""",
        after,
        days,
        limit,
    )
    return [Known(*row) for row in rows]


async def untold(database: Database, *, listeners: Sequence[str], limit: int) -> list[Difference]:
    """Return births whose hospital should have its certificate and, by its own acknowledgements, does not.

    `listeners` are the facilities that get letters; the others fetch theirs over HTTP.
    """
    rows = await database.fetch(
        """SELECT b.id, max(o.answer_code) AS code, count(o.id) FILTER (WHERE o.accepted_at IS NULL) AS letters
           FROM births b JOIN certificates c ON c.birth_id = b.id LEFT JOIN outbound o ON o.birth_id = b.id
           WHERE b.facility = ANY($1) AND b.state IN ('ISSUED', 'DELIVERED', 'DEAD_LETTER')
             AND c.settled_at < now() - interval '4 hours'
           GROUP BY b.id
           HAVING count(o.id) = 0 OR bool_or(o.accepted_at IS NULL AND o.discarded_at IS NULL)
           ORDER BY b.id LIMIT $2""",
        list(listeners),
        limit,
    )
    return [
        Difference(
            "HOSPITAL_REFUSED" if row["code"] and row["code"] not in ("AA", "CA") else "HOSPITAL_NOT_TOLD",
            row["id"],
            detail={"letters": row["letters"], **({"answer": row["code"]} if row["code"] else {})},
        )
        for row in rows
    ]


async def unassigned(database: Database, *, limit: int) -> list[Difference]:
    """Return accepted messages that belong to no birth after an hour; not results and documents, which may wait."""
    rows = await database.fetch(
        """SELECT id FROM messages WHERE assigned_at IS NULL AND effect NOT IN ('none', 'observe', 'attach')
             AND received_at < now() - interval '1 hour' ORDER BY id LIMIT $1""",
        limit,
    )
    return [Difference("MESSAGE_WITHOUT_BIRTH", message_id=row["id"]) for row in rows]


async def idle(database: Database, *, limit: int) -> list[uuid.UUID]:
    """Return births that wait for the gateway and have no task: nobody would ever go on with them."""
    rows = await database.fetch(
        """SELECT b.id FROM births b LEFT JOIN certificates c ON c.birth_id = b.id
           WHERE b.updated_at < now() - interval '1 minute' AND NOT b.held AND (
               b.state IN ('READY', 'SEALED', 'SUBMITTED') OR (b.state = 'IN_PROCESS' AND b.way IS NULL)
               OR (b.state = 'ISSUED' AND (c.document IS NULL OR EXISTS (
                   SELECT FROM outbound o
                   WHERE o.birth_id = b.id AND o.accepted_at IS NULL AND o.discarded_at IS NULL))))
             AND NOT EXISTS (SELECT FROM tasks t WHERE t.birth_id = b.id)
           ORDER BY b.id LIMIT $1""",
        limit,
    )
    return [row["id"] for row in rows]


# ----------------------------------------------------------------------------------------------------------- cases


async def open_case(connection: Connection, found: Difference) -> bool:
    """Lay a difference before a person, once; True where this is new. What a person decided stays decided."""
    decided = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM reconcile_cases WHERE kind = $1 AND birth_id IS NOT DISTINCT FROM $2
           AND message_id IS NOT DISTINCT FROM $3 AND detail = $4 AND closed_by <> 'gateway')""",
        found.kind,
        found.birth_id,
        found.message_id,
        found.detail,
    )
    if decided:
        return False
    column = "birth_id" if found.birth_id else "message_id"
    opened: bool = await connection.fetchval(
        f"""INSERT INTO reconcile_cases (kind, birth_id, message_id, detail) VALUES ($1, $2, $3, $4)
            ON CONFLICT (kind, {column}) WHERE closed_at IS NULL DO UPDATE SET seen_at = now(), detail = $4
            RETURNING xmax = 0""",  # noqa: S608 - one of two names of ours
        found.kind,
        found.birth_id,
        found.message_id,
        found.detail,
    )
    return opened


async def close_unseen(connection: Connection, since: dt.datetime) -> int:
    """Close what a whole run did not find again."""
    rows = await connection.fetch(
        """UPDATE reconcile_cases SET closed_at = now(), closed_by = 'gateway', resolution = 'agrees now'
           WHERE closed_at IS NULL AND seen_at < $1 RETURNING id""",
        since,
    )
    return len(rows)


async def close(connection: Connection, case_id: int, *, by: str, resolution: str) -> bool:
    """Close a case by a person's word; False where there is no such open case."""
    row = await connection.fetchrow(
        """UPDATE reconcile_cases SET closed_at = now(), closed_by = $2, resolution = $3
           WHERE id = $1 AND closed_at IS NULL RETURNING id""",
        case_id,
        by,
        resolution,
    )
    return row is not None


async def cases(database: Database, *, closed: bool, limit: int) -> list[dict[str, Any]]:
    """Return cases, open ones first, oldest first."""
    rows = await database.fetch(
        """SELECT id, kind, birth_id, message_id, detail, opened_at, seen_at, closed_at, closed_by, resolution
           FROM reconcile_cases WHERE $1 OR closed_at IS NULL ORDER BY closed_at IS NOT NULL, id LIMIT $2""",
        closed,
        limit,
    )
    return [dict(row) for row in rows]


async def open_counts(database: Database) -> dict[str, int]:
    """Return how many cases are open, by kind."""
    rows = await database.fetch("SELECT kind, count(*) AS n FROM reconcile_cases WHERE closed_at IS NULL GROUP BY kind")
    return {row["kind"]: row["n"] for row in rows}


async def now(database: Database) -> dt.datetime:
    """Return the database's time."""
    row = await database.fetchrow("SELECT clock_timestamp() AS now")
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    moment: dt.datetime = row["now"]
    return moment

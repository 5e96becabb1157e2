"""What the API and the command line read: births in pages, one birth, its history. Never names, never raw messages."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import JUDGED
from gateway.contract.missing import described

if TYPE_CHECKING:
    import asyncpg

    from gateway.store.database import Connection, Database

_VIEW = """
SELECT b.id, b.facility, b.medical_record, b.state, b.revision, b.deadline, b.findings, b.held, b.received_at,
       b.updated_at, b.twin_group, b.wait_until, b.overdue_since, b.office, b.way, b.missing, b.priority, b.leaves_at,
       b.restricted, l.note,
       c.number, c.child_nik, c.family_card, c.issued_at, c.sha256
FROM births b LEFT JOIN certificates c ON c.birth_id = b.id LEFT JOIN leases l ON l.birth_id = b.id
"""


_LACKING = sorted(state.value for state in JUDGED)  # further on nothing is missing any more


@dataclass(frozen=True, slots=True)
class Filter:
    """Which births; a None means any. `scope`, `office_scope` and `restricted` are the reader's, not a wish.

    `missing` is a key of contract.missing, `before` a deadline, `urgency` the last priority; `urgent` orders the list,
    the most urgent first.
    """

    facility: str | None = None
    control_id: str | None = None
    medical_record: str | None = None
    state: str | None = None
    since: dt.datetime | None = None
    scope: str | None = None
    office: str | None = None
    office_scope: str | None = None
    missing: str | None = None
    before: dt.date | None = None
    urgency: int | None = None
    urgent: bool = False
    restricted: bool = False


async def births(
    database: Database, wanted: Filter, *, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page, oldest change or most urgent first, and the cursor of the next.

    Raises ValueError for a foreign cursor.
    """
    order = _URGENT if wanted.urgent else _OLDEST
    rows = await database.fetch(
        _VIEW  # noqa: S608 - constant text; every value is an argument
        + """
        WHERE ($1::text IS NULL OR b.facility = $1) AND ($2::text IS NULL OR b.medical_record = $2)
          AND ($3::text IS NULL OR b.state = $3) AND ($4::timestamptz IS NULL OR b.updated_at >= $4)
          AND ($5::text IS NULL OR b.facility = $5)
          AND ($6::text IS NULL OR b.id IN (SELECT birth_id FROM messages WHERE control_id = $6))
          AND ($7::text IS NULL OR b.office = $7) AND ($8::text IS NULL OR b.office = $8)
          AND ($9::text IS NULL OR (b.missing @> ARRAY[$9] AND b.state = ANY($13)))
          AND ($10::date IS NULL OR b.deadline <= $10)
          AND ($11 OR b.restricted IS NULL) AND ($14::int IS NULL OR b.priority <= $14)
        """
        + order.sql,
        wanted.facility,
        wanted.medical_record,
        wanted.state,
        wanted.since,
        wanted.scope,
        wanted.control_id,
        wanted.office,
        wanted.office_scope,
        wanted.missing,
        wanted.before,
        wanted.restricted,
        limit + 1,
        _LACKING,
        wanted.urgency,
        *_read_cursor(cursor, order),
    )
    more = len(rows) > limit
    items = rows[:limit]
    last = items[-1] if items else None
    return [view(r) for r in items], _cursor(last, order) if more and last is not None else None


async def birth(database: Database, birth_id: uuid.UUID) -> dict[str, Any] | None:
    """Return one birth's view, None where there is none."""
    row = await database.fetchrow(_VIEW + " WHERE b.id = $1", birth_id)
    return view(row) if row else None


async def history(database: Database, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return a birth's events, oldest first."""
    rows = await database.fetch(
        """SELECT e.at, e.actor, e.step, e.from_state, e.to_state, e.reason, e.detail, m.control_id
           FROM events e LEFT JOIN messages m ON m.id = e.message_id WHERE e.birth_id = $1 ORDER BY e.id""",
        birth_id,
    )
    return [
        {
            "at": _time(r["at"]),
            "actor": r["actor"],
            "step": r["step"],
            "from": r["from_state"],
            "to": r["to_state"],
            "reason": r["reason"],
            "control_id": r["control_id"],
            "detail": r["detail"],
        }
        for r in rows
    ]


def view(row: asyncpg.Record) -> dict[str, Any]:
    """Return the published form of a birth (schemas/openapi.json, GET /v1/births/{id})."""
    return {
        "id": str(row["id"]),
        "facility": row["facility"],
        "mrn": row["medical_record"],
        "state": row["state"],
        "revision": row["revision"],
        "deadline": row["deadline"].isoformat() if row["deadline"] else None,
        "issues": row["findings"],
        "held": row["held"],
        "twin_group": str(row["twin_group"]) if row["twin_group"] else None,
        "overdue": row["overdue_since"] is not None,
        "office": row["office"],
        "way": row["way"] or "push",
        "missing": described(row["missing"]) if row["state"] in _LACKING else [],
        "priority": row["priority"],
        "leaves_at": _time(row["leaves_at"]) if row["leaves_at"] else None,
        "restricted": row["restricted"],
        "office_note": row["note"] or None,
        "certificate": _certificate(row),
        "received_at": _time(row["received_at"]),
        "updated_at": _time(row["updated_at"]),
    }


def _certificate(row: asyncpg.Record) -> dict[str, Any] | None:
    if row["number"] is None:
        return None
    return {
        "number": row["number"],
        "child_nik": row["child_nik"],
        "kk_number": row["family_card"],
        "issued_at": _time(row["issued_at"]),
        "sha256": row["sha256"],
        "url": f"/v1/births/{row['id']}/document",
    }


def _time(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class _Order:
    """An order of the list: its SQL, and the columns its cursor holds, each with how it is read back."""

    name: str
    sql: str
    columns: tuple[str, ...]


_OLDEST = _Order(
    "oldest",
    """  AND ($15::timestamptz IS NULL OR (b.updated_at, b.id) > ($15, $16::uuid))
        ORDER BY b.updated_at, b.id LIMIT $12""",
    ("updated_at", "id"),
)
_URGENT = _Order(
    "urgent",
    """  AND ($15::int IS NULL OR (b.priority, coalesce(b.leaves_at, 'infinity'), coalesce(b.deadline, 'infinity'),
                                  b.received_at, b.id)
                                 > ($15, coalesce($16::timestamptz, 'infinity'), coalesce($17::date, 'infinity'),
                                    $18::timestamptz, $19::uuid))
        ORDER BY b.priority, coalesce(b.leaves_at, 'infinity'), coalesce(b.deadline, 'infinity'), b.received_at, b.id
        LIMIT $12""",
    ("priority", "leaves_at", "deadline", "received_at", "id"),
)


def _cursor(row: asyncpg.Record, order: _Order) -> str:
    values = [_plain(row[name]) for name in order.columns]
    return base64.urlsafe_b64encode(json.dumps([order.name, *values]).encode()).decode()


def _plain(value: Any) -> Any:  # noqa: ANN401 - a column of a cursor
    if isinstance(value, dt.date):  # a moment too
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def _read_cursor(cursor: str | None, order: _Order) -> list[Any]:
    if not cursor:
        return [None] * len(order.columns)
    try:
        name, *values = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        columns = order.columns if name == order.name else ()
        return [_column(column, value) for column, value in zip(columns, values, strict=True)]
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError("the cursor is not one of ours; take it from `next` of the page before") from error


def _column(name: str, value: Any) -> Any:  # noqa: ANN401 - one of the cursor's columns, checked by its kind
    match name:
        case "id":
            return uuid.UUID(value)
        case "priority":
            return int(value)
        case "deadline":
            return dt.date.fromisoformat(value) if value is not None else None
        case "leaves_at" if value is None:
            return None
    at = dt.datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("no offset")
    return at


async def office_columns(connection: Connection, birth_id: uuid.UUID) -> dict[str, Any]:
    """Return what an officer's record holds beside the birth itself. Raises LookupError."""
    row = await connection.fetchrow("SELECT deadline, missing FROM births WHERE id = $1", birth_id)
    if row is None:
        raise LookupError("no such birth")
    return dict(row)

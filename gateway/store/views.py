"""What the API and the command line read: births in pages, one birth, its history. Never names, never raw messages."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg

    from gateway.store.database import Database

_VIEW = """
SELECT b.id, b.facility, b.medical_record, b.state, b.revision, b.deadline, b.findings, b.held, b.received_at,
       b.updated_at, b.twin_group, b.wait_until, b.overdue_since,
       c.number, c.child_nik, c.family_card, c.issued_at, c.sha256
FROM births b LEFT JOIN certificates c ON c.birth_id = b.id
"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which births; a None means any. `facilities` is the reader's scope, not a wish."""

    facility: str | None = None
    control_id: str | None = None
    medical_record: str | None = None
    state: str | None = None
    since: dt.datetime | None = None
    scope: str | None = None


async def births(
    database: Database, wanted: Filter, *, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page, oldest change first, and the cursor of the next. Raises ValueError for a foreign cursor."""
    after = _read_cursor(cursor)
    rows = await database.fetch(
        _VIEW  # noqa: S608 - constant text; every value is an argument
        + """
        WHERE ($1::text IS NULL OR b.facility = $1) AND ($2::text IS NULL OR b.medical_record = $2)
          AND ($3::text IS NULL OR b.state = $3) AND ($4::timestamptz IS NULL OR b.updated_at >= $4)
          AND ($5::text IS NULL OR b.facility = $5)
          AND ($6::text IS NULL OR b.id IN (SELECT birth_id FROM messages WHERE control_id = $6))
          AND ($7::timestamptz IS NULL OR (b.updated_at, b.id) > ($7, $8::uuid))
        ORDER BY b.updated_at, b.id LIMIT $9
        """,
        wanted.facility,
        wanted.medical_record,
        wanted.state,
        wanted.since,
        wanted.scope,
        wanted.control_id,
        *after,
        limit + 1,
    )
    more = len(rows) > limit
    items = rows[:limit]
    last = items[-1] if items else None
    return [view(r) for r in items], _cursor(last) if more and last is not None else None


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


def _cursor(row: asyncpg.Record) -> str:
    text = json.dumps([row["updated_at"].isoformat(), str(row["id"])])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str | None) -> tuple[dt.datetime | None, uuid.UUID | None]:
    if not cursor:
        return None, None
    try:
        at, birth_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return dt.datetime.fromisoformat(at), uuid.UUID(birth_id)
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError("the cursor is not one of ours; take it from `next` of the page before") from error

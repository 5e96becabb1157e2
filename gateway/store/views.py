"""What the API and the command line read: births in pages, one birth, its history. Never names, never raw messages."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import FINAL, JUDGED, State
from gateway.contract.missing import described

if TYPE_CHECKING:
    import asyncpg

    from gateway.store.database import Connection, Database

_VIEW = """
SELECT b.id, b.facility, b.medical_record, b.state, b.revision, b.deadline, b.findings, b.held, b.received_at,
       b.updated_at, b.twin_group, b.wait_until, b.overdue_since, b.office, b.way, b.missing, b.priority, b.leaves_at,
       b.restricted, l.note,
       c.number, c.child_nik, c.family_card, c.issued_at, c.sha256, c.revoked_at
FROM {births} b LEFT JOIN certificates c ON c.birth_id = b.id LEFT JOIN leases l ON l.birth_id = b.id
"""


_PLACEHOLDER = re.compile(r"\?")
_LACKING = sorted(state.value for state in JUDGED)  # further on nothing is missing any more
# What a birth is searched by, each answered by an index (docs/search.md).
# Births that wait for people; the partial indexes of migration 0012 hold these alone.
WAITING = sorted(state.value for state in JUDGED - {State.READY})
_UNFINISHED = sorted(state.value for state in set(State) - FINAL)
# Planned for the values asked for, each time: a plan for any value would be wrong for the rare ones (docs/search.md).
AS_ASKED = "SET LOCAL plan_cache_mode = force_custom_plan"
_BY_CONTROL_ID = "b.id IN (SELECT birth_id FROM messages WHERE control_id = ?)"
_BY_CHILD = "b.id IN (SELECT birth_id FROM certificates WHERE child_nik = ?)"
_BY_CERTIFICATE = """b.id IN (SELECT birth_id FROM certificates WHERE number = ?
                         UNION ALL SELECT birth_id FROM earlier_certificates WHERE number = ?)"""
# Every word asked for is one of hers, in any revision: who was corrected since is found by the old name too.
_BY_MOTHER_BORN = "b.id IN (SELECT birth_id FROM revisions WHERE record #>> '{mother,born_on}' = ?)"
_BY_MOTHER_NAME = """b.id IN (SELECT birth_id FROM revisions WHERE record #>> '{mother,born_on}' = ?
                         AND string_to_array(upper(record #>> '{mother,name}'), ' ') @> ?::text[])"""
# The key of a birth is facility and number: the facilities are few, and are had by one step of the index each.
_BY_NUMBER = """(b.facility, b.medical_record) IN (
    WITH RECURSIVE known (code) AS (
        (SELECT facility FROM births ORDER BY facility LIMIT 1)
        UNION ALL
        SELECT (SELECT facility FROM births WHERE facility > code ORDER BY facility LIMIT 1) FROM known
        WHERE code IS NOT NULL)
    SELECT code, ? FROM known WHERE code IS NOT NULL
    UNION ALL SELECT a.facility, a.new FROM known JOIN aliases a ON a.facility = code AND a.old = ?)"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which births; a None means any. `scope`, `office_scope` and `restricted` are the reader's, not a wish.

    `missing` is a key of contract.missing, `before` a deadline, `urgency` the last priority; `urgent` orders the list,
    the most urgent first. `mother_key` and `mother_name_key` are keyed hashes; `mother_name` goes with
    `mother_born_on`. A record
    number that was given up (A40, A47) finds the birth it became.
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
    mother_key: bytes | None = None
    mother_name_key: bytes | None = None
    mother_name: str | None = None
    mother_born_on: dt.date | None = None
    child_nik: str | None = None
    certificate: str | None = None


async def births(
    database: Database, wanted: Filter, *, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page, oldest change or most urgent first, and the cursor of the next.

    Raises ValueError for a foreign cursor.
    """
    order = URGENT if wanted.urgent else OLDEST
    sql, arguments = statement(wanted, order, cursor=cursor, limit=limit)
    async with database.transaction() as connection:
        await connection.execute(AS_ASKED)
        rows = await connection.fetch(sql, *arguments)
    more = len(rows) > limit
    items = rows[:limit]
    last = items[-1] if items else None
    return [view(r) for r in items], _cursor(last, order) if more and last is not None else None


def statement(wanted: Filter, order: Order, *, cursor: str | None, limit: int) -> tuple[str, list[Any]]:
    """Return the statement of one page and its arguments. Raises ValueError for a foreign cursor.

    It holds only what was asked for: an `$1 IS NULL OR …` would hide every index from a plan that is used again.
    """
    conditions, arguments = _conditions(wanted)
    if place := _read_cursor(cursor, order):
        arguments += place
        first = len(arguments) - len(place) + 1
        conditions.append(order.after(first))
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    arguments.append(limit + 1)
    # The page first, and what belongs to its rows after it: a list that is sorted joins fifty rows, not fifty thousand.
    page = f"(SELECT b.* FROM births b {where}ORDER BY {order.columns} LIMIT ${len(arguments)})"  # noqa: S608 - as above
    return f"{_VIEW.format(births=page)}ORDER BY {order.columns}", arguments


def _conditions(wanted: Filter) -> tuple[list[str], list[Any]]:
    """Return what narrows the list, as SQL over arguments that are numbered from 1."""
    asked: list[tuple[str, tuple[Any, ...]]] = [
        ("b.facility = ?", (wanted.facility,)),
        ("b.facility = ?", (wanted.scope,)),
        ("b.state = ?", (wanted.state,)),
        ("b.updated_at >= ?", (wanted.since,)),
        (_BY_NUMBER, (wanted.medical_record, wanted.medical_record)),
        (_BY_CONTROL_ID, (wanted.control_id,)),
        ("b.office = ?", (wanted.office,)),
        ("b.office = ?", (wanted.office_scope,)),
        ("b.missing @> ARRAY[?]", (wanted.missing,)),
        ("b.state = ANY(?)", (_states(wanted),)),
        ("b.deadline <= ?", (wanted.before,)),
        ("b.priority <= ?", (wanted.urgency,)),
        ("b.mother_key = ?", (wanted.mother_key,)),
        ("b.mother_name_key = ?", (wanted.mother_name_key,)),
        (_BY_MOTHER_NAME if wanted.mother_name else _BY_MOTHER_BORN, _of_mother(wanted)),
        (_BY_CHILD, (wanted.child_nik,)),
        (_BY_CERTIFICATE, (wanted.certificate, wanted.certificate)),
    ]
    conditions = [] if wanted.restricted else ["b.restricted IS NULL"]
    arguments: list[Any] = []
    for sql, values in asked:
        if values[0] is None:
            continue
        numbers = iter(range(len(arguments) + 1, len(arguments) + len(values) + 1))
        conditions.append(_PLACEHOLDER.sub(lambda _, n=numbers: f"${next(n)}", sql))  # type: ignore[misc]
        arguments += values
    return conditions, arguments


def _states(wanted: Filter) -> list[str] | None:
    """Return the states that a wish implies: who lacks something waits, and nothing finished is urgent."""
    if wanted.missing is not None:
        return WAITING
    return _UNFINISHED if wanted.urgent and wanted.state is None else None


def _of_mother(wanted: Filter) -> tuple[Any, ...]:
    if wanted.mother_born_on is None:
        return (None,)
    words = wanted.mother_name.upper().split() if wanted.mother_name else ()
    born = wanted.mother_born_on.isoformat()
    return (born, words) if words else (born,)


async def birth(database: Database, birth_id: uuid.UUID) -> dict[str, Any] | None:
    """Return one birth's view, None where there is none."""
    row = await database.fetchrow(_VIEW.format(births="births") + " WHERE b.id = $1", birth_id)
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
        "revoked_at": _time(row["revoked_at"]) if row["revoked_at"] else None,
        "url": f"/v1/births/{row['id']}/document",
    }


def _time(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the list: its columns in SQL, and what its cursor holds of a row, with the types of that."""

    name: str
    terms: tuple[str, ...]
    keys: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def columns(self) -> str:
        """The columns, the most significant first."""
        return ", ".join(self.terms)

    def after(self, first: int) -> str:
        """Return the condition of what comes after a cursor, whose values are the arguments from `first` on."""
        places = [
            f"coalesce(${n}::{kind}, 'infinity')" if term.startswith("coalesce(") else f"${n}::{kind}"
            for n, (term, kind) in enumerate(zip(self.terms, self.types, strict=True), first)
        ]
        return f"({self.columns}) > ({', '.join(places)})"


OLDEST = Order("oldest", ("b.updated_at", "b.id"), ("updated_at", "id"), ("timestamptz", "uuid"))
URGENT = Order(
    "urgent",
    ("b.priority", "coalesce(b.leaves_at, 'infinity')", "coalesce(b.deadline, 'infinity')", "b.received_at", "b.id"),
    ("priority", "leaves_at", "deadline", "received_at", "id"),
    ("int", "timestamptz", "date", "timestamptz", "uuid"),
)


def _cursor(row: asyncpg.Record, order: Order) -> str:
    values = [_plain(row[name]) for name in order.keys]
    return base64.urlsafe_b64encode(json.dumps([order.name, *values]).encode()).decode()


def _plain(value: Any) -> Any:  # noqa: ANN401 - a column of a cursor
    if isinstance(value, dt.date):  # a moment too
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def _read_cursor(cursor: str | None, order: Order) -> list[Any]:
    if not cursor:
        return []
    try:
        name, *values = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        keys = order.keys if name == order.name else ()  # a place in one order is none in another
        return [_column(column, value) for column, value in zip(keys, values, strict=True)]
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

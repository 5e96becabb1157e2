"""The queue as operators see it: every open task, every dead letter, every held birth; and how fast they go.

Read only, but for the acts that are not a birth's event. Never names, never bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import WAITS, State
from gateway.store.queue import CHANNEL, Kind

if TYPE_CHECKING:
    import uuid

    from gateway.store.database import Connection, Database

STATUSES = ("dead", "held", "running", "due", "waiting")
# Neither the gateway nor a counterpart's software has the next move, and no task stands for it.
_WITH_PEOPLE = tuple(s for s, wait in WAITS.items() if wait.owner not in ("gateway", "operator") and s not in (
    State.IN_PROCESS, State.ISSUED))  # fmt: skip
_NEWEST_EVENTS = 50_000  # how far back a rate is looked for, at most

_ENTRIES = """
WITH entries AS (
    SELECT CASE WHEN t.lease IS NOT NULL AND t.due_at > now() THEN 'running'
                WHEN t.due_at <= now() THEN 'due' ELSE 'waiting' END AS status,
           t.kind AS step, t.priority, coalesce(b.facility, m.facility, o.facility, t.facility) AS facility,
           b.state, t.last_error AS code, t.attempts, t.failures, t.due_at, t.made_at AS since, t.id AS task_id,
           t.birth_id, t.message_id, t.outbound_id, b.restricted
    FROM tasks t LEFT JOIN births b ON b.id = t.birth_id LEFT JOIN messages m ON m.id = t.message_id
                 LEFT JOIN outbound o ON o.id = t.outbound_id
    UNION ALL
    SELECT CASE WHEN b.state = 'DEAD_LETTER' THEN 'dead' ELSE 'held' END, e.step, b.priority, b.facility, b.state,
           e.detail ->> 'code', (e.detail ->> 'attempts')::int, (e.detail ->> 'failures')::int, NULL, e.at, NULL,
           b.id, NULL, NULL, b.restricted
    FROM births b CROSS JOIN LATERAL (
        SELECT step, detail, at FROM events WHERE birth_id = b.id
        AND CASE WHEN b.state = 'DEAD_LETTER' THEN to_state = 'DEAD_LETTER' AND from_state <> 'DEAD_LETTER'
                 ELSE step = 'hold' END
        ORDER BY id DESC LIMIT 1) AS e
    WHERE b.state = 'DEAD_LETTER' OR b.held
)
"""
_WANTED = """
FROM entries
WHERE ($1::text[] IS NULL OR status = ANY($1)) AND ($2::text IS NULL OR step = $2)
  AND ($3::text IS NULL OR facility = $3) AND ($4::text IS NULL OR code = $4)
  AND ($5::uuid[] IS NULL OR birth_id = ANY($5))
"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries; a None means any."""

    statuses: tuple[str, ...] | None = None
    step: str | None = None
    facility: str | None = None
    code: str | None = None
    births: tuple[uuid.UUID, ...] | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The first five arguments of the statements here."""
        return (
            list(self.statuses) if self.statuses else None,
            self.step,
            self.facility,
            self.code,
            list(self.births) if self.births is not None else None,
        )


async def entries(database: Database, wanted: Filter, *, limit: int | None) -> list[dict[str, Any]]:
    """Return entries, the most urgent first; of the same urgency what a person must decide, then the oldest."""
    rows = await database.fetch(
        f"{_ENTRIES} SELECT * {_WANTED} ORDER BY priority, status <> 'dead', due_at NULLS FIRST, since LIMIT $6",
        *wanted.arguments,
        limit,
    )
    return [dict(row) for row in rows]


async def count(database: Database, wanted: Filter) -> int:
    """Return how many entries there are."""
    row = await database.fetchrow(f"{_ENTRIES} SELECT count(*) AS n {_WANTED}", *wanted.arguments)
    return int(row["n"]) if row else 0


async def with_people(database: Database, facility: str | None) -> dict[str, int]:
    """Return how many births wait for hospital, parents, officer or office, by state: the gateway can do nothing."""
    rows = await database.fetch(
        """SELECT state, count(*) AS n FROM births WHERE state = ANY($1) AND NOT held
           AND ($2::text IS NULL OR facility = $2) GROUP BY state""",
        [state.value for state in _WITH_PEOPLE],
        facility,
    )
    found = {row["state"]: row["n"] for row in rows}
    return {state.value: found[state.value] for state in _WITH_PEOPLE if state.value in found}


async def births_of(database: Database, control_id: str) -> list[uuid.UUID]:
    """Return the births that messages of a control id were about."""
    rows = await database.fetch(
        "SELECT DISTINCT birth_id FROM messages WHERE control_id = $1 AND birth_id IS NOT NULL", control_id
    )
    return [row["birth_id"] for row in rows]


async def attempts(database: Database, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return a birth's submissions to the registry, oldest first."""
    rows = await database.fetch(
        "SELECT revision, started_at, finished_at, result FROM attempts WHERE birth_id = $1 ORDER BY id", birth_id
    )
    return [dict(row) for row in rows]


async def hurry(connection: Connection, task_ids: list[int]) -> int:
    """Make waiting tasks due now and return how many; one that a worker has, or that is due, stays as it is."""
    rows = await connection.fetch(
        "UPDATE tasks SET due_at = now() WHERE id = ANY($1) AND lease IS NULL AND due_at > now() RETURNING id", task_ids
    )
    if rows:
        await connection.execute(f"NOTIFY {CHANNEL}")
    return len(rows)


async def discard_message(connection: Connection, task_id: int) -> bool:
    """End the assignment of a message that nobody can assign: it is about no birth. False where it is not there."""
    row = await connection.fetchrow(
        "DELETE FROM tasks WHERE id = $1 AND kind = 'assign' AND lease IS NULL RETURNING message_id", task_id
    )
    if row is None:
        return False
    await connection.execute(
        "UPDATE messages SET assigned_at = now() WHERE id = $1 AND assigned_at IS NULL", row["message_id"]
    )
    await connection.execute(  # retention passed it by while it was not finished
        """UPDATE chores SET position = least(nullif(position, '')::bigint, $1 - 1)::text
           WHERE name = 'retention' AND position <> ''""",
        row["message_id"],
    )
    return True


async def discard_letters(connection: Connection, birth_id: uuid.UUID) -> int:
    """Give up a birth's letters that the hospital did not take; returns how many."""
    rows = await connection.fetch(
        """UPDATE outbound SET discarded_at = now()
           WHERE birth_id = $1 AND accepted_at IS NULL AND discarded_at IS NULL RETURNING id""",
        birth_id,
    )
    return len(rows)


async def act(connection: Connection, *, actor: str, act: str, subject: str, reason: str) -> None:
    """Write down what a person did that is not an event of a birth."""
    await connection.execute(
        "INSERT INTO operator_acts (actor, act, subject, reason) VALUES ($1, $2, $3, $4)", actor, act, subject, reason
    )


@dataclass(frozen=True, slots=True)
class Step:
    """How one step stands. `per_minute` counts births that went through it in the window."""

    kind: Kind
    due: int
    urgent: int
    waiting: int
    oldest_s: float
    per_minute: float


async def steps(database: Database, *, window_s: float) -> list[Step]:
    """Return how each step stands, in the order of the journey."""
    open_rows = await database.fetch(
        """SELECT kind, count(*) FILTER (WHERE due_at <= now() OR lease IS NOT NULL) AS due,
                  count(*) FILTER (WHERE priority = 0 AND (due_at <= now() OR lease IS NOT NULL)) AS urgent,
                  count(*) FILTER (WHERE due_at > now() AND lease IS NULL) AS waiting,
                  coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float8 AS oldest
           FROM tasks GROUP BY kind"""
    )
    rates = await database.fetch(
        """SELECT step, count(DISTINCT birth_id) AS n FROM (
               SELECT step, birth_id, at FROM events ORDER BY id DESC LIMIT $2) AS e
           WHERE at > now() - $1 * interval '1 second' GROUP BY step""",
        window_s,
        _NEWEST_EVENTS,
    )
    found = {row["kind"]: row for row in open_rows}
    speed = {row["step"]: row["n"] * 60 / window_s for row in rates}
    return [
        Step(
            kind,
            found[kind.value]["due"] if kind.value in found else 0,
            found[kind.value]["urgent"] if kind.value in found else 0,
            found[kind.value]["waiting"] if kind.value in found else 0,
            found[kind.value]["oldest"] if kind.value in found else 0.0,
            round(speed.get(kind.value, 0.0), 1),
        )
        for kind in Kind
    ]

"""The task queue: what has to be done next, claimed with a lease, finished only by the claim that still holds it.

A claim moves `due_at` to the end of the lease and writes a fresh lease id. A worker that dies simply lets its task
become due again; a worker that was paused and wakes late finds another lease id there and writes nothing.
Database time only: clocks of nodes do not matter.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import asyncpg
import structlog

from gateway.errors import LeaseLostError, StoreUnavailableError
from gateway.store.database import UNAVAILABLE, connect

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Sequence

    from gateway.store.database import Connection, Database

CHANNEL = "procot_tasks"
_log = structlog.get_logger()


class Kind(Enum):
    """What a task does; one pipeline step each."""

    ASSIGN = "assign"
    CHECK = "check"
    SEAL = "seal"
    SUBMIT = "submit"
    POLL = "poll"
    ACT = "act"
    COLLECT = "collect"
    DELIVER = "deliver"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed task."""

    id: int
    kind: Kind
    lease: uuid.UUID
    attempts: int
    birth_id: uuid.UUID | None
    message_id: int | None
    outbound_id: int | None
    last_error: str | None = None  # how the claim before this one ended
    failures: int = 0  # in a row, before this claim
    facility: str | None = None  # of an answer task: whose listener
    age_s: float = 0.0  # since it was made


@dataclass(frozen=True, slots=True)
class Wish:
    """At most `room` tasks of these kinds, and with the other wishes of the same group at most `group_room`.

    `failed` False wants only such as did not fail before, True only such as did: what fails again and again must not
    take the place of what never failed.
    """

    kinds: tuple[Kind, ...]
    room: int
    group: int = 0
    group_room: int = 1000
    failed: bool | None = None


# One look a kind and urgency, along the index: what waits under another kind, or for later, costs nothing.
# MATERIALIZED: the planner may run a plain subquery more than once, and would then lock more than the limit.
# Among equally urgent ones what is nearly done goes first: a backlog ends birth by birth, not step by step.
# A claim does not wait for the disk: whatever its holder commits afterwards takes it along, and if PostgreSQL dies
# before that, the task is as it was and the holder's lease is not there.
_CLAIM = """
WITH soft AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), seen AS MATERIALIZED (
    SELECT t.id, t.priority, w.way_to_go, t.due_at, w.wish, w.room, w.family, w.family_room
    FROM soft CROSS JOIN unnest($3::text[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[], $9::bool[])
        AS w(kind, way_to_go, wish, room, family, family_room, failed)
    CROSS JOIN generate_series(0, 9) AS p(priority) CROSS JOIN LATERAL (
        SELECT id, priority, due_at FROM tasks
        WHERE kind = w.kind AND priority = p.priority AND due_at <= now()
          AND (w.failed IS NULL OR (failures > 0) = w.failed)
        ORDER BY due_at, id LIMIT w.room FOR UPDATE SKIP LOCKED) AS t
), due AS MATERIALIZED (
    SELECT id, priority, way_to_go, due_at FROM (
        SELECT *, row_number() OVER (PARTITION BY family ORDER BY priority, way_to_go, due_at, id) AS in_family FROM (
            SELECT *, row_number() OVER (PARTITION BY wish ORDER BY priority, way_to_go, due_at, id) AS in_wish
            FROM seen) AS w
        WHERE in_wish <= room) AS f
    WHERE in_family <= family_room ORDER BY priority, way_to_go, due_at, id LIMIT $1
), claimed AS (
    UPDATE tasks t SET lease = gen_random_uuid(), attempts = t.attempts + 1, due_at = now() + $2 * interval '1 second'
    FROM due WHERE t.id = due.id
    RETURNING t.id, t.kind, t.lease, t.attempts, t.birth_id, t.message_id, t.outbound_id, t.last_error, t.failures,
              t.facility, extract(epoch FROM now() - t.made_at)::float8 AS age_s,
              due.priority, due.way_to_go, due.due_at
)
SELECT * FROM claimed ORDER BY priority, way_to_go, due_at, id
"""
_CLAIM_ANOTHER = """
WITH soft AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), seen AS MATERIALIZED (
    SELECT s.id FROM soft CROSS JOIN unnest($2::text[]) AS k(kind) CROSS JOIN generate_series(0, 9) AS p(priority)
    CROSS JOIN LATERAL (
        (SELECT id FROM tasks WHERE kind = k.kind AND priority = p.priority AND due_at <= now()
         ORDER BY due_at, id LIMIT $4)
        UNION
        (SELECT id FROM tasks WHERE kind = k.kind AND priority = p.priority AND due_at <= now()
         ORDER BY due_at DESC, id DESC LIMIT $4)) AS s
), due AS MATERIALIZED (
    SELECT t.id FROM tasks t JOIN seen USING (id) WHERE t.due_at <= now()
    ORDER BY coalesce(array_position($3::bigint[], t.id), 0), t.failures, t.due_at DESC, t.id DESC
    LIMIT 1 FOR UPDATE OF t SKIP LOCKED
)
UPDATE tasks t SET lease = gen_random_uuid(), attempts = t.attempts + 1, due_at = now() + $1 * interval '1 second'
FROM due WHERE t.id = due.id
RETURNING t.id, t.kind, t.lease, t.attempts, t.birth_id, t.message_id, t.outbound_id, t.last_error, t.failures,
          t.facility, extract(epoch FROM now() - t.made_at)::float8 AS age_s
"""
# How far each step is from a birth's end. A poll is as a check: many may wait, and neither may starve the other.
_WAY_TO_GO = {
    Kind.ANSWER: 0, Kind.DELIVER: 0, Kind.COLLECT: 1, Kind.SUBMIT: 2, Kind.ACT: 2, Kind.SEAL: 3, Kind.CHECK: 4,
    Kind.POLL: 4, Kind.ASSIGN: 5,
}  # fmt: skip
_ADD = f"""
WITH added AS (
    INSERT INTO tasks (kind, birth_id, outbound_id, priority, due_at)
    VALUES ($1, $2, $3, $4, now() + $5 * interval '1 second')
    ON CONFLICT DO NOTHING
)
SELECT pg_notify('{CHANNEL}', '') WHERE $5 = 0
"""  # noqa: S608 - a constant channel name


async def claim(database: Database, *, limit: int, lease_s: float, kinds: Collection[Kind] = tuple(Kind)) -> list[Task]:
    """Take up to `limit` due tasks of these kinds, most urgent first, for `lease_s` seconds."""
    return await claim_each(database, [Wish(tuple(kinds), limit)], limit=limit, lease_s=lease_s)


async def claim_each(database: Database, wishes: Sequence[Wish], *, limit: int, lease_s: float) -> list[Task]:
    """Take up to `limit` due tasks that the wishes allow, most urgent first, for `lease_s` seconds: one statement."""
    return [task_of(row) for row in await database.fetch(_CLAIM, limit, lease_s, *_columns(wishes))]


async def claim_another(
    database: Database, kinds: Collection[Kind], suspects: Sequence[int], *, lease_s: float
) -> list[Task]:
    """Take one due task to try whether a counterpart is back: one that never failed before any of the `suspects`.

    Among those that never failed the newest, since what held up the counterpart is rather among the oldest.
    """
    rows = await database.fetch(
        _CLAIM_ANOTHER, lease_s, [kind.value for kind in kinds], list(suspects), len(suspects) + 1
    )
    return [task_of(row) for row in rows]


def task_of(row: asyncpg.Record) -> Task:
    """Return the task of a claimed row."""
    return Task(
        row["id"],
        Kind(row["kind"]),
        row["lease"],
        row["attempts"],
        row["birth_id"],
        row["message_id"],
        row["outbound_id"],
        row["last_error"],
        failures=row["failures"],
        facility=row["facility"],
        age_s=row["age_s"],
    )


def _columns(wishes: Sequence[Wish]) -> list[list[object]]:
    """Return the wishes as columns, a row for each kind."""
    lines = [
        (kind.value, _WAY_TO_GO[kind], n, w.room, w.group, w.group_room, w.failed)
        for n, w in enumerate(wishes)
        for kind in w.kinds
    ]
    return [list(column) for column in zip(*lines, strict=True)]


async def void_leases(connection: Connection) -> None:
    """Make every claimed task due now. For a start at which nobody else can hold one; fencing covers a mistake."""
    await connection.execute("UPDATE tasks SET due_at = now(), lease = NULL WHERE lease IS NOT NULL")


async def give_back(database: Database, tasks: list[Task]) -> None:
    """Make claimed tasks due at once, for whoever comes next."""
    if tasks:
        sql = "UPDATE tasks SET due_at = now(), lease = NULL, attempts = attempts - 1 WHERE id = $1 AND lease = $2"
        async with database.transaction() as connection:
            await connection.executemany(sql, [(task.id, task.lease) for task in tasks])


async def seconds_to_next(database: Database, kinds: Collection[Kind] = tuple(Kind)) -> float | None:
    """Return how long until a task of these kinds is due, None where there is none."""
    sql = """SELECT extract(epoch FROM min(t.due_at) - now()) AS s FROM unnest($1::text[]) AS k(kind)
             CROSS JOIN LATERAL (SELECT min(due_at) AS due_at FROM tasks WHERE kind = k.kind) AS t"""
    row = await database.fetchrow(sql, [kind.value for kind in kinds])
    return None if row is None or row["s"] is None else max(0.0, float(row["s"]))


async def add(
    connection: Connection,
    kind: Kind,
    *,
    birth_id: uuid.UUID | None = None,
    outbound_id: int | None = None,
    priority: int = 5,
    delay_s: float = 0,
) -> None:
    """Add a task, once: an open one of the same kind and subject stays as it is. Wakes the workers at commit."""
    await connection.execute(_ADD, kind.value, birth_id, outbound_id, priority, delay_s)


async def finish(connection: Connection, task: Task) -> None:
    """Remove a done task in the caller's transaction. Raises LeaseLostError where another worker has it."""
    if (
        await connection.fetchval("DELETE FROM tasks WHERE id = $1 AND lease = $2 RETURNING id", task.id, task.lease)
        is None
    ):
        raise LeaseLostError(f"task {task.id} ({task.kind.value}) was taken over by another worker")


async def holds(connection: Connection, task: Task) -> None:
    """Raise LeaseLostError unless the task is still ours; locks its row until the transaction ends."""
    sql = "SELECT id FROM tasks WHERE id = $1 AND lease = $2 FOR UPDATE"
    if await connection.fetchval(sql, task.id, task.lease) is None:
        raise LeaseLostError(f"task {task.id} ({task.kind.value}) was taken over by another worker")


async def go_on(connection: Connection, task: Task, *, delay_s: float) -> None:
    """Let a task that did a part of its work come back as a fresh one; another worker's stays as it is."""
    await connection.execute(
        """UPDATE tasks SET due_at = now() + $3 * interval '1 second', attempts = 0, failures = 0, last_error = NULL,
           lease = NULL WHERE id = $1 AND lease = $2""",
        task.id,
        task.lease,
        delay_s,
    )


async def postpone(connection: Connection, task: Task, *, delay_s: float, code: str, failures: int = 0) -> bool:
    """Let a task come back after `delay_s`; False where the lease was lost (then another worker decides).

    `failures` in a row are what the next one is decided by; a wait for good reasons begins anew with 0.
    """
    sql = """UPDATE tasks SET due_at = now() + $3 * interval '1 second', last_error = $4, failures = $5, lease = NULL
             WHERE id = $1 AND lease = $2 RETURNING id"""
    return await connection.fetchval(sql, task.id, task.lease, delay_s, code, failures) is not None


async def put_back(connection: Connection, task: Task, *, delay_s: float) -> None:
    """Let a task that was not tried come back after `delay_s`, as if it had never been claimed."""
    await connection.execute(
        """UPDATE tasks SET due_at = now() + $3 * interval '1 second', lease = NULL, attempts = attempts - 1
           WHERE id = $1 AND lease = $2""",
        task.id,
        task.lease,
        delay_s,
    )


async def is_open(connection: Connection, birth_id: uuid.UUID, kind: Kind) -> bool:
    """Tell whether a birth has a task of a kind."""
    sql = "SELECT EXISTS (SELECT FROM tasks WHERE birth_id = $1 AND kind = $2)"
    return bool(await connection.fetchval(sql, birth_id, kind.value))


async def seconds_to_earlier(connection: Connection, task: Task) -> float | None:
    """Return in how many seconds the letter of the same birth before this one is due, None where none waits."""
    due: float | None = await connection.fetchval(
        """SELECT extract(epoch FROM min(due_at) - now())::float8 FROM tasks
           WHERE birth_id = $1 AND kind = $2 AND outbound_id < $3""",
        task.birth_id,
        task.kind.value,
        task.outbound_id,
    )
    return None if due is None else max(0.0, due)


async def hurry(connection: Connection, birth_id: uuid.UUID, kind: Kind) -> bool:
    """Make a birth's waiting task due now; False where there is none. One that a worker holds is left to it."""
    sql = """UPDATE tasks SET due_at = now()
             WHERE birth_id = $1 AND kind = $2 AND due_at > now() AND lease IS NULL RETURNING id"""
    found = await connection.fetch(sql, birth_id, kind.value)
    if found:
        await connection.execute(f"NOTIFY {CHANNEL}")
    return bool(found)


async def hurry_messages(connection: Connection, message_ids: list[int]) -> None:
    """Make the assignment of these messages due now, except where a worker is at it (it will see the news itself)."""
    if not message_ids:
        return
    await connection.execute(
        "UPDATE tasks SET due_at = now() WHERE message_id = ANY($1) AND kind = 'assign' AND lease IS NULL", message_ids
    )
    await connection.execute(f"NOTIFY {CHANNEL}")


async def still_open(connection: Connection, task: Task) -> bool:
    """Tell whether a task is still there; it may have been dropped in this very transaction."""
    return (
        await connection.fetchval("SELECT id FROM tasks WHERE id = $1 AND lease = $2", task.id, task.lease) is not None
    )


async def drop(connection: Connection, birth_id: uuid.UUID, *kinds: Kind) -> None:
    """Remove a birth's open tasks of these kinds: a newer decision made them pointless."""
    await connection.execute(
        "DELETE FROM tasks WHERE birth_id = $1 AND kind = ANY($2)", birth_id, [kind.value for kind in kinds]
    )


async def open_counts(database: Database) -> dict[str, int]:
    """Return how many tasks of each kind are not done."""
    rows = await database.fetch("SELECT kind, count(*) AS n FROM tasks GROUP BY kind")
    return {r["kind"]: r["n"] for r in rows}


class Doorbell:
    """LISTEN on the task channel over a connection of its own; rings `wake` for each NOTIFY.

    A lost connection only costs speed (workers also look by themselves); it is opened again with a pause.
    """

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (StoreUnavailableError, asyncpg.PostgresError, *UNAVAILABLE) as error:
                _log.warning("queue.doorbell_lost", error=type(error).__name__)
            await asyncio.sleep(1)

    async def _listen(self) -> None:
        connection = await connect(self._database.dsn, timeout_s=self._database.timeout_s)
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(CHANNEL, lambda *_: self._wake())
            self._wake()  # what was added while nobody listened
            await closed.wait()
        finally:
            with suppress(*UNAVAILABLE):
                await connection.close(timeout=1)

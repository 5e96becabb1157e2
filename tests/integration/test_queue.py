"""The task queue on real PostgreSQL: order, leases, fencing, and the doorbell."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway.errors import LeaseLostError, StoreUnavailableError
from gateway.store import queue
from gateway.store.database import Database, connect
from gateway.store.queue import Doorbell, Kind, Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Database]:
    """Lend an open pool on a database of this test's own."""
    pool = Database(database, size=6, timeout_s=60)
    await pool.open()
    yield pool
    await pool.close()


async def add(store: Database, kind: Kind = Kind.CHECK, *, priority: int = 5, delay_s: float = 0) -> uuid.UUID:
    birth_id = uuid.uuid4()
    async with store.transaction() as connection:
        await queue.add(connection, kind, birth_id=birth_id, priority=priority, delay_s=delay_s)
    return birth_id


async def claim_one(store: Database) -> Task:
    (task,) = await queue.claim(store, limit=1, lease_s=60)
    return task


async def expire(store: Database, task: Task) -> None:
    await store.fetch("UPDATE tasks SET due_at = now() WHERE id = $1", task.id)


async def row(store: Database, task: Task) -> asyncpg.Record:
    found = await store.fetchrow(
        "SELECT *, extract(epoch FROM due_at - now())::float AS due_in FROM tasks WHERE id = $1", task.id
    )
    assert found is not None
    return found


async def test_the_most_urgent_is_claimed_first_then_the_oldest(store: Database) -> None:
    added = [await add(store, priority=priority) for priority in (5, 9, 0, 5, 0)]
    claimed = await queue.claim(store, limit=10, lease_s=60)
    assert [t.birth_id for t in claimed] == [added[i] for i in (2, 4, 0, 3, 1)]
    assert [t.attempts for t in claimed] == [1] * 5


async def test_a_claim_takes_no_more_than_its_limit_and_the_urgent_part(store: Database) -> None:
    added = [await add(store, priority=9 - i) for i in range(6)]
    assert [t.birth_id for t in await queue.claim(store, limit=2, lease_s=60)] == [added[5], added[4]]
    assert len(await queue.claim(store, limit=10, lease_s=60)) == 4
    assert await queue.claim(store, limit=10, lease_s=60) == []


async def test_what_is_not_due_is_not_claimed(store: Database) -> None:
    await add(store, delay_s=30)
    assert await queue.claim(store, limit=10, lease_s=60) == []
    seconds = await queue.seconds_to_next(store)
    assert seconds is not None
    assert 25 < seconds <= 30


async def test_an_empty_queue_has_no_next(store: Database) -> None:
    assert await queue.seconds_to_next(store) is None


async def test_two_claimers_never_get_the_same_task(store: Database) -> None:
    for _ in range(60):
        await add(store)
    batches = await asyncio.gather(*(queue.claim(store, limit=7, lease_s=60) for _ in range(12)))
    ids = [task.id for batch in batches for task in batch]
    assert len(ids) == len(set(ids)) == 60


async def test_a_claimer_passes_by_what_another_is_just_claiming(store: Database) -> None:
    first, second = await add(store), await add(store)
    async with store.transaction() as connection:
        await connection.execute("SELECT FROM tasks WHERE birth_id = $1 FOR UPDATE", first)
        assert [t.birth_id for t in await queue.claim(store, limit=10, lease_s=60)] == [second]


async def test_an_expired_lease_brings_a_task_back_to_another_worker(store: Database) -> None:
    await add(store)
    dead = await claim_one(store)
    assert await queue.claim(store, limit=1, lease_s=60) == []
    await expire(store, dead)
    heir = await claim_one(store)
    assert (heir.id, heir.attempts) == (dead.id, 2)
    assert heir.lease != dead.lease


async def test_a_lease_lasts_as_long_as_it_was_asked_for(store: Database) -> None:
    await add(store)
    (task,) = await queue.claim(store, limit=1, lease_s=123)
    assert 120 < (await row(store, task))["due_in"] <= 123


async def test_a_worker_that_lost_its_lease_can_write_nothing(store: Database) -> None:
    await add(store)
    paused = await claim_one(store)
    await expire(store, paused)
    heir = await claim_one(store)
    for act in (queue.finish, queue.holds):
        with pytest.raises(LeaseLostError, match="taken over"):  # noqa: PT012 - the transaction is the point
            async with store.transaction() as connection:
                await connection.execute("UPDATE tasks SET last_error = 'written by the dead'")
                await act(connection, paused)
    assert (await row(store, heir))["last_error"] is None
    async with store.transaction() as connection:
        assert await queue.postpone(connection, paused, delay_s=99, code="X") is False
        assert await queue.still_open(connection, paused) is False
        assert await queue.still_open(connection, heir) is True
        await queue.holds(connection, heir)
        await queue.finish(connection, heir)
    assert await queue.open_counts(store) == {}


async def test_a_lease_that_ran_out_still_finishes_where_nobody_took_over(store: Database) -> None:
    await add(store)
    late = await claim_one(store)
    await expire(store, late)
    async with store.transaction() as connection:
        await queue.finish(connection, late)
    assert await queue.open_counts(store) == {}


async def test_who_holds_a_task_cannot_lose_it_before_the_transaction_ends(store: Database) -> None:
    await add(store)
    mine = await claim_one(store)
    await expire(store, mine)
    async with store.transaction() as connection:
        await queue.holds(connection, mine)
        assert await queue.claim(store, limit=1, lease_s=60) == []
        await queue.finish(connection, mine)


async def test_finishing_twice_is_a_lost_lease(store: Database) -> None:
    await add(store)
    task = await claim_one(store)
    async with store.transaction() as connection:
        await queue.finish(connection, task)
    with pytest.raises(LeaseLostError):
        async with store.transaction() as connection:
            await queue.finish(connection, task)


async def test_a_postponed_task_comes_back_with_what_happened(store: Database) -> None:
    await add(store)
    task = await claim_one(store)
    async with store.transaction() as connection:
        assert await queue.postpone(connection, task, delay_s=40, code="REGISTRY_UNAVAILABLE")
    waiting = await row(store, task)
    assert (waiting["lease"], waiting["last_error"]) == (None, "REGISTRY_UNAVAILABLE")
    assert 35 < waiting["due_in"] <= 40
    await expire(store, task)
    again = await claim_one(store)
    assert (again.last_error, again.attempts) == ("REGISTRY_UNAVAILABLE", 2)


async def test_hurry_makes_a_waiting_task_due(store: Database) -> None:
    birth_id = await add(store, delay_s=600)
    async with store.transaction() as connection:
        assert await queue.hurry(connection, birth_id, Kind.CHECK)
        assert not await queue.hurry(connection, birth_id, Kind.SEAL)
    assert (await claim_one(store)).birth_id == birth_id


async def test_hurry_leaves_a_task_to_the_worker_that_has_it(store: Database) -> None:
    birth_id = await add(store)
    task = await claim_one(store)
    async with store.transaction() as connection:
        assert not await queue.hurry(connection, birth_id, Kind.CHECK)
        await queue.finish(connection, task)


async def test_hurried_messages_are_due_unless_a_worker_has_them(store: Database) -> None:
    await store.fetch(
        """INSERT INTO tasks (kind, message_id, due_at)
           SELECT 'assign', n, now() + interval '1 hour' FROM generate_series(1, 3) n"""
    )
    await store.fetch("UPDATE tasks SET lease = gen_random_uuid() WHERE message_id = 3")
    async with store.transaction() as connection:
        await queue.hurry_messages(connection, [])
        await queue.hurry_messages(connection, [1, 3])
    assert [t.message_id for t in await queue.claim(store, limit=10, lease_s=60)] == [1]


async def test_an_open_task_is_not_added_twice(store: Database) -> None:
    birth_id = uuid.uuid4()
    for delay in (600, 0):
        async with store.transaction() as connection:
            await queue.add(connection, Kind.POLL, birth_id=birth_id, delay_s=delay)
            await queue.add(connection, Kind.DELIVER, birth_id=birth_id, outbound_id=1)
            await queue.add(connection, Kind.DELIVER, birth_id=birth_id, outbound_id=2)
    assert await queue.open_counts(store) == {"poll": 1, "deliver": 2}
    assert [t.kind for t in await queue.claim(store, limit=10, lease_s=60)] == [Kind.DELIVER, Kind.DELIVER]


async def test_dropped_tasks_are_gone_even_for_the_worker_that_has_one(store: Database) -> None:
    birth_id = await add(store, Kind.CHECK)
    other = await add(store, Kind.CHECK)
    task = await claim_one(store)
    async with store.transaction() as connection:
        await queue.add(connection, Kind.SEAL, birth_id=birth_id)
        await queue.add(connection, Kind.POLL, birth_id=birth_id)
        await queue.drop(connection, birth_id, Kind.CHECK, Kind.SEAL)
    with pytest.raises(LeaseLostError):
        async with store.transaction() as connection:
            await queue.finish(connection, task)
    left = await store.fetch("SELECT birth_id, kind FROM tasks ORDER BY kind")
    assert {(r["birth_id"], r["kind"]) for r in left} == {(other, "check"), (birth_id, "poll")}


async def test_a_task_added_in_a_transaction_that_fails_is_not_there(store: Database) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with store.transaction() as connection:
            await queue.add(connection, Kind.CHECK, birth_id=uuid.uuid4())
            raise ZeroDivisionError
    assert await queue.open_counts(store) == {}


# -------------------------------------------------------------------------------------------------------- doorbell


@contextlib.asynccontextmanager
async def listening(store: Database) -> AsyncIterator[asyncio.Queue[None]]:
    rings: asyncio.Queue[None] = asyncio.Queue()
    running = asyncio.create_task(Doorbell(store, lambda: rings.put_nowait(None)).run())
    try:
        await asyncio.wait_for(rings.get(), 60)  # it rings once as soon as it listens
        yield rings
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_the_doorbell_rings_when_a_task_is_added_or_hurried(store: Database) -> None:
    async with listening(store) as rings:
        await add(store)
        await asyncio.wait_for(rings.get(), 60)
        birth_id = await add(store, Kind.POLL, delay_s=60)
        assert rings.empty()
        async with store.transaction() as connection:
            await queue.hurry(connection, birth_id, Kind.POLL)
        await asyncio.wait_for(rings.get(), 60)


async def test_the_doorbell_survives_a_killed_connection(store: Database) -> None:
    async with listening(store) as rings:
        killed = await store.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'")
        assert len(killed) == 1
        await asyncio.wait_for(rings.get(), 60)  # it listens again
        await add(store)
        await asyncio.wait_for(rings.get(), 60)


async def test_the_doorbell_outlives_a_server_that_is_not_there(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def away(*_args: object, **_kwargs: object) -> asyncpg.Connection:
        tried.set()
        raise StoreUnavailableError("away")

    monkeypatch.setattr(queue, "connect", away)
    rings: asyncio.Queue[None] = asyncio.Queue()
    running = asyncio.create_task(Doorbell(store, lambda: rings.put_nowait(None)).run())
    await asyncio.wait_for(tried.wait(), 60)
    monkeypatch.setattr(queue, "connect", connect)  # the server is back
    await asyncio.wait_for(rings.get(), 60)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


# -------------------------------------------------------------------------------------------------------- database


async def test_a_pool_that_is_not_open_says_so() -> None:
    pool = Database("postgresql://nobody@127.0.0.1:1/none", size=2, timeout_s=1)
    with pytest.raises(StoreUnavailableError):
        await pool.fetch("SELECT 1")
    with pytest.raises(StoreUnavailableError):
        await pool.open()
    assert await pool.writable() is False
    await pool.close()


async def test_a_killed_backend_is_an_unavailable_store_and_the_next_call_works(store: Database) -> None:
    with pytest.raises(StoreUnavailableError):  # noqa: PT012 - the transaction is the point
        async with store.transaction() as connection:
            await connection.execute("INSERT INTO tasks (kind) VALUES ('check')")
            await store.fetch("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await connection.execute("SELECT 1")
    assert await store.writable()
    assert await queue.open_counts(store) == {}


async def test_a_pool_whose_connection_is_stuck_is_closed_by_force(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for = asyncio.wait_for
    monkeypatch.setattr("gateway.store.database.asyncio.wait_for", lambda work, _s: wait_for(work, 0.05))
    async with store.connection() as connection:
        stuck = connection.get_server_pid()
        await store.close()
    assert stuck > 0


async def test_a_start_that_is_alone_makes_a_dead_ones_tasks_due_at_once(store: Database) -> None:
    await add(store)
    dead = await claim_one(store)
    assert await queue.claim(store, limit=1, lease_s=60) == []
    async with store.transaction() as connection:
        await queue.void_leases(connection)
    again = await claim_one(store)
    assert again.id == dead.id
    with pytest.raises(LeaseLostError):
        async with store.transaction() as connection:
            await queue.finish(connection, dead)


async def test_each_wish_group_and_limit_holds_and_the_most_urgent_come_first(store: Database) -> None:
    for kind in (Kind.SEAL, Kind.CHECK, Kind.SUBMIT, Kind.DELIVER):
        for priority in (5, 0, 5, 5):
            await add(store, kind, priority=priority)
    wishes = [
        queue.Wish((Kind.SEAL,), 10, group=0, group_room=10),
        queue.Wish((Kind.CHECK,), 3, group=1, group_room=3),
        queue.Wish((Kind.SUBMIT,), 1, group=1, group_room=3),
    ]
    async with store.connection() as connection:
        await connection.execute("BEGIN")
        rows = await connection.fetch(queue._CLAIM, 100, 60.0, *queue._columns(wishes))
        await connection.execute("ROLLBACK")
    found = Counter(row["kind"] for row in rows)
    assert found["seal"] == 4
    assert found["submit"] == 1
    assert found["check"] == 2  # the group's room is three
    assert found["deliver"] == 0
    assert [row["priority"] for row in rows[:3]] == [0, 0, 0]
    claimed = await queue.claim_each(store, wishes, limit=4, lease_s=60)
    assert [task.kind for task in claimed[:3]] == [Kind.SUBMIT, Kind.SEAL, Kind.CHECK]
    assert len(claimed) == 4


async def test_what_is_nearly_done_goes_before_what_begins_unless_that_is_more_urgent(store: Database) -> None:
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL, Kind.SUBMIT, Kind.COLLECT, Kind.DELIVER):
        await add(store, kind)
    urgent = await add(store, Kind.CHECK, priority=0)
    claimed = await queue.claim(store, limit=10, lease_s=60)
    assert claimed[0].birth_id == urgent
    assert [task.kind for task in claimed[1:]] == [
        Kind.DELIVER, Kind.COLLECT, Kind.SUBMIT, Kind.SEAL, Kind.CHECK, Kind.ASSIGN,
    ]  # fmt: skip


async def test_only_the_claim_itself_does_not_wait_for_the_disk(store: Database) -> None:
    await add(store, Kind.SEAL)
    async with store.connection() as connection:
        await connection.execute("SET synchronous_commit = on")
        await connection.execute("BEGIN")
        assert await connection.fetch(queue._CLAIM, 1, 60.0, *queue._columns([queue.Wish((Kind.SEAL,), 1)]))
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
        await connection.execute("COMMIT")
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        await connection.execute("RESET synchronous_commit")


async def test_a_hundred_thousand_tasks_of_others_cost_a_claim_nothing(store: Database) -> None:
    """By pages touched, not by time: a start with such a backlog answers and works at once."""
    loading = await connect(store.dsn, timeout_s=600)  # the store's own patience is not for such a load
    await loading.execute(
        """INSERT INTO tasks (kind, birth_id, priority, due_at)
           SELECT CASE WHEN n % 2 = 0 THEN 'submit' ELSE 'poll' END, gen_random_uuid(), 5,
                  now() + CASE WHEN n % 2 = 0 THEN interval '0' ELSE interval '1 hour' END
           FROM generate_series(1, 100000) AS n"""
    )
    await loading.execute("ANALYZE tasks")
    await loading.close()
    birth_id = await add(store, Kind.SEAL)
    urgent = await add(store, Kind.SUBMIT, priority=0)
    for kinds, expected in ((list(Kind)[:3], birth_id), ([Kind.SUBMIT, Kind.POLL], urgent)):
        async with store.connection() as connection:
            await connection.execute("BEGIN")
            columns = queue._columns([queue.Wish(tuple(kinds), 4)])
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {queue._CLAIM}"
            plan = await connection.fetchval(explain, 4, 60.0, *columns)
            await connection.execute("ROLLBACK")
        assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] < 1000
        claimed = await queue.claim(store, limit=1, lease_s=60, kinds=kinds)
        assert [task.birth_id for task in claimed] == [expected]
    assert await queue.seconds_to_next(store, [Kind.POLL]) is not None

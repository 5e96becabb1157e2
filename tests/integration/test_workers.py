"""The workers: what they claim, how they stop, and what an odd error, a lost lease or a crash leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.errors import RegistryProtocolError, RegistryUnavailableError, StoreUnavailableError
from gateway.pipeline import operate
from gateway.pipeline.worker import Workers
from gateway.store import queue
from gateway.store.queue import Kind
from tests.integration.steps import results, sealed
from tests.simulators.journey import Journey, notice
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    import pytest

    from gateway.store.queue import Task


async def test_an_odd_error_is_tried_a_few_times_and_then_laid_before_a_person(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    for attempt in range(1, 6):
        assert await way.state() is State.READY
        way.registry.on_check.append(ValueError("odd"))
        await way.hurry()
        await way.work(Kind.CHECK)
        if attempt < 5:
            task = await way.task(Kind.CHECK)
            assert (task["last_error"], task["attempts"], task["lease"]) == ("ValueError", attempt, None)
            assert 0 < task["due_in"] <= 2 ** (attempt - 1)
    assert await way.state() is State.DEAD_LETTER
    last = (await way.events())[-1]
    assert last["reason"] == "ValueError"
    assert {k: last["detail"][k] for k in ("code", "fault", "attempts")} == {
        "code": "ValueError", "fault": "ours", "attempts": 5,
    }  # fmt: skip
    assert last["detail"]["do"]
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.READY
    await way.work()
    assert await way.state() is State.IN_PROCESS


async def test_a_message_nobody_can_assign_is_looked_at_again_slowly(way: Journey) -> None:
    await way.tell(notice())
    await way.database.fetch("UPDATE messages SET raw = 'MSH'")
    await way.database.fetch("UPDATE tasks SET failures = 4")
    await way.work(Kind.ASSIGN)
    task = await way.task(Kind.ASSIGN)
    assert task["last_error"] == "HL7_SYNTAX"
    assert task["due_in"] > 3500


async def test_giving_up_where_a_birth_cannot_be_a_dead_letter_is_an_event(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.WITHDRAWN)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    way.registry.on_fetch.append(b"not the file")
    await way.work()
    assert await way.state() is State.REVOCATION_REVIEW
    assert (await way.reasons())[-1].startswith("REGISTRY_PROTOCOL: the certificate's file does not have the announced")
    assert await way.open_kinds() == []


async def test_a_worker_that_lost_its_lease_writes_nothing_however_it_fails(way: Journey) -> None:
    await sealed(way)
    for error in (None, RegistryUnavailableError("down"), RegistryProtocolError("odd"), ValueError("odd")):
        if error is not None:
            way.registry.on_submit.append(error)
        way.registry.during = lambda _call: way.hurry()
        task = await way.claim(Kind.SUBMIT)
        await Workers(way.context)._work(task)
        row = await way.task(Kind.SUBMIT)
        assert (row["id"], row["last_error"]) == (task.id, None)
        assert await way.state() is State.SUBMITTED
        way.registry.cases.clear()


async def test_workers_finish_a_birth_and_stop(way: Journey) -> None:
    way.registry.on_submit.append(RegistryStatus.ISSUED)
    workers = Workers(way.context)
    running = asyncio.create_task(workers.run())
    await way.tell(notice())
    async with asyncio.timeout(60):
        while not (await way.count("births") and await way.state() is State.DELIVERED):
            workers.wake()
            await asyncio.sleep(0.01)
    await workers.stop(within_s=5)
    await asyncio.wait_for(running, 60)
    assert await way.open_kinds() == []


async def test_a_wake_up_while_all_workers_are_busy_waits_for_the_first_that_is_free(way: Journey) -> None:
    workers = Workers(way.context)
    busy = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(way.context.config.gateway.workers)]
    workers._running.update(dict.fromkeys(busy, Kind.ASSIGN))
    workers.wake()
    assert not workers._wake.is_set(), "nobody could take anything"
    busy[0].cancel()
    await asyncio.wait(busy[:1])
    workers._done(busy[0])
    assert workers._wake.is_set()
    for task in busy:
        task.cancel()


async def test_a_stopping_worker_leaves_a_late_task_to_its_lease(way: Journey) -> None:
    await sealed(way)
    entered = asyncio.Event()

    async def hang(_call: str) -> None:
        entered.set()
        await asyncio.Event().wait()

    way.registry.during = hang
    workers = Workers(way.context)
    running = asyncio.create_task(workers.run())
    await asyncio.wait_for(entered.wait(), 60)
    await workers.stop(within_s=0.01)
    await asyncio.wait_for(running, 60)
    assert (await way.task(Kind.SUBMIT))["lease"] is not None
    assert await results(way) == ["unknown"]


async def test_workers_outlive_a_database_that_is_away(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_args: object, **_kwargs: object) -> list[Task]:
        raise StoreUnavailableError("away")

    workers = Workers(way.context)
    monkeypatch.setattr(queue, "claim_each", away)
    assert await workers._start_due() == 1.0


async def test_a_failure_that_cannot_be_written_down_is_left_to_the_lease(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnavailableError("down"))
    task = await way.claim(Kind.SUBMIT)

    async def broken(*_args: object, **_kwargs: object) -> bool:
        raise RuntimeError("the connection broke")

    monkeypatch.setattr(queue, "postpone", broken)
    await Workers(way.context)._work(task)
    assert (await way.task(Kind.SUBMIT))["lease"] == task.lease


async def test_a_full_house_claims_nothing_until_somebody_is_done(way: Journey) -> None:
    workers = Workers(way.context)
    hands = way.context.config.gateway.workers
    for n in range(hands + 2):
        await way.tell(notice(record_number=f"B{n}"))
    assert await workers._start_due() == 5.0  # as many were due as there are hands
    assert len(workers._running) == hands
    assert await workers._start_due() == 5.0
    assert len(workers._running) == hands
    await asyncio.wait(workers._running)
    assert await workers._start_due() != 1.0
    await workers.stop(within_s=10)
    assert await way.count("births") == hands + 2


async def test_steps_that_wait_for_others_never_take_every_worker(way: Journey) -> None:
    """One dead listener, or a registry that times out, must not keep births from being assigned (architecture)."""
    for n in range(20):
        await way.tell(notice(record_number=f"B{n}"))
        await way.step(Kind.ASSIGN)
    gate = asyncio.Event()

    async def never(_call: str) -> None:
        await gate.wait()

    way.registry.during = never
    workers = Workers(way.context)
    await workers._start_due()
    hands = way.context.config.gateway.workers
    assert 0 < len(workers._running) < hands, "all twenty wait for the registry"
    await way.tell(notice(record_number="NEW"))
    await workers._start_due()
    await way.until_assigned("NEW")
    gate.set()
    await workers.stop(within_s=10)


async def test_what_is_claimed_while_stopping_is_given_back(way: Journey) -> None:
    await way.tell(notice())
    workers = Workers(way.context)
    workers._stopping = True
    await workers._start_due()
    task = await way.task(Kind.ASSIGN)
    assert (task["lease"], task["attempts"]) == (None, 0)
    assert workers._running == {}


async def test_a_step_that_crashes_its_worker_hurts_no_other(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(way.context)

    async def crash(_task: Task) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(workers, "_work", crash)
    await way.tell(notice())
    await workers._start_due()
    await workers.stop(within_s=5)
    await asyncio.sleep(0)
    assert workers._running == {}
    assert (await way.task(Kind.ASSIGN))["lease"] is not None

"""kill -9 while an amendment or a withdrawal is on its way to the registry: done once, whatever the moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.acceptance.test_kill import LOOK_S, PATIENCE_S, Counterparts, counterparts, send_until_answered
from tests.simulators.doomed import _owner

if TYPE_CHECKING:
    from gateway.cli.demo_births import DemoBirth

from gateway.cli.demo_births import demo_births

__all__ = ["counterparts"]  # a fixture of this module too

AMENDING = [
    "after:gateway.pipeline.change._may_change",  # decided, not committed
    "after:gateway.pipeline.submit._prepare",  # written down, nothing sent
    "after:adapters.dukcapil.adapter.Dukcapil.submit",  # the registry has it, we do not know
    "before:gateway.pipeline.submit.settle",  # answered, not written down
]
WITHDRAWING = [
    "after:gateway.store.acts.ask",  # decided, not committed
    "before:gateway.pipeline.act._prepare",
    "after:gateway.pipeline.act._prepare",  # written down, nothing sent
    "before:adapters.dukcapil.adapter.Dukcapil.act",
    "after:adapters.dukcapil.adapter.Dukcapil.act",  # the registry has it, we do not know
    "before:gateway.pipeline.act.settle",
    "after:gateway.pipeline.act.settle",  # applied, not committed
]


async def until(dsn: str, sql: str, wanted: object) -> None:
    """Return as soon as a statement gives a value; fail with the births' story where it never does."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await connection.fetchval(sql) != wanted:  # noqa: ASYNC110 - another process makes it true
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        events = await connection.fetch("SELECT step, from_state, to_state, reason FROM events ORDER BY id")
        tasks = await connection.fetch("SELECT kind, attempts, due_at, last_error FROM tasks")
        raise AssertionError([tuple(r) for r in (*events, *tasks)]) from None
    finally:
        await connection.close()


def later(birth: DemoBirth, event: str, *changes: tuple[bytes, bytes]) -> DemoBirth:
    """Return another message about the same baby, written a minute later."""
    structure = {"A08": b"ADT^A08^ADT_A01", "A11": b"ADT^A11^ADT_A09"}[event]
    message = birth.message
    for old, new in (
        (b"ADT^A01^ADT_A01", structure),
        (b"EVN|A01|", b"EVN|" + event.encode() + b"|"),
        (birth.control_id.encode(), f"{birth.control_id}{event}".encode()),
        *changes,
    ):
        assert old in message, old
        message = message.replace(old, new)
    return replace(birth, control_id=f"{birth.control_id}{event}", message=message)


async def told(counterparts: Counterparts, point: str, message: DemoBirth) -> None:
    """Tell a doomed gateway, and, if it died before it answered, the next one."""
    async with counterparts.gateway(point) as (process, address):
        answered = await send_until_answered(address, message)
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(process.wait) == -9, "it must have died at the point"
    assert answered == "AA"


async def in_process(counterparts: Counterparts) -> DemoBirth:
    (birth,) = demo_births(1)
    counterparts.registry.conduct.change({"work_seconds": 3600})
    async with counterparts.gateway() as (_, address):
        assert await send_until_answered(address, birth) == "AA"
        await until(counterparts.dsn, "SELECT state FROM births", "IN_PROCESS")
    return birth


@pytest.mark.parametrize("point", AMENDING)
async def test_an_amendment_survives_kill_9(point: str, counterparts: Counterparts) -> None:
    birth = await in_process(counterparts)
    name = next(line for line in birth.message.split(b"\r") if line.startswith(b"PID")).split(b"|")[5].split(b"^")[0]
    counterparts.registry.conduct.change({"work_seconds": 0})
    await told(counterparts, point, later(birth, "A08", (name, name + b"A")))
    async with counterparts.gateway():
        await until(counterparts.dsn, "SELECT state FROM births", "DELIVERED")
    (case,) = counterparts.registry.cases()
    assert (case["revisi"], case["status"]) == (2, "TERBIT")


@pytest.mark.parametrize("point", WITHDRAWING)
async def test_a_withdrawal_survives_kill_9(point: str, counterparts: Counterparts) -> None:
    birth = await in_process(counterparts)
    await told(counterparts, point, later(birth, "A11"))
    async with counterparts.gateway():
        await until(counterparts.dsn, "SELECT state FROM births", "CANCELLED")
        await until(counterparts.dsn, "SELECT count(*) FROM tasks WHERE kind = 'act'", 0)
    (case,) = counterparts.registry.cases()
    assert case["status"] == "DIBATALKAN"
    assert [act.status for act in counterparts.registry._records.acts_of(case["no"])] == ["DIKABULKAN"]


def test_every_point_names_a_function_of_the_product() -> None:
    for point in (*AMENDING, *WITHDRAWING):
        owner, name = _owner(point.partition(":")[2])
        assert hasattr(owner, name), point

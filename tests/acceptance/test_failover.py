"""PostgreSQL fails over under load: the primary is killed, the standby promoted, and no acknowledged birth is lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg

from gateway.app import split_address
from gateway.cli.demo_births import DemoBirth, demo_births
from gateway.errors import DeliveryUnavailableError
from gateway.mllp.client import MllpClient, acknowledgement
from tests.simulators.replicated import pair
from tests.simulators.system import system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.simulators.system import System

SENDERS, EACH = 4, 12
BEFORE_THE_KILL = 12


async def send_as_a_hospital(running: System, birth: DemoBirth) -> None:
    """Send until it is accepted: silence and AR mean again, with the same bytes."""
    while True:
        try:
            client = await MllpClient(*split_address(running.mllp)).connect()
            try:
                answer = await client.exchange(birth.message, control_id=birth.control_id, timeout=60)
            finally:
                await client.aclose()
        except DeliveryUnavailableError:
            await asyncio.sleep(0.05)
            continue
        code = acknowledgement(answer)[0]
        if code == "AA":
            return
        assert code == "AR", answer
        await asyncio.sleep(0.05)


async def test_a_primary_killed_under_load_loses_no_acknowledged_birth(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    births = demo_births(SENDERS * EACH)
    accepted: dict[str, float] = {}
    some_accepted = asyncio.Event()

    async def sender(mine: list[DemoBirth]) -> None:
        for birth in mine:
            await send_as_a_hospital(running, birth)
            accepted[birth.control_id] = time.monotonic()
            if len(accepted) >= BEFORE_THE_KILL:
                some_accepted.set()

    async with pair() as servers, system(servers.dsn, tmp_path) as running:
        senders = [asyncio.create_task(sender(births[i::SENDERS])) for i in range(SENDERS)]
        await asyncio.wait_for(some_accepted.wait(), 60)
        killed = time.monotonic()
        servers.primary.kill()
        before = set(accepted)
        await servers.promote()
        await asyncio.wait_for(asyncio.gather(*senders), 120)
        next_accepted = min(at for control_id, at in accepted.items() if control_id not in before)
        record_property("seconds_to_next_aa", round(next_accepted - killed, 2))
        await running.until_count("DELIVERED", len(births), patience=120)
        kept = {row["control_id"] for row in await running.fetch("SELECT control_id FROM messages")}
        cases = running.registry.cases()

        async def told() -> bool:
            found = await running.fetch("SELECT cause, subject FROM incidents WHERE cause = 'STORE_UNAVAILABLE'")
            return [tuple(row) for row in found] == [("STORE_UNAVAILABLE", "database")]

        await running.until_true(told, "one incident of the database")  # written down when it is back
    assert before, "births must have been accepted before the kill"
    assert set(accepted) <= kept, "an acknowledged birth is not in the journal any more"
    assert len(accepted) == len(births)
    assert sorted(case["status"] for case in cases) == ["TERBIT"] * len(births)
    assert len({case["no_akta"] for case in cases}) == len(births)


async def test_a_read_only_database_is_ar_and_not_ready_and_recovers_by_itself(database: str, tmp_path: Path) -> None:
    (first, second) = demo_births(2)
    async with system(database, tmp_path, config={"gateway": {"lease_s": 2}, "registry": {"timeout_s": 1}}) as running:
        await running.send(first.message)
        name = database.partition("@/")[2].partition("?")[0]
        connection = await asyncpg.connect(database)
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        await connection.fetch(others, name)

        async def refused() -> bool:
            return acknowledgement(await running.send(second.message))[0] == "AR"

        async def ready(status: int) -> bool:
            async with running.request("/readyz") as response:
                return response.status == status

        await running.until_true(refused, "AR from a read-only database")
        await running.until_true(lambda: ready(503), "not ready")
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await connection.fetch(others, name)
        await connection.close()
        await running.until_true(lambda: _accepted(running, second), "AA again")
        await running.until_true(lambda: ready(200), "ready again")
        await running.until_count("DELIVERED", 2)


async def _accepted(running: System, birth: DemoBirth) -> bool:
    return acknowledgement(await running.send(birth.message))[0] == "AA"

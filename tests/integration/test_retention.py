"""Bodies of what is finished go after their time; what is not finished, and what proves something, stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from pydantic import ValidationError

from gateway.config import Retention
from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.observe.metrics import Metrics
from gateway.pipeline.cull import cull
from gateway.pipeline.journal import check
from gateway.store import chores, retention
from gateway.store.queue import Kind
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import RENAMED, Journey, journey, notice
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

SETTINGS = Retention(batch=2, pause_s=0)


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(database, tmp_path) as parts:
        yield parts


async def grow_old(way: Journey, days: int = 91) -> None:
    """Let everything lie for so many days."""
    for table, column in (("messages", "received_at"), ("births", "updated_at"), ("quarantine", "resolved_at")):
        await way.database.fetch(f"UPDATE {table} SET {column} = {column} - $1 * interval '1 day'", days)  # noqa: S608


async def culled(way: Journey) -> dict[str, int]:
    return await cull(way.database, SETTINGS, Metrics())


async def the_message(way: Journey) -> asyncpg.Record:
    row = await way.database.fetchrow("SELECT * FROM messages ORDER BY id LIMIT 1")
    assert row is not None
    return row


async def test_a_finished_birth_loses_its_bodies_and_keeps_what_proves_something(way: Journey) -> None:
    birth = await way.reach(State.DELIVERED)
    before = await the_message(way)
    await grow_old(way)
    assert await culled(way) == {"births": 1, "messages": 1, "quarantine": 0}
    after = await the_message(way)
    assert after["raw"] == before["raw"].split(b"\r")[0] + b"\r"
    assert after["told"] is None
    for kept in ("digest", "content_digest", "answer", "control_id", "birth_id"):
        assert after[kept] == before[kept]
    for table, column in (("outbound", "message"), ("certificates", "document")):
        rows = await way.database.fetch(f"SELECT {column} FROM {table}")  # noqa: S608
        assert all(not row[0] for row in rows)
    seal = await way.database.fetchrow("SELECT payload, sha256, signature FROM seals")
    assert seal is not None
    assert all(seal)
    assert (await way.birth()).record == birth.record
    assert await way.count("events") > 5


async def test_a_repeated_message_is_answered_as_before_after_its_body_is_gone(way: Journey) -> None:
    told = notice(control_id="ONCE0001")
    await way.tell(told)
    first = (await the_message(way))["answer"]
    await way.work()
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    await way.work()
    await grow_old(way)
    assert (await culled(way))["messages"] == 1
    (again,) = await asyncio.wait_for(way.intake.take(told, peer="127.0.0.1"), 60)
    assert again == first
    assert await way.count("messages") == 1
    assert await way.state() is State.DELIVERED


@pytest.mark.parametrize("state", [State.SEALED, State.IN_PROCESS, State.ISSUED])
async def test_what_is_not_finished_is_never_touched(way: Journey, state: State) -> None:
    await way.reach(state)
    before = await the_message(way)
    await grow_old(way, 5000)
    assert await culled(way) == {"births": 0, "messages": 0, "quarantine": 0}
    assert (await the_message(way))["raw"] == before["raw"]


async def test_a_message_that_waits_to_be_assigned_is_never_touched(way: Journey) -> None:
    await way.tell(notice())
    await grow_old(way, 5000)
    assert (await culled(way))["messages"] == 0
    await way.work()
    assert await way.state() is State.IN_PROCESS


@pytest.mark.parametrize(
    "obstacle",
    [
        "UPDATE births SET held = true",
        "INSERT INTO reconcile_cases (kind, birth_id) SELECT 'CERTIFICATE_DIFFERS', id FROM births",
        "INSERT INTO tasks (kind, birth_id) SELECT 'deliver', id FROM births",
        "UPDATE outbound SET accepted_at = NULL",
    ],
)
async def test_a_finished_birth_that_somebody_still_looks_at_waits(way: Journey, obstacle: str) -> None:
    await way.reach(State.DELIVERED)
    await way.database.fetch(obstacle)
    await grow_old(way)
    assert (await culled(way))["births"] == 0


async def test_a_day_too_early_nothing_goes(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await grow_old(way, 89)
    assert (await culled(way))["births"] == 0


async def test_messages_about_no_birth_and_late_ones_go_too_in_batches(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    for _ in range(5):
        await way.tell(notice("A31", record_number="99", segments=("PID",)))
    await way.database.fetch("UPDATE messages SET effect = 'none', assigned_at = now() WHERE birth_id IS NULL")
    await way.database.fetch("DELETE FROM tasks")
    await grow_old(way)
    assert (await culled(way))["messages"] == 6
    assert (await culled(way))["messages"] == 0


async def test_a_message_that_came_after_the_bodies_were_gone_goes_in_its_own_time(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await grow_old(way)
    await culled(way)
    await way.tell(notice("A08", sent="20250401093000+0700"))
    await way.work()
    assert await way.state() is State.DELIVERED
    assert (await culled(way))["messages"] == 0
    await grow_old(way)
    assert (await culled(way))["messages"] == 1


async def test_a_birth_amended_after_its_bodies_were_gone_goes_on(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await grow_old(way)
    await culled(way)
    await way.tell(notice("A08", sent="20250401093000+0700", changes=RENAMED))
    await way.work()
    assert await way.state() is State.AMENDMENT_REVIEW
    async with way.database.transaction() as connection:  # the file is fetched and told anew
        await way.database.fetch("DELETE FROM outbound")
        await connection.execute(
            "INSERT INTO tasks (kind, birth_id) SELECT 'collect', id FROM births ON CONFLICT DO NOTHING"
        )
    await way.step(Kind.COLLECT)
    assert await way.open_kinds() == ["deliver", "deliver"]


async def test_the_batches_pass_by_what_somebody_holds(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await grow_old(way)
    async with way.database.transaction() as connection:
        await connection.execute("SELECT FROM births FOR UPDATE")
        assert (await asyncio.wait_for(culled(way), 60))["births"] == 0
    assert (await culled(way))["births"] == 1


async def test_resolved_quarantine_goes_and_open_stays(way: Journey) -> None:
    await way.database.fetch(
        """INSERT INTO quarantine (peer, reason, raw, answer, resolved_at, resolved_by, resolution)
           VALUES ('x', 'HL7_SYNTAX', 'MSH|..', '', now(), 'operator:x', 'replayed: AA'),
                  ('x', 'HL7_SYNTAX', 'MSH|..', '', NULL, NULL, NULL)"""
    )
    await grow_old(way, 5000)
    assert (await culled(way))["quarantine"] == 1
    assert len(await way.database.fetch("SELECT FROM quarantine WHERE raw <> ''")) == 1


async def test_one_process_does_it_at_a_time_and_a_dead_one_is_replaced(way: Journey) -> None:
    claim = chores.claim
    assert await claim(way.database, "retention", every_s=3600)
    assert not await claim(way.database, "retention", every_s=3600)
    await way.database.fetch("UPDATE chores SET started_at = now() - interval '61 minutes'")
    assert await claim(way.database, "retention", every_s=86_400)  # it began and never ended
    await chores.finish(way.database, "retention", {})
    await way.database.fetch(
        "UPDATE chores SET started_at = now() - interval '61 minutes', finished_at = now() - interval '1 hour'"
    )
    assert not await claim(way.database, "retention", every_s=86_400)


async def test_the_command_shows_first_and_removes_with_yes(way: Journey, database: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL)
    await way.reach(State.DELIVERED)
    await grow_old(way)
    shown = await procot("retention", "--config", config, "--json")
    assert shown.lines == [
        {"outcome": "preview", "bodies_days": 90, "births": 1, "messages": 1, "quarantine": 0, "last_run": None}
    ]
    done = await procot("retention", "--config", config, "--yes", "--json")
    assert done.lines == [{"outcome": "removed", "births": 1, "messages": 1, "quarantine": 0}]
    assert (await retention.due(way.database, days=90))["births"] == 0


async def test_the_command_erases_a_family_after_its_time_and_not_before(
    way: Journey, database: str, tmp_path: Path
) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL)
    birth = await way.reach(State.DELIVERED)
    asked = ("births", "erase", birth.id, "--reason", "asked for by the parents", "--config", config)
    early = await procot(*asked)
    assert (early.status, "its time is not over" in early.err) == (1, True), early.err
    await grow_old(way)
    await culled(way)
    done = await procot(*asked)
    assert (done.status, "is erased" in done.out) == (0, True), done.err
    assert (await way.birth()).record.mother is None
    assert (await procot(*asked)).status == 0  # again: nothing left to erase
    found = await check(way.database, way.context.keyring.public)
    assert found.problems == [], "no false alarm"
    assert (found.bodies.removed["messages"], found.bodies.removed["seals"]) == (1, 1)


def test_less_than_ninety_days_is_refused() -> None:
    with pytest.raises(ValidationError):
        Retention(bodies_days=89)

"""One incident a cause: opened once, counted, closed when what it stopped works; and an outage costs no attempts."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest_asyncio
from structlog.testing import capture_logs

from gateway.contract.lifecycle import State
from gateway.errors import RegistryProtocolError, RegistryUnavailableError
from gateway.pipeline import operate
from gateway.pipeline.breaker import Service
from gateway.pipeline.incident import Incidents
from gateway.pipeline.worker import Workers
from gateway.store import incidents as store
from gateway.store.queue import Kind
from tests.integration.watched import Clock, Watched
from tests.simulators.journey import journey, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def watched(database: str, tmp_path: Path) -> AsyncIterator[Watched]:
    async with journey(database, tmp_path) as way:
        yield Watched(way)


async def outage(watched: Watched, births: int = 6) -> None:
    """Tell of births and let the registry's check be down for whoever asks."""
    for number in range(births):
        await watched.way.tell(notice(record_number=f"0045{number:04}"))
        await watched.way.step(Kind.ASSIGN)
    watched.way.registry.on_check.extend([RegistryUnavailableError("down")] * 1000)
    for _ in range(births):
        await watched.way.hurry()
        await watched.turn()


async def test_a_service_that_is_down_is_left_alone_and_says_so_once(watched: Watched) -> None:
    await outage(watched)
    assert len(watched.way.registry.checked) == 3  # the others were not even claimed
    attempts = await watched.way.database.fetch("SELECT attempts FROM tasks WHERE attempts > 0")
    assert len(attempts) == 3
    assert await watched.write() == ["incident.opened"]
    assert await watched.write() == []
    (row,) = await watched.rows()
    assert (row["cause"], row["subject"], row["closed_at"]) == ("REGISTRY_UNAVAILABLE", "check", None)


async def test_an_outage_however_long_costs_no_birth_its_attempts(watched: Watched) -> None:
    await outage(watched, births=3)
    for _ in range(100):  # probes, one a pause: far more than the bound of attempts
        watched.clock.now += 61
        await watched.way.hurry()
        await watched.turn()
    assert len(watched.way.registry.checked) > 90
    most = await watched.way.database.fetchrow("SELECT max(failures) AS n FROM tasks")
    assert most is not None
    assert most["n"] <= 2
    assert {b["state"] for b in await watched.way.database.fetch("SELECT state FROM births")} == {"READY"}


async def test_when_it_is_back_the_incident_closes_and_the_backlog_is_let_in_step_by_step(watched: Watched) -> None:
    await outage(watched, births=12)
    await watched.write()
    watched.way.registry.on_check.clear()
    watched.clock.now += 3
    await watched.way.hurry()
    await watched.turn()  # one probe
    assert len(watched.way.registry.checked) == 4
    await watched.way.hurry()
    await watched.turn()  # one token
    assert len(watched.way.registry.checked) == 5
    await watched.turn()
    assert len(watched.way.registry.checked) == 5
    assert await watched.write() == ["incident.closed"]
    (row,) = await watched.rows()
    assert row["closed_by"] == "gateway"
    watched.clock.now += 60  # pacing is over
    for _ in range(16):
        await watched.turn()
    assert len(watched.way.registry.checked) >= 12
    assert await store.open_counts(watched.way.database) == {}


async def test_what_other_services_do_goes_on(watched: Watched) -> None:
    way = watched.way
    await way.reach(State.SEALED)
    for _ in range(3):
        watched.services.failed(Service.CHECK)
    await watched.turn()
    assert await way.state() is State.IN_PROCESS


async def test_a_hospital_that_is_away_is_one_incident_and_its_letters_are_not_tried_meanwhile(
    watched: Watched,
) -> None:
    way = watched.way
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    (profile,) = way.context.facilities.values()
    away = profile.model_copy(update={"deliver_to": "127.0.0.1:9"})
    way.context = replace(way.context, facilities={away.code: away})
    watched.workers = Workers(way.context)
    await way.hurry()
    await watched.turn()
    await way.hurry()
    await watched.turn()
    attempts = await way.database.fetch("SELECT attempts, failures FROM tasks WHERE kind = 'deliver' ORDER BY id")
    assert sum(row["attempts"] for row in attempts) <= 2
    await watched.write()
    (row,) = await watched.rows()
    assert (row["cause"], row["subject"]) == ("DELIVERY_UNAVAILABLE", away.code)


async def test_an_incident_that_nobody_could_write_is_written_later_with_its_true_time(watched: Watched) -> None:
    clock = Clock()
    notes = Incidents(clock)
    notes.seen("STORE_UNAVAILABLE", "database")
    clock.now += 40
    notes.seen("STORE_UNAVAILABLE", "database")
    await notes.write(watched.way.database)
    row = (
        await watched.way.database.fetch("SELECT seen, extract(epoch FROM now() - opened_at) AS age FROM incidents")
    )[0]
    assert row["seen"] == 2
    assert 40 <= row["age"] < 60


async def test_two_processes_share_one_incident(watched: Watched) -> None:
    one, other = Incidents(), Incidents()
    for notes in (one, other, one):
        notes.seen("REGISTRY_UNAVAILABLE", "registry")
        await notes.write(watched.way.database)
    (row,) = await watched.rows()
    assert row["seen"] == 3
    other.works("registry")
    await other.write(watched.way.database, quiet_s=0)
    one.seen("REGISTRY_UNAVAILABLE", "registry")
    await one.write(watched.way.database)
    assert [r["closed_at"] is None for r in await watched.rows()] == [False, True]  # another outage is another incident


async def test_a_good_answer_before_the_last_bad_one_closes_nothing(watched: Watched) -> None:
    notes = Incidents()
    notes.works("registry")
    notes.seen("REGISTRY_UNAVAILABLE", "registry")
    await notes.write(watched.way.database, quiet_s=0)
    await notes.write(watched.way.database, quiet_s=0)
    (row,) = await watched.rows()
    assert row["closed_at"] is None


async def test_dead_letters_of_one_cause_are_one_incident_that_ends_with_the_last_of_them(watched: Watched) -> None:
    way = watched.way
    births = []
    for number in ("00450121", "00450122"):
        await way.tell(notice(record_number=number))
        await way.step(Kind.ASSIGN)
        way.registry.on_check.append(RegistryProtocolError("odd"))
        await way.hurry()
        await watched.turn()
        births.append((await way.birth(number)).id)
    assert await watched.write() == ["incident.opened"]
    (row,) = await watched.rows()
    assert (row["cause"], row["subject"], row["seen"]) == ("REGISTRY_PROTOCOL", "dead_letter", 2)
    await operate.retry(way.desk(), births[0])
    assert await watched.write() == []
    await operate.retry(way.desk(), births[1])
    assert await watched.write() == ["incident.closed"]


async def test_a_database_that_is_away_is_told_once_and_its_incident_is_written_when_it_is_back(
    watched: Watched,
) -> None:
    dsn = watched.way.database
    real, dsn._pool = dsn._pool, None
    with capture_logs() as logs:
        for _ in range(3):
            assert await watched.workers._start_due() == 1.0
        with contextlib.suppress(Exception):
            await watched.incidents.write(dsn)
    dsn._pool = real
    assert [line["event"] for line in logs] == ["workers.store_unavailable"]
    await watched.workers._start_due()
    assert await watched.write() == ["incident.opened"]
    watched.incidents.works("database")
    assert await watched.write() == ["incident.closed"]

"""The step poll: it finds what no callback brought, ever more patiently, and gives way to a callback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.errors import LeaseLostError, RegistryProtocolError
from gateway.pipeline.retry import UNKNOWN_ERROR_ATTEMPTS
from gateway.store import births
from gateway.store.queue import Kind
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from tests.simulators.journey import Journey


async def test_a_poll_finds_the_certificate_that_no_callback_brought(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    way.registry.on_ask.append(RegistryStatus.ISSUED)
    await way.hurry()
    await way.step(Kind.POLL)
    assert await way.state() is State.ISSUED
    assert await way.open_kinds() == ["collect"]
    birth = await way.birth()
    assert way.registry.asked == [(str(birth.id), 1, birth.reference)]


async def test_a_poll_comes_back_later_each_time(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    waits = []
    for _ in range(4):
        await way.hurry()
        await way.step(Kind.POLL)
        waits.append((await way.task(Kind.POLL))["due_in"])
    assert waits == sorted(waits)
    assert 25 <= waits[0] <= 61
    await way.database.fetch("UPDATE tasks SET attempts = 30")
    await way.hurry()
    await way.step(Kind.POLL)
    assert 440 <= (await way.task(Kind.POLL))["due_in"] <= 900


async def test_a_poll_of_a_case_that_is_decided_ends(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    async with way.database.transaction() as connection:
        await births.move(connection, await way.birth(), State.REFUSED, births.Why("registry", "test"))
    await way.hurry()
    await way.step(Kind.POLL)
    assert way.registry.asked == []
    assert await way.open_kinds() == []


async def test_a_callback_during_a_poll_wins_and_the_poll_writes_nothing(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.hurry()

    async def callback(_call: str) -> None:
        await way.settle(RegistryStatus.ISSUED, certificate=certificate())

    way.registry.during = callback
    way.registry.on_ask.append(RegistryStatus.IN_PROCESS)
    with pytest.raises(LeaseLostError):
        await way.step(Kind.POLL)
    assert await way.state() is State.ISSUED
    assert await way.open_kinds() == ["collect"]


async def test_a_case_the_registry_forgot_is_laid_before_a_person(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    way.registry.cases.clear()
    await way.hurry()
    with pytest.raises(RegistryProtocolError):
        await way.step(Kind.POLL)


async def test_an_odd_error_after_many_patient_polls_is_tried_again_first(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.database.fetch("UPDATE tasks SET attempts = 40, last_error = 'IN_PROCESS'")
    for _ in range(UNKNOWN_ERROR_ATTEMPTS - 1):
        way.registry.on_ask.append(ValueError("odd"))
        await way.hurry()
        await way.work(Kind.POLL)
        assert await way.state() is State.IN_PROCESS
    way.registry.on_ask.append(ValueError("odd"))
    await way.hurry()
    await way.work(Kind.POLL)
    assert await way.state() is State.DEAD_LETTER

"""Whose turn it is with a listener: one letter at a time, and a silent one steps aside where others are answered."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import DeliveryUnansweredError
from gateway.mllp.client import Target
from gateway.pipeline import turns
from gateway.pipeline.turns import PROBE_S, Turns

TARGET = Target("listener.invalid", 2577)


async def test_one_letter_is_under_way_at_a_time_and_in_order() -> None:
    lined, under_way, seen = Turns(), 0, []

    async def letter(number: int) -> None:
        async def exchange(_seconds: float) -> None:
            nonlocal under_way
            under_way += 1
            seen.append((number, under_way))
            await asyncio.sleep(0)
            under_way -= 1

        await lined.send(TARGET, exchange, answer_s=20)

    await asyncio.gather(*(letter(n) for n in range(5)))
    assert seen == [(n, 1) for n in range(5)]


async def test_a_silent_letter_steps_aside_and_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.0)
    lined, answered = Turns(), asyncio.Event()

    async def silent(_seconds: float) -> str:
        await answered.wait()
        return "late"

    async def quick(_seconds: float) -> str:
        return "at once"

    waiting = asyncio.create_task(lined.send(TARGET, silent, answer_s=20))
    await asyncio.sleep(0)
    assert await lined.send(TARGET, quick, answer_s=20) == "at once"
    assert not waiting.done()
    answered.set()
    assert await waiting == "late"


async def test_where_nothing_is_answered_a_try_is_short_but_for_every_third() -> None:
    lined, given = Turns(), []

    async def unanswered(seconds: float) -> None:
        given.append(seconds)
        raise DeliveryUnansweredError("silence")

    for _ in range(6):
        with pytest.raises(DeliveryUnansweredError):
            await lined.send(TARGET, unanswered, answer_s=20)
    assert given == [20, PROBE_S, PROBE_S, 20, PROBE_S, PROBE_S]


async def test_where_nothing_is_answered_nobody_steps_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.0)
    lined, began = Turns(), []
    lined.of(TARGET).unanswered = 1

    async def hang(_seconds: float) -> None:
        began.append(1)
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(lined.send(TARGET, hang, answer_s=20)) for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(began) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

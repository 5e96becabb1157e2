"""The step deliver: the same bytes until the hospital accepts both letters; a refusal is for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.errors import DeliveryRefusedError, DeliveryUnavailableError, LeaseLostError
from gateway.pipeline import deliver, operate
from gateway.store import queue
from gateway.store.queue import Kind
from tests.simulators.facilities import HOSPITAL

if TYPE_CHECKING:
    from tests.simulators.journey import Journey


async def test_a_birth_is_delivered_when_both_letters_were_accepted(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    await way.step(Kind.DELIVER)
    assert await way.state() is State.ISSUED
    await way.step(Kind.DELIVER)
    assert await way.state() is State.DELIVERED
    assert await way.open_kinds() == []
    assert len(way.hospital.received) == 2


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
async def test_a_refused_letter_is_laid_before_a_person(way: Journey, code: str) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    way.hospital.script = [code]
    await way.work()
    birth = await way.birth()
    assert birth.state is State.DEAD_LETTER
    refused, accepted = (await way.reasons())[-2:]
    assert refused.startswith(f"DELIVERY_REFUSED: the hospital's listener answered {code} to MDM^T02 PC"), "it says why"
    assert accepted == "ADT^A31 accepted"
    row = await way.database.fetchrow("SELECT answer_code, accepted_at FROM outbound WHERE kind = 'MDM^T02'")
    assert row is not None
    assert (row["answer_code"], row["accepted_at"]) == (code, None)
    assert await operate.retry(way.desk(), birth.id) is State.ISSUED
    await way.work()
    assert await way.state() is State.DELIVERED
    first, second = (m for m in way.hospital.received if b"MDM^T02" in m)
    assert first == second


@pytest.mark.parametrize("trouble", ["LATE", "OTHER", "BARE"])
async def test_an_answer_that_is_none_is_retried_with_the_same_bytes(
    way: Journey, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "ANSWER_S", 0.2)
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    way.hospital.script = [trouble]
    with pytest.raises(DeliveryUnavailableError):
        await way.step(Kind.DELIVER)
    await way.hurry()
    way.forget_pauses()
    way.hospital.script = [trouble]
    await way.work(Kind.DELIVER)
    waiting = await way.database.fetch("SELECT last_error FROM tasks WHERE last_error IS NOT NULL")
    assert {r["last_error"] for r in waiting} == {"DELIVERY_UNAVAILABLE"}
    await way.hurry()
    way.forget_pauses()
    await way.work()
    assert await way.state() is State.DELIVERED
    certificates = [m for m in way.hospital.received if b"MDM^T02" in m]
    assert len(certificates) >= 2
    assert len(set(certificates)) == 1


async def test_an_accepted_letter_is_not_sent_again(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    tasks = await queue.claim(way.database, limit=10, lease_s=60)
    await deliver.run(way.context, tasks[0])
    async with way.database.transaction() as connection:
        await queue.add(connection, Kind.DELIVER, birth_id=tasks[0].birth_id, outbound_id=tasks[0].outbound_id)
    await way.step(Kind.DELIVER)
    assert len(way.hospital.received) == 1


async def test_a_facility_without_a_listener_any_more_is_laid_before_a_person(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    profile = way.context.facility(HOSPITAL).model_copy(update={"deliver_to": ""})
    way.context.facilities[HOSPITAL] = profile  # type: ignore[index]
    with pytest.raises(DeliveryRefusedError):
        await way.step(Kind.DELIVER)


async def test_a_delivery_whose_lease_was_lost_writes_nothing(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    task = await way.claim(Kind.DELIVER)
    await way.hurry()
    await way.claim(Kind.DELIVER)
    before = await way.snapshot()
    with pytest.raises(LeaseLostError):
        await deliver.run(way.context, task)
    assert await way.snapshot() == before

"""The step submit: written before the bytes leave, asked about before anything is sent again."""

from __future__ import annotations

import uuid

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import LeaseLostError, RegistryRefusedError, RegistryUnavailableError, RegistryUnknownOutcomeError
from gateway.pipeline import submit
from gateway.store import births
from gateway.store.queue import Kind
from tests.integration.steps import LATER, results, sealed
from tests.simulators.journey import RENAMED, Journey, notice
from tests.simulators.scripted_registry import certificate


async def test_the_attempt_is_written_before_the_bytes_leave(way: Journey) -> None:
    await sealed(way)
    seen: list[tuple[State, list[str | None], int]] = []

    async def look(_call: str) -> None:
        birth = await way.birth()
        seen.append((birth.state, await results(way), birth.submitted))

    way.registry.during = look
    await way.step(Kind.SUBMIT)
    assert seen == [(State.SUBMITTED, [None], 1)]
    assert await way.state() is State.IN_PROCESS
    assert await results(way) == ["answered"]
    assert (await way.birth()).reference.startswith("PRM-")
    assert (await way.task(Kind.POLL))["due_in"] > 20


async def test_a_lost_answer_is_asked_for_and_nothing_is_sent_again(way: Journey) -> None:
    await sealed(way)
    way.registry.loses_answer = RegistryUnknownOutcomeError("the answer was lost")
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.SUBMITTED
    assert await results(way) == ["unknown"]
    await way.hurry()
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.IN_PROCESS
    assert len(way.registry.submissions) == 1
    assert way.registry.asked == [(str((await way.birth()).id), 1, "")]
    assert await results(way) == ["answered", "found"]


async def test_what_the_registry_does_not_know_is_sent_again_with_the_same_bytes(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnknownOutcomeError("connection reset"))
    await way.work(Kind.SUBMIT)
    await way.hurry()
    await way.work(Kind.SUBMIT)
    first, second = way.registry.submissions
    assert (first.payload, first.signature, first.idempotency_key) == (
        second.payload,
        second.signature,
        second.idempotency_key,
    )
    assert len(way.registry.asked) == 1
    assert await way.state() is State.IN_PROCESS


async def test_a_process_killed_after_sending_asks_first(way: Journey) -> None:
    await sealed(way)

    async def die(_call: str) -> None:
        raise KeyboardInterrupt

    way.registry.during = die
    with pytest.raises(KeyboardInterrupt):
        await way.step(Kind.SUBMIT)
    await way.database.fetch("UPDATE attempts SET result = NULL, finished_at = NULL")  # a kill -9 writes no end
    await way.hurry()
    await way.step(Kind.SUBMIT)
    assert len(way.registry.asked) == 1
    assert await way.state() is State.IN_PROCESS


async def test_an_unreachable_registry_postpones_and_is_not_asked_first(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnavailableError("maintenance", after=120))
    await way.work(Kind.SUBMIT)
    waiting = await way.task(Kind.SUBMIT)
    assert 119 < waiting["due_in"] < 122
    assert waiting["last_error"] == "REGISTRY_UNAVAILABLE"
    assert await results(way) == ["unavailable"]
    await way.hurry()
    await way.work(Kind.SUBMIT)
    assert way.registry.asked == []
    assert await way.state() is State.IN_PROCESS


async def test_an_unknown_attempt_stays_unknown_while_the_registry_cannot_be_asked(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnknownOutcomeError("lost"))
    way.registry.on_ask.append(RegistryUnavailableError("down"))
    for _ in range(2):
        await way.work(Kind.SUBMIT)
        await way.hurry()
    assert await results(way) == ["unknown", "unknown"]
    assert len(way.registry.submissions) == 1


async def test_a_refusal_ends_in_refused_with_the_registrys_words(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryRefusedError("NIK ibu tidak sesuai", reason="NIK_IBU_TIDAK_SESUAI"))
    await way.step(Kind.SUBMIT)
    birth = await way.birth()
    assert birth.state is State.REFUSED
    finding = next(f for f in birth.findings if f["code"] == "SUBMISSION_REFUSED")
    assert "NIK_IBU_TIDAK_SESUAI" in finding["pesan"]
    assert (await way.reasons())[-1] == "NIK_IBU_TIDAK_SESUAI"
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.work()
    birth = await way.birth()
    assert (birth.state, birth.submitted) == (State.IN_PROCESS, 2)
    assert "SUBMISSION_REFUSED" not in {f["code"] for f in birth.findings}


@pytest.mark.parametrize("answer", [RegistryStatus.UNKNOWN, Outcome("", 1, RegistryStatus.ISSUED)])
async def test_an_answer_that_decides_nothing_is_laid_before_a_person(
    way: Journey, answer: RegistryStatus | Outcome
) -> None:
    await sealed(way)
    if isinstance(answer, Outcome):
        answer = Outcome(str((await way.birth()).id), 1, RegistryStatus.ISSUED)
    way.registry.on_submit.append(answer)
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.DEAD_LETTER
    assert await way.open_kinds() == []


async def test_an_answer_about_another_birth_is_not_applied(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(Outcome(str(uuid.uuid4()), 1, RegistryStatus.ISSUED, certificate=certificate()))
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.DEAD_LETTER
    assert await way.count("certificates") == 0


async def test_a_callback_before_the_submissions_answer_is_not_undone_by_it(way: Journey) -> None:
    await sealed(way)

    async def callback(_call: str) -> None:
        await way.settle(RegistryStatus.ISSUED, certificate=certificate())

    way.registry.during = callback
    await way.step(Kind.SUBMIT)
    assert await way.state() is State.ISSUED
    assert await way.open_kinds() == ["collect"]
    assert await results(way) == ["answered"]


async def test_a_callback_that_holds_takes_the_submission_from_its_worker(way: Journey) -> None:
    await sealed(way)

    async def callback(_call: str) -> None:
        await way.settle(RegistryStatus.NEEDS_DATA, reason="FOTO")

    way.registry.during = callback
    with pytest.raises(LeaseLostError):
        await way.step(Kind.SUBMIT)
    assert await way.state() is State.HOLD_DATA
    assert await way.open_kinds() == []


async def test_a_submission_whose_lease_was_lost_writes_nothing_and_the_next_one_asks(way: Journey) -> None:
    await sealed(way)

    async def paused_too_long(_call: str) -> None:
        await way.hurry()

    way.registry.during = paused_too_long
    with pytest.raises(LeaseLostError):
        await way.step(Kind.SUBMIT)
    assert await way.state() is State.SUBMITTED
    assert await results(way) == [None]
    await way.step(Kind.SUBMIT)
    assert await way.state() is State.IN_PROCESS
    assert len(way.registry.submissions) == 1


async def test_a_submission_that_is_not_wanted_any_more_is_dropped(way: Journey) -> None:
    await sealed(way)
    await way.settle(RegistryStatus.UNKNOWN)
    task = await way.claim(Kind.SUBMIT)
    async with way.database.transaction() as connection:
        await births.move(connection, await way.birth(), State.CANCELLED, births.Why("test", "test"))
    await submit.run(way.context, task)
    assert way.registry.submissions == []
    assert await way.open_kinds() == []


async def test_nothing_is_submitted_once_a_certificate_is_there(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="NAMA")
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)
    await way.settle(RegistryStatus.ISSUED, revision=1, certificate=certificate())  # late
    assert await way.state() is State.AMENDMENT_REVIEW, "the akta bears the older name: a person looks"
    await way.work()
    assert len(way.registry.submissions) == 1
    letter = next(m for m in way.hospital.received if b"MDM^T02" in m)
    assert b"RIZQI" not in letter, "the hospital is told the name that the akta bears"

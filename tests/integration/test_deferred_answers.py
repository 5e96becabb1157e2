"""Deferred application answers step by step: kept with their message, in order, once, and in nobody's way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.errors import DeliveryRefusedError, DeliveryUnavailableError, LeaseLostError
from gateway.pipeline import respond
from gateway.store import answers, queue
from gateway.store.answers import Letter
from gateway.store.queue import Kind
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import HEAVIER, journey, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from gateway.store.outbound import Outbound
    from tests.simulators.journey import Journey

OTHER = "PUSKESMAS MELATI CONTOH"


@pytest.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(database, tmp_path, application_answer="listener") as lent:
        yield lent


def asking(accept: str, application: str, *changes: tuple[str, str], control_id: str = "", number: str = "") -> bytes:
    """Return the notice of a birth with other values in MSH-15 and MSH-16."""
    wanted = (("|P|2.5|||AL|AL|", f"|P|2.5|||{accept}|{application}|"), *changes)
    return notice(control_id=control_id, record_number=number or "00450121", changes=wanted)


async def take(way: Journey, raw: bytes) -> list[str]:
    """Send a message and return MSA-1 of what comes on its connection."""
    frames = await asyncio.wait_for(way.intake.take(raw, peer="127.0.0.1"), 60)
    return [told(frame)[0] for frame in frames]


def told(frame: bytes) -> tuple[str, str]:
    """Return MSA-1 and MSA-2."""
    line = next(s for s in frame.decode().split("\r") if s.startswith("MSA"))
    return line.split("|")[1], line.split("|")[2]


def acknowledgements(way: Journey) -> list[tuple[str, str]]:
    """Return what the listener heard of messages, in order."""
    return [told(content) for content in way.hospital.received if b"|ACK^" in content[:300]]


async def test_the_commit_is_answered_at_once_and_the_application_later(way: Journey) -> None:
    assert await take(way, asking("AL", "AL", control_id="ONE")) == ["CA"]
    assert acknowledgements(way) == []
    (row,) = await way.database.fetch("SELECT o.*, m.id AS mid FROM outbound o JOIN messages m ON true")
    assert (row["kind"], row["subject"], row["facility"], row["birth_id"]) == ("ACK", str(row["mid"]), HOSPITAL, None)
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", "ONE")]
    (row,) = await way.database.fetch("SELECT answer_code FROM outbound WHERE accepted_at IS NOT NULL")
    assert row["answer_code"] == "AA"
    assert "answer" not in await way.open_kinds()


@pytest.mark.parametrize("code", ["CA", "AA"])
async def test_a_commit_accept_is_enough(way: Journey, code: str) -> None:
    await take(way, asking("AL", "AL"))
    way.hospital.script = [code]
    await way.step(Kind.ANSWER)
    assert "answer" not in await way.open_kinds()


async def test_answers_keep_the_order_of_their_messages(way: Journey) -> None:
    ids = [f"N{n:03}" for n in range(60)]
    raws = [asking("NE", "AL", control_id=name, number=f"7{name}") for name in ids]
    assert await asyncio.gather(*(take(way, raw) for raw in raws)) == [[]] * 60
    assert [k for k in await way.open_kinds() if k == "answer"] == ["answer"]
    while "answer" in await way.open_kinds():
        await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", name) for name in ids]


@pytest.mark.parametrize("trouble", ["LATE", "OTHER", "BARE"])
async def test_the_same_bytes_come_until_the_listener_takes_them(
    way: Journey, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(respond, "ANSWER_S", 0.2)
    await take(way, asking("AL", "AL"))
    for _ in range(2):
        way.hospital.script = [trouble]
        with pytest.raises(DeliveryUnavailableError):
            await way.step(Kind.ANSWER)
        await way.hurry()
    await way.step(Kind.ANSWER)
    assert len(way.hospital.received) == 3
    assert len(set(way.hospital.received)) == 1


async def test_a_listener_that_takes_no_acknowledgements_gets_its_certificates(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(respond, "ANSWER_S", 0.1)
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    way.hospital.script = ["LATE"]
    await way.work(Kind.ANSWER)
    assert (await way.task(Kind.ANSWER))["last_error"] == "DELIVERY_UNAVAILABLE"
    for _ in range(2):
        await way.step(Kind.DELIVER)  # without a pause: they do not hear of it
    assert await way.state() is State.DELIVERED
    assert await way.open_kinds() == ["answer"]


async def test_a_listener_that_goes_away_in_between_is_tried_again_soon(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(respond, "ANSWER_S", 0.2)
    for name in ("ONE", "TWO", "THREE"):
        await take(way, asking("NE", "AL", control_id=name, number=name))
    way.hospital.script = ["CA", "LATE"]
    await way.step(Kind.ANSWER)
    task = await way.task(Kind.ANSWER)
    assert (task["attempts"], task["lease"]) == (0, None)
    assert 0 < task["due_in"] <= 1
    await way.hurry()
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", "ONE"), ("AA", "TWO"), ("AA", "TWO"), ("AA", "THREE")]


async def test_a_turn_ends_so_that_others_get_the_worker(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(respond, "TURN_S", 0.0)
    for name in ("ONE", "TWO"):
        await take(way, asking("NE", "AL", control_id=name, number=name))
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", "ONE")]
    await way.step(Kind.ANSWER)
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", "ONE"), ("AA", "TWO")]


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
async def test_a_refused_answer_holds_up_none_and_comes_again_when_it_is_missed(way: Journey, code: str) -> None:
    first = asking("AL", "AL", control_id="ONE")
    await take(way, first)
    await take(way, asking("AL", "AL", control_id="TWO", number="2"))
    way.hospital.script = [code]
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", "ONE"), ("AA", "TWO")]
    assert "answer" not in await way.open_kinds()
    assert await take(way, first) == ["CA"]
    await way.step(Kind.ANSWER)
    assert acknowledgements(way)[2:] == [("AA", "ONE")]
    again = [content for content in way.hospital.received if told(content)[1] == "ONE"]
    assert again[0] == again[1]


async def test_a_repeat_brings_the_stored_commit_and_no_second_answer(way: Journey) -> None:
    raw = asking("AL", "AL", control_id="ONE")
    (first,) = await way.intake.take(raw, peer="127.0.0.1")
    await way.step(Kind.ANSWER)
    repeated = await way.intake.take(raw, peer="127.0.0.1")
    assert list(repeated) == [first]
    assert "answer" not in await way.open_kinds()
    assert await way.count("outbound") == 1


async def test_a_repeat_hurries_an_answer_that_did_not_arrive(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(respond, "ANSWER_S", 0.1)
    raw = asking("AL", "AL", control_id="ONE")
    await take(way, raw)
    way.hospital.script = ["LATE"]
    await way.work(Kind.ANSWER)
    await way.database.fetch("UPDATE tasks SET due_at = now() + interval '1 hour' WHERE kind = 'answer'")
    reused = asking("AL", "AL", *HEAVIER, control_id="ONE")
    assert await take(way, reused) == ["CE"]
    assert (await way.task(Kind.ANSWER))["due_in"] > 0, "other content is no repeat"
    assert await take(way, raw) == ["CA"]
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", "ONE"), ("AA", "ONE")]
    assert await way.count("outbound") == 1


async def test_copies_in_one_breath_are_answered_once(way: Journey) -> None:
    raw = asking("AL", "AL", control_id="ONE")
    assert await asyncio.gather(*(take(way, raw) for _ in range(5))) == [["CA"]] * 5
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AA", "ONE")]


@pytest.mark.parametrize(
    ("asked", "expected"), [("ER", []), ("NE", []), ("", []), ("SU", [("AA", "ONE")]), ("AL", [("AA", "ONE")])]
)
async def test_only_what_msh_16_asks_for_is_kept(way: Journey, asked: str, expected: list[tuple[str, str]]) -> None:
    assert await take(way, asking("AL", asked, control_id="ONE")) == ["CA"]
    if expected:
        await way.step(Kind.ANSWER)
    assert acknowledgements(way) == expected
    assert "answer" not in await way.open_kinds()


async def test_a_rejection_is_deferred_too_and_again_once_the_first_arrived(way: Journey) -> None:
    raw = asking("NE", "AL", ("|P|2.5|", "|P|9.9|"), control_id="ONE")
    for _ in range(2):
        assert await take(way, raw) == []
    assert (await way.count("quarantine"), await way.count("messages"), await way.count("outbound")) == (2, 0, 1)
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AR", "ONE")]
    assert await take(way, raw) == []
    await way.step(Kind.ANSWER)
    assert acknowledgements(way) == [("AR", "ONE")] * 2
    assert len(set(way.hospital.received)) == 2, "a message of its own"


async def test_an_acknowledgement_from_a_hospital_starts_no_exchange(way: Journey) -> None:
    for accept, application in (("", ""), ("NE", "AL"), ("AL", "AL")):
        raw = (
            f"MSH|^~\\&|SIMRS|{HOSPITAL}|AKTAGW|D|20250311||ACK^A01^ACK|A{accept}|P|2.5|||{accept}|{application}\r"
            "MSA|AA|PC1\r"
        ).encode()
        assert await take(way, raw) == (["CR"] if accept == "AL" else [])
    assert await way.count("outbound") == 0


async def test_without_the_setting_nothing_is_kept_for_a_listener(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        assert await take(way, asking("AL", "AL")) == ["CA"]
        assert await way.count("outbound") == 0
        assert await way.open_kinds() == ["assign"]


async def test_answers_of_a_facility_without_a_listener_wait_for_the_operator(way: Journey) -> None:
    await take(way, asking("AL", "AL"))
    way.context.facilities[HOSPITAL].__dict__["deliver_to"] = ""  # as after a restart with another configuration
    with pytest.raises(DeliveryRefusedError, match="no listener"):
        await way.step(Kind.ANSWER)
    await way.hurry()
    await way.work(Kind.ANSWER)
    assert (await way.task(Kind.ANSWER))["last_error"] == "DELIVERY_REFUSED"
    way.context.facilities[HOSPITAL].__dict__["deliver_to"] = way.hospital.address
    await way.hurry()
    await way.step(Kind.ANSWER)
    assert len(acknowledgements(way)) == 1


# ----------------------------------------------------------------------------------------------------- two at once


def letters(*subjects: str, facility: str = OTHER) -> Sequence[Letter]:
    return [Letter(facility, s, f"PC{s}", b"ACK") for s in subjects]


async def test_an_answer_kept_while_the_last_task_ends_gets_a_task(way: Journey) -> None:
    async with way.database.transaction() as connection:
        await answers.keep(connection, letters("1"))
    await way.database.fetch("UPDATE outbound SET accepted_at = now()")
    task = await way.claim(Kind.ANSWER)
    async with way.database.transaction() as adding:
        await answers.keep(adding, letters("2"))

        async def end() -> bool:
            async with way.database.transaction() as ending:
                await queue.holds(ending, task)
                return await answers.finish(ending, task)

        ended = asyncio.create_task(end())
        async with asyncio.timeout(60):
            while not await way.database.fetch("SELECT FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - it waits
                await asyncio.sleep(0.01)
    assert await ended is False
    assert await way.open_kinds() == ["answer"]


async def test_an_answer_kept_behind_the_end_of_the_task_makes_a_new_one(way: Journey) -> None:
    async with way.database.transaction() as connection:
        await answers.keep(connection, letters("1"))
    await way.database.fetch("UPDATE outbound SET accepted_at = now()")
    task = await way.claim(Kind.ANSWER)

    async def add() -> None:
        async with way.database.transaction() as adding:
            await answers.keep(adding, letters("2"))

    async with way.database.transaction() as ending:
        await queue.holds(ending, task)
        assert await answers.finish(ending, task)
        added = asyncio.create_task(add())
        async with asyncio.timeout(60):
            while not await way.database.fetch("SELECT FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - it waits
                await asyncio.sleep(0.01)
    await added
    assert await way.open_kinds() == ["answer"]
    assert (await way.task(Kind.ANSWER))["id"] != task.id


async def test_a_worker_that_lost_its_lease_sends_no_more(way: Journey) -> None:
    for name in ("ONE", "TWO"):
        await take(way, asking("NE", "AL", control_id=name, number=name))
    task = await way.claim(Kind.ANSWER)
    await way.hurry()
    await way.claim(Kind.ANSWER)
    with pytest.raises(LeaseLostError):
        await respond.run(way.context, task)
    assert acknowledgements(way) == [("AA", "ONE")], "what the listener took is written down all the same"
    assert [o.control_id for o in await _waiting(way)] != []


async def _waiting(way: Journey) -> list[Outbound]:
    async with way.database.connection() as connection:
        return await answers.waiting(connection, HOSPITAL, limit=10)


async def test_what_waits_is_counted_by_facility(way: Journey) -> None:
    assert await answers.waiting_counts(way.database) == {}
    async with way.database.transaction() as connection:
        await answers.keep(connection, letters("1", "2"))
        await answers.keep(connection, letters("3", facility=HOSPITAL))
    assert await answers.waiting_counts(way.database) == {OTHER: 2, HOSPITAL: 1}

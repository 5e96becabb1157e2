"""`procot queue`: lists, bulk acts with a preview, and the forecast, on births that stopped for real."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.errors import RegistryProtocolError, RegistryUnavailableError
from gateway.pipeline.bulk import forecast
from gateway.store import queue
from gateway.store.backlog import Step
from gateway.store.queue import Kind
from tests.simulators.command import Done, configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey, journey, notice

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator
    from pathlib import Path


class Desk:
    """A journey, and the command line beside it."""

    def __init__(self, way: Journey, config: Path) -> None:
        self.way = way
        self._config = config

    async def queue(self, *arguments: object, json: bool = True) -> Done:
        return await procot("queue", *arguments, "--config", self._config, *(["--json"] if json else []))

    async def dead(self, record_number: str = "00450121") -> uuid.UUID:
        """Bring a birth to DEAD_LETTER at its check."""
        await self.way.tell(notice(record_number=record_number))
        await self.way.step(Kind.ASSIGN)
        self.way.registry.on_check.append(RegistryProtocolError("odd"))
        await self.way.work(Kind.CHECK)
        birth = await self.way.birth(record_number)
        assert birth.state is State.DEAD_LETTER
        return birth.id


@pytest_asyncio.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with journey(database, tmp_path) as way:
        yield Desk(way, configuration(tmp_path, database, facility=HOSPITAL))


def outcomes(done: Done) -> list[str]:
    return [line["outcome"] for line in done.lines]


async def test_dead_letters_come_with_all_that_is_needed_to_decide(desk: Desk) -> None:
    birth_id = await desk.dead()
    (entry,) = (await desk.queue("list")).lines
    assert {k: entry[k] for k in ("status", "step", "birth_id", "state", "code")} == {
        "status": "dead", "step": "check", "birth_id": str(birth_id), "state": "DEAD_LETTER",
        "code": "REGISTRY_PROTOCOL",
    }  # fmt: skip
    shown = (await desk.queue("show", birth_id)).lines[0]
    assert "office" in shown["do"]
    assert shown["events"][-1]["detail"]["fault"] == "theirs"
    text = (await desk.queue("show", birth_id, json=False)).out
    assert "call the office" in text
    assert "AHMAD" not in text


async def test_an_act_is_a_preview_until_yes_and_needs_a_choice_and_a_reason(desk: Desk) -> None:
    await desk.dead()
    before = await desk.way.snapshot()
    preview = await desk.queue("retry", "--all", json=False)
    assert preview.status == 0
    assert "nothing was done" in preview.out
    assert outcomes(await desk.queue("retry", "--all")) == ["preview"]
    assert (await desk.queue("retry")).status == 2
    assert (await desk.queue("retry", "--all", "--yes")).status == 2
    assert await desk.way.snapshot() == before


async def test_many_dead_letters_are_retried_at_once_and_twice_is_once(desk: Desk) -> None:
    births = [await desk.dead(number) for number in ("00450121", "00450122", "00450123")]
    yes = ("--yes", "--reason", "the office mended it")
    first = await desk.queue("retry", "--code", "REGISTRY_PROTOCOL", *yes)
    assert (first.status, outcomes(first)) == (0, ["done"] * 3)
    assert {line["birth_id"] for line in first.lines} == {str(b) for b in births}
    assert await desk.way.open_kinds() == ["check"] * 3
    again = await desk.queue("retry", *births, *yes)
    assert outcomes(again) == []  # their checks are due: nothing is dead or waits
    await desk.way.work()
    assert await desk.way.state("00450123") is State.IN_PROCESS


async def test_births_that_wait_for_people_have_no_task_and_are_counted(desk: Desk) -> None:
    nameless = notice(record_number="00450122").replace(b"AHMAD RIZKI", b"BY NY SITI")
    await desk.way.tell(nameless)
    await desk.way.work()
    state = (await desk.way.birth("00450122")).state.value
    assert state.startswith("HOLD_")
    shown = (await desk.queue("list", json=False)).out
    assert f"1 births wait for people: 1 {state}" in shown
    assert "wait for people" not in (await desk.queue("list", "--facility", "ANOTHER", json=False)).out
    assert "wait for people" not in (await desk.queue("list", "--status", "dead", json=False)).out
    assert (await desk.queue("list")).lines == []  # what machines read is what has a task


async def test_a_restricted_birth_is_marked_in_the_queue(desk: Desk) -> None:
    birth_id = await desk.dead()
    await desk.way.database.fetch("UPDATE births SET restricted = 'violence'")
    assert "DEAD_LETTER (restricted)" in (await desk.queue("list", json=False)).out
    assert "violence" in (await desk.queue("show", birth_id, json=False)).out
    (entry,) = (await desk.queue("list")).lines
    assert entry["restricted"] == "violence"


async def test_a_filter_chooses_by_step_code_and_facility(desk: Desk) -> None:
    await desk.dead()
    for wrong in (("--step", "seal"), ("--code", "OTHER"), ("--facility", "ANOTHER")):
        assert (await desk.queue("list", *wrong)).lines == []
    right = ("--step", "check", "--code", "REGISTRY_PROTOCOL", "--facility", HOSPITAL, "--status", "dead")
    assert len((await desk.queue("list", *right)).lines) == 1


async def test_what_waits_is_made_due_and_written_down(desk: Desk) -> None:
    await desk.way.reach(State.SEALED)
    desk.way.registry.on_submit.append(RegistryUnavailableError("down", after=3000))
    await desk.way.work(Kind.SUBMIT)
    (entry,) = (await desk.queue("list")).lines
    assert (entry["status"], entry["code"], entry["failures"]) == ("waiting", "REGISTRY_UNAVAILABLE", 1)
    assert outcomes(await desk.queue("retry", "--all", "--yes", "--reason", "it is back")) == ["done"]
    assert await queue.seconds_to_next(desk.way.database) == 0
    assert await desk.way.count("operator_acts") == 1
    assert outcomes(await desk.queue("retry", "--all", "--yes", "--reason", "again")) == []


async def test_births_are_held_and_released_in_bulk(desk: Desk) -> None:
    numbers = ("00450121", "00450122")
    for number in numbers:
        await desk.way.tell(notice(record_number=number))
        await desk.way.step(Kind.ASSIGN)
    held = await desk.queue("hold", "--step", "check", "--yes", "--reason", "an inspection")
    assert outcomes(held) == ["done", "done"]
    assert await desk.way.open_kinds() == []
    assert [e["status"] for e in (await desk.queue("list")).lines] == ["held", "held"]
    assert outcomes(await desk.queue("hold", *[(await desk.way.birth(n)).id for n in numbers])) == []
    assert outcomes(await desk.queue("release", "--all", "--yes", "--reason", "over")) == ["done", "done"]
    await desk.way.work()
    assert [await desk.way.state(number) for number in numbers] == [State.IN_PROCESS] * 2


async def test_what_the_registry_has_is_refused_with_the_reason_and_the_rest_is_done(desk: Desk) -> None:
    await desk.way.reach(State.IN_PROCESS)
    other = await desk.dead("00450122")
    done = await desk.queue("hold", "--all", "--yes", "--reason", "x")
    assert done.status == 1
    assert sorted(outcomes(done)) == ["done", "refused"]
    assert (await desk.way.birth("00450122")).held
    assert next(line for line in done.lines if line["outcome"] == "done")["birth_id"] == str(other)


async def test_a_dead_letter_that_never_left_is_cancelled_by_discard(desk: Desk) -> None:
    await desk.dead()
    discard = ("discard", "--all", "--yes", "--reason", "a test of the hospital")
    assert outcomes(await desk.queue(*discard)) == ["done"]
    assert await desk.way.state() is State.CANCELLED
    assert outcomes(await desk.queue(*discard)) == []
    assert (await desk.way.events())[-1]["actor"].startswith("operator:")


async def test_what_the_registry_may_have_cannot_be_discarded(desk: Desk) -> None:
    await desk.way.reach(State.SEALED)
    desk.way.registry.on_submit.append(RegistryProtocolError("odd"))
    await desk.way.work(Kind.SUBMIT)
    assert await desk.way.state() is State.DEAD_LETTER
    done = await desk.queue("discard", "--all", "--yes", "--reason", "x")
    assert (done.status, outcomes(done)) == (1, ["refused"])
    assert "the registry may have this birth" in done.lines[0]["text"]
    assert await desk.way.state() is State.DEAD_LETTER


async def test_letters_a_hospital_refuses_are_given_up_and_the_birth_is_done(desk: Desk) -> None:
    await desk.way.reach(State.ISSUED)
    desk.way.hospital.script = ["AE", "AA"]
    await desk.way.work()
    assert await desk.way.state() is State.DEAD_LETTER
    assert outcomes(await desk.queue("discard", "--all", "--yes", "--reason", "told by telephone")) == ["done"]
    assert await desk.way.state() is State.DELIVERED
    assert await desk.way.open_kinds() == []
    letters = len(desk.way.hospital.received)
    await desk.way.work()
    assert len(desk.way.hospital.received) == letters


async def test_a_message_nobody_can_assign_is_discarded_and_the_next_one_goes_on(desk: Desk) -> None:
    await desk.way.tell(notice())
    await desk.way.database.fetch("UPDATE tasks SET last_error = 'KeyError', due_at = now() + interval '1 hour'")
    assert outcomes(await desk.queue("discard", "--all", "--yes", "--reason", "nonsense")) == ["done"]
    assert await desk.way.open_kinds() == []
    assert await desk.way.count("births") == 0
    row = await desk.way.database.fetchrow("SELECT assigned_at, birth_id FROM messages")
    assert row is not None
    assert row["assigned_at"] is not None
    assert row["birth_id"] is None


async def test_an_unknown_name_is_one_sentence(desk: Desk) -> None:
    done = await desk.queue("show", "NOBODY", json=False)
    assert done.status == 1
    assert "no birth's message has this control id" in done.err.replace("\n", " ")


async def test_the_forecast_counts_and_measures_real_steps(desk: Desk) -> None:
    await desk.way.reach(State.IN_PROCESS)
    await desk.way.tell(notice(record_number="00450122"))
    lines = {line["step"]: line for line in (await desk.queue("forecast", "--window", 60)).lines}
    assert (lines["assign"]["due"], lines["assign"]["per_minute"]) == (1, 1.0)
    assert lines["assign"]["all_s"] == 60
    assert lines["poll"]["waiting"] == 1
    assert "births a minute" in (await desk.queue("forecast", json=False)).out


def step(kind: Kind, due: int, urgent: int, per_minute: float) -> Step:
    return Step(kind, due, urgent, 0, 0.0, per_minute)


def test_the_forecast_adds_what_comes_from_earlier_steps_and_takes_the_urgent_first() -> None:
    first, second, third = forecast(
        [step(Kind.ASSIGN, 120, 6, 60), step(Kind.CHECK, 60, 0, 30), step(Kind.SEAL, 10, 10, 0)]
    )
    assert (first.urgent_s, first.all_s) == (6, 120)
    assert (second.urgent_s, second.all_s) == (12, 360)  # 180 births at 30 a minute
    assert (third.urgent_s, third.all_s) == (None, None)  # it does not move: nobody can say


@pytest.mark.parametrize("command", [["list"], ["incidents"], ["forecast"]])
async def test_an_empty_queue_says_so(desk: Desk, command: list[str]) -> None:
    done = await desk.queue(*command, json=False)
    assert done.status == 0
    assert command == ["forecast"] or "nothing found" in done.out


async def test_no_line_holds_a_person(desk: Desk) -> None:
    await desk.dead()
    said = (await desk.queue("list")).out + (await desk.queue("retry", "--all")).out
    assert "RIZKI" not in said
    assert "3510" not in said.replace("DISDUKCAPIL 3510", "")

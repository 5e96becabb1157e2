"""The deferred application answer through a whole system: at once the commit, later the answer, whatever dies between.

The sender's own listener is the judge: what it got, in which order, how often.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.cli.demo_births import DemoBirth
from gateway.mllp.client import acknowledgement
from tests.acceptance.test_kill import PATIENCE_S, counterparts, send_until_answered
from tests.simulators.facilities import CLINIC, HOSPITAL, message_of
from tests.simulators.journey import notice
from tests.simulators.system import FACILITIES, LOOK_S, control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.test_kill import Counterparts
    from tests.simulators.system import System

__all__ = ["counterparts"]  # the fixture

# Where a process dies between the message and its answer at the listener.
POINTS = [
    "before:gateway.store.answers.keep",  # the message is in the transaction, its answer not yet
    "after:gateway.store.answers.keep",  # both are, not committed
    "before:gateway.pipeline.intake.Intake._resolve",  # committed, the CA not sent
    "before:gateway.pipeline.respond._send",
    "before:gateway.store.outbound.accepted",  # the listener has it, we do not know
    "after:gateway.store.outbound.accepted",  # both know it, the task is still there
    "before:gateway.pipeline.respond._finished",
    "after:gateway.store.answers.finish",  # not committed
]


def acknowledgements(running: System) -> list[tuple[str, str]]:
    """Return MSA-1 and MSA-2 of the ACKs the hospital's listener got, in order."""
    return [_told(letter) for letter in running.letters() if _is_answer(letter)]


def _told(letter: bytes) -> tuple[str, str]:
    code, control_id = acknowledgement(letter)
    return code, control_id.decode()


def _is_answer(letter: bytes) -> bool:
    return message_of(letter).value("MSH", 9) == "ACK"


async def answered(running: System, count: int) -> list[tuple[str, str]]:
    """Return the answers as soon as the listener has so many."""

    async def there() -> bool:
        return len(acknowledgements(running)) >= count

    await running.until_true(there, f"{count} answers at the hospital's listener")
    return acknowledgements(running)


async def test_the_commit_comes_at_once_and_the_answer_to_the_senders_listener(database: str, tmp_path: Path) -> None:
    raw = notice(control_id="ODD\\T\\ID 7")
    async with system(database, tmp_path, application_answer="listener", require_form=False) as running:
        commit = await running.send(raw)
        assert acknowledgement(commit)[0] == "CA"
        assert b"\rERR" not in commit
        assert await answered(running, 1) == [("AA", "ODD\\T\\ID 7")]
        await running.until_inbox(3)
        letter = next(letter for letter in running.letters() if _is_answer(letter))
        read = message_of(letter)
        assert [read.value("MSH", n) for n in (3, 5, 6, 11, 12, 15, 16)] == [
            "AKTAGW", "SIMRS", HOSPITAL, "P", "2.5", "AL", "NE",
        ]  # fmt: skip
        assert control_id_of(letter) not in {control_id_of(raw), control_id_of(commit)}
        taken = "SELECT answer_code FROM outbound WHERE kind = 'ACK' AND accepted_at IS NOT NULL"
        assert [row["answer_code"] for row in await running.fetch(taken)] == ["CA"], "the sandbox does as MSH-15 asks"
        assert await running.send(raw) == commit
        await running.send(notice(control_id="NEXT", record_number="2"))
        assert await answered(running, 2) == [("AA", "ODD\\T\\ID 7"), ("AA", "NEXT")], "a repeat brings no second one"


async def test_an_error_is_told_whole_by_the_deferred_answer(database: str, tmp_path: Path) -> None:
    raw = notice(control_id="BAD", changes=(("|20250311041500+0700|M|", "||M|"),))
    async with system(database, tmp_path, application_answer="listener") as running:
        commit = await running.send(raw)
        assert (acknowledgement(commit)[0], commit.count(b"\rERR")) == ("CA", 0)
        assert await answered(running, 1) == [("AE", "BAD")]
        (letter,) = running.letters()
        assert b"\rERR||PID^1^7" in letter
        (row,) = await running.fetch("SELECT answer_code, answer, application_answer FROM messages")
        assert tuple(row) == ("AE", commit, None)


async def test_over_http_the_body_is_the_commit(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, application_answer="listener") as running:
        for asked, control_id in ((b"|AL|AL|", "H1"), (b"|NE|AL|", "H2")):
            raw = notice(control_id=control_id, record_number=control_id).replace(b"|AL|AL|", asked)
            headers = {"Content-Type": "application/hl7-v2"}
            async with running.request(
                "/v1/hl7", token=running.facility[HOSPITAL], method="POST", data=raw, headers=headers
            ) as response:
                assert acknowledgement(await response.read())[0] == "CA"
        assert await answered(running, 2) == [("AA", "H1"), ("AA", "H2")]


async def test_a_dead_listener_holds_up_its_own_answers_only(database: str, tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    dead = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    facilities = [FACILITIES[0] | {"deliver_to": dead}, FACILITIES[1]]
    async with (
        server,
        system(database, tmp_path, application_answer="listener", facilities=facilities, require_form=False) as running,
    ):
        for name in ("D1", "D2"):
            assert acknowledgement(await running.send(notice(control_id=name, record_number=name)))[0] == "CA"
        clinic = notice(control_id="C1", changes=((HOSPITAL, CLINIC),))
        assert acknowledgement(await running.send(clinic))[0] == "CA"
        assert await answered(running, 1) == [("AA", "C1")]
        await running.until("C1", "DELIVERED")
        async with running.request("/metrics") as response:
            text = await response.text()
        assert f'procot_application_answers_waiting{{facility="{HOSPITAL}"}} 2.0' in text
        assert f'procot_application_answers_waiting{{facility="{CLINIC}"}} 0.0' in text
    async with system(database, tmp_path, application_answer="listener", require_form=False) as running:
        await running.fetch("UPDATE tasks SET due_at = now(), lease = NULL")
        assert await answered(running, 3) == [("AA", "C1"), ("AA", "D1"), ("AA", "D2")]


@pytest.mark.parametrize("point", POINTS)
async def test_no_answer_is_lost_or_changed_by_kill_9(point: str, counterparts: Counterparts) -> None:
    text = counterparts.config.read_text().replace("deliver_to", 'application_answer = "listener"\n        deliver_to')
    counterparts.config.write_text(text)
    birth = DemoBirth("KILL9", "a birth", notice(control_id="KILL9"))
    async with counterparts.gateway(point) as (process, address):
        told = await send_until_answered(address, birth)
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(process.wait) == -9, "it must have died at the point"
    async with counterparts.gateway() as (_, address):
        if not told:
            told = await send_until_answered(address, birth)
        after = DemoBirth("AFTER", "the next", notice(control_id="AFTER", record_number="2"))
        assert await send_until_answered(address, after) == "CA"
        found = await _listener_has(counterparts, "AFTER")
    assert told == "CA"
    assert [_told(letter) for letter in found] == [("AA", "KILL9"), ("AA", "AFTER")]


async def _listener_has(counterparts: Counterparts, control_id: str) -> list[bytes]:
    """Return the answers at the listener, in order, once that to `control_id` is there; repeated bytes count once."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            letters = [path.read_bytes() for path in sorted(counterparts.hospital.directory.glob("*.hl7"))]
            found = [letter for letter in letters if _is_answer(letter)]
            if control_id in {_told(letter)[1] for letter in found}:
                return found
            await asyncio.sleep(LOOK_S)

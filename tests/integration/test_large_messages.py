"""Large messages beside others: nobody waits for them, their own order stands, and each is kept once."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from adapters.hospital.baseline import BaselineHospital
from gateway.config import Limits
from gateway.observe.metrics import Metrics
from gateway.pipeline.answer import Answerer
from gateway.pipeline.frames import Frames
from gateway.pipeline.helper import Helper
from gateway.pipeline.intake import Intake
from gateway.pipeline.large import LARGE_BYTES, LargeLane
from gateway.pipeline.verdict import Judge
from gateway.store.database import connect
from gateway.store.inbox import Inbox
from tests.simulators.facilities import CLOCK, HOSPITAL, facility
from tests.simulators.journey import RENAMED, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    import pytest

LETTER = b"OBX|99|ED|PDF^Surat||^application^pdf^Base64^%b||||||F\r" % (b"JVBERi0x" * (LARGE_BYTES // 8))


class Door:
    """An intake of two writers on one database; the large one's is started by the test where `shut`."""

    def __init__(self, dsn: str, *, waiting_bytes: int = 64 * LARGE_BYTES) -> None:
        metrics = Metrics()
        judge = Judge(
            facilities={HOSPITAL: facility()},
            hospitals={"baseline": BaselineHospital()},
            clock=lambda: CLOCK,
            test_messages="accept",
            require_form=False,
            segment_limit=2000,
        )
        answerer = Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: CLOCK)
        self.usual, self.beside = (Inbox(dsn, observer=metrics, limits=Limits(), timeout_s=60) for _ in range(2))
        self.helper = Helper()
        self.lane = LargeLane(self.beside, self.helper, waiting_bytes=waiting_bytes)
        intake = Intake(judge=judge, answerer=answerer, inbox=self.usual, metrics=metrics, large=self.lane)
        self.frames = Frames(intake, answerer, batch_answers="each", messages_per_block=1000)
        self._writers: list[asyncio.Task[None]] = []

    def open(self, inbox: Inbox) -> None:
        self._writers.append(asyncio.create_task(inbox.run()))

    def send(self, raw: bytes, connection: int = 1) -> asyncio.Future[Sequence[bytes]]:
        return self.frames.take(raw, peer="127.0.0.1", connection=connection)

    async def close(self) -> None:
        await self.lane.close()
        await self.helper.close()
        for writer in self._writers:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer


@asynccontextmanager
async def door(dsn: str, *, shut: bool = False, **wishes: int) -> AsyncIterator[Door]:
    found = Door(dsn, **wishes)
    found.open(found.usual)
    if not shut:
        found.open(found.beside)
    try:
        yield found
    finally:
        await found.close()


async def code(answer: Awaitable[Sequence[bytes]]) -> bytes:
    (ack,) = await asyncio.wait_for(answer, 60)
    return ack.split(b"\rMSA|")[1][:2]


async def kept(dsn: str) -> list[str]:
    connection = await connect(dsn, timeout_s=60)
    try:
        return [row["control_id"] for row in await connection.fetch("SELECT control_id FROM messages ORDER BY id")]
    finally:
        await connection.close()


async def test_another_connection_is_answered_while_a_large_message_waits(database: str) -> None:
    async with door(database, shut=True) as here:
        large = here.send(notice(control_id="LARGE") + LETTER)
        assert await code(here.send(notice(control_id="SMALL", record_number="2"), connection=2)) == b"CA"
        assert not large.done()
        here.open(here.beside)
        assert await code(large) == b"CA"
    assert await kept(database) == ["SMALL", "LARGE"]


async def test_the_messages_of_one_connection_stay_in_order(database: str) -> None:
    birth, letter = notice(control_id="BIRTH"), notice("A08", control_id="LETTER") + LETTER
    async with door(database) as here:
        answers = await asyncio.gather(
            here.send(birth), here.send(letter), here.send(notice("A08", control_id="BEHIND", changes=RENAMED))
        )
    assert await kept(database) == ["BIRTH", "LETTER", "BEHIND"]
    assert all(b"BIRTH_UNKNOWN" not in ack for answer in answers for ack in answer), "each knew of the birth before it"


async def test_the_messages_of_one_batch_stay_in_order(database: str) -> None:
    parts = [notice(control_id=f"B{n}", record_number=str(n)) + (LETTER if n in (1, 3) else b"") for n in range(6)]
    async with door(database) as here:
        assert len(await asyncio.wait_for(here.send(b"".join(parts)), 60)) == len(parts)
    assert await kept(database) == [f"B{n}" for n in range(6)]


async def test_a_large_message_sent_again_gets_its_stored_answer(database: str) -> None:
    raw = notice(control_id="TWICE") + LETTER
    async with door(database) as here:
        first, second = [await asyncio.wait_for(here.send(raw, n), 60) for n in (1, 2)]
    assert first == second
    assert await kept(database) == ["TWICE"]


async def test_over_the_cap_a_large_message_is_told_to_come_again(database: str) -> None:
    raw = notice(control_id="FULL").replace(b"|||AL|AL|", b"||||||") + LETTER
    async with door(database, waiting_bytes=LARGE_BYTES) as here:
        (ack,) = await here.send(raw)
        assert b"\rMSA|AR|FULL" in ack
        assert b"|207^" in ack
        assert await code(here.send(notice(), connection=2)) == b"CA"
    assert "FULL" not in await kept(database)


async def test_a_large_message_that_gets_no_helper_is_not_accepted_and_holds_nobody_up(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_process(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    async with door(database) as here:
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "create_subprocess_exec", no_process)
            assert (await code(here.send(notice(control_id="LOST") + LETTER)))[:1] == b"A"
        assert await code(here.send(notice(control_id="NEXT"))) == b"CA"
    assert await kept(database) == ["NEXT"]


async def test_what_waits_when_the_gateway_stops_is_promised_to_nobody(database: str) -> None:
    async with door(database, shut=True) as here:
        waits = [here.send(notice(control_id=f"L{n}") + LETTER, connection=n) for n in range(2)]
        await asyncio.sleep(0)
    done, pending = await asyncio.wait(waits, timeout=1)
    assert all(answer.cancelled() for answer in done)
    assert len(done) + len(pending) == len(waits)
    assert await kept(database) == []

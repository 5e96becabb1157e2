"""Bad input gets a clear answer and harms nobody else: through a real socket, on a real database."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from gateway.app import split_address
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.mllp.framing import frame
from gateway.store.embedded import EmbeddedPostgres
from tests.simulators.facilities import message_of, sample
from tests.simulators.system import System, control_id_of, system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.hl7.message import Message

ORIGINAL_MODE = (b"|AL|AL|", b"|||")


def original(name: str) -> bytes:
    """Return a sample that asks for one answer, as most systems do."""
    return sample(name).replace(*ORIGINAL_MODE)


async def answer(running: System, raw: bytes) -> Message:
    """Send a message and return its answer."""
    return message_of(await running.send(raw))


async def stored_births(running: System) -> int:
    """Return how many births there are, once no message waits to be assigned."""

    async def assigned() -> bool:
        rows = await running.fetch("SELECT 1 FROM tasks WHERE kind = 'assign'")
        return not rows

    await running.until_true(assigned, "an empty assignment queue")
    return len(await running.births())


@pytest.mark.parametrize(
    ("spoil", "code", "condition"),
    [
        (lambda m: m.replace(b"RSU CEMPAKA CONTOH", b"RSU TAK DIKENAL"), "AR", "207"),
        (lambda m: m.replace(b"|ADT^A01^ADT_A01|", b"|DFT^P03^DFT_P03|"), "AR", "200"),
        (lambda m: m.replace(b"|ADT^A01^ADT_A01|", b"|ADT^A99|"), "AR", "201"),
        (lambda m: m.replace(b"|P|2.5", b"|X|2.5"), "AR", "202"),
        (lambda m: m.replace(b"|P|2.5", b"|P|9.9"), "AR", "203"),
        (lambda m: m.replace(b"|RSC20250311000101|", b"||"), "AR", "101"),
    ],
    ids=["unknown facility", "message type", "event", "processing id", "version", "no control id"],
)
async def test_what_cannot_be_processed_is_rejected_with_a_reason(
    spoil: Callable[[bytes], bytes], code: str, condition: str, database: str, tmp_path: Path
) -> None:
    raw = spoil(original("01"))
    async with system(database, tmp_path) as running:
        (got,) = await running.send_raw(frame(raw))
        assert await stored_births(running) == 0
        (kept,) = await running.fetch("SELECT reason, raw FROM quarantine")
    told = message_of(got)
    assert told.value("MSA", 1) == code
    assert told.value("ERR", 3) == condition
    assert told.value("ERR", 8), "the ward reads why"
    assert bytes(kept["raw"]) == raw


@pytest.mark.parametrize("raw", [b"hello", b"PID|1||0001\r", b"MSH", b"\xff\xfe\x00garbage", b"MSH|^~\\&"])
async def test_an_unreadable_header_is_answered_with_err_100(raw: bytes, database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        (got,) = await running.send_raw(frame(raw))
    told = message_of(got)
    assert told.value("MSA", 1) == "AR"
    assert told.value("ERR", 3) in {"100", "101"}


async def test_a_message_that_is_not_about_a_birth_is_accepted_and_opens_nothing(database: str, tmp_path: Path) -> None:
    adult = (
        b"MSH|^~\\&|SIMRS|RSU CEMPAKA CONTOH|AKTAGW|DISDUKCAPIL 3510|20250311093000||ADT^A01^ADT_A01|ADULT1|P|2.5\r"
        b"EVN|A01|20250311093000\rPID|1||99^^^RSCEMPAKA^MR||PASIEN^DEWASA||19800101|F\rPV1|1|I|UMUM\r"
    )
    async with system(database, tmp_path) as running:
        assert (await answer(running, adult)).value("MSA", 1) == "AA"
        assert await stored_births(running) == 0


@pytest.mark.parametrize(("name", "codes"), [("09", ["NIK_LENGTH", "NIK_SEX_MISMATCH"]), ("10", ["MOTHER_MISSING"])])
async def test_what_the_hospital_must_mend_is_ae_with_one_err_a_problem_and_the_case_is_held(
    name: str, codes: list[str], database: str, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as running:
        told = await answer(running, original(name))
        birth = await running.until(control_id_of(sample(name)), "HOLD_DATA")
    assert told.value("MSA", 1) == "AE"
    assert [s.components(5)[0] for s in told.all("ERR") if s.field(4) == "E"] == codes
    assert birth["certificate"] is None


async def test_the_same_bytes_again_get_the_stored_answer_byte_for_byte(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        first = await running.send(original("01"))
        await running.until(control_id_of(sample("01")), "DELIVERED")
        assert await running.send(original("01")) == first
        assert len(await running.births()) == 1


async def test_a_control_id_with_other_content_is_refused_as_a_duplicate_key(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(original("01"))
        told = await answer(running, original("01").replace(b"AHMAD RIZKI", b"AHMAD FULAN"))
    assert (told.value("MSA", 1), told.value("ERR", 3)) == ("AE", "205")


async def test_an_oversized_frame_ends_its_connection_and_no_other(database: str, tmp_path: Path) -> None:
    limits = {"limits": {"message_bytes": 100_000}}
    async with system(database, tmp_path, config=limits) as running:
        neighbour = await MllpClient(*split_address(running.mllp)).connect()
        reader, writer = await asyncio.open_connection(*split_address(running.mllp))
        writer.write(b"\x0b" + b"X" * 200_000)
        assert await _hung_up(reader)
        writer.close()
        told = await neighbour.exchange(original("01"), control_id=control_id_of(sample("01")), timeout=60)
        await neighbour.aclose()
        async with running.request("/metrics") as response:
            metrics = await response.text()
    assert acknowledgement(told)[0] == "AA"
    assert 'procot_mllp_refused_total{reason="oversized"} 1.0' in metrics


async def test_a_frame_that_never_ends_is_closed_after_its_time(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, config={"limits": {"read_s": 0.3}}) as running:
        reader, writer = await asyncio.open_connection(*split_address(running.mllp))
        writer.write(b"\x0bMSH|^~\\&|half of a mess")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        assert (await answer(running, original("01"))).value("MSA", 1) == "AA"


async def test_while_the_database_is_away_senders_keep_their_messages(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    dsn = await server.start()
    try:
        async with system(dsn, tmp_path) as running:
            await _stop_postgres(server)
            for mode, code in ((original("01"), "AR"), (sample("01"), "CR")):
                told = await answer(running, mode)
                assert (told.value("MSA", 1), told.value("ERR", 3)) == (code, "207")
            async with running.request("/readyz") as response:
                assert response.status == 503
            await server.restart()
            await running.until_true(lambda: _accepts(running), "an accepting gateway")
            await running.until(control_id_of(sample("01")), "DELIVERED")
    finally:
        await server.stop()


async def _hung_up(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection; a reset is one too, since unread bytes lie in the server's buffer."""
    try:
        return await asyncio.wait_for(reader.read(), 60) == b""
    except ConnectionResetError:
        return True


async def _stop_postgres(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait_dead()


async def _accepts(running: System) -> bool:
    return (await answer(running, original("01"))).value("MSA", 1) == "AA"

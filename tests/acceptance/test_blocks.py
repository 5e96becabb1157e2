"""Several messages in one block and batches, through a real socket and a real database (domain A.7, F 109)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.mllp.client import acknowledgement
from gateway.mllp.framing import frame
from tests.simulators.facilities import sample
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.system import System

BHS = b"BHS|^~\\&|SIMRS|RSU CEMPAKA CONTOH|AKTAGW|DISDUKCAPIL 3510|20250311||||B88\r"
ONE, TWO = (sample(name).replace(b"|AL|AL|", b"|||").rstrip(b"\r") + b"\r" for name in ("01", "02"))
IDS = [control_id_of(ONE), control_id_of(TWO)]
NEWCOMER = ONE.replace(IDS[0].encode(), b"NEXT0001").replace(b"RSC20250311000101", b"NEXT0001")


async def stored(running: System) -> list[str]:
    return [row["control_id"] for row in await running.fetch("SELECT control_id FROM messages ORDER BY id")]


async def test_each_of_several_messages_in_a_block_is_kept_and_answered_by_itself(
    database: str, tmp_path: Path
) -> None:
    spoilt = NEWCOMER.replace(b"RSU CEMPAKA CONTOH", b"RSU TAK DIKENAL", 1)
    async with system(database, tmp_path) as running:
        got = await running.send_raw(frame(ONE + spoilt + TWO), answers=3)
        assert await stored(running) == IDS
        await running.until(IDS[0], "DELIVERED")
    told = [acknowledgement(answer) for answer in got]
    assert [code for code, _ in told] == ["AA", "AR", "AA"]
    assert [control_id.decode() for _, control_id in told] == [IDS[0], "NEXT0001", IDS[1]]


async def test_what_follows_a_block_of_several_on_its_connection_is_answered_after_it(
    database: str, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as running:
        got = await running.send_raw(frame(ONE + TWO) + frame(ONE), answers=3)
    assert [acknowledgement(answer)[1].decode() for answer in got] == [*IDS, IDS[0]]
    assert got[0] == got[2], "the repeat got the stored answer"


async def test_a_batch_is_answered_by_a_batch(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        block = frame(BHS + ONE + TWO + b"BTS|2\r")
        (first,) = await running.send_raw(block)
        (again,) = await running.send_raw(block)
        assert await stored(running) == IDS
    lines = first.decode().split("\r")
    header = lines[0].split("|")
    assert (header[0], header[2:6], header[11]) == (
        "BHS", ["AKTAGW", "DISDUKCAPIL 3510", "SIMRS", "RSU CEMPAKA CONTOH"], "B88",
    )  # fmt: skip
    assert [line.split("|")[1:3] for line in lines if line.startswith("MSA|")] == [["AA", IDS[0]], ["AA", IDS[1]]]
    assert lines[-2:] == ["BTS|2", ""]
    assert again.decode().split("\r")[1:] == lines[1:], "a batch sent again gets the stored answers"


async def test_a_batch_is_answered_message_by_message_where_the_setting_says_so(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, config={"mllp": {"batch_answers": "each"}}) as running:
        got = await running.send_raw(frame(BHS + ONE + TWO + b"BTS|2\r"), answers=2)
    assert [acknowledgement(answer)[0] for answer in got] == ["AA", "AA"]


async def test_a_stray_line_in_a_batch_is_answered_too(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        (answer,) = await running.send_raw(frame(BHS + b"PID|1||0001\r" + ONE + b"BTS|1\r"))
    codes = [line.split("|")[1] for line in answer.decode().split("\r") if line.startswith("MSA|")]
    assert codes == ["AR", "AA"]


async def test_a_block_of_too_many_messages_is_refused_whole(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, config={"limits": {"messages_per_block": 2}}) as running:
        got = await running.send_raw(frame(ONE + TWO + NEWCOMER) + frame(TWO), answers=2)
        assert await stored(running) == [IDS[1]]
        (kept,) = await running.fetch("SELECT raw FROM quarantine")
    assert [acknowledgement(answer)[0] for answer in got] == ["AR", "AA"]
    assert bytes(kept["raw"]) == ONE + TWO + NEWCOMER

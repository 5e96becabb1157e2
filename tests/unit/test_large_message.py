"""Memory of a large message through framing, charset, lexer and verdict: at most five times its size, raw included."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from adapters.hospital.baseline import BaselineHospital
from gateway.mllp.framing import Deframer, frame
from gateway.pipeline.verdict import Judge
from tests.simulators.facilities import CLOCK, HOSPITAL, facility
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 5 * 1024 * 1024
TIMES = 5.0
LETTER = b"OBX|9|ED|PDF^Surat||^application^pdf^Base64^%b||||||F\r"
DOCUMENT = LETTER % (b"JVBERi0x" * (SIZE // 8 - 512))


def judge() -> Judge:
    return Judge(
        facilities={HOSPITAL: facility()},
        hospitals={"baseline": BaselineHospital()},
        clock=lambda: CLOCK,
        test_messages="accept",
        require_form=False,
        segment_limit=2000,
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m,
        lambda m: m.replace(b"\r", b"\n"),
        lambda m: m.replace(b"\r", b"\r\n"),
        lambda m: m.replace(b"OBX|9", b"obx|9"),
        lambda m: m.replace(b"JVBERi0x||", b"JVBERi0x\\F\\||"),
        lambda m: m.replace(b"JVBERi0x||", b"JVBERi0x\0||"),
        lambda m: m.replace(b"OBX|9|", "NTE|1||Ibu “sehat”\rOBX|9|".encode()),
        lambda m: m.replace(b"OBX|9|", "NTE|1||Ibu \N{BABY}\rOBX|9|".encode()),
        lambda m: m.replace(b"JVBERi0x||", "JVBERi0x\N{BABY}||".encode()),
        lambda m: m.replace(b"PDF^Surat", "PDF^Surat\N{BABY}".encode()),
    ],
    ids=[
        "plain",
        "LF",
        "CRLF",
        "lower case",
        "escaped",
        "NUL",
        "typographic quotes elsewhere",
        "emoji elsewhere",
        "emoji at its end",
        "emoji in another field",
    ],
)
def test_the_verdict_takes_at_most_five_times_the_size_of_a_message(spoil: Callable[[bytes], bytes]) -> None:
    raw = spoil(notice() + DOCUMENT)
    judging = judge()
    judging.evaluate(notice(), peer="127.0.0.1")  # tables and caches are not this message's
    tracemalloc.start()
    try:
        verdict = judging.evaluate(raw, peer="127.0.0.1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert verdict.draft is not None, "it was read to its end"
    assert peak + len(raw) <= TIMES * len(raw) + 256 * 1024


def test_an_observation_of_800_kilobytes_is_read_and_changes_nothing() -> None:
    letter = LETTER % (b"QUJD" * 200_000)
    with_letter = judge().evaluate(notice() + letter, peer="127.0.0.1")
    assert with_letter.findings == judge().evaluate(notice(), peer="127.0.0.1").findings
    assert with_letter.draft is not None


def test_a_block_in_many_packets_is_put_together_with_one_copy() -> None:
    whole = frame(b"M" * SIZE)
    packets = [whole[at : at + 256 * 1024] for at in range(0, len(whole), 256 * 1024)]
    deframer = Deframer(max_bytes=2 * SIZE)
    tracemalloc.start()
    try:
        cut = [block for packet in packets for block in deframer.feed(packet)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [len(block) for block in cut] == [SIZE]
    assert peak < 2.2 * SIZE, "what is gathered, with its room to grow, and the block"
    assert deframer.waiting == 0

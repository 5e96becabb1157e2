"""The harness's own small machines: the schedule, the eye on the registry's wire, the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.faults import KINDS, schedule
from tests.chaos.mutant import MUTANTS
from tests.chaos.mutants import FOCUS
from tests.chaos.proxy import Proxy
from tests.chaos.record import RECORDED, faults_table, runs_table
from tests.chaos.victims import Book, Program
from tests.chaos.wire import RegistryWire

if TYPE_CHECKING:
    from pathlib import Path

KEY = "97bf6398-5f1f-5ff9-9447-112d5dd1094d:1"


def test_the_same_seed_gives_the_same_faults() -> None:
    first, second = (schedule(random.Random(7), 60) for _ in range(2))
    assert first == second
    assert first != schedule(random.Random(8), 60)


def test_a_long_schedule_has_every_kind_of_fault() -> None:
    assert {fault.what for fault in schedule(random.Random(1), 3600)} == set(KINDS)


@pytest.mark.parametrize("only", ["cut", "cut,out of order"])
def test_some_kinds_of_fault_may_be_asked_for(only: str) -> None:
    assert {fault.what for fault in schedule(random.Random(1), 60, only=only)} == set(only.split(","))


def test_the_mutants_are_tried_with_faults_that_there_are() -> None:
    assert {kind for kind, _ in FOCUS.values()} <= set(KINDS)
    assert set(FOCUS) < set(MUTANTS)


def test_recorded_runs_are_summed_and_broke_nothing() -> None:
    runs = [json.loads(line) for file in RECORDED.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    kills = sum(sum(run["kills"].values()) for run in runs)
    table = runs_table(runs)
    assert f"**{kills:,} kills" in table
    assert table.rstrip(" |").endswith("**0**")


def test_medians_of_runs_count_as_often_as_they_had_the_fault() -> None:
    def run(seed: int, n: int, median: float) -> dict[str, Any]:
        spread = {"n": n, "median": median, "highest": median * 2}
        return {"seed": seed, "silence_s": {"cut": {"AA": spread, "certificate": spread}}, "start_s": {}}

    assert "| 8 | one resend | a question before a resend | – | 1.0 / 8.0 | 1.0 / 8.0 |" in faults_table(
        [run(1, 5, 1.0), run(2, 3, 4.0)]
    )


@pytest.mark.parametrize(
    ("answer", "questions", "unasked"),
    [
        (b"", 0, [KEY]),  # silence
        (b"", 1, []),
        (b"HTTP/1.1 202 Accepted\r\n\r\n", 0, [KEY]),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", 0, [KEY]),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 0, []),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", 0, []),
    ],
)
def test_a_submission_sent_again_is_seen_unless_it_was_asked_about(
    answer: bytes, questions: int, unasked: list[str]
) -> None:
    wire = RegistryWire()
    wire(1, _submission(), from_client=True)
    wire(1, answer, from_client=False)
    for _ in range(questions):
        case, _, revision = KEY.partition(":")
        question = f"GET /api/v1/kelahiran?id_kasus={case}&revisi={revision} HTTP/1.1\r\n\r\n"
        wire(2, question.encode(), from_client=True)
    wire(3, _submission(), from_client=True)
    assert wire.unasked == unasked


async def test_whoever_is_killed_is_ready_again_only_as_another_process(tmp_path: Path) -> None:
    listens = (
        "import json, os, sys, time; path = sys.argv[-1]; content = json.dumps({'pid': os.getpid()});"
        " open(path + '.new', 'w').write(content); os.rename(path + '.new', path); time.sleep(600)"
    )
    program = Program("victim", [sys.executable, "-c", listens], tmp_path, Book())
    program.start()
    try:
        await program.until_ready()
        first = program.ready["pid"]
        assert program.kill(0.0)
        assert program.ready == {}
        await program.until_ready()
        assert program.ready["pid"] == program.pid != first
    finally:
        await program.end()


def _submission() -> bytes:
    return f"POST /api/v1/kelahiran HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {KEY}\r\n\r\n{{}}".encode()


async def test_the_proxy_passes_on_and_a_cut_is_seen_by_both_sides() -> None:
    async with _echo() as (proxy, gone):
        reader, writer = await asyncio.open_connection(*_address(proxy))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        proxy.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        await gone.wait()
        await _closed(writer)


async def test_a_half_open_connection_swallows_and_a_new_one_works() -> None:
    async with _echo() as (proxy, _):
        reader, writer = await asyncio.open_connection(*_address(proxy))
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        proxy.half_open()
        writer.write(b"2")
        silent = asyncio.create_task(reader.read(1))
        other_reader, other_writer = await asyncio.open_connection(*_address(proxy))
        other_writer.write(b"3")
        assert await other_reader.readexactly(1) == b"3"
        assert not silent.done()
        silent.cancel()
        await _closed(writer)
        await _closed(other_writer)


async def test_nobody_behind_the_proxy_is_a_reset() -> None:
    proxy = Proxy("nobody", lambda: None)
    await proxy.start()
    reader, writer = await asyncio.open_connection(*_address(proxy))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    await _closed(writer)
    await proxy.stop()


class _echo:  # noqa: N801 - used as a function
    """A proxy before a server that echoes; lends both the proxy and an event set once the server lost a client."""

    async def __aenter__(self) -> tuple[Proxy, asyncio.Event]:
        self._gone = asyncio.Event()
        self._serving: list[asyncio.Task[None]] = []
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._proxy = Proxy("echo", lambda: f"127.0.0.1:{port}")
        await self._proxy.start()
        return self._proxy, self._gone

    async def __aexit__(self, *_: object) -> None:
        await self._proxy.stop()
        self._server.close()
        await asyncio.gather(*self._serving)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        self._gone.set()
        writer.close()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def _address(proxy: Proxy) -> tuple[str, int]:
    host, _, port = proxy.address.rpartition(":")
    return host, int(port)

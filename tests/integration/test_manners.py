"""Manners under load: idle, slow and flooding connections do not disturb the others, and every cap holds.

Small numbers over real sockets; `python bench/manners.py` measures the large ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import pytest

from gateway import files
from gateway.app import split_address
from gateway.config import Limits
from gateway.files import allow_files
from gateway.mllp import server as module
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.mllp.framing import frame
from gateway.mllp.server import MllpServer
from gateway.observe.metrics import Metrics
from tests.simulators.facilities import sample
from tests.simulators.system import system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from gateway.mllp.server import Peer, _Connection

IDLE, SLOW, OTHERS, EACH = 300, 30, 8, 25
# The reasons for which the server itself ends a connection.
ENDS = ("frame_timeout", "idle", "noise", "oversized", "refused", "write_timeout", "handler_failed", "reset")
COMMIT_S = 0.002  # of the group commit the handler below stands for
MESSAGE = b"MSH|^~\\&|SIMRS|RS|AKTAGW|D|2025||ADT^A01|%d|P|2.5\r"
ANSWER = b"MSH|^~\\&|A|B|C|D|2025||ACK|9|P|2.5\rMSA|AA|%b\r"


class GroupCommit:
    """A handler that answers all that waits at once, every few milliseconds, as the inbox does."""

    def __init__(self, padding: int) -> None:
        self.padding = b"NTE|1||" + b"x" * padding + b"\r" if padding else b""
        self.waiting: deque[tuple[bytes, asyncio.Future[Sequence[bytes]]]] = deque()

    def __call__(self, content: bytes, _: Peer) -> asyncio.Future[Sequence[bytes]]:
        future: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()
        self.waiting.append((content, future))
        return future

    async def run(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            for _ in range(min(256, len(self.waiting))):
                content, future = self.waiting.popleft()
                future.set_result((ANSWER % content.split(b"|")[9] + self.padding,))


class Crowd:
    """A server, and connections of every kind of sender to it."""

    def __init__(self, server: MllpServer, address: tuple[str, int], metrics: Metrics) -> None:
        self.server = server
        self.address = address
        self.metrics = metrics
        self.tasks: list[asyncio.Task[Any]] = []
        self.silent: list[object] = []  # a connection that nobody holds is closed by the garbage collector

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    async def idle(self, stack: contextlib.AsyncExitStack) -> None:
        connection = await self.connect()
        self.silent.append(connection)
        stack.callback(connection[1].transport.abort)

    async def slow(self) -> None:
        """Send a message a byte at a time, for ever."""
        _, writer = await self.connect()
        try:
            writer.write(b"\x0b")
            while not writer.transport.is_closing():
                writer.write(b"M")
                await asyncio.sleep(0.01)
        finally:
            writer.transport.abort()

    async def flood(self, *, reads: bool) -> None:
        """Send as fast as the server takes it, and read the answers or not."""
        reader, writer = await self.connect()
        reading = asyncio.ensure_future(self._read(reader)) if reads else None
        try:
            for n in range(10**9):
                writer.write(frame(MESSAGE % n + b"NTE|1||" + b"x" * 2000) * 50)
                await writer.drain()
        finally:
            writer.transport.abort()
            if reading:
                reading.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass

    async def polite(self, messages: int) -> list[float]:
        """Send messages one after the other; return how long each answer took."""
        client = await MllpClient(*self.address).connect()
        took = []
        for n in range(messages):
            started = time.perf_counter()
            await client.exchange(MESSAGE % n, control_id=str(n), timeout=60)
            took.append(time.perf_counter() - started)
        await client.aclose()
        return took

    def buffered(self) -> list[int]:
        """Return the bytes held for each connection: begun blocks, whole ones that wait, and those in flight."""
        return [held(connection) for connection in self.server._connections]


def held(connection: _Connection) -> int:
    return connection._deframer.waiting + sum(map(len, connection._waiting)) + connection._flight_bytes


@contextlib.asynccontextmanager
async def crowd(*, padding: int = 0, **limits: float) -> AsyncIterator[Crowd]:
    desk = GroupCommit(padding)
    metrics = Metrics()
    server = MllpServer(desk, limits=Limits.model_validate({"messages_per_s_per_peer": 0} | limits), observer=metrics)
    found = Crowd(server, await server.start("127.0.0.1", 0), metrics)
    committing = asyncio.ensure_future(desk.run())
    try:
        yield found
    finally:
        for task in found.tasks:
            task.cancel()
        await asyncio.gather(*found.tasks, return_exceptions=True)
        await server.drain(1)
        committing.cancel()


async def test_others_are_answered_beside_idle_slow_and_flooding_connections() -> None:
    cap = 100_000
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(crowd(message_bytes=cap))
        for _ in range(IDLE):
            await found.idle(stack)
        found.tasks += [asyncio.ensure_future(found.slow()) for _ in range(SLOW)]
        found.tasks += [asyncio.ensure_future(found.flood(reads=reads)) for reads in (True, False)]
        await asyncio.sleep(0.1)
        took = await asyncio.gather(*(found.polite(EACH) for _ in range(OTHERS)))
        assert [len(each) for each in took] == [EACH] * OTHERS
        assert len(found.server._connections) >= IDLE + SLOW + 2
        lost = {reason: found.metrics.closed.labels(reason)._value.get() for reason in ENDS}
        assert not any(lost.values()), f"nobody was cut off for another's sake: {lost}"
        assert all(not task.done() for task in found.tasks)


async def test_a_flood_is_paused_and_what_is_held_for_it_is_bounded() -> None:
    cap, packet = 20_000, 256 * 1024  # a transport reads at most so much at a time
    async with crowd(message_bytes=cap, in_flight_per_connection=8) as found:
        found.tasks += [asyncio.ensure_future(found.flood(reads=reads)) for reads in (True, True, False)]
        paused, most = 0, 0
        async with asyncio.timeout(60):
            while paused < 50:  # reading stops while its messages are in flight
                await asyncio.sleep(COMMIT_S / 2)
                most = max([most, *found.buffered()])
                paused += any(connection._paused for connection in found.server._connections)
        assert 0 < most <= 2 * cap + packet


async def test_a_flood_has_its_full_measure_in_flight_alone_and_a_share_beside_others() -> None:
    async with crowd(in_flight_per_connection=16) as found:
        found.tasks.append(asyncio.ensure_future(found.flood(reads=True)))
        assert await most_in_flight(found, 16) == 16, "alone"
        polite = asyncio.ensure_future(found.polite(10**9))
        found.tasks.append(polite)
        await found.polite(1)
        # What it had in flight when the others came is answered first.
        async with asyncio.timeout(60):
            while flights(found) > module._SHARE:  # noqa: ASYNC110 - the server's own state
                await asyncio.sleep(0)
        assert await most_in_flight(found, module._SHARE) == module._SHARE, "beside others"
        assert not polite.done()


def flights(found: Crowd) -> int:
    """Return the most frames that one connection has in flight."""
    return max((len(connection._flight) for connection in found.server._connections), default=0)


async def most_in_flight(found: Crowd, enough: int) -> int:
    """Return the most frames a connection had in flight, seen a hundred times and until there were `enough`."""
    most = seen = 0
    async with asyncio.timeout(60):
        while seen < 100 or most < enough:
            await asyncio.sleep(COMMIT_S / 2)
            most, seen = max(most, flights(found)), seen + 1
    return most


async def test_floods_take_turns_and_a_sender_with_nothing_in_flight_goes_first() -> None:
    handed: list[bytes] = []

    def handler(content: bytes, _: Peer) -> asyncio.Future[Sequence[bytes]]:
        handed.append(content)
        return asyncio.get_running_loop().create_future()

    server = MllpServer(handler, limits=Limits(), observer=Metrics())
    address = await server.start("127.0.0.1", 0)
    first, second, polite = [(await asyncio.open_connection(*address))[1] for _ in range(3)]
    while len(server._connections) < 3:  # noqa: ASYNC110 - the server's own state
        await asyncio.sleep(0)
    by_number = sorted(server._connections, key=lambda connection: connection._peer.connection_id)
    # One turn of the loop: two floods have come in whole, then a birth of a third.
    by_number[0].data_received(b"".join(frame(b"A%d" % n) for n in range(4)))
    by_number[1].data_received(b"".join(frame(b"B%d" % n) for n in range(4)))
    by_number[2].data_received(frame(b"C"))
    async with asyncio.timeout(60):
        while len(handed) < 9:  # noqa: ASYNC110 - the server's own state
            await asyncio.sleep(0)
    assert handed == [b"A0", b"B0", b"C", b"A1", b"B1", b"A2", b"B2", b"A3", b"B3"]
    for writer in (first, second, polite):
        writer.transport.abort()
    await server.drain(0.1)


async def test_memory_is_given_back_when_a_flood_ends() -> None:
    async with crowd(message_bytes=20_000) as found:
        flood = asyncio.ensure_future(found.flood(reads=True))
        async with asyncio.timeout(60):
            while not any(found.buffered()):  # noqa: ASYNC110 - the server's own state
                await asyncio.sleep(0.001)
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)
        async with asyncio.timeout(60):
            while found.server._connections:  # noqa: ASYNC110 - the server's own state
                await asyncio.sleep(0.01)
        assert not any(found.buffered())
        assert len(await found.polite(3)) == 3


async def test_a_flood_that_takes_no_answers_is_cut_and_others_go_on() -> None:
    # Long answers, since the kernel's own buffers hold megabytes before the gateway notices that nobody reads.
    async with crowd(padding=50_000, write_s=0.2) as found:
        found.tasks.append(asyncio.ensure_future(found.flood(reads=False)))
        async with asyncio.timeout(60):
            while not found.metrics.closed.labels("write_timeout")._value.get():
                await found.polite(1)
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"connections": 20}, "connections"), ({"connections_per_peer": 20}, "connections_per_peer")],
    ids=["connections", "connections_per_peer"],
)
async def test_connections_past_a_cap_are_turned_away_and_those_within_are_served(
    limits: dict[str, float], reason: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(crowd(padding=0, **limits))
        for _ in range(19):
            await found.idle(stack)
        polite = asyncio.ensure_future(found.polite(EACH))
        async with asyncio.timeout(60):
            while len(found.server._connections) < 20:  # noqa: ASYNC110 - the server's own state
                await asyncio.sleep(0.001)
        refused = await asyncio.gather(*(_hung_up(found) for _ in range(50)))
        assert all(refused) or polite.done(), reason
        assert len(await polite) == EACH
        assert found.metrics.closed.labels("refused")._value.get() >= 1


async def _hung_up(found: Crowd) -> bool:
    reader, writer = await found.connect()
    try:
        return await asyncio.wait_for(reader.read(1), 0.5) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_slow_and_idle_ones_are_closed_in_their_time_and_others_are_not() -> None:
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(crowd(read_s=0.3, idle_s=0.3))
        for _ in range(20):
            await found.idle(stack)
        found.tasks += [asyncio.ensure_future(found.slow()) for _ in range(10)]
        async with asyncio.timeout(60):
            while closed(found) != {"idle": 20, "frame_timeout": 10}:
                await found.polite(5)


def closed(found: Crowd) -> dict[str, float]:
    return {reason: found.metrics.closed.labels(reason)._value.get() for reason in ("idle", "frame_timeout")}


async def test_the_gateway_refuses_what_would_not_fit_and_keeps_the_rest(database: str, tmp_path: Path) -> None:
    """`inbox_bytes`: over the cap a sender is told to keep its message; nobody waits in vain and nothing is lost."""
    one = sample("01").replace(b"|AL|AL|", b"|||")
    raw = [one.replace(b"RSC20250311000101", b"FLOOD%012d" % n) for n in range(60)]
    limits = {"inbox_waiting": 5, "in_flight_per_connection": 60}
    async with system(database, tmp_path, config={"limits": limits}) as running:
        got = await running.send_raw(b"".join(map(frame, raw)), answers=len(raw))
        codes = [acknowledgement(answer)[0] for answer in got]
        (kept,) = await running.fetch("SELECT count(*) AS n FROM messages")
        refused = [message for message, code in zip(raw, codes, strict=True) if code == "AR"]
        assert set(codes) == {"AA", "AR"}
        assert kept["n"] == codes.count("AA")
        client = await MllpClient(*split_address(running.mllp)).connect()
        again = [
            await client.exchange(message, control_id=b"FLOOD" + message.split(b"FLOOD")[1][:12], timeout=60)
            for message in refused[:5]
        ]
        await client.aclose()
    assert {acknowledgement(answer)[0] for answer in again} == {"AA"}


# Open files.


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed"),
    [
        (1024, 4096, 2756, 2756),
        (1024, 2000, 2756, 2000),
        (4096, 4096, 2756, 2756),
        (1024, resource.RLIM_INFINITY, 2756, 2756),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 2756, 2756),
    ],
)
def test_the_soft_limit_of_open_files_is_raised_as_far_as_may_be(
    soft: int, hard: int, wanted: int, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert allow_files(wanted) == allowed
    assert asked == ([(allowed, hard)] if soft == 1024 else [])


def test_a_system_that_does_not_let_the_limit_be_raised_is_lived_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int, limits: tuple[int, int]) -> None:
        raise ValueError(limits)

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert allow_files(2756) == 1024
    monkeypatch.setattr(files, "resource", cast("object", None))
    assert allow_files(2756) == 2756

"""The MLLP listener over real sockets: order, pressure, time-outs, caps, and the many ways a connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import socket
import struct
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from unittest import mock

import hl7
import hl7.client
import pytest
import structlog
import uvloop
from structlog.testing import LogCapture

from gateway.config import Limits
from gateway.errors import ConfigError
from gateway.mllp import server as module
from gateway.mllp.framing import Deframer, frame
from gateway.mllp.server import Handler, MllpServer, Peer, as_future

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
SECRET = b"SITI AMINAH 3510"  # stands for whatever a message holds; must never show in a log
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Answers = Sequence[bytes]


def on_each_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[str], None]:
    """Run an async test on asyncio's own loop and on uvloop, which differ in when and how they call a protocol."""

    @pytest.mark.parametrize("loop", list(LOOPS))
    def run(loop: str) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(asyncio.wait_for(test(), 60))

    functools.update_wrapper(run, test, assigned=("__module__", "__name__", "__doc__"))
    del run.__wrapped__  # type: ignore[attr-defined] # pytest would look through it and see a coroutine
    return run


@dataclass
class Counts:
    """An Observer that remembers."""

    opened: int = 0
    closed: list[str] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    sent: list[int] = field(default_factory=list)

    def connection_opened(self) -> None:
        self.opened += 1

    def connection_closed(self, reason: str) -> None:
        self.closed.append(reason)

    def frame_received(self, size: int) -> None:
        self.received.append(size)

    def frame_refused(self, reason: str) -> None:
        self.refused[reason] += 1

    def answer_sent(self, size: int) -> None:
        self.sent.append(size)


class Desk:
    """A handler whose answers the test gives by hand, in any order."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.peers: list[Peer] = []
        self.futures: list[asyncio.Future[Answers]] = []

    def __call__(self, content: bytes, peer: Peer) -> asyncio.Future[Answers]:
        self.frames.append(content)
        self.peers.append(peer)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def answer(self, number: int, *answers: bytes) -> None:
        self.futures[number].set_result(answers or (b"ACK " + self.frames[number],))

    async def has(self, count: int) -> None:
        await until(lambda: len(self.frames) >= count)


def at_once(content: bytes, peer: Peer) -> asyncio.Future[Answers]:
    """Answer before returning."""
    future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
    future.set_result((b"ACK " + content,))
    return future


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; the test's own time-out ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - the conditions are about sockets and the server's own state
        await asyncio.sleep(0.001)


class Client:
    """A sender that does as it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.deframer = Deframer(max_bytes=50_000_000)
        self.ready: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> bytes:
        while not self.ready:
            data = await self.reader.read(65536)
            assert data, "the server closed instead of answering"
            self.ready += self.deframer.feed(data)
        return self.ready.pop(0)

    async def closed(self) -> bytes:
        """Wait for the server to close; return what it still sent."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def gone(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()


class Served:
    """A running server and what was seen of it."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.counts = Counts()
        self.log = LogCapture()
        self.server = MllpServer(handler, limits=limits, observer=self.counts)
        self.address = ("", 0)
        self.loop_errors: list[dict[str, Any]] = []
        self._stack = contextlib.AsyncExitStack()

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection(*self.address))
        self._stack.push_async_callback(client.gone)
        return client

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self.log.entries if entry["event"] == event]

    async def until_closed(self, count: int = 1) -> list[str]:
        await until(lambda: len(self.counts.closed) >= count)
        return self.counts.closed

    async def __aenter__(self) -> Self:
        logger = structlog.wrap_logger(None, processors=[self.log])
        self._stack.enter_context(mock.patch.object(module, "_log", logger))
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.loop_errors.append(context))
        self.address = await self.server.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.server.drain(0.05)
        await self._stack.aclose()
        if exc[0] is None:
            self.check()

    def check(self) -> None:
        assert self.counts.opened == len(self.counts.closed), "each connection is closed once"
        assert self.loop_errors == []
        assert SECRET.decode() not in repr(self.log.entries), "content in the log"


def serving(handler: Handler = at_once, **limits: float) -> Served:
    return Served(handler, Limits.model_validate(limits))


async def works(served: Served) -> None:
    """Others are undisturbed: a new connection is answered."""
    client = await served.client()
    client.send(frame(b"other"))
    assert await client.answer() == b"ACK other"


# Frames in, answers out.


@on_each_loop
async def test_a_frame_is_answered_and_the_connection_stays_open() -> None:
    async with serving() as served:
        client = await served.client()
        for text in (b"one", b"two"):
            client.send(frame(text))
            assert await client.answer() == b"ACK " + text
        assert served.counts.received == [3, 3]
        assert served.counts.sent == [len(frame(b"ACK one"))] * 2


@on_each_loop
async def test_frames_of_one_packet_are_handed_over_and_answered_in_order() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client = await served.client()
        client.send(b"".join(frame(b"%d" % i) for i in range(5)))
        await desk.has(5)
        assert desk.frames == [b"0", b"1", b"2", b"3", b"4"]
        for number in (3, 1, 4, 0, 2):
            desk.answer(number)
        assert [await client.answer() for _ in range(5)] == [b"ACK %d" % i for i in range(5)]


@on_each_loop
async def test_an_answer_waits_for_those_before_it_and_all_ready_ones_leave_in_one_write() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client = await served.client()
        client.send(b"".join(frame(b"%d" % i) for i in range(3)))
        await desk.has(3)
        desk.answer(2)
        desk.answer(1)
        await asyncio.sleep(0)
        assert served.counts.sent == []
        desk.answer(0)
        # One write of a few bytes is one segment, and one read on loopback.
        assert await client.reader.read(65536) == b"".join(frame(b"ACK %d" % i) for i in range(3))


@on_each_loop
async def test_a_frame_sent_a_byte_at_a_time_is_answered() -> None:
    async with serving() as served:
        client = await served.client()
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(b"MSH|slow"):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await client.answer() == b"ACK MSH|slow"


@on_each_loop
async def test_no_answer_and_two_answers_are_both_possible() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client = await served.client()
        client.send(frame(b"silent") + frame(b"double"))
        await desk.has(2)
        desk.futures[0].set_result(())
        desk.answer(1, b"CA", b"AA")
        assert [await client.answer(), await client.answer()] == [b"CA", b"AA"]


@on_each_loop
async def test_coroutine_handlers_start_in_the_order_of_the_frames() -> None:
    started: list[bytes] = []
    turn = itertools.count()

    async def work(content: bytes) -> Answers:
        started.append(content)
        for _ in range(3 - next(turn) % 3):
            await asyncio.sleep(0)
        return (content,)

    async with serving(lambda content, _: as_future(work(content))) as served:
        client = await served.client()
        sent = [b"%d" % i for i in range(20)]
        client.send(b"".join(map(frame, sent)))
        assert [await client.answer() for _ in sent] == sent
        assert started == sent


@on_each_loop
async def test_a_message_of_five_mebibytes_passes() -> None:
    async with serving() as served:
        client = await served.client()
        content = b"x" * (5 * 1024 * 1024)
        client.send(frame(content))
        assert await client.answer() == b"ACK " + content


@on_each_loop
async def test_many_connections_get_their_own_answers() -> None:
    async def talk(served: Served, name: int) -> None:
        client = await served.client()
        for i in range(10):
            client.send(frame(b"%d-%d" % (name, i)))
            assert await client.answer() == b"ACK %d-%d" % (name, i)

    async with serving() as served:
        await asyncio.gather(*(talk(served, name) for name in range(200)))
        assert served.counts.opened == 200


@on_each_loop
async def test_the_handler_is_told_who_sent_it() -> None:
    desk = Desk()
    async with serving(desk) as served:
        first, second = await served.client(), await served.client()
        first.send(frame(b"A"))
        await desk.has(1)
        second.send(frame(b"B"))
        await desk.has(2)
        port = first.writer.get_extra_info("sockname")[1]
        assert desk.peers[0] == Peer("127.0.0.1", port, frozenset(), desk.peers[0].connection_id)
        assert desk.peers[0].connection_id != desk.peers[1].connection_id
        desk.answer(0)
        desk.answer(1)
        await asyncio.gather(first.answer(), second.answer())


@on_each_loop
async def test_python_hl7s_own_client_is_answered() -> None:
    message = "MSH|^~\\&|SIMRS|RS|AKTAGW|DUKCAPIL|20261120||ADT^A01|42|P|2.5\rPID|1\r"

    def send(address: tuple[str, int]) -> list[bytes]:
        with hl7.client.MLLPClient(*address) as client:
            return [client.send_message(message), client.send_message(hl7.parse(message))]

    async with serving() as served:
        received = await asyncio.to_thread(send, served.address)
    assert received == [frame(b"ACK " + message.encode())] * 2


@on_each_loop
async def test_sockets_send_at_once_and_notice_dead_peers() -> None:
    async with serving() as served:
        await works(served)
        (connection,) = served.server._connections
        connected = connection._transport.get_extra_info("socket")
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@on_each_loop
async def test_one_server_listens_on_several_addresses() -> None:
    async with serving() as served:
        first = served.address
        served.address = await served.server.start("127.0.0.1", 0)
        assert served.address != first
        await works(served)
        served.address = first
        await works(served)
        assert len(served.logged("mllp.listening")) == 2


@on_each_loop
async def test_an_address_in_use_is_a_configuration_error() -> None:
    async with serving() as served:
        with pytest.raises(ConfigError, match=f"127.0.0.1:{served.address[1]}: cannot listen"):
            await served.server.start(*served.address)


@on_each_loop
async def test_two_servers_share_a_port_where_told_to() -> None:
    async with serving() as served:
        port = (await served.server.start("127.0.0.1", 0, reuse_port=True))[1]
        assert (await served.server.start("127.0.0.1", port, reuse_port=True))[1] == port


# What senders do wrong.


@on_each_loop
async def test_noise_is_logged_once_without_its_content_and_hurts_nothing() -> None:
    async with serving() as served:
        client = await served.client()
        client.send(SECRET + frame(b"A") + b"\r\n" + SECRET + frame(b"B"))
        assert [await client.answer(), await client.answer()] == [b"ACK A", b"ACK B"]
        client.send(SECRET + frame(b"C"))
        assert await client.answer() == b"ACK C"
        assert [entry["bytes"] for entry in served.logged("mllp.noise")] == [2 * len(SECRET)]


@on_each_loop
async def test_a_peer_that_sends_nothing_but_noise_is_closed() -> None:
    async with serving(message_bytes=1024) as served:
        client = await served.client()
        client.send(b"GET / HTTP/1.1\r\n" * 100)
        await client.closed()
        assert await served.until_closed() == ["noise"]
        assert served.counts.refused == {"noise": 1}


@on_each_loop
async def test_empty_blocks_are_not_answered() -> None:
    async with serving() as served:
        client = await served.client()
        client.send(frame(b"") + frame(b"") + frame(b"A"))
        assert await client.answer() == b"ACK A"
        assert served.counts.received == [1]


@on_each_loop
async def test_a_frame_begun_anew_replaces_the_half_before_it() -> None:
    async with serving() as served:
        client = await served.client()
        client.send(b"\x0b" + SECRET + frame(b"MSH|whole"))
        assert await client.answer() == b"ACK MSH|whole"
        client.send(frame(b"next"))
        assert await client.answer() == b"ACK next"
        assert served.counts.received == [9, 4]
        assert [entry["bytes"] for entry in served.logged("mllp.noise")] == [len(SECRET)]


@on_each_loop
async def test_line_ends_after_a_frame_are_no_noise() -> None:
    async with serving() as served:
        client = await served.client()
        client.send(frame(b"A") + b"\n" + frame(b"B") + b"\r\n\r\n" + b"\x0bC\x1c\x0bD\x1c\r\n")
        assert [await client.answer() for _ in range(4)] == [b"ACK A", b"ACK B", b"ACK C", b"ACK D"]
        assert served.logged("mllp.noise") == []


@on_each_loop
async def test_hundreds_of_frames_in_one_packet_are_each_answered_in_order() -> None:
    async with serving() as served:
        client = await served.client()
        client.send(b"".join(frame(b"%d" % i) for i in range(500)))
        assert [await client.answer() for _ in range(500)] == [b"ACK %d" % i for i in range(500)]
        await works(served)


@on_each_loop
async def test_half_a_frame_and_then_silence_is_closed_in_time_and_the_next_connection_works() -> None:
    async with serving(read_s=0.1, idle_s=60) as served:
        client = await served.client()
        client.send(frame(b"A") + b"\x0b" + SECRET)
        assert await client.answer() == b"ACK A"
        assert await client.closed() == b""
        assert served.counts.closed == ["frame_timeout"]
        await works(served)


@on_each_loop
async def test_an_oversized_frame_closes_its_connection_after_those_before_it_are_answered() -> None:
    desk = Desk()
    async with serving(desk, message_bytes=1024) as served:
        client = await served.client()
        client.send(frame(b"whole") + b"\x0b" + SECRET * 100)
        await desk.has(1)
        desk.answer(0)
        assert await client.closed() in {frame(b"ACK whole"), b""}
        assert await served.until_closed() == ["oversized"]
        assert served.counts.sent == [len(frame(b"ACK whole"))]
        assert served.counts.refused == {"oversized": 1}
        assert len(served.logged("mllp.frame_oversized")) == 1


@on_each_loop
async def test_a_never_ending_frame_hurts_nobody_else() -> None:
    async with serving(message_bytes=100_000) as served:
        client = await served.client()
        client.send(b"\x0b" + b"x" * 1_000_000)
        await client.closed()
        assert await served.until_closed() == ["oversized"]
        await works(served)


@on_each_loop
async def test_a_forgotten_cr_is_waited_for_only_briefly() -> None:
    with mock.patch.object(module, "_FS_WITHOUT_CR_S", 0.01):
        async with serving() as served:
            client = await served.client()
            client.send(b"\x0bA\x1c")
            assert await client.answer() == b"ACK A"
            client.send(b"\r" + frame(b"B"))
            assert await client.answer() == b"ACK B"


@on_each_loop
async def test_a_late_cr_or_more_content_cancels_the_short_wait() -> None:
    with mock.patch.object(module, "_FS_WITHOUT_CR_S", 0.02):
        async with serving() as served:
            client = await served.client()
            client.send(b"\x0bA\x1c")
            await until(lambda: served.server._connections)
            (connection,) = served.server._connections
            await until(lambda: connection._deframer.awaiting_cr)
            client.send(b"more")
            await asyncio.sleep(0.05)
            assert served.counts.received == []
            client.send(b"\x1c\r")
            assert await client.answer() == b"ACK A\x1cmore"


# Handlers that fail.


@on_each_loop
async def test_a_failed_handler_closes_its_connection_and_no_other() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client, other = await served.client(), await served.client()
        client.send(frame(b"good") + frame(SECRET) + frame(b"later"))
        await desk.has(3)
        other.send(frame(b"other"))
        await desk.has(4)
        desk.answer(2)
        desk.futures[1].set_exception(ValueError(SECRET.decode()))
        desk.answer(0)
        assert await client.closed() == frame(b"ACK good"), "what was answered before is sent, nothing after"
        desk.answer(3)
        assert await other.answer() == b"ACK other"
        assert served.counts.closed == ["handler_failed"]
        assert [entry["error"] for entry in served.logged("mllp.handler_failed")] == ["ValueError"]


@on_each_loop
async def test_a_handler_that_raises_instead_of_returning_closes_its_connection_in_order() -> None:
    desk = Desk()

    def handler(content: bytes, peer: Peer) -> asyncio.Future[Answers]:
        if content == SECRET:
            raise LookupError(SECRET.decode())
        return desk(content, peer)

    async with serving(handler) as served:
        client = await served.client()
        client.send(frame(b"good") + frame(SECRET))
        await desk.has(1)
        desk.answer(0)
        assert await client.closed() == frame(b"ACK good")
        assert [entry["error"] for entry in served.logged("mllp.handler_failed")] == ["LookupError"]


@on_each_loop
async def test_a_cancelled_handler_closes_its_connection() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client = await served.client()
        client.send(frame(b"A"))
        await desk.has(1)
        desk.futures[0].cancel()
        assert await client.closed() == b""
        assert served.counts.closed == ["handler_failed"]


@on_each_loop
async def test_a_failure_after_the_connection_is_gone_is_logged_by_its_type_only() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client = await served.client()
        client.send(frame(b"A") + frame(b"B"))
        await desk.has(2)
        desk.futures[1].set_exception(KeyError(SECRET.decode()))
        await asyncio.sleep(0)
        client.reset()
        await served.until_closed()
        desk.futures[0].set_exception(OSError(SECRET.decode()))
        await until(lambda: len(served.logged("mllp.handler_failed")) == 2)
        assert {entry["error"] for entry in served.logged("mllp.handler_failed")} == {"KeyError", "OSError"}


# Pressure.


@on_each_loop
async def test_no_more_frames_are_in_flight_than_may_be() -> None:
    desk = Desk()
    async with serving(desk, in_flight_per_connection=2) as served:
        client = await served.client()
        client.send(b"".join(frame(b"%d" % i) for i in range(5)))
        for done in range(5):
            await desk.has(min(done + 2, 5))
            await works_for_a_moment(served)
            assert len(desk.frames) == min(done + 2, 5)
            desk.answer(done)
            assert await client.answer() == b"ACK %d" % done


async def works_for_a_moment(served: Served) -> None:
    """Let the server's loop turn over real sockets: a connection is made and closed."""
    before = served.counts.opened
    client = await served.client()
    await until(lambda: served.counts.opened > before)
    client.writer.close()
    await until(lambda: served.counts.closed)


@on_each_loop
async def test_reading_stops_while_the_limit_is_in_flight_and_goes_on_after() -> None:
    desk = Desk()
    count, content = 200, b"x" * 65_536
    async with serving(desk, in_flight_per_connection=2) as served:
        client = await served.client()
        for _ in range(count):
            client.send(frame(content))
        await desk.has(2)
        await works_for_a_moment(served)
        assert len(served.counts.received) < 20, "reads ahead no more than a packet"
        assert client.writer.transport.get_write_buffer_size() > 0, "the sender feels it"
        for number in range(count):
            await desk.has(number + 1)
            desk.answer(number, b"%d" % number)
        assert [await client.answer() for _ in range(count)] == [b"%d" % i for i in range(count)]


@on_each_loop
async def test_bytes_in_flight_stop_reading_too() -> None:
    desk = Desk()
    async with serving(desk, message_bytes=100_000) as served:
        client = await served.client()
        client.send(frame(b"x" * 60_000) * 4)
        await desk.has(2)
        await works_for_a_moment(served)
        assert len(desk.frames) == 2
        for number in range(4):
            await desk.has(number + 1)
            desk.answer(number, b"%d" % number)
        assert [await client.answer() for _ in range(4)] == [b"0", b"1", b"2", b"3"]


def large(content: bytes, peer: Peer) -> asyncio.Future[Answers]:
    future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
    future.set_result((content * 1_000_000,))
    return future


@on_each_loop
async def test_a_client_that_does_not_read_is_cut_after_the_write_time_out() -> None:
    async with serving(large, write_s=0.1) as served:
        client = await served.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(frame(b"x") * 1000)
        assert await served.until_closed() == ["write_timeout"]
        assert len(served.counts.sent) <= 32, "no more answers are made for it than may be in flight"
        assert served.counts.refused["connection_lost"] == 1000 - len(served.counts.sent)


@on_each_loop
async def test_a_client_that_reads_late_gets_every_answer_whole_and_in_order() -> None:
    async with serving(large) as served:
        client = await served.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"".join(frame(b"%d" % i) for i in range(10)))
        await until(lambda: served.counts.sent)
        await works_for_a_moment(served)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for i in range(10):
            assert await client.answer() == b"%d" % i * 1_000_000


@on_each_loop
async def test_closing_does_not_wait_for_a_client_that_does_not_read() -> None:
    desk = Desk()
    async with serving(desk, write_s=0.1) as served:
        client = await served.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(frame(b"A") + frame(b"B"))
        await desk.has(2)
        desk.futures[1].set_exception(ValueError())
        desk.answer(0, b"x" * 20_000_000)
        assert (await served.until_closed())[0] in {"handler_failed", "write_timeout"}


@on_each_loop
async def test_connections_beyond_the_cap_are_refused_until_one_goes() -> None:
    async with serving(connections=2) as served:
        first, _ = await served.client(), await served.client()
        await until(lambda: served.counts.opened == 2)
        refused = await served.client()
        assert await refused.closed() == b""
        assert served.counts.closed == ["refused"]
        assert [entry["reason"] for entry in served.logged("mllp.refused")] == ["connections"]
        first.writer.close()
        await served.until_closed(2)
        await works(served)


@on_each_loop
async def test_connections_of_one_peer_are_capped() -> None:
    async with serving(connections_per_peer=1) as served:
        first = await served.client()
        await until(lambda: served.counts.opened == 1)
        assert await (await served.client()).closed() == b""
        assert [entry["reason"] for entry in served.logged("mllp.refused")] == ["connections_per_peer"]
        first.send(frame(b"A"))
        assert await first.answer() == b"ACK A"


# Time.


@on_each_loop
async def test_an_idle_connection_is_closed() -> None:
    async with serving(idle_s=0.05) as served:
        client = await served.client()
        client.send(frame(b"A"))
        assert await client.answer() == b"ACK A"
        assert await client.closed() == b""
        assert served.counts.closed == ["idle"]
        assert len(served.logged("mllp.idle_timeout")) == 1


@on_each_loop
async def test_a_connection_that_waits_for_its_answer_is_not_idle() -> None:
    desk = Desk()
    async with serving(desk, idle_s=0.05) as served:
        waiting, idle = await served.client(), await served.client()
        waiting.send(frame(b"A"))
        await desk.has(1)
        await idle.closed()
        desk.answer(0)
        assert await waiting.answer() == b"ACK A"
        assert served.counts.closed == ["idle"]
        await waiting.closed()


@on_each_loop
async def test_a_frame_must_end_in_time_however_it_trickles() -> None:
    async with serving(read_s=0.1) as served:
        client = await served.client()
        client.send(b"\x0b")
        end = asyncio.ensure_future(client.closed())
        while not end.done():
            client.send(b"x")
            await asyncio.wait([end], timeout=0.01)
        assert served.counts.closed == ["frame_timeout"]
        assert served.counts.refused == {"timeout": 1}
        assert len(served.logged("mllp.frame_timeout")) == 1
        assert served.logged("mllp.partial_dropped") == []


@on_each_loop
async def test_frames_that_end_in_time_keep_a_connection_open_for_longer_than_one_may_take() -> None:
    async with serving(read_s=0.1) as served:
        client = await served.client()
        client.send(b"\x0bA")
        for _ in range(10):
            await asyncio.sleep(0.03)
            client.send(b"\x1c\r\x0bA")
            assert await client.answer() == b"ACK A"
        client.send(b"\x1c\r")
        assert await client.answer() == b"ACK A"


@on_each_loop
async def test_time_in_which_we_do_not_read_is_not_held_against_the_sender() -> None:
    desk = Desk()
    async with serving(desk, read_s=0.1, in_flight_per_connection=1) as served:
        client, timed = await served.client(), await served.client()
        client.send(frame(b"A") + b"\x0bhalf")
        await desk.has(1)
        timed.send(b"\x0b")
        await timed.closed()
        desk.answer(0)
        assert await client.answer() == b"ACK A"
        client.send(b" whole\x1c\r")
        await desk.has(2)
        desk.answer(1)
        assert await client.answer() == b"ACK half whole"


# Ends.


@on_each_loop
async def test_a_client_that_has_sent_all_still_gets_its_answers() -> None:
    desk = Desk()
    async with serving(desk, in_flight_per_connection=1) as served:
        client = await served.client()
        client.send(frame(b"A") + frame(b"B") + b"\x0bC\x1c")
        client.writer.write_eof()
        for number in range(3):
            await desk.has(number + 1)
            desk.answer(number)
        assert await client.closed() == frame(b"ACK A") + frame(b"ACK B") + frame(b"ACK C")
        assert await served.until_closed() == ["eof"]


@on_each_loop
async def test_a_client_that_goes_is_let_go() -> None:
    async with serving() as served:
        client = await served.client()
        client.send(frame(b"A"))
        assert await client.answer() == b"ACK A"
        client.writer.close()
        assert await served.until_closed() == ["eof"]
        assert [entry["reason"] for entry in served.logged("mllp.closed")] == ["eof"]


@on_each_loop
async def test_a_reset_while_a_frame_is_in_hand_is_quiet() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client = await served.client()
        client.send(frame(b"A"))
        await desk.has(1)
        client.reset()
        await served.until_closed()
        desk.answer(0)
        await asyncio.sleep(0)
        assert served.counts.sent == []
        assert {entry["log_level"] for entry in served.log.entries} <= {"debug", "info"}


@on_each_loop
async def test_a_reset_in_the_middle_of_an_answer_is_quiet() -> None:
    async with serving(large) as served:
        client = await served.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(frame(b"x") * 20)
        await until(lambda: served.counts.sent)
        client.reset()
        await served.until_closed()
        assert {entry["log_level"] for entry in served.log.entries} <= {"debug", "info"}
        served.log.entries.clear()


@on_each_loop
async def test_whole_frames_not_handed_over_when_the_connection_breaks_are_counted() -> None:
    desk = Desk()
    async with serving(desk, in_flight_per_connection=1) as served:
        client = await served.client()
        client.send(frame(b"A") + frame(b"B") + frame(b"C"))
        await desk.has(1)
        client.writer.transport.abort()
        desk.futures[0].set_exception(ValueError())
        await served.until_closed()
        assert served.counts.refused == {"connection_lost": 2}


@on_each_loop
async def test_a_partial_frame_at_the_end_is_dropped_and_counted_without_its_content() -> None:
    async with serving() as served:
        client = await served.client()
        client.send(frame(b"A") + b"\x0b" + SECRET)
        assert await client.answer() == b"ACK A"
        client.writer.close()
        await served.until_closed()
        assert served.counts.refused == {"partial": 1}
        assert [entry["bytes"] for entry in served.logged("mllp.partial_dropped")] == [len(SECRET)]


# The end of the server.


@on_each_loop
async def test_drain_answers_what_is_in_hand_and_closes() -> None:
    desk = Desk()
    async with serving(desk, in_flight_per_connection=1) as served:
        busy, idle = await served.client(), await served.client()
        busy.send(frame(b"A") + frame(b"B") + b"\x0bhalf")
        await desk.has(1)
        await until(lambda: served.counts.opened == 2)
        drained = asyncio.ensure_future(served.server.drain(10))
        assert await idle.closed() == b""
        with pytest.raises(ConnectionRefusedError):
            await served.client()
        busy.send(frame(b"too late"))
        desk.answer(0)
        await desk.has(2)
        assert not drained.done()
        desk.answer(1)
        await drained
        await busy.closed()
        assert desk.frames == [b"A", b"B"], "nothing is read any more"
        assert len(served.counts.sent) == 2
        assert served.counts.closed == ["drained", "drained"]
        assert served.logged("mllp.drained")[0]["forced"] == 0


@on_each_loop
async def test_drain_ends_by_force_after_its_time() -> None:
    desk = Desk()
    async with serving(desk) as served:
        client = await served.client()
        client.send(frame(b"A"))
        await desk.has(1)
        await served.server.drain(0.05)
        assert await client.closed() == b""
        assert served.counts.closed == ["drain_forced"]
        assert served.logged("mllp.drained")[0]["forced"] == 1
        desk.answer(0)
        await asyncio.sleep(0)
        assert served.counts.sent == []


@on_each_loop
async def test_drain_of_a_server_without_connections_is_quick() -> None:
    async with serving() as served:
        await asyncio.wait_for(served.server.drain(600), 60)
        assert served.server._sweeper is None

"""MLLP release 2: the commit block before the answers, per listener, and our own client's side of it (domain A.7)."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import pytest

from gateway.app import split_address
from gateway.config import Limits, parse
from gateway.errors import ConfigError, DeliveryUnavailableError
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.mllp.commit import ACK, NAK, NotKept
from gateway.mllp.framing import Deframer, frame
from gateway.mllp.server import MllpServer
from gateway.observe.metrics import Metrics
from gateway.store.embedded import EmbeddedPostgres
from tests.simulators.facilities import sample
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path
    from typing import Literal

    from gateway.mllp.server import Handler, Peer

ANSWER = b"MSH|^~\\&|A|B|C|D|2025||ACK|9|P|2.5\rMSA|AA|%b\r"


def handler_of(*results: Sequence[bytes]) -> Handler:
    """Answer the n-th block with the n-th result."""
    left = list(results)

    def handle(content: bytes, peer: Peer) -> asyncio.Future[Sequence[bytes]]:
        future: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()
        future.set_result(left.pop(0))
        return future

    return handle


class Listener:
    """A server on a free port, and what it writes to one connection."""

    def __init__(self, *results: Sequence[bytes], release: Literal[1, 2] = 2) -> None:
        self.metrics = Metrics()
        self.server = MllpServer(handler_of(*results), limits=Limits(), observer=self.metrics)
        self.release: Literal[1, 2] = release
        self.address = ("", 0)

    async def __aenter__(self) -> Self:
        self.address = await self.server.start("127.0.0.1", 0, release=self.release)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.server.drain(1)

    async def said(self, *contents: bytes, blocks: int) -> list[bytes]:
        """Send blocks and return so many that come back, and whatever came with them."""
        reader, writer = await asyncio.open_connection(*self.address)
        machine, got = Deframer(max_bytes=10_000), list[bytes]()
        writer.write(b"".join(map(frame, contents)))
        async with asyncio.timeout(60):
            while len(got) < blocks:
                got += machine.feed(await reader.read(65536))
        writer.close()
        await writer.wait_closed()
        return got


async def test_a_commit_goes_before_the_answer_as_a_block_of_its_own() -> None:
    async with Listener((b"ANSWER",), (b"CA", b"AA")) as listener:
        assert await listener.said(b"one", b"two", blocks=5) == [ACK, b"ANSWER", ACK, b"CA", b"AA"]
        assert listener.metrics.answers._value.get() == 3, "commits are no answers"


async def test_a_silent_sender_still_gets_its_commit() -> None:
    async with Listener(()) as listener:
        assert await listener.said(b"one", blocks=1) == [ACK]


async def test_what_was_not_kept_gets_nak_alone_and_the_next_block_its_own_commit() -> None:
    async with Listener(NotKept((b"AR",)), (b"AA",)) as listener:
        assert await listener.said(b"one", b"one", blocks=3) == [NAK, ACK, b"AA"]


async def test_over_release_1_there_is_no_commit_and_the_refusal_is_the_answer() -> None:
    async with Listener((b"AA",), NotKept((b"AR",)), release=1) as listener:
        assert await listener.said(b"one", b"two", blocks=2) == [b"AA", b"AR"]


@pytest.mark.parametrize("release", [1, 2])
async def test_a_senders_commits_are_neither_messages_nor_answered(release: Literal[1, 2]) -> None:
    async with Listener((b"A1",), (b"A2",), release=release) as listener:
        got = await listener.said(b"one", ACK, NAK, b"two", blocks=2 * release)
        assert [block for block in got if block != ACK] == [b"A1", b"A2"]
        assert listener.metrics.frames._value.get() == 2


# Our client.


@asynccontextmanager
async def peer_that_says(*packets: bytes) -> AsyncIterator[tuple[tuple[str, int], list[bytes]]]:
    """Lend a listener that answers anything with these packets, and what it was sent."""
    got: list[bytes] = []
    done = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\x1c\r"))
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.01)
        got.append(await reader.read(65536))
        writer.close()
        await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2], got
        await asyncio.wait_for(done.wait(), 60)
    finally:
        server.close()


@pytest.mark.parametrize(
    "packets",
    [[frame(ACK), frame(ANSWER % b"7")], [frame(ACK) + frame(ANSWER % b"7")], [frame(ANSWER % b"7")]],
    ids=["apart", "together", "no commit at all"],
)
async def test_the_client_waits_for_the_answer_behind_the_commit_and_commits_it(packets: list[bytes]) -> None:
    async with peer_that_says(*packets) as (address, got):
        client = await MllpClient(*address, release=2).connect()
        answer = await client.exchange(b"MSH|7", control_id="7", timeout=60)
        assert acknowledgement(answer) == ("AA", b"7")
        assert client.usable
        await client.aclose()
    assert got[1] == frame(ACK)


async def test_nak_is_told_as_not_kept_and_the_connection_is_not_used_again() -> None:
    async with peer_that_says(frame(NAK)) as (address, _):
        client = await MllpClient(*address, release=2).connect()
        with pytest.raises(DeliveryUnavailableError, match="kept nothing"):
            await client.exchange(b"MSH|7", control_id="7", timeout=60)
        assert not client.usable
        await client.aclose()


async def test_client_and_server_understand_each_other() -> None:
    answers = [(ANSWER % b"%d" % n,) for n in range(5)]
    async with Listener(*answers) as listener:
        client = await MllpClient(*listener.address, release=2).connect()
        got = [await client.exchange(b"MSH|%d" % n, control_id=str(n), timeout=60) for n in range(5)]
        await client.aclose()
    assert got == [answer for (answer,) in answers], "each message its own answer, without the commits between"


# The gateway.


async def test_the_gateway_commits_after_the_commit_of_its_database(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, config={"mllp": {"release": 2}}) as running:
        commit, answer = await running.send_raw(frame(sample("01")), answers=2)
        rows = await running.fetch("SELECT control_id FROM messages")
        quarantined = await running.send_raw(frame(b"hello"), answers=2)
    assert (commit, acknowledgement(answer)[0]) == (ACK, "CA")
    assert [row["control_id"] for row in rows] == [control_id_of(sample("01"))]
    assert (quarantined[0], acknowledgement(quarantined[1])[0]) == (ACK, "AR"), "what is unreadable is kept, too"


async def test_the_gateway_says_nak_while_its_database_is_away(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    dsn = await server.start()
    try:
        async with system(dsn, tmp_path, config={"mllp": {"release": 2}}) as running:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await server.wait_dead()
            assert await running.send_raw(frame(sample("01"))) == [NAK]
            await server.restart()
            client = MllpClient(*split_address(running.mllp), release=2)

            async def kept() -> bool:
                try:
                    again = await (await client.connect()).exchange(
                        sample("01"), control_id=control_id_of(sample("01")), timeout=60
                    )
                except DeliveryUnavailableError:
                    return False
                return acknowledgement(again)[0] == "CA"

            await running.until_true(kept, "a gateway that keeps")
            await client.aclose()
    finally:
        await server.stop()


def test_a_release_that_does_not_exist_is_a_configuration_error() -> None:
    assert parse({"mllp": {"release": 2}}, where="test").mllp.tls_release == 1
    with pytest.raises(ConfigError, match=r"mllp\.release"):
        parse({"mllp": {"release": 3}}, where="test")

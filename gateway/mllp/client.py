"""Our calls to a hospital's MLLP listener. Owns the pairing of a message with *its* answer.

Never retries, never judges the answer beyond whose it is, never logs content. One message is under way on a connection
at a time, and a connection is used again only after its answer came whole, alone and with the right MSA-2: a late
answer to message 1 taken for the answer to message 2 is a lost birth (field notes: Mirth connect#1441, #2071).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, cast

from gateway.errors import (
    ConfigError,
    DeliveryUnansweredError,
    DeliveryUnavailableError,
    FrameError,
    Hl7SyntaxError,
)
from gateway.mllp.commit import ACK, COMMITS, NAK
from gateway.mllp.framing import CR, Deframer, frame

if TYPE_CHECKING:
    import ssl as tls

_CONNECT_S = 10.0
_IDLE_S = 30.0
_CLOSE_S = 1.0
_ANSWER_BYTES = 1024 * 1024  # an acknowledgement with many ERR segments is a few KiB
_SEPARATOR_AT = 3  # MSH-1 is the byte after "MSH"


def acknowledgement(answer: bytes) -> tuple[str, bytes]:
    """Return MSA-1 (code) and MSA-2 (control id) of `answer`, read with the answer's own MSH-1.

    Raises Hl7SyntaxError where there is no MSH or no MSA.
    """
    segments = answer.removeprefix(b"\xef\xbb\xbf").replace(b"\n", CR).strip(CR).split(CR)
    separator = segments[0][_SEPARATOR_AT : _SEPARATOR_AT + 1]
    if not segments[0].startswith(b"MSH") or not separator:
        raise Hl7SyntaxError("the answer does not begin with MSH")
    for segment in segments[1:]:
        name, _, rest = segment.partition(separator)
        if name == b"MSA":
            code, _, tail = rest.partition(separator)
            control_id = tail.partition(separator)[0]
            return code.strip().decode("ascii", "replace"), control_id.strip()
    raise Hl7SyntaxError("the answer has no MSA segment")


class _Wire(asyncio.Protocol):
    """The socket of a client: one answer asked for at a time. Whatever comes unasked ends the connection."""

    _transport: asyncio.Transport

    def __init__(self, max_bytes: int, *, commits: bool) -> None:
        loop = asyncio.get_running_loop()
        self._deframer = Deframer(max_bytes=max_bytes)
        self._answer: asyncio.Future[bytes] | None = None
        self._commits = commits
        self.lost: asyncio.Future[None] = loop.create_future()

    @property
    def usable(self) -> bool:
        """Whether a message may be sent: open, nothing asked, nothing left over from before."""
        idle = self._answer is None and not self._deframer.partial
        return idle and not self.lost.done() and not self._transport.is_closing()

    def ask(self, message: bytes) -> asyncio.Future[bytes]:
        """Send `message` and return the future of the next block."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(frame(message))
        return self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            blocks = self._deframer.feed(data)
        except FrameError as error:
            self._fail(error)
            self.abort()
            return
        if self._commits:
            blocks = self._without_commits(blocks)
        waiting = self._answer is not None
        if waiting and blocks:
            self._deliver(blocks[0])
            if self._commits:
                self._transport.write(frame(ACK))
        if len(blocks) > waiting or (not waiting and self._deframer.partial):
            # An answer nobody asked for belongs to some earlier message: nothing after it can be trusted.
            self.abort()

    def _without_commits(self, blocks: list[bytes]) -> list[bytes]:
        """Take the listener's commits out of what came (release 2): only a NAK is news, nothing was kept then."""
        if NAK in blocks:
            self._fail(FrameError("it kept nothing (commit NAK); send again later"))
            self.abort()
        return [block for block in blocks if block not in COMMITS]

    def eof_received(self) -> None:
        # A listener that forgets the CR and closes has answered nevertheless (domain A.7).
        for block in self._deframer.finish():
            self._deliver(block)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("closed by the listener"))
        if not self.lost.done():
            self.lost.set_result(None)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    async def close(self) -> None:
        """Close the connection in good order, or cut it after a second."""
        self._transport.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.lost), _CLOSE_S)
        self._transport.abort()

    def _deliver(self, block: bytes) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(block)

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)


class MllpClient:
    """One connection to one listener. After any error it is closed and stays closed; make a new one."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl: tls.SSLContext | None = None,
        connect_s: float = _CONNECT_S,
        answer_bytes: int = _ANSWER_BYTES,
        release: Literal[1, 2] = 1,
    ) -> None:
        self._host = host
        self._port = port
        self._ssl = ssl
        self._connect_s = connect_s
        self._answer_bytes = answer_bytes
        self._commits = release == 2  # noqa: PLR2004 - the release's name
        self._wire: _Wire | None = None
        self._turn = asyncio.Lock()

    @property
    def usable(self) -> bool:
        """Whether the connection is open and clean: the next message may go over it."""
        return self._wire is not None and self._wire.usable

    async def connect(self) -> Self:
        """Open the connection. Raises DeliveryUnavailableError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, self._wire = await loop.create_connection(
                    lambda: _Wire(self._answer_bytes, commits=self._commits), self._host, self._port, ssl=self._ssl
                )
        except (OSError, UnicodeError) as error:  # a host name that is none; TimeoutError and ssl.SSLError are OSErrors
            raise self._unavailable("cannot be reached", error) from error
        return self

    async def exchange(self, message: bytes, *, control_id: bytes | str, timeout: float) -> bytes:  # noqa: ASYNC109 - a time-out here also ends the connection
        """Send `message` and return the answer whose MSA-2 is `control_id`.

        Raises DeliveryUnansweredError on time-out, reset, an oversized or unreadable answer, or an answer to another
        message; DeliveryUnavailableError where nothing could be sent. The connection is then closed: whatever comes on
        it later is nobody's answer.
        """
        expected = control_id.encode() if isinstance(control_id, str) else control_id
        async with self._turn:
            wire = self._wire
            if wire is None or not wire.usable:
                raise DeliveryUnavailableError(f"{self._name}: the connection is not open; connect again")
            whole = False
            try:
                async with asyncio.timeout(timeout):
                    answer = await wire.ask(message)
                self._check(answer, expected)
                whole = True
            except TimeoutError as error:
                raise self._unanswered(f"did not answer within {timeout:g} s", error) from error
            except (OSError, FrameError, Hl7SyntaxError) as error:
                raise self._unanswered("gave no usable answer", error) from error
            finally:
                if not whole:
                    wire.abort()
            return answer

    async def aclose(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            await self._wire.close()

    def _check(self, answer: bytes, expected: bytes) -> None:
        _, control_id = acknowledgement(answer)
        if control_id != expected.strip():
            raise DeliveryUnansweredError(f"{self._name}: answered another message (MSA-2 is not our MSH-10)")

    @property
    def _name(self) -> str:
        return f"MLLP {self._host}:{self._port}"

    def _unavailable(self, what: str, error: Exception) -> DeliveryUnavailableError:
        return DeliveryUnavailableError(f"{self._name}: {what} ({_reason(error)})")

    def _unanswered(self, what: str, error: Exception) -> DeliveryUnansweredError:
        return DeliveryUnansweredError(f"{self._name}: {what} ({_reason(error)})")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@dataclass(frozen=True, slots=True)
class Target:
    """The address of a hospital's listener."""

    host: str
    port: int
    tls: bool = False


class ClientPool:
    """Keeps one idle connection per listener for the next message. May be used by many tasks at once.

    A message takes the idle connection or opens one; afterwards the connection is kept where the place is free.
    """

    def __init__(
        self,
        *,
        ssl: tls.SSLContext | None = None,
        idle_s: float = _IDLE_S,
        connect_s: float = _CONNECT_S,
        answer_bytes: int = _ANSWER_BYTES,
    ) -> None:
        self._ssl = ssl
        self._idle_s = idle_s
        self._connect_s = connect_s
        self._answer_bytes = answer_bytes
        self._idle: dict[Target, tuple[MllpClient, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def exchange(self, target: Target, message: bytes, *, control_id: bytes | str, timeout: float) -> bytes:  # noqa: ASYNC109 - as MllpClient.exchange
        """Send `message` to `target` and return its answer. Raises as MllpClient.exchange does."""
        client = self._take(target) or await self._open(target)
        try:
            return await client.exchange(message, control_id=control_id, timeout=timeout)
        finally:
            self._give_back(target, client)

    async def aclose(self) -> None:
        """Close the idle connections; those under way are closed when they are done."""
        self._closed = True
        for target in tuple(self._idle):
            self._expire(target)
        await asyncio.gather(*self._closing)

    def _take(self, target: Target) -> MllpClient | None:
        kept = self._idle.pop(target, None)
        if kept is None:
            return None
        client, timer = kept
        timer.cancel()
        if client.usable:
            return client
        self._close(client)
        return None

    async def _open(self, target: Target) -> MllpClient:
        if target.tls and self._ssl is None:
            raise ConfigError(f"MLLP {target.host}:{target.port}: wants TLS and no client certificates are configured")
        client = MllpClient(
            target.host,
            target.port,
            ssl=self._ssl if target.tls else None,
            connect_s=self._connect_s,
            answer_bytes=self._answer_bytes,
        )
        return await client.connect()

    def _give_back(self, target: Target, client: MllpClient) -> None:
        if self._closed or target in self._idle or not client.usable:
            self._close(client)
            return
        timer = asyncio.get_running_loop().call_later(self._idle_s, self._expire, target)
        self._idle[target] = (client, timer)

    def _expire(self, target: Target) -> None:
        client, timer = self._idle.pop(target)
        timer.cancel()
        self._close(client)

    def _close(self, client: MllpClient) -> None:
        task = asyncio.get_running_loop().create_task(client.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

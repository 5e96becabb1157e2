"""The MLLP listener: connections, their order, their limits, their end. Owns every byte between socket and handler.

Never looks into a message, never logs content, and never answers on its own: what a sender reads came from the handler.

Order. Frames of one connection are handed over in the order they came, by calling the handler, a plain function that
returns a future. What it does before it returns (put the message in the queue of the inbox) therefore happens in that
order: two messages about the same baby on one connection are *submitted* one after the other. The futures may be
resolved in any order, up to `limits.in_flight_per_connection` at a time; answers leave in the order of the frames
(domain A.5, rule 2). A handler made of a coroutine (`as_future`) starts in order too: tasks start in the order of their
creation; what it does after its first await has no order.

Fairness. What a handler does before it returns holds up everybody. A connection with nothing in flight has its frame
handed over as it comes; whoever sends more than that waits for its turn: one frame a connection, round and round, and
after each the loop looks at its sockets. While more than one connection sends, none has more than a few
frames in flight, since all that is in flight is judged, committed and answered together: what a flood has there, the
others wait for.

Pressure. Reading stops while as many frames are in flight as may be, while their bytes exceed one message cap, or while
the peer does not take its answers. Whoever sends more messages than `limits.messages_per_s_per_peer` is read later.

Time. One sweep a second looks at all connections; a packet only writes down when it came.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

import structlog

from gateway.contract.connection import TlsNames
from gateway.errors import ConfigError
from gateway.files import OTHER_FILES, allow_files
from gateway.mllp.commit import ACK, COMMITS, NAK, NotKept
from gateway.mllp.door import Door, open_door
from gateway.mllp.framing import BlockTooLargeError, Deframer, frame
from gateway.mllp.tls import certificate_names
from gateway.rates import Buckets, peer_key

if TYPE_CHECKING:
    import ssl as tls

    from gateway.config import Limits

T = TypeVar("T")

_log = structlog.get_logger("gateway.mllp")

_BACKLOG = 1024
_SWEEP_S = 1.0
_SWEEPS_PER_LIMIT = 4  # a limit shorter than the sweep is kept to a quarter of itself
_FS_WITHOUT_CR_S = 0.5  # domain A.7: accept FS without CR after a short wait
_UNSENT_BYTES = 16 * 1024  # answers the kernel did not take: above this no frame is handed over, and write_s runs
_FRAMES_A_TURN = 1  # of those who have frames in flight already, before the loop looks at its sockets again
_SHARE = 4  # frames in flight a connection while others send too; throughput of one alone needs 8 and more
_CROWDED_S = 1.0  # how long after frames came from two connections
_ABORT_S = 1.0  # an aborted connection is gone in a turn of the loop; more means the loop is in trouble


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end. `certificate_names` are of a verified certificate only."""

    host: str
    port: int
    certificate_names: frozenset[str]
    connection_id: int


class Observer(Protocol):
    """Where the counts go. Each opened connection is closed once; a refused one is opened and closed as `refused`."""

    def connection_opened(self) -> None:
        """Count a connection that came."""

    def connection_closed(self, reason: str) -> None:
        """Count a connection that went; `reason` is one of a few words."""

    def frame_received(self, size: int) -> None:
        """Count a whole frame of `size` bytes."""

    def frame_refused(self, reason: str) -> None:
        """Count a frame that was not handed over: oversized, timeout, partial, noise, connection_lost."""

    def answer_sent(self, size: int) -> None:
        """Count an answer of `size` bytes given to the socket."""


# A frame and its sender in; a future of 0..n answers (HL7 bytes without framing) out, each written whole.
Handler = Callable[[bytes, Peer], "asyncio.Future[Sequence[bytes]]"]


def as_future(work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
    """Make a handler's future of a coroutine. It starts in the loop's next turn, in the order of these calls."""
    return asyncio.get_running_loop().create_task(work)


class MllpServer:
    """All listeners and connections of this process, with one handler behind them."""

    def __init__(self, handler: Handler, *, limits: Limits, observer: Observer) -> None:
        self.handler = handler
        self.limits = limits
        self.observer = observer
        self._listeners: list[asyncio.Server | Door] = []
        self._connections: set[_Connection] = set()
        self._per_host: Counter[str] = Counter()
        self._ids = itertools.count(1)
        self._draining = False
        self._nobody_left = asyncio.Event()
        self._nobody_left.set()
        self._sweep_s = min(_SWEEP_S, min(limits.idle_s, limits.read_s, limits.write_s) / _SWEEPS_PER_LIMIT)
        self._sweeper: asyncio.TimerHandle | None = None
        self._turns: deque[_Connection] = deque()  # who has frames to hand over, in order; each at most once
        self._turn_due = False
        self.pace = Buckets(limits.messages_per_s_per_peer, burst_s=limits.burst_s)
        self._last_sender: _Connection | None = None
        self._crowded_until = 0.0

    async def start(
        self,
        host: str,
        port: int,
        *,
        ssl: tls.SSLContext | None = None,
        reuse_port: bool = False,
        release: Literal[1, 2] = 1,
    ) -> tuple[str, int]:
        """Listen on `host` and `port` (0 takes a free one) and return the bound address. May be called again.

        With MLLP `release` 2 a commit block goes before the answers (gateway.mllp.commit). Raises ConfigError where
        the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        wanted = self.limits.connections + self.limits.http_connections + OTHER_FILES
        if (files := allow_files(wanted)) < wanted:
            _log.warning("mllp.few_files", connections=self.limits.connections, reason=f"{files} files may be open")

        def accepted() -> asyncio.Protocol:
            return _Connection(self, loop, commits=release == 2)  # noqa: PLR2004 - the release's name

        listener: asyncio.Server | Door
        try:
            if ssl is None:
                listener = await loop.create_server(accepted, host, port, reuse_port=reuse_port, backlog=_BACKLOG)
            else:
                listener = open_door(
                    host, port, accepted=accepted, context=ssl, reuse_port=reuse_port, backlog=_BACKLOG
                )
                listener.start(patience_s=self.limits.read_s)
        except OSError as error:
            raise ConfigError(f"MLLP {host}:{port}: cannot listen there ({error.strerror or error})") from error
        self._listeners.append(listener)
        bound: tuple[str, int] = listener.sockets[0].getsockname()[:2]
        if self._sweeper is None:
            self._sweep()
        _log.info("mllp.listening", host=bound[0], port=bound[1], tls=ssl is not None)
        return bound

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - the end of the wait is part of what it does
        """Stop accepting and reading, let work in hand be answered, close; after `timeout` seconds by force."""
        self._draining = True
        for listener in self._listeners:
            listener.close()
        open_connections = tuple(self._connections)
        for connection in open_connections:
            connection.drain()
        left = await self._wait_for_all(timeout)
        for connection in left:
            connection.abort("drain_forced")
        if left:
            await self._wait_for_all(_ABORT_S)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        _log.info("mllp.drained", connections=len(open_connections), forced=len(left))

    async def _wait_for_all(self, seconds: float) -> tuple[_Connection, ...]:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._nobody_left.wait(), seconds)
        return tuple(self._connections)

    def next_id(self) -> int:
        """Return a connection id, unique in this process."""
        return next(self._ids)

    def admit(self, connection: _Connection, host: str) -> str:
        """Take the connection in, or return why not."""
        if self._draining:
            return "draining"
        if len(self._connections) >= self.limits.connections:
            return "connections"
        if self._per_host[host] >= self.limits.connections_per_peer:
            return "connections_per_peer"
        self._connections.add(connection)
        self._per_host[host] += 1
        self._nobody_left.clear()
        return ""

    def forget(self, connection: _Connection, host: str) -> None:
        """Let go of a connection that was admitted."""
        self._connections.discard(connection)
        if self._last_sender is connection:
            self._last_sender = None
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        if not self._connections:
            self._nobody_left.set()

    def sends(self, connection: _Connection, now: float) -> None:
        """Note who sends; two in turn within the last second or so, and each is held to its share."""
        if self._last_sender is not connection:
            if self._last_sender is not None:
                self._crowded_until = now + _CROWDED_S
            self._last_sender = connection

    def in_flight_allowed(self, now: float) -> int:
        """Return how many frames a connection may have between handler and answer."""
        limit = self.limits.in_flight_per_connection
        return limit if now >= self._crowded_until else min(limit, _SHARE)

    def wait_for_turn(self, connection: _Connection) -> None:
        """Let a connection hand over its next frame when the others that wait have handed over one."""
        self._turns.append(connection)
        self._arm_turn()

    def _arm_turn(self) -> None:
        if self._turns and not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        try:
            for _ in range(min(_FRAMES_A_TURN, len(self._turns))):
                self._turns.popleft().take_turn()
        finally:  # a fault in one connection must not end the turns of all others
            self._arm_turn()

    def _sweep(self) -> None:
        # Armed first: a fault in one check must not end the time-outs of all others.
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._sweep_s, self._sweep)
        now = loop.time()
        for connection in tuple(self._connections):
            connection.check_time(now)


class _Connection(asyncio.Protocol):
    """One connection: frames in, answers out, in order.

    Its life: open, then *ending* (no more reading; closed when all is answered), then *closed* (nothing is written any
    more; what handlers still bring is only looked at for failures).
    """

    __slots__ = (
        "_admitted",
        "_blocked_since",
        "_closed",
        "_closed_since",
        "_commits",
        "_deframer",
        "_ending",
        "_flight",
        "_flight_bytes",
        "_frame_since",
        "_key",
        "_last_activity",
        "_limits",
        "_loop",
        "_noise_told",
        "_observer",
        "_paused",
        "_peer",
        "_queued",
        "_reason",
        "_server",
        "_slowed",
        "_transport",
        "_waiting",
    )

    _key: str
    _peer: Peer
    _transport: asyncio.Transport

    def __init__(self, server: MllpServer, loop: asyncio.AbstractEventLoop, *, commits: bool) -> None:
        self._server = server
        self._commits = commits
        self._loop = loop
        self._limits = server.limits
        self._observer = server.observer
        self._deframer = Deframer(max_bytes=server.limits.message_bytes)
        self._waiting: deque[bytes] = deque()  # whole frames not handed over yet: never more than one packet held
        self._flight: deque[tuple[asyncio.Future[Sequence[bytes]], int]] = deque()
        self._flight_bytes = 0
        self._admitted = self._paused = self._queued = self._ending = self._closed = self._slowed = False
        self._reason = ""
        self._noise_told = 0
        self._last_activity = self._closed_since = 0.0
        self._frame_since: float | None = None
        self._blocked_since: float | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._last_activity = self._loop.time()
        name = transport.get_extra_info("peername") or ("", 0)
        secured = transport.get_extra_info("ssl_object")
        names = TlsNames(certificate_names(secured)) if secured is not None else frozenset[str]()
        self._peer = Peer(str(name[0]), int(name[1]), names, self._server.next_id())
        self._key = peer_key(self._peer.host)
        self._observer.connection_opened()
        if refusal := self._server.admit(self, self._key):
            self._tell("mllp.refused", reason=refusal)
            self.abort("refused")
            return
        self._admitted = True
        self._set_options()
        _log.debug("mllp.connected", connection=self._peer.connection_id, peer=self._peer.host)

    def data_received(self, data: bytes) -> None:
        if self._ending or self._closed:
            return
        now = self._last_activity = self._loop.time()
        deframer = self._deframer
        try:
            frames = deframer.feed(data)
        except BlockTooLargeError as error:
            self._take(error.complete)
            self._refuse_oversized()
            return
        if not deframer.partial:
            self._frame_since = None
        elif frames or self._frame_since is None:
            # From the start of the frame to its end, whatever trickles in between (slow-loris).
            self._frame_since = now
        if deframer.noise_bytes != self._noise_told:
            self._tell_noise()
        if deframer.awaiting_cr:
            self._loop.call_later(_FS_WITHOUT_CR_S, self._end_without_cr, now)
        self._take(frames)

    def eof_received(self) -> bool:
        if not self._closed:
            self._take(self._deframer.finish())
            self._drop_partial()
            self._end_when_answered("eof")
        # TLS has no half-closed state in asyncio: what is still in flight goes unanswered there and is sent again.
        return self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        self._blocked_since = self._loop.time()

    def resume_writing(self) -> None:
        self._blocked_since = None
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_partial()
        self._mark_closed("reset" if exc else self._reason or "peer")
        self._observer.connection_closed(self._reason)
        if self._admitted:
            self._server.forget(self, self._key)
        _log.debug(
            "mllp.closed",
            connection=self._peer.connection_id,
            peer=self._peer.host,
            reason=self._reason,
            noise_bytes=self._deframer.noise_bytes,
        )

    # What the server calls.

    def drain(self) -> None:
        """Read no more; close when what has come whole is answered."""
        self._take(self._deframer.finish())
        self._drop_partial()
        self._end_when_answered("drained")

    def abort(self, reason: str) -> None:
        """Cut the connection; what was not written is dropped."""
        self._mark_closed(reason)
        self._transport.abort()

    def check_time(self, now: float) -> None:
        """Close what has waited too long."""
        limits = self._limits
        if self._closed:
            # close() waits for the peer to take what is written; a peer that never does is not waited for.
            if now - self._closed_since > limits.write_s:
                self._transport.abort()
        elif self._blocked_since is not None:
            if now - self._blocked_since > limits.write_s:
                self.abort("write_timeout")
        elif self._frame_since is not None and not self._paused and now - self._frame_since > limits.read_s:
            self._tell("mllp.frame_timeout", bytes=self._deframer.waiting)
            self._drop_partial("timeout")
            self._end_when_answered("frame_timeout")
        elif not self._flight and not self._waiting and now - self._last_activity > limits.idle_s:
            self._tell("mllp.idle_timeout")
            self._end_when_answered("idle")

    # Frames in, answers out.

    def _take(self, frames: list[bytes]) -> None:
        if frames:
            self._server.sends(self, self._last_activity)
            for content in frames:
                # A commit is answered by nobody, over release 1 neither: its answer would be committed, for ever.
                if len(content) > 1 or content not in COMMITS:
                    self._observer.frame_received(len(content))
                    self._waiting.append(content)
            self._pump()

    def _pump(self) -> None:
        """Hand over what waits, write what is ready, read on if there is room: all three depend on each other."""
        if self._waiting:
            self._hand_over()
        while self._blocked_since is None and self._flight and self._flight[0][0].done():
            self._write_ready()
            if self._waiting:
                self._hand_over()
        if self._closed:
            return
        if self._ending and not self._flight and not self._waiting:
            self._close(self._reason)
        else:
            self._regulate_reading()

    def _has_room(self) -> bool:
        return (
            self._blocked_since is None
            and not self._slowed
            and len(self._flight) < self._server.in_flight_allowed(self._loop.time())
            and self._flight_bytes < self._limits.message_bytes
        )

    def _hand_over(self) -> None:
        """Hand over a frame now if none is in flight; for the rest wait with all others that have more."""
        if not self._flight and self._has_room():
            self._hand_over_one()
        if self._waiting and not self._queued and self._has_room():
            self._queued = True
            self._server.wait_for_turn(self)

    def take_turn(self) -> None:
        """Hand over one frame that waited for its turn, if it may still be."""
        self._queued = False
        if self._waiting and self._has_room():
            self._hand_over_one()
        self._pump()

    def _hand_over_one(self) -> None:
        if wait := self._server.pace.take(self._key, self._loop.time()):
            self._slowed = True
            self._loop.call_later(wait, self._go_on)
            return
        content = self._waiting.popleft()
        try:
            future = self._server.handler(content, self._peer)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends this connection and no other
            future = self._loop.create_future()
            future.set_exception(error)
        self._flight.append((future, len(content)))
        self._flight_bytes += len(content)
        if not future.done():
            future.add_done_callback(self._answered)

    def _go_on(self) -> None:
        """Hand over again: the peer may send one more."""
        self._slowed = False
        self._pump()

    def _answered(self, future: asyncio.Future[Sequence[bytes]]) -> None:
        if self._closed:
            self._failure(future)
        elif self._flight and self._flight[0][0] is future:
            self._last_activity = self._loop.time()
            self._pump()

    def _write_ready(self) -> None:
        """Write the answers at the head of the line, all that are ready, in one go."""
        flight, out, failed = self._flight, [], False
        while flight and flight[0][0].done() and not failed:
            future, size = flight.popleft()
            self._flight_bytes -= size
            failed = self._failure(future)
            if not failed:
                out += self._blocks(future.result())
        if out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        if failed:
            self._close("handler_failed")

    def _blocks(self, answers: Sequence[bytes]) -> list[bytes]:
        """Return what is written for the answers to one block; over release 2 a NAK stands alone."""
        committed = not isinstance(answers, NotKept)
        blocks = [frame(answer) for answer in answers] if committed or not self._commits else []
        for block in blocks:
            self._observer.answer_sent(len(block))
        return [frame(ACK if committed else NAK), *blocks] if self._commits else blocks

    def _failure(self, future: asyncio.Future[Sequence[bytes]]) -> bool:
        if future.cancelled():
            kind = asyncio.CancelledError.__name__
        elif error := future.exception():
            kind = type(error).__name__  # the text may hold what is in the message
        else:
            return False
        _log.error("mllp.handler_failed", connection=self._peer.connection_id, peer=self._peer.host, error=kind)
        return True

    def _regulate_reading(self) -> None:
        stop = self._ending or bool(self._waiting) or not self._has_room()
        if stop == self._paused or self._transport.is_closing():
            return
        self._paused = stop
        if stop:
            self._transport.pause_reading()
            return
        if self._frame_since is not None:
            self._frame_since = self._loop.time()  # the time we did not read is not the sender's
        self._transport.resume_reading()

    # How it ends.

    def _end_when_answered(self, reason: str) -> None:
        if self._ending or self._closed:
            return
        self._ending = True
        self._reason = reason
        self._pump()

    def _close(self, reason: str) -> None:
        self._mark_closed(reason)
        self._transport.close()

    def _mark_closed(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._closed_since = self._loop.time()
        self._reason = reason
        for _ in self._waiting:
            self._observer.frame_refused("connection_lost")
        self._waiting.clear()
        for future, _ in self._flight:
            if future.done():
                self._failure(future)
        self._flight.clear()  # the others are looked at when they are done; a message half kept is not cancelled

    def _refuse_oversized(self) -> None:
        self._tell("mllp.frame_oversized", limit_bytes=self._limits.message_bytes)
        self._observer.frame_refused("oversized")
        self._end_when_answered("oversized")

    def _end_without_cr(self, since: float) -> None:
        if not self._ending and not self._closed and self._last_activity == since and self._deframer.awaiting_cr:
            self._frame_since = None
            self._take(self._deframer.finish())

    def _drop_partial(self, reason: str = "partial") -> None:
        if not self._deframer.partial:
            return
        if reason == "partial":
            self._tell("mllp.partial_dropped", bytes=self._deframer.waiting)
        self._observer.frame_refused(reason)
        self._deframer.drop()
        self._frame_since = None

    def _tell_noise(self) -> None:
        total = self._deframer.noise_bytes
        if not self._noise_told:
            self._tell("mllp.noise", bytes=total)  # once a connection; the total is in mllp.closed
        self._noise_told = total
        if total > self._limits.message_bytes:
            # Whoever sends this much without a frame does not speak MLLP.
            self._observer.frame_refused("noise")
            self._end_when_answered("noise")

    def _tell(self, event: str, **values: str | int) -> None:
        _log.warning(event, connection=self._peer.connection_id, peer=self._peer.host, **values)

    def _set_options(self) -> None:
        # Reached only when the kernel's own buffers are full. Less than this not taken is found by the idle time-out; a
        # mark of one byte would find it sooner and cost each answer 2 µs on uvloop, which then does not batch writes.
        self._transport.set_write_buffer_limits(high=_UNSENT_BYTES, low=0)
        connected = self._transport.get_extra_info("socket")
        with suppress(OSError):  # the peer may be gone already; then connection_lost is on its way
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

"""The HTTP listener's sockets: how many there may be, how long each may take. The application never sees the others.

Every connection is wrapped in a `_Visitor`, which hands all that comes to aiohttp's own protocol and only looks at the
clock. Caps: in all and a peer (`limits.http_connections`, `limits.http_connections_per_peer`). Time: whoever has no
request in hand must bring one with all its headers within `limits.read_s`, however slowly the bytes trickle; whoever
is being answered must take what is written at a pace. A body's time is counted where it is read (gateway.web.body).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, cast

import structlog

from gateway.rates import Seldom, peer_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from gateway.config import Limits
    from gateway.observe.metrics import Metrics

_log = structlog.get_logger("gateway.web")
_SWEEP_S = 1.0
_SWEEPS_PER_LIMIT = 4  # a limit shorter than the sweep is kept to a quarter of itself
_TELL_S = 10.0
_LEAST_PER_S = 4096  # bytes a second that the reader of an answer takes, once write_s has passed
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"


class Door:
    """All HTTP connections of this process. `make` makes aiohttp's protocol for one that is let in."""

    def __init__(self, make: Callable[[], asyncio.Protocol], *, limits: Limits, most: int, metrics: Metrics) -> None:
        self.make = make
        self.limits = limits
        self.metrics = metrics
        self._most = most
        self._visitors: dict[int, _Visitor] = {}  # by the id of the protocol within
        self._per_peer: Counter[str] = Counter()
        self._seldom = Seldom(_TELL_S)
        self._sweep_s = min(_SWEEP_S, min(limits.read_s, limits.write_s) / _SWEEPS_PER_LIMIT)
        self._sweeper: asyncio.TimerHandle | None = None

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of a connection that comes."""
        return _Visitor(self)

    def begin(self, request: web.Request) -> None:
        """Note that a request came whole with its headers: no clock of ours runs while it is worked on."""
        if (visitor := self._visitors.get(id(request.protocol))) is not None:
            visitor.waiting_since = None

    def end(self, request: web.Request) -> None:
        """Note that a request was answered: the next one must come in time."""
        if (visitor := self._visitors.get(id(request.protocol))) is not None:
            visitor.waiting_since = asyncio.get_running_loop().time()

    def admit(self, visitor: _Visitor, inner: asyncio.Protocol) -> None:
        """Take a connection in."""
        self._visitors[id(inner)] = visitor
        self._per_peer[visitor.peer] += 1
        self.metrics.http_connections.set(len(self._visitors))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)

    def forget(self, visitor: _Visitor, inner: asyncio.Protocol) -> None:
        """Let go of a connection that was taken in."""
        del self._visitors[id(inner)]
        self._per_peer[visitor.peer] -= 1
        if not self._per_peer[visitor.peer]:
            del self._per_peer[visitor.peer]
        self.metrics.http_connections.set(len(self._visitors))

    def refusal(self, peer: str) -> str:
        """Return why a connection of this peer is not taken in, "" where it is."""
        if len(self._visitors) >= self._most:
            return "connections"
        return "connections_per_peer" if self._per_peer[peer] >= self.limits.http_connections_per_peer else ""

    def tell(self, event: str, peer: str, reason: str) -> None:
        """Count a connection that was turned away or cut, and log it, at most once in a while for a peer."""
        self.metrics.http_refused.labels(reason).inc()
        if times := self._seldom.due(f"{peer} {reason}", asyncio.get_running_loop().time()):
            _log.warning(event, peer=peer, reason=reason, connections=times)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._sweep_s, self._sweep) if self._visitors else None
        now = loop.time()
        for visitor in tuple(self._visitors.values()):
            visitor.check_time(now)


class _Visitor(asyncio.Protocol):
    """One connection: everything goes to aiohttp's protocol within, once it is let in."""

    __slots__ = ("_blocked_bytes", "_blocked_since", "_door", "_inner", "_transport", "peer", "waiting_since")

    _transport: asyncio.Transport

    def __init__(self, door: Door) -> None:
        self._door = door
        self._inner: asyncio.Protocol | None = None
        self.peer = ""
        self.waiting_since: float | None = None  # None: a request is worked on
        self._blocked_since: float | None = None
        self._blocked_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername") or ("", 0)
        self.peer = peer_key(str(name[0]))
        if reason := self._door.refusal(self.peer):
            self._door.tell("http.refused", self.peer, reason)
            self._transport.write(_BUSY)
            self._transport.close()
            return
        self.waiting_since = asyncio.get_running_loop().time()
        self._inner = self._door.make()
        self._door.admit(self, self._inner)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._blocked_since = asyncio.get_running_loop().time()
            self._blocked_bytes = self._transport.get_write_buffer_size()
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._blocked_since = None
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inner is not None:
            self._door.forget(self, self._inner)
            self._inner.connection_lost(exc)
            self._inner = None

    def check_time(self, now: float) -> None:
        """Cut what has waited too long for its peer."""
        limits = self._door.limits
        if self.waiting_since is not None and self._blocked_since is None:
            if now - self.waiting_since > limits.read_s:
                self._cut("headers_timeout")
        elif self._blocked_since is not None and (waited := now - self._blocked_since) > limits.write_s:
            taken = self._blocked_bytes - self._transport.get_write_buffer_size()
            if taken < waited * _LEAST_PER_S:
                self._cut("write_timeout")

    def _cut(self, reason: str) -> None:
        self._door.tell("http.cut", self.peer, reason)
        self._transport.abort()

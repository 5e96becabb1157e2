"""The door of the TLS listener: the handshake, and one line of the log for each that fails.

The servers of asyncio and uvloop tell nobody of a handshake that failed: the connection is gone before its protocol
knows of it. Here each connection is accepted by hand, so that a failure has a peer and a reason.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger("gateway.mllp")
_LINES_A_SECOND = 10
_PAUSE_S = 1.0


class Failures:
    """Tells of handshakes that failed, at most ten a second: whoever knocks without end must not fill the disk."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._lines = self._left_out = 0

    def tell(self, peer: str, error: BaseException) -> None:
        """Log one failure, or count it where there were too many within this second."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > _LINES_A_SECOND:
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        _log.warning("mllp.tls_failed", peer=peer, reason=reason_of(error), lines=left_out or None)


def reason_of(error: BaseException) -> str:
    """Return why a handshake failed, in OpenSSL's words where it says why."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"CERTIFICATE_VERIFY_FAILED: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return getattr(error, "reason", "") or type(error).__name__
    if isinstance(error, TimeoutError) or "is taking longer" in str(error):
        return "the handshake did not end within limits.read_s"
    if isinstance(error, ConnectionError):
        return "the peer hung up"
    return type(error).__name__


class Door:
    """A listening socket whose connections speak TLS from their first byte; made running by `open_door`."""

    def __init__(
        self, listening: socket.socket, accepted: Callable[[], asyncio.Protocol], context: ssl.SSLContext
    ) -> None:
        """Take a bound socket that does not block."""
        self.sockets = (listening,)
        self._accepted = accepted
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._failures = Failures(self._loop.time)
        self._shaking: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self, *, patience_s: float) -> None:
        """Accept from now on; a handshake may take `patience_s` seconds."""
        self._accepting = self._loop.create_task(self._accept(patience_s))

    def close(self) -> None:
        """Accept no more, and end the handshakes under way. Connections that were made live on."""
        for task in (self._accepting, *self._shaking):
            if task is not None:
                task.cancel()
        self.sockets[0].close()

    async def _accept(self, patience_s: float) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self.sockets[0])
            except ConnectionError:  # it hung up while it waited
                continue
            except OSError as error:  # no file or no memory is left: others may give some back
                _log.warning("mllp.not_accepted", reason=error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            task = self._loop.create_task(self._shake_hands(connection, str(address[0]), patience_s))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake_hands(self, connection: socket.socket, peer: str, patience_s: float) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._accepted, connection, ssl=self._context, ssl_handshake_timeout=patience_s
            )
        except OSError as error:
            connection.close()
            self._failures.tell(peer, error)


def open_door(
    host: str, port: int, *, accepted: Callable[[], asyncio.Protocol], context: ssl.SSLContext, backlog: int,
    reuse_port: bool,
) -> Door:  # fmt: skip
    """Bind a listening socket for TLS. Raises OSError where the address cannot be had."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.create_server(address[:2], family=family, backlog=backlog, reuse_port=reuse_port)
    listening.settimeout(0)
    return Door(listening, accepted, context)

"""A TCP proxy of our own: an address that outlives what is behind it, and a wire that can be cut, slow or half-open.

Half-open is what a firewall that forgot a connection does: bytes go in and nothing comes out, and nobody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 65536


class Tap(Protocol):
    """Sees what passes: connection number, whether it came from the client, bytes."""

    def __call__(self, connection: int, data: bytes, /, *, from_client: bool) -> None:
        """Look at the bytes before they are passed on."""


def _no_tap(_connection: int, _data: bytes, *, from_client: bool) -> None:
    """Look at nothing."""


class Proxy:
    """One listening address before a target that may change with each connection; None: nobody is there."""

    def __init__(self, name: str, target: Callable[[], str | None], tap: Tap = _no_tap) -> None:
        self.name = name
        self.address = ""
        self.delay_s = 0.0  # before each chunk, in both directions
        self._target = target
        self._tap = tap
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[asyncio.StreamWriter, ...]] = {}
        self._void: set[int] = set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"

    def cut(self) -> None:
        """Reset every connection."""
        for writers in tuple(self._open.values()):
            for writer in writers:
                writer.transport.abort()

    def half_open(self) -> None:
        """Swallow from now on what comes over the present connections, in both directions."""
        self._void |= set(self._open)

    async def stop(self) -> None:
        """Close."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        try:
            target = self._target()
            if target is None:
                writer.transport.abort()
                return
            host, _, port = target.rpartition(":")
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        self._open[number] = (writer, inner_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(number, reader, inner_writer, from_client=True))
                group.create_task(self._pass(number, inner_reader, writer, from_client=False))
        finally:
            del self._open[number]
            self._void.discard(number)
            for each in (writer, inner_writer):
                each.transport.abort()

    async def _pass(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if number in self._void:
                    continue
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                self._tap(number, data, from_client=from_client)
                writer.write(data)
                await writer.drain()
        if number not in self._void:
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

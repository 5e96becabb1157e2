"""The registry's callbacks as they pass, so that an old one can come again: late and out of order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

_MOST = 200
_ANSWER_S = 3.0


@dataclass(slots=True)
class Post:
    """Callbacks that passed, as bytes on the wire, signature and all."""

    letters: deque[bytearray] = field(default_factory=lambda: deque(maxlen=_MOST))
    again: int = 0
    _open: dict[int, bytearray] = field(default_factory=dict)

    def __call__(self, connection: int, data: bytes, *, from_client: bool) -> None:
        """Keep what the registry says."""
        if not from_client:
            return
        if data.startswith(b"POST "):
            self.letters.append(bytearray())
            self._open[connection] = self.letters[-1]
        if connection in self._open:
            self._open[connection] += data

    async def send_again(self, number: int, address: str) -> bool:
        """Send an old one to `address` once more. False where there is none yet or nobody answers."""
        if not self.letters:
            return False
        host, _, port = address.rpartition(":")
        answer = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(bytes(self.letters[number % len(self.letters)]))
                    answer = await reader.read(64)
                finally:
                    writer.transport.abort()
        self.again += answer.startswith(b"HTTP/1.1 2")
        return bool(answer)

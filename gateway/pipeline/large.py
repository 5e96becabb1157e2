"""Large messages go a way of their own, so that nobody else waits for them.

A scanned letter of 5 MiB takes some 25 ms to read and 100 to write, one that was made to be slow a hundred times as
long. It is judged in a process of its own (pipeline.helper) and kept by a second writer on its own connection, one such
message at a time: what it costs in memory is paid once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.pipeline.helper import HELPED_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pipeline.helper import Helper
    from gateway.store.inbox import Inbox

LARGE_BYTES = HELPED_BYTES


class LargeLane:
    """The line of large messages before their own inbox."""

    def __init__(self, inbox: Inbox, helper: Helper, *, waiting_bytes: int) -> None:
        """Keep at most `waiting_bytes` in line; `inbox` is nobody else's."""
        self.inbox = inbox
        self.helper = helper
        self._room = waiting_bytes
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def enter(self, size: int, work: Callable[[], Awaitable[None]]) -> bool:
        """Run `work` when it is its turn; False, and nothing of it, where too much waits already."""
        if size > self._room:
            return False
        self._room -= size
        task = asyncio.get_running_loop().create_task(self._wait(size, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def close(self) -> None:
        """Give up what is in line: nothing of it was promised."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self, size: int, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._turn:
                await work()
        finally:
            self._room += size

"""CPU time and memory of other processes, read from /proc (Linux). Nothing here starts or ends a process."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_TICKS_S = os.sysconf("SC_CLK_TCK")
_KB_A_MB = 1024
_EVERY_S = 0.1


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process used so far, user and system; 0 where it is gone."""
    with suppress(OSError):
        parts = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / _TICKS_S
    return 0.0


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in MiB; 0 where it is gone."""
    return _kilobytes(f"/proc/{pid}/status", "VmRSS:") / _KB_A_MB


def highest_memory_mb(pid: int) -> float:
    """Return the highest resident memory since the process began, or since `forget_highest`."""
    return _kilobytes(f"/proc/{pid}/status", "VmHWM:") / _KB_A_MB


def forget_highest(pid: int) -> None:
    """Set the highest resident memory back to the present one (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def own_memory_mb(pid: int) -> float:
    """Return its resident memory with shared pages divided among those who share them (PostgreSQL's buffers)."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:") / _KB_A_MB or memory_mb(pid)


def _kilobytes(path: str, key: str) -> int:
    with suppress(OSError):
        for line in Path(path).read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return 0


def with_children(pid: int) -> list[int]:
    """Return a process and its children: a PostgreSQL server and its sessions."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [pid, *map(int, children.split())]
    return [pid]


@dataclass
class Watch:
    """Reads the CPU time of named groups of processes ten times a second while it is open.

    Groups are functions, since a server's sessions come and go.
    """

    groups: dict[str, Callable[[], list[int]]]
    _samples: list[tuple[float, dict[str, dict[int, float]]]] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            now = {name: {pid: cpu_s(pid) for pid in pids()} for name, pids in self.groups.items()}
            self._samples.append((time.monotonic(), now))
            await asyncio.sleep(_EVERY_S)

    def cores(self, *, skip_first_s: float, skip_last_s: float) -> dict[str, float]:
        """Return how many cores each group used on average, without the start and the end of the watch."""
        begin, end = self._samples[0][0] + skip_first_s, self._samples[-1][0] - skip_last_s
        inside = [sample for sample in self._samples if begin <= sample[0] <= end] or self._samples
        (first_at, first), (last_at, last) = inside[0], inside[-1]
        if last_at <= first_at:
            return dict.fromkeys(self.groups, 0.0)
        return {
            name: sum(used - first[name].get(pid, 0.0) for pid, used in last[name].items()) / (last_at - first_at)
            for name in self.groups
        }

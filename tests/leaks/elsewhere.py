"""What one test could leave behind outside of this process: processes that go on, and temporary directories."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")
MARK = "TEST_SESSION"  # in the environment of everything that this session starts


class Processes:
    """The processes that this session started, whoever is their parent by now."""

    def __init__(self, mark: str, directory: Path) -> None:
        self._signs = (f"{MARK}={mark}\0".encode(), f"{directory}{os.sep}".encode())

    @staticmethod
    def running() -> frozenset[int]:
        """Return the ids of all processes of this machine; none where there is no /proc."""
        return frozenset(int(name) for name in os.listdir(PROC) if name.isdigit()) if PROC.exists() else frozenset()  # noqa: PTH208

    def left(self, before: frozenset[int]) -> dict[int, str]:
        """Return the command lines of what was started since and still runs.

        What a process from before started is that process's: a server of the session has children that come and go.
        """
        found = {}
        for pid in self.running() - before:
            with suppress(OSError, ValueError, IndexError):
                command = (PROC / str(pid) / "cmdline").read_bytes()
                if self._is_ours(pid, command) and not self._is_of_another(pid, before):
                    found[pid] = command.replace(b"\0", b" ").decode(errors="replace")[:150]
        return found

    def _is_ours(self, pid: int, command: bytes) -> bool:
        parent, state = _parent(pid)
        if state == "Z":  # it has ended; whoever started it has not looked yet
            return False
        environment = (PROC / str(pid) / "environ").read_bytes()
        return parent == os.getpid() or any(sign in command or sign in environment for sign in self._signs)

    @staticmethod
    def _is_of_another(pid: int, before: frozenset[int]) -> bool:
        parent, _ = _parent(pid)
        while parent > 1 and parent != os.getpid():
            if parent in before:
                return True
            parent, _ = _parent(parent)
        return False


def _parent(pid: int) -> tuple[int, str]:
    """Return the parent's id and the state. Raises OSError for a process that is gone."""
    state, parent = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[:2]
    return int(parent), state


class Temporary:
    """The temporary files and directories that this process made beside pytest's own, told by Python's audit events."""

    def __init__(self, ours: Path) -> None:
        self._ours = f"{ours}{os.sep}"
        self._made: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"tempfile.mkdtemp", "tempfile.mkstemp"}:
            self._made.append(os.fsdecode(arguments[0]))

    def forget(self) -> None:
        """Take what is there for what was there before."""
        self._made.clear()

    def left(self) -> Iterator[str]:
        """Yield what was made since `forget` and lies there still, outside of pytest's own directory."""
        for path in self._made:
            if not path.startswith(self._ours) and Path(path).exists():
                yield path

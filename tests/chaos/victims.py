"""What is killed: processes that a supervisor starts again, and a PostgreSQL with all its backends.

A victim is kept up as an init system would keep it: whatever ends it, it comes back after a pause. Only what this run
started is ever signalled, by its own process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from gateway.errors import DatabaseStartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).parent.parent.parent
LOOK_S = 0.02
_NO_LIMIT = resource.RLIM_INFINITY
_PRLIMIT = "/usr/bin/prlimit"  # util-linux; where it is absent no disk is ever full
_STARTS = 5
_BY_ITSELF_S = 0.3  # before a process that ended of its own accord is started again


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill or pause: who, when it fell and when it was started again (seconds of the monotonic clock)."""

    victim: str
    at: float
    again_at: float

    @property
    def kind(self) -> str:
        """The victim without its number."""
        return self.victim.rstrip("0123456789")


@dataclass(slots=True)
class Book:
    """Every kill and pause of a run, in order."""

    kills: list[Kill] = field(default_factory=list)
    pauses: list[Kill] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)  # by kind: seconds from start to listening

    def started(self, name: str, seconds: float) -> None:
        """Write down how long a start took."""
        self.starts.setdefault(name.rstrip("0123456789"), []).append(seconds)


class Program:
    """A process with a ready file, kept up until `end`."""

    def __init__(
        self,
        name: str,
        command: list[str],
        directory: Path,
        book: Book,
        environment: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self.name = name
        self.ended_by_itself = 0
        self.log = directory / f"{name}.out"
        self._command = command
        self._environment = environment  # of the next start
        self._ready_file = directory / f"{name}.ready.json"
        self._book = book
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: dict[str, Any] = {}
        self._rest_s = _BY_ITSELF_S
        self._killed_at = 0.0
        self._extra: list[str] = []
        self._keeper: asyncio.Task[None] | None = None

    @property
    def ready(self) -> dict[str, Any]:
        """What the living process wrote into its ready file; empty until it listens."""
        return self._ready

    @property
    def pid(self) -> int:
        """Its process id, 0 while it is down."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def set_command(self, command: list[str]) -> None:
        """Say how it is started, where that was not known before."""
        self._command = command

    def start(self) -> None:
        """Keep it up from now on."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def until_ready(self, within_s: float = 60.0) -> None:
        """Wait until it lives and listens. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not (self._ready and self.pid):  # noqa: ASYNC110 - a file of another process tells it
                await asyncio.sleep(LOOK_S)

    def kill(self, rest_s: float, extra: list[str] | None = None) -> bool:
        """SIGKILL; it is started again after `rest_s`, with `extra` arguments. False where it is down already."""
        if not self.pid or self._killed_at:
            return False
        self._rest_s, self._extra = rest_s, list(extra or ())
        self._killed_at = time.monotonic()
        self._ready = {}  # from here on: what the dead one wrote says nothing of the next
        os.kill(self.pid, signal.SIGKILL)
        return True

    async def pause(self, seconds: float) -> bool:
        """SIGSTOP, and SIGCONT after `seconds`. False where it was down."""
        process = self._process
        if process is None or not self.pid or self._killed_at:
            return False
        self._book.pauses.append(Kill(self.name, time.monotonic(), time.monotonic() + seconds))
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)  # does nothing where it was killed meanwhile and reaped
        return True

    async def fill(self, seconds: float) -> bool:
        """Let it write nothing to any file for `seconds`, as on a full disk. False where it was down."""
        pid = self.pid
        if not pid or self._killed_at:
            return False
        _limit_files(pid, 0)
        await asyncio.sleep(seconds)
        if self.pid == pid:
            _limit_files(pid, _NO_LIMIT)
        return True

    async def end(self) -> None:
        """End it for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None and self.pid:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, 15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)

    async def _keep(self) -> None:
        while True:
            self._spawn()
            await self._while_it_lives()
            self._ready = {}
            if self._killed_at:
                await asyncio.sleep(self._rest_s)
                self._book.kills.append(Kill(self.name, self._killed_at, time.monotonic()))
                self._killed_at = 0.0
            else:
                self.ended_by_itself += 1
                self._extra = []
                await asyncio.sleep(_BY_ITSELF_S)

    def _spawn(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        command = [*self._command, *self._extra, "--ready-file", str(self._ready_file)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self._environment()}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment)

    async def _while_it_lives(self) -> None:
        assert self._process is not None
        began = time.monotonic()
        while self._process.poll() is None:
            if not self._ready and not self._killed_at:
                with contextlib.suppress(OSError, ValueError):
                    self._ready = json.loads(self._ready_file.read_text(encoding="utf-8"))
                    self._book.started(self.name, time.monotonic() - began)
            await asyncio.sleep(LOOK_S)


class Postgres:
    """The one PostgreSQL. Killed with every backend, it is started again by its supervisor, as after a power cut."""

    name = "postgres"

    def __init__(self, server: EmbeddedPostgres, book: Book) -> None:
        self._server = server
        self._book = book
        self._down = False

    async def kill(self, rest_s: float, *, even_dead: bool = False) -> bool:
        """SIGKILL the postmaster and all its children; start it again after `rest_s`. False where it is down."""
        pid = self._server.pid
        if self._down or (pid is None and not even_dead):
            return False
        self._down = True
        at = time.monotonic()
        for victim in (pid, *_children(pid)) if pid is not None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        await self._server.wait_dead()
        await asyncio.sleep(rest_s)
        again_at = time.monotonic()
        await self._restart()
        self._book.started(self.name, time.monotonic() - again_at)
        self._book.kills.append(Kill(self.name, at, again_at))
        self._down = False
        return True

    async def fill(self, seconds: float, rest_s: float) -> bool:
        """Let the server write nothing for `seconds`, as on a full disk: it panics at its log and can't start.

        Whatever is left of it then is killed and started again with room. False where it is down.
        """
        pid = self._server.pid
        if self._down or pid is None:
            return False
        for each in (pid, *_children(pid)):
            with contextlib.suppress(ProcessLookupError):
                _limit_files(each, 0)
        await asyncio.sleep(seconds)
        return await self.kill(rest_s, even_dead=True)

    async def read_only(self, seconds: float) -> bool:
        """Let new transactions write nothing for `seconds`, as a standby does or a guard before a full disk."""
        if not await self._set_read_only("on"):
            return False
        await asyncio.sleep(seconds)
        while not await self._set_read_only("off"):  # noqa: ASYNC110 - it may be down, or killed meanwhile
            await asyncio.sleep(0.2)
        return True

    async def _set_read_only(self, value: str) -> bool:
        """Say it to the server; False where it does not hear."""
        try:
            connection = await asyncpg.connect(self._server.superuser_dsn, timeout=2)
            try:
                await connection.execute("SET default_transaction_read_only = off")
                await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
                await connection.execute("SELECT pg_reload_conf()")
            finally:
                await connection.close(timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def _restart(self) -> None:
        for left in reversed(range(_STARTS)):
            try:
                await self._server.restart()
                break
            except DatabaseStartError:  # a backend that outlived its postmaster holds the shared memory a moment longer
                if not left:
                    raise
                await asyncio.sleep(1)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _limit_files(pid: int, size: int) -> None:
    """Set how large a file `pid` may write; beyond it a write fails with EFBIG, where a full disk says ENOSPC."""
    try:
        owner = Path(f"/proc/{pid}").stat()
    except FileNotFoundError:
        return
    # As its owner: PostgreSQL may run as another user, and root alone may not do it everywhere.
    command = [_PRLIMIT, "--pid", str(pid), f"--fsize={'unlimited' if size == _NO_LIMIT else size}:"]
    if os.geteuid() == 0:
        subprocess.run(command, check=False, capture_output=True, user=owner.st_uid, group=owner.st_gid)
    else:
        subprocess.run(command, check=False, capture_output=True)

"""Which user the embedded server runs as, and how a child becomes that user.

PostgreSQL refuses uid 0, so a root supervisor gives its children to a dedicated uid, without any capability. Only where
that uid cannot walk in (a checkout or data below a 0700 home), whose modes are not ours to change, the child keeps
exactly one, to read and search past file modes; who starts it says so. SQL cannot use it: the gateway's role is no
superuser.

This module starts and ends processes, nothing else. It knows neither PostgreSQL nor the data directory's layout.
"""

from __future__ import annotations

import asyncio
import ctypes
import grp
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gateway.errors import DatabaseStartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DEDICATED_ID = 64709  # below 65536, so that it is mapped in rootless containers; nobody is shared with other daemons
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
_CAP_SETPCAP = 8

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPSET_V3 = 0x20080522

# Resolved before any fork: between fork and exec nothing may be looked up or imported.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to run as, and the one capability it needs to reach its files, if any, because of a closed place."""

    uid: int
    gid: int
    capability: int | None = None
    closed: Path | None = None

    @property
    def differs(self) -> bool:
        """Tell whether a child has to change its user to become this one."""
        return self.uid != os.geteuid()


def identity_for(uid: int, gid: int, paths: Iterable[Path], programs: Iterable[Path]) -> Identity:
    """Return the identity of `uid`, with a capability if it could not reach `paths` and run `programs` without."""
    plain = Identity(uid, gid)
    if not plain.differs:
        return plain
    programs = tuple(programs)
    above = {parent for path in (*paths, *programs) for parent in path.parents}
    closed = [place for place in sorted(above) if not _may_pass(place, plain)]
    locked = [program for program in programs if not _may_pass(program, plain)]
    if not closed and not locked:
        return plain
    first = (*closed, *locked)[0]
    return Identity(uid, gid, _capability_for(first, may_execute=not locked), first)


def let_pass(directory: Path, identity: Identity) -> None:
    """Let a user walk through a directory of ours without seeing what lies in it; as root only. Raises OSError.

    Its group where the directory gives that group nothing else, or everybody: a mode that others rely on stays.
    """
    status = directory.stat()
    if os.geteuid() != 0 or status.st_uid != 0 or _may_pass(directory, identity):
        return
    if status.st_mode & 0o070:
        directory.chmod(status.st_mode & 0o7777 | 0o001)
        return
    os.chown(directory, 0, identity.gid)
    directory.chmod(status.st_mode & 0o7777 | 0o010)


def unused_id() -> int:
    """Return the dedicated id, or the next one that neither a user nor a group has."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    return next(number for number in range(DEDICATED_ID, 2**16) if number not in taken and number != 2**16 - 2)


def spawn(
    command: Sequence[str], identity: Identity, *, output: BinaryIO, parent_signal: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start `command` as `identity`, so that it gets `parent_signal` when this process dies, even by kill -9.

    The kernel sends it when the *thread* that forked dies, hence the main thread only. A session of its own keeps
    Ctrl-C from reaching the server before the gateway has drained. The environment is not inherited: it may hold
    secrets and PG* variables.
    """
    if threading.current_thread() is not threading.main_thread():
        raise DatabaseStartError(
            "The embedded PostgreSQL must be started from the main thread: it dies with its thread."
        )
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return subprocess.Popen(  # noqa: S603 - our own binaries, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env={**kept, "LC_ALL": "C"},
        start_new_session=True,
        umask=0o077,
        preexec_fn=_becoming(identity, parent_signal),  # noqa: PLW1509 - touches nothing a thread could hold
    )


async def finished(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait for a child of ours and return its status, or None if it still runs then.

    By asking, because a thread that waits would outlive a cancelled caller.
    """
    deadline = time.monotonic() + seconds
    while True:
        status = process.poll()
        if status is not None or time.monotonic() > deadline:
            return status
        await asyncio.sleep(0.02)


async def end(process: subprocess.Popen[bytes], *polite: signal.Signals, seconds: float = 60.0) -> None:
    """End a child of ours: each signal of `polite` in turn, `seconds` for each, at last SIGKILL."""
    for number in (*polite, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        await finished(process, seconds)


def _may_pass(path: Path, identity: Identity) -> bool:
    """Tell whether mode bits let `identity` through a directory, or run a program. They are the same bit."""
    status = path.stat()
    shift = 6 if status.st_uid == identity.uid else 3 if status.st_gid == identity.gid else 0
    return bool(status.st_mode >> shift & 1)


def _capability_for(blocked: Path, *, may_execute: bool) -> int:
    """Choose the smallest capability that opens `blocked`. Root in Docker lacks the reading one, hence the second."""
    held = _capabilities_held()
    wanted = (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if may_execute else (CAP_DAC_OVERRIDE,)
    for capability in wanted:
        if held >> capability & 1 and held >> _CAP_SETPCAP & 1:
            return capability
    raise DatabaseStartError(
        f"The embedded PostgreSQL may not run as root, {blocked} is closed to every other user, and this process may "
        "not hand a capability on (it needs SETPCAP and DAC_READ_SEARCH or DAC_OVERRIDE). "
        "Choose --data (or an installation) outside closed directories, or run as an ordinary user."
    )


def _capabilities_held() -> int:
    """Return the bit mask of capabilities that this process has and may pass on."""
    if sys.platform != "linux":
        return 0
    fields = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines())
    return int(fields["CapPrm"], 16) & int(fields["CapBnd"], 16)


def _becoming(identity: Identity, parent_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def become() -> None:
        if identity.differs:
            _drop(identity)
        if sys.platform == "linux":
            _prctl(_PR_SET_PDEATHSIG, parent_signal)  # last: a change of uid clears it
            if os.getppid() != parent:
                os._exit(1)  # the parent died before the kernel knew whom to tell

    return become


def _drop(identity: Identity) -> None:
    """Become `identity` for good. Without a capability setuid clears them all; with one, exactly that one stays.

    NO_SETUID_FIXUP matters twice: permitted capabilities outlive setuid, and access(2), by which PostgreSQL looks for
    its own programs, asks the capabilities of a user that is not root, too.
    """
    if identity.capability is not None:
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(identity.gid)
    os.setuid(identity.uid)  # from uid 0: real, effective and saved
    if identity.capability is not None:
        _keep_only(identity.capability)
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _keep_only(capability: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPSET_V3, 0)
    low = 1 << capability
    sets = (ctypes.c_uint32 * 6)(low, low, low, 0, 0, 0)  # effective, permitted, inheritable; then their upper halves
    _checked(_LIBC.capset(header, sets) if _LIBC else -1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, first: int, second: int = 0) -> None:
    words = [ctypes.c_ulong(word) for word in (first, second, 0, 0)]
    _checked(_LIBC.prctl(option, *words) if _LIBC else -1)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

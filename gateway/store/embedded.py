"""The embedded PostgreSQL: one server of our own, in one directory, that lives and dies with this process.

It owns the server process, its settings, its socket and the two roles: `postgres`, the superuser, which nothing but
this supervisor, backup and tests may use, and `procot`, which owns the gateway's database and can reach no file.
It writes nothing outside its directory, save a socket directory under a short name where the own one is too long.
It knows no table; `migrate` makes those.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import asyncpg
import structlog

from gateway.errors import DatabaseStartError
from gateway.store.cluster import SUPERUSER, Binaries, Cluster, DirectoryLock, outlive_predecessors, write_private
from gateway.store.privilege import end, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROLE = "procot"
DATABASE = "procot"
_PORT = 5432
_SILENCE_SECONDS = 120.0  # without a word from the server; while it says that it is recovering there is no limit
_RETRY_SECONDS = 60.0  # a killed predecessor's traces may take so long to go
_STOP_SECONDS = 60.0
_SOCKET_BYTES = 107 - len(f"/.s.PGSQL.{_PORT}")  # sun_path, less its final NUL
_LOG_FILES = 5
_TIDY_SECONDS = 60.0
_PREDECESSOR = ("already exists", "still in use")  # what PostgreSQL says of a predecessor's traces

_SETTINGS: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "max_connections": "60",
    "wal_level": "replica",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}

# Not the caller's to change: who can connect, and that no personal data gets into the server's log.
_FIXED: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "logging_collector": "on",
    "log_destination": "stderr",
    "log_filename": "postgres-%Y%m%dT%H%M%S.log",
    "log_file_mode": "0600",
    "log_rotation_size": "10MB",
    "log_rotation_age": "0",
}

# An error's text may quote the value that caused it. The role's own sessions therefore write no errors to the log
# (the gateway gets each of them as an exception); only a superuser may change that.
_ROLE_STATEMENTS = (
    f"ALTER ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{{password}}'",
    f"ALTER ROLE {ROLE} SET log_min_messages = 'log'",
    f"ALTER ROLE {ROLE} SET log_error_verbosity = 'terse'",
)


class EmbeddedPostgres:
    """The supervisor of one embedded server. Start it from the main thread: the server dies with the thread.

    `within` is the data directory that it lies in, if that is ours too: root opens it to the server's user to pass.
    """

    def __init__(
        self, directory: Path, *, within: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory.resolve()
        self._within = within.resolve() if within else None
        self._settings = {**_SETTINGS, **(settings or {}), **_FIXED}
        self._lock: DirectoryLock | None = None
        self._cluster: Cluster | None = None
        self._socket: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The gateway's DSN: role and database `procot`. It stays the same over restarts of the server."""
        return self._dsn(ROLE, DATABASE)

    @property
    def superuser_dsn(self) -> str:
        """The superuser's DSN, for the supervisor, backup and tests only. The gateway never connects with it."""
        return self._dsn(SUPERUSER, "postgres")

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self) -> str:
        """Hold the directory, make the cluster if there is none, start the server, return the gateway's DSN."""
        if self._lock is not None:
            raise DatabaseStartError(f"The server in {self._directory} was already started by this supervisor.")
        with _explained(self._directory):
            binaries = Binaries.locate()
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = DirectoryLock.take(self._directory)
            try:
                self._cluster = Cluster.of(self._directory, binaries)
                self._cluster.open_to_server(self._within)
                await self._cluster.ensure()
                await self._launch(self._cluster)
            except BaseException:
                await self.stop()
                raise
        return self.dsn

    async def restart(self) -> None:
        """Start the server anew after it died, or stop and start a living one. Lock and DSN stay the same."""
        cluster = self._held()
        with _explained(self._directory):
            if self._process is not None:
                await end(self._process, signal.SIGINT, signal.SIGQUIT, seconds=_STOP_SECONDS)
            await self._launch(cluster)

    async def stop(self) -> None:
        """Shut the server down: sessions are ended, what was committed is checkpointed. Then let the directory go."""
        try:
            if self._process is not None:
                await end(self._process, signal.SIGINT, signal.SIGQUIT, seconds=_STOP_SECONDS)
                structlog.get_logger().info("postgres.stopped", directory=str(self._directory))
        finally:
            self._release()

    async def wait_dead(self) -> int:
        """Return the exit status once the postmaster has died, however it did (after `stop` too, so no task hangs).

        While it waits it keeps the server's log within its bound.
        """
        process, cluster = self._process, self._held()
        if process is None:
            raise DatabaseStartError(f"There is no server in {self._directory} to wait for.")
        tidied = time.monotonic()
        while (status := process.poll()) is None:
            await asyncio.sleep(0.1)
            if time.monotonic() - tidied > _TIDY_SECONDS:
                tidied = time.monotonic()
                _tidy(cluster.log)
        return status

    async def _launch(self, cluster: Cluster) -> None:
        """Bring the server up and see to the role, again and again while a killed predecessor is in the way."""
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            await outlive_predecessors(cluster.data)
            self._socket = _socket_directory(cluster, self._socket)
            _tidy(cluster.log)
            self._process = self._spawn(cluster, self._socket)
            connection = await self._ready(self._process, cluster)
            if connection is not None:
                break
            if time.monotonic() > deadline:
                raise DatabaseStartError(f"PostgreSQL in {self._directory} does not start. {_last_words(cluster)}")
            await asyncio.sleep(0.2)
        try:
            await _provide(connection, cluster.password(ROLE))
        finally:
            await connection.close()
        structlog.get_logger().info("postgres.started", directory=str(self._directory), pid=self._process.pid)

    def _spawn(self, cluster: Cluster, socket: Path) -> subprocess.Popen[bytes]:
        cluster.give(cluster.log, 0o700)
        places = {"unix_socket_directories": f'"{socket}"', "log_directory": str(cluster.log)}
        options = [f"--{name}={value}" for name, value in {**self._settings, **places}.items()]
        identity = cluster.identity(socket)
        if identity.closed is not None:
            structlog.get_logger().warning("postgres.capability", directory=str(identity.closed))
        with cluster.new_startup_log() as output:
            return spawn(
                [str(cluster.binaries.postgres), "-D", str(cluster.data), *options],
                identity,
                output=output,
                parent_signal=signal.SIGINT,
            )

    async def _ready(self, process: subprocess.Popen[bytes], cluster: Cluster) -> asyncpg.Connection | None:
        """Return a superuser's connection to the server, or None if a predecessor's traces made it exit.

        A server that recovers is never given up: to interrupt it would only make it begin again.
        """
        heard = time.monotonic()
        while process.poll() is None:
            try:
                return await asyncpg.connect(self.superuser_dsn, timeout=10)
            except (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError):
                heard = time.monotonic()
            except asyncpg.InvalidAuthorizationSpecificationError as error:
                raise DatabaseStartError(
                    f"The superuser's password in {self._directory} does not fit its cluster. "
                    "Restore password.postgres and data from one backup."
                ) from error
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError):  # not there yet, or going
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    raise DatabaseStartError(f"PostgreSQL does not answer. {_last_words(cluster)}") from None
            await asyncio.sleep(0.02)
        said = cluster.startup_log.read_text("utf-8", "replace")
        if any(trace in said for trace in _PREDECESSOR):
            return None
        raise DatabaseStartError(
            f"PostgreSQL ended with status {process.returncode} before it was ready. {_last_words(cluster)}"
        )

    def _dsn(self, role: str, database: str) -> str:
        cluster = self._held()
        host = quote(str(self._socket), safe="")
        return f"postgresql://{role}:{cluster.password(role)}@/{database}?host={host}&port={_PORT}"

    def _held(self) -> Cluster:
        if self._cluster is None:
            raise DatabaseStartError(f"The embedded PostgreSQL in {self._directory} is not started.")
        return self._cluster

    def _release(self) -> None:
        if self._socket is not None and self._socket.parent != self._directory:
            shutil.rmtree(self._socket, ignore_errors=True)
            (self._directory / "socket").unlink(missing_ok=True)
        self._process = self._socket = self._cluster = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


async def _provide(connection: asyncpg.Connection, password: str) -> None:
    """See to the gateway's role and database. Repeated at each start, so that a kill in between is healed."""
    if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", ROLE):
        await connection.execute(f"CREATE ROLE {ROLE}")
    for statement in _ROLE_STATEMENTS:
        await connection.execute(statement.format(password=password))
    if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
        await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
    await connection.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")


def _socket_directory(cluster: Cluster, current: Path | None) -> Path:
    """Return a directory for the socket that only the server's user and we can enter, empty of older sockets."""
    own = cluster.directory / "run"
    chosen = current or (own if _fits(own) else _short_directory(cluster))
    cluster.give(chosen, 0o700)
    status = chosen.lstat()
    if not chosen.is_dir() or chosen.is_symlink() or status.st_mode & 0o077 or status.st_uid != cluster.uid:
        raise DatabaseStartError(f"{chosen} is not a directory closed to other users. Remove it, then start again.")
    for name in (f".s.PGSQL.{_PORT}", f".s.PGSQL.{_PORT}.lock"):
        (chosen / name).unlink(missing_ok=True)
    return chosen


def _fits(path: Path) -> bool:
    """Tell whether a socket in `path` can have an address, and a DSN name it (a comma there separates hosts)."""
    return len(os.fsencode(path)) <= _SOCKET_BYTES and "," not in str(path) and '"' not in str(path)


def _short_directory(cluster: Cluster) -> Path:
    """Return a short private directory, the remembered one if a killed supervisor left it, else a new one."""
    memory = cluster.directory / "socket"
    if memory.is_file():
        remembered = Path(memory.read_text("utf-8"))
        try:
            if remembered.lstat().st_uid in (cluster.uid, os.geteuid()) and remembered.name.startswith("procot-"):
                return remembered
        except FileNotFoundError:
            memory.unlink()
    for parent in (Path(tempfile.gettempdir()).resolve(), Path("/tmp").resolve()):  # noqa: S108 - mkdtemp below it
        if _fits(parent / "procot-12345678"):
            short = Path(tempfile.mkdtemp(prefix="procot-", dir=parent))
            write_private(memory, str(short))
            return short
    raise DatabaseStartError("There is no temporary directory with a name short enough for a socket. Set TMPDIR.")


def _tidy(log: Path) -> None:
    for old in sorted(log.glob("postgres-*.log"))[:-_LOG_FILES]:
        old.unlink(missing_ok=True)


def _last_words(cluster: Cluster) -> str:
    """Return the end of what the server wrote, for an error's text."""
    files = [cluster.startup_log, *sorted(cluster.log.glob("postgres-*.log"))[-1:]]
    texts = [path.read_text("utf-8", "replace") for path in files if path.is_file() and not path.is_symlink()]
    lines = [line for text in texts for line in text.splitlines()[-8:]]
    return "\n".join((f"The last lines of its log ({cluster.log}):", *lines))


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn what the system or the server refuses into the error of this port."""
    try:
        yield
    except (OSError, subprocess.SubprocessError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseStartError(
            f"The embedded PostgreSQL in {directory} cannot be started: {error}. "
            "Check the owner, the mode and the free space of that directory."
        ) from error

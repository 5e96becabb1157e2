"""A primary and its synchronous standby from the embedded binaries: one may be killed, the other promoted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import asyncpg

from gateway.store.cluster import SUPERUSER, Binaries, Cluster, _give_tree, write_private
from gateway.store.embedded import DATABASE, ROLE, _provide
from gateway.store.privilege import end, spawn

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator

_PORT = 5432
_PATIENCE_S = 60.0


@dataclass
class Server:
    """One of the two."""

    cluster: Cluster
    socket: Path
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, directory: Path, binaries: Binaries) -> Server:
        directory.mkdir(mode=0o700)
        cluster = Cluster.of(directory, binaries)
        cluster.open_to_server()
        cluster.give(directory / "run", 0o700)
        return cls(cluster, directory / "run")

    def start(self) -> None:
        options = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": str(self.socket),
            "unix_socket_permissions": "0700",
            "wal_level": "replica",
            "hot_standby": "on",
            "fsync": "on",
            "synchronous_commit": "on",
            "max_connections": "60",
            "wal_receiver_status_interval": "1s",
        }
        with self.cluster.new_startup_log() as output:
            self.process = spawn(
                [str(self.cluster.binaries.postgres), "-D", str(self.cluster.data)]
                + [f"--{name}={value}" for name, value in options.items()],
                self.cluster.identity(self.socket),
                output=output,
                parent_signal=signal.SIGINT,
            )

    async def superuser(self) -> asyncpg.Connection:
        """Connect as soon as the server lets one in."""
        password = self.cluster.password(SUPERUSER)
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    return await asyncpg.connect(
                        host=str(self.socket), port=_PORT, user=SUPERUSER, password=password, database="postgres"
                    )
                except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError):
                    assert self.process is not None
                    assert self.process.poll() is None, self.cluster.startup_log.read_text()
                    await asyncio.sleep(0.02)

    async def ask(self, sql: str) -> object:
        connection = await self.superuser()
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    def kill(self) -> None:
        """Kill -9 the postmaster and every process of it in the same moment."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Pair:
    """Both, and a DSN that names both."""

    primary: Server
    standby: Server

    @property
    def dsn(self) -> str:
        hosts = ",".join(quote(str(server.socket), safe="/") for server in (self.primary, self.standby))
        password = self.primary.cluster.password(ROLE)
        return (
            f"postgresql://{ROLE}:{password}@/{DATABASE}?host={hosts}&port={_PORT},{_PORT}"
            "&target_session_attrs=read-write"
        )

    async def promote(self) -> None:
        assert await self.standby.ask("SELECT pg_promote(true, 60)")


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Lend a primary whose commits wait for its standby."""
    top = Path(tempfile.mkdtemp(prefix="procot-ha-", dir="/tmp"))
    servers: list[Server] = []
    try:
        binaries = Binaries.locate()
        primary = Server.of(top / "a", binaries)
        servers.append(primary)
        await primary.cluster.ensure()
        primary.start()
        connection = await primary.superuser()
        await _provide(connection, primary.cluster.password(ROLE))
        standby = await _standby_of(primary, top / "b")
        servers.append(standby)
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(_PATIENCE_S):
            while await connection.fetchval("SELECT sync_state FROM pg_stat_replication") != "sync":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await connection.close()
        yield Pair(primary, standby)
    finally:
        for server in servers:
            if server.process is not None:
                await end(server.process, signal.SIGINT, signal.SIGQUIT)
        shutil.rmtree(top, ignore_errors=True)


async def _standby_of(primary: Server, directory: Path) -> Server:
    """Copy the primary as it runs; the copy follows it."""
    password = primary.cluster.password(SUPERUSER)
    await asyncio.to_thread(directory.mkdir, mode=0o700)
    write_private(directory / f"password.{SUPERUSER}", password)
    program = primary.cluster.binaries.postgres.with_name("pg_basebackup")
    copying = await asyncio.create_subprocess_exec(
        program, "-D", directory / "data", "-h", primary.socket, "-p", str(_PORT), "-U", SUPERUSER,
        "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-password",
        env={"PGPASSWORD": password, "LC_ALL": "C", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert await copying.wait() == 0
    if os.geteuid() == 0:
        _give_tree(directory / "data", primary.cluster.uid, primary.cluster.gid)
    cluster = Cluster.of(directory, primary.cluster.binaries)
    cluster.open_to_server()
    cluster.give(directory / "run", 0o700)
    standby = Server(cluster, directory / "run")
    standby.start()
    await (await standby.superuser()).close()
    return standby

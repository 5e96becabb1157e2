"""The servers under measurement: our gateway in one or two processes, the rivals, and the floors. Each on a free port.

Every server is a process of its own, started for one round and ended after it. Nothing here measures.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import processes

from gateway.app import write_private
from gateway.evidence.keys import Keyring
from gateway.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "bench" / "peers"
NODE_MODULES = ROOT / "bench" / "node_modules"
NODE_PACKAGES = ("simple-hl7@3.3.0", "@medplum/hl7@4.5.2")
COMPILED = ROOT / ".venv-compiled" / "bin" / "procot"  # by `make compiled`; absent without a C compiler
PATIENCE_S = 60.0


@dataclass(slots=True)
class Running:
    """A server's address and the processes whose CPU and memory are its own."""

    address: str
    pids: list[int] = field(default_factory=list)
    stores: bool = False  # whether PostgreSQL's CPU time is spent for it
    http: str = ""  # HOST:PORT of the first gateway's HTTP

    def memory_mb(self) -> float:
        """Return the largest resident memory among the processes, in MiB."""
        return round(max(processes.memory_mb(pid) for pid in self.pids), 1)


class Workshop:
    """A directory with a PostgreSQL, keys and configuration, in which servers are started."""

    def __init__(self, directory: Path, server: EmbeddedPostgres) -> None:
        self.directory = directory
        self.server = server
        self.dsn = server.dsn
        self.registry_pid = 0  # of the sandbox while it runs

    def postgres(self) -> list[int]:
        """Return the process ids of PostgreSQL and its sessions."""
        return processes.with_children(self.server.pid) if self.server.pid else []

    @asynccontextmanager
    async def spawn(self, command: Sequence[str], *, name: str, cwd: Path = ROOT, **env: str) -> AsyncIterator[int]:
        """Run a program with its output in a log file; lends its pid and ends it afterwards."""
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - a fork, no wait
                list(command), stdout=log, stderr=log, cwd=cwd, env={**os.environ, **env}
            )
            try:
                yield process.pid
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.to_thread(process.wait, 10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    await asyncio.to_thread(process.wait)

    @asynccontextmanager
    async def gateway(
        self,
        count: int = 1,
        *,
        workers: int = 4,
        registry: str = "http://127.0.0.1:9",
        hospital: str = "",
        dsn: str = "",
        compiled: bool = False,
    ) -> AsyncIterator[Running]:
        """Run `procot serve` in so many processes on one address and one database, the workshop's or that of `dsn`."""
        program = [str(COMPILED)] if compiled else [sys.executable, "-m", "gateway.cli"]
        port = free_port()
        running = Running(f"127.0.0.1:{port}", stores=True)
        text = self._configuration(port, workers=workers, registry=registry, hospital=hospital, dsn=dsn or self.dsn)
        async with AsyncExitStack() as stack:
            for number in range(count):
                config = self.directory / f"gateway{number}.toml"
                config.write_text(text)
                ready = self.directory / f"gateway{number}.json"
                ready.unlink(missing_ok=True)
                command = [*program, "serve", "--config", str(config), "--ready-file", str(ready)]
                running.pids.append(await stack.enter_async_context(self.spawn(command, name=f"gateway{number}")))
                await until(ready.exists, f"gateway {number} (see {self.directory}/gateway{number}.log)")
                running.http = running.http or json.loads(ready.read_text())["http"].removeprefix("http://")
            yield running

    @asynccontextmanager
    async def program(self, name: str, command: Sequence[str], **env: str) -> AsyncIterator[Running]:
        """Run a rival or floor whose command has PORT in it."""
        port = free_port()
        arguments = [part.replace("PORT", str(port)) for part in command]
        async with self.spawn(arguments, name="".join(c if c.isalnum() else "-" for c in name), **env) as pid:
            await until(lambda: answers(port), f"{name} (see {self.directory})")
            yield Running(f"127.0.0.1:{port}", [pid], stores=self.dsn in arguments)

    @asynccontextmanager
    async def registry(self) -> AsyncIterator[str]:
        """Run the registry sandbox without delay; lends its URL."""
        ready = self.directory / "registry.json"
        ready.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "gateway.cli", "sandbox", "registry", "--listen", "127.0.0.1:0",
            "--data", str(self.directory / "registry"), "--gateway-jwks", str(self.directory / "jwks.json"),
            "--token-file", str(self.directory / "token"), "--work-seconds", "0", "--ready-file", str(ready),
        ]  # fmt: skip
        async with self.spawn(command, name="registry") as self.registry_pid:
            await until(ready.exists, "the registry sandbox")
            yield str(json.loads(ready.read_text())["registry"])

    def prepare(self) -> None:
        """Make keys and the registry's token."""
        keyring = Keyring(self.directory / "keys")
        keyring.open()
        write_private(self.directory / "jwks.json", json.dumps(keyring.jwks()))
        write_private(self.directory / "token", "a-token-of-the-benchmark")

    def _configuration(self, port: int, *, workers: int, registry: str, hospital: str, dsn: str) -> str:
        return f"""
            [gateway]
            workers = {workers}
            [database]
            dsn = "{dsn}"
            directory = "{self.directory}"
            [mllp]
            listen = "127.0.0.1:{port}"
            reuse_port = true
            [http]
            listen = "127.0.0.1:0"
            [limits]  # what can be done, not what one peer may do
            messages_per_s_per_peer = 0
            messages_per_s_per_facility = 0
            [observe]
            log_file = "{self.directory}/procot.log"
            [registry]
            url = "{registry}"
            twin_wait_s = 0
            token_file = "{self.directory}/token"
            check_user = "BENCH"
            check_password_file = "{self.directory}/token"
            check_ip = "127.0.0.1"
            [[facility]]
            code = "RSU CEMPAKA CONTOH"
            region = "3510"
            insecure = "msh-4"
            deliver_to = "{hospital}"
        """


@asynccontextmanager
async def workshop(directory: Path) -> AsyncIterator[Workshop]:
    """Start an embedded PostgreSQL with fsync on, for gateway and floor alike."""
    server = EmbeddedPostgres(directory / "postgres", settings={"shared_buffers": "256MB", "max_wal_size": "4GB"})
    await server.start()
    try:
        shop = Workshop(directory, server)
        shop.prepare()
        yield shop
    finally:
        await server.stop()


def rivals(dsn: str) -> dict[str, list[str]]:
    """Return the commands of what we are measured beside; Node's only where npm can fetch them."""
    python = sys.executable
    commands = {
        "floor: network": [python, str(PEERS / "floor_server.py"), "PORT", "network"],
        "floor: commit": [python, str(PEERS / "floor_server.py"), "PORT", "commit", dsn],
        "python-hl7": [python, str(PEERS / "python_hl7_server.py"), "PORT"],
    }
    if fetch_node_packages():
        node = str(PEERS / "node_server.cjs")
        commands["simple-hl7"] = ["node", node, "PORT", "simple-hl7"]
        commands["@medplum/hl7"] = ["node", node, "PORT", "medplum"]
    return commands


def fetch_node_packages() -> bool:
    """Fetch Node's rivals once, into bench/node_modules; tell whether they are there."""
    if not shutil.which("node") or not shutil.which("npm"):
        return False
    if all((NODE_MODULES / package.rpartition("@")[0]).exists() for package in NODE_PACKAGES):
        return True
    command = ["npm", "install", "--no-save", "--silent", "--prefix", str(ROOT / "bench"), *NODE_PACKAGES]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


async def until(there: Callable[[], bool], what: str) -> None:
    """Return as soon as `there()` is true; end the benchmark where it never is."""
    end = time.monotonic() + PATIENCE_S
    while not there():
        if time.monotonic() > end:
            raise SystemExit(f"did not start: {what}")
        await asyncio.sleep(0.05)


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    raise SystemExit(0 if fetch_node_packages() else f"needs node and npm, and a registry that has {NODE_PACKAGES}")

"""Gateways as processes, of this tree's code or a release's, on one database; registry and hospital live in the test.

`house` lends what stays: the counterparts, whose records count at the end. `House.node` runs a gateway, `House.command`
the command line of the same code. Each process finds its code by PYTHONPATH and works in a directory of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg

from adapters.dukcapil.sandbox.server import RegistrySandbox, RegistrySandboxSettings, open_sandbox
from adapters.hospital.sandbox import HospitalSandbox
from gateway.app import split_address, utc_now
from gateway.cli.sandbox import HospitalListener
from gateway.errors import DeliveryUnavailableError
from gateway.evidence.keys import Keyring
from gateway.mllp.client import MllpClient, acknowledgement
from tests.released import serve
from tests.simulators.facilities import CLINIC, HOSPITAL
from tests.simulators.forked import Forked
from tests.simulators.system import TOKEN, control_id_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Sequence

    from gateway.cli.demo_births import DemoBirth

THIS_TREE = Path(__file__).parents[2]
SERVE = Path(serve.__file__)
Process = Forked | subprocess.Popen[bytes]
PATIENCE_S = 60.0
LOOK_S = 0.02
ANSWER_S = 10.0  # as long as a sender waits for an answer


@dataclass(slots=True)
class Node:
    """One gateway process."""

    process: Process
    mllp: str
    http: str
    code: Path  # where its code lies

    async def stop(self) -> float:
        """SIGTERM; wait for its end and return how many seconds that took. It must end with 0."""
        began = time.monotonic()
        self.process.terminate()
        status = await asyncio.wait_for(asyncio.to_thread(self.process.wait), PATIENCE_S)
        assert status == 0, f"the gateway ended with {status}"
        return time.monotonic() - began


@dataclass(slots=True)
class House:
    """What stays while gateways come and go."""

    directory: Path
    logs: Path
    dsn: str
    registry: RegistrySandbox
    registry_url: str
    hospital: HospitalSandbox
    listener: str
    moment: str = ""
    nodes: list[Node] = field(default_factory=list)

    @asynccontextmanager
    async def node(self, code: Path = THIS_TREE, *, migrate: str = "start") -> AsyncIterator[Node]:
        """Run a gateway of that code; it is killed at the end where it has not ended before."""
        name = f"node-{uuid4().hex[:8]}"
        config, ready = self.configuration(name, migrate=migrate), self.directory / f"{name}.ready"
        log = self.logs / f"{self.directory.name}-{name}.log"
        process = self._start(code, config, ready, log)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not ready.exists():
                    assert process.poll() is None, f"the gateway did not start: {log.read_text()[-2000:]}"
                    await asyncio.sleep(LOOK_S)
            about = json.loads(ready.read_text())
            node = Node(process, about["mllp"], about["http"], Path(about["code"]).parents[1])
            self.nodes.append(node)
            yield node
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)

    def _start(self, code: Path, config: Path, ready: Path, log: Path) -> Process:
        if code == THIS_TREE:
            return Forked(serve.run, config, ready, log, self.moment)
        arguments = (str(path) for path in (config, ready, log))
        command = [sys.executable, str(SERVE), *arguments, self.moment]
        return subprocess.Popen(command, cwd=self.directory, env=self._environment(code))

    async def command(self, *words: str, code: Path = THIS_TREE) -> subprocess.CompletedProcess[str]:
        """Run `procot WORDS --config …` of that code to its end."""
        config = self.configuration("command")
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "gateway.cli", *words, "--config", str(config)],
            cwd=self.directory,
            env=self._environment(code),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def configuration(self, name: str, *, migrate: str = "start") -> Path:
        """Write a process's configuration. Releases that do not know `database.migrate` get none."""
        own = self.directory / name
        own.mkdir(exist_ok=True)
        path = own / "procot.toml"
        line = "" if migrate == "start" else f'migrate = "{migrate}"'
        facilities = "".join(
            f'[[facility]]\ncode = "{code}"\nregion = "3510"\ndeliver_to = "{self.listener}"\n'
            for code in (HOSPITAL, CLINIC)
        )
        path.write_text(
            f"""
[gateway]
lease_s = 6
[database]
dsn = "{self.dsn}"
directory = "{own}"
{line}
[signing]
directory = "{self.directory}/keys"
[mllp]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
[registry]
url = "{self.registry_url}"
token_file = "{self.directory}/token"
check_user = "GATEWAY"
check_password_file = "{self.directory}/token"
check_ip = "127.0.0.1"
callback_jwks = "{self.registry_url}/.well-known/jwks.json"
require_form = false
timeout_s = 5
poll_first_s = 0.5
poll_max_s = 1
{facilities}"""
        )
        return path

    async def until_count(self, sql: str, count: int, *arguments: object) -> None:
        """Return as soon as a count of rows is at least so high; fail with what is open where it never is."""
        connection = await asyncpg.connect(self.dsn)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await connection.fetchval(sql, *arguments) < count:  # noqa: ASYNC110 - other processes work
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            states = await connection.fetch("SELECT state, count(*) FROM births GROUP BY 1")
            tasks = await connection.fetch("SELECT kind, attempts, due_at, last_error FROM tasks LIMIT 20")
            raise AssertionError(f"never {count}: {[tuple(r) for r in (*states, *tasks)]}") from None
        finally:
            await connection.close()

    async def until_delivered(self, count: int) -> None:
        """Return as soon as so many births are DELIVERED."""
        await self.until_count("SELECT count(*) FROM births WHERE state = 'DELIVERED'", count)

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    def letters(self) -> list[bytes]:
        """Return what the hospital got, oldest first."""
        return [path.read_bytes() for path in sorted(self.hospital.directory.glob("*.hl7"))]

    def certified(self) -> dict[str, set[bytes]]:
        """Return, by certificate number, the control ids of the MDM^T02 that told the hospital of it."""
        numbers = [str(case["no_akta"]) for case in self.registry.cases() if case["no_akta"]]
        documents = [letter for letter in self.letters() if letter.split(b"|")[8].startswith(b"MDM^T02")]
        return {n: {letter.split(b"|")[9] for letter in documents if n.encode() in letter} for n in numbers}

    def _environment(self, code: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PROCOT_")}
        return {**kept, "PYTHONPATH": str(code)}


@asynccontextmanager
async def house(dsn: str, directory: Path, logs: Path, *, clock: dt.datetime | None = None) -> AsyncIterator[House]:
    """Start the counterparts on a database of the test's own; with `clock` all clocks stand still there."""
    now: Callable[[], dt.datetime] = utc_now if clock is None else lambda: clock
    async with AsyncExitStack() as stack:
        hospital = HospitalSandbox(directory / "inbox", clock=now)
        listener = await HospitalListener.start(hospital, "127.0.0.1", 0)
        stack.push_async_callback(listener.stop)
        keyring = Keyring(directory / "keys")
        keyring.open()
        (directory / "jwks.json").write_text(json.dumps(keyring.jwks()))
        (directory / "token").write_text(TOKEN)
        (directory / "registry").mkdir()
        registry = await open_sandbox(
            RegistrySandboxSettings(
                directory=directory / "registry",
                gateway_jwks=str(directory / "jwks.json"),
                token=TOKEN,
                work_seconds=0.0 if clock else 0.2,
                callbacks=False,  # a gateway that goes away may not be the one that is told
                clock=now,
            )
        )
        stack.push_async_callback(registry.stop)
        url = await registry.start()
        moment = clock.isoformat() if clock else ""
        yield House(directory, logs, dsn, registry, url, hospital, listener.address, moment)


@dataclass(slots=True)
class Sender:
    """A hospital with one lasting connection. It repeats a message once, at the next gateway, where AA did not come."""

    doors: Sequence[Callable[[], str]]  # the MLLP addresses to try, in turn; they change when a gateway is restarted
    answered: dict[str, str] = field(default_factory=dict)  # the last code by control id, "" for silence
    tries: dict[str, int] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)  # when each AA came
    turn: int = 0
    client: MllpClient | None = None

    async def send(self, birth: DemoBirth) -> None:
        """Send one message, and once more where it was not accepted."""
        for attempt in (1, 2):
            self.tries[birth.control_id] = attempt
            code = await self._exchange(birth.message, birth.control_id)
            self.answered[birth.control_id] = code
            if code == "AA":
                self.times.append(time.monotonic())
                return
            await self.aclose()
            self.turn += 1

    async def aclose(self) -> None:
        """Hang up."""
        if self.client is not None:
            await self.client.aclose()
        self.client = None

    async def _exchange(self, message: bytes, control_id: str) -> str:
        try:
            if self.client is None:
                self.client = await MllpClient(*split_address(self.doors[self.turn % len(self.doors)]())).connect()
            answer = await self.client.exchange(message, control_id=control_id, timeout=ANSWER_S)
        except DeliveryUnavailableError:
            return ""
        return acknowledgement(answer)[0]


async def answer_to(address: str, message: bytes) -> str:
    """Send one message over a connection of its own and return MSA-1 of its first answer."""
    client = await MllpClient(*split_address(address)).connect()
    try:
        answer = await client.exchange(message, control_id=control_id_of(message), timeout=ANSWER_S)
    finally:
        await client.aclose()
    return acknowledgement(answer)[0]

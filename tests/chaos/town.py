"""Everything that runs: gateways on one PostgreSQL, registry and hospital sandboxes, and the wires between them.

All addresses are those of proxies, so that whoever is started again on another port is found where it always was.
"""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.evidence.keys import Keyring
from gateway.store.embedded import EmbeddedPostgres
from tests.chaos.mutant import CLOCK, JUMP, WHOLE
from tests.chaos.post import Post
from tests.chaos.proxy import Proxy
from tests.chaos.victims import Book, Postgres, Program
from tests.chaos.wire import RegistryWire
from tests.simulators.facilities import HOSPITAL

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "token-of-the-fault-harness"
WORK_S = "0.6"
HOSPITAL_LATENCY_MS = "400"  # so that a letter is under way whenever somebody is paused
LEASE_S = 2.0
_CLOCK_OFF_S = 120  # each start of a gateway has a clock of its own, at most so wrong


@dataclass(slots=True)
class Town:
    """What can be hurt, and where its records are."""

    directory: Path
    config: Path
    dsn: str
    book: Book
    postgres: Postgres
    gateways: list[Program]
    registry: Program
    hospital: Program
    doors: list[Proxy]  # before each gateway's MLLP port
    to_registry: Proxy
    to_hospital: Proxy
    callbacks: Proxy
    wire: RegistryWire
    post: Post

    @property
    def programs(self) -> list[Program]:
        """Every process but PostgreSQL."""
        return [*self.gateways, self.registry, self.hospital]

    @property
    def wires(self) -> list[Proxy]:
        """Every wire."""
        return [*self.doors, self.to_registry, self.to_hospital, self.callbacks]

    async def all_up(self) -> None:
        """Wait until everything listens."""
        for program in self.programs:
            await program.until_ready()


@asynccontextmanager
async def town(directory: Path, *, gateways: int, mutant: str, rng: random.Random) -> AsyncIterator[Town]:
    """Start everything in `directory`; `mutant` is what the gateways lack (tests.chaos.mutant), "" nothing.

    `rng` chooses the gateway that each callback of the registry goes to, and how wrong the gateways' clocks are.
    """
    book = Book()
    async with AsyncExitStack() as stack:
        server = EmbeddedPostgres(directory / "postgres")
        await server.start()
        stack.push_async_callback(server.stop)
        _secrets(directory)
        wire = RegistryWire()

        def clock() -> dict[str, str]:
            return {CLOCK: str(rng.randint(-_CLOCK_OFF_S, _CLOCK_OFF_S)), JUMP: str(clock_file(directory))}

        nodes = [Program(f"gateway{n}", _gateway(directory, mutant), directory, book, clock) for n in range(gateways)]
        registry = Program("registry", [], directory, book)
        hospital = Program("hospital", _hospital(directory), directory, book)
        doors = [Proxy(node.name, lambda node=node: node.ready.get("mllp")) for node in nodes]  # type: ignore[misc]
        to_registry = Proxy("registry", lambda: _host(registry, "registry"), wire)
        to_hospital = Proxy("hospital", lambda: _host(hospital, "hospital"))
        post = Post()
        callbacks = Proxy("callbacks", lambda: _host(rng.choice(nodes), "http"), post)
        found = Town(
            directory=directory, config=directory / "procot.toml", dsn=server.dsn, book=book,
            postgres=Postgres(server, book), gateways=nodes, registry=registry, hospital=hospital, doors=doors,
            to_registry=to_registry, to_hospital=to_hospital, callbacks=callbacks, wire=wire, post=post,
        )  # fmt: skip
        for proxy in found.wires:
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        registry.set_command(_registry(directory, callbacks.address))
        found.config.write_text(_configuration(found), encoding="utf-8")
        for program in found.programs:
            program.start()
            stack.push_async_callback(program.end)
        await found.all_up()
        yield found


def clock_file(directory: Path) -> Path:
    """Return the file that says by how many seconds the gateways' clocks jumped."""
    return directory / "jump"


def _host(program: Program, key: str) -> str | None:
    address = program.ready.get(key)
    return str(address).removeprefix("http://") if address else None


def _secrets(directory: Path) -> None:
    keyring = Keyring(directory / "keys")
    keyring.open()
    (directory / "jwks.json").write_text(json.dumps(keyring.jwks()), encoding="utf-8")
    (directory / "token").write_text(TOKEN, encoding="utf-8")


def _gateway(directory: Path, mutant: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.chaos.mutant",
        mutant or WHOLE,
        "serve",
        "--config",
        str(directory / "procot.toml"),
    ]


def _registry(directory: Path, callbacks: str) -> list[str]:
    return [
        sys.executable, "-m", "gateway.cli", "sandbox", "registry", "--listen", "127.0.0.1:0",
        "--data", str(directory / "registry"), "--gateway-jwks", str(directory / "jwks.json"),
        "--token-file", str(directory / "token"), "--work-seconds", WORK_S,
        "--callback", f"http://{callbacks}/v1/registry/callbacks/dukcapil",
    ]  # fmt: skip


def _hospital(directory: Path) -> list[str]:
    return [
        sys.executable, "-m", "gateway.cli", "sandbox", "hospital", "--listen", "127.0.0.1:0",
        "--inbox", str(directory / "inbox"), "--latency-ms", HOSPITAL_LATENCY_MS,
    ]  # fmt: skip


def _configuration(town: Town) -> str:
    registry = f"http://{town.to_registry.address}"
    return f"""
        [gateway]
        workers = 16
        lease_s = {LEASE_S}
        [database]
        dsn = "{town.dsn}"
        directory = "{town.directory}"
        timeout_s = 3
        [mllp]
        listen = "127.0.0.1:0"
        [http]
        listen = "127.0.0.1:0"
        [registry]
        url = "{registry}"
        token_file = "{town.directory}/token"
        check_user = "GATEWAY"
        check_password_file = "{town.directory}/token"
        check_ip = "127.0.0.1"
        callback_jwks = "{registry}/.well-known/jwks.json"
        timeout_s = 1.5
        poll_first_s = 0.8
        poll_max_s = 2
        [[facility]]
        code = "{HOSPITAL}"
        region = "3510"
        insecure = "msh-4"
        deliver_to = "{town.to_hospital.address}"
    """

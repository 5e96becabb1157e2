"""A whole system for tests: the real gateway, registry sandbox and hospital sandbox in this process, on free ports.

`system(dsn, directory)` starts them wired together as `procot up` does, on a database of the test's own. What a test
wants otherwise it says by keyword (`Wishes`); what is outside of this process (kill -9, signals) is for subprocesses.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from adapters.dukcapil.sandbox.behaviour import Behaviour
from adapters.dukcapil.sandbox.server import RegistrySandboxSettings, open_sandbox
from adapters.hospital.sandbox import HospitalSandbox
from gateway.app import Gateway, split_address, utc_now
from gateway.cli.sandbox import HospitalListener
from gateway.config import parse
from gateway.evidence.keys import Keyring
from gateway.hl7.charset import decode
from gateway.hl7.header import salvage_header
from gateway.mllp.client import MllpClient
from gateway.mllp.framing import frame
from gateway.store import tokens
from gateway.store.database import prepare_connection
from tests.simulators.facilities import CLINIC, HOSPITAL

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from adapters.dukcapil.sandbox.server import RegistrySandbox

TOKEN = "registry-token-of-the-tests"
FACILITIES: tuple[dict[str, Any], ...] = (
    {"code": HOSPITAL, "name": "RSU Cempaka Contoh", "region": "3510", "faskes": "3510999"},
    {"code": CLINIC, "name": "Puskesmas Melati Contoh", "region": "3510", "faskes": "3510998"},
)
LOOK_S = 0.02  # between two looks of `until`: a wait ends when the thing is there, never earlier
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How a system differs from the plain one."""

    clock: Callable[[], dt.datetime] = utc_now  # the gateway's and both sandboxes'
    work_seconds: float = 0.0  # of the registry; 0: issued with the answer
    callbacks: bool = True
    behaviour: Mapping[str, object] = field(default_factory=dict)  # adapters.dukcapil.sandbox.behaviour.Behaviour
    application_answer: str = "none"  # of every facility: none | same_connection
    without_listener: Sequence[str] = ()  # facilities that fetch their certificates over HTTP
    facilities: Sequence[Mapping[str, Any]] = FACILITIES
    require_form: bool = True
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # sections laid over the test's own


@dataclass(slots=True)
class System:
    """What runs, where, and how a test talks to it."""

    gateway: Gateway
    registry: RegistrySandbox
    registry_url: str
    hospital: HospitalSandbox
    inbox: Path
    dsn: str
    http: str
    mllp: str
    session: aiohttp.ClientSession
    operator: str = ""
    officer: str = ""
    facility: dict[str, str] = field(default_factory=dict)  # token by facility code

    # ------------------------------------------------------------------------------------------ messages

    async def send(self, message: bytes, *, patience: float = PATIENCE_S) -> bytes:
        """Send one message over a connection of its own; its answer's bytes, without framing."""
        client = await MllpClient(*split_address(self.mllp)).connect()
        try:
            return await client.exchange(message, control_id=control_id_of(message), timeout=patience)
        finally:
            await client.aclose()

    async def send_raw(self, data: bytes, *, answers: int = 1, patience: float = PATIENCE_S) -> list[bytes]:
        """Write bytes as they are, framing included, and return so many answers, or fewer where it hangs up."""
        reader, writer = await asyncio.open_connection(*split_address(self.mllp))
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(patience):
                return [block async for block in _blocks(reader, answers)]
        finally:
            writer.close()

    async def send_for_two(self, message: bytes) -> list[bytes]:
        """Send one message and return both answers of enhanced mode on the same connection (CA, then AA)."""
        return await self.send_raw(frame(message), answers=2)

    # -------------------------------------------------------------------------------------------- births

    async def births(self, **query: str) -> list[dict[str, Any]]:
        """Return the first page of GET /v1/births as the operator sees it."""
        page = await self.get("/v1/births", **query)
        items: list[dict[str, Any]] = page["items"]
        return items

    async def birth(self, control_id: str, **query: str) -> dict[str, Any]:
        """Return the one birth that a message of this control id was about."""
        items = await self.births(control_id=control_id, **query)
        assert len(items) == 1, f"{len(items)} births have a message {control_id}"
        return items[0]

    async def history(self, control_id: str) -> list[dict[str, Any]]:
        """Return the events of that birth, oldest first."""
        found = await self.birth(control_id)
        page = await self.get(f"/v1/births/{found['id']}/history")
        events: list[dict[str, Any]] = page["items"]
        return events

    async def until(self, control_id: str, *states: str, patience: float = PATIENCE_S) -> dict[str, Any]:
        """Return the birth as soon as it is in one of `states`; fail with its whole story where it never is."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    items = await self.births(control_id=control_id)
                    if items and items[0]["state"] in states:
                        return items[0]
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(f"{control_id} never became {states}: {await self._story(control_id)}") from None

    async def until_count(self, state: str, count: int, *, patience: float = PATIENCE_S) -> None:
        """Return as soon as so many births are in `state`."""
        sql = "SELECT count(*) AS n FROM births WHERE state = $1"
        await self.until_true(lambda: self._counts(sql, state, at_least=count), f"{count} {state}", patience=patience)

    async def until_inbox(self, count: int, *, patience: float = PATIENCE_S) -> list[bytes]:
        """Return the hospital's messages, oldest first, as soon as there are so many."""

        async def there() -> bool:
            return len(self.letters()) >= count

        await self.until_true(there, f"{count} messages in the hospital's inbox", patience=patience)
        return self.letters()

    async def until_true(self, there: Callable[[], Any], what: str, *, patience: float = PATIENCE_S) -> None:
        """Return as soon as the coroutine function `there` says so; fail naming `what` where it never does."""
        try:
            async with asyncio.timeout(patience):
                while not await there():  # noqa: ASYNC110 - another process or task makes it true, without telling us
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(f"never came: {what}") from None

    def letters(self) -> list[bytes]:
        """Return what the hospital got so far, oldest first, without framing."""
        return [path.read_bytes() for path in sorted(self.inbox.glob("*.hl7"))]

    # ---------------------------------------------------------------------------------------- HTTP, store

    async def get(self, path: str, *, token: str = "", **query: str) -> Any:
        """Return the JSON of a GET that must succeed; as the operator unless a token is given."""
        async with self.request(path, token=token or self.operator, params=query) as response:
            assert response.status == 200, f"{path}: {response.status} {await response.text()}"
            return await response.json()

    def request(
        self, path: str, *, token: str | None = None, method: str = "GET", **options: Any
    ) -> aiohttp.client._RequestContextManager:
        """Return the request itself, for tests of statuses and headers; without a token where none is given."""
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        return self.session.request(method, f"{self.http}{path}", headers=headers, **options)

    async def new_token(self, role: tokens.Role, facility: str | None = None, *, days: int = tokens.DAYS) -> str:
        """Make one more API token."""
        _, token = await tokens.new(
            self.gateway.context.database, label=f"test {uuid4()}", role=role, facility=facility, days=days
        )
        return token

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one statement on the database, over a connection of its own."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await prepare_connection(connection)
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    def behave(self, **values: object) -> None:
        """Change the registry's behaviour while it runs."""
        self.registry.conduct.change(values)

    async def _counts(self, sql: str, *arguments: Any, at_least: int) -> bool:
        (row,) = await self.fetch(sql, *arguments)
        return bool(row["n"] >= at_least)

    async def _story(self, control_id: str) -> str:
        items = await self.births(control_id=control_id)
        if not items:
            rows = await self.fetch("SELECT control_id, answer_code, effect FROM messages")
            return f"no birth; messages: {[tuple(r) for r in rows]}"
        events = await self.history(control_id)
        todo = await self.fetch(
            "SELECT kind, due_at, attempts, last_error FROM tasks WHERE birth_id = $1", UUID(items[0]["id"])
        )
        way = "\n".join(f"  {e['at']} {e['step']} {e['from']} -> {e['to']} {e['reason']} {e['detail']}" for e in events)
        return f"{items[0]}\n{way}\n  tasks: {[tuple(t) for t in todo]}"


@asynccontextmanager
async def system(dsn: str, directory: Path, **wishes: Any) -> AsyncIterator[System]:
    """Run a system on the database `dsn` with its files in `directory`; keywords are `Wishes`.

    Another `system` on the same database and directory afterwards is the same system started anew.
    """
    wanted = Wishes(**wishes)
    async with AsyncExitStack() as stack:
        inbox = directory / "hospital-inbox"
        hospital = HospitalSandbox(inbox, clock=wanted.clock)
        listener = await HospitalListener.start(hospital, "127.0.0.1", 0)
        stack.push_async_callback(listener.stop)
        registry = await _registry(directory, wanted)
        stack.push_async_callback(registry.stop)
        registry_url = await registry.start()
        config = parse(_config(directory, dsn, registry_url, listener.address, wanted), where="test")
        gateway = Gateway(config, clock=wanted.clock)
        addresses = await stack.enter_async_context(gateway.running())
        registry.send_callbacks_to(f"{addresses.http}/v1/registry/callbacks/{config.registry.adapter}")
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        running = System(
            gateway=gateway,
            registry=registry,
            registry_url=registry_url,
            hospital=hospital,
            inbox=inbox,
            dsn=dsn,
            http=addresses.http,
            mllp=addresses.mllp,
            session=session,
        )
        running.operator = await running.new_token("operator")
        running.officer = await running.new_token("officer")
        for facility in config.facility:
            running.facility[facility.code] = await running.new_token("facility", facility.code)
        yield running


async def _registry(directory: Path, wanted: Wishes) -> RegistrySandbox:
    keyring = Keyring(directory / "keys")
    keyring.open()
    public = directory / "gateway-jwks.json"
    public.write_text(json.dumps(keyring.jwks()))
    (directory / "registry").mkdir(exist_ok=True)
    return await open_sandbox(
        RegistrySandboxSettings(
            directory=directory / "registry",
            gateway_jwks=str(public),
            token=TOKEN,
            work_seconds=wanted.work_seconds,
            callbacks=wanted.callbacks,
            behaviour=Behaviour().changed(wanted.behaviour),
            clock=wanted.clock,
        )
    )


def _config(directory: Path, dsn: str, registry_url: str, listener: str, wanted: Wishes) -> dict[str, Any]:
    secret = directory / "registry-token"
    secret.write_text(TOKEN)
    own: dict[str, dict[str, Any]] = {
        "gateway": {"drain_s": 5},
        "database": {"dsn": dsn, "directory": str(directory)},
        "mllp": {"listen": "127.0.0.1:0"},
        "http": {"listen": "127.0.0.1:0"},
        "registry": {
            "url": registry_url,
            "token_file": str(secret),
            "check_user": "GATEWAY",
            "check_password_file": str(secret),
            "check_ip": "127.0.0.1",
            "callback_jwks": f"{registry_url}/.well-known/jwks.json",
            "poll_first_s": 0.5,
            "poll_max_s": 2,
            "timeout_s": 5,
            "require_form": wanted.require_form,
        },
    }
    sections = {name: {**own.get(name, {}), **wanted.config.get(name, {})} for name in {*own, *wanted.config}}
    facilities = [
        {
            "deliver_to": "" if facility["code"] in wanted.without_listener else listener,
            "application_answer": wanted.application_answer,
            **facility,
        }
        for facility in wanted.facilities
    ]
    return {**sections, "facility": facilities}


def control_id_of(message: bytes) -> str:
    """Return a message's MSH-10."""
    header = salvage_header(decode(message).text)
    assert header is not None, "the message has no MSH"
    return header.control_id


async def _blocks(reader: asyncio.StreamReader, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        try:
            block = await reader.readuntil(b"\x1c\x0d")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        yield block.removeprefix(b"\x0b").removesuffix(b"\x1c\x0d")

"""The registry sandbox on a real socket with a gateway's keys and adapter, for tests."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import rfc8785
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.dukcapil.adapter import open_dukcapil
from adapters.dukcapil.sandbox.server import RegistrySandbox, RegistrySandboxSettings, open_sandbox
from adapters.dukcapil.signature import jwk, sign_detached
from gateway.contract.ports import Outcome, RegistrySettings, Submission
from tests.simulators.records import birth_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from gateway.contract.ports import RegistryAdapter
    from gateway.contract.record import BirthRecord

TOKEN = "sandbox-token"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KID = "gateway-key"


@dataclass
class Clock:
    """A clock that only a test moves."""

    now: dt.datetime = dt.datetime(2025, 3, 20, 2, 0, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += dt.timedelta(**duration)


@dataclass
class Bench:
    """A sandbox, and the adapter that talks to it."""

    sandbox: RegistrySandbox
    adapter: RegistryAdapter
    url: str
    clock: Clock
    http: aiohttp.ClientSession

    def behave(self, **values: object) -> None:
        self.sandbox.conduct.change(values)

    def submission(self, record: BirthRecord | None = None, *, birth_id: str = "", revision: int = 1) -> Submission:
        birth_id = birth_id or str(uuid4())
        document = self.adapter.document(record or birth_record(), birth_id=birth_id, revision=revision, twins=None)
        payload = rfc8785.dumps(document)
        return Submission(birth_id, revision, payload, sign_detached(payload, key=KEY, kid=KID))

    async def ask(self, submission: Submission) -> Outcome:
        return await self.adapter.ask(birth_id=submission.birth_id, revision=submission.revision, reference="")

    async def records(self) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.url}/sandbox/records") as response:
            items: list[dict[str, Any]] = (await response.json())["items"]
            return items


def gateway_jwks(directory: Path) -> str:
    """Write the gateway's public keys to a file and return its path."""
    directory.mkdir(exist_ok=True)
    path = directory / "gateway-jwks.json"
    path.write_text(json.dumps({"keys": [jwk(KEY.public_key(), KID)]}))
    return str(path)


@asynccontextmanager
async def bench(
    directory: Path, *, clock: Clock | None = None, adapter: Mapping[str, Any] | None = None, **sandbox: Any
) -> AsyncIterator[Bench]:
    """Run a sandbox in `directory` with an adapter on it; keywords change the sandbox's settings."""
    clock = clock or Clock()
    values: dict[str, Any] = {
        "directory": directory / "registry",
        "gateway_jwks": gateway_jwks(directory),
        "token": TOKEN,
        "callbacks": False,
        "clock": clock,
    }
    running = await open_sandbox(RegistrySandboxSettings(**(values | sandbox)))
    url = await running.start()
    settings: dict[str, Any] = {
        "url": url,
        "clock": clock,
        "token": TOKEN,
        "check_user": "GATEWAY",
        "check_password": "secret",
        "callback_jwks": f"{url}/.well-known/jwks.json",
        "timeout_s": 5.0,
    }
    dukcapil = open_dukcapil(RegistrySettings(**(settings | dict(adapter or {}))))
    try:
        async with aiohttp.ClientSession() as http:
            yield Bench(running, dukcapil, url, clock, http)
    finally:
        await dukcapil.close()
        await running.stop()


@dataclass
class Mailbox:
    """The gateway's callback address: keeps what comes, answers what it is told to."""

    answers: list[int] = field(default_factory=list)  # statuses to give first; then 204
    letters: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)
    url: str = ""

    async def next(self) -> tuple[dict[str, str], bytes]:
        async with asyncio.timeout(60):
            return await self.letters.get()

    async def receive(self, request: web.Request) -> web.Response:
        self.letters.put_nowait((dict(request.headers), await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)


@asynccontextmanager
async def mailbox(*answers: int) -> AsyncIterator[Mailbox]:
    """Listen for callbacks."""
    box = Mailbox(list(answers))
    app = web.Application()
    app.router.add_post("/v1/registry/callbacks/dukcapil", box.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/registry/callbacks/dukcapil"
    try:
        yield box
    finally:
        await runner.cleanup()


@asynccontextmanager
async def canned(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Run a registry that gives one answer to everything; its base URL."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()

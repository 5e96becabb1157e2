"""kill -9 of the gateway at each step of the journey: started again, the birth ends DELIVERED, once.

The gateway is a process of its own on real PostgreSQL; registry and hospital live on in the test, as they would. What
counts at the end is what they hold, not what the gateway says.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from adapters.dukcapil.sandbox.server import RegistrySandbox, RegistrySandboxSettings, open_sandbox
from adapters.hospital.sandbox import HospitalSandbox
from gateway.app import split_address
from gateway.cli.demo_births import DemoBirth, demo_births
from gateway.cli.sandbox import HospitalListener
from gateway.errors import DeliveryUnavailableError
from gateway.evidence.keys import Keyring
from gateway.mllp.client import MllpClient, acknowledgement
from tests.simulators import doomed
from tests.simulators.facilities import HOSPITAL
from tests.simulators.forked import Forked
from tests.simulators.system import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE_S = 60.0
LOOK_S = 0.02

# Each step just before and just after what it commits or sends. The numbers are those of docs/architecture.md.
POINTS = [
    "before:gateway.pipeline.verdict.Judge.evaluate",  # 2, 3: received, nothing kept
    "before:gateway.store.inbox._insert",  # 4: about to keep
    "after:gateway.store.inbox._insert",  # 4: kept, the promise not yet sent
    "before:gateway.pipeline.assign._open",  # 5
    "after:gateway.pipeline.assign._open",  # 5: decided, not committed
    "before:gateway.pipeline.check._go_on",  # asked, not committed
    "after:gateway.pipeline.check._go_on",
    "before:gateway.store.submissions.keep_seal",  # 6
    "after:gateway.store.submissions.keep_seal",  # 6: signed, not committed
    "before:gateway.store.submissions.begin_attempt",  # 7
    "after:gateway.pipeline.submit._prepare",  # 7: the attempt is written, nothing sent
    "before:adapters.dukcapil.adapter.Dukcapil.submit",
    "after:adapters.dukcapil.adapter.Dukcapil.submit",  # 7: the registry has it, we do not know
    "before:gateway.pipeline.submit.settle",  # 8: answered, not written down
    "after:gateway.pipeline.submit.settle",  # 8: applied, not committed
    "before:gateway.web.callbacks.settle",  # 8: the outcome came by callback
    "after:gateway.web.callbacks.settle",
    "before:gateway.store.submissions.keep_certificate",  # 8
    "after:gateway.store.submissions.keep_certificate",
    "after:adapters.dukcapil.adapter.Dukcapil.fetch_document",  # collected, not kept
    "after:gateway.store.submissions.keep_document",
    "after:gateway.store.outbound.keep",  # letter written, not committed
    "before:gateway.pipeline.deliver._send",  # 9
    "after:gateway.pipeline.deliver._send",  # 9: the hospital has it, we do not know
    "after:gateway.store.outbound.accepted",  # 9: not committed
]


@dataclass(slots=True)
class Counterparts:
    """Registry and hospital, which stay alive, and where the gateway's files are."""

    registry: RegistrySandbox
    hospital: HospitalSandbox
    config: Path
    directory: Path
    logs: Path
    dsn: str

    @asynccontextmanager
    async def gateway(self, point: str = "") -> AsyncIterator[tuple[Forked, str]]:
        """Run a gateway process, doomed at `point`; lends the process and its MLLP address."""
        ready = self.directory / f"ready-{point.replace(':', '-')[:80]}"
        process = Forked(doomed.run, self.config, ready, self.logs / f"{self.directory.name}.log", point)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not ready.exists():
                    assert process.poll() is None, "the gateway ended before it was ready"
                    await asyncio.sleep(LOOK_S)
            found = json.loads(ready.read_text())
            self.registry.send_callbacks_to(f"{found['http']}/v1/registry/callbacks/dukcapil")
            yield process, found["mllp"]
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)


@pytest.fixture
async def counterparts(database: str, tmp_path: Path, log_directory: Path) -> AsyncIterator[Counterparts]:
    """Start registry and hospital, and write the gateway's configuration."""
    async with AsyncExitStack() as stack:
        hospital = HospitalSandbox(tmp_path / "inbox")
        listener = await HospitalListener.start(hospital, "127.0.0.1", 0)
        stack.push_async_callback(listener.stop)
        keyring = Keyring(tmp_path / "keys")
        keyring.open()
        (tmp_path / "jwks.json").write_text(json.dumps(keyring.jwks()))
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "registry").mkdir()
        registry = await open_sandbox(
            RegistrySandboxSettings(
                directory=tmp_path / "registry", gateway_jwks=str(tmp_path / "jwks.json"), token=TOKEN, work_seconds=0.2
            )
        )
        stack.push_async_callback(registry.stop)
        url = await registry.start()
        config = tmp_path / "procot.toml"
        config.write_text(_configuration(tmp_path, database, url, listener.address))
        yield Counterparts(registry, hospital, config, tmp_path, log_directory, database)


def _configuration(directory: Path, dsn: str, registry: str, hospital: str) -> str:
    return f"""
        [gateway]
        lease_s = 1.2  # a dead process's task comes back after this
        [database]
        dsn = "{dsn}"
        directory = "{directory}"
        [mllp]
        listen = "127.0.0.1:0"
        [http]
        listen = "127.0.0.1:0"
        [registry]
        url = "{registry}"
        token_file = "{directory}/token"
        check_user = "GATEWAY"
        check_password_file = "{directory}/token"
        check_ip = "127.0.0.1"
        callback_jwks = "{registry}/.well-known/jwks.json"
        timeout_s = 1.0  # a lease outlives a request
        poll_first_s = 0.5
        poll_max_s = 1
        [[facility]]
        code = "{HOSPITAL}"
        region = "3510"
        insecure = "msh-4"
        deliver_to = "{hospital}"
    """


async def send_until_answered(address: str, birth: DemoBirth) -> str:
    """Do as hospitals do: one message, and again where no answer comes. Returns the code, "" where nobody is there."""
    try:
        client = await MllpClient(*split_address(address)).connect()
        answer = await client.exchange(birth.message, control_id=birth.control_id, timeout=PATIENCE_S)
        await client.aclose()
    except DeliveryUnavailableError:
        return ""
    return acknowledgement(answer)[0]


async def delivered(dsn: str) -> list[asyncpg.Record]:
    """Return all births as soon as they are all DELIVERED; fail with their story otherwise."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = await connection.fetch("SELECT id, state FROM births")
                if rows and all(r["state"] == "DELIVERED" for r in rows):
                    return list(rows)
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        events = await connection.fetch("SELECT step, from_state, to_state, reason FROM events ORDER BY id")
        tasks = await connection.fetch("SELECT kind, attempts, due_at, last_error FROM tasks")
        raise AssertionError([tuple(r) for r in (*events, *tasks)]) from None
    finally:
        await connection.close()


@pytest.mark.parametrize("point", POINTS)
async def test_a_birth_survives_kill_9(point: str, counterparts: Counterparts) -> None:
    (birth,) = demo_births(1)
    async with counterparts.gateway(point) as (process, address):
        answered = await send_until_answered(address, birth)
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(process.wait) == -9, "it must have died at the point"
    async with counterparts.gateway() as (_, address):
        if not answered:
            answered = await send_until_answered(address, birth)
        births = await delivered(counterparts.dsn)
    assert answered == "AA"
    assert len(births) == 1
    _check_once(counterparts)


def _check_once(counterparts: Counterparts) -> None:
    """By the counterparts' own records: one registry case, one certificate, told to the hospital, never two."""
    cases = counterparts.registry.cases()
    assert [case["status"] for case in cases] == ["TERBIT"]
    letters = [path.read_bytes() for path in sorted(counterparts.hospital.directory.glob("*.hl7"))]
    assert sorted(_kind(letter) for letter in letters) == ["ADT^A31", "MDM^T02"]
    number = str(cases[0]["no_akta"]).encode()
    assert all(number in letter for letter in letters if _kind(letter) == "MDM^T02")


def _kind(letter: bytes) -> str:
    fields = letter.split(b"\r", 1)[0].split(b"|")
    return b"^".join(fields[8].split(b"^")[:2]).decode()


def test_every_point_names_a_function_of_the_product() -> None:
    missing: list[Any] = []
    for point in POINTS:
        owner, name = doomed._owner(point.partition(":")[2])
        if not hasattr(owner, name):
            missing.append(point)
    assert not missing

"""A gateway's parts on a real database, with a scripted registry and hospital: one step at a time, as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import random
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.hospital.baseline import BaselineHospital
from gateway.config import Config
from gateway.contract.lifecycle import State
from gateway.contract.ports import Outcome, RegistryAdapter, RegistryStatus
from gateway.evidence.keys import Keyring
from gateway.mllp.client import ClientPool
from gateway.mllp.framing import Deframer, frame
from gateway.observe.metrics import Metrics
from gateway.pipeline.answer import Answerer
from gateway.pipeline.context import Context
from gateway.pipeline.intake import Intake
from gateway.pipeline.operate import Desk
from gateway.pipeline.settle import settle
from gateway.pipeline.verdict import Judge
from gateway.pipeline.worker import _STEPS, Workers
from gateway.store import births, queue
from gateway.store.database import Database
from gateway.store.inbox import Inbox
from gateway.store.queue import Kind, Task
from gateway.store.schema import Schema
from tests.simulators.facilities import CLOCK, HOSPITAL, sample
from tests.simulators.scripted_registry import ScriptedRegistry, certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    import asyncpg

    from gateway.store.births import Birth

_STRUCTURES = {
    **dict.fromkeys(("A01", "A08", "A13"), "ADT_A01"),
    **dict.fromkeys(("A28", "A31"), "ADT_A05"),
    **dict.fromkeys(("A23", "A29"), "ADT_A21"),
    "A03": "ADT_A03",
    "A11": "ADT_A09",
}
_NUMBERS = iter(range(10**6))
_NUMBER = "00450121"
_MOTHER_BORN = dt.date(1995, 3, 12)


def notice(
    event: str = "A01",
    *,
    control_id: str = "",
    sent: str = "20250311093000+0700",
    record_number: str = "00450121",
    changes: Sequence[tuple[str, str]] = (),
    segments: Sequence[str] = (),
    same_mother: bool = False,
) -> bytes:
    """Return sample 01 as another event, with texts changed; `segments` are the only ones left where any are named.

    Another record number is another family's baby, unless it is to have the `same_mother`.
    """
    text = sample("01").decode()
    text = text.replace("20250311093000+0700||ADT^A01^ADT_A01", f"{sent}||ADT^{event}^{_STRUCTURES[event]}")
    text = text.replace("EVN|A01|20250311093000+0700", f"EVN|{event}|{sent}")
    text = text.replace("RSC20250311000101", control_id or f"T{next(_NUMBERS):08}")
    text = text.replace("|00450121^", f"|{record_number}^")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    if record_number != _NUMBER and not same_mother:
        born = _MOTHER_BORN + dt.timedelta(days=1 + zlib.crc32(record_number.encode()) % 3000)
        text = text.replace("3510165203959001", f"351016{born.day + 40}{born:%m%y}9001")
        text = text.replace(f"{_MOTHER_BORN:%Y%m%d}", f"{born:%Y%m%d}")
    lines = text.split("\r")
    kept = [line for line in lines if not segments or line[:3] in {"MSH", "EVN", "PID", *segments}]
    return "\r".join(kept).rstrip("\r").encode() + b"\r"


RENAMED = (("AHMAD RIZKI PRATAMA", "AHMAD RIZQI PRATAMA"),)
HEAVIER = (("||3150|g^g", "||3510|g^g"), ("|3150|49|", "|3510|49|"))


@dataclass
class Hospital:
    """A hospital's listener: answers with the scripted code, "LATE" is no answer, "OTHER" an answer to another id."""

    script: list[str] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deframer = Deframer(max_bytes=10_000_000)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                for content in deframer.feed(data):
                    self.received.append(content)
                    self._answer(content, writer)
        writer.close()

    def _answer(self, content: bytes, writer: asyncio.StreamWriter) -> None:
        code = self.script.pop(0) if self.script else "AA"
        if code == "LATE":
            return
        control_id = "ANOTHER" if code == "OTHER" else control_id_of(content)
        code = "AA" if code == "OTHER" else code
        head = "MSH|^~\\&|SIMRS|RS|AKTAGW|DISDUKCAPIL|20250320||ACK|1|P|2.5\r"
        body = "PID|1\r" if code == "BARE" else f"MSA|{code}|{control_id}\r"
        writer.write(frame((head + body).encode()))


def control_id_of(message: bytes) -> str:
    """Return MSH-10."""
    return message.split(b"|")[9].decode()


@dataclass
class Journey:
    """What a test drives."""

    context: Context
    registry: ScriptedRegistry
    hospital: Hospital
    inbox: Inbox
    intake: Intake

    @property
    def database(self) -> Database:
        return self.context.database

    async def tell(self, raw: bytes) -> str:
        """Send a message as a hospital does and return MSA-1."""
        answer = (await asyncio.wait_for(self.intake.take(raw, peer="127.0.0.1"), 60))[0]
        return next(s for s in answer.decode().split("\r") if s.startswith("MSA")).split("|")[1]

    async def claim(self, kind: Kind) -> Task:
        """Claim the most urgent due task of a kind, and leave the others as they were."""
        claimed = await queue.claim(self.database, limit=1000, lease_s=60)
        chosen = next((task for task in claimed if task.kind is kind), None)
        others = [task.id for task in claimed if task is not chosen]
        await self.database.fetch(
            "UPDATE tasks SET lease = NULL, due_at = now(), attempts = attempts - 1 WHERE id = ANY($1)", others
        )
        assert chosen is not None, f"no {kind.value} task is due; there are {[task.kind.value for task in claimed]}"
        return chosen

    async def step(self, kind: Kind) -> None:
        """Claim a task and run its step; what the step raises comes out."""
        await _STEPS[kind](self.context, await self.claim(kind))

    async def work(self, kind: Kind | None = None) -> None:
        """Let a worker do what is due (of one kind), until nothing is."""
        workers = Workers(self.context)
        if kind is not None:
            await workers._work(await self.claim(kind))
            return
        while tasks := await queue.claim(self.database, limit=10, lease_s=60):
            for task in tasks:
                await workers._work(task)

    async def hurry(self) -> None:
        """Make every waiting task due."""
        await self.database.fetch("UPDATE tasks SET due_at = now(), lease = NULL")

    def forget_pauses(self) -> None:
        """Let a listener that did not answer be tried again at once."""
        self.context.breaker._down.clear()

    async def until_assigned(self, record_number: str) -> None:
        """Return as soon as a baby's birth is there; fail where it never is."""
        async with asyncio.timeout(60):
            sql = "SELECT 1 FROM births WHERE medical_record = $1"
            while not await self.database.fetch(sql, record_number):  # noqa: ASYNC110 - a worker makes it
                await asyncio.sleep(0.01)

    async def settle(self, status: RegistryStatus, *, step: str = "callback", **changes: Any) -> None:
        """Apply an outcome as a callback does; the revision is the submitted one unless the test says another."""
        birth = await self.birth()
        values: dict[str, Any] = {"birth_id": str(birth.id), "revision": birth.submitted, "status": status}
        async with self.database.transaction() as connection:
            locked = await births.lock(connection, birth.id)
            await settle(self.context, connection, locked, Outcome(**(values | changes)), actor="registry", step=step)

    async def birth(self, record_number: str = "00450121") -> Birth:
        """Return the birth of a baby as the store has it."""
        row = await self.database.fetchrow(
            "SELECT id FROM births WHERE facility = $1 AND medical_record = $2", HOSPITAL, record_number
        )
        assert row is not None
        async with self.database.connection() as connection:
            return await births.read(connection, row["id"])

    async def state(self, record_number: str = "00450121") -> State:
        return (await self.birth(record_number)).state

    async def reach(self, state: State) -> Birth:
        """Tell of the birth of sample 01 and work until it is in `state`, one on the straight way."""
        await self.tell(notice())
        for kind, reached in (
            (Kind.ASSIGN, State.READY),
            (Kind.CHECK, State.READY),
            (Kind.SEAL, State.SEALED),
            (Kind.SUBMIT, State.IN_PROCESS),
        ):
            await self.step(kind)
            if reached is state and kind is not Kind.ASSIGN:
                return await self.birth()
        await self.settle(RegistryStatus.ISSUED, certificate=certificate())
        if state is State.DELIVERED:
            await self.work()
        assert await self.state() is state
        return await self.birth()

    async def open_kinds(self) -> list[str]:
        """Return the kinds of the tasks that are not done."""
        return [r["kind"] for r in await self.database.fetch("SELECT kind FROM tasks ORDER BY kind")]

    async def task(self, kind: Kind) -> asyncpg.Record:
        row = await self.database.fetchrow(
            "SELECT *, extract(epoch FROM due_at - now())::float AS due_in FROM tasks WHERE kind = $1", kind.value
        )
        assert row is not None
        return row

    async def events(self) -> list[asyncpg.Record]:
        return await self.database.fetch("SELECT * FROM events ORDER BY id")

    async def reasons(self) -> list[str]:
        return [r["reason"] for r in await self.events()]

    async def count(self, table: str) -> int:
        row = await self.database.fetchrow(f"SELECT count(*) AS n FROM {table}")  # noqa: S608
        assert row is not None
        return int(row["n"])

    async def snapshot(self) -> str:
        """Return everything that a repeated word must leave as it was."""
        tables = ("births", "events", "tasks", "certificates", "attempts", "outbound", "revisions")
        rows = [[dict(r) for r in await self.database.fetch(f"SELECT * FROM {t} ORDER BY 1")] for t in tables]  # noqa: S608
        return json.dumps(rows, default=str, sort_keys=True)

    def desk(self, reason: str = "checked by telephone") -> Desk:
        context = self.context
        return Desk(context.database, context.config, "operator:tester", reason, clock=context.clock)


@asynccontextmanager
async def journey(
    dsn: str,
    directory: Path,
    *,
    require_form: bool = False,
    listener: bool = True,
    settings: Mapping[str, Any] | None = None,
    now: Callable[[], dt.datetime] = lambda: CLOCK,
    **facility: Any,
) -> AsyncIterator[Journey]:
    """Lend a gateway's parts; nothing runs but the inbox and the hospital's listener.

    `settings` are sections of the configuration; its [[facility]] blocks come behind the hospital of the samples.
    """
    hospital = Hospital()
    server = await asyncio.start_server(hospital.serve, "127.0.0.1", 0)
    hospital.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    profile = {"code": HOSPITAL, "region": "3510", "deliver_to": hospital.address if listener else "", **facility}
    told = dict(settings or {})
    others = [{"region": "3510", "deliver_to": profile["deliver_to"], **f} for f in told.pop("facility", [])]
    rules = {"require_form": require_form} | told.pop("registry", {})
    config = Config.model_validate({**told, "facility": [profile, *others], "registry": rules})
    registry: ScriptedRegistry = ScriptedRegistry()
    port: RegistryAdapter = registry  # the simulator fills the real port
    keyring = Keyring(directory / "keys")
    keyring.open()
    database = Database(dsn, size=6, timeout_s=60)
    await database.open()
    schema = Schema()
    await schema.refresh(database)
    listeners, metrics = ClientPool(), Metrics()

    def clock() -> dt.datetime:
        return now().astimezone(dt.UTC)

    context = Context(
        config=config,
        database=database,
        registry=port,
        hospitals={"baseline": BaselineHospital()},
        facilities={f.code: f for f in config.facility},
        keyring=keyring,
        listeners=listeners,
        metrics=metrics,
        clock=clock,
        rng=random.Random(1),
        public_url=lambda: "https://gateway.invalid",
        schema=schema,
    )
    judge = Judge(
        facilities=context.facilities,
        hospitals=context.hospitals,
        clock=clock,
        test_messages=config.gateway.test_messages,
        require_form=config.registry.require_form,
        segment_limit=config.limits.segments_per_message,
    )
    inbox = Inbox(dsn, observer=metrics, limits=config.limits, timeout_s=60)
    intake = Intake(judge=judge, answerer=Answerer("AKTAGW", "DISDUKCAPIL 3510", clock), inbox=inbox, metrics=metrics)
    writer = asyncio.create_task(inbox.run())
    try:
        yield Journey(context, registry, hospital, inbox, intake)
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
        await listeners.aclose()
        server.close()
        await database.close()

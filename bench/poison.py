"""One bad item among many: what it adds to the others' way, for each step that it may be bad at.

All runs in this process on a real PostgreSQL, with a registry and a hospital of the tests: a row is one step at which
one birth (or its letter) hangs as long as the product lets it, or fails whenever it is tried. The others' way is from
the commit of their message to DELIVERED, in PostgreSQL's time; it is compared with a run in which nothing is bad.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from gateway.contract.masked import Nik
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import RegistryDocumentError, RegistryUnavailableError, RegistryUnknownOutcomeError
from gateway.store.migrate import migrate
from tests.integration.watched import Watched
from tests.simulators.journey import Hospital, Journey, journey, notice
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from servers import Workshop

    from gateway.contract.ports import Certificate, Submission

HANG_S = 20.0  # registry.timeout_s and the answer time of a listener
ALLOWED_MS = 1000.0
_BAD = "00000001"  # the record number of the bad birth; it comes first
_WAYS = """
SELECT extract(epoch FROM d.at - m.received_at)::float8 * 1000 AS ms
FROM births b JOIN messages m ON m.id = b.first_message_id
CROSS JOIN LATERAL (SELECT min(at) AS at FROM events WHERE birth_id = b.id AND to_state = 'DELIVERED') AS d
WHERE b.medical_record <> $1 AND d.at IS NOT NULL
"""


class _Deaf(Hospital):
    """Answers every letter but those about the bad birth."""

    deaf = False

    def _answer(self, content: bytes, writer: asyncio.StreamWriter) -> None:
        if not (self.deaf and f"|{_BAD}^".encode() in content):
            super()._answer(content, writer)


class _Bad:
    """Makes one call of the registry bad for one birth."""

    def __init__(self, way: Journey) -> None:
        self.way, self.birth_id, self.number = way, "", "3510-LU-20032025-0001"
        self._issued = 0

    async def submit(self, submission: Submission) -> Outcome:
        """Issue at once, each birth its own certificate."""
        bad = await self._is_bad(submission.birth_id)
        self._issued += 0 if bad else 1
        number = self._issued + 1 if not bad else 1
        told = certificate(
            self.number if bad else f"3510-LU-20032025-{number:04}", child_nik=Nik(f"351016{number:010}")
        )
        return Outcome(submission.birth_id, submission.revision, RegistryStatus.ISSUED, reference="P", certificate=told)

    async def hanging_submit(self, submission: Submission) -> Outcome:
        """Take the bad one and never answer."""
        if await self._is_bad(submission.birth_id):
            await asyncio.sleep(HANG_S)
            raise RegistryUnknownOutcomeError("no answer")
        return await self.submit(submission)

    async def hanging_check(self, record: Any) -> tuple[()]:  # noqa: ANN401 - a BirthRecord
        """Never answer about the bad one's parents."""
        if record.child.medical_record.reveal() == _BAD:
            await asyncio.sleep(HANG_S)
            raise RegistryUnavailableError("no answer")
        return ()

    async def hanging_file(self, told: Certificate) -> bytes:
        """Never give out the bad one's file."""
        if told.number == self.number:
            await asyncio.sleep(HANG_S)
            raise RegistryUnavailableError("no answer")
        return await self.fetch(told)

    async def dead_file(self, told: Certificate) -> bytes:
        """Have no file for the bad one."""
        if told.number == self.number:
            raise RegistryDocumentError("gone")
        return await self.fetch(told)

    def odd_document(self, record: Any, **about: Any) -> dict[str, Any]:  # noqa: ANN401 - as the port's
        """Fail on the bad one's document, as a programming error would."""
        if record.child.medical_record.reveal() == _BAD:
            raise ValueError("no canonical form")
        return self.document(record, **about)

    fetch: Callable[[Any], Awaitable[bytes]]
    document: Callable[..., dict[str, Any]]

    async def _is_bad(self, birth_id: str) -> bool:
        if not self.birth_id:
            found = await self.way.database.fetch("SELECT id FROM births WHERE medical_record = $1", _BAD)
            self.birth_id = str(found[0]["id"]) if found else ""
        return birth_id == self.birth_id


_STEPS: dict[str, tuple[str, str] | None] = {
    "nothing": None,
    "check: no answer": ("check_parents", "hanging_check"),
    "seal: fails": ("document", "odd_document"),
    "submit: no answer": ("submit", "hanging_submit"),
    "collect: no answer": ("fetch_document", "hanging_file"),
    "collect: 404": ("fetch_document", "dead_file"),
    "deliver: no answer": None,
}


async def measure(shop: Workshop, *, births: int) -> list[dict[str, Any]]:
    """Return a row a step: the others' median and p99, and what that is more than with nothing bad."""
    rows: list[dict[str, Any]] = []
    for step, bad in _STEPS.items():
        ways = await _run(shop, step, bad, births)
        cuts = statistics.quantiles(ways, n=100)
        rows.append({"step": step, "births": len(ways), "p50_ms": round(cuts[49]), "p99_ms": round(cuts[98])})
        rows[-1]["added_ms"] = rows[-1]["p99_ms"] - rows[0]["p99_ms"]
    return rows


async def _run(shop: Workshop, step: str, bad: tuple[str, str] | None, births: int) -> list[float]:
    await _emptied(shop.dsn)
    directory = shop.directory / step.replace(" ", "-").replace(":", "")
    hospital = _Deaf()
    server = await asyncio.start_server(hospital.serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with journey(shop.dsn, directory, deliver_to=address) as way:
        _prepare(way, bad)
        hospital.deaf = step.startswith("deliver")
        watched = Watched(way)
        watched.services.clock = time.monotonic
        running = asyncio.create_task(watched.workers.run())
        await _offer(way, watched, births)
        ways = await _delivered(way, watched, births)
        await watched.workers.stop(within_s=0)
        await running
    server.close()
    return ways


def _prepare(way: Journey, bad: tuple[str, str] | None) -> None:
    scripted: Any = way.registry
    steer = _Bad(way)
    steer.fetch, steer.document = scripted.fetch_document, scripted.document
    scripted.submit = steer.submit
    if bad is not None:
        setattr(scripted, bad[0], getattr(steer, bad[1]))


async def _offer(way: Journey, watched: Watched, births: int) -> None:
    for n in range(1, births + 1):
        await way.tell(notice(record_number=f"{n:08}"))
        watched.workers.wake()
        await asyncio.sleep(0.02)


async def _delivered(way: Journey, watched: Watched, births: int) -> list[float]:
    """Wait until all but the bad one are delivered (those that resemble each other wait for people), or a minute."""
    with suppress(TimeoutError):
        async with asyncio.timeout(60 + births / 10):
            while await _open(way, births):
                watched.workers.wake()
                await asyncio.sleep(0.05)
    return [row["ms"] for row in await way.database.fetch(_WAYS, _BAD)]


async def _open(way: Journey, births: int) -> int:
    """Return how many births of the others are under way, or not told of yet."""
    sql = """SELECT count(*) FILTER (WHERE state IN ('DELIVERED', 'REVIEW') AND medical_record <> $1) AS done
             FROM births"""
    (row,) = await way.database.fetch(sql, _BAD)
    return births - 1 - int(row["done"])


async def _emptied(dsn: str) -> None:
    """Bring the database up and empty it: no row pays for another's births."""
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    rows = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
    )
    await connection.execute(f"TRUNCATE {', '.join(row['tablename'] for row in rows)} RESTART IDENTITY CASCADE")
    await connection.close()

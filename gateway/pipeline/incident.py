"""One incident a cause: opened when it is first met, counted on, closed when what it stopped works again.

Steps only note what they see, in memory. A task of its own writes it down now and then, so that an outage costs a
few statements and two log lines, not one an attempt. All processes share the rows; whoever writes first opens, and
whoever hears a good answer first closes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from gateway.store import incidents as store
from gateway.store.incidents import DEAD_LETTER, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from gateway.observe.metrics import Metrics
    from gateway.store.database import Database

FLUSH_S = 2.0
QUIET_S = 5.0  # nobody met it for so long, and somebody had a good answer: over
DATABASE = "database"
KEYS = "keys"
FILES = "certificate_file"  # single files that their address does not give out
JOURNAL = "journal"
_log = structlog.get_logger()


@dataclass(slots=True)
class _Met:
    times: int
    first: float


@dataclass(slots=True)
class Incidents:
    """What this process met and heard since it last wrote."""

    clock: Callable[[], float] = time.monotonic
    _met: dict[tuple[str, str], _Met] = field(default_factory=dict)
    _working: set[str] = field(default_factory=set)

    def seen(self, cause: str, subject: str) -> None:
        """Note that a cause was met."""
        met = self._met.setdefault((cause, subject), _Met(0, self.clock()))
        met.times += 1
        self._working.discard(subject)

    def works(self, subject: str) -> None:
        """Note that a subject gave a good answer."""
        self._working.add(subject)

    async def keep(self, database: Database, metrics: Metrics) -> None:
        """Write down what was noted, until cancelled; what cannot be written now is written later."""
        while True:
            try:
                await self.write(database)
                counts = await store.open_counts(database)
                metrics.incidents.clear()
                for cause, number in counts.items():
                    metrics.incidents.labels(cause).set(number)
            except Exception as error:  # noqa: BLE001 - whatever PostgreSQL says, the notes are kept for later
                _log.debug("incidents.store_unavailable", error=type(error).__name__)
            await asyncio.sleep(FLUSH_S)

    async def write(self, database: Database, *, quiet_s: float = QUIET_S) -> None:
        """Write down what was noted since the last time, in one transaction."""
        now = self.clock()
        noted = [Seen(*key, met.times, now - met.first) for key, met in self._met.items()]
        working = set(self._working)
        async with database.transaction() as connection:
            opened = [seen for seen in noted if await store.note(connection, seen)]
            closed = await store.close_working(connection, working, quiet_s=quiet_s) if working else []
            closed += await store.close_decided(connection)
            closed += await store.close_fetched(connection, FILES)
            waits = {seen: await store.waiting(connection, seen.cause, seen.subject) for seen in opened}
        for seen in noted:
            self._forget(seen)
        self._working -= {row["subject"] for row in closed}
        for seen in opened:
            kind = kind_of(seen.subject)
            facility = seen.subject if kind == "hospital" else None
            births, since = waits[seen]
            _log.warning(
                "incident.opened",
                code=seen.cause,
                kind=kind,
                facility=facility,
                births=births,
                since=since.isoformat(timespec="seconds") if since else None,
            )
        for row in closed:
            _closed(row)

    def _forget(self, written: Seen) -> None:
        """Take off what was written; what was met meanwhile stays for the next time."""
        key = (written.cause, written.subject)
        met = self._met[key]
        met.times -= written.times
        if not met.times:
            del self._met[key]


def _closed(row: asyncpg.Record) -> None:
    subject = row["subject"]
    _log.info(
        "incident.closed",
        code=row["cause"],
        kind=kind_of(subject),
        facility=subject if kind_of(subject) == "hospital" else None,
        attempt=row["seen"],
        duration_ms=round(row["lasted_s"] * 1000),
    )


def kind_of(subject: str) -> str:
    """Return what kind of thing a subject is: a service of the registry, ours, or a hospital."""
    ours = {"check", "registry", "document", FILES, DATABASE, KEYS, JOURNAL, DEAD_LETTER}
    return subject if subject in ours else "hospital"

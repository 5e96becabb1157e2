"""A journey as in a running gateway: its registry behind the breaker, workers turned by hand, a clock that stands."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from gateway.pipeline.breaker import Breaker
from gateway.pipeline.guarded import Guarded
from gateway.pipeline.incident import Incidents
from gateway.pipeline.worker import Workers

if TYPE_CHECKING:
    import asyncpg

    from tests.simulators.journey import Journey


class Clock:
    """A monotonic clock that stands until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A journey whose registry is behind its breaker, as in a running gateway."""

    def __init__(self, way: Journey) -> None:
        self.clock = Clock()
        self.services = Breaker(self.clock, threshold=3)
        self.incidents = Incidents()
        self.way = way
        way.context = replace(
            way.context,
            services=self.services,
            incidents=self.incidents,
            registry=Guarded(way.registry, self.services, self.incidents),
        )
        self.workers = Workers(way.context)

    async def turn(self) -> None:
        """Let the workers look once and finish what they took; leave what is due due."""
        await self.workers._start_due()
        if self.workers._running:
            await asyncio.wait(self.workers._running)
        await asyncio.sleep(0)

    async def write(self) -> list[str]:
        """Write incidents down; returns the log events of it."""
        with capture_logs() as logs:
            await self.incidents.write(self.way.database, quiet_s=0)
        return [line["event"] for line in logs]

    async def rows(self) -> list[asyncpg.Record]:
        return await self.way.database.fetch("SELECT * FROM incidents ORDER BY id")

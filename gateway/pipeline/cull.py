"""Retention: batch after batch until nothing is left, with a rest between two, so that others come in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.store import chores, retention

if TYPE_CHECKING:
    from gateway.config import Retention
    from gateway.observe.metrics import Metrics
    from gateway.store.database import Database

CHORE = "retention"
_log = structlog.get_logger()
_SWEEPS = (retention.births, retention.loose_messages, retention.quarantined)


async def cull(database: Database, settings: Retention, metrics: Metrics) -> dict[str, int]:
    """Remove everything whose time has come and return how much. A kill leaves whole batches only."""
    report = {"births": 0, "messages": 0, "quarantine": 0}
    for sweep in _SWEEPS:
        while True:
            async with database.transaction() as connection:
                batch = await sweep(connection, days=settings.bodies_days, limit=settings.batch)
            if not batch.looked:
                break
            for what in report:
                number = getattr(batch, what)
                report[what] += number
                metrics.culled.labels(what).inc(number)
            await asyncio.sleep(settings.pause_s)
    await chores.finish(database, CHORE, report)
    metrics.chores.labels(CHORE).set_to_current_time()
    _log.info("retention.done", messages=report["messages"], births=report["births"])
    return report

"""What one of all processes does now and then: retention and reconciliation, by schedule."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.observe.logging import describe
from gateway.pipeline import cull, reconcile
from gateway.store import chores

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pipeline.context import Context

LOOK_S = 60.0
_log = structlog.get_logger()


async def run(context: Context) -> None:
    """Look now and then whether a chore's time has come, until cancelled."""
    config = context.config
    plan: tuple[tuple[str, float, Callable[[], Awaitable[object]]], ...] = (
        (cull.CHORE, config.retention.every_s, lambda: cull.cull(context.database, config.retention, context.metrics)),
        (reconcile.CHORE, config.reconcile.every_s, lambda: reconcile.reconcile(context)),
    )
    while True:
        for name, every_s, work in plan:
            try:
                if await chores.claim(context.database, name, every_s=every_s):
                    await work()
            except Exception as error:  # noqa: BLE001 - a chore that fails is done next time; the gateway goes on
                _log.warning("chore.failed", kind=name, **describe(error))
        await asyncio.sleep(LOOK_S)

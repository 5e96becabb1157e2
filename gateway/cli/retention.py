"""`procot retention`: what would be removed now, and removing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.cli import loop, place
from gateway.cli.output import as_json, details, emit
from gateway.observe.logging import configure
from gateway.observe.metrics import Metrics
from gateway.pipeline import cull
from gateway.store import chores
from gateway.store import retention as store


@click.command(short_help="Remove the bodies of what is finished.")
@click.option("--yes", is_flag=True, help="remove it now; without this it is only shown")
@as_json()
@place.options
def retention(yes: bool, json_output: bool, config: Path | None, data: Path) -> None:
    """Show what is older than retention.bodies_days, or remove it with --yes. A gateway does so itself, every hour.

    Raw messages, documents and letters of finished births go; digests, answers, records, seals and events stay.
    """
    configure(level="warning")
    said = loop.run(_retention(yes, config, data))
    if json_output:
        emit(said)
    else:
        details((key.replace("_", " "), value) for key, value in said.items() if value is not None)


async def _retention(yes: bool, config: Path | None, data: Path) -> dict[str, Any]:
    settings = place.settings(config, data).retention
    async with place.database(config, data) as database:
        if yes:
            return {"outcome": "removed", **await cull.cull(database, settings, Metrics())}
        last = await chores.last(database, cull.CHORE)
        found = await store.due(database, days=settings.bodies_days)
    return {"outcome": "preview", "bodies_days": settings.bodies_days, **found, "last_run": last["finished_at"]}

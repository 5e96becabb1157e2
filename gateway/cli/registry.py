"""`procot registry`: whether the registry lets us in, and letting its element check be called again."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from gateway.cli import loop, place
from gateway.cli.births import who
from gateway.cli.output import as_json, console, emit
from gateway.errors import ConfigError
from gateway.pipeline.breaker import Service
from gateway.pipeline.pause import describe
from gateway.store import pauses

if TYPE_CHECKING:
    from pathlib import Path


@click.group(short_help="Whether the registry lets us in.")
def registry() -> None:
    """Whether the registry lets us in, and what to do where it does not."""


@registry.command()
@as_json()
@place.options
def status(json_output: bool, config: Path | None, data: Path) -> None:
    """Show which service refuses us, why, until when, and what to do."""
    loop.run(_status(json_output, config, data))


async def _status(json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await pauses.listing(database, dt.datetime.now(dt.UTC))
    for pause in found:
        if json_output:
            until = pause.until.isoformat(timespec="seconds") if pause.until else None
            since = pause.since.isoformat(timespec="seconds")
            emit({"service": pause.service, "cause": pause.cause, "since": since, "until": until})
        else:
            console.print(describe(pause), markup=False, soft_wrap=True)
    if not found and not json_output:
        console.print("nothing refuses us")


@registry.command()
@click.option("--reason", required=True, help="what was mended; kept, no personal data")
@place.options
def resume(reason: str, config: Path | None, data: Path) -> None:
    """Let the element check be called again.

    For when quota, login or address were mended. One call is made first; where it is refused again, everything
    stops as before.
    """
    loop.run(_resume(reason, config, data))


async def _resume(reason: str, config: Path | None, data: Path) -> None:
    service = Service.CHECK.value
    async with place.database(config, data) as database, database.transaction() as connection:
        if not await pauses.lift(connection, service, by=f"operator:{who()}", now=dt.datetime.now(dt.UTC)):
            raise ConfigError("the element check is not paused: nothing to resume (procot registry status)")
        await connection.execute(
            "INSERT INTO operator_acts (actor, act, subject, reason) VALUES ($1, 'registry.resume', $2, $3)",
            f"operator:{who()}",
            service,
            reason,
        )
    console.print("the element check is called again, with one call first", markup=False)

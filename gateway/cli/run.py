"""`procot up` and `procot serve`: a gateway until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.app import Gateway, remove, write_private
from gateway.cli import loop
from gateway.cli.local import Local, Wishes, local
from gateway.cli.output import console
from gateway.config import Config, load
from gateway.observe.logging import configure
from gateway.store import tokens

if TYPE_CHECKING:
    from gateway.store.database import Database

_UP_LABEL = "procot up"
_READY = click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="written, whole, when everything listens"
)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path("var"), show_default=True,
              help="where everything is kept")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="settings beside the built-in ones")
@click.option("--free-ports", is_flag=True, help="take free ports instead of 2575, 8080, 8090 and 2577")
@click.option("--work-seconds", default=1.0, show_default=True, help="how long the registry sandbox works a case")
@_READY
def up(data: Path, config: Path | None, free_ports: bool, work_seconds: float, ready_file: Path | None) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, registry sandbox, hospital sandbox, gateway.

    Nothing real is touched: certificates are specimens. Send a birth with `procot send FILE --to 127.0.0.1:2575`; what
    comes back to the hospital lies in DATA/hospital-inbox/. Logs go to DATA/procot.log on a terminal, else to stderr.
    """
    base = load(config) if config else None
    log_file = data / "procot.log" if console.is_terminal else None
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    configure(level=(base or Config()).observe.level, file=log_file)
    wishes = Wishes(data=data.resolve(), free_ports=free_ports, work_seconds=work_seconds, base=base)
    loop.run(_up(wishes, ready_file, log_file))


async def _up(wishes: Wishes, ready_file: Path | None, log_file: Path | None) -> None:
    stop = loop.stop_signal()
    async with local(wishes) as running:
        token = await _local_token(running.gateway.context.database)
        ready = _ready(running, token)
        if ready_file is not None:
            write_private(ready_file, json.dumps(ready))
        _greet(running, token, log_file)
        await until(stop, running.gateway)
        if console.is_terminal:
            console.print("stopping: answering what was received …")
    if ready_file is not None:
        remove(ready_file)


async def _local_token(database: Database) -> str:
    """Make this run's operator token; those of earlier runs are worthless from now on."""
    for row in await tokens.listing(database):
        if row["label"] == _UP_LABEL and row["revoked_at"] is None:
            await tokens.revoke(database, row["id"])
    _, token = await tokens.new(database, label=_UP_LABEL, role="operator", days=30)
    return token


def _ready(running: Local, token: str) -> dict[str, Any]:
    return {
        "mllp": running.mllp,
        "http": running.http,
        "registry": running.registry,
        "hospital": running.hospital,
        "dsn": running.dsn,
        "pid": os.getpid(),
        "api_token": token,
    }


def _greet(running: Local, token: str, log_file: Path | None) -> None:
    console.print(f"""Procot is ready.
  births in     MLLP {running.mllp}          procot send FILE --to {running.mllp}
  API           {running.http}   curl -H "Authorization: Bearer $TOKEN" {running.http}/v1/births
  results       {running.inbox}  (hospital sandbox, MLLP {running.hospital})
  registry      {running.registry}   specimens only
  sign in with  TOKEN={token}
  logs          {log_file or "stderr"}
Ctrl-C ends it.""", markup=False, soft_wrap=True)  # fmt: skip


async def until(stop: asyncio.Event, gateway: Gateway) -> None:
    """Wait for a stop signal, or raise what broke the gateway."""
    stopped = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(gateway.failed())
    done, pending = await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


@click.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), required=True, help="TOML file")
@_READY
def serve(config: Path, ready_file: Path | None) -> None:
    """Run the gateway alone, for production. Ends on SIGTERM once what was received is answered.

    With database.dsn in the configuration it works on that PostgreSQL (15 or newer), else on an embedded one in
    database.directory. Every key can be set by environment, PROCOT_SECTION__KEY. Logs are JSON lines on stderr.
    """
    settings = load(config)
    configure(level=settings.observe.level, file=settings.observe.log_file)
    loop.run(_serve(settings, ready_file))


async def _serve(config: Config, ready_file: Path | None) -> None:
    stop = loop.stop_signal()
    gateway = Gateway(config)
    async with gateway.running() as addresses:
        if ready_file is not None:
            write_private(ready_file, json.dumps({**dataclasses.asdict(addresses), "pid": os.getpid()}))
        await until(stop, gateway)
    if ready_file is not None:
        remove(ready_file)

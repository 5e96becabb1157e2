"""`procot up` and `procot serve`: a gateway until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.app import Gateway
from gateway.cli import loop, memory, ready
from gateway.cli.doors import shut
from gateway.cli.local import Local, Wishes, local
from gateway.cli.output import console, program
from gateway.config import Config, load
from gateway.errors import ConfigError
from gateway.observe.logging import configure
from gateway.store import tokens

if TYPE_CHECKING:
    from gateway.store.database import Database

_UP_LABEL = "procot up"


@click.command(short_help="Run everything on this machine until Ctrl-C.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path("var"), show_default=True,
              help="where everything is kept")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="settings beside the built-in ones")
@click.option("--free-ports", is_flag=True, help="take free ports instead of 2575, 8080, 8090 and 2577")
@click.option("--work-seconds", default=1.0, show_default=True, help="how long the registry sandbox works a case")
@ready.OPTION
def up(data: Path, config: Path | None, free_ports: bool, work_seconds: float, ready_file: Path | None) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, registry sandbox, hospital sandbox, gateway.

    Nothing real is touched: certificates are specimens. Send a birth with `procot send FILE --to 127.0.0.1:2575`; what
    comes back to the hospital lies in DATA/hospital-inbox/. Logs go to DATA/procot.log on a terminal, else to stderr.
    """
    base = load(config) if config else None
    log_file = data / "procot.log" if console.is_terminal else None
    _make(data)
    configure(level=(base or Config()).observe.level, file=log_file)
    wishes = Wishes(data=data.resolve(), free_ports=free_ports, work_seconds=work_seconds, base=base)
    memory.return_large_blocks()
    loop.run(_up(wishes, ready_file, log_file))


async def _up(wishes: Wishes, ready_file: Path | None, log_file: Path | None) -> None:
    stop = loop.stop_signal()
    ready.forget(ready_file)
    async with local(wishes) as running:
        token = await _local_token(running.gateway.context.database)
        with ready.ready(ready_file, _ready(running, token)):
            _greet(running, token, log_file, wishes.data)
            await until(stop, running.gateway)
        if console.is_terminal:
            console.print("stopping: answering what was received …")


def _make(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--data {data}: cannot be made ({error.strerror})") from None


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


def _greet(running: Local, token: str, log_file: Path | None, data: Path) -> None:
    place = "" if data == Path("var").resolve() else f" --data {shlex.quote(str(data))}"
    console.print(f"""\
Procot is ready.

  MLLP       {running.mllp}
  HTTP       {running.http}
  registry   {running.registry}  (sandbox: specimens only)
  hospital   {running.hospital}  (sandbox: keeps what it gets)
  its inbox  {running.inbox}
  logs       {log_file or "standard error"}
  API token  TOKEN={token}

Send a birth:   {program()} send FILE --to {running.mllp}
See them all:   {program()} births list{place}
Over HTTP:      curl -H "Authorization: Bearer $TOKEN" \\
                     {running.http}/v1/births
Ctrl-C ends it.""", markup=False, soft_wrap=True)  # fmt: skip
    sys.stdout.flush()


async def until(stop: asyncio.Event, gateway: Gateway) -> None:
    """Wait for a stop signal, or raise what broke the gateway."""
    stopped = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(gateway.failed())
    done, pending = await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


@click.command(short_help="Run the gateway alone, for production.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), required=True, help="TOML file")
@ready.OPTION
def serve(config: Path, ready_file: Path | None) -> None:
    """Run the gateway alone, for production. Ends on SIGTERM once what was received is answered.

    With database.dsn in the configuration it works on that PostgreSQL (15 or newer), else on an embedded one in
    database.directory. Every key can be set by environment, PROCOT_SECTION__KEY. Logs are JSON lines on stderr.
    """
    settings = load(config)
    shut(settings)
    configure(level=settings.observe.level, file=settings.observe.log_file)
    memory.return_large_blocks()
    loop.run(_serve(settings, ready_file))


async def _serve(config: Config, ready_file: Path | None) -> None:
    stop = loop.stop_signal()
    gateway = Gateway(config)
    ready.forget(ready_file)
    async with gateway.running() as addresses:
        memory.freeze()
        with ready.ready(ready_file, {**dataclasses.asdict(addresses), "pid": os.getpid()}):
            await until(stop, gateway)

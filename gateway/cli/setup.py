"""`procot migrate` and `procot check-config`: what is set up before a gateway runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gateway import plugins
from gateway.app import open_registry, unreachable
from gateway.cli import loop
from gateway.cli.doors import shut
from gateway.cli.output import console
from gateway.config import Config, load
from gateway.errors import ConfigError, DatabaseStartError, StoreUnavailableError
from gateway.mllp.tls import server_context
from gateway.observe.logging import configure
from gateway.store.database import connect
from gateway.store.migrate import Status, look
from gateway.store.migrate import migrate as apply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

T = TypeVar("T")


@click.command(short_help="Bring a PostgreSQL to this version's schema.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="configuration file with database.dsn")  # fmt: skip
@click.option("--check", is_flag=True,
              help="change nothing: tell what is applied, what is pending (status 1), what may run")  # fmt: skip
def migrate(config: Path, check: bool) -> None:
    """Bring a PostgreSQL to this version's schema while gateways go on working; forward only.

    A gateway does so itself at its start, unless database.migrate = "never".
    """
    settings = load(config).database
    if settings.dsn is None:
        raise ConfigError("database.dsn: is not set; an embedded PostgreSQL is migrated when the gateway starts on it")
    dsn = settings.dsn.get_secret_value()
    if not check:
        names = loop.run(_with(dsn, settings.timeout_s, lambda c: apply(c, told=_tell)))
        _tell("\n".join(f"applied {name}" for name in names) or "nothing to apply: the schema is current")
        return
    status = loop.run(_with(dsn, settings.timeout_s, look))
    _tell("\n".join(_shown(status)))
    if status.refusal() or status.pending:
        raise SystemExit(1)


def _shown(status: Status) -> list[str]:
    kinds = {0: "code of any level may run"}
    needs, level = f"code {status.needs_code:04d} and later", f"{status.code:04d}"
    return [
        *(f"applied {m.name}  {m.applied_at:%Y-%m-%d %H:%M}Z" for m in status.applied),
        *(f"pending {m.name}  {kinds.get(m.needs_code, f'needs code >= {m.needs_code:04d}')}" for m in status.pending),
        f"schema {status.level:04d}; may run on it: {needs}; this code: {level}",
        *(f"connected: {sessions} sessions of code {level:04d}" for level, sessions in status.sessions.items()),
        *([status.refusal()] if status.refusal() else []),
    ]


def _tell(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


async def _with(dsn: str, timeout_s: float, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    try:
        connection = await connect(dsn, timeout_s=timeout_s)
    except StoreUnavailableError as error:
        raise DatabaseStartError(unreachable(dsn, error)) from error
    try:
        return await work(connection)
    finally:
        await connection.close()


@click.command(name="check-config", short_help="Check a configuration; start nothing.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check_config(file: Path) -> None:
    """Check a configuration: keys, values, secrets, certificates, adapters. Starts nothing."""
    configure(level="error")  # what an adapter would log at its start is told below
    config = load(file)
    warnings = list(checked(config))
    for warning in warnings:
        console.print(f"note: {warning}", markup=False, soft_wrap=True)
    count = len(config.facility)
    console.print(f"{file}: good, {count} {'facility' if count == 1 else 'facilities'}", markup=False)


def checked(config: Config) -> list[str]:
    """Try what only shows at start. Raises ConfigError; returns what is allowed but surprising."""
    notes = []
    loop.run(open_registry(config).close())
    for facility in config.facility:
        _adapter(plugins.HOSPITALS, facility.adapter, key=f"facility {facility.code}: adapter")
        if not facility.deliver_to:
            notes.append(f"facility {facility.code!r} has no deliver_to: it fetches certificates over HTTP")
    if config.mllp.tls_listen:
        server_context(config.tls)
        notes += [
            f"facility {facility.code!r} has neither certificates nor peers: on mllp.tls_listen it is refused"
            for facility in config.facility
            if not facility.bound
        ]
    shut(config)
    if not config.facility:
        notes.append("there is no [[facility]]: every message will be answered AR (unknown facility)")
    if config.registry.url and not config.registry.check_user:
        notes.append("registry.check_user is not set: no element check, every birth waits until an officer looked")
    if config.registry.url and not config.registry.callback_jwks:
        notes.append("registry.callback_jwks is not set: callbacks are refused, outcomes are found by polling")
    return notes


def _adapter(group: str, name: str, *, key: str) -> None:
    try:
        plugins.load(group, name)
    except ConfigError as error:
        raise ConfigError(f"{key} = {name!r}: {error}") from None

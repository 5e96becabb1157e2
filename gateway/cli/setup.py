"""`procot migrate` and `procot check-config`: what is set up before a gateway runs."""

from __future__ import annotations

from pathlib import Path

import click

from gateway import plugins
from gateway.app import unreachable
from gateway.cli import loop
from gateway.cli.output import console
from gateway.config import Config, load, secret
from gateway.errors import ConfigError, DatabaseStartError, StoreUnavailableError
from gateway.mllp.tls import server_context
from gateway.store.database import connect
from gateway.store.migrate import migrate as apply


@click.command(short_help="Bring a PostgreSQL to this version's schema.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="configuration file with database.dsn")  # fmt: skip
def migrate(config: Path) -> None:
    """Bring a PostgreSQL to this version's schema. A gateway does so itself at its start; forward only."""
    settings = load(config).database
    if settings.dsn is None:
        raise ConfigError("database.dsn: is not set; an embedded PostgreSQL is migrated when the gateway starts on it")
    names = loop.run(_migrate(settings.dsn.get_secret_value(), settings.timeout_s))
    console.print("\n".join(f"applied {name}" for name in names) or "nothing to apply: the schema is current")


async def _migrate(dsn: str, timeout_s: float) -> list[str]:
    try:
        connection = await connect(dsn, timeout_s=timeout_s)
    except StoreUnavailableError as error:
        raise DatabaseStartError(unreachable(dsn, error)) from error
    try:
        return await apply(connection)
    finally:
        await connection.close()


@click.command(name="check-config", short_help="Check a configuration; start nothing.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check_config(file: Path) -> None:
    """Check a configuration: keys, values, secrets, certificates, adapters. Starts nothing."""
    config = load(file)
    warnings = list(_check(config))
    for warning in warnings:
        console.print(f"note: {warning}", markup=False, soft_wrap=True)
    count = len(config.facility)
    console.print(f"{file}: good, {count} {'facility' if count == 1 else 'facilities'}", markup=False)


def _check(config: Config) -> list[str]:
    """Try what only shows at start. Raises ConfigError; returns what is allowed but surprising."""
    notes = []
    if not config.registry.url:
        raise ConfigError("registry.url: is not set; name the base URL of the registry's service")
    secret(config.registry.token_file, "registry.token_file")
    if config.registry.check_password_file is not None:
        secret(config.registry.check_password_file, "registry.check_password_file")
    _adapter(plugins.REGISTRIES, config.registry.adapter, key="registry.adapter")
    for number, facility in enumerate(config.facility):
        _adapter(plugins.HOSPITALS, facility.adapter, key=f"facility.{number}.adapter")
        if not facility.deliver_to:
            notes.append(f"facility {facility.code!r} has no deliver_to: it fetches certificates over HTTP")
    if config.mllp.tls_listen:
        server_context(config.tls)
    if not config.facility:
        notes.append("there is no [[facility]]: every message will be answered AR (unknown facility)")
    if not config.registry.callback_jwks:
        notes.append("registry.callback_jwks is not set: callbacks are refused, outcomes are found by polling")
    return notes


def _adapter(group: str, name: str, *, key: str) -> None:
    try:
        plugins.load(group, name)
    except ConfigError as error:
        raise ConfigError(f"{key} = {name!r}: {error}") from None

"""Which database a command works on: the one in a configuration file, or that of a gateway running on a directory."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.app import RUN_FILE
from gateway.config import Config, load, parse
from gateway.errors import ConfigError, StoreUnavailableError
from gateway.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

F = TypeVar("F", bound="Callable[..., Any]")

_TIMEOUT_S = 10.0


def options(command: F) -> F:
    """Add `--config` and `--data` to a command."""
    command = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("var"),
        show_default=True,
        help="directory on which `procot up` or `procot serve` runs",
    )(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="configuration file; without one, --data says which gateway",
    )(command)


def dsn_of(config: Path | None, data: Path) -> str:
    """Return the DSN. Raises ConfigError saying what to start or to give."""
    if config is not None:
        settings = load(config).database
        if settings.dsn is not None:
            return settings.dsn.get_secret_value()
        data = settings.directory
    run_file = data / RUN_FILE
    try:
        return str(json.loads(run_file.read_text(encoding="utf-8"))["dsn"])
    except (OSError, ValueError, KeyError):
        raise ConfigError(
            f"no gateway runs on {data}; start `procot up --data {data}`, or name a configuration with --config"
        ) from None


def settings(config: Path | None, data: Path) -> Config:
    """Return the configuration: the file's, or the one a running gateway left beside its addresses."""
    if config is not None:
        return load(config)
    run_file = data / RUN_FILE
    return parse(json.loads(run_file.read_text(encoding="utf-8"))["config"], where=str(run_file))


@asynccontextmanager
async def database(config: Path | None, data: Path) -> AsyncIterator[Database]:
    """Lend the opened database of a command. Raises ConfigError where it does not answer."""
    opened = Database(dsn_of(config, data), size=2, timeout_s=_TIMEOUT_S)
    try:
        await opened.open()
    except StoreUnavailableError as error:
        whose = f"of {config}" if config else f"of the gateway on {data}"
        raise ConfigError(f"the PostgreSQL {whose} does not answer; does it run? ({error})") from error
    try:
        yield opened
    finally:
        await opened.close()

"""`procot keys`: the signing keys."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from gateway.cli.output import as_json, console, emit, table
from gateway.config import load
from gateway.errors import ConfigError
from gateway.evidence.keys import Keyring

_DIRECTORY = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), default=Path("var"), show_default=True,
    help="data directory; keys lie in its keys/",
)  # fmt: skip
_CONFIG = click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="configuration file")


def _directory(config: Path | None, data: Path) -> Path:
    return load(config).keys_directory if config else data / "keys"


def _is_empty(directory: Path) -> bool:
    return not any(directory.glob("sign-*.pem"))


@click.group()
def keys() -> None:
    """The keys that sign records (Ed25519).

    Private halves are files of mode 0600 and are never shown.
    """


@keys.command(name="list")
@as_json()
@_DIRECTORY
@_CONFIG
def list_keys(json_output: bool, config: Path | None, data: Path) -> None:
    """List the keys.

    The newest signs; all of them stay published, so that what they signed can be checked.
    """
    directory = _directory(config, data)
    if _is_empty(directory):
        raise ConfigError(f"{directory}: there are no keys yet; the first start makes one, or `procot keys new`")
    ring = Keyring(directory)
    ring.open()
    rows = [
        {
            "key_id": key.key_id,
            "made_at": dt.datetime.fromtimestamp(key.made_at / 1e9, dt.UTC).isoformat(timespec="seconds"),
            "signs": key is ring.signing,
        }
        for key in ring.keys
    ]
    if json_output:
        for row in rows:
            emit(row)
    else:
        table(("key id", "made at", "signs"), ((r["key_id"], r["made_at"], "yes" if r["signs"] else "") for r in rows))


@keys.command()
@_DIRECTORY
@_CONFIG
def new(config: Path | None, data: Path) -> None:
    """Make a key. A running gateway signs with it after its next start; older keys stay published."""
    directory = _directory(config, data)
    first = _is_empty(directory)
    ring = Keyring(directory)
    ring.open()  # makes the first key where there is none
    key = ring.signing if first else ring.new()
    then = "a gateway signs with it from its start" if first else "restart the gateway to sign with it"
    console.print(f"made {key.key_id} in {directory}; {then}", markup=False, soft_wrap=True)

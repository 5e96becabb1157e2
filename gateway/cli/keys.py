"""`procot keys`: the signing keys."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import click

from gateway.cli.output import as_json, console, emit, table
from gateway.config import load
from gateway.errors import ConfigError
from gateway.evidence.keys import Keyring, RetiredKey, SigningKey

_SOON = "within 10 seconds"

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
    """The keys that sign records and the journal (Ed25519).

    Private halves are files of mode 0600 and are never shown.
    """


@keys.command(name="list")
@as_json()
@_DIRECTORY
@_CONFIG
def list_keys(json_output: bool, config: Path | None, data: Path) -> None:
    """List the keys.

    The newest whose time has come signs; all of them stay published, so that what they signed can be checked.
    """
    directory = _directory(config, data)
    if _is_empty(directory):
        raise ConfigError(f"{directory}: there are no keys yet; the first start makes one, or `procot keys new`")
    ring = Keyring(directory)
    ring.open()
    every: list[SigningKey | RetiredKey] = [*ring.retired, *ring.keys]
    rows = [_row(key, ring) for key in sorted(every, key=lambda key: key.made_at)]
    if json_output:
        for row in rows:
            emit(row)
    else:
        table(("key id", "made at", "signs"), ((r["key_id"], r["made_at"], _state(r)) for r in rows))


def _row(key: SigningKey | RetiredKey, ring: Keyring) -> dict[str, Any]:
    later = key.signs_from if isinstance(key, SigningKey) and key.signs_from > time.time_ns() else 0
    return {
        "key_id": key.key_id,
        "made_at": _shown(key.made_at),
        "signs": key is ring.signing,
        "signs_from": _shown(later) if later else None,
        "retired_at": _shown(key.retired_at) if isinstance(key, RetiredKey) else None,
    }


def _state(row: dict[str, Any]) -> str:
    if row["retired_at"]:
        return f"retired {row['retired_at']}"
    if row["signs_from"]:
        return f"from {row['signs_from']}"
    return "yes" if row["signs"] else ""


def _shown(nanoseconds: int) -> str:
    return dt.datetime.fromtimestamp(nanoseconds / 1e9, dt.UTC).isoformat(timespec="seconds")


@keys.command(short_help="Make a key that signs at once.")
@_DIRECTORY
@_CONFIG
def new(config: Path | None, data: Path) -> None:
    """Make a key that signs at once; older keys stay published.

    A running gateway signs with it within seconds. Whoever keeps our public keys for a while may not know it yet:
    `procot keys rotate` gives them time.
    """
    directory = _directory(config, data)
    first = _is_empty(directory)
    ring = Keyring(directory)
    ring.open()  # makes the first key where there is none
    key = ring.signing if first else ring.new()
    then = "a gateway signs with it from its start" if first else f"a running gateway signs with it {_SOON}"
    console.print(f"made {key.key_id} in {directory}; {then}", markup=False, soft_wrap=True)


@keys.command(short_help="Publish a new key now, and sign with it in a while.")
@click.option("--after", type=click.IntRange(0, 30 * 86_400), default=600, show_default=True, metavar="SECONDS",
              help="when it begins to sign: longer than anybody keeps our JWK set")  # fmt: skip
@_DIRECTORY
@_CONFIG
def rotate(after: int, config: Path | None, data: Path) -> None:
    """Publish a new key now and let it sign in a while, when everybody has fetched it.

    What older keys signed can be checked further on. Where gateways have directories of their own, copy the new file
    to all of them within that time.
    """
    directory = _directory(config, data)
    if _is_empty(directory):
        raise ConfigError(f"{directory}: there are no keys yet; the first start makes one, or `procot keys new`")
    ring = Keyring(directory)
    ring.open()
    key = ring.new(signs_in_s=after)
    then = f"signs from {_shown(key.signs_from)}" if after else f"signs {_SOON}"
    console.print(f"made {key.key_id} in {directory}; published {_SOON}, {then}", markup=False, soft_wrap=True)


@keys.command(short_help="Destroy a key's private half; what it signed stays good.")
@click.argument("key_id", metavar="KEY")
@click.option("--yes", is_flag=True, help="do it; it cannot be undone")
@_DIRECTORY
@_CONFIG
def retire(key_id: str, yes: bool, config: Path | None, data: Path) -> None:
    """Destroy a key's private half. Its public half stays published: what it signed can be checked further on.

    KEY is its id. A running gateway signs with another one within seconds.
    """
    directory = _directory(config, data)
    if _is_empty(directory):
        raise ConfigError(f"{directory}: there are no keys")
    if not yes:
        raise ConfigError(f"key {key_id}: its private half is destroyed for good; say --yes to do it")
    ring = Keyring(directory)
    ring.open()
    ring.retire(key_id)
    console.print(f"retired {key_id}; {ring.signing.key_id} signs", markup=False, soft_wrap=True)

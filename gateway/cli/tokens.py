"""`procot tokens`: who may use the API."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import loop, place
from gateway.cli.output import as_json, console, emit, errors, table
from gateway.errors import ConfigError
from gateway.store import tokens as store
from gateway.store.tokens import ROLES

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    import asyncpg

    from gateway.config import Config

_SHOWN = 5  # names of facilities in an error: those most like the one that was meant
_OFFICE = re.compile(r"\d{4}|all", re.ASCII)


@click.group()
def tokens() -> None:
    """Who may use the HTTP interface.

    A token is shown once, when it is made; the store keeps its hash.
    """


@tokens.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="whom it speaks for")
@click.option("--facility", help="MSH-4 code; for role facility: whose births it sees")
@click.option("--office", metavar="CODE",
              help="for role officer: whose records it takes and decides, four digits or `all`")  # fmt: skip
@click.option("--restricted", is_flag=True, help="it also sees restricted cases (VIP, adoption, violence, foundling)")
@click.option("--label", required=True, help="what it is for, e.g. the system's name")
@click.option("--days", type=click.IntRange(1, 3650), default=store.DAYS, show_default=True, metavar="N",
              help="how long it is good, 1 to 3650")  # fmt: skip
@place.options
def new(
    role: str, facility: str | None, office: str | None, restricted: bool, label: str, days: int,
    config: Path | None, data: Path,
) -> None:  # fmt: skip
    """Make a token and print it, this once."""
    if (role == "facility") != (facility is not None):
        raise ConfigError("--facility goes with --role facility, and only with it")
    if office is not None and (role != "officer" or not _OFFICE.fullmatch(office)):
        raise ConfigError("--office goes with --role officer: four digits of a kabupaten or kota, or `all`")
    wanted: dict[str, Any] = {
        "label": label, "role": role, "facility": facility, "days": days, "office": office, "restricted": restricted,
    }  # fmt: skip
    console.print(loop.run(_new(wanted, config, data)), markup=False, soft_wrap=True)


async def _new(wanted: dict[str, Any], config: Path | None, data: Path) -> str:
    async with place.database(config, data) as database:
        settings = place.settings(config, data)
        if wanted["facility"] is not None:
            _configured(wanted["facility"], settings)
        if wanted["role"] == "officer" and wanted["office"] is None:
            errors.print(_reads_only(settings), markup=False, soft_wrap=True)
        _, token = await store.new(database, **wanted)
    return token


def _configured(facility: str, settings: Config) -> None:
    """Check that a token's facility is one: of another it would see nothing, for ever. Raises ConfigError."""
    codes = sorted(profile.code for profile in settings.facility)
    if facility in codes:
        return
    near = difflib.get_close_matches(facility, codes, n=_SHOWN, cutoff=0.0)
    more = f" and {len(codes) - len(near)} more" if len(codes) > len(near) else ""
    there = f"there is {', '.join(repr(code) for code in near)}{more} (procot facilities list)" if codes else "none is"
    raise ConfigError(
        f"--facility {facility!r}: no such facility is configured, {there}; give a code as it stands there, or add a "
        "[[facility]] block first (procot facilities add)"
    )


def _reads_only(settings: Config) -> str:
    """Tell what an officer's token without an office cannot do."""
    known = ", ".join([settings.registry.office, *(office.code for office in settings.office)])
    return (
        "without --office this token only reads, births of all offices: to take and decide records make one with "
        f"--office CODE or --office all (configured: {known})"
    )


@tokens.command(name="list")
@as_json()
@place.options
def list_tokens(json_output: bool, config: Path | None, data: Path) -> None:
    """List tokens by id, never their text."""
    loop.run(_list(json_output, config, data))


async def _list(json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        rows = await store.listing(database)
    if json_output:
        for row in rows:
            emit(dict(row))
    else:
        table(("id", "role", "for", "label", "valid"), (_row(row) for row in rows))


def _row(row: asyncpg.Record) -> tuple[object, ...]:
    now = dt.datetime.now(dt.UTC)
    if row["revoked_at"] is not None:
        valid = "revoked"
    elif row["expires_at"] is None:
        valid = "without end: make a new one, then revoke it"
    else:
        valid = f"to {row['expires_at']:%Y-%m-%d}" if row["expires_at"] > now else "expired"
    whose = row["facility"] or (f"office {row['office']}" if row["office"] else "")
    whose += " (restricted too)" * row["restricted"]
    return row["id"], row["role"], whose.strip(), row["label"], valid


@tokens.command()
@click.argument("token_id", metavar="ID", type=click.UUID)
@place.options
def revoke(token_id: uuid.UUID, config: Path | None, data: Path) -> None:
    """Make a token worthless at once."""
    if not loop.run(_revoke(token_id, config, data)):
        raise ConfigError(f"{token_id}: no such token, or it was revoked before")
    console.print(f"revoked {token_id}", markup=False)


async def _revoke(token_id: uuid.UUID, config: Path | None, data: Path) -> bool:
    async with place.database(config, data) as database:
        return await store.revoke(database, token_id)

"""`procot births erase`: the parents' right to erasure, once a birth's time is over (domain F 111)."""

from __future__ import annotations

import uuid
from pathlib import Path

import click

from gateway.cli import loop, place
from gateway.cli.births import find, who
from gateway.cli.output import console
from gateway.pipeline import erase, operate


@click.command("erase")
@click.argument("birth")
@click.option("--reason", required=True, help="kept in the birth's history; no personal data")
@place.options
def erase_birth(birth: str, reason: str, config: Path | None, data: Path) -> None:
    """Erase what is still known of a family, at its request.

    For a birth that is finished and whose bodies retention has removed; the registration stays at the office. Digests,
    signatures, the akta's number and the history stay. BIRTH is its id, or the control id of one of its messages.
    """
    loop.run(_erase(birth, reason, config, data))


async def _erase(birth: str, reason: str, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await find(database, birth)
        desk = operate.Desk(database, place.settings(config, data), actor=f"operator:{who()}", reason=reason)
        await erase.erase(desk, uuid.UUID(found["id"]))
    console.print(f"{found['id']} is erased; digests, signatures and the akta's number stay", markup=False)

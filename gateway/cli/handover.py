"""`procot births handover` and `procot births restrict`: records on paper, and who may see a birth."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import loop, place
from gateway.cli.births import find, who
from gateway.cli.output import as_json, console, emit
from gateway.errors import ConfigError
from gateway.pipeline import operate, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESTRICTIONS = ("vip", "adoption", "violence", "foundling", "other", "nobody")


@click.command()
@click.argument("birth", nargs=-1, required=True)
@click.option("--to", "directory", type=click.Path(path_type=Path, file_okay=False), required=True,
              metavar="DIR", help="where the packs are written, each as PDF and JSON, mode 0600")  # fmt: skip
@click.option("--reason", default="hand-over pack made", show_default=True,
              help="kept in the birth's history; no personal data")  # fmt: skip
@click.option("--outage", is_flag=True,
              help="also births that were to be submitted to a registry that is away; then they never are")  # fmt: skip
@as_json()
@place.options
def handover(
    birth: tuple[str, ...],
    directory: Path,
    reason: str,
    outage: bool,
    json_output: bool,
    config: Path | None,
    data: Path,
) -> None:
    """Make hand-over packs for offices that are not connected.

    For births that are AWAIT_OFFICE for an office without an [[office]] block: `births list --state AWAIT_OFFICE`. The
    family takes the pack to its office. Called again, the same pack is written again.
    """
    loop.run(_hand_over(birth, directory, (reason, outage), json_output, config, data))


async def _hand_over(
    names: Sequence[str], directory: Path, why: tuple[str, bool], json_output: bool, config: Path | None, data: Path
) -> None:
    reason, outage = why
    async with place.database(config, data) as database:
        for name in names:
            found = await find(database, name)
            desk = operate.Desk(database, place.settings(config, data), actor=f"operator:{who()}", reason=reason)
            made = await operate.hand_over(desk, uuid.UUID(found["id"]), outage=outage)
            files = {}
            for kind, content in (("json", pack.as_json(made)), ("pdf", pack.as_pdf(made))):
                path = directory / f"handover-{made.birth_id}-{made.revision}.{kind}"
                _write(path, content)
                files[kind] = str(path)
            if json_output:
                emit({"birth_id": made.birth_id, "revision": made.revision, "office": made.office, **files})
            else:
                console.print(f"{made.birth_id} for office {made.office}: {files['pdf']}", markup=False, soft_wrap=True)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(
            f"--to: {path} cannot be written ({error.strerror}); call it again, nothing is lost"
        ) from None


@click.command()
@click.argument("birth")
@click.option("--why", type=click.Choice(_RESTRICTIONS), required=True,
              help="what makes it a case for few; `nobody` lets all see it again")  # fmt: skip
@click.option("--reason", required=True, help="kept in the birth's history; no personal data")
@place.options
def restrict(birth: str, why: str, reason: str, config: Path | None, data: Path) -> None:
    """Let fewer people see a birth.

    A restricted birth is in no list and under no address but for tokens made with --restricted. A VIP flag (PV1-16,
    NK1-23), an unknown identity (PID-31) and the form restrict by themselves; only this command takes it back.
    """
    loop.run(_restrict(birth, "" if why == "nobody" else why, reason, config, data))


async def _restrict(birth: str, why: str, reason: str, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await find(database, birth)
        desk = operate.Desk(database, place.settings(config, data), actor=f"operator:{who()}", reason=reason)
        await operate.restrict(desk, uuid.UUID(found["id"]), why)
    console.print(f"{found['id']} is {f'restricted ({why})' if why else 'seen by all'}", markup=False)

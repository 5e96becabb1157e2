"""`procot reconcile`: gateway, registry and hospital compared now; the cases that came of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from gateway.app import Gateway
from gateway.cli import loop, place
from gateway.cli.births import who
from gateway.cli.output import as_json, console, details, emit, errors, table, when
from gateway.errors import ConfigError, RegistryUnavailableError
from gateway.observe.logging import configure
from gateway.pipeline.reconcile import KINDS, Report
from gateway.pipeline.reconcile import reconcile as compare
from gateway.store import reconcile as store

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = 50


@click.group(short_help="Compare gateway, registry and hospital.")
def reconcile() -> None:
    """Compare gateway, registry and hospital birth by birth. A gateway does so itself, every day.

    What the registry knows and we do not is applied; what contradicts becomes a case for a person.
    """


@reconcile.command()
@as_json(shown="one JSON object a difference, at last the numbers")
@place.options
def run(json_output: bool, config: Path | None, data: Path) -> None:
    """Compare now. Exit status: 0 all agree, 1 there are differences, or the registry is away."""
    configure(level="error")  # each difference is told below
    report = loop.run(_run(json_output, config, data))
    sys.exit(0 if report.complete and not report.differences else 1)


async def _run(json_output: bool, config: Path | None, data: Path) -> Report:
    reports: list[Report] = []

    def told(report: Report) -> None:
        reports[:] = [report]
        if errors.is_terminal and not json_output:
            errors.print(f"{report.compared} compared …", markup=False)

    async with place.database(config, data) as database:
        settings = place.settings(config, data)
        async with Gateway(settings).parts(database) as context:
            try:
                report = await compare(context, told=told)
            except RegistryUnavailableError as error:
                errors.print(f"interrupted: {error}; what was found so far stays", markup=False, soft_wrap=True)
                report = reports[0] if reports else Report()
    _tell(report, json_output)
    return report


def _tell(report: Report, json_output: bool) -> None:
    if json_output:
        for found in report.differences:
            emit({"kind": found.kind, "birth_id": found.birth_id, "message_id": found.message_id, **found.detail})
        emit(report.as_dict())
        return
    if report.differences:
        table(
            ("difference", "birth or message", "what is known"),
            ((d.kind, d.birth_id or f"message {d.message_id}", _words(d.detail)) for d in report.differences),
            whole=2,
        )
    numbers = report.as_dict() | {"differences": len(report.differences)}
    details((key.replace("_", " "), value) for key, value in numbers.items())


def _words(detail: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in detail.items())


@reconcile.command(short_help="List the differences that wait for a person.")
@click.option("--all", "closed", is_flag=True, help="closed ones too")
@click.option("--limit", type=click.IntRange(1, 10_000), default=_PAGE, show_default=True, metavar="N",
              help="at most so many")  # fmt: skip
@as_json()
@place.options
def cases(closed: bool, limit: int, json_output: bool, config: Path | None, data: Path) -> None:
    """List the differences that wait for a person, and what to do about each kind."""
    found = loop.run(_cases(closed, limit, config, data))
    if json_output:
        for case in found:
            emit({**case, "do": KINDS.get(case["kind"])})
        return
    table(
        ("case", "kind", "birth or message", "since", "what is known", "closed"),
        (
            (
                c["id"], c["kind"], c["birth_id"] or f"message {c['message_id']}", when(c["opened_at"]),
                _words(c["detail"]), c["resolution"],
            )
            for c in found
        ),
        whole=3,
    )  # fmt: skip
    for kind in sorted({c["kind"] for c in found if c["closed_at"] is None}):
        console.print(f"{kind}: {KINDS.get(kind, '')}", markup=False, soft_wrap=True)


async def _cases(closed: bool, limit: int, config: Path | None, data: Path) -> list[dict[str, Any]]:
    async with place.database(config, data) as database:
        return await store.cases(database, closed=closed, limit=limit)


@reconcile.command()
@click.argument("case", metavar="CASE", type=click.IntRange(1, 2**63 - 1))
@click.option("--reason", required=True, help="what was decided; no personal data")
@place.options
def close(case: int, reason: str, config: Path | None, data: Path) -> None:
    """Close a case that a person decided. It opens again only where the difference becomes another one."""
    loop.run(_close(case, reason, config, data))
    console.print(f"{case} is closed", markup=False)


async def _close(case: int, reason: str, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database, database.transaction() as connection:
        if not await store.close(connection, case, by=f"operator:{who()}", resolution=reason):
            raise ConfigError(f"{case}: there is no such open case (reconcile cases)")

"""`procot births`: find one baby in seconds, see its way, let it go on."""

from __future__ import annotations

import getpass
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import loop, place
from gateway.cli.output import as_json, console, emit, table
from gateway.contract.lifecycle import State
from gateway.errors import ConfigError
from gateway.pipeline import operate
from gateway.store import views
from gateway.store.views import Filter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.pipeline.operate import Desk
    from gateway.store.database import Database

_PAGE = 50


@click.group()
def births() -> None:
    """Births and where they stand. Nothing here shows a name."""


@births.command(name="list")
@click.option("--state", type=click.Choice([s.value for s in State]), help="only births in this state")
@click.option("--facility", help="only births of this facility (MSH-4)")
@click.option("--control-id", help="only births this message (MSH-10) was about")
@click.option("--mrn", help="only the birth of this record number (PID-3)")
@click.option("--limit", type=click.IntRange(1, 1000), default=_PAGE, show_default=True)
@click.option("--cursor", help="where the page before ended")
@as_json()
@place.options
def list_births(
    state: str | None, facility: str | None, control_id: str | None, mrn: str | None, limit: int, cursor: str | None,
    json_output: bool, config: Path | None, data: Path,
) -> None:  # fmt: skip
    """List births, the longest unchanged first."""
    wanted = Filter(facility=facility, control_id=control_id, medical_record=mrn, state=state)
    loop.run(_list(wanted, limit, cursor, json_output, config, data))


async def _list(
    wanted: Filter, limit: int, cursor: str | None, json_output: bool, config: Path | None, data: Path
) -> None:
    async with place.database(config, data) as database:
        try:
            items, following = await views.births(database, wanted, cursor=cursor, limit=limit)
        except ValueError as error:
            raise ConfigError(f"--cursor: {error}") from None
    if json_output:
        for item in items:
            emit(item)
        return
    columns = ("birth", "facility", "record no.", "state", "rev", "deadline", "certificate", "waits for", "updated")
    table(columns, (_row(i) for i in items))
    if following:
        console.print(f"more: --cursor {following}", soft_wrap=True)


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    issues = ", ".join(i["code"] for i in item["issues"] if i["state"])
    certificate = item["certificate"]["number"] if item["certificate"] else ""
    state = item["state"] + (" held" if item["held"] else "") + (" OVERDUE" if item["overdue"] else "")
    return (
        item["id"], item["facility"], item["mrn"], state, item["revision"], item["deadline"], certificate, issues,
        item["updated_at"],
    )  # fmt: skip


_ID = click.argument("birth", metavar="BIRTH")


@births.command()
@_ID
@as_json()
@place.options
def show(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    """Show one birth: BIRTH is its id, or the control id of one of its messages."""
    loop.run(_show(birth, json_output, config, data))


async def _show(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await _find(database, birth)
    if json_output:
        emit(found)
        return
    for key in (
        "id",
        "facility",
        "mrn",
        "state",
        "held",
        "overdue",
        "revision",
        "deadline",
        "received_at",
        "updated_at",
    ):
        console.print(f"{key:>12}  {found[key]}", markup=False)
    for key, value in (found["certificate"] or {}).items():
        console.print(f"{key:>12}  {value}", markup=False)
    for issue in found["issues"]:
        console.print(f"{issue['severity']:>12}  {issue['code']}: {issue['message']}", markup=False, soft_wrap=True)


@births.command()
@_ID
@as_json()
@place.options
def history(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    """Show a birth's way: every change with time, actor and reason."""
    loop.run(_history(birth, json_output, config, data))


async def _history(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await _find(database, birth)
        events = await views.history(database, uuid.UUID(found["id"]))
    if json_output:
        for event in events:
            emit(event)
        return
    table(
        ("at", "step", "from", "to", "actor", "reason"),
        ((e["at"], e["step"], e["from"] or "", e["to"], e["actor"], e["reason"]) for e in events),
    )


async def _find(database: Database, birth: str) -> dict[str, Any]:
    try:
        found = await views.birth(database, uuid.UUID(birth))
        items = [found] if found else []
    except ValueError:
        items, _ = await views.births(database, Filter(control_id=birth), cursor=None, limit=2)
    if not items:
        raise ConfigError(f"{birth}: no birth has this id, and no birth's message has this control id")
    if len(items) > 1:
        raise ConfigError(f"{birth}: several facilities used this control id; name the birth's id (births list)")
    return items[0]


def _operation(name: str, act: Callable[[Desk, uuid.UUID], Awaitable[State]], text: str) -> None:
    @births.command(name=name, help=text)
    @_ID
    @click.option("--reason", required=True, help="kept in the birth's history; no personal data")
    @place.options
    def command(birth: str, reason: str, config: Path | None, data: Path) -> None:
        loop.run(_operate(act, birth, reason, config, data))


async def _operate(
    act: Callable[[Desk, uuid.UUID], Awaitable[State]], birth: str, reason: str, config: Path | None, data: Path
) -> None:
    async with place.database(config, data) as database:
        found = await _find(database, birth)
        desk = operate.Desk(database, place.settings(config, data), actor=f"operator:{_who()}", reason=reason)
        try:
            state = await act(desk, uuid.UUID(found["id"]))
        except LookupError as error:
            raise ConfigError(str(error)) from None
    console.print(f"{found['id']} is {state.value}", markup=False)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


_operation("hold", operate.hold, "Stop a birth before its next step.")
_operation(
    "release",
    operate.release,
    "Let a held birth go on, or take responsibility for what REVIEW or AWAIT_FORM waits for (a paper form was seen, an "
    "officer agreed). Missing names and data cannot be released: they come from the hospital.",
)
_operation("retry", operate.retry, "Try again the step at which a birth stopped (DEAD_LETTER) or waits.")
_operation("cancel", operate.cancel, "Withdraw a birth that was not sent to the registry.")

if __name__ == "__main__":
    sys.exit(births())

"""`procot demo`: births over real MLLP to their certificate numbers, on a throw-away system."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from gateway.app import split_address
from gateway.cli import loop
from gateway.cli.demo_births import DemoBirth, demo_births
from gateway.cli.local import Local, Wishes, local
from gateway.cli.output import as_json, console, emit, errors, program, table
from gateway.errors import ProcotError
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.observe.logging import configure
from gateway.store import views
from gateway.store.views import Filter

if TYPE_CHECKING:
    from gateway.store.database import Database

_PATIENCE_S = 90.0
_LOOK_S = 0.05
_SHOWN = 12  # births told one by one; more are a progress bar
_FINAL = "DELIVERED"


@click.command(short_help="See births go all the way to their certificates.")
@click.option("--births", "count", type=click.IntRange(1, 100_000), default=3, show_default=True, metavar="N",
              help="how many; two of them are twins")  # fmt: skip
@as_json(shown="one object a birth: control_id, birth_id, state, certificate_number, child_nik, seconds")
def demo(count: int, json_output: bool) -> None:
    """Send births through the whole system and show each one's way to its certificate number.

    Starts PostgreSQL, a registry sandbox, a hospital and the gateway on free ports and a throw-away directory, sends
    real HL7 over real MLLP, and cleans up. The certificates are specimens of invented people.
    """
    directory = Path(tempfile.mkdtemp(prefix="procot-demo-"))
    configure(level="info", file=directory / "procot.log")
    try:
        ended = loop.run(_demo(directory, count, json_output=json_output))
    except ProcotError:
        errors.print(f"the logs of the failed demo are in {directory}/procot.log", markup=False, soft_wrap=True)
        raise
    if ended:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        errors.print(f"not every birth was delivered; the logs are in {directory}/procot.log", soft_wrap=True)
    sys.exit(0 if ended else 1)


async def _demo(directory: Path, count: int, *, json_output: bool) -> bool:
    show = not json_output
    if show:
        console.print("Starting PostgreSQL, a registry sandbox, a hospital and the gateway …")
    stop = loop.stop_signal()
    async with local(Wishes(data=directory, free_ports=True, work_seconds=0.6 if count <= _SHOWN else 0.0)) as running:
        work = asyncio.create_task(_births(running, demo_births(count), json_output=json_output))
        interrupted = asyncio.create_task(stop.wait())
        await asyncio.wait((work, interrupted), return_when=asyncio.FIRST_COMPLETED)
        interrupted.cancel()
        if not work.done():
            work.cancel()
            return False
        return work.result()


async def _births(running: Local, births: list[DemoBirth], *, json_output: bool) -> bool:
    started = time.monotonic()
    if not json_output:
        console.print(f"The hospital sends {len(births)} births over MLLP to {running.mllp}:")
    await _send(running, births, show=not json_output and len(births) <= _SHOWN)
    database = running.gateway.context.database
    if json_output or len(births) > _SHOWN:
        await _watch_count(database, len(births), started)
    else:
        await _watch_each(database, births, started)
    found = await _results(database, births)
    _print(running, births, found, started=started, json_output=json_output)
    return all(f is not None and f["state"] == _FINAL for f in found)


async def _send(running: Local, births: list[DemoBirth], *, show: bool) -> None:
    client = await MllpClient(*split_address(running.mllp)).connect()
    for birth in births:
        answer = await client.exchange(birth.message, control_id=birth.control_id, timeout=30)
        code, _ = acknowledgement(answer)
        if show:
            about = f"  {birth.control_id}  {birth.what:<14} answered "
            console.print(Text.assemble(about, (code, "bold green"), ": kept"))
    await client.aclose()


async def _watch_each(database: Database, births: list[DemoBirth], started: float) -> None:
    """Tell each change of each birth as it happens."""
    console.print("Each birth's way:")
    told: dict[str, int] = {}
    open_births = {b.control_id: b for b in births}
    while open_births and time.monotonic() - started < _PATIENCE_S:
        for control_id, birth in list(open_births.items()):
            items, _ = await views.births(database, Filter(control_id=control_id), cursor=None, limit=1)
            if not items:
                continue
            events = await views.history(database, uuid.UUID(items[0]["id"]))
            for event in events[told.get(control_id, 0) :]:
                if event["from"] != event["to"]:
                    console.print(
                        f"  {time.monotonic() - started:5.2f} s  {birth.what:<14} {event['to']:<11} {event['reason']}"
                    )
            told[control_id] = len(events)
            if items[0]["state"] == _FINAL:
                del open_births[control_id]
        await asyncio.sleep(_LOOK_S)


async def _watch_count(database: Database, total: int, started: float) -> None:
    columns = (TextColumn("births delivered"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("births", total=total)
        patience = _PATIENCE_S + total * 0.2
        done = 0
        while done < total and time.monotonic() - started < patience:
            row = await database.fetchrow("SELECT count(*) AS n FROM births WHERE state = $1", _FINAL)
            done = row["n"] if row else 0
            progress.update(bar, completed=done)
            await asyncio.sleep(_LOOK_S)


async def _results(database: Database, births: list[DemoBirth]) -> list[dict[str, Any] | None]:
    found: list[dict[str, Any] | None] = []
    for birth in births:
        items, _ = await views.births(database, Filter(control_id=birth.control_id), cursor=None, limit=1)
        found.append(items[0] if items else None)
    return found


def _print(
    running: Local, births: list[DemoBirth], found: list[dict[str, Any] | None], *, started: float, json_output: bool
) -> None:
    if json_output:
        for birth, item in zip(births, found, strict=True):
            emit(_json(birth, item))
        return
    rows = (_json(b, i) for b, i in zip(births, found, strict=True))
    shown = [
        (b.what, r["state"], r["certificate_number"], r["child_nik"], f"{r['seconds']} s")
        for b, r in zip(births, rows, strict=True)
    ]
    console.print()
    table(("birth", "state", "akta number", "child's NIK", "took"), shown[:_SHOWN])
    if len(shown) > _SHOWN:
        console.print(f"… and {len(shown) - _SHOWN} more")
    letters = len(list(running.inbox.glob("*.hl7")))
    console.print(
        f"\nThe hospital's inbox holds {letters} messages: MDM^T02 brings the certificate,\nADT^A31 the child's NIK.\n"
        f"{len(births)} births in {time.monotonic() - started:.1f} s. Next: `{program()} up`, and send one of your own."
    )


def _json(birth: DemoBirth, item: dict[str, Any] | None) -> dict[str, Any]:
    certificate = (item or {}).get("certificate") or {}
    return {
        "control_id": birth.control_id,
        "birth_id": item["id"] if item else None,
        "state": item["state"] if item else None,
        "certificate_number": certificate.get("number"),
        "child_nik": certificate.get("child_nik"),
        "seconds": _seconds(item) if item else None,
    }


def _seconds(item: dict[str, Any]) -> float:
    received, updated = (dt.datetime.fromisoformat(item[key]) for key in ("received_at", "updated_at"))
    return round((updated - received).total_seconds(), 3)

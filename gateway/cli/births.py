"""`procot births`: find one baby in seconds, see its way, let it go on."""

from __future__ import annotations

import os
import pwd
import sys
import uuid
from typing import TYPE_CHECKING, Any

import click
from rich.padding import Padding
from rich.text import Text

from gateway.cli import loop, place
from gateway.cli.output import as_json, console, details, emit, errors, table, when
from gateway.contract.lifecycle import JUDGED, State
from gateway.contract.missing import ITEMS
from gateway.contract.visible import printable
from gateway.errors import ConfigError
from gateway.pipeline import operate
from gateway.store import likenesses, tokens, views
from gateway.store.views import Filter

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.pipeline.operate import Desk
    from gateway.store.database import Database

_PAGE = 50
_WIDE_ENOUGH = 170  # columns that the table of births needs, issues and all
_HOLDS = JUDGED - {State.READY}


@click.group()
def births() -> None:
    """Births and where they stand.

    Nothing here shows a name. What the states mean is in docs/lifecycle.md.
    """


@births.command(name="list")
@click.option("--state", type=click.Choice([s.value for s in State], case_sensitive=False), metavar="STATE",
              help="only births in this state, for example REVIEW or DEAD_LETTER")  # fmt: skip
@click.option("--facility", help="only births of this facility (MSH-4)")
@click.option("--control-id", help="only births this message (MSH-10) was about")
@click.option("--mrn", help="only the birth of this record number (PID-3)")
@click.option("--office", help="only births of this office (its four digits)")
@click.option("--missing", type=click.Choice(list(ITEMS)), metavar="ITEM",
              help="only births that lack this, for example reporter or name")  # fmt: skip
@click.option("--deadline", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY",
              help="only births that must be reported by this day")  # fmt: skip
@click.option("--urgent", is_flag=True, help="the most urgent first, instead of the longest unchanged")
@click.option("--limit", type=click.IntRange(1, 1000), default=_PAGE, show_default=True,
              metavar="N", help="at most so many, up to 1000")  # fmt: skip
@click.option("--cursor", help="where the page before ended")
@as_json()
@place.options
def list_births(
    state: str | None, facility: str | None, control_id: str | None, mrn: str | None, office: str | None,
    missing: str | None, deadline: dt.datetime | None, urgent: bool, limit: int, cursor: str | None,
    json_output: bool, config: Path | None, data: Path,
) -> None:  # fmt: skip
    """List births, the longest unchanged first. Restricted ones are there too: nothing here shows a name."""
    wanted = Filter(
        facility=facility, control_id=control_id, medical_record=mrn, state=state, office=office, missing=missing,
        before=deadline.date() if deadline else None, urgent=urgent, restricted=True,
    )  # fmt: skip
    loop.run(_list(wanted, limit, cursor, json_output, config, data))


async def _list(
    wanted: Filter, limit: int, cursor: str | None, json_output: bool, config: Path | None, data: Path
) -> None:
    async with place.database(config, data) as database:
        try:
            items, following = await views.births(database, wanted, cursor=cursor, limit=limit)
        except ValueError as error:
            raise ConfigError(f"--cursor: {error}") from None
    show_births(items, json_output)
    if following:
        errors.print(f"more: --cursor {following}", markup=False, soft_wrap=True)


def show_births(items: list[dict[str, Any]], json_output: bool) -> None:
    """Print a list of births: JSON lines, a table, or some lines each on a narrow terminal."""
    if json_output:
        for item in items:
            emit(item)
    elif console.width < _WIDE_ENOUGH:
        _narrow(items)
    else:
        columns = ("birth", "facility", "record no.", "state", "rev", "deadline", "certificate", "waits for", "updated")
        table(columns, (_row(i) for i in items))


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["id"], item["facility"], item["mrn"], _state(item), item["revision"], item["deadline"], _number(item),
        ", ".join(_waits_for(item)), when(item["updated_at"]),
    )  # fmt: skip


def _narrow(items: list[dict[str, Any]]) -> None:
    """Print some lines a birth, for terminals on which a table of ids would be cut to pieces."""
    if not items:
        console.print("nothing found")
    for item in items:
        number = f"  {_number(item)}" if _number(item) else ""
        console.print(Text.assemble((f"{item['id']}  ", "bold"), _state(item)))
        console.print(printable(f"  {item['facility']}  {item['mrn']}{number}"), markup=False, soft_wrap=True)
        if waits := _waits_for(item):
            console.print(Padding(Text(f"waits for {', '.join(waits)}"), (0, 0, 0, 2)))


def _state(item: dict[str, Any]) -> str:
    marks = (("held", " (held)"), ("overdue", " OVERDUE"), ("restricted", " (restricted)"))
    return str(item["state"]) + "".join(mark for name, mark in marks if item[name])


def _number(item: dict[str, Any]) -> str:
    return str(item["certificate"]["number"]) if item["certificate"] else ""


def _waits_for(item: dict[str, Any]) -> list[str]:
    """Return the codes of what keeps a birth where it is; none where nothing does any more."""
    return [i["code"] for i in item["issues"] if i["state"]] if State(item["state"]) in _HOLDS else []


_ID = click.argument("birth", metavar="BIRTH")


@births.command()
@_ID
@as_json()
@place.options
def show(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    """Show one birth.

    BIRTH is its id, or the control id of one of its messages.
    """
    loop.run(_show(birth, json_output, config, data))


async def _show(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await find(database, birth)
        found["likenesses"] = await likenesses.view(database, uuid.UUID(found["id"]))
        for like in found["likenesses"]:
            del like["office"], like["restricted"]  # as published: they say who may see the other one
    if json_output:
        emit(found)
        return
    lines = [
        ("birth", found["id"]),
        ("facility", found["facility"]),
        ("record no.", found["mrn"]),
        ("state", _state(found)),
        ("waits for", ", ".join(_waits_for(found))),
        ("revision", found["revision"]),
        ("twins", found["twin_group"]),
        ("report by", found["deadline"]),
        ("missing", ", ".join(f"{m['item']} (from {m['from']})" for m in found["missing"])),
        ("office", found["office"] and f"{found['office']} ({found['way']})"),
        ("office says", found["office_note"]),
        ("leaves", when(found["leaves_at"])),
        ("restricted", found["restricted"]),
        ("received", when(found["received_at"])),
        ("changed", when(found["updated_at"])),
        *((key.replace("_", " "), value) for key, value in (found["certificate"] or {}).items()),
        *((f"{issue['severity']} issue", f"{issue['code']}: {issue['message']}") for issue in found["issues"]),
        *((like["verdict"], _likeness(like)) for like in found["likenesses"]),
    ]
    details((name, value) for name, value in lines if value not in (None, ""))


def _likeness(like: dict[str, Any]) -> str:
    """Return what a birth is to another one, and by what."""
    seen = ", ".join(f"{r['code']} {r['weight']:+d}" for r in like["reasons"])
    decided = f"; decided: {like['decision']} by {like['decided_by']}" if like["decision"] else ""
    return f"{like['birth']} by rule {like['rule']} ({seen}){decided}"


@births.command()
@_ID
@as_json()
@place.options
def history(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    """Show a birth's way: every change with time, actor and reason.

    BIRTH is its id, or the control id of one of its messages.
    """
    loop.run(_history(birth, json_output, config, data))


async def _history(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await find(database, birth)
        events = await views.history(database, uuid.UUID(found["id"]))
        labels = await tokens.labels(database, [e["actor"].partition(":")[2] for e in events])
    for event in events:
        event["label"] = labels.get(event["actor"].partition(":")[2])
    if json_output:
        for event in events:
            emit(event)
        return
    table(
        ("at", "step", "state", "who", "reason"),
        ((when(e["at"]), e["step"], _change(e), _who(e), _reason(e)) for e in events),
        whole=3,
    )


def _change(event: dict[str, Any]) -> str:
    """Return the state an event led to; nothing where it only noted something."""
    return event["to"] if event["from"] != event["to"] else ""


def _who(event: dict[str, Any]) -> str:
    """Return who did it: of a token its role and the label it was made with."""
    return f"{event['actor'].partition(':')[0]} {event['label']}" if event["label"] else event["actor"]


def _reason(event: dict[str, Any]) -> str:
    return f"{event['reason']} ({event['control_id']})" if event["control_id"] else event["reason"]


async def find(database: Database, birth: str) -> dict[str, Any]:
    """Return the view of the one birth that an id or a control id names. Raises ConfigError."""
    try:
        found = await views.birth(database, uuid.UUID(birth))
        items = [found] if found else []
    except ValueError:
        items, _ = await views.births(database, Filter(control_id=birth, restricted=True), cursor=None, limit=2)
    if not items:
        raise ConfigError(f"{birth}: no birth has this id, and no birth's message has this control id")
    if len(items) > 1:
        raise ConfigError(f"{birth}: several facilities used this control id; name the birth's id (births list)")
    return items[0]


def _operation(name: str, act: Callable[[Desk, uuid.UUID], Awaitable[State]], short: str, more: str) -> None:
    text = f"{short}\n\nBIRTH is its id, or the control id of one of its messages. {more}"

    @births.command(name=name, help=text, short_help=short)
    @_ID
    @click.option("--reason", required=True, help="kept in the birth's history; no personal data")
    @as_json()
    @place.options
    def command(birth: str, reason: str, json_output: bool, config: Path | None, data: Path) -> None:
        loop.run(_operate(act, birth, reason, json_output, config, data))


async def _operate(
    act: Callable[[Desk, uuid.UUID], Awaitable[State]], birth: str, reason: str, json_output: bool,
    config: Path | None, data: Path,
) -> None:  # fmt: skip
    async with place.database(config, data) as database:
        found = await find(database, birth)
        desk = operate.Desk(database, place.settings(config, data), actor=f"operator:{who()}", reason=reason)
        try:
            await act(desk, uuid.UUID(found["id"]))
        except LookupError as error:
            raise ConfigError(str(error)) from None
        after = await find(database, found["id"])
    if json_output:
        emit(after)
        return
    console.print(f"{after['id']} is {_state(after)}", markup=False)


def who() -> str:
    """Return who sits at the terminal, for history: whose process this is, whatever $LOGNAME or $USER say."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


_operation(
    "hold", operate.hold, "Stop a birth before its next step.",
    "A birth that the registry has already can be held when it answered. `release` lets it go on.",
)  # fmt: skip
_operation(
    "release", operate.release, "Let a held or waiting birth go on.",
    "For REVIEW and AWAIT_FORM it means that you take responsibility for what the birth waits for: a paper form was "
    "seen, an officer agreed. Missing names and data cannot be released; they come from the hospital.",
)  # fmt: skip
_operation(
    "retry", operate.retry, "Try a step again.",
    "The one at which the birth stopped (DEAD_LETTER), or the one it waits for, now instead of later.",
)  # fmt: skip
_operation(
    "cancel", operate.cancel, "Withdraw a birth that was not sent.",
    "What the registry may have already is withdrawn or revoked by the office.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(births())

"""`procot queue`: what waits, what failed for good, and what a person does about it, in bulk, with a preview."""

from __future__ import annotations

import datetime as dt
import sys
import uuid
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import loop, place
from gateway.cli.births import who
from gateway.cli.output import as_json, console, details, emit, errors, table, when
from gateway.errors import ConfigError
from gateway.pipeline.bulk import STATUSES, Act, Forecast, forecast, perform
from gateway.pipeline.operate import Desk
from gateway.pipeline.retry import advice
from gateway.store import backlog, incidents, views
from gateway.store.backlog import Filter
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.store.database import Database

_PAGE = 50
_SHOWN = 20  # entries of a preview; the count is always whole


@click.group(short_help="What waits, what failed, and what to do about it.")
def queue() -> None:
    """What waits, what failed for good (DEAD_LETTER), what is held; nothing here shows a name.

    Acts on many entries are previews until --yes is given, and may be repeated: done twice is done once.
    """


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--facility", help="only of this facility (MSH-4)"),
        click.option("--code", help="only what last failed with this code, for example REGISTRY_PROTOCOL"),
        click.option("--step", type=click.Choice([k.value for k in Kind]), metavar="STEP",
                     help="only this step: " + ", ".join(k.value for k in Kind)),
    ):  # fmt: skip
        command = option(command)
    return command


# ----------------------------------------------------------------------------------------------------------- read


@queue.command(name="list", short_help="List what waits, most urgent first.")
@click.option("--status", type=click.Choice(backlog.STATUSES), multiple=True, metavar="STATUS",
              help=f"only these: {', '.join(backlog.STATUSES)}; may be repeated")  # fmt: skip
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=_PAGE, show_default=True, metavar="N",
              help="at most so many")  # fmt: skip
@as_json()
@place.options
def list_entries(
    status: tuple[str, ...], step: str | None, code: str | None, facility: str | None, limit: int, json_output: bool,
    config: Path | None, data: Path,
) -> None:  # fmt: skip
    """List what waits, most urgent first; among equals what a person must decide comes first.

    Births that wait for people (HOLD_NAME, REVIEW …) have no task: how many there are is said below.
    """
    loop.run(_list(Filter(status or None, step, facility, code), limit, json_output, config, data))


async def _list(wanted: Filter, limit: int, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await backlog.entries(database, wanted, limit=limit)
        total = await backlog.count(database, wanted)
        narrowed = wanted.statuses or wanted.step or wanted.code  # of what waits for people there is none
        people = {} if narrowed else await backlog.with_people(database, wanted.facility)
        async with database.connection() as connection:
            waiting = (0, None) if narrowed else await incidents.certificates(connection, wanted.facility)
    if json_output:
        for entry in found:
            emit(entry)
        return
    _draw(found)
    if total > len(found):
        errors.print(f"{total - len(found)} more: --limit {total}", markup=False)
    if waiting[1] is not None:
        console.print(f"{waiting[0]} certificates wait for their hospitals since {when(waiting[1])} (queue incidents)",
                      markup=False, soft_wrap=True)  # fmt: skip
    if people:
        console.print(f"beside these {sum(people.values())} births wait for people: {_words(people)} (births list)",
                      markup=False, soft_wrap=True)  # fmt: skip


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _draw(found: list[dict[str, Any]]) -> None:
    table(
        ("status", "step", "urgency", "birth or message", "state", "code", "failures", "due"),
        (
            (
                e["status"], e["step"], "urgent" if e["priority"] == 0 else "", _about(e), _state(e), e["code"],
                e["failures"] or "", when(e["due_at"]),
            )
            for e in found
        ),
        whole=4,
    )  # fmt: skip


def _state(entry: dict[str, Any]) -> str:
    return f"{entry['state'] or ''}{' (restricted)' if entry['restricted'] else ''}"


def _about(entry: dict[str, Any]) -> str:
    if entry["birth_id"]:
        return str(entry["birth_id"])
    return f"message {entry['message_id']}" if entry["message_id"] else str(entry["facility"] or "")


@queue.command(short_help="Show what is needed to decide about one birth.")
@click.argument("birth", metavar="BIRTH")
@as_json()
@place.options
def show(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    """Show all that is needed to decide about one birth: where it stopped, why, how often, what to do.

    BIRTH is its id, or the control id of one of its messages.
    """
    loop.run(_show(birth, json_output, config, data))


async def _show(birth: str, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        (birth_id,) = await _ids(database, (birth,))
        found = await views.birth(database, birth_id)
        if found is None:
            raise ConfigError(f"{birth}: no birth has this id, and no birth's message has this control id")
        entries = await backlog.entries(database, Filter(births=(birth_id,)), limit=None)
        tries = await backlog.attempts(database, birth_id)
        last = (await views.history(database, birth_id))[-3:]
    code = next((e["code"] for e in entries if e["code"]), None)
    if json_output:
        emit({"birth": found, "entries": entries, "attempts": tries, "events": last, "do": code and advice(code)})
        return
    lines = [
        ("birth", found["id"]),
        ("facility", found["facility"]),
        ("state", f"{found['state']}{' (held)' if found['held'] else ''}"),
        *([("restricted", found["restricted"])] if found["restricted"] else []),
        *(("waits", f"{e['step']}: {e['status']}, {e['code'] or 'no failure'}, tried {e['attempts'] or 0} times")
          for e in entries),
        *(("sent", f"revision {t['revision']} at {when(t['started_at'])}: {t['result'] or 'outcome unknown'}")
          for t in tries),
        *(("then", f"{when(e['at'])} {e['step']}: {e['reason']}") for e in last),
    ]  # fmt: skip
    details([*lines, *([("do", advice(code))] if code else [])])


async def _ids(database: Database, names: tuple[str, ...]) -> tuple[uuid.UUID, ...]:
    found: list[uuid.UUID] = []
    for name in names:
        try:
            found.append(uuid.UUID(name))
        except ValueError:
            ids = await backlog.births_of(database, name)
            if len(ids) != 1:
                what = "no birth's message has" if not ids else "messages of several births have"
                raise ConfigError(f"{name}: {what} this control id; name the birth's id (births list)") from None
            found.append(ids[0])
    return tuple(found)


@queue.command(name="incidents", short_help="List what stops work now.")
@click.option("--all", "closed", is_flag=True, help="closed ones too")
@click.option("--limit", type=click.IntRange(1, 10_000), default=_PAGE, show_default=True, metavar="N",
              help="at most so many")  # fmt: skip
@as_json()
@place.options
def list_incidents(closed: bool, limit: int, json_output: bool, config: Path | None, data: Path) -> None:
    """List what stops work now: one incident a cause, how many births wait for its end, and since when the first."""
    loop.run(_incidents(closed, limit, json_output, config, data))


async def _incidents(closed: bool, limit: int, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = await incidents.listing(database, closed=closed, limit=limit)
    if json_output:
        for incident in found:
            emit(incident)
        return
    table(
        ("cause", "of", "since", "last seen", "over", "times", "births", "waiting since", "one of them"),
        (
            (
                i["cause"], i["subject"], when(i["opened_at"]), when(i["seen_at"]), when(i["closed_at"]), i["seen"],
                "" if i["births"] is None else i["births"], when(i["since"]), next(iter(i["examples"]), ""),
            )
            for i in found
        ),
        whole=2,
    )  # fmt: skip


@queue.command(name="forecast", short_help="Say when the backlog is worked off.")
@click.option("--window", type=click.FloatRange(1, 86_400), default=300, show_default=True, metavar="SECONDS",
              help="how far back the speed is measured")  # fmt: skip
@as_json()
@place.options
def show_forecast(window: float, json_output: bool, config: Path | None, data: Path) -> None:
    """Say when the backlog is worked off, step by step, at the speed of the last minutes.

    What waits before a step comes to it too. Urgent births (their parents are about to leave) go first everywhere.
    """
    loop.run(_forecast(window, json_output, config, data))


async def _forecast(window: float, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        found = forecast(await backlog.steps(database, window_s=window))
        stopped = await incidents.listing(database, closed=False, limit=_SHOWN)
    if json_output:
        for line in found:
            emit(_forecast_line(line))
        return
    columns = (
        "step",
        "due",
        "of it urgent",
        "later",
        "oldest",
        "births a minute",
        "urgent through in",
        "all through in",
    )
    table(columns, (_forecast_row(f) for f in found))
    for incident in stopped:
        since = when(incident["opened_at"])
        console.print(f"stopped: {incident['cause']} ({incident['subject']}) since {since}", markup=False)


def _forecast_row(line: Forecast) -> tuple[object, ...]:
    step = line.step
    return (
        step.kind.value, step.due, step.urgent or "", step.waiting or "", _long(step.oldest_s or None),
        step.per_minute, _through(line.urgent_s, step.urgent, line), _through(line.all_s, step.due, line),
    )  # fmt: skip


def _forecast_line(line: Forecast) -> dict[str, Any]:
    step = line.step
    return {
        "step": step.kind.value, "due": step.due, "urgent": step.urgent, "waiting": step.waiting,
        "oldest_s": round(step.oldest_s, 1), "per_minute": step.per_minute, "urgent_s": line.urgent_s,
        "all_s": line.all_s,
    }  # fmt: skip


def _through(seconds: float | None, waits: int, line: Forecast) -> str:
    if seconds is None and waits and not line.step.per_minute:
        return "does not move"
    return _long(seconds)


def _long(seconds: float | None) -> str:
    return "" if seconds is None else str(dt.timedelta(seconds=round(seconds)))


# ------------------------------------------------------------------------------------------------------------ act


def _command(act: Act, short: str, more: str) -> None:
    text = f"{short}\n\n{more}\n\nBIRTH is an id, or the control id of one of its messages. Without --yes: a preview."

    @queue.command(name=act.value, help=text, short_help=short)
    @click.argument("birth", metavar="[BIRTH]...", nargs=-1)
    @_filters
    @click.option("--all", "everything", is_flag=True, help="all that this can be done to")
    @click.option("--reason", help="kept with what was done; no personal data; needed with --yes")
    @click.option("--yes", is_flag=True, help="do it; without this it is only shown")
    @as_json()
    @place.options
    def command(
        birth: tuple[str, ...], step: str | None, code: str | None, facility: str | None, everything: bool,
        reason: str | None, yes: bool, json_output: bool, config: Path | None, data: Path,
    ) -> None:  # fmt: skip
        if not (birth or step or code or facility or everything):
            raise click.UsageError("name births, or choose with --step, --code, --facility, or take --all")
        if yes and not reason:
            raise click.UsageError("--yes needs --reason: whoever looks later must know why")
        wanted = Filter(STATUSES[act], step, facility, code)
        sys.exit(loop.run(_act(act, wanted, birth, reason if yes else None, json_output, config, data)))


async def _act(
    act: Act, wanted: Filter, names: tuple[str, ...], reason: str | None, json_output: bool, config: Path | None,
    data: Path,
) -> int:  # fmt: skip
    async with place.database(config, data) as database:
        births = await _ids(database, names) if names else None
        wanted = Filter(wanted.statuses, wanted.step, wanted.facility, wanted.code, births)
        found = _once_a_birth(await backlog.entries(database, wanted, limit=None))
        if reason is None:
            return _preview(act, found, json_output)
        desk = Desk(database, place.settings(config, data), actor=f"operator:{who()}", reason=reason)
        done = [(entry, await perform(desk, act, entry)) for entry in found]
    for entry, result in done:
        if json_output:
            emit({**entry, "outcome": result.outcome, "text": result.text})
        elif result.outcome != "done":
            errors.print(f"{result.outcome}: {_about(entry)}: {result.text}", markup=False, soft_wrap=True)
    counts = {name: sum(r.outcome == name for _, r in done) for name in ("done", "nothing", "refused")}
    if not json_output:
        said = f"{act.value}: {counts['done']} done, {counts['nothing']} as wanted already, {counts['refused']} refused"
        console.print(said, markup=False)
    return 1 if counts["refused"] else 0


def _once_a_birth(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave one entry a birth: a dead letter before its tasks, else the most urgent one."""
    seen: set[uuid.UUID] = set()
    kept = []
    for entry in sorted(found, key=lambda e: e["status"] != "dead"):  # stable: the order of urgency stays
        birth_id = entry["birth_id"]
        if birth_id is None or birth_id not in seen:
            kept.append(entry)
        if birth_id is not None:
            seen.add(birth_id)
    return kept


def _preview(act: Act, found: list[dict[str, Any]], json_output: bool) -> int:
    if json_output:
        for entry in found:
            emit({**entry, "outcome": "preview", "text": ""})
        return 0
    _draw(found[:_SHOWN])
    if len(found) > _SHOWN:
        console.print(f"and {len(found) - _SHOWN} more", markup=False)
    if found:
        console.print(f"nothing was done: {act.value} {len(found)} of them with --yes --reason …", markup=False)
    return 0


_command(
    Act.RETRY, "Try again, now.",
    "Dead letters go on at the step where they stopped; what waits is made due. What the registry may have is asked "
    "about before anything is sent.",
)  # fmt: skip
_command(
    Act.HOLD, "Stop births before their next step.",
    "What the registry has already goes on until it answered. `release` lets them go on.",
)  # fmt: skip
_command(Act.RELEASE, "Let held births go on.", "Only what was held by hand; reviews are released one by one (births).")
_command(
    Act.DISCARD, "Give up dead letters.",
    "A birth that never left the house is cancelled. One with a certificate is DELIVERED: you told the hospital by "
    "another way. A message that nobody can assign is about no birth. What the registry may have cannot be discarded.",
)  # fmt: skip

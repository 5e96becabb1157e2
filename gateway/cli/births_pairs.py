"""`procot births pairs`, `merge` and `split`: births that resemble each other, both sides laid out, and the decision.

Names and numbers of people are compared and not shown.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import loop, place
from gateway.cli.births import find, who
from gateway.cli.output import as_json, console, emit, table, when
from gateway.errors import ConfigError
from gateway.pipeline import decide_pair, operate
from gateway.store import likenesses
from gateway.verify.likeness import RULES

if TYPE_CHECKING:
    from gateway.pipeline.decide_pair import Preview
    from gateway.pipeline.operate import Desk
    from gateway.store.database import Database

_MARKS = {True: "=", False: "differs", None: ""}
_REASON = click.option("--reason", required=True, help="kept in both births' history; no personal data")
_YES = click.option("--yes", is_flag=True, help="do it without asking")


@click.command(short_help="Show births that resemble each other, both sides laid out.")
@click.argument("birth", metavar="[BIRTH]", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N",
              help="at most so many pairs")  # fmt: skip
@as_json()
@place.options
def pairs(birth: str | None, limit: int, json_output: bool, config: Path | None, data: Path) -> None:
    """List the pairs of births that wait for a person, or lay out side by side those of one birth.

    BIRTH is its id, or the control id of one of its messages. What the rules mean and how to decide is in
    docs/identity.md; `procot births merge` and `procot births split` decide.
    """
    loop.run(_pairs(birth, limit, json_output, config, data))


async def _pairs(birth: str | None, limit: int, json_output: bool, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        if birth is None:
            _list(await likenesses.listed(database, limit=limit), json_output)
            return
        found = await find(database, birth)
        desk = _desk(database, config, data, reason="")
        like = [seen for seen in await likenesses.view(database, uuid.UUID(found["id"])) if seen["verdict"] != "twin"]
        if not like:
            console.print(f"{found['id']} resembles no other birth", markup=False)
        for seen in like:
            _show(await decide_pair.preview(desk, uuid.UUID(found["id"]), uuid.UUID(seen["birth"])), json_output)


def _list(found: list[dict[str, object]], json_output: bool) -> None:
    if json_output:
        for pair in found:
            emit(pair)
        return
    rows = (
        (
            p["earlier"],
            p["earlier_state"],
            p["later"],
            p["later_state"],
            p["verdict"],
            p["rule"],
            when(str(p["found_at"])),
        )
        for p in found
    )
    table(("first", "state", "second", "state", "verdict", "rule", "since"), rows)


@click.command(short_help="Let two births be one baby.")
@click.argument("birth", metavar="BIRTH")
@click.argument("into", metavar="INTO")
@_REASON
@_YES
@as_json()
@place.options
def merge(
    birth: str, into: str, reason: str, yes: bool, json_output: bool, config: Path | None, data: Path
) -> None:  # fmt: skip
    """Merge BIRTH into INTO: one baby was told under two record numbers.

    Each is an id, or the control id of a message. Both sides are shown first; --json alone only shows them. INTO's
    record number stays; its gaps are filled from BIRTH, which becomes MERGED. Twins are never merged.
    """
    loop.run(_merge(birth, into, reason, (yes, json_output), (config, data)))


async def _merge(birth: str, into: str, reason: str, how: tuple[bool, bool], where: tuple[Path | None, Path]) -> None:
    async with place.database(*where) as database:
        one, other = [uuid.UUID((await find(database, name))["id"]) for name in (birth, into)]
        desk = _desk(database, *where, reason=reason)
        if not await _wants(desk, (one, other), how, f"merge {one} into {other}"):
            return
        kept = await decide_pair.merge(desk, one, other)
        after = await find(database, str(kept))
    if not how[1]:
        console.print(f"{kept} lives on and is {after['state']}", markup=False)


@click.command(short_help="Let births that resemble each other be different babies.")
@click.argument("birth", metavar="BIRTH")
@click.argument("other", metavar="[OTHER]", required=False)
@_REASON
@_YES
@as_json()
@place.options
def split(
    birth: str, other: str | None, reason: str, yes: bool, json_output: bool, config: Path | None, data: Path
) -> None:  # fmt: skip
    """Say that BIRTH is another baby than OTHER, or than all it resembles. They are never suspected again.

    Each is an id, or the control id of a message. Both sides are shown first; --json alone only shows them. What
    waited only for this goes on.
    """
    loop.run(_split(birth, other, reason, (yes, json_output), (config, data)))


async def _split(
    birth: str, other: str | None, reason: str, how: tuple[bool, bool], where: tuple[Path | None, Path]
) -> None:
    async with place.database(*where) as database:
        one = uuid.UUID((await find(database, birth))["id"])
        than = uuid.UUID((await find(database, other))["id"]) if other else None
        desk = _desk(database, *where, reason=reason)
        for seen in await likenesses.view(database, one):
            asked = than in (None, uuid.UUID(seen["birth"]))
            if seen["verdict"] != "twin" and seen["decision"] is None and asked:
                _show(await decide_pair.preview(desk, one, uuid.UUID(seen["birth"])), how[1])
        if not await _wants(desk, (), how, f"{one} is another baby than {than or 'all of these'}"):
            return
        others = await decide_pair.split(desk, one, than)
        states = [await find(database, str(found)) for found in (one, *others)]
    if not how[1]:
        for found in states:
            console.print(f"{found['id']} is {found['state']}", markup=False)


def _desk(database: Database, config: Path | None, data: Path, *, reason: str) -> Desk:
    return operate.Desk(database, place.settings(config, data), actor=f"operator:{who()}", reason=reason)


async def _wants(desk: Desk, pair: tuple[uuid.UUID, ...], how: tuple[bool, bool], question: str) -> bool:
    """Show both sides and ask; without --yes a machine only looks."""
    yes, json_output = how
    if pair:
        try:
            _show(await decide_pair.preview(desk, *pair), json_output)
        except LookupError as error:
            raise ConfigError(str(error)) from None
    if yes or (not json_output and _confirmed(question)):
        return True
    if not json_output:
        console.print("nothing was done", markup=False)
    return False


def _confirmed(question: str) -> bool:
    """Ask a person. Raises UsageError where there is nobody to answer."""
    try:
        return click.confirm(f"{question}?")
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError(
            "nobody answered, and nothing was done: standard input is no terminal; say --yes to do it, "
            "or --json to look only"
        ) from None


def _show(found: Preview, json_output: bool) -> None:
    if json_output:
        emit(found.as_dict())
        return
    verdict = found.verdict
    table(
        ("", str(found.left.id), str(found.right.id), ""),
        ((name, left, right, _MARKS[same]) for name, left, right, same in found.rows),
    )
    console.print(f"{verdict['verdict']} by rule {verdict['rule']}: {RULES[verdict['rule']][1]}", markup=False)
    console.print(", ".join(f"{r['code']} {r['weight']:+d}" for r in verdict["reasons"]), markup=False)
    if found.decision:
        console.print(f"decided: {found.decision}", markup=False)

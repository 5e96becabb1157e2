"""`procot births find`: a birth by what identifies people, typed or piped in, so that no command line shows it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from gateway.cli import loop, place
from gateway.cli.births import show_births
from gateway.cli.output import as_json, errors
from gateway.errors import ConfigError
from gateway.evidence.keys import Keyring
from gateway.store import views
from gateway.store.schema import Schema
from gateway.web.search import NAMES_LEVEL, Search

# What is asked for, by what it is searched by: the search's own key, and the words of the question.
_ASKS: dict[str, tuple[tuple[str, str], ...]] = {
    "mother-nik": (("mother_nik", "NIK of the mother"),),
    "child-nik": (("child_nik", "NIK of the child"),),
    "mother": (("mother_name", "name of the mother, some of it"), ("mother_born_on", "her day of birth, YYYY-MM-DD")),
    "mother-name": (("mother_name", "name of the mother, all of it"),),
    "mrn": (("mrn", "record number"),),
    "control-id": (("control_id", "control id (MSH-10)"),),
    "certificate": (("certificate", "number of the akta"),),
}


@click.command(name="find", short_help="Find a birth by NIK, mother, number or akta.")
@click.option("--by", type=click.Choice(list(_ASKS)), default="mother-nik", show_default=True,
              help="what is asked for, on the terminal or a line each on standard input")  # fmt: skip
@click.option("--facility", help="only births of this facility (MSH-4)")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N",
              help="at most so many")  # fmt: skip
@as_json()
@place.options
def find_births(by: str, facility: str | None, limit: int, json_output: bool, config: Path | None, data: Path) -> None:
    """Find births by what identifies people. It is asked for, never an argument: shells keep what they are given.

    A NIK of a mother is looked up by its keyed hash, so the gateway's keys must be here. Nothing shows a name.
    """
    wanted: dict[str, Any] = {key: _ask(words) for key, words in _ASKS[by]}
    try:
        search = Search.model_validate({**wanted, "facility": facility, "limit": limit})
    except ValidationError as error:
        wrong = ", ".join(sorted({str(e["loc"][0]) if e["loc"] else by for e in error.errors()}))
        raise ConfigError(f"{wrong}: not in its form; nothing was searched") from None
    loop.run(_find(search, json_output, config, data))


def _ask(words: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(words, hide_input=True, err=True))
    line = sys.stdin.readline().strip()
    if not line:
        raise ConfigError(f"standard input ended before the {words}")
    return line


async def _find(search: Search, json_output: bool, config: Path | None, data: Path) -> None:
    keyring = Keyring(place.settings(config, data).keys_directory)
    if search.mother_nik is not None or search.mother_name is not None:
        if not (place.settings(config, data).keys_directory / "index.key").exists():
            raise ConfigError("the gateway's index.key is not here; search on its machine, or by something else")
        keyring.open()
    async with place.database(config, data) as database:
        if search.by_name and await Schema().refresh(database) < NAMES_LEVEL:
            raise ConfigError("mothers are found by name once the database is migrated (procot migrate)")
        wanted = search.filter(None, keyring)
        items, following = await views.births(database, wanted, cursor=None, limit=search.limit or 1)
    show_births(items, json_output)
    if following:
        errors.print("there are more: --limit", markup=False)

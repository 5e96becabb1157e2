"""`procot births diff` and `complete`: what a birth's revisions changed, and what it still needs, from whom.

Nothing here shows a value of a record: the terminal of an operator is no place for a family's data.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.app import Gateway
from gateway.cli import loop, place
from gateway.cli.births import find, who
from gateway.cli.output import as_json, console, details, emit, errors, table, when
from gateway.contract.precedence import Source
from gateway.errors import ConfigError
from gateway.observe.logging import configure
from gateway.pipeline import difference, form
from gateway.pipeline.form import FormRefusedError, Teller

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.store.database import Database

_ID = click.argument("birth", metavar="BIRTH")


@click.command(short_help="Show what revisions of a birth changed.")
@_ID
@click.option("--revision", type=click.IntRange(1), metavar="N", help="up to this revision; default: the newest")
@click.option("--since", type=click.IntRange(0), metavar="M",
              help="from this revision on, 0 from nothing; default: the one before")  # fmt: skip
@click.option("--all", "every", is_flag=True, help="list the revisions instead: when, by whom, which fields")
@as_json()
@place.options
def diff(
    birth: str, revision: int | None, since: int | None, every: bool, json_output: bool, config: Path | None,
    data: Path,
) -> None:  # fmt: skip
    """Show which fields differ between two revisions of a birth, and who said the one that counts.

    BIRTH is its id, or the control id of one of its messages. Values are masked; an officer of the birth's office
    reads them by GET /v1/births/{id}/diff, and that stands in history.
    """
    if every and (revision is not None or since is not None):
        raise click.UsageError("--all lists every revision; leave --revision and --since out")
    loop.run(_diff(birth, revision, since, every, json_output, config, data))


async def _diff(
    birth: str, revision: int | None, since: int | None, every: bool, json_output: bool, config: Path | None, data: Path
) -> None:
    async with place.database(config, data) as database:
        found = await find(database, birth)
        async with database.connection() as connection:
            birth_id = uuid.UUID(found["id"])
            if every:
                _revisions(await difference.listed(connection, birth_id), json_output)
                return
            try:
                told = await difference.between(connection, birth_id, revision=revision, since=since, values=False)
            except difference.NoSuchRevisionError as error:
                raise ConfigError(f"--revision, --since: {error}") from None
    if json_output:
        emit(told)
        return
    console.print(f"{told['id']}: revision {told['since']} to {told['revision']}", markup=False)
    table(
        ("field", "change", "before", "after", "said by", "place", "on the akta"),
        (
            (c["path"], c["change"], c["before"], c["after"], c["source"], c["place"], "yes" if c["legal"] else "")
            for c in told["changes"]
        ),
    )


def _revisions(found: list[dict[str, Any]], json_output: bool) -> None:
    if json_output:
        for item in found:
            emit(item)
        return
    table(
        ("revision", "at", "who", "message", "signed", "changed"),
        (
            (r["revision"], when(r["at"]), r["actor"], r["control_id"], when(r["signed_at"]), ", ".join(r["changed"]))
            for r in found
        ),
        whole=2,
    )


@click.command(short_help="Show what a birth still needs, or hand in its form.")
@_ID
@click.option("--form", "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE",
              help="hand in this form (JSON, as POST /v1/births/{id}/form takes it); - is standard input")  # fmt: skip
@click.option("--key", default="", metavar="KEY", help="Idempotency-Key: the same form again changes nothing")
@as_json()
@place.options
def complete(birth: str, file: Path | None, key: str, json_output: bool, config: Path | None, data: Path) -> None:
    """Show what a birth still needs, and from whom; with --form hand in what was told on paper.

    BIRTH is its id, or the control id of one of its messages. A form is judged as the web form is: what it has wrong
    refuses it whole, and nothing changes. Exit status: 0 nothing is missing any more, 1 something is, or it was
    refused.
    """
    if key and file is None:
        raise click.UsageError("--key goes with --form")
    raw = _read(file) if file is not None else None
    configure(level="error")
    missing = loop.run(_complete(birth, raw, key, json_output, config, data))
    sys.exit(1 if missing else 0)


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"--form {file}: cannot be read ({error.strerror})") from None


async def _complete(
    birth: str, raw: bytes | None, key: str, json_output: bool, config: Path | None, data: Path
) -> bool:
    """Return whether something is still missing."""
    async with place.database(config, data) as database:
        found = await find(database, birth)
        if raw is None:
            _needs({name: found[name] for name in ("id", "state", "revision", "deadline", "missing")}, json_output)
            return bool(found["missing"])
        try:
            answer = await _hand_in(database, place.settings(config, data), uuid.UUID(found["id"]), raw, key)
        except FormRefusedError as error:
            _refused(found["id"], error, json_output)
            return True
    _needs(answer, json_output)
    return bool(answer["missing"])


async def _hand_in(database: Database, config: Config, birth_id: uuid.UUID, raw: bytes, key: str) -> dict[str, Any]:
    """Take the form as the web does: the paper was filled in by the family, so its word is the form's."""
    told = form.read(raw, config.limits)
    async with Gateway(config).parts(database) as context:
        try:
            return await form.take(context, birth_id, told, Teller(f"operator:{who()}", Source.FORM, key))
        except LookupError as error:
            raise ConfigError(str(error)) from None


def _refused(birth_id: str, error: FormRefusedError, json_output: bool) -> None:
    problems = [problem.as_dict() for problem in error.problems]
    if json_output:
        emit({"id": birth_id, "code": error.code, "errors": problems})
        return
    errors.print("nothing was changed; mend this and hand the form in again:", markup=False)
    for problem in problems:
        where = problem["pointer"] or "the form"
        said = f"{where}: {problem['code']}: {problem['message']} {problem['pesan']}"
        errors.print(said, markup=False, soft_wrap=True)


def _needs(told: dict[str, Any], json_output: bool) -> None:
    if json_output:
        emit(told)
        return
    lines = [("birth", told["id"]), ("state", told["state"]), ("revision", told["revision"]),
             ("report by", told.get("deadline")), ("changed", ", ".join(told.get("changed", ()))),
             ("not applied", ", ".join(told.get("not_applied", ())))]  # fmt: skip
    details((name, value) for name, value in lines if value)
    if not told["missing"]:
        console.print("nothing is missing")
        return
    table(
        ("missing", "from", "what", "apa"),
        ((m["item"], m["from"], m["message"], m["pesan"]) for m in told["missing"]),
        whole=2,
    )

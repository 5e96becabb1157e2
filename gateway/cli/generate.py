"""`python -m gateway.cli.generate`: the files that are written from the program itself, and the check that they are.

Schema of the birth record, life cycle, catalogue of findings, log events, configuration: each has one source, and what
people read is made from it. For developers in a checkout; an installed gateway never runs this.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import configuration_page
from gateway.cli.log_calls import bound_fields, log_calls
from gateway.cli.output import console, errors
from gateway.contract.finding import CATALOGUES, Entry, catalogue
from gateway.contract.lifecycle import FINAL, WAITS, State, diagram
from gateway.contract.record import BirthRecord
from gateway.contract.rules import origins, rules
from gateway.errors import ConfigError, ProcotError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).parents[2]
MEANINGS = "schemas/log-events.toml"
_MADE = "<!-- Made by `make schemas`; edit {source} instead. -->"
_ALWAYS = ("timestamp", "level", "event")

_STATES = {
    State.RECEIVED: "The message is kept and answered; the birth is not judged yet.",
    State.HOLD_DATA: "Data are missing or wrong; the hospital sends a corrected message.",
    State.HOLD_NAME: "The child has no name yet, or one the registry does not take; it comes by A08 or A31.",
    State.AWAIT_FORM: "What HL7 does not bring is missing: reporter, witnesses, marriage proof.",
    State.REVIEW: "An officer has to look before the birth goes on.",
    State.STILLBIRTH: "A stillbirth: no certificate of birth; an officer takes it up.",
    State.READY: "Nothing is missing; the parents are checked and the record is signed next.",
    State.SEALED: "The record is signed; it is sent to the registry next.",
    State.AWAIT_OFFICE: "The record is signed; an office takes it under a lease, or a hand-over pack is made of it.",
    State.SUBMITTED: "It was sent; the registry's first answer is awaited, or asked for.",
    State.IN_PROCESS: "The registry works on the case.",
    State.ISSUED: "The certificate exists; it is on its way to the hospital.",
    State.DELIVERED: "The hospital has the certificate's number. The journey ends here.",
    State.CANCELLED: "The notice was withdrawn before it became a certificate.",
    State.REFUSED: "The registry refused the case; an officer decides what next.",
    State.AMENDMENT_REVIEW: "The hospital changed data after the certificate was issued: a legal act of the office.",
    State.REVOCATION_REVIEW: "The hospital withdrew the birth after the certificate was issued: a legal act too.",
    State.MERGED: "Two notices were one birth; the other one goes on.",
    State.DEAD_LETTER: "A step cannot succeed by trying again; an operator looks and retries it.",
}


def birth_record() -> str:
    """Return the JSON Schema of the birth record."""
    made = BirthRecord.model_json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:procot:schema:birth-record:v1",
        "title": "Birth record, version 1",
        "description": (
            "One birth as known at one revision: every field of form F-2.01 and where each came from. Rules judge it, "
            "revisions keep it, registry adapters map it. Dates and times are wall time at the place of birth. Made "
            "from gateway/contract/record.py by `make schemas`."
        ),
    }
    return json.dumps({**made, **head} | {"$defs": made["$defs"]}, ensure_ascii=False, indent=2) + "\n"


def lifecycle() -> str:
    """Return docs/lifecycle.md."""
    rows = [
        (
            f"`{s.value}`",
            _STATES[s],
            WAITS[s].owner if s in WAITS else "–",
            _long(WAITS[s].after) if s in WAITS else "–",
        )
        for s in State
    ]
    final = ", ".join(f"`{s.value}`" for s in State if s in FINAL)
    return "\n".join(
        (
            "# The life of a birth",
            "",
            _MADE.format(source="gateway/contract/lifecycle.py"),
            "",
            "A birth is in exactly one state. The moves below are all there are: another one is refused and changes",
            "nothing. Every move is kept with time, actor and reason (`procot births history`, `GET",
            "/v1/births/{id}/history`).",
            "",
            "```mermaid",
            diagram().rstrip(),
            "```",
            "",
            "## Who has the next move",
            "",
            "A wait has an owner and a time-out. Past it the birth is *overdue*: logged (`birth.overdue`), counted",
            f"(`procot_births_overdue`) and marked in every list. {final} wait for nobody.",
            "",
            _table(("state", "what it means", "next move", "time-out"), rows),
            "",
        )
    )


def findings() -> str:
    """Return docs/findings.md."""
    titles = ("On the wire: sender, envelope, structure", "About the birth")
    parts = [
        "# Findings",
        "",
        _MADE.format(source="schemas/hl7/findings-*.toml and rules.toml"),
        "",
        "What can be wrong with a message, and what happens then. *Code* is what a birth's `issues` bear, *ERR-5* what",
        "the acknowledgement bears (coding system 99AKTAGW). *Severity* (table 0516): E must be corrected and sent",
        "again, W was accepted and is said, I is information. *0357* is the HL7 condition of ERR-3. *State* is where",
        "it leaves the birth; AR means that the whole message is refused (CR in enhanced mode) and opens no birth.",
        "What stands in braces depends on the message. *Place* is where it is looked for: the answer names segment,",
        "field and repetition (ERR-2); *registry* and *office* are what those say, *form* the web form. *From* cites",
        "the sections of the domain page, F with the number of its case ([cases.md](cases.md)). The words in bold are",
        "the next step.",
    ]
    for title, name in zip(titles, CATALOGUES, strict=True):
        entries = [e for e in catalogue().values() if e.code in _codes(name)]
        columns = ("code", "ERR-5", "severity", "0357", "place", "state", "from", "Indonesia", "English")
        parts += ["", f"## {title}", "", _table(columns, map(_finding, entries))]
    parts += [
        "",
        "## Rule by rule",
        "",
        "Each rule of the domain page and what enforces it (schemas/hl7/rules.toml).",
        "",
        _table(
            ("section", "rule", "findings", "and"),
            ((r.section, r.text, ", ".join(f"`{code}`" for code in r.findings), r.decision) for r in rules()),
        ),
    ]
    return "\n".join(parts) + "\n"


def _codes(name: str) -> frozenset[str]:
    return frozenset(tomllib.loads((ROOT / "schemas/hl7" / name).read_text(encoding="utf-8")))


def _finding(entry: Entry) -> tuple[str, ...]:
    state = "AR" if entry.answer == "reject" else entry.hold.value if entry.hold else ""
    origin = origins().get(entry.code)
    if origin is None:
        raise ConfigError(f"schemas/hl7/rules.toml: no line for {entry.code}; say its place and what it comes from")
    place = origin.place.replace("*", "any")
    words = (f"{entry.sentence(language)} **{entry.remedy(language)}**" for language in ("id", "en"))
    return (
        f"`{entry.code}`", f"`{entry.error_code}`", entry.severity, str(entry.condition), place,
        state and f"`{state}`", ", ".join(origin.sources), *words,
    )  # fmt: skip


def events() -> str:
    """Return docs/events.md. Raises ConfigError where an event has no meaning, or a meaning no event."""
    calls = log_calls(ROOT)
    meanings = tomllib.loads((ROOT / MEANINGS).read_text(encoding="utf-8"))
    logged = {call.event for call in calls}
    if missing := sorted(logged - set(meanings)):
        raise ConfigError(f"{MEANINGS}: no meaning for {', '.join(missing)}; write a sentence for each")
    if stale := sorted(set(meanings) - logged):
        raise ConfigError(f"{MEANINGS}: {', '.join(stale)}: logged nowhere any more; remove")
    rows = []
    for event in sorted(logged):
        same = [c for c in calls if c.event == event]
        fields = frozenset[str]().union(*(c.fields for c in same))
        rows.append((
            f"`{event}`", ", ".join(sorted({c.level for c in same})), meanings[event],
            " ".join(f"`{f}`" for f in sorted(fields)), ", ".join(f"`{m}`" for m in sorted({c.module for c in same})),
        ))  # fmt: skip
    bound = ", ".join(f"`{f}`" for f in sorted(bound_fields(ROOT)))
    return "\n".join(
        (
            "# Log events",
            "",
            _MADE.format(source=f"the sources, and {MEANINGS} for the meanings"),
            "",
            "One JSON object a line, on stderr or in `observe.log_file`. Every line has "
            + ", ".join(f"`{f}`" for f in _ALWAYS)
            + f"; lines of a worker's task also have {bound}.",
            "Event names and fields are stable. `error` is the kind of an exception and `where` its place in the code;",
            "`error_text` is there for our own errors only. No line holds a name, a NIK, an address or a message.",
            "",
            _table(("event", "level", "what happened", "fields", "module"), rows),
            "",
        )
    )


def configuration() -> str:
    """Return docs/configuration.md. Raises ConfigError where a key has no description."""
    parts = [
        "# Configuration",
        "",
        _MADE.format(source="gateway/config.py and gateway/contract/facility.py"),
        "",
        configuration_page.INTRODUCTION,
    ]
    try:
        for title, words, rows in configuration_page.sections():
            parts += ["", f"## {title}", "", words, "", _table(configuration_page.COLUMNS, rows)]
    except LookupError as error:
        raise ConfigError(f"gateway/config.py: {error.args[0]}; write one") from error
    return "\n".join(parts) + "\n"


FILES: dict[str, Callable[[], str]] = {
    "schemas/birth-record.v1.json": birth_record,
    "docs/lifecycle.md": lifecycle,
    "docs/findings.md": findings,
    "docs/events.md": events,
    "docs/configuration.md": configuration,
}


def stale(root: Path = ROOT) -> list[str]:
    """Return the generated files below `root` that are not what they should be."""
    return [name for name, make in FILES.items() if _read(root / name) != make()]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _long(duration: dt.timedelta) -> str:
    seconds = int(duration.total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0 and seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"


@click.command()
@click.option("--check", is_flag=True, help="write nothing; exit 1 and name what is out of date")
def main(check: bool) -> None:
    """Write the generated schemas and documents of this checkout, or check that they are current."""
    try:
        old = stale()
        if check and old:
            errors.print(f"out of date: {', '.join(old)}; run make schemas", markup=False, soft_wrap=True)
            sys.exit(1)
        for name in old:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(FILES[name](), encoding="utf-8")
            console.print(f"wrote {name}", markup=False)
    except ProcotError as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

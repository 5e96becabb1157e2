"""A hostile birth in the database: no command brings one of its control characters to a terminal, in any form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gateway.cli.main import procot as entry
from gateway.contract.lifecycle import State
from gateway.store import tokens
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import HEAVIER, journey, notice

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator
    from pathlib import Path

    from tests.simulators.journey import Journey

# A title, a cleared screen, C1's own CSI, reversed text, a line of its own, rich's markup that closes nothing.
HOSTILE = "\x1b]0;x\x07\x1b[2J\x9b31m\u202e12\u2066\u200f\r\n\x7f[/] [bold]"
# They start servers, make or remove what outlives them, or print an id and a state and nothing else.
_SHOWS_NOBODY = {
    "demo", "up", "serve", "sandbox registry", "sandbox hospital", "send", "migrate", "retention", "backup", "restore",
    "facilities add", "facilities remove", "keys list", "keys new", "keys rotate", "keys retire", "tokens new",
    "tokens revoke", "births cancel", "births handover", "births erase", "births amend", "births withdraw",
    "births restrict", "quarantine replay", "quarantine discard", "queue discard", "reconcile run", "reconcile close",
    "registry resume", "evidence accept",
}  # fmt: skip


def _leaves(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def _commanding(text: str) -> list[str]:
    return sorted({hex(ord(c)) for c in text if not c.isprintable() and c != "\n"})


async def _two_births_alike(way: Journey) -> tuple[uuid.UUID, uuid.UUID]:
    """Reach a birth that was told twice, and another that resembles it, and a message that was not taken."""
    first = await way.reach(State.SEALED)
    await way.tell(notice(changes=HEAVIER).replace(b"A01", b"A08"))
    await way.tell(notice(record_number="00450199", same_mother=True))
    await way.work()
    await way.tell(notice().replace(HOSPITAL.encode(), HOSTILE.encode().replace(b"\r\n", b"")))
    return first.id, (await way.birth("00450199")).id


async def _poison(way: Journey) -> None:
    """Write hostile text wherever a stranger's text lies, as an older version may have kept it."""
    for sql in (
        "UPDATE births SET medical_record = medical_record || $1, reference = $1, facility = facility || $1",
        "UPDATE events SET reason = $1, actor = $1, step = step || $1",
        "UPDATE messages SET control_id = control_id || $1, peer = $1, application = $1, facility = facility || $1",
        "UPDATE revisions SET actor = $1",
        "UPDATE tasks SET last_error = $1, facility = $1",
        "UPDATE quarantine SET peer = $1, reason = reason || $1",
        "UPDATE likenesses SET decided_by = $1, reason = $1 WHERE decision IS NOT NULL",
        "INSERT INTO reconcile_cases (kind, birth_id) SELECT $1, id FROM births",
        "INSERT INTO incidents (cause, subject) VALUES ('CHECK_DOWN' || $1, $1)",
        "INSERT INTO registry_pauses (service, cause, identity, since) VALUES ($1, 'REGISTRY_QUOTA', '', now())",
    ):
        await way.database.fetch(sql, HOSTILE)


def _walk(first: uuid.UUID, second: uuid.UUID, directory: Path) -> dict[str, tuple[object, ...]]:
    """Return the words of each command that shows what strangers wrote."""
    hostile = directory / f"a{HOSTILE.replace('/', '')}.hl7"
    hostile.write_bytes(notice().replace(b"T0", HOSTILE.encode().replace(b"\r\n", b"") + b"T0", 1))
    receipt = directory / "receipt.json"
    receipt.write_text(json.dumps({"format": HOSTILE, "entry": HOSTILE}))
    reason = ("--reason", HOSTILE)
    return {
        "validate": ("validate", hostile),
        "births list": ("births", "list"), "births show": ("births", "show", first),
        "births history": ("births", "history", first), "births hold": ("births", "hold", first, *reason),
        "births release": ("births", "release", first, *reason), "births retry": ("births", "retry", first, *reason),
        "births find": ("births", "find", "--by", "mrn"), "births diff": ("births", "diff", first, "--all"),
        "births complete": ("births", "complete", first), "births pairs": ("births", "pairs", first),
        "births merge": ("births", "merge", first, second, *reason),
        "births split": ("births", "split", first, second, *reason),
        "queue list": ("queue", "list"), "queue show": ("queue", "show", first),
        "queue incidents": ("queue", "incidents"),
        "queue forecast": ("queue", "forecast"), "queue retry": ("queue", "retry", "--all", *reason),
        "queue hold": ("queue", "hold", first, *reason), "queue release": ("queue", "release", first, *reason),
        "quarantine list": ("quarantine", "list"), "quarantine show": ("quarantine", "show", 1),
        "reconcile cases": ("reconcile", "cases"), "registry status": ("registry", "status"),
        "check-config": ("check-config",), "facilities list": ("facilities", "list"),
        "facilities check": ("facilities", "check"), "evidence verify": ("evidence", "verify", receipt),
        "evidence export": ("evidence", "export", "-"), "evidence check": ("evidence", "check"),
        "tokens list": ("tokens", "list"),
    }  # fmt: skip


async def test_no_command_brings_a_strangers_control_characters_to_a_terminal(database: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL, more=f"name = {json.dumps(HOSTILE)}")
    async with journey(database, tmp_path) as way:
        first, second = await _two_births_alike(way)
        await tokens.new(way.database, label=HOSTILE, role="officer", office="3510")
        await _poison(way)
        walk = _walk(first, second, tmp_path)
        for name, words in walk.items():
            for more in ((), ("--json",)):
                where = (config,) if name == "check-config" else ("--config", config)
                done = await procot(*words, *where, *more, typed="00450121\n" * (name == "births find"))
                assert not _commanding(done.out), (name, more)
                assert not _commanding(done.err), (name, more)
                if more and name in ("births list", "births history", "quarantine list", "tokens list"):
                    assert HOSTILE in "".join(map(str, (v for line in done.lines for v in line.values()))), name


def test_every_command_that_shows_what_strangers_wrote_is_walked(tmp_path: Path) -> None:
    import uuid  # noqa: PLC0415

    assert set(_walk(uuid.uuid4(), uuid.uuid4(), tmp_path)) | _SHOWS_NOBODY == set(_leaves(entry))

"""A hostile birth in the database: no command brings one of its control characters to a terminal, in any form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest

from gateway.cli.main import procot as entry
from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.store import tokens
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import HEAVIER, journey, notice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.simulators.journey import Journey

# A title, a cleared screen, C1's own CSI, reversed text, a carriage return, rich's markup that closes nothing.
HOSTILE = "\x1b]0;x\x07\x1b[2J\x9b31m\u202e12\u2066\u200f\r\n\x7f[/] [bold]"
# Those that start servers, wait, write files or keys, or show nothing of the database; and decisions, which say an id.
_ELSEWHERE = {
    "demo", "up", "serve", "sandbox registry", "sandbox hospital", "migrate", "backup", "restore", "keys list",
    "keys new", "keys rotate", "keys retire", "retention run", "facilities add", "facilities remove", "tokens new",
    "tokens revoke", "births handover", "births erase", "births merge", "births split", "births amend",
    "births withdraw", "births cancel", "births release", "births retry", "births restrict", "quarantine replay",
    "quarantine discard", "registry resume", "reconcile close", "queue resume",
}  # fmt: skip


def _leaves(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


async def _poison(way: Journey, birth_id: object) -> None:
    """Write hostile text wherever a stranger's text may lie, as an older version may have kept it."""
    for sql in (
        "UPDATE births SET medical_record = medical_record || $1 WHERE id = $2",
        "UPDATE births SET reference = reference || $1 WHERE id = $2",
        "UPDATE births SET office_note = $1 WHERE id = $2",
        "UPDATE births SET findings = jsonb_build_array(jsonb_build_object('code', 'NAME' || $1, 'severity', 'E',"
        " 'place', 'PID^1^5', 'parameters', jsonb_build_object('place', $1))) WHERE id = $2 AND false",
        "UPDATE events SET reason = $1 WHERE birth_id = $2",
        "UPDATE messages SET control_id = control_id || $1, peer = $1 WHERE birth_id = $2",
        "UPDATE certificates SET number = number || $1 WHERE birth_id = $2",
        "UPDATE revisions SET actor = $1 WHERE birth_id = $2",
        "UPDATE tasks SET last_error = $1 WHERE birth_id = $2",
        "INSERT INTO reconcile_cases (kind, birth_id, resolution) VALUES ('NO_TASK', $2, $1)",
    ):
        if "AND false" not in sql:
            await way.database.fetch(sql, HOSTILE, birth_id)

"""What a message says about the stay and not about the birth: who must not be seen (PV1-16), and when they leave.

Neither is part of the record that is signed. A restriction is only ever set here; a person takes it back (F 83 to 85).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.ports import Effect
from gateway.contract.record import Variant
from gateway.hl7.charset import decode
from gateway.hl7.dates import parse_moment
from gateway.hl7.told import decode_told
from gateway.pipeline import clocks
from gateway.store import births, queue
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    import datetime as dt
    from zoneinfo import ZoneInfo

    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.messages import Kept

_NOBODY = frozenset({"", '""', "N", "0", "NO"})  # values of PV1-16 and NK1-23 that ask for nothing
_SEGMENTS = re.compile("^(?:PV1|PV2|NK1)[^\n]*", re.IGNORECASE | re.MULTILINE)
_VIP, _PROTECTED, _EXPECTED, _LEFT = 16, 23, 9, 45  # PV1-16, NK1-23, PV2-9, PV1-45


@dataclass(frozen=True, slots=True)
class Visit:
    """`leaves_at` is aware, None where the message does not tell."""

    restricted: bool
    leaves_at: dt.datetime | None


def read_visit(raw: bytes, zone: ZoneInfo, *, charset: str = "") -> Visit:
    """Read the few fields that matter out of a message's bytes. `charset` is what the transport said of them."""
    text = (decode_told(raw, charset) if charset else decode(raw)).text
    separator = text.lstrip("\ufeff")[3:4].strip() or "|"
    restricted, leaves = False, dict[int, str]()
    for line in _SEGMENTS.findall(text.replace("\r", "\n")):
        name, fields = line[:3].upper(), line.split(separator)
        if name == "PV1":
            restricted = restricted or _field(fields, _VIP).upper() not in _NOBODY
            leaves[_LEFT] = _field(fields, _LEFT)
        elif name == "NK1":
            restricted = restricted or _field(fields, _PROTECTED).upper() not in _NOBODY
        elif name == "PV2":
            leaves[_EXPECTED] = _field(fields, _EXPECTED)
    told = next((text for text in (leaves.get(_LEFT), leaves.get(_EXPECTED)) if text), "")
    return Visit(restricted, _moment(told, zone))


def _moment(told: str, zone: ZoneInfo) -> dt.datetime | None:
    """Return when they leave; a value that is no time is none (the structure check has said so to the sender)."""
    try:
        return parse_moment(told, zone).at
    except ValueError:
        return None


def _field(fields: list[str], number: int) -> str:
    return fields[number].strip() if number < len(fields) else ""


async def note(context: Context, connection: Connection, birth: Birth, kept: Kept, visit: Visit) -> None:
    """Keep with a birth what its message says about the stay."""
    if not birth.restricted and (visit.restricted or birth.record.variant is Variant.NO_PARENTS):
        reason = "vip" if visit.restricted else "foundling"
        await births.restrict(connection, birth, reason)
        why = Why("hospital", "assign", f"restricted ({reason}): seen with that scope only", kept.id)
        await births.note(connection, birth, why)
    if Effect(kept.effect) is Effect.DISCHARGE:
        await queue.hurry(connection, birth.id, Kind.SEAL)  # who leaves waits for no twin (pipeline.siblings)
    await _note_leaving(context, connection, birth, (Effect(kept.effect), visit.leaves_at, kept.received_at))


async def _note_leaving(
    context: Context, connection: Connection, birth: Birth, told: tuple[Effect, dt.datetime | None, dt.datetime]
) -> None:
    effect, leaves_at, received_at = told
    if leaves_at is None and effect is Effect.DISCHARGE:
        leaves_at = received_at
    if leaves_at == birth.leaves_at or (leaves_at is None and effect is not Effect.UNDO_DISCHARGE):
        return
    await births.set_leaves_at(connection, birth, leaves_at)
    await clocks.hasten(connection, birth, clocks.urgency(leaves_at, now=context.clock()))

"""Outbound messages: composed once, sent with the same bytes and control id until the hospital accepts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message for a hospital's listener."""

    id: int
    birth_id: uuid.UUID | None
    facility: str
    kind: str
    control_id: str
    message: bytes


def new_control_id() -> str:
    """Return a control id of ours: 20 characters, the limit before HL7 2.7, unique without asking anybody."""
    return "PC" + uuid.uuid4().hex[:18].upper()


async def keep(
    connection: Connection,
    *,
    birth_id: uuid.UUID | None,
    facility: str,
    kind: str,
    subject: str,
    letter: tuple[str, bytes],
) -> int | None:
    """Keep a composed message (control id, bytes); None where there is one for this kind and subject already."""
    number: int | None = await connection.fetchval(
        """INSERT INTO outbound (birth_id, facility, kind, subject, control_id, message)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (kind, subject) DO NOTHING RETURNING id""",
        birth_id,
        facility,
        kind,
        subject,
        *letter,
    )
    return number


async def written(connection: Connection, birth_id: uuid.UUID, kind: str, subject: str) -> bool:
    """Tell whether a birth has a letter of this kind and subject, sent or not."""
    sql = "SELECT EXISTS (SELECT FROM outbound WHERE birth_id = $1 AND kind = $2 AND subject = $3)"
    return bool(await connection.fetchval(sql, birth_id, kind, subject))


async def read(connection: Connection, outbound_id: int) -> Outbound | None:
    """Return a message that still has to be accepted; None where it was."""
    row = await connection.fetchrow(
        """SELECT id, birth_id, facility, kind, control_id, message FROM outbound
           WHERE id = $1 AND accepted_at IS NULL AND discarded_at IS NULL""",
        outbound_id,
    )
    return Outbound(*row) if row else None


async def accepted(connection: Connection, outbound_id: int, code: str) -> None:
    """Write down that the hospital's system has it."""
    await connection.execute(
        "UPDATE outbound SET accepted_at = now(), answer_code = $2 WHERE id = $1 AND accepted_at IS NULL",
        outbound_id,
        code,
    )


async def refused(connection: Connection, outbound_id: int, code: str) -> None:
    """Write down that the hospital's system refused it."""
    await connection.execute("UPDATE outbound SET answer_code = $2 WHERE id = $1", outbound_id, code)


async def waiting(connection: Connection, birth_id: uuid.UUID) -> list[int]:
    """Return the ids of a birth's messages that were not accepted yet."""
    rows = await connection.fetch(
        """SELECT id FROM outbound WHERE birth_id = $1 AND accepted_at IS NULL AND discarded_at IS NULL
           ORDER BY id""",
        birth_id,
    )
    return [r["id"] for r in rows]


async def also_told(connection: Connection, birth_id: uuid.UUID) -> list[uuid.UUID]:
    """Return the births of other facilities that were merged into this one: their hospitals are told too."""
    rows = await connection.fetch(
        """SELECT m.id FROM likenesses l JOIN births b ON b.id = $1
           JOIN births m ON m.id = CASE WHEN l.earlier = $1 THEN l.later ELSE l.earlier END
           WHERE (l.earlier = $1 OR l.later = $1) AND l.decision = 'same'
             AND m.state = 'MERGED' AND m.facility <> b.facility ORDER BY m.received_at, m.id""",
        birth_id,
    )
    return [r["id"] for r in rows]


async def told(connection: Connection, birth_id: uuid.UUID) -> bool:
    """Tell whether the hospital accepted any message of a birth."""
    there: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM outbound WHERE birth_id = $1 AND accepted_at IS NOT NULL)", birth_id
    )
    return there

"""Messages after they were kept: those not yet assigned to a birth, and one by its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
    import uuid

    from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept message that has an effect on a birth. `charset` is what its transport said of the bytes, mostly "".

    `refused`: its sender was told at the door that it is about another baby than the one with its number.
    """

    id: int
    facility: str
    control_id: str
    event: str
    effect: str
    medical_record: str
    charset: str
    received_at: dt.datetime
    refused: bool = False


_COLUMNS = """id, facility, control_id, event, effect, medical_record, coalesce(told ->> 'charset', ''), received_at,
              coalesce((told ->> 'refused')::bool, false)"""


async def baby_of(connection: Connection, message_id: int) -> tuple[str, str]:
    """Return (facility, medical record) of a message. Raises LookupError."""
    row = await connection.fetchrow("SELECT facility, medical_record FROM messages WHERE id = $1", message_id)
    if row is None:
        raise LookupError("no such message")
    return row["facility"], row["medical_record"]


async def came_after_question(connection: Connection, message_id: int, birth_id: uuid.UUID) -> bool:
    """Tell whether a message came after an office's last question about a birth (outcome `ask`)."""
    return bool(
        await connection.fetchval(
            """SELECT received_at > (SELECT at FROM events WHERE birth_id = $2 AND step = 'outcome'
                                       AND to_state = 'HOLD_DATA' AND from_state <> to_state ORDER BY id DESC LIMIT 1)
               FROM messages WHERE id = $1""",
            message_id,
            birth_id,
        )
    )


async def unassigned(connection: Connection, facility: str, *medical_records: str) -> list[Kept]:
    """Return the messages under some record numbers that wait to be assigned, in the order they were kept."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM messages
            WHERE facility = $1 AND medical_record = ANY($2) AND assigned_at IS NULL AND effect <> 'none'
            ORDER BY id FOR UPDATE""",  # noqa: S608 - constant names
        facility,
        medical_records,
    )
    return [Kept(*row) for row in rows]


async def waiting(connection: Connection, facility: str, medical_record: str) -> list[int]:
    """Return the ids of a baby's messages that were not assigned yet."""
    rows = await connection.fetch(
        """SELECT id FROM messages WHERE facility = $1 AND medical_record = $2 AND assigned_at IS NULL
           AND effect <> 'none' ORDER BY id""",
        facility,
        medical_record,
    )
    return [r["id"] for r in rows]


async def stuck(connection: Connection) -> int:
    """Return how many accepted messages wait to be assigned for more than five minutes.

    Not those that wait for their birth to be reported: results and documents may come long before, or for nobody.
    """
    number: int = await connection.fetchval(
        """SELECT count(*) FROM messages
           WHERE assigned_at IS NULL AND effect <> 'none' AND effect NOT IN ('observe', 'attach')
             AND received_at < now() - interval '5 minutes'"""
    )
    return number


_ASSIGNED = """
UPDATE messages SET assigned_at = now(), birth_id = $2, verdict = coalesce((
    SELECT verdict FROM likenesses WHERE (earlier = $2 OR later = $2) AND message_id = $1
    ORDER BY array_position(ARRAY['suspect', 'conflict', 'twin'], verdict) LIMIT 1), $3)
WHERE id = $1
"""


async def assigned(
    connection: Connection, message_id: int, birth_id: uuid.UUID | None, *, verdict: str | None = None
) -> None:
    """Write down which birth a message is about, and what it was to it; None where it was about none.

    What it showed about another birth (likenesses) says more than `verdict`.
    """
    if verdict is None:  # before migration 9 there is no column for it
        sql, told = "UPDATE messages SET assigned_at = now(), birth_id = $2 WHERE id = $1", []
    else:
        sql, told = _ASSIGNED, [verdict]
    await connection.execute(sql, message_id, birth_id, *told)


async def hand_over(connection: Connection, *, old: uuid.UUID, new: uuid.UUID) -> None:
    """Let the messages of one birth be those of another: the control ids of a merged birth find the one that lives.

    What withdrew the merged birth says nothing of the other one.
    """
    sql = "UPDATE messages SET birth_id = $2 WHERE birth_id = $1 AND effect <> 'cancel'"
    await connection.execute(sql, old, new)


async def telling(connection: Connection, birth_id: uuid.UUID) -> list[Kept]:
    """Return the messages that told of a birth, or withdrew it, in the order they were kept."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM messages WHERE birth_id = $1 AND assigned_at IS NOT NULL
              AND effect IN ('open', 'amend', 'discharge', 'observe', 'cancel') ORDER BY id""",  # noqa: S608
        birth_id,
    )
    return [Kept(*row) for row in rows]


async def is_past_retelling(connection: Connection, birth_id: uuid.UUID) -> bool:
    """Whether a birth's record is more than what its messages say: it took over another one, or bodies are gone."""
    found: bool = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM events WHERE birth_id = $1 AND detail ? 'merged_with')
               OR EXISTS (SELECT FROM messages WHERE birth_id = $1 AND culled_at IS NOT NULL)""",
        birth_id,
    )
    return found


async def observed_at(connection: Connection, birth_id: uuid.UUID) -> dt.datetime | None:
    """Return when the newest results that were applied to a birth had been sent."""
    newest: dt.datetime | None = await connection.fetchval(
        """SELECT max((told ->> 'sent_at')::timestamptz) FROM messages
           WHERE birth_id = $1 AND effect = 'observe' AND assigned_at IS NOT NULL""",
        birth_id,
    )
    return newest


async def origin(connection: Connection, message_id: int) -> tuple[bytes, str]:
    """Return the raw bytes and control id of a message. Raises LookupError."""
    row = await connection.fetchrow("SELECT raw, control_id FROM messages WHERE id = $1", message_id)
    if row is None:
        raise LookupError("no such message")
    return row["raw"], row["control_id"]


async def verdicts(connection: Connection, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return what was answered to each message of a birth, oldest first: codes, never the message."""
    rows = await connection.fetch(
        """SELECT control_id, event, received_at, answer_code, effect, findings FROM messages
           WHERE birth_id = $1 ORDER BY id""",
        birth_id,
    )
    return [
        {
            "control_id": row["control_id"],
            "event": row["event"],
            "received_at": row["received_at"].isoformat(timespec="seconds"),
            "answer": row["answer_code"],
            "effect": row["effect"],
            "findings": row["findings"],
        }
        for row in rows
    ]

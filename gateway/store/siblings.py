"""The other babies of one delivery: find a twin, put it into the group, and what is known of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State

if TYPE_CHECKING:
    import datetime as dt
    import uuid

    from gateway.store.births import Birth
    from gateway.store.database import Connection

_OUT = (State.CANCELLED.value, State.MERGED.value)
_HELD = tuple(s.value for s in (State.RECEIVED, State.HOLD_DATA, State.HOLD_NAME, State.AWAIT_FORM, State.REVIEW))


async def twin_of(
    connection: Connection, *, mother_key: bytes, born_at: dt.datetime, facility: str, medical_record: str
) -> tuple[uuid.UUID, uuid.UUID | None] | None:
    """Return (birth id, twin group) of another birth of this mother within 24 hours (domain F 1, 2).

    Keeps others from asking for the same mother until the transaction ends: twins assigned at the same time would not
    see each other, and each would begin a group of its own.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", mother_key.hex())
    row = await connection.fetchrow(
        """SELECT id, twin_group FROM births
           WHERE mother_key = $1 AND born_at BETWEEN $2::timestamptz - interval '24 hours' AND $2 + interval '24 hours'
             AND NOT (facility = $3 AND medical_record = $4) AND state NOT IN ('CANCELLED', 'MERGED')
           ORDER BY received_at LIMIT 1 FOR UPDATE""",
        mother_key,
        born_at,
        facility,
        medical_record,
    )
    return (row["id"], row["twin_group"]) if row else None


async def set_twin_group(connection: Connection, birth_id: uuid.UUID, group: uuid.UUID) -> None:
    """Put a birth into a twin group."""
    await connection.execute("UPDATE births SET twin_group = $2 WHERE id = $1", birth_id, group)


@dataclass(frozen=True, slots=True)
class Siblings:
    """The others of a twin group that were not withdrawn or merged away: all of them, and those that wait for data."""

    ids: tuple[uuid.UUID, ...]
    held: int


async def of(connection: Connection, birth: Birth) -> Siblings:
    """Return the siblings of a birth; along the index of mothers, whose one key they all bear.

    Until the transaction ends nobody else looks at this group: of two that look at the same moment the second one
    would find the first still undecided, and could not end its wait.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 2))", str(birth.twin_group))
    rows = await connection.fetch(
        """SELECT s.id, s.state = ANY($2) AS held FROM births b JOIN births s
               ON s.mother_key = b.mother_key AND s.twin_group = b.twin_group AND s.id <> b.id
           WHERE b.id = $1 AND s.state <> ALL($3) ORDER BY s.id""",
        birth.id,
        _HELD,
        _OUT,
    )
    return Siblings(tuple(r["id"] for r in rows), sum(r["held"] for r in rows))


async def be_patient(connection: Connection, birth: Birth, seconds: float) -> None:
    """Let a birth not count as overdue while it waits for its siblings."""
    await connection.execute(
        """UPDATE births SET overdue_since = NULL,
               wait_until = greatest(wait_until, now() + $2 * interval '1 second' + interval '15 minutes')
           WHERE id = $1""",
        birth.id,
        seconds,
    )

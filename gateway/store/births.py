"""The row of a birth: opened once, read under lock, moved through the life cycle with an event, its columns kept.

Every write here happens in the caller's transaction, beside the task that caused it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import WAITS, State, check_move
from gateway.contract.record import BirthRecord
from gateway.errors import IllegalMoveError
from gateway.store import events, revisions

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    import asyncpg

    from gateway.store.database import Connection


@dataclass(slots=True)
class Birth:
    """A birth as the store has it. `findings` are stored forms (contract.finding.Finding.as_dict)."""

    id: uuid.UUID
    facility: str
    medical_record: str
    state: State
    revision: int
    record: BirthRecord
    findings: list[dict[str, Any]]
    accepted: frozenset[str]
    held: bool
    twin_group: uuid.UUID | None
    priority: int
    reference: str
    submitted: int
    first_message_id: int
    told_at: dt.datetime | None
    received_at: dt.datetime
    office: str = ""
    at_registry: int = 0  # the revision whose case is open at the registry, whatever our state is; 0: none
    way: str = ""  # lease or handover where no adapter submits it, else ""
    restricted: str = ""
    leaves_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """Who moved a birth, in which step, and why: the words of the event row."""

    actor: str
    step: str
    reason: str = ""
    message_id: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


_IDS = uuid.UUID("0b6d2f3c-5f0e-4c1a-9a51-7c1d3f2e9b10")  # namespace of birth ids (RFC 9562 section 5.5)
_COLUMNS = """id, facility, medical_record, state, revision, record, findings, accepted, held, twin_group, priority,
              reference, submitted, at_registry, first_message_id, told_at, received_at, office, way, restricted,
              leaves_at"""


def _birth(row: asyncpg.Record) -> Birth:
    return Birth(
        id=row["id"],
        facility=row["facility"],
        medical_record=row["medical_record"],
        state=State(row["state"]),
        revision=row["revision"],
        record=BirthRecord.model_validate(row["record"]),
        findings=row["findings"],
        accepted=frozenset(row["accepted"]),
        held=row["held"],
        twin_group=row["twin_group"],
        priority=row["priority"],
        reference=row["reference"],
        submitted=row["submitted"],
        at_registry=row["at_registry"],
        first_message_id=row["first_message_id"],
        told_at=row["told_at"],
        received_at=row["received_at"],
        office=row["office"] or "",
        way=row["way"] or "",
        restricted=row["restricted"] or "",
        leaves_at=row["leaves_at"],
    )


async def lock(connection: Connection, birth_id: uuid.UUID) -> Birth:
    """Return a birth, locked until the transaction ends. Raises LookupError."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM births WHERE id = $1 FOR UPDATE", birth_id)  # noqa: S608
    if row is None:
        raise LookupError("no such birth")
    return _birth(row)


async def lock_by_record_numbers(connection: Connection, facility: str, numbers: Iterable[str]) -> dict[str, Birth]:
    """Return the births of several record numbers, locked, and keep others from opening any of them meanwhile.

    The locks are taken in the order of their keys, whoever asks: so two workers never wait for each other.
    """
    wanted = sorted(numbers)
    await connection.execute(
        """SELECT pg_advisory_xact_lock(key) FROM (
               SELECT DISTINCT hashtextextended($1 || chr(31) || number, 0) AS key FROM unnest($2::text[]) AS number
               ORDER BY key) AS keys""",
        facility,
        wanted,
    )
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM births WHERE facility = $1 AND medical_record = ANY($2)
            ORDER BY medical_record FOR UPDATE""",  # noqa: S608
        facility,
        wanted,
    )
    return {row["medical_record"]: _birth(row) for row in rows}


async def rekey(connection: Connection, birth: Birth, number: str) -> None:
    """Put a birth under another record number; the record itself follows by a revision."""
    birth.medical_record = number
    await connection.execute("UPDATE births SET medical_record = $2 WHERE id = $1", birth.id, number)


async def swap_numbers(connection: Connection, one: Birth, other: Birth) -> None:
    """Exchange the record numbers of two births. One steps aside first: a number may be there once only."""
    mine, theirs = one.medical_record, other.medical_record
    await rekey(connection, one, f"\x1f{one.id}")
    await rekey(connection, other, mine)
    await rekey(connection, one, theirs)


async def read(connection: Connection, birth_id: uuid.UUID) -> Birth:
    """Return a birth without locking it. Raises LookupError."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM births WHERE id = $1", birth_id)  # noqa: S608
    if row is None:
        raise LookupError("no such birth")
    return _birth(row)


def record_in(stored: dict[str, Any]) -> BirthRecord:
    """Return the record that a row holds."""
    return BirthRecord.model_validate(stored)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a birth is found by, derived from its record."""

    mother_key: bytes | None
    born_at: dt.datetime | None
    deadline: dt.date | None
    mother_name_key: bytes | None = None  # before migration 9 there is no column for it: None leaves it alone


async def keys_as_stored(connection: Connection, birth: Birth) -> Keys:
    """Return what a birth is found by now, for a revision that changes nothing of it."""
    sql = """SELECT mother_key, born_at, deadline, (to_jsonb(b) ->> 'mother_name_key')::bytea AS name_key
             FROM births b WHERE id = $1"""  # through the row as JSON: before migration 9 there is no such column
    row = await connection.fetchrow(sql, birth.id)
    if row is None:
        raise LookupError("no such birth")
    return Keys(row["mother_key"], row["born_at"], row["deadline"], row["name_key"])


async def open_birth(
    connection: Connection,
    *,
    record: BirthRecord,
    keys: Keys,
    message_id: int,
    received_at: dt.datetime,
    twin_group: uuid.UUID | None,
) -> Birth:
    """Create a birth in RECEIVED with revision 1. The same notice opens the same birth, also after a restore."""
    birth = Birth(
        id=await _id_of(connection, message_id),
        facility=record.facility.code,
        medical_record=record.child.medical_record.reveal(),
        state=State.RECEIVED,
        revision=1,
        record=record,
        findings=[],
        accepted=frozenset(),
        held=False,
        twin_group=twin_group,
        priority=5,
        reference="",
        submitted=0,
        first_message_id=message_id,
        told_at=None,
        received_at=received_at,
    )
    name_key = [keys.mother_name_key] if keys.mother_name_key else []
    named = (", mother_name_key", ", $13") if name_key else ("", "")
    await connection.execute(
        f"""INSERT INTO births (id, facility, medical_record, state, revision, record, mother_key, born_at, twin_group,
                               deadline, wait_until, first_message_id, received_at{named[0]})
           VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, now() + $10, $11, $12{named[1]})""",  # noqa: S608
        birth.id,
        birth.facility,
        birth.medical_record,
        birth.state.value,
        record.model_dump(mode="json"),
        keys.mother_key,
        keys.born_at,
        twin_group,
        keys.deadline,
        WAITS[State.RECEIVED].after,
        message_id,
        received_at,
        *name_key,
    )
    await revisions.keep(connection, birth, changed=(), why=Why("hospital", "assign", message_id=message_id))
    await events.write(connection, birth, None, Why("hospital", "assign", "birth notice received", message_id))
    return birth


async def _id_of(connection: Connection, message_id: int) -> uuid.UUID:
    """Return the id of the birth that a message opens: by the message's content, so that it can be had once only.

    Where a backup was restored and the notice comes (or is assigned) again, the registry is asked about the case it
    already has. Nobody can compute an id who does not have the message.
    """
    row = await connection.fetchrow(
        "SELECT facility, control_id, content_digest FROM messages WHERE id = $1", message_id
    )
    if row is None:
        raise LookupError("no such message")
    return uuid.uuid5(_IDS, f"{row['facility']}\x1f{row['control_id']}\x1f{row['content_digest'].hex()}")


async def move(connection: Connection, birth: Birth, to: State, why: Why) -> bool:
    """Move a locked birth and write the event. False (and nothing written) where it is there already.

    Raises IllegalMoveError for a move the life cycle does not have.
    """
    if birth.state is to:
        return False
    check_move(birth.state, to)
    wait = WAITS.get(to)
    moved = await connection.fetchval(
        """WITH moved AS (
               UPDATE births SET state = $3, updated_at = now(), overdue_since = NULL, wait_until = now() + $4
               WHERE id = $1 AND state = $2 RETURNING id)
           INSERT INTO events (birth_id, actor, step, from_state, to_state, reason, message_id, detail)
           SELECT id, $5, $6, $2, $3, $7, $8, $9 FROM moved RETURNING birth_id""",
        birth.id,
        birth.state.value,
        to.value,
        wait.after if wait else None,
        why.actor,
        why.step,
        why.reason,
        why.message_id,
        why.detail,
    )
    if moved is None:
        raise IllegalMoveError(f"birth {birth.id} is not {birth.state.value} any more")
    birth.state = to
    return True


async def note(connection: Connection, birth: Birth, why: Why) -> None:
    """Write an event that does not move the birth."""
    await events.write(connection, birth, birth.state, why)


async def set_findings(
    connection: Connection,
    birth: Birth,
    findings: list[dict[str, Any]],
    *,
    missing: Sequence[str] | None = None,
    office: str | None = None,
) -> None:
    """Replace what is wrong with a birth now; where they are told, also what is missing and whose office it is."""
    birth.findings = findings
    birth.office = birth.office if office is None else office
    await connection.execute(
        """UPDATE births SET findings = $2, missing = coalesce($3, missing), office = coalesce($4, office),
                             updated_at = now() WHERE id = $1""",
        birth.id,
        findings,
        missing,
        office,
    )


async def set_way(connection: Connection, birth: Birth, *, way: str, office: str) -> None:
    """Keep which way a birth's record leaves the house, and to whom: `lease`, `handover`, or `push` by the adapter."""
    birth.way, birth.office = way if way != "push" else "", office
    await connection.execute(
        "UPDATE births SET way = $2, office = $3 WHERE id = $1", birth.id, birth.way or None, office
    )


async def came_back(connection: Connection, birth: Birth) -> None:
    """Keep that an office refused a record for good: nobody has it, and it may go another way."""
    birth.way, birth.submitted = "", 0
    await connection.execute("UPDATE births SET way = NULL, submitted = 0 WHERE id = $1", birth.id)


async def restrict(connection: Connection, birth: Birth, reason: str) -> None:
    """Keep that only tokens with that scope may see a birth, and why; "" lets all see it again."""
    birth.restricted = reason
    await connection.execute("UPDATE births SET restricted = $2 WHERE id = $1", birth.id, reason or None)


async def set_leaves_at(connection: Connection, birth: Birth, at: dt.datetime | None) -> None:
    """Keep when mother and child leave the hospital."""
    birth.leaves_at = at
    await connection.execute("UPDATE births SET leaves_at = $2 WHERE id = $1", birth.id, at)


async def set_priority(connection: Connection, birth: Birth, priority: int) -> None:
    """Change how urgent a birth is (0 first) and hurry its open tasks."""
    birth.priority = priority
    await connection.execute("UPDATE births SET priority = $2 WHERE id = $1", birth.id, priority)
    await connection.execute("UPDATE tasks SET priority = $2 WHERE birth_id = $1", birth.id, priority)


async def set_accepted(connection: Connection, birth: Birth, codes: frozenset[str]) -> None:
    """Keep which findings a person took responsibility for."""
    birth.accepted = codes
    await connection.execute("UPDATE births SET accepted = $2 WHERE id = $1", birth.id, sorted(codes))


async def set_held(connection: Connection, birth: Birth, *, held: bool) -> None:
    """Stop (or let go) a birth at its present step, by an operator's word."""
    birth.held = held
    await connection.execute("UPDATE births SET held = $2, updated_at = now() WHERE id = $1", birth.id, held)


async def set_told_at(connection: Connection, birth: Birth, told_at: dt.datetime) -> None:
    """Keep when the newest message that was applied had been written."""
    birth.told_at = told_at
    await connection.execute("UPDATE births SET told_at = $2 WHERE id = $1", birth.id, told_at)


async def set_at_registry(connection: Connection, birth: Birth, revision: int) -> None:
    """Keep which revision's case is open at the registry; 0 for none."""
    if birth.at_registry != revision:
        birth.at_registry = revision
        await connection.execute("UPDATE births SET at_registry = $2 WHERE id = $1", birth.id, revision)


async def set_submitted(connection: Connection, birth: Birth, revision: int) -> None:
    """Keep which revision the registry has: the one before, where a newer one was not taken."""
    birth.submitted = revision
    await connection.execute("UPDATE births SET submitted = $2 WHERE id = $1", birth.id, revision)


async def set_reference(connection: Connection, birth: Birth, reference: str) -> None:
    """Keep the registry's own number of the case."""
    birth.reference = reference
    await connection.execute("UPDATE births SET reference = $2 WHERE id = $1", birth.id, reference)

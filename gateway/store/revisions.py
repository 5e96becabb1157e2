"""The revisions of a birth's record: keep the next one, read one, list them all.

What each one was: when, by whom, by which message, what it changed, and whether it was signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.record import BirthRecord

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from gateway.store.births import Birth, Keys, Why
    from gateway.store.database import Connection


async def revise(
    connection: Connection, birth: Birth, record: BirthRecord, *, keys: Keys, changed: Sequence[str], why: Why
) -> None:
    """Keep a new revision of the record; the state is decided afterwards."""
    birth.revision += 1
    birth.record = record
    name_key = [keys.mother_name_key] if keys.mother_name_key else []
    named = ", mother_name_key = $7" if name_key else ""
    await connection.execute(
        f"""UPDATE births SET revision = $2, record = $3, mother_key = $4, born_at = $5, deadline = $6{named},
                             updated_at = now() WHERE id = $1""",  # noqa: S608 - constant text
        birth.id,
        birth.revision,
        record.model_dump(mode="json"),
        keys.mother_key,
        keys.born_at,
        keys.deadline,
        *name_key,
    )
    await keep(connection, birth, changed=changed, why=why)


async def keep(connection: Connection, birth: Birth, *, changed: Sequence[str], why: Why) -> None:
    """Write the revision that a birth has now, as its row says it."""
    await connection.execute(
        """INSERT INTO revisions (birth_id, revision, message_id, actor, record, changed)
           VALUES ($1, $2, $3, $4, $5, $6)""",
        birth.id,
        birth.revision,
        why.message_id,
        why.actor,
        birth.record.model_dump(mode="json"),
        list(changed),
    )


async def record_of(connection: Connection, birth_id: uuid.UUID, revision: int) -> BirthRecord:
    """Return the record as one revision had it. Raises LookupError."""
    record = await connection.fetchval(
        "SELECT record FROM revisions WHERE birth_id = $1 AND revision = $2", birth_id, revision
    )
    if record is None:
        raise LookupError("no such revision")
    return BirthRecord.model_validate(record)


async def listing(connection: Connection, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return a birth's revisions, oldest first: names of fields, never values."""
    rows = await connection.fetch(
        """SELECT r.revision, r.at, r.actor, m.control_id, r.changed, s.sealed_at
           FROM revisions r LEFT JOIN messages m ON m.id = r.message_id
           LEFT JOIN seals s ON s.birth_id = r.birth_id AND s.revision = r.revision
           WHERE r.birth_id = $1 ORDER BY r.revision""",
        birth_id,
    )
    return [dict(row) for row in rows]

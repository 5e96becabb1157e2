"""Remove the bodies of what is finished, after its time; digests, answers and evidence stay for good.

Bodies are raw messages (their MSH segment stays), what was read out of them, scanned documents, certificate files,
letters, and what lay in quarantine and was resolved. Kept: every digest, the answers (a repeated message is answered as
before), the record and its seal, events, certificate numbers. What is not finished is never touched.

Each batch is a short transaction of its own that passes by rows somebody else holds, so that intake never waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid

    from gateway.contract.record import BirthRecord
    from gateway.store.database import Connection, Database

# The first segment says who sent it, when and how it was written, and nothing about people.
_HEADER = """CASE WHEN substring(raw FROM 1 FOR 3) = '\\x4d5348' AND position('\\x0d'::bytea IN raw) > 0
                  THEN substring(raw FROM 1 FOR position('\\x0d'::bytea IN raw)) ELSE ''::bytea END"""
_EMPTY_MESSAGE = f"raw = {_HEADER}, told = NULL, culled_at = now()"
_FINISHED = """
    b.state IN ('DELIVERED', 'CANCELLED', 'MERGED') AND b.culled_at IS NULL
    AND b.updated_at < now() - $1 * interval '1 day' AND NOT b.held
    AND NOT EXISTS (SELECT FROM tasks t WHERE t.birth_id = b.id)
    AND NOT EXISTS (SELECT FROM reconcile_cases c WHERE c.birth_id = b.id AND c.closed_at IS NULL)
    AND NOT EXISTS (SELECT FROM outbound o WHERE o.birth_id = b.id AND o.accepted_at IS NULL AND o.discarded_at IS NULL)
    AND NOT EXISTS (SELECT FROM messages m WHERE m.facility = b.facility AND m.medical_record = b.medical_record
                    AND m.assigned_at IS NULL AND m.effect <> 'none')
"""
# About no birth, or about one whose other bodies are gone already (it was told of again, long after).
_LOOSE = """(m.effect = 'none' OR m.birth_id IS NULL AND m.assigned_at IS NOT NULL
             OR EXISTS (SELECT FROM births b WHERE b.id = m.birth_id AND b.culled_at IS NOT NULL
                        AND b.state IN ('DELIVERED', 'CANCELLED', 'MERGED')))"""


@dataclass(frozen=True, slots=True)
class Culled:
    """How much one batch removed. `looked` is how many rows it looked at: 0 where nothing is left."""

    looked: int
    births: int = 0
    messages: int = 0
    quarantine: int = 0


async def births(connection: Connection, *, days: int, limit: int) -> Culled:
    """Remove the bodies of up to `limit` finished births, in the caller's transaction."""
    rows = await connection.fetch(
        f"""SELECT b.id FROM births b WHERE {_FINISHED} ORDER BY b.updated_at, b.id LIMIT $2
            FOR UPDATE OF b SKIP LOCKED""",  # noqa: S608 - constant text
        days,
        limit,
    )
    ids = [row["id"] for row in rows]
    if not ids:
        return Culled(0)
    emptied = await connection.fetch(
        f"UPDATE messages SET {_EMPTY_MESSAGE} WHERE birth_id = ANY($1) AND culled_at IS NULL RETURNING id",  # noqa: S608
        ids,
    )
    await connection.execute("UPDATE attachments SET content = NULL WHERE birth_id = ANY($1)", ids)
    await connection.execute("UPDATE outbound SET message = '' WHERE birth_id = ANY($1)", ids)
    await connection.execute("UPDATE certificates SET document = NULL WHERE birth_id = ANY($1)", ids)
    await connection.execute("UPDATE earlier_certificates SET document = NULL WHERE birth_id = ANY($1)", ids)
    await connection.execute("UPDATE acts SET payload = '' WHERE birth_id = ANY($1) AND payload IS NOT NULL", ids)
    await connection.execute("UPDATE births SET culled_at = now() WHERE id = ANY($1)", ids)
    return Culled(len(ids), births=len(ids), messages=len(emptied))


async def loose_messages(connection: Connection, *, days: int, limit: int) -> Culled:
    """Remove the bodies of old messages about no birth, going on where the batch before ended.

    Looks at the next `limit` messages only, and ends before the first that is young: a search for old ones would read
    the whole table at each start.
    """
    after = await connection.fetchval("SELECT position FROM chores WHERE name = 'retention' FOR UPDATE")
    rows = await connection.fetch(
        """WITH next AS (SELECT id, received_at < now() - $2 * interval '1 day' AS old
                         FROM messages WHERE id > $1 ORDER BY id LIMIT $3)
           SELECT id FROM next
           WHERE old AND id < coalesce((SELECT min(id) FROM next WHERE NOT old), 9223372036854775807) ORDER BY id""",
        int(after or 0),
        days,
        limit,
    )
    ids = [row["id"] for row in rows]
    if not ids:
        return Culled(0)
    emptied = await connection.fetch(
        f"""UPDATE messages SET {_EMPTY_MESSAGE} WHERE id IN (
                SELECT m.id FROM messages m WHERE m.id = ANY($1) AND m.culled_at IS NULL AND {_LOOSE} FOR UPDATE OF m)
            RETURNING id""",  # noqa: S608 - constant text
        ids,
    )
    await connection.execute("UPDATE chores SET position = $1 WHERE name = 'retention'", str(ids[-1]))
    return Culled(len(ids), messages=len(emptied))


async def quarantined(connection: Connection, *, days: int, limit: int) -> Culled:
    """Remove the bytes of what lay in quarantine and was resolved."""
    rows = await connection.fetch(
        """UPDATE quarantine SET raw = '' WHERE id IN (
               SELECT id FROM quarantine WHERE resolved_at < now() - $1 * interval '1 day' AND raw <> ''
               ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id""",
        days,
        limit,
    )
    return Culled(len(rows), quarantine=len(rows))


_SINCE_LIKENESS = 9  # the migration that brought births.mother_name_key


async def is_over(connection: Connection, birth_id: uuid.UUID) -> bool:
    """Tell whether a birth's time is over: it is finished, and its bodies were removed."""
    return await connection.fetchval("SELECT culled_at IS NOT NULL FROM births WHERE id = $1", birth_id) is True


async def erase(connection: Connection, birth_id: uuid.UUID, bare: BirthRecord) -> None:
    """Put `bare` in the place of every revision's record and empty what else says who the family is (domain F 111).

    Kept: digests, signatures, the akta's number, states and times. The office has the registration.
    """
    record = bare.model_dump(mode="json", exclude_none=True)
    await connection.execute(
        "UPDATE births SET record = $2, mother_key = NULL, born_at = NULL WHERE id = $1", birth_id, record
    )
    level = await connection.fetchval("SELECT max(version) FROM schema_migrations")
    if level >= _SINCE_LIKENESS:
        await connection.execute("UPDATE births SET mother_name_key = NULL WHERE id = $1", birth_id)
    await connection.execute("UPDATE revisions SET record = $2 WHERE birth_id = $1", birth_id, record)
    await connection.execute("UPDATE seals SET payload = '' WHERE birth_id = $1", birth_id)
    for table in ("certificates", "earlier_certificates"):
        await connection.execute(
            f"UPDATE {table} SET child_nik = '', family_card = '', registered = '{{}}' WHERE birth_id = $1",  # noqa: S608
            birth_id,
        )
    await connection.execute("UPDATE attachments SET pointer = 'erased:' || id WHERE birth_id = $1", birth_id)


async def due(database: Database, *, days: int) -> dict[str, int]:
    """Return how much would be removed now: a look, which may take a while on a large database."""
    row = await database.fetchrow(
        f"""SELECT (SELECT count(*) FROM births b WHERE {_FINISHED}) AS births,
                   (SELECT count(*) FROM messages m WHERE m.culled_at IS NULL
                    AND m.received_at < now() - $1 * interval '1 day'
                    AND ({_LOOSE} OR EXISTS (SELECT FROM births b WHERE b.id = m.birth_id AND {_FINISHED}))
                   ) AS messages,
                   (SELECT count(*) FROM quarantine WHERE resolved_at < now() - $1 * interval '1 day' AND raw <> '')
                   AS quarantine""",  # noqa: S608 - constant text
        days,
    )
    return dict(row) if row else {}

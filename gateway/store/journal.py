"""The evidence journal's tables: entries on their way, sealed entries, the tree's tiles, checkpoints.

Triggers make the entries (schemas/sql/0010_journal.sql); here they get their positions. One sealer at a time, by a lock
that ends with its transaction: killed at any moment it leaves what was there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.store.marks import go_on_behind

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import AsyncIterator, Iterable, Mapping

    import asyncpg

    from gateway.store.database import Connection, Database

LEVEL = 10  # the migration that makes these tables; below it there is no journal
_LOCK = 0x4A4F55524E414C  # "JOURNAL"
_PAGE = 4096
_HASH_BYTES = 32

# Members in the order of RFC 8785; concat_ws passes by what an entry does not have. What PostgreSQL escapes in a JSON
# string (facilities only: all else is hex, ids and codes) is what RFC 8785 escapes.
_ENTRY = """'{' || concat_ws(',',
    '"answer":"' || encode(answer, 'hex') || '"',
    '"answer_code":' || to_json(code),
    '"application_answer":"' || encode(applied, 'hex') || '"',
    '"at":"' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"',
    '"birth":"' || birth || '"',
    '"facility":' || to_json(facility),
    '"kind":"' || kind || '"',
    '"number_hmac":"' || encode(keyed, 'hex') || '"',
    CASE WHEN keyed IS NOT NULL THEN '"number_key":"' || $5 || '"' END,
    '"revision":' || revision,
    '"sha256":"' || encode(digest, 'hex') || '"') || '}'"""
_SEAL = f"""
WITH oldest AS (
    SELECT id, cardinality(facilities) AS entries FROM journal_pending ORDER BY id LIMIT $2
), few AS (
    SELECT id, sum(entries) OVER (ORDER BY id) - entries AS before FROM oldest
), taken AS (
    DELETE FROM journal_pending WHERE id IN (SELECT id FROM few WHERE before < $2) AND numbers <@ $3::bytea[]
    RETURNING *
), flat AS (
    SELECT t.id, t.at, t.kind, e.*, k.keyed FROM taken t CROSS JOIN LATERAL unnest(t.facilities, t.digests, t.codes,
        t.answers, t.applied, t.births, t.revisions, t.numbers) WITH ORDINALITY
        AS e (facility, digest, code, answer, applied, birth, revision, number, place)
    LEFT JOIN unnest($3::bytea[], $4::bytea[]) AS k (number, keyed) ON k.number = e.number
), sealed AS (
    INSERT INTO journal (position, facility, digest, entry)
    SELECT $1 + row_number() OVER (ORDER BY id, place) - 1, facility, digest, {_ENTRY} FROM flat
    RETURNING position, entry
)
SELECT string_agg(sha256('\\x00'::bytea || convert_to(entry, 'UTF8')), ''::bytea ORDER BY position) FROM sealed
"""  # noqa: S608 - constant text


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint as it is kept."""

    size: int
    root: bytes
    at: dt.datetime
    key_id: str
    jws: str


@dataclass(frozen=True, slots=True)
class Found:
    """A sealed entry."""

    position: int
    facility: str | None
    entry: str


async def alone(connection: Connection) -> bool:
    """Become the only sealer until the transaction ends; False where another one is at it."""
    mine: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK)
    return mine


async def begin_alone(connection: Connection) -> None:
    """Become the only sealer until the transaction ends, waiting for the one that is at it."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


async def log_id(connection: Connection) -> str:
    """Return which log this is."""
    return str(await connection.fetchval("SELECT id FROM journal_log"))


async def now(connection: Connection) -> dt.datetime:
    """Return the time of the transaction by the database's clock."""
    at: dt.datetime = await connection.fetchval("SELECT now()")
    return at


async def newest(connection: Connection) -> Signed | None:
    """Return the last checkpoint, None before the first."""
    row = await connection.fetchrow(
        "SELECT size, root, at, key_id, jws FROM journal_checkpoints ORDER BY size DESC LIMIT 1"
    )
    return Signed(*row) if row else None


async def numbers(connection: Connection, *, entries: int) -> list[bytes]:
    """Return the SHA-256 of each certificate's number among the oldest `entries` that wait."""
    rows = await connection.fetch(
        """SELECT DISTINCT number
           FROM (SELECT numbers FROM journal_pending ORDER BY id LIMIT $1) AS p, unnest(p.numbers) AS number""",
        entries,
    )
    return [row["number"] for row in rows]


async def seal(
    connection: Connection, size: int, *, entries: int, keyed: Mapping[bytes, bytes], key_id: str
) -> list[bytes]:
    """Give positions from `size` on to the oldest `entries` that wait, and their commit's rest; return the leaves.

    `keyed` has what stands in an entry for the SHA-256 of a certificate's number, under the key `key_id`; an entry of a
    number that is not in it waits for the next time.
    """
    hashes = await connection.fetchval(_SEAL, size, entries, list(keyed), list(keyed.values()), key_id) or b""
    return [hashes[i : i + _HASH_BYTES] for i in range(0, len(hashes), _HASH_BYTES)]


async def checkpoint(connection: Connection, size: int) -> Signed | None:
    """Return the checkpoint of a size, None where there is none."""
    row = await connection.fetchrow("SELECT size, root, at, key_id, jws FROM journal_checkpoints WHERE size = $1", size)
    return Signed(*row) if row else None


async def end(connection: Connection) -> int:
    """Return the position behind the last sealed entry, under a checkpoint or not."""
    position: int = await connection.fetchval("SELECT coalesce(max(position) + 1, 0) FROM journal")
    return position


async def keep_checkpoint(connection: Connection, signed: Signed) -> None:
    """Keep a checkpoint."""
    await connection.execute(
        "INSERT INTO journal_checkpoints (size, root, at, key_id, jws) VALUES ($1, $2, $3, $4, $5)",
        signed.size,
        signed.root,
        signed.at,
        signed.key_id,
        signed.jws,
    )


async def tiles(connection: Connection, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the tiles (level, number) that are there."""
    wanted = list(keys)
    rows = await connection.fetch(
        """SELECT t.level, t.number, t.hashes FROM unnest($1::smallint[], $2::bigint[]) AS k (level, number)
           JOIN journal_tiles t USING (level, number)""",
        [level for level, _ in wanted],
        [number for _, number in wanted],
    )
    return {(r["level"], r["number"]): r["hashes"] for r in rows}


async def keep_tiles(connection: Connection, grown: Mapping[tuple[int, int], bytes]) -> None:
    """Keep tiles that are new or have grown."""
    await connection.execute(
        """INSERT INTO journal_tiles (level, number, hashes)
           SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])
           ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes""",
        [level for level, _ in grown],
        [number for _, number in grown],
        list(grown.values()),
    )


async def waiting(database: Database) -> tuple[int, float, int, float]:
    """Return how many entries are not sealed, the oldest one's age, the journal's size, its checkpoint's age (s)."""
    row = await database.fetchrow(
        """SELECT coalesce(sum(cardinality(digests)), 0)::bigint,
                  coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float,
                  coalesce((SELECT max(size) FROM journal_checkpoints), 0),
                  coalesce(extract(epoch FROM clock_timestamp()
                      - (SELECT at FROM journal_checkpoints ORDER BY size DESC LIMIT 1)), 0)::float
           FROM journal_pending"""
    )
    return (row[0], row[1], row[2], row[3]) if row else (0, 0.0, 0, 0.0)


# ----------------------------------------------------------------------------------------------------------- reading


async def about(connection: Connection, digest: bytes, *, facility: str | None) -> list[Found]:
    """Return the sealed entries that speak of a digest, oldest first; of one facility, or of all (None)."""
    rows = await connection.fetch(
        """SELECT position, facility, entry FROM journal
           WHERE digest = $1 AND ($2::text IS NULL OR facility = $2) ORDER BY position LIMIT 100""",
        digest,
        facility,
    )
    return [Found(*row) for row in rows]


async def on_its_way(connection: Connection, digest: bytes, *, facility: str | None) -> bool:
    """Tell whether an entry about a digest is made and not sealed yet."""
    there: bool = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM journal_pending p, unnest(p.digests, p.facilities) AS e (digest, facility)
                          WHERE e.digest = $1 AND ($2::text IS NULL OR e.facility = $2))""",
        digest,
        facility,
    )
    return there


async def page(connection: Connection, first: int, limit: int) -> list[Found]:
    """Return up to `limit` sealed entries from a position on."""
    rows = await connection.fetch(
        "SELECT position, facility, entry FROM journal WHERE position >= $1 AND position < $1 + $2 ORDER BY position",
        first,
        limit,
    )
    return [Found(*row) for row in rows]


async def scopes(connection: Connection, births: Iterable[str]) -> dict[str, asyncpg.Record]:
    """Return facility, office and restriction of births, by id, for whoever decides what a token sees."""
    rows = await connection.fetch(
        "SELECT id, facility, office, restricted FROM births WHERE id = ANY($1::uuid[])", list(births)
    )
    return {str(row["id"]): row for row in rows}


async def senders(connection: Connection, digest: bytes, birth_id: uuid.UUID) -> set[str]:
    """Return the facilities whose message of this digest was about a birth: a message's entry names no birth."""
    rows = await connection.fetch("SELECT facility FROM messages WHERE birth_id = $1 AND digest = $2", birth_id, digest)
    return {row["facility"] for row in rows}


async def everything(connection: Connection, *, upto: int) -> AsyncIterator[Found | Signed]:
    """Yield entries and checkpoints in the order in which they were made, up to a size."""
    position = size = 0
    following: list[Signed] = []
    while position < upto:
        if not following:
            rows = await connection.fetch(
                """SELECT size, root, at, key_id, jws FROM journal_checkpoints
                   WHERE size > $1 AND size <= $2 ORDER BY size LIMIT $3""",
                size,
                upto,
                _PAGE,
            )
            following = [Signed(*row) for row in rows[::-1]]
            size = following[0].size if following else upto
        entries = await page(connection, position, _PAGE)
        for entry in entries:
            yield entry
            position = entry.position + 1
            while following and following[-1].size <= position:
                yield following.pop()
            if not following and size < upto:
                break
        if not entries:
            return


async def note_branch(connection: Connection, *, actor: str, size: int, reason: str) -> None:
    """Write down that a person goes on from this journal: an entry `restored`, and who said so.

    What the database has may be behind the registry, as after a restore: it is asked first.
    """
    await go_on_behind(connection)
    await connection.execute(
        """INSERT INTO restores (backup_at)
           SELECT coalesce((SELECT max(at) FROM journal_checkpoints), now())"""
    )
    await connection.execute(
        "INSERT INTO operator_acts (actor, act, subject, reason) VALUES ($1, 'evidence.accept', $2, $3)",
        actor,
        f"journal of {size} entries",
        reason,
    )

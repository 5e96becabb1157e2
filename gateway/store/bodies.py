"""Bodies against what was committed to: the rows whose bytes, or whose told digests, are not those of the journal.

PostgreSQL hashes, page by page along each table's key, and only rows that do not fit come back: a million rows are read
in bounded memory. What retention or an erasure removed is counted, not hashed: their digests are compared instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from gateway.store.database import Connection

PAGE = 2000  # rows hashed in one statement
_LONG_S = 3600.0  # a page of the largest scans there may be
KEPT_DAYS = 90  # retention removes nothing younger

# Read out of an entry's text, which may have been changed into anything: a cast of the whole could end the check.
_BIRTH = """substring(entry FROM '"birth":"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"')::uuid"""
_REVISION = """substring(entry FROM '"revision":([0-9]{1,9})')::int"""
_AT = """substring(entry FROM '"at":"(20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9:.]{5,15}Z)"')::timestamptz"""

# What an entry must say of a message; the rest of an entry (when, by which order) is the journal's own.
_MESSAGES = """
SELECT m.id, m.facility, m.digest, m.culled_at IS NOT NULL AS removed,
       m.culled_at - m.received_at < $3 * interval '1 day' AS young,
       sha256(m.raw) = m.digest AS whole,
       encode(sha256(m.answer), 'hex') AS answer, m.answer_code::text AS answer_code,
       encode(sha256(m.application_answer), 'hex') AS application_answer,
       to_char(m.received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
FROM messages m
WHERE m.id > $1 AND m.id <= $2
"""
_MESSAGES_ODD = f"""
WITH page AS ({_MESSAGES}), fits AS (
    SELECT page.*, EXISTS (
        SELECT FROM journal j WHERE j.digest = page.digest AND j.facility = page.facility
        AND position('"kind":"message"' IN j.entry) > 0
        AND position('"answer":"' || page.answer || '"' IN j.entry) > 0
        AND position('"answer_code":' || to_json(page.answer_code)::text IN j.entry) > 0
        AND coalesce(position('"application_answer":"' || page.application_answer || '"' IN j.entry) > 0,
                     position('"application_answer"' IN j.entry) = 0)
        AND (page.removed OR position('"at":"' || page.at || '"' IN j.entry) > 0)) AS told
    FROM page
)
SELECT *, EXISTS (SELECT FROM journal_pending p, unnest(p.digests, p.facilities, p.answers) AS e (digest, of, answer)
                  WHERE p.kind = 'message' AND e.digest = fits.digest AND e.of = fits.facility
                  AND encode(e.answer, 'hex') = fits.answer) AS waits
FROM fits WHERE NOT told OR NOT removed AND NOT whole OR removed AND young
ORDER BY id
"""  # noqa: S608 - constant text
_SEALS = """
SELECT s.birth_id, s.revision, s.payload = ''::bytea AS removed, b.culled_at IS NULL AS young,
       encode(sha256(s.payload), 'hex') = s.sha256 AS whole,
       EXISTS (SELECT FROM journal j WHERE j.digest = decode(substring(s.sha256 FROM '^[0-9a-f]{64}$'), 'hex')
               AND position('"kind":"sealed"' IN j.entry) > 0
               AND position('"birth":"' || s.birth_id || '"' IN j.entry) > 0
               AND position('"revision":' || s.revision || ',' IN j.entry) > 0) AS told,
       EXISTS (SELECT FROM journal_pending p WHERE p.kind = 'sealed'
               AND decode(substring(s.sha256 FROM '^[0-9a-f]{64}$'), 'hex') = ANY (p.digests)) AS waits,
       s.sealed_at <= (SELECT begun_at FROM journal_log) AS before
FROM seals s JOIN births b ON b.id = s.birth_id
WHERE (s.birth_id, s.revision) > ($1, $2) ORDER BY s.birth_id, s.revision LIMIT $3
"""
_CERTIFICATES = """
SELECT c.birth_id, c.settled_at, c.number, c.revision, c.sha256, c.document IS NULL AS removed,
       encode(sha256(c.document), 'hex') = c.sha256 AS whole, b.culled_at IS NULL AS young,
       c.settled_at <= (SELECT begun_at FROM journal_log) AS before,
       ARRAY(SELECT j.entry FROM journal j WHERE j.digest = decode(substring(c.sha256 FROM '^[0-9a-f]{64}$'), 'hex')
             AND position('"kind":"issued"' IN j.entry) > 0
             AND position('"birth":"' || c.birth_id || '"' IN j.entry) > 0 ORDER BY j.position LIMIT 100) AS entries,
       EXISTS (SELECT FROM journal_pending p WHERE p.kind = 'issued' AND c.birth_id = ANY (p.births)) AS waits
FROM TABLE_ c JOIN births b ON b.id = c.birth_id
WHERE (c.birth_id, c.settled_at) > ($1, $2) AND c.sha256 ~ '^[0-9a-f]{64}$'
ORDER BY c.birth_id, c.settled_at LIMIT $3
"""
# An office that keeps the file told the numbers alone: its entries have no digest to be found by.
_NUMBERS_ALONE = f"""
WITH told AS (
    SELECT {_BIRTH} AS birth, entry FROM journal
    WHERE digest IS NULL AND position('"kind":"issued"' IN entry) > 0
)
SELECT c.birth_id, c.settled_at, c.number, c.revision, c.sha256, true AS removed, NULL::bool AS whole, false AS young,
       c.settled_at <= (SELECT begun_at FROM journal_log) AS before,
       ARRAY(SELECT t.entry FROM told t WHERE t.birth = c.birth_id) AS entries,
       EXISTS (SELECT FROM journal_pending p WHERE p.kind = 'issued' AND c.birth_id = ANY (p.births)) AS waits
FROM TABLE_ c WHERE c.sha256 !~ '^[0-9a-f]{{64}}$'
"""  # noqa: S608 - constant text
_ATTACHMENTS = """
SELECT a.id, a.birth_id, a.content IS NULL AS removed, a.pointer = '' AS here, a.size,
       b.culled_at IS NULL AS young, a.kept_at > $3::timestamptz AS late,
       encode(sha256(a.content), 'hex') = a.sha256 AND octet_length(a.content) = a.size AS whole,
       EXISTS (SELECT FROM journal j WHERE j.digest = sha256(a.content)
               AND position('"kind":"scan"' IN j.entry) > 0) AS known,
       EXISTS (SELECT FROM journal j WHERE j.digest = decode(substring(a.sha256 FROM '^[0-9a-f]{64}$'), 'hex')
               AND position('"kind":"scan"' IN j.entry) > 0) AS told,
       EXISTS (SELECT FROM journal_pending p WHERE p.kind = 'scan'
               AND decode(substring(a.sha256 FROM '^[0-9a-f]{64}$'), 'hex') = ANY (p.digests)) AS waits
FROM attachments a JOIN births b ON b.id = a.birth_id
WHERE a.id > $1 AND a.id <= $2 AND (a.sha256 <> '' OR a.content IS NOT NULL) ORDER BY a.id
"""
_GONE = {
    "messages": """
        SELECT j.position, encode(j.digest, 'hex') AS what FROM journal j
        WHERE position('"kind":"message"' IN j.entry) > 0
          AND NOT EXISTS (SELECT FROM messages m WHERE m.digest = j.digest AND m.facility = j.facility)""",
    "seals": f"""
        SELECT s.position, s.birth || '/' || s.revision AS what FROM (
            SELECT position, {_BIRTH} AS birth, {_REVISION} AS revision
            FROM journal WHERE position('"kind":"sealed"' IN entry) > 0) AS s
        WHERE NOT EXISTS (SELECT FROM seals k WHERE k.birth_id = s.birth AND k.revision = s.revision)""",  # noqa: S608 - constant text
    "certificates": f"""
        SELECT s.position, s.birth::text AS what FROM (
            SELECT position, {_BIRTH} AS birth, coalesce(encode(digest, 'hex'), '') AS sha256
            FROM journal WHERE position('"kind":"issued"' IN entry) > 0) AS s
        WHERE NOT EXISTS (SELECT FROM certificates c WHERE c.birth_id = s.birth AND s.sha256 IN (c.sha256, ''))
          AND NOT EXISTS (
            SELECT FROM earlier_certificates c WHERE c.birth_id = s.birth AND s.sha256 IN (c.sha256, ''))""",  # noqa: S608 - constant text
    "attachments": """
        SELECT j.position, encode(j.digest, 'hex') AS what FROM journal j
        WHERE position('"kind":"scan"' IN j.entry) > 0
          AND NOT EXISTS (SELECT FROM attachments a WHERE a.sha256 = encode(j.digest, 'hex'))""",
}
GONE = tuple(_GONE)


async def span(connection: Connection, table: str) -> tuple[int, int]:
    """Return the id before the first one to be looked at, and the last: of `messages` or `attachments`."""
    first = "(SELECT after_message FROM journal_log)" if table == "messages" else "0"
    row = await connection.fetchrow(f"SELECT {first} AS first, coalesce(max(id), 0) AS last FROM {table}")  # noqa: S608
    return (row["first"], row["last"]) if row else (0, 0)


async def removed_messages(connection: Connection) -> int:
    """Count the messages whose bodies retention removed."""
    count: int = await connection.fetchval("SELECT count(*) FROM messages WHERE culled_at IS NOT NULL", timeout=_LONG_S)
    return count


async def odd_messages(connection: Connection, after: int, upto: int) -> list[asyncpg.Record]:
    """Return the messages behind one id, up to another, that do not fit the journal."""
    return await connection.fetch(_MESSAGES_ODD, after, upto, KEPT_DAYS, timeout=_LONG_S)


async def entries_about(connection: Connection, row: asyncpg.Record) -> list[asyncpg.Record]:
    """Return what the journal has about a message's digest and facility, or about its answer where it has nothing."""
    return await connection.fetch(
        "SELECT position, entry FROM journal WHERE digest = $1 AND facility = $2 ORDER BY position LIMIT 100",
        row["digest"],
        row["facility"],
    )


async def digest_known(connection: Connection, table: str, key: int) -> int | None:
    """Return the position of an entry about the bytes that lie in a message now, None where there is none."""
    position: int | None = await connection.fetchval(
        f"""SELECT position FROM journal WHERE digest = (SELECT sha256(raw) FROM {table} WHERE id = $1) LIMIT 1""",  # noqa: S608
        key,
    )
    return position


async def seals(connection: Connection) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield all sealed records, a page at a time."""
    key = ("00000000-0000-0000-0000-000000000000", -1)
    while rows := await connection.fetch(_SEALS, *key, PAGE, timeout=_LONG_S):
        yield rows
        key = (rows[-1]["birth_id"], rows[-1]["revision"])


async def certificates(connection: Connection, table: str) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield all certificates, or those that corrections replaced, a page at a time."""
    smallest = await connection.fetchval("SELECT '-infinity'::timestamptz")
    key = ("00000000-0000-0000-0000-000000000000", smallest)
    while rows := await connection.fetch(_CERTIFICATES.replace("TABLE_", table), *key, PAGE, timeout=_LONG_S):
        yield rows
        key = (rows[-1]["birth_id"], rows[-1]["settled_at"])
    rows = []
    async for row in connection.cursor(_NUMBERS_ALONE.replace("TABLE_", table), prefetch=PAGE, timeout=_LONG_S):
        rows.append(row)
        if len(rows) == PAGE:
            yield rows
            rows = []
    yield rows


async def scans_begin(connection: Connection) -> object:
    """Return since when scans have entries of their own, None where none has."""
    at: object = await connection.fetchval(
        f"""SELECT min({_AT}) FROM journal WHERE position('"kind":"scan"' IN entry) > 0""",  # noqa: S608 - constant
        timeout=_LONG_S,
    )
    return at


async def attachments(connection: Connection, after: int, upto: int, *, since: object) -> list[asyncpg.Record]:
    """Return the scans behind one id, up to another."""
    return await connection.fetch(_ATTACHMENTS, after, upto, since, timeout=_LONG_S)


async def gone(connection: Connection, table: str, *, most: int) -> tuple[int, list[asyncpg.Record]]:
    """Return how many entries speak of what is not in a table any more, and the first of them."""
    sql = _GONE[table]
    count: int = await connection.fetchval(f"SELECT count(*) FROM ({sql}) AS g", timeout=_LONG_S)  # noqa: S608
    if not count:
        return 0, []
    rows = await connection.fetch(f"{sql} ORDER BY position LIMIT $1", most, timeout=_LONG_S)
    return count, rows

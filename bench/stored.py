"""Births a second with many messages stored already, beside an empty database on the same server.

The store is filled by PostgreSQL itself, in the real tables with their real indexes: each message is the load client's
birth, assigned to a birth of its own, as it is after its journey. Loading skips foreign keys and waits for no disk;
then comes VACUUM ANALYZE and a checkpoint, and the measurement runs with everything on. Rounds of both databases are
interleaved. The disk is looked at first; what was loaded is dropped afterwards.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import intake
import mllp_load

from gateway.store.embedded import DATABASE, ROLE
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from servers import Workshop

CONNECTIONS = 64
CHUNK = 50_000
BYTES_A_MESSAGE = 3_700  # its row, the birth's, and all indexes, measured
SPARE_BYTES = 12 * 2**30  # write-ahead log, the measurement's own messages, and room to breathe
FACILITY = "RSU CEMPAKA CONTOH"
_MEASURED = 10**12  # the measurement's own messages get numbers behind all that will be stored

# $1 message with the mark @ID@ for its own number, $2 and $3 the numbers to make.
_BIRTHS = """
INSERT INTO births (id, facility, medical_record, state, revision, record, first_message_id, received_at, born_at,
                    deadline)
SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, 'B' || lpad(n::text, 15, '0'), 'DELIVERED',
       1, '{}', n, now(), now(), current_date
FROM generate_series($2::bigint, $3::bigint) AS n
"""
_MESSAGES = """
INSERT INTO messages (id, facility, application, control_id, event, peer, raw, digest, content_digest, answer,
                      answer_code, effect, medical_record, findings, birth_id, assigned_at)
OVERRIDING SYSTEM VALUE
SELECT n, $1, 'SIMRS', id, 'ADT^A01', '127.0.0.1', raw, sha256(raw), sha256(raw), $5, 'AA', 'open', id, '[]',
       ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, now()
FROM (SELECT n, 'B' || lpad(n::text, 15, '0') AS id,
             convert_to(replace($4::text, '@ID@', 'B' || lpad(n::text, 15, '0')), 'UTF8') AS raw
      FROM generate_series($2::bigint, $3::bigint) AS n) AS made
"""
_ANSWER = (b"MSH|^~\\&|AKTAGW|DISDUKCAPIL 3510^3510^L|SIMRS|RSU CEMPAKA CONTOH|20261124091800+0700||ACK^A01^ACK|"
           b"GW0000000000000000000|P|2.5|||||IDN|UNICODE UTF-8\rMSA|AA|B000000000000000\r")  # fmt: skip


async def measure(shop: Workshop, *, sizes: list[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return a row a size. Sizes for which the disk has no room are left out, and said."""
    rows = []
    async with _databases(shop, "bench_empty", "bench_full") as (empty, full):
        stored = 0
        for size in sorted(sizes):
            needed = (size - stored) * BYTES_A_MESSAGE + SPARE_BYTES
            free = shutil.disk_usage(shop.directory).free
            if free < needed:
                rows.append({"stored": size, "left_out": f"needs {needed / 2**30:.0f} GiB, {free / 2**30:.0f} free"})
                continue
            began = time.monotonic()
            await _fill(shop, full, stored + 1, size)
            stored = size
            print(f"{size:,} messages stored in {time.monotonic() - began:.0f} s", flush=True)
            rows.append(await _beside(shop, empty, full, size, rounds=rounds, seconds=seconds))
    return rows


async def _beside(shop: Workshop, empty: str, full: str, size: int, *, rounds: int, seconds: float) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {empty: [], full: []}
    for number in range(rounds):
        for dsn in (empty, full) if number % 2 else (full, empty):  # neither is always the first
            async with shop.gateway(1, workers=0, dsn=dsn) as running:
                found[dsn].append(await intake.load(shop, running, CONNECTIONS, seconds))
    without, within = (intake.row(name, CONNECTIONS, found[dsn]) for name, dsn in (("empty", empty), ("full", full)))
    ratios = [b["acks_s"] / max(1.0, a["acks_s"]) for a, b in zip(found[empty], found[full], strict=True)]
    return {
        "stored": size,
        "bytes": await _bytes(full),
        "rounds": rounds,
        "empty_births_s": without["births_s"],
        "births_s": within["births_s"],
        "births_s_min": within["births_s_min"],
        "births_s_max": within["births_s_max"],
        "p99_ms": within["p99_ms"],
        "empty_p99_ms": without["p99_ms"],
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "bad": without["bad"] + within["bad"],
        "lost": without["lost"] + within["lost"],
    }


class _databases:  # noqa: N801 - used as a function
    """Two migrated databases beside the workshop's own, dropped afterwards."""

    def __init__(self, shop: Workshop, *names: str) -> None:
        self._shop = shop
        self._names = names

    async def __aenter__(self) -> tuple[str, ...]:
        for name in self._names:
            await _as_superuser(self._shop, f"CREATE DATABASE {name} OWNER {ROLE}")
            connection = await asyncpg.connect(_dsn(self._shop, name))
            await migrate(connection)
            await connection.close()
        return tuple(_dsn(self._shop, name) for name in self._names)

    async def __aexit__(self, *_: object) -> None:
        for name in self._names:
            await _as_superuser(self._shop, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await _as_superuser(self._shop, "CHECKPOINT")


async def _fill(shop: Workshop, dsn: str, first: int, last: int) -> None:
    """Put messages `first` to `last` and their births into the store."""
    ((_, framed),) = itertools.islice(mllp_load.births("@ID@-"), 1)
    message = framed[1:-2].decode().replace("@ID@-000000000", "@ID@")
    superuser = shop.server.superuser_dsn.replace("/postgres?", "/bench_full?")
    connection = await asyncpg.connect(superuser)
    try:
        await connection.execute("SET synchronous_commit = off; SET session_replication_role = replica")
        for at in range(first, last + 1, CHUNK):
            end = min(last, at + CHUNK - 1)
            await connection.execute(_BIRTHS, FACILITY, at, end)
            await connection.execute(_MESSAGES, FACILITY, at, end, message, _ANSWER)
        await connection.execute("SELECT setval(pg_get_serial_sequence('messages', 'id'), $1::bigint)", _MEASURED)
        await connection.execute("VACUUM (ANALYZE) messages")
        await connection.execute("VACUUM (ANALYZE) births")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    assert dsn.partition("?")[0].endswith("bench_full")  # noqa: S101 - the database that was filled is the one measured


async def _bytes(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT pg_database_size(current_database())"))
    finally:
        await connection.close()


async def _as_superuser(shop: Workshop, statement: str) -> None:
    connection = await asyncpg.connect(shop.server.superuser_dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _dsn(shop: Workshop, name: str) -> str:
    return shop.dsn.replace(f"@/{DATABASE}?", f"@/{name}?")

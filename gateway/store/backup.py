"""Everything in the database as one stream, of one moment; and back into an empty one.

COPY in one REPEATABLE READ snapshot instead of pg_dump: it works over the same (TLS) connection as the gateway, on any
supported server, without a file in clear. The stream is zlib over entries:

    one line of JSON, {"entry": "head" | "table" | "file" | "end" | "signature", ...}
    then blocks: 4 bytes length, big-endian, and so many bytes; a length of 0 ends the entry

The signature is over the SHA-256 of all before it. A reader trusts nothing it reads: tables are those of its own
schema, each once; lines, blocks, files and what a stream unpacks to have caps.

What is restored may be behind the registry: births without a certificate are marked, so that the registry is asked
about them before anything is sent (`births.ask_first`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from gateway.errors import ConfigError, StoreUnavailableError
from gateway.store.database import UNAVAILABLE, as_unavailable, prepare_connection
from gateway.store.marks import go_on_behind
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

FORMAT = 2  # 1: without a signature
_FORMATS = (1, 2)
_BLOCK = 1024 * 1024
_LONGEST_LINE = 1024 * 1024
_LARGEST_BLOCK = {1: 2**30 + 2**20, 2: _BLOCK}  # in format 1 a row came as it was, a gigabyte at most
_MOST_FILES, _LARGEST_FILE = 1000, 64 * 1024
_MOST_TIMES, _FREE_BYTES = 250, 64 * 1024 * 1024  # what a stream may unpack to: so many times its size, beyond that
_HOLD_DATA = ("messages", "births", "quarantine", "outbound", "tokens")

_TABLES = """
SELECT c.relname AS name, array_agg(a.attname ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname <> 'schema_migrations'
  AND a.attgenerated = ''
GROUP BY c.relname ORDER BY c.relname
"""
_REFERENCES = """
SELECT con.conname AS name, con.conrelid::regclass::text AS of, pg_get_constraintdef(con.oid) AS definition
FROM pg_constraint con
WHERE con.contype = 'f' AND con.connamespace = current_schema()::regnamespace AND con.conparentid = 0
"""
_SEQUENCES = """
SELECT c.relname AS of, a.attname AS column FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attidentity <> ''
"""


@dataclass(slots=True)
class Summary:
    """What a backup holds."""

    made_at: str = ""
    schema: str = ""  # its newest migration
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    sha256: str = ""  # of all but the signature
    signature: str = ""  # compact JWS; "" where there is none

    @property
    def births(self) -> int:
        """How many births it holds."""
        return self.rows.get("births", 0)


class ArchiveWriter:
    """Entries into a compressed stream."""

    def __init__(self, out: Callable[[bytes], None]) -> None:
        self._out = out
        self._deflate = zlib.compressobj(6)
        self._hash = hashlib.sha256()

    def begin(self, entry: str, **about: Any) -> None:  # noqa: ANN401 - JSON
        """Begin an entry."""
        self._put(json.dumps({"entry": entry, **about}, separators=(",", ":")).encode() + b"\n")

    def block(self, data: bytes) -> None:
        """Add bytes to the entry."""
        for first in range(0, len(data), _BLOCK):
            part = data[first : first + _BLOCK]
            self._put(len(part).to_bytes(4) + part)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all so far, in hex."""
        return self._hash.hexdigest()

    def end(self) -> None:
        """End the entry."""
        self._put(bytes(4))

    def close(self) -> None:
        """End the stream."""
        self._out(self._deflate.flush())

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        if packed := self._deflate.compress(data):
            self._out(packed)


class ArchiveReader:
    """Entries out of a compressed stream. Each entry's blocks must be read before the next one."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._inflate = zlib.decompressobj()
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._packed = self._unpacked = 0
        self.largest_block = _LARGEST_BLOCK[FORMAT]

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that was read so far, in hex."""
        return self._hash.hexdigest()

    def entry(self) -> dict[str, Any]:
        """Return the next entry's line. Raises ConfigError where the stream is not one of ours."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_LINE or not self._fill():
                raise ConfigError("the backup ends too early, or is of another format")
        line = self._taken(end + 1)
        try:
            about = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError("the backup is of another format") from error
        if not isinstance(about, dict) or not isinstance(about.get("entry"), str):
            raise ConfigError("the backup is of another format")
        return about

    def blocks(self) -> Iterator[bytes]:
        """Yield the entry's blocks. Raises ConfigError where the stream is not one of ours."""
        while size := int.from_bytes(self._take(4)):
            if size > self.largest_block:
                raise ConfigError("the backup was changed: no block of ours is that large")
            yield self._take(size)

    def whole(self, most: int) -> bytes:
        """Return all blocks of a small entry. Raises ConfigError where there is more than `most` bytes."""
        content = bytearray()
        for block in self.blocks():
            content += block
            if len(content) > most:
                raise ConfigError(f"the backup was changed: it holds a file of more than {most} bytes")
        return bytes(content)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._fill():
                raise ConfigError("the backup ends too early")
        return self._taken(size)

    def _taken(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._hash.update(data)
        return data

    def _fill(self) -> bool:
        try:
            return self._filled()
        except zlib.error as error:
            raise ConfigError("the backup is of another format: what is in it is not compressed as ours is") from error

    def _filled(self) -> bool:
        if self._inflate.unconsumed_tail:
            self._add(self._inflate.decompress(self._inflate.unconsumed_tail, _BLOCK))
            return True
        for chunk in self._chunks:
            self._packed += len(chunk)
            self._add(self._inflate.decompress(chunk, _BLOCK))
            return True
        rest = self._inflate.flush()
        self._add(rest)
        return bool(rest)

    def _add(self, data: bytes) -> None:
        self._buffer += data
        self._unpacked += len(data)
        if self._unpacked > _FREE_BYTES + _MOST_TIMES * self._packed:
            raise ConfigError(
                f"the backup unpacks to more than {_MOST_TIMES} times its size, which none of ours does; "
                "it was made to fill the disk, and nothing of it was restored"
            )


async def connect_for_long(dsn: str, *, timeout_s: float) -> asyncpg.Connection:
    """Open a connection whose statements may take as long as they need. Raises StoreUnavailableError."""
    try:
        connection = await asyncpg.connect(
            dsn, timeout=timeout_s, server_settings={"application_name": "procot backup"}
        )
        await prepare_connection(connection)
    except UNAVAILABLE as error:
        raise as_unavailable(error) from error
    return connection


# ---------------------------------------------------------------------------------------------------------- backup


async def dump(
    connection: asyncpg.Connection, archive: ArchiveWriter, files: dict[str, bytes], sign: Callable[[Summary, int], str]
) -> Summary:
    """Write all tables as they are at one moment, and the files. Senders and workers are not held up.

    `sign` gets what was written and how many entries its journal has, and returns the signature to put behind it.
    Raises StoreUnavailableError.
    """
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _dump(connection, archive, files, sign)
    except UNAVAILABLE as error:
        raise as_unavailable(error) from error


async def _dump(
    connection: asyncpg.Connection, archive: ArchiveWriter, files: dict[str, bytes], sign: Callable[[Summary, int], str]
) -> Summary:
    migrations = await connection.fetch(
        "SELECT version, name, sha256, now() AS at FROM schema_migrations ORDER BY version"
    )
    if not migrations:
        raise ConfigError("there is nothing to back up: the database has no schema yet")
    known = [[m["version"], m["name"], m["sha256"].hex()] for m in migrations]
    summary = Summary(migrations[0]["at"].isoformat(), migrations[-1]["name"], files=len(files))
    archive.begin("head", format=FORMAT, made_at=summary.made_at, migrations=known)
    archive.end()
    for table in await connection.fetch(_TABLES):
        summary.rows[table["name"]] = await _dump_table(connection, archive, table)
    for name, content in sorted(files.items()):
        archive.begin("file", name=name)
        archive.block(content)
        archive.end()
    archive.begin("end", rows=summary.rows, files=len(files))
    archive.end()
    summary.sha256 = archive.sha256
    summary.signature = sign(summary, await _entries(connection))
    archive.begin("signature", jws=summary.signature)
    archive.end()
    archive.close()
    return summary


async def _entries(connection: asyncpg.Connection) -> int:
    """Return how many entries the journal has under a checkpoint, 0 where there is no journal."""
    if not await connection.fetchval("SELECT to_regclass('journal_checkpoints') IS NOT NULL"):
        return 0
    size: int = await connection.fetchval("SELECT coalesce(max(size), 0) FROM journal_checkpoints")
    return size


async def _dump_table(connection: asyncpg.Connection, archive: ArchiveWriter, table: asyncpg.Record) -> int:
    async def take(data: bytes) -> None:
        archive.block(data)

    archive.begin("table", name=table["name"], columns=table["columns"])
    status = await connection.copy_from_table(table["name"], columns=table["columns"], output=take)
    archive.end()
    return int(status.split()[-1])


# --------------------------------------------------------------------------------------------------------- restore


def check(archive: ArchiveReader) -> tuple[Summary, dict[str, bytes]]:
    """Read a backup to its end without writing anything; returns what it holds and its files. Raises ConfigError.

    Whether its signature is right is for the caller to find out.
    """
    head = _head(archive)
    summary, files = _summary(head), dict[str, bytes]()
    while (about := archive.entry())["entry"] != "end":
        if about["entry"] == "file":
            files[str(about.get("name"))] = archive.whole(_LARGEST_FILE)
            if len(files) > _MOST_FILES:
                raise ConfigError(f"the backup was changed: it holds more than {_MOST_FILES} files")
        else:
            for _ in archive.blocks():
                pass
    _end(archive, about, summary, head)
    summary.rows, summary.files = about["rows"], len(files)
    return summary, files


def _end(archive: ArchiveReader, about: dict[str, Any], summary: Summary, head: dict[str, Any]) -> None:
    """Read what closes a backup: how many rows there are, and the signature over all before it."""
    rows = about.get("rows")
    if not isinstance(rows, dict) or not all(isinstance(n, int) for n in rows.values()) or any(archive.blocks()):
        raise ConfigError("the backup is of another format")
    summary.sha256 = archive.sha256
    if head["format"] == 1:
        return
    signature = archive.entry()
    if signature["entry"] != "signature" or not isinstance(signature.get("jws"), str) or any(archive.blocks()):
        raise ConfigError("the backup was changed: its signature was taken away")
    summary.signature = signature["jws"]


def _head(archive: ArchiveReader) -> dict[str, Any]:
    head = archive.entry()
    known = head.get("migrations")
    good = isinstance(known, list) and known and all(_is_migration(one) for one in known)
    if head["entry"] != "head" or head.get("format") not in _FORMATS or not good:
        raise ConfigError("the backup is of another format; restore it with the Procot that made it")
    try:
        dt.datetime.fromisoformat(head["made_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError("the backup was changed: it does not say when it was made") from error
    archive.largest_block = _LARGEST_BLOCK[head["format"]]
    for _ in archive.blocks():
        pass
    return head


def _is_migration(said: Any) -> bool:  # noqa: ANN401 - JSON
    match said:
        case [int(), str(), str()]:
            return True
    return False


def _summary(head: dict[str, Any]) -> Summary:
    return Summary(head["made_at"], head["migrations"][-1][1])


async def must_be_empty(connection: asyncpg.Connection) -> None:
    """Raise ConfigError unless nothing of ours, and nothing of others, lies in the database."""
    names = {row["name"] for row in await connection.fetch(_TABLES)}
    if names and not await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        raise ConfigError("the database holds tables that are not Procot's; restore into an empty database")
    for name in _HOLD_DATA:
        if name in names and await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):  # noqa: S608 - ours
            raise ConfigError(f"the database is not empty ({name} has rows); restore into an empty one")


async def load(connection: asyncpg.Connection, archive: ArchiveReader, *, sha256: str) -> Summary:
    """Fill an empty database: the backup's schema, all rows in one transaction, then this code's schema.

    `sha256` is what was checked: a file that is another one by now is not kept. A kill leaves an empty database, or a
    whole one. Raises ConfigError, StoreUnavailableError.
    """
    try:
        await must_be_empty(connection)
        head = _head(archive)
        newest = head["migrations"][-1]
        await migrate(connection, upto=newest[0])
        await _same_schema(connection, head["migrations"])
        async with connection.transaction():
            summary = await _load(connection, archive, head, sha256)
        await migrate(connection)
    except UNAVAILABLE as error:
        raise as_unavailable(error) from error
    except asyncpg.PostgresError as error:  # its own words may quote a row
        raise StoreUnavailableError(
            f"the backup cannot be restored here (SQLSTATE {error.sqlstate}, {type(error).__name__}); nothing was kept"
        ) from error
    return summary


async def _same_schema(connection: asyncpg.Connection, known: list[list[Any]]) -> None:
    rows = await connection.fetch("SELECT version, sha256 FROM schema_migrations ORDER BY version")
    here = {row["version"]: row["sha256"].hex() for row in rows}
    there = {version: digest for version, _, digest in known}
    if here != there:
        raise ConfigError(
            f"the backup's schema ends with {known[-1][1]}, which this Procot does not have in this form; "
            "restore it with the version that made it, or a newer one, into an empty database"
        )


async def _load(connection: asyncpg.Connection, archive: ArchiveReader, head: dict[str, Any], sha256: str) -> Summary:
    tables = {row["name"]: set(row["columns"]) for row in await connection.fetch(_TABLES)}
    references = await connection.fetch(_REFERENCES)
    for reference in references:
        await connection.execute(f'ALTER TABLE {reference["of"]} DROP CONSTRAINT "{reference["name"]}"')
    for name in tables:
        await connection.execute(f'ALTER TABLE "{name}" DISABLE TRIGGER USER')
    await connection.execute("TRUNCATE " + ", ".join(f'"{name}"' for name in tables))
    summary = _summary(head)
    while (about := archive.entry())["entry"] != "end":
        if about["entry"] == "table":
            _must_be_ours(about, tables, summary.rows)
            summary.rows[about["name"]] = await _load_table(connection, archive, about)
        else:
            summary.files += sum(1 for _ in archive.blocks())
    _end(archive, about, summary, head)
    if summary.rows != about["rows"]:
        raise ConfigError("the backup does not hold the rows it says it holds")
    if summary.sha256 != sha256:
        raise ConfigError("the backup was changed while it was restored; nothing was kept")
    for name in tables:
        await connection.execute(f'ALTER TABLE "{name}" ENABLE TRIGGER USER')
    for reference in references:
        await connection.execute(
            f'ALTER TABLE {reference["of"]} ADD CONSTRAINT "{reference["name"]}" {reference["definition"]}'
        )
    await _go_on(connection, head)
    return summary


def _must_be_ours(about: dict[str, Any], tables: dict[str, set[str]], loaded: dict[str, int]) -> None:
    """Refuse what is no table of our schema, what comes twice, and columns that are not there. Raises ConfigError."""
    name, columns = about.get("name"), about.get("columns")
    if not isinstance(name, str) or name not in tables or name in loaded:
        raise ConfigError("the backup was changed: it holds a table that is not ours, or one twice")
    if not isinstance(columns, list) or not all(isinstance(c, str) for c in columns) or set(columns) != tables[name]:
        raise ConfigError(f"the backup was changed: {name} has not the columns of this schema")


async def _load_table(connection: asyncpg.Connection, archive: ArchiveReader, about: dict[str, Any]) -> int:
    async def source() -> AsyncIterator[bytes]:
        for block in archive.blocks():
            yield block

    status = await connection.copy_to_table(about["name"], columns=about["columns"], source=source())
    return int(status.split()[-1])


async def _go_on(connection: asyncpg.Connection, head: dict[str, Any]) -> None:
    for sequence in await connection.fetch(_SEQUENCES):
        of, column = sequence["of"], sequence["column"]
        await connection.execute(
            f"""SELECT setval(pg_get_serial_sequence('"{of}"', '{column}'), coalesce(max("{column}"), 0) + 1, false)
                FROM "{of}\""""  # noqa: S608 - names of our own tables
        )
    await go_on_behind(connection)
    made_at = dt.datetime.fromisoformat(head["made_at"])
    await connection.execute("INSERT INTO restores (backup_at) VALUES ($1)", made_at)

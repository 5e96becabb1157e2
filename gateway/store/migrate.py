"""Forward-only migrations: the files `schemas/sql/NNNN_name.sql`, in order, each once, while gateways go on working.

It owns the table `schema_migrations` and never goes back: a mistake is corrected by the next file. What was applied
is kept with its SHA-256, because a file that is changed afterwards makes two databases of one version differ.

The level of a schema is its newest migration, the level of a code the newest it ships. A file says in its leading
comment what it asks of older code: `-- expand` asks nothing, so code of any level goes on; `-- contract, needs code >=
N` takes away what code below N uses; a file that says nothing needs code that ships it. A file marked `-- concurrently`
is made of `CREATE INDEX CONCURRENTLY IF NOT EXISTS` alone and runs outside a transaction.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import asyncpg

from gateway.errors import ConfigError, DatabaseStartError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from importlib.resources.abc import Traversable

OLDEST_SCHEMA = 8  # this code runs on a schema from here on; what needs a later one is off until then
APPLICATION = "procot"  # how sessions of a gateway call themselves, with the code's level behind it
_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_CONTRACT = re.compile(r"-- contract, needs code >= (\d+)")
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+) ", re.IGNORECASE)
_OLDEST_SERVER = 150000  # UNIQUE NULLS NOT DISTINCT and MERGE
_LOCK = 0x50524F434F54  # "PROCOT": several gateways may start at once on one database
_LOOK_S = 0.1
_PATIENCE_S = 3600.0  # of one file: an index over many births takes its time, and blocks nobody

# What waits for a table's lock makes all who come later wait behind it: rather give up soon and try again.
_LOCK_TIMEOUT_MS = 500
_TRIES = 60
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS needs_code int;  -- NULL: code that ships it
"""
_TABLE_IS_WHOLE = """
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('schema_migrations') AND attname = 'needs_code')
"""
# The column may not be there yet: read through the row as JSON.
_HISTORY = """
SELECT version, name, sha256, applied_at, coalesce((to_jsonb(m) ->> 'needs_code')::int, version) AS needs_code
FROM schema_migrations m ORDER BY version
"""
_SESSIONS = """
SELECT coalesce(substring(application_name FROM '^procot (\\d+)$')::int, $1) AS level, count(DISTINCT pid) AS sessions
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name ~ '^procot( \\d+)?$'
GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the text, by which a later change is noticed."""
        return sha256(self.sql.encode()).digest()

    @property
    def marks(self) -> list[str]:
        """The lines of the leading comment."""
        lines = [line.strip() for line in self.sql.splitlines()]
        end = next((n for n, line in enumerate(lines) if line and not line.startswith("--")), len(lines))
        return lines[:end]

    @property
    def needs_code(self) -> int:
        """The oldest level of code that may run once this is applied."""
        if "-- expand" in self.marks:
            return 0
        said = [int(match[1]) for match in map(_CONTRACT.fullmatch, self.marks) if match]
        return said[0] if said else self.version

    @property
    def concurrently(self) -> bool:
        """Whether it builds indexes beside running work, outside a transaction."""
        return "-- concurrently" in self.marks


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration as the database has it."""

    version: int
    name: str
    digest: bytes
    needs_code: int
    applied_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Status:
    """What a database has, and what of it this code knows."""

    code: int
    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    sessions: dict[int, int]  # of gateways connected now, by their code's level

    @property
    def level(self) -> int:
        """The newest migration the database has, 0 where it has none."""
        return max((migration.version for migration in self.applied), default=0)

    @property
    def needs_code(self) -> int:
        """The oldest level of code that may run on it."""
        return max((migration.needs_code for migration in self.applied), default=0)

    def refusal(self) -> str:
        """Return why this code may not run on the database as it is, "" where it may."""
        if self.needs_code > self.code:
            return too_new(max(self.applied, key=lambda migration: migration.needs_code), code=self.code)
        if self.level < OLDEST_SCHEMA:
            has = f"ends with migration {self.level:04d}" if self.level else "has no schema yet"
            return f"The database {has}; this Procot needs {OLDEST_SCHEMA:04d} at least. Run `procot migrate` first."
        return ""


def too_new(migration: Applied, *, code: int) -> str:
    """Return the sentence for a database that was contracted beyond this code."""
    return (
        f"The database is newer than this Procot: it has the migration {migration.name}, which needs code "
        f"{migration.needs_code:04d} or later; this code ends with {code:04d}. "
        "Start the newer version, or restore a backup from before that migration."
    )


@cache
def newest() -> int:
    """Return the number of this code's newest migration."""
    return read()[-1].version


async def migrate(
    connection: asyncpg.Connection,
    *,
    directory: Traversable | None = None,
    upto: int | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Bring the database up to this code and return the names applied. Safe to run from many processes at once.

    A database that newer code has expanded is left as it is. `upto` stops at that migration: a restore makes the schema
    its backup had, and goes on from there. `told` gets a sentence each time others hold a lock that is needed.
    Raises ConfigError, DatabaseStartError.
    """
    _check_server(int(await connection.fetchval("SHOW server_version_num")))
    migrations = read(directory)
    await _take_turn(connection, told)
    try:
        if not await connection.fetchval(_TABLE_IS_WHOLE):
            await _patiently(connection, "the table schema_migrations", _TABLE, (), told)
        status = await _status(connection, migrations)
        if status.needs_code > status.code:
            raise DatabaseStartError(status.refusal())
        last = status.code if upto is None else upto
        pending = [migration for migration in status.pending if migration.version <= last]
        for migration in pending:
            await _apply(connection, migration, told)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return [migration.name for migration in pending]


async def look(connection: asyncpg.Connection, *, directory: Traversable | None = None) -> Status:
    """Return what the database has and lacks, without changing anything. Raises ConfigError, DatabaseStartError."""
    _check_server(int(await connection.fetchval("SHOW server_version_num")))
    return await _status(connection, read(directory))


def read(directory: Traversable | None = None) -> list[Migration]:
    """Read all migrations in order. A number that is missing or used twice is a mistake of ours, found here."""
    found = []
    for file in sorted((directory or files("schemas") / "sql").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise ConfigError(f"The migration {file.name} is not named NNNN_name.sql. Rename it.")
        found.append(Migration(int(match["version"]), file.name.removesuffix(".sql"), file.read_text("utf-8")))
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        names = ", ".join(migration.name for migration in found)
        raise ConfigError(f"Migrations must be numbered 0001, 0002 and so on, each number once; found {names}.")
    return found


def _check_server(number: int) -> None:
    if number < _OLDEST_SERVER:
        raise DatabaseStartError(
            f"The database is PostgreSQL {number // 10000}; Procot needs {_OLDEST_SERVER // 10000} or newer. "
            "Upgrade the server, or leave database.dsn out to use the embedded one."
        )


async def _take_turn(connection: asyncpg.Connection, told: Callable[[str], None]) -> None:
    """Wait until nobody else migrates: by asking again, since a waiting statement would hold up a concurrent index."""
    waits = False
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        if not waits:
            told("another process migrates this database; waiting until it has done")
        waits = True
        await asyncio.sleep(_LOOK_S)


async def _status(connection: asyncpg.Connection, migrations: list[Migration]) -> Status:
    """Return the state of the database. Raises ConfigError where it has another text under a number we know."""
    rows = []
    if await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        rows = await connection.fetch(_HISTORY)
    applied = tuple(Applied(r["version"], r["name"], r["sha256"], r["needs_code"], r["applied_at"]) for r in rows)
    known = {migration.version: migration for migration in migrations}
    for row in applied:
        if row.version in known and known[row.version].digest != row.digest:
            raise ConfigError(
                f"The migration {known[row.version].name} differs from the text that was applied to this database as "
                f"{row.name}. Applied migrations are never edited: restore the file, and write the change as a new one."
            )
    there = {row.version for row in applied}
    pending = tuple(migration for migration in migrations if migration.version not in there)
    sessions = {row["level"]: row["sessions"] for row in await connection.fetch(_SESSIONS, OLDEST_SCHEMA)}
    return Status(len(migrations), applied, pending, sessions)


async def _apply(connection: asyncpg.Connection, migration: Migration, told: Callable[[str], None]) -> None:
    """Apply one file and write it down. Raises DatabaseStartError."""
    await _nobody_older(connection, migration)
    record = "INSERT INTO schema_migrations (version, name, sha256, needs_code) VALUES ($1, $2, $3, $4)"
    values = (migration.version, migration.name, migration.digest, migration.needs_code)
    name = f"the migration {migration.name}"
    try:
        if migration.concurrently:
            await _build_indexes(connection, migration)
            await connection.execute(record, *values)
        else:
            await _patiently(connection, name, migration.sql, (record, *values), told)
    except asyncpg.PostgresError as error:
        # Not the server's own words: they may quote a row.
        raise DatabaseStartError(
            f"The migration {migration.name} failed with SQLSTATE {error.sqlstate} ({type(error).__name__}). "
            "Nothing of it was kept; those before it were. Correct the cause, then start again."
        ) from error


async def _nobody_older(connection: asyncpg.Connection, migration: Migration) -> None:
    """Refuse to take away what a gateway connected right now uses. Sessions without a level are of the oldest code."""
    rows = await connection.fetch(_SESSIONS, OLDEST_SCHEMA)
    older = {row["level"]: row["sessions"] for row in rows if row["level"] < migration.needs_code}
    if older and any(_CONTRACT.fullmatch(mark) for mark in migration.marks):
        levels = ", ".join(f"{sessions} of code {level:04d}" for level, sessions in older.items())
        raise DatabaseStartError(
            f"The migration {migration.name} takes away what code before {migration.needs_code:04d} uses, and such "
            f"gateways are connected (sessions: {levels}). Update or stop them, then migrate again; it was not applied."
        )


async def _patiently(
    connection: asyncpg.Connection, name: str, sql: str, record: tuple[Any, ...], told: Callable[[str], None]
) -> None:
    """Run `sql` and `record` (a statement and its values) in one transaction that never waits long for a lock."""
    pause = _PAUSE_S
    for attempt in range(1, _TRIES + 1):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_MS}ms'")
                await connection.execute(sql, timeout=_PATIENCE_S)
                if record:
                    await connection.execute(*record)
        except _BUSY:
            told(f"{name} waits: others hold a lock it needs (try {attempt} of {_TRIES}); they are not held up")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        else:
            return
    raise DatabaseStartError(
        f"{name[0].upper()}{name[1:]} did not get its lock in {_TRIES} tries: a long transaction holds it. "
        "Find it in pg_stat_activity (oldest xact_start), end it, then migrate again; nothing of it was kept."
    )


async def _build_indexes(connection: asyncpg.Connection, migration: Migration) -> None:
    """Build one index after another; one that a kill left half built is built anew."""
    for statement in statements(migration.sql):
        match = _INDEX.match(statement)
        if match is None:
            raise ConfigError(
                f"The migration {migration.name} is marked concurrently: it may only hold CREATE INDEX CONCURRENTLY "
                "IF NOT EXISTS. Put the rest into a file of its own."
            )
        invalid = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)"
        if await connection.fetchval(invalid, match[1]):
            await connection.execute(f"DROP INDEX CONCURRENTLY {match[1]}", timeout=_PATIENCE_S)
        await connection.execute(statement, timeout=_PATIENCE_S)


def statements(sql: str) -> list[str]:
    """Return a plain file's statements without comments, each on one line (no `;` or `--` within literals)."""
    text = re.sub(r"--[^\n]*", "", sql)
    return [" ".join(part.split()) for part in text.split(";") if part.strip()]

"""Forward-only migrations: the files `schemas/sql/NNNN_name.sql`, in order, each once, each in its own transaction.

It owns the table `schema_migrations` and never goes back: a mistake is corrected by the next file. What was applied
is kept with its SHA-256, because a file that is changed afterwards makes two databases of one version differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg

from gateway.errors import ConfigError, DatabaseStartError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_OLDEST_SERVER = 150000  # UNIQUE NULLS NOT DISTINCT and MERGE
_LOCK = 0x50524F434F54  # "PROCOT": several gateways may start at once on one database

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
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


async def migrate(
    connection: asyncpg.Connection, *, directory: Traversable | None = None, upto: int | None = None
) -> list[str]:
    """Bring the database up to this code and return the names applied. Safe to run from many processes at once.

    `upto` stops at that migration: a restore makes the schema its backup had, and goes on from there.
    """
    _check_server(int(await connection.fetchval("SHOW server_version_num")))
    migrations = _read(directory if directory is not None else files("schemas") / "sql")
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(_TABLE)
        rows = await connection.fetch("SELECT version, name, sha256 FROM schema_migrations ORDER BY version")
        applied = {row["version"]: (row["name"], row["sha256"]) for row in rows}
        _check_history(migrations, applied)
        last = migrations[-1].version if upto is None and migrations else upto or 0
        pending = [m for m in migrations if m.version not in applied and m.version <= last]
        for migration in pending:
            await _apply(connection, migration)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return [migration.name for migration in pending]


def _check_server(number: int) -> None:
    if number < _OLDEST_SERVER:
        raise DatabaseStartError(
            f"The database is PostgreSQL {number // 10000}; Procot needs {_OLDEST_SERVER // 10000} or newer. "
            "Upgrade the server, or leave database.dsn out to use the embedded one."
        )


def _read(directory: Traversable) -> list[Migration]:
    """Read all migrations in order. A number that is missing or used twice is a mistake of ours, found here."""
    found = []
    for file in sorted(directory.iterdir(), key=lambda entry: entry.name):
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


def _check_history(migrations: list[Migration], applied: dict[int, tuple[str, bytes]]) -> None:
    """Refuse a database that another code has migrated: newer, or with another text under the same number."""
    known = {migration.version: migration for migration in migrations}
    for version, (name, digest) in applied.items():
        if version not in known:
            raise DatabaseStartError(
                f"The database is newer than this Procot: it has the migration {name}, this code ends with "
                f"{len(migrations):04d}. Start the newer version, or restore a backup from before that migration."
            )
        if known[version].digest != digest:
            raise ConfigError(
                f"The migration {known[version].name} differs from the text that was applied to this database as "
                f"{name}. Applied migrations are never edited: restore the file, and write the change as a new one."
            )


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    record = "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)"
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(record, migration.version, migration.name, migration.digest)
    except asyncpg.PostgresError as error:
        # Not the server's own words: they may quote a row.
        raise DatabaseStartError(
            f"The migration {migration.name} failed with SQLSTATE {error.sqlstate} ({type(error).__name__}). "
            "Nothing of it was kept; those before it were. Correct the cause, then start again."
        ) from error

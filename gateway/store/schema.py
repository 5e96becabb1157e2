"""Which schema this process works on: it may be older than the code, or newer, and change while the process runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from gateway.errors import DatabaseStartError
from gateway.store.migrate import look, migrate, newest

if TYPE_CHECKING:
    import asyncpg

    from gateway.store.database import Connection, Database

_log = structlog.get_logger()
_LEVEL = """
SELECT coalesce(max(version), 0) AS level, coalesce(max(coalesce((to_jsonb(m) ->> 'needs_code')::int, version)), 0)
    AS needs_code
FROM schema_migrations m
"""


@dataclass(slots=True)
class Schema:
    """The newest migration that the database has. One object a process, shared by all who ask.

    `level` is this code's newest until it is read: a database is migrated at start unless the operator says otherwise.
    """

    level: int = field(default_factory=newest)
    needs_code: int = 0  # the oldest level of code that may run on it

    async def refresh(self, database: Database) -> int:
        """Read the level anew and return it. Raises StoreUnavailableError; then the level stays as it was."""
        async with database.connection() as connection:
            return await self.read(connection)

    async def read(self, connection: Connection) -> int:
        """Do the same on a connection at hand."""
        row = await connection.fetchrow(_LEVEL)
        if row is not None:
            self.level, self.needs_code = row["level"], row["needs_code"]
        return self.level

    def must_take(self, code: int) -> None:
        """Raise DatabaseStartError where the database was contracted beyond this level of code while it ran."""
        if self.needs_code > code:
            raise DatabaseStartError(
                f"The database was contracted beyond this Procot: it needs code {self.needs_code:04d} or later, this "
                f"code ends with {code:04d}. Start the newer version."
            )


async def bring_up(connection: asyncpg.Connection, *, migrating: bool) -> None:
    """Migrate, or make sure that this code runs on the schema as it is. Raises ConfigError, DatabaseStartError."""
    if migrating:
        for name in await migrate(connection, told=lambda text: _log.info("database.migration_waits", note=text)):
            _log.info("database.migrated", migration=name)
    status = await look(connection)
    if refusal := status.refusal():
        raise DatabaseStartError(refusal)
    for migration in status.pending:
        _log.warning("database.migration_pending", migration=migration.name)

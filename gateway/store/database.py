"""Connections to PostgreSQL: one pool, transactions, and foreign exceptions turned into ours at this edge.

Nothing outside gateway.store imports asyncpg. Statements are run by `fetch`/`execute`, never by `prepare` alone: an
unexecuted prepared statement keeps its backend in a transaction (asyncpg ends it with Flush, not Sync).
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from gateway.errors import StoreUnavailableError
from gateway.store.migrate import APPLICATION, newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Connection = asyncpg.pool.PoolConnectionProxy | asyncpg.Connection

# What says "the database, not the data": connection trouble, read-only, full disk, shutdown, too many connections.
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a backend killed in the middle of a query looks like
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.PostgresSystemError,
)
_RECYCLE_S = 300.0
_log = structlog.get_logger()


def as_unavailable(error: BaseException) -> StoreUnavailableError:
    """Return our error for a foreign one; its text holds the kind only, since details may quote rows."""
    return StoreUnavailableError(f"PostgreSQL is not available ({type(error).__name__}); nothing was kept")


def _our_name() -> dict[str, str]:
    """Return what tells a migration which levels of code are connected."""
    return {"application_name": f"{APPLICATION} {newest()}"}


async def prepare_connection(connection: asyncpg.Connection) -> None:
    """Make JSON columns plain Python data on both ways."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _as_it_was(_: asyncpg.Connection) -> None:
    """Reset nothing of a connection that comes back: asyncpg ends an open transaction, and we change no setting.

    Its own reset is a statement after each use, a sixth of all that a birth needs.
    """


async def connect(dsn: str, *, timeout_s: float) -> asyncpg.Connection:
    """Open one connection. Raises StoreUnavailableError."""
    try:
        connection = await asyncpg.connect(
            dsn, timeout=timeout_s, command_timeout=timeout_s, server_settings=_our_name()
        )
        await prepare_connection(connection)
    except UNAVAILABLE as error:
        raise as_unavailable(error) from error
    return connection


class Database:
    """A pool of connections to one DSN.

    The DSN may name several hosts with `target_session_attrs=read-write`: then whichever takes writes is used, and
    after a fail-over the other one, without a restart.
    """

    def __init__(self, dsn: str, *, size: int, timeout_s: float) -> None:
        self.dsn = dsn
        self.timeout_s = timeout_s
        self._size = size
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Connect. Raises StoreUnavailableError."""
        try:
            self._pool = await asyncpg.create_pool(
                self.dsn,
                min_size=1,
                max_size=self._size,
                timeout=self.timeout_s,
                command_timeout=self.timeout_s,
                max_inactive_connection_lifetime=_RECYCLE_S,
                init=prepare_connection,
                reset=_as_it_was,
                server_settings=_our_name(),
            )
        except UNAVAILABLE as error:
            raise as_unavailable(error) from error

    async def close(self) -> None:
        """Close every connection, by force after a moment."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except (TimeoutError, *UNAVAILABLE):
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. Raises StoreUnavailableError, also from within."""
        if self._pool is None:
            raise StoreUnavailableError("the store is not open")
        try:
            async with self._pool.acquire(timeout=self.timeout_s) as connection:
                yield connection
        except asyncpg.ReadOnlySQLTransactionError as error:
            await self._pool.expire_connections()  # this server writes no more: look for the one that does
            raise as_unavailable(error) from error
        except asyncpg.DeadlockDetectedError as error:
            raise StoreUnavailableError(
                "PostgreSQL undid this, since another one was about the same births; do it again"
            ) from error
        except UNAVAILABLE as error:
            raise as_unavailable(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection within one transaction: all of it or nothing."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:  # noqa: ANN401 - SQL arguments
        """Run one statement and return its rows."""
        async with self.connection() as connection:
            return await connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> asyncpg.Record | None:  # noqa: ANN401 - SQL arguments
        """Run one statement and return its first row."""
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def writable(self) -> bool:
        """Tell whether something could be kept right now."""
        try:
            async with self.connection() as connection:
                takes: bool = await connection.fetchval(
                    "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"
                )
        except StoreUnavailableError:
            return False
        if not takes:
            await self._look_again()
        return takes

    async def _look_again(self) -> None:
        """Let the next calls connect anew: where the DSN names several servers, another one may take writes."""
        if self._pool is not None:
            await self._pool.expire_connections()

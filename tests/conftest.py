"""A real PostgreSQL for tests: one embedded server a session, one fresh database a test."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from gateway.store.embedded import DATABASE, ROLE, EmbeddedPostgres
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TEMPLATE = "procot_template"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Start the session's server. A test that kills or stops a server makes its own."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "server", settings={"fsync": "on"})
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="session")
def postgres(postgres_server: EmbeddedPostgres) -> str:
    """Return the DSN of the session's server, database `procot`, for tests that write nothing."""
    return postgres_server.dsn


@pytest.fixture(scope="session")
def database_template(postgres_server: EmbeddedPostgres) -> str:
    """Apply all migrations to a template database, once a session, and return its name."""

    async def build() -> None:
        await _as_superuser(postgres_server, f"CREATE DATABASE {TEMPLATE} OWNER {ROLE}")
        connection = await asyncpg.connect(_dsn_of(postgres_server, TEMPLATE))
        try:
            await migrate(connection)
        finally:
            await connection.close()

    asyncio.run(build())
    return TEMPLATE


@pytest_asyncio.fixture
async def database(postgres_server: EmbeddedPostgres, database_template: str) -> AsyncIterator[str]:
    """Lend a database of this test's own: migrated, owned by the gateway's role."""
    async with _fresh(postgres_server, database_template) as dsn:
        yield dsn


@pytest_asyncio.fixture
async def empty_database(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """Lend a database of this test's own in which nothing was done."""
    async with _fresh(postgres_server, "template1") as dsn:
        yield dsn


@asynccontextmanager
async def _fresh(server: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    await _as_superuser(server, f"CREATE DATABASE {name} TEMPLATE {template} OWNER {ROLE}")
    try:
        yield _dsn_of(server, name)
    finally:
        await _as_superuser(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _as_superuser(server: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.superuser_dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _dsn_of(server: EmbeddedPostgres, database: str) -> str:
    return server.dsn.replace(f"@/{DATABASE}?", f"@/{database}?")

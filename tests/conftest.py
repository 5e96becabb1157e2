"""A real PostgreSQL for tests: one embedded server a session (with xdist: a worker), one fresh database a test.

The session's server lies in memory where there is room and flushes nothing: it outlives every test, and none of those
that use it asks what a power cut leaves. A test that does, or that kills or stops a server, makes its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from gateway.errors import DataDirectoryHeldError
from gateway.store.cluster import DirectoryLock
from gateway.store.embedded import DATABASE, ROLE, EmbeddedPostgres
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytest_plugins = ["tests.leaks.plugin", "tests.leaks.order"]

# A busy machine makes examples slowly; that says nothing of what is tested with them.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

TEMPLATE = "procot_template"
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 * 1024**3
PREFIX = "procot-tests-"
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "256MB",
}


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Start the session's server. A test that kills or stops a server makes its own."""
    directory = _directory_in_memory() or tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(directory / "server", settings=SETTINGS)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())
    shutil.rmtree(directory)


def _directory_in_memory() -> Path | None:
    """Return a new directory that is no disk's, None where there is no room; remove what killed sessions left."""
    if not os.access(MEMORY, os.W_OK):
        return None
    for left in MEMORY.glob(f"{PREFIX}*"):
        with suppress(OSError, DataDirectoryHeldError):  # another session's, or another user's
            DirectoryLock.take(left / "server").release()
            shutil.rmtree(left)
    free = os.statvfs(MEMORY)
    if free.f_bavail * free.f_frsize < ROOM_BYTES:
        return None
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY))


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
    await _as_superuser(server, f"CREATE DATABASE {name} TEMPLATE {template} OWNER {ROLE} STRATEGY FILE_COPY")
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

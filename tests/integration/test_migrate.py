from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.errors import ConfigError, DatabaseStartError
from gateway.store import migrate as migrations
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FIRST = "CREATE TABLE births (id int PRIMARY KEY); INSERT INTO births VALUES (1);"
SECOND = "ALTER TABLE births ADD COLUMN name text; UPDATE births SET name = 'x';"


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    (tmp_path / "0001_births.sql").write_text(FIRST)
    (tmp_path / "0002_names.sql").write_text(SECOND)
    (tmp_path / "README.md").write_text("Not a migration.")
    return tmp_path


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def test_files_are_applied_in_order_and_only_once(empty_database: str, sql: Path) -> None:
    async with connected(empty_database) as connection:
        assert await migrate(connection, directory=sql) == ["0001_births", "0002_names"]
        assert await migrate(connection, directory=sql) == []
        assert await connection.fetchval("SELECT name FROM births") == "x"


async def test_a_later_file_is_applied_alone(empty_database: str, sql: Path) -> None:
    async with connected(empty_database) as connection:
        await migrate(connection, directory=sql)
        (sql / "0003_more.sql").write_text("CREATE TABLE more ()")
        assert await migrate(connection, directory=sql) == ["0003_more"]


async def test_a_file_that_fails_leaves_nothing_of_itself_and_all_before_it(empty_database: str, sql: Path) -> None:
    (sql / "0002_names.sql").write_text("CREATE TABLE half (); SELECT 1 / 0;")
    async with connected(empty_database) as connection:
        with pytest.raises(DatabaseStartError, match=r"failed with SQLSTATE 22012"):
            await migrate(connection, directory=sql)
        assert await connection.fetchval("SELECT to_regclass('half')") is None
        assert await connection.fetchval("SELECT array_agg(version) FROM schema_migrations") == [1]
        (sql / "0002_names.sql").write_text(SECOND)
        assert await migrate(connection, directory=sql) == ["0002_names"]


async def test_a_file_edited_after_it_was_applied_is_refused(empty_database: str, sql: Path) -> None:
    async with connected(empty_database) as connection:
        await migrate(connection, directory=sql)
        (sql / "0001_births.sql").write_text(FIRST + "-- harmless?")
        with pytest.raises(ConfigError, match=r"0001_births differs .* never edited"):
            await migrate(connection, directory=sql)


async def test_a_database_newer_than_the_code_is_refused_and_untouched(empty_database: str, sql: Path) -> None:
    async with connected(empty_database) as connection:
        await migrate(connection, directory=sql)
        (sql / "0002_names.sql").unlink()
        with pytest.raises(DatabaseStartError, match="newer than this Procot: it has the migration 0002_names"):
            await migrate(connection, directory=sql)
        assert await connection.fetchval("SELECT count(*) FROM schema_migrations") == 2


async def test_gateways_that_start_at_once_apply_each_file_once(empty_database: str, sql: Path) -> None:
    async def one() -> list[str]:
        async with connected(empty_database) as connection:
            return await migrate(connection, directory=sql)

    applied = await asyncio.gather(*(one() for _ in range(4)))
    assert sorted(name for names in applied for name in names) == ["0001_births", "0002_names"]


async def test_the_lock_is_given_back_after_a_failure(empty_database: str, sql: Path) -> None:
    (sql / "0001_births.sql").write_text("SELECT 1 / 0")
    async with connected(empty_database) as failed, connected(empty_database) as other:
        with pytest.raises(DatabaseStartError, match=r"failed with SQLSTATE 22012"):
            await migrate(failed, directory=sql)
        assert await other.fetchval("SELECT pg_try_advisory_lock($1)", migrations._LOCK)


@pytest.mark.parametrize("name", ["0003-dash.sql", "3_short.sql", "0003_Upper.sql"])
async def test_a_misnamed_file_is_a_clear_mistake(postgres: str, sql: Path, name: str) -> None:
    (sql / name).write_text("")
    async with connected(postgres) as connection:
        with pytest.raises(ConfigError, match="not named NNNN_name"):
            await migrate(connection, directory=sql)


@pytest.mark.parametrize("name", ["0004_gap.sql", "0002_twice.sql"])
async def test_a_gap_or_a_number_used_twice_is_a_clear_mistake(postgres: str, sql: Path, name: str) -> None:
    (sql / name).write_text("")
    async with connected(postgres) as connection:
        with pytest.raises(ConfigError, match="each number once"):
            await migrate(connection, directory=sql)


def test_a_server_too_old_is_named_with_what_is_needed() -> None:
    with pytest.raises(DatabaseStartError, match="PostgreSQL 14; Procot needs 15 or newer"):
        migrations._check_server(140012)


async def test_this_codes_own_files_apply_to_an_empty_database_as_the_gateways_role(empty_database: str) -> None:
    async with connected(empty_database) as connection:
        applied = await migrate(connection)
        assert await connection.fetchval("SELECT count(*) FROM schema_migrations") == len(applied)


async def test_the_database_fixture_is_migrated(database: str) -> None:
    async with connected(database) as connection:
        assert await migrate(connection) == []

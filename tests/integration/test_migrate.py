from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway import app
from gateway.config import parse
from gateway.errors import ConfigError, DatabaseStartError
from gateway.store import migrate as migrations
from gateway.store.database import Database
from gateway.store.migrate import Status, look, migrate, newest
from gateway.store.schema import Schema, bring_up
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.system import system

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


async def test_a_database_that_newer_code_only_expanded_is_taken_as_it_is(empty_database: str, sql: Path) -> None:
    (sql / "0002_names.sql").write_text("-- expand\n" + SECOND)
    async with connected(empty_database) as connection:
        await migrate(connection, directory=sql)
        (sql / "0002_names.sql").unlink()
        assert await migrate(connection, directory=sql) == []
        status = await look(connection, directory=sql)
        assert (status.level, status.code, status.needs_code) == (2, 1, 1)


async def test_a_contraction_refuses_code_before_the_one_it_names_and_no_other(empty_database: str, sql: Path) -> None:
    (sql / "0002_names.sql").write_text("-- expand\n" + SECOND)
    (sql / "0003_less.sql").write_text("-- contract, needs code >= 2\nALTER TABLE births DROP COLUMN name;")
    async with connected(empty_database) as connection:
        await migrate(connection, directory=sql)
        (sql / "0003_less.sql").unlink()
        assert await migrate(connection, directory=sql) == []
        (sql / "0002_names.sql").unlink()
        with pytest.raises(DatabaseStartError, match="has the migration 0003_less, which needs code 0002 or later"):
            await migrate(connection, directory=sql)


async def test_what_a_connected_older_gateway_uses_is_not_taken_away(empty_database: str, sql: Path) -> None:
    (sql / "0002_names.sql").write_text("-- expand\n" + SECOND)
    older = await asyncpg.connect(empty_database, server_settings={"application_name": "procot 1"})
    async with connected(empty_database) as connection:
        assert await migrate(connection, directory=sql) == ["0001_births", "0002_names"]
        (sql / "0003_less.sql").write_text("-- contract, needs code >= 2\nALTER TABLE births DROP COLUMN name;")
        with pytest.raises(DatabaseStartError, match=r"sessions: 1 of code 0001\)\. Update or stop them"):
            await migrate(connection, directory=sql)
        assert (await look(connection, directory=sql)).level == 2
        await older.close()
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'procot 1'"
        while not await connection.fetchval(gone):  # noqa: ASYNC110 - its backend ends a moment later
            await asyncio.sleep(0.01)
        assert await migrate(connection, directory=sql) == ["0003_less"]


async def test_rows_of_code_before_levels_were_kept_need_the_code_that_ships_them(
    empty_database: str, sql: Path
) -> None:
    async with connected(empty_database) as connection:
        await migrate(connection, directory=sql)
        await connection.execute("ALTER TABLE schema_migrations DROP COLUMN needs_code")
        assert (await look(connection, directory=sql)).needs_code == 2
        assert await migrate(connection, directory=sql) == []
        assert (await look(connection, directory=sql)).needs_code == 2


async def test_a_lock_that_others_hold_is_waited_for_without_holding_them_up(
    empty_database: str, sql: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT_MS", 20)
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.01)
    told: list[str] = []
    waits = asyncio.Event()

    def tell(text: str) -> None:
        told.append(text)
        waits.set()

    async with connected(empty_database) as connection, connected(empty_database) as holder:
        await migrate(connection, directory=sql, upto=1)
        begun = holder.transaction()
        await begun.start()
        await holder.execute("INSERT INTO births VALUES (2)")
        applying = asyncio.create_task(migrate(connection, directory=sql, told=tell))
        await asyncio.wait_for(waits.wait(), 60)
        await holder.execute("INSERT INTO births VALUES (3)")
        await begun.commit()
        assert await asyncio.wait_for(applying, 60) == ["0002_names"]
    assert told[0].startswith("the migration 0002_names waits: others hold a lock it needs (try 1 of 60)")


async def test_a_lock_that_never_comes_ends_with_what_to_do(
    empty_database: str, sql: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT_MS", 20)
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.01)
    monkeypatch.setattr(migrations, "_TRIES", 2)
    async with connected(empty_database) as connection, connected(empty_database) as holder:
        await migrate(connection, directory=sql, upto=1)
        async with holder.transaction():
            await holder.execute("INSERT INTO births VALUES (2)")
            with pytest.raises(DatabaseStartError, match=r"The migration 0002_names did not get its lock in 2 tries"):
                await migrate(connection, directory=sql)
        assert (await look(connection, directory=sql)).level == 1


async def test_indexes_are_built_beside_open_transactions_and_anew_after_a_kill(
    empty_database: str, sql: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sql / "0003_index.sql").write_text(
        "-- expand\n-- concurrently\n-- One; and another.\n"
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS births_id\n    ON births (id);\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS births_name ON births (name);\n"
    )
    valid = "SELECT bool_and(indisvalid) FROM pg_index WHERE indexrelid = 'births_id'::regclass"
    async with connected(empty_database) as connection:
        await migrate(connection, directory=sql, upto=2)
        await connection.execute("ALTER TABLE births DROP CONSTRAINT births_pkey; INSERT INTO births VALUES (1)")
        with pytest.raises(DatabaseStartError, match="0003_index failed with SQLSTATE 23505"):
            await migrate(connection, directory=sql)
        assert not await connection.fetchval(valid), "it is half built, as after a kill"
        await connection.execute("DELETE FROM births")
        assert await migrate(connection, directory=sql) == ["0003_index"]
        assert await connection.fetchval(valid)
        assert await connection.fetchval("SELECT to_regclass('births_name') IS NOT NULL")


async def test_a_concurrent_file_that_does_more_is_a_clear_mistake(empty_database: str, sql: Path) -> None:
    (sql / "0003_index.sql").write_text("-- expand\n-- concurrently\nALTER TABLE births ADD COLUMN x int;")
    async with connected(empty_database) as connection:
        with pytest.raises(ConfigError, match="0003_index is marked concurrently: it may only hold CREATE INDEX"):
            await migrate(connection, directory=sql)


async def test_gateways_that_start_at_once_apply_each_file_once(empty_database: str, sql: Path) -> None:
    async def one() -> list[str]:
        async with connected(empty_database) as connection:
            return await migrate(connection, directory=sql)

    applied = await asyncio.gather(*(one() for _ in range(4)))
    assert sorted(name for names in applied for name in names) == ["0001_births", "0002_names"]


async def test_whoever_waits_for_another_process_says_so_once_and_goes_on(empty_database: str, sql: Path) -> None:
    told: list[str] = []
    waits = asyncio.Event()

    def tell(text: str) -> None:
        told.append(text)
        waits.set()

    async with connected(empty_database) as connection, connected(empty_database) as other:
        await other.execute("SELECT pg_advisory_lock($1)", migrations._LOCK)
        waiting = asyncio.create_task(migrate(connection, directory=sql, told=tell))
        await asyncio.wait_for(waits.wait(), 60)
        await other.execute("SELECT pg_advisory_unlock($1)", migrations._LOCK)
        assert await asyncio.wait_for(waiting, 60) == ["0001_births", "0002_names"]
    assert told == ["another process migrates this database; waiting until it has done"]


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


class TestWithoutMigrating:
    async def test_an_empty_database_is_refused_and_stays_empty(self, empty_database: str) -> None:
        async with connected(empty_database) as connection:
            with pytest.raises(DatabaseStartError, match=r"has no schema yet; .* Run `procot migrate` first"):
                await bring_up(connection, migrating=False)
            assert await connection.fetchval("SELECT to_regclass('schema_migrations')") is None

    async def test_a_schema_too_old_is_refused_and_one_old_enough_is_taken(self, empty_database: str) -> None:
        async with connected(empty_database) as connection:
            await migrate(connection, upto=migrations.OLDEST_SCHEMA - 1)
            with pytest.raises(DatabaseStartError, match="ends with migration 0007; this Procot needs 0008 at least"):
                await bring_up(connection, migrating=False)
            await migrate(connection, upto=migrations.OLDEST_SCHEMA)
            await bring_up(connection, migrating=False)
            assert (await look(connection)).level == migrations.OLDEST_SCHEMA

    async def test_a_database_contracted_beyond_the_code_is_refused(self, database: str) -> None:
        async with connected(database) as connection:
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, sha256, needs_code) VALUES (99, '0099_less', '', 98)"
            )
            with pytest.raises(DatabaseStartError, match="0099_less, which needs code 0098 or later"):
                await bring_up(connection, migrating=False)


async def test_a_running_process_notices_that_the_schema_moves_on_and_that_it_must_end(empty_database: str) -> None:
    store = Database(empty_database, size=2, timeout_s=60)
    await store.open()
    async with connected(empty_database) as connection:
        await migrate(connection, upto=migrations.OLDEST_SCHEMA)
        schema = Schema()
        assert schema.level == newest()
        assert await schema.refresh(store) == schema.level == migrations.OLDEST_SCHEMA
        await migrate(connection)
        assert await schema.refresh(store) == newest()
        schema.must_take(newest())
        await connection.execute(
            "INSERT INTO schema_migrations (version, name, sha256, needs_code) VALUES (99, '0099_less', '', 98)"
        )
        await schema.refresh(store)
        with pytest.raises(DatabaseStartError, match="contracted beyond this Procot: it needs code 0098"):
            schema.must_take(newest())
    await store.close()


async def test_gateways_connected_are_counted_by_their_level(database: str) -> None:
    store = Database(database, size=2, timeout_s=60)
    await store.open()
    unnamed = await asyncpg.connect(database, server_settings={"application_name": "procot"})
    async with connected(database) as connection:
        status: Status = await look(connection)
    await unnamed.close()
    await store.close()
    assert status.sessions == {newest(): 1, migrations.OLDEST_SCHEMA: 1}


async def test_the_command_shows_what_is_applied_and_pending_and_then_applies_it(
    empty_database: str, tmp_path: Path
) -> None:
    async with connected(empty_database) as connection:
        await migrate(connection, upto=migrations.OLDEST_SCHEMA)
    config = configuration(tmp_path, empty_database, facility=HOSPITAL)
    pending = [migration for migration in migrations.read() if migration.version > migrations.OLDEST_SCHEMA]
    before = await procot("migrate", "--check", "--config", config)
    assert before.status == 1
    assert [line for line in before.out.splitlines() if line.startswith("pending")] == [
        f"pending {migration.name}  code of any level may run" for migration in pending
    ]
    assert f"schema 0008; may run on it: code 0008 and later; this code: {newest():04d}" in before.out.splitlines()
    done = await procot("migrate", "--config", config)
    assert done.out.splitlines() == [f"applied {migration.name}" for migration in pending]
    after = await procot("migrate", "--check", "--config", config)
    assert after.status == 0
    assert f"schema {newest():04d}; may run on it: code 0008 and later; this code: {newest():04d}" in after.out


def test_never_to_migrate_the_embedded_server_is_a_clear_mistake() -> None:
    with pytest.raises(ConfigError, match=r"never. needs dsn: the embedded PostgreSQL is migrated at its start alone"):
        parse({"database": {"migrate": "never"}}, where="test")


async def test_a_gateway_goes_on_when_its_database_is_migrated_and_ends_when_it_is_contracted_beyond_it(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_SCHEMA_LOOK_S", 0.02)
    async with connected(empty_database) as connection:
        await migrate(connection, upto=migrations.OLDEST_SCHEMA)
        async with system(empty_database, tmp_path, config={"database": {"migrate": "never"}}) as running:
            context = running.gateway.context
            assert context.schema_level == migrations.OLDEST_SCHEMA
            await migrate(connection)

            async def moved() -> bool:
                return context.schema_level == newest()

            await running.until_true(moved, "the new level")
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, sha256, needs_code) VALUES (99, '0099_less', '', 98)"
            )
            with pytest.raises(DatabaseStartError, match="contracted beyond this Procot"):
                await asyncio.wait_for(running.gateway.failed(), 60)

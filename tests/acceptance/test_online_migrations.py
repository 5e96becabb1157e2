"""Released code on this tree's schema, this code on a release's schema, and both at once: births come and go on."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.cli.demo_births import demo_births
from gateway.store.migrate import OLDEST_SCHEMA, migrate, newest, read
from tests.acceptance.test_samples import FOLLOW_UPS, OPENING, entry_of
from tests.released.release import LIMIT_BYTES, Release, dump, releases
from tests.simulators.facilities import CLOCK, SAMPLES
from tests.simulators.processes import THIS_TREE, Sender, answer_to, house
from tests.simulators.system import control_id_of

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.cli.demo_births import DemoBirth
    from tests.simulators.processes import House, Node

SENDERS, EACH = 3, 12
HELD = releases()
HELD_BY_HAND = next(name for name in OPENING if entry_of(name)["state"] == "REVIEW")


@pytest.fixture(params=HELD, ids=lambda release: f"{release.level:04d}")
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


@pytest.fixture
def old_code(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack a release's code."""
    return release.unpack(tmp_path_factory.mktemp("released"))


@pytest.fixture
async def old_schema(empty_database: str, old_code: Path) -> str:
    """Lend a database as the release makes it."""
    connection = await asyncpg.connect(empty_database)
    await migrate(connection, directory=old_code / "schemas" / "sql")
    await connection.close()
    return empty_database


async def level_of(home: House) -> int:
    (row,) = await home.fetch("SELECT max(version) AS level FROM schema_migrations")
    return int(row["level"])


async def birth_of(home: House, name: str) -> asyncpg.Record:
    """Return the birth that a sample was about."""
    (row,) = await home.fetch(
        "SELECT b.id, b.state, b.held FROM births b JOIN messages m ON m.birth_id = b.id WHERE m.control_id = $1",
        control_id_of((SAMPLES / name).read_bytes()),
    )
    return row


async def acceptance(home: House, node: Node, code: Path) -> None:
    """Send the twelve samples as their manifest says, bring the good ones to their certificates, and do one act."""
    assert node.code.samefile(code), "the gateway runs another code than it should"
    ready = [name for name in OPENING if entry_of(name)["state"] == "READY"]
    for name in OPENING:
        assert await answer_to(node.mllp, (SAMPLES / name).read_bytes()) == entry_of(name)["ack"][0], name
    await home.until_delivered(len(ready))
    for name in FOLLOW_UPS:
        assert await answer_to(node.mllp, (SAMPLES / name).read_bytes()) == entry_of(name)["ack"][0], name
    reviews = "SELECT count(*) FROM births WHERE state IN ('AMENDMENT_REVIEW', 'REVOCATION_REVIEW')"
    await home.until_count(reviews, len(FOLLOW_UPS))
    certified = home.certified()
    assert len(certified) == len(ready)
    assert {len(letters) for letters in certified.values()} == {1}
    for name in set(OPENING) - set(ready):
        assert (await birth_of(home, name))["state"] == entry_of(name)["state"], name
    waiting = await birth_of(home, HELD_BY_HAND)
    done = await home.command("births", "hold", str(waiting["id"]), "--reason", "asked by telephone", code=code)
    assert done.returncode == 0, done.stderr
    assert (await birth_of(home, HELD_BY_HAND))["held"]


async def test_released_code_works_on_this_trees_schema(
    release: Release, old_code: Path, database: str, tmp_path: Path, log_directory: Path
) -> None:
    async with house(database, tmp_path, log_directory, clock=CLOCK) as home, home.node(old_code) as node:
        await acceptance(home, node, old_code)
        assert await level_of(home) == newest()


async def test_this_code_works_on_a_releases_schema(
    release: Release, old_schema: str, tmp_path: Path, log_directory: Path
) -> None:
    async with (
        house(old_schema, tmp_path, log_directory, clock=CLOCK) as home,
        home.node(migrate="never") as node,
    ):
        await acceptance(home, node, THIS_TREE)
        assert await level_of(home) == release.level
        checked = await home.command("migrate", "--check")
        assert checked.returncode == (1 if release.level < newest() else 0)
        assert [line.split()[1] for line in checked.stdout.splitlines() if line.startswith("pending")] == [
            migration.name for migration in read() if migration.version > release.level
        ]


async def test_a_rolling_upgrade_under_load_fails_no_message(
    release: Release, old_code: Path, old_schema: str, tmp_path: Path, log_directory: Path
) -> None:
    births = demo_births(SENDERS * EACH)
    async with house(old_schema, tmp_path, log_directory) as home, AsyncExitStack() as stack:
        row = [await stack.enter_async_context(home.node(code)) for code in (old_code, old_code)]
        senders = [Sender([lambda: row[0].mllp, lambda: row[1].mllp], turn=n) for n in range(SENDERS)]

        async def thirds(third: int) -> None:
            part = births[third * SENDERS * EACH // 3 : (third + 1) * SENDERS * EACH // 3]
            await asyncio.gather(*(_send(s, part[n::SENDERS]) for n, s in enumerate(senders)))

        async def replace(place: int) -> None:
            await row[place].stop()
            row[place] = await stack.enter_async_context(home.node(migrate="never"))

        await asyncio.gather(thirds(0), replace(0))  # old and new side by side on the old schema
        applied = asyncio.create_task(home.command("migrate"))
        await asyncio.gather(thirds(1), applied)  # migrated under both
        assert applied.result().returncode == 0, applied.result().stderr
        await asyncio.gather(thirds(2), replace(1))
        await home.until_delivered(len(births))
        certified = home.certified()
        assert await level_of(home) == newest()
        for sender in senders:
            await sender.aclose()
    assert {code for sender in senders for code in sender.answered.values()} == {"AA"}
    assert len(certified) == len(births)
    assert {len(letters) for letters in certified.values()} == {1}


async def _send(sender: Sender, births: list[DemoBirth]) -> None:
    for birth in births:
        await sender.send(birth)


# --------------------------------------------------------------------------------------------- what a release holds


def test_there_is_a_release_this_code_still_runs_beside() -> None:
    assert HELD
    assert min(release.level for release in HELD) >= OLDEST_SCHEMA
    assert max(release.level for release in HELD) <= newest()


def test_a_releases_migrations_are_in_this_tree_to_the_byte(release: Release) -> None:
    here = {f"{migration.name}.sql": migration.sql.encode() for migration in read()}
    assert release.migrations() == {name: here[name] for name in list(here)[: release.level]}


def test_an_archive_is_small_and_says_what_it_is_of(release: Release) -> None:
    assert release.archive.stat().st_size <= LIMIT_BYTES
    about = release.about()
    assert len(about["commit"]) == 40
    assert json.dumps(about["laid_over"])


async def test_a_releases_migrations_still_make_its_schema(release: Release, empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    await migrate(connection, upto=release.level)
    await connection.close()
    assert await asyncio.to_thread(dump, empty_database) == release.schema

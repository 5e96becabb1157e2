"""The signer never signs a rewritten history, whoever administers the database; and signs on where nothing was done."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway.errors import HeadNotKeptError, JournalRewrittenError
from gateway.evidence import head as head_file
from gateway.evidence.head import Memory
from gateway.evidence.keys import Keyring
from gateway.evidence.merkle import TILE
from gateway.pipeline import journal, signer
from gateway.pipeline.journal import check, seal
from tests.integration.test_journal import keep, positions, sealed
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey, notice
from tests.simulators.journey import journey as parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with parts(database, tmp_path) as found:
        yield found


class KilledError(Exception):
    """The process ended here."""


async def run_sql(way: Journey, sql: str) -> None:
    async with way.database.connection() as connection:
        await connection.execute(sql)


async def refused(way: Journey, said: str, **about: Keyring) -> None:
    """Look that nothing is signed, and why."""
    before = await positions(way)
    with pytest.raises(JournalRewrittenError, match=said) as told:
        await seal(way.database, about.get("keyring", way.context.keyring))
    assert "births go on" in str(told.value)
    assert "procot evidence" in str(told.value), "the next step"
    assert await positions(way) == before


_REWRITE = """
CREATE TEMP TABLE was AS SELECT position, replace(entry, '"AA"', '"AE"') AS entry FROM journal;
UPDATE journal j SET entry = was.entry FROM was WHERE was.position = j.position AND j.position = 2;
UPDATE journal_tiles SET hashes = (
    SELECT string_agg(sha256('\\x00'::bytea || convert_to(entry, 'UTF8')), ''::bytea ORDER BY position) FROM journal);
"""
_CUT_WITH_ITS_TREE = """
DELETE FROM journal_checkpoints WHERE size = 8; DELETE FROM journal WHERE position > 4;
UPDATE journal_tiles SET hashes = substring(hashes FROM 1 FOR 160);
"""
_CUT = "DELETE FROM journal_checkpoints WHERE size = 8; DELETE FROM journal WHERE position > 4;"


@pytest.mark.parametrize(
    ("done", "said"),
    [
        ("UPDATE journal SET entry = replace(entry, '\"AA\"', '\"AE\"') WHERE position = 2", "was changed or taken"),
        (_REWRITE, "does not have the root that was signed"),
        ("DELETE FROM journal WHERE position = 3", "was changed or taken away"),
        ("DELETE FROM journal WHERE position = 7", "the entries 7 to 7 under its last checkpoint are gone"),
        (_CUT, "we signed 8: it is older, or was cut short"),
        (_CUT_WITH_ITS_TREE, "it is older, or was cut short"),
        ("DELETE FROM journal_checkpoints WHERE size = 8", "3 entries stand behind its last checkpoint of 5"),
        ("UPDATE journal_tiles SET hashes = sha256('x') || substring(hashes FROM 33)", "the root that was signed"),
        ("DELETE FROM journal_tiles", "does not have the root that was signed"),
        ("UPDATE journal_checkpoints SET root = sha256('x') WHERE size = 8", "is not what was signed"),
        (
            "UPDATE journal_checkpoints SET jws = (SELECT jws FROM journal_checkpoints WHERE size = 5) WHERE size = 8",
            "is not what was signed",
        ),
        ("UPDATE journal_checkpoints SET jws = 'e30.e30.e30' WHERE size = 8", "is not ours"),
        ("UPDATE journal_log SET id = gen_random_uuid()", "this database has the log"),
        ("INSERT INTO journal (position, entry) VALUES (8, '{}')", "1 entries stand behind its last checkpoint of 8"),
        ("TRUNCATE journal, journal_checkpoints, journal_tiles", "it has no checkpoint at all"),
    ],
)
async def test_a_journal_that_an_administrator_changed_is_not_signed(way: Journey, done: str, said: str) -> None:
    await keep(way, "a", 5)
    await sealed(way)
    await keep(way, "b", 3)
    await sealed(way)
    await run_sql(way, done)
    await keep(way, "c")
    await refused(way, said)
    assert await way.tell(notice()) == "CA", "births go on"


async def test_what_stopped_is_told_and_goes_on_when_the_right_database_is_back(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEAL_S", 0.01)
    await keep(way, "a", 3)
    await sealed(way)
    await run_sql(way, "UPDATE journal_checkpoints SET root = sha256('x'); ")
    chore = asyncio.create_task(journal.run(way.context))
    context = way.context
    async with asyncio.timeout(20):
        while not context.signer.refusal:  # noqa: ASYNC110 - the chore notes it
            await asyncio.sleep(0.01)
    await context.incidents.write(way.database)
    row = await way.database.fetchrow("SELECT cause, subject FROM incidents WHERE closed_at IS NULL")
    assert row is not None
    assert tuple(row) == ("JOURNAL_REWRITTEN", "journal")
    assert context.metrics.journal_rewritten._value.get() == 1
    root = Memory(context.keyring.directory).read(context.keyring.public)
    assert root is not None
    assert root.checkpoint is not None
    await way.database.fetch("UPDATE journal_checkpoints SET root = $1", root.checkpoint.head.root)
    await keep(way, "b")
    async with asyncio.timeout(20):
        while len(await positions(way)) != 4 or context.signer.refusal:  # noqa: ASYNC110 - the chore notes it
            await asyncio.sleep(0.01)
    chore.cancel()
    assert context.metrics.journal_rewritten._value.get() == 0


async def test_yesterdays_database_is_not_signed_on(way: Journey) -> None:
    """The whole journal as it was some checkpoints before, each row as it stood then."""
    await keep(way, "a", TILE + 5)
    await sealed(way)
    tables = ("journal", "journal_checkpoints", "journal_tiles")
    for table in tables:
        await run_sql(way, f"CREATE TABLE old_{table} AS TABLE {table}")
    await keep(way, "b", 2 * TILE)
    await sealed(way)
    for table in tables:
        await run_sql(way, f"TRUNCATE {table}; INSERT INTO {table} SELECT * FROM old_{table}")  # noqa: S608 - constant
    await keep(way, "c")
    await refused(way, f"it ends with {TILE + 5} entries, and we signed {3 * TILE + 5}")
    # Grown beyond what was signed by somebody who has the keys and no memory of the head: the other branch is refused.
    other = Keyring(way.context.keyring.directory.parent / "stolen")
    other.directory.mkdir()
    for path in way.context.keyring.directory.glob("*"):
        if path.name != head_file.FILE:
            (other.directory / path.name).write_bytes(path.read_bytes())
    other.open()
    await run_sql(way, "UPDATE journal_pending SET at = at - interval '1 hour'")
    await keep(way, "d", 3 * TILE)
    with pytest.raises(JournalRewrittenError, match=f"{head_file.FILE} is missing"):
        await seal(way.database, other)


async def test_a_kill_between_the_head_and_its_commit_is_no_rewriting(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(way, "a", 3)
    await sealed(way)
    await keep(way, "b", 2)

    async def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.journal.keep_checkpoint", killed)
        with pytest.raises(KilledError):
            await seal(way.database, way.context.keyring)
    kept = Memory(way.context.keyring.directory).read(way.context.keyring.public)
    assert kept is not None
    assert not kept.committed
    await keep(way, "c")
    assert await sealed(way)
    assert len(await positions(way)) == 6
    # Once its commit is known, the checkpoint may not be taken back.
    await run_sql(way, "DELETE FROM journal_checkpoints WHERE size > 3; DELETE FROM journal WHERE position > 2")
    await refused(way, "we signed 6")


async def test_a_first_checkpoint_whose_commit_never_came_is_made_again(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(way, "a", 3)

    async def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.journal.keep_checkpoint", killed)
        with pytest.raises(KilledError):
            await seal(way.database, way.context.keyring)
    assert await sealed(way) == 1


async def test_gateways_with_directories_of_their_own_follow_each_other(way: Journey, tmp_path: Path) -> None:
    mine = way.context.keyring
    await keep(way, "a", 3)
    await sealed(way)
    (tmp_path / "others").mkdir()
    for path in mine.directory.iterdir():
        (tmp_path / "others" / path.name).write_bytes(path.read_bytes())
    other = Keyring(tmp_path / "others")
    other.open()
    for turn in range(6):
        await keep(way, f"m{turn}-", 1 + turn * 40)
        assert await seal(way.database, (mine, other)[turn % 2])
    assert await seal(way.database, mine) == 0
    assert await seal(way.database, other) == 0
    heads = [Memory(ring.directory).read(ring.public) for ring in (mine, other)]
    assert heads[0] is not None
    assert heads[0] == heads[1]


async def test_a_journal_from_before_heads_were_kept_is_taken_up(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(way.context.keyring.directory)
    monkeypatch.setattr("gateway.pipeline.journal.Checkpoint", _as_before)
    await keep(way, "a", 3)
    await sealed(way)
    monkeypatch.undo()
    memory.path.unlink()
    await keep(way, "b")
    await sealed(way)
    kept = memory.read(way.context.keyring.public)
    assert kept is not None
    assert kept.checkpoint is not None
    assert (kept.checkpoint.head.size, kept.committed) == (4, True)


def _as_before(*values: object) -> object:
    from gateway.evidence.journal import Checkpoint  # noqa: PLC0415 - the name in the module is this function

    log, head, time, before = values
    return Checkpoint(log, head, time, before, joined=False)  # type: ignore[arg-type]


async def test_a_deleted_head_comes_back_under_a_running_gateway_and_stops_a_new_one(way: Journey) -> None:
    memory = Memory(way.context.keyring.directory)
    await keep(way, "a", 3)
    assert await seal(way.database, way.context.keyring, memory)
    memory.path.unlink()
    await keep(way, "b")
    assert await seal(way.database, way.context.keyring, memory)
    assert memory.path.exists()
    memory.path.unlink()
    await keep(way, "c")
    await refused(way, "is missing, though who signed the last checkpoint")


@pytest.mark.parametrize("content", ["", "{}", '{"version": "1", "checkpoint": "e30.e30.e30", "committed": true}', "["])
async def test_a_head_that_is_not_ours_stops_the_signer(way: Journey, content: str) -> None:
    memory = Memory(way.context.keyring.directory)
    await keep(way, "a", 3)
    await sealed(way)
    memory.path.write_text(content)
    await keep(way, "b")
    with pytest.raises(HeadNotKeptError, match="nothing is signed meanwhile"):
        await seal(way.database, way.context.keyring)
    assert await way.tell(notice()) == "CA"


async def test_a_full_disk_beside_the_keys_stops_the_signer_and_nothing_else(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(way, "a", 3)
    await sealed(way)
    await keep(way, "b")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(head_file, "replace", full)
        with pytest.raises(HeadNotKeptError, match="No space left on device"):
            await seal(way.database, way.context.keyring)
        assert await way.tell(notice()) == "CA"
    assert len(await positions(way)) == 3
    assert await sealed(way)


async def test_the_head_is_its_owners_alone_and_holds_nothing_but_the_checkpoint(way: Journey) -> None:
    await keep(way, "a")
    await sealed(way)
    path = way.context.keyring.directory / head_file.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(json.loads(path.read_text())) == ["checkpoint", "committed", "version"]


async def test_the_patrol_finds_an_old_entry_that_was_changed_and_notices_its_mending(way: Journey) -> None:
    await keep(way, "a", 3 * TILE)
    await sealed(way)
    changed = "UPDATE journal SET entry = replace(entry, '{}', '{}') WHERE position = 5"
    await run_sql(way, changed.format('"AA"', '"AE"'))
    state = signer.Signer(patrolled=1)
    async with way.database.connection() as connection:
        said = [await signer.patrol(connection, state) for _ in range(4)]
        assert [bool(one) for one in said] == [False, False, True, True]
        assert f"entries 0 to {TILE - 1}" in said[-1]
        await connection.execute(changed.format('"AE"', '"AA"'))
        assert await signer.patrol(connection, state) == ""
    assert await check(way.database, way.context.keyring.public)


async def test_a_person_accepts_an_older_database_and_the_branch_shows(
    way: Journey, database: str, tmp_path: Path
) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL)
    await keep(way, "a", 5)
    await sealed(way)
    await keep(way, "b", 3)
    await sealed(way)
    await run_sql(way, _CUT)
    await run_sql(way, "DELETE FROM messages WHERE control_id LIKE 'b%'")
    await refused(way, "we signed 8")
    words = ("evidence", "accept", "--reason", "the disk of Monday was lost", "--config", config)
    wrong = await procot(*words, "--branch", "8")
    assert (wrong.status, "say --branch 5" in wrong.err) == (1, True), wrong.err
    done = await procot(*words, "--branch", "5")
    assert done.status == 0, done.err
    assert "the head before lies in" in done.out
    await keep(way, "c")
    await sealed(way)
    kinds = await way.database.fetch("SELECT entry::json ->> 'kind' AS kind FROM journal WHERE position > 4")
    assert sorted(row["kind"] for row in kinds) == ["message", "restored"]
    act = await way.database.fetchrow("SELECT actor, act, reason FROM operator_acts")
    assert act is not None
    assert act["act"] == "evidence.accept"
    assert (await check(way.database, way.context.keyring.public, keyring=way.context.keyring)).problems == []


async def test_nobody_can_accept_a_journal_that_was_rewritten(way: Journey, database: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL)
    await keep(way, "a", 5)
    await sealed(way)
    await run_sql(way, _REWRITE)
    done = await procot("evidence", "accept", "--branch", "5", "--reason", "it is fine", "--config", config)
    assert (done.status, "not good by itself" in done.err) == (1, True), done.err
    with pytest.raises(JournalRewrittenError):
        await seal(way.database, way.context.keyring)


async def test_an_accepted_empty_journal_begins_anew(way: Journey, database: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL)
    await keep(way, "a", 5)
    await sealed(way)
    await run_sql(way, "TRUNCATE journal, journal_checkpoints, journal_tiles, messages CASCADE")
    await keep(way, "b")
    await refused(way, "no checkpoint at all")
    done = await procot("evidence", "accept", "--branch", "0", "--reason", "begun anew", "--config", config)
    assert done.status == 0, done.err
    assert await sealed(way)
    assert await positions(way) == [0, 1]

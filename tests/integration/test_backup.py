"""Backup and restore, rehearsed: the same rows and keys, an empty target only, and nothing at the registry twice."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.evidence import vault
from gateway.evidence.keys import Keyring
from gateway.store import backup as store
from gateway.store.queue import Kind
from tests.simulators.command import Done, configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey, journey, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "only for this test"


@pytest.fixture(autouse=True)
def _quick_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "SCRYPT_N", 2**10)


async def content(dsn: str) -> dict[str, Any]:
    """Return every row of every table, but for what a restore marks."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = [r["name"] for r in await connection.fetch(store._TABLES)]
        rows = {t: [dict(r) for r in await connection.fetch(f'SELECT * FROM "{t}" ORDER BY 1, 2')] for t in tables}  # noqa: S608
    finally:
        await connection.close()
    for table, column in (("births", "ask_first"), ("tasks", "lease"), ("tasks", "due_at")):
        for row in rows[table]:
            row.pop(column)
    rows["journal_pending"] = [row for row in rows["journal_pending"] if row["kind"] != "restored"]
    del rows["restores"], rows["chores"]
    decoded: dict[str, Any] = json.loads(json.dumps(rows, default=str, sort_keys=True))
    return decoded


@asynccontextmanager
async def gateway_with_births(dsn: str, directory: Path) -> AsyncIterator[tuple[Journey, Path]]:
    await asyncio.to_thread(directory.mkdir)
    async with journey(dsn, directory) as way:
        yield way, configuration(directory, dsn, facility=HOSPITAL)


async def backup(config: Path, directory: Path, *more: object) -> Done:
    return await procot("backup", directory, "--config", config, *more, PROCOT_BACKUP_PASSPHRASE=SECRET)


async def restore(config: Path, directory: Path, *more: object, passphrase: str = SECRET) -> Done:
    """Restore as an operator does who has saved the public keys of the gateway in `a`."""
    saved = config.parent.parent / "jwks.json"
    keys = Keyring(config.parent.parent / "a" / "keys")
    keys.open()
    saved.write_text(json.dumps(keys.jwks()))
    return await stranger(config, directory, "--trust", saved, *more, passphrase=passphrase)


async def stranger(config: Path, directory: Path, *more: object, passphrase: str = SECRET) -> Done:
    """Restore as somebody who trusts no key that is not there already."""
    return await procot("restore", directory, "--config", config, *more, PROCOT_BACKUP_PASSPHRASE=passphrase)


def target(directory: Path, dsn: str) -> Path:
    directory.mkdir()
    return configuration(directory, dsn, facility=HOSPITAL)


async def test_everything_comes_back_as_it_was_with_the_keys(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.reach(State.DELIVERED)
        await way.tell(notice(record_number="00450122"))
        done = await backup(config, tmp_path / "backups")
        before = await content(database)
    assert done.status == 0, done.err
    assert "1 births, 2 messages, 2 key files" in done.out
    (file,) = (tmp_path / "backups").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"RIZKI" not in file.read_bytes()
    new = target(tmp_path / "b", empty_database)
    checked = await restore(new, tmp_path / "backups", "--check")
    assert (checked.status, "good, 1 births" in checked.out) == (0, True)
    assert not (tmp_path / "b" / "keys").exists()
    restored = await restore(new, tmp_path / "backups")
    assert restored.status == 0, restored.err
    assert await content(empty_database) == before
    keys = {p.name: p.read_bytes() for p in (tmp_path / "a" / "keys").iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "b" / "keys").iterdir()} == keys
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in (tmp_path / "b" / "keys").iterdir())


async def test_what_was_restored_goes_on_with_numbers_after_the_last_and_its_references_checked(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.reach(State.IN_PROCESS)
        assert (await backup(config, tmp_path / "backups")).status == 0
    new = target(tmp_path / "b", empty_database)
    assert (await restore(new, tmp_path / "backups")).status == 0
    async with journey(empty_database, tmp_path / "b") as way:
        assert await way.tell(notice(record_number="00450122")) == "CA"
        await way.work()
        assert await way.state("00450122") is State.IN_PROCESS
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await way.database.fetch(
                "INSERT INTO events (birth_id, actor, step, to_state) VALUES (gen_random_uuid(), '', '', '')"
            )


async def test_a_target_that_is_not_empty_is_refused_and_stays_as_it_was(database: str, tmp_path: Path) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.reach(State.IN_PROCESS)
        await backup(config, tmp_path / "backups")
        before = await content(database)
        done = await restore(config, tmp_path / "backups")
        assert (done.status, "is not empty" in done.err) == (1, True)
        assert await content(database) == before


async def test_other_keys_at_the_target_are_never_overwritten(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (_, config):
        await backup(config, tmp_path / "backups")
    new = target(tmp_path / "b", empty_database)
    (tmp_path / "b" / "keys").mkdir()
    (tmp_path / "b" / "keys" / "index.key").write_bytes(b"x" * 32)
    done = await restore(new, tmp_path / "backups")
    assert (done.status, "holds other keys" in done.err) == (1, True)
    assert (tmp_path / "b" / "keys" / "index.key").read_bytes() == b"x" * 32


async def test_a_restore_that_was_killed_is_simply_done_again(
    database: str, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.reach(State.IN_PROCESS)
        await backup(config, tmp_path / "backups")
        before = await content(database)
    new = target(tmp_path / "b", empty_database)

    async def killed(*_arguments: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(store, "_go_on", killed)
        assert (await restore(new, tmp_path / "backups")).status == 1
    done = await restore(new, tmp_path / "backups")
    assert done.status == 0, done.err
    assert await content(empty_database) == before


@pytest.mark.parametrize(
    ("passphrase", "said"), [("another passphrase", "passphrase or key is wrong"), ("short", "at least 12 characters")]
)
async def test_a_wrong_passphrase_is_one_sentence_and_leaves_no_trace(
    database: str, empty_database: str, tmp_path: Path, passphrase: str, said: str
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (_, config):
        await backup(config, tmp_path / "backups")
    done = await restore(target(tmp_path / "b", empty_database), tmp_path / "backups", passphrase=passphrase)
    assert (done.status, said in done.err) == (1, True), done.err
    assert not (tmp_path / "b" / "keys").exists()


async def test_a_backup_that_was_cut_short_says_so_and_not_that_the_passphrase_is_wrong(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (_, config):
        await backup(config, tmp_path / "backups")
    (file,) = (tmp_path / "backups").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    done = await restore(target(tmp_path / "b", empty_database), tmp_path / "backups", "--check")
    assert (done.status, "cut short" in done.err, "passphrase" in done.err) == (1, True, False), done.err


async def test_a_backup_without_its_keys_is_refused(database: str, tmp_path: Path) -> None:
    config = target(tmp_path / "a", database)
    done = await backup(config, tmp_path / "backups")
    assert (done.status, "keys are not there" in done.err) == (1, True)


async def test_a_backup_is_restored_into_an_embedded_database_of_a_new_directory_once(
    database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.reach(State.IN_PROCESS)
        await backup(config, tmp_path / "backups")
    trusted = ("--trust", way.context.keyring.signing.key_id)
    command = (
        sys.executable,
        "-m",
        "gateway.cli",
        "restore",
        tmp_path / "backups",
        "--data",
        tmp_path / "new",
        *trusted,
    )
    said = []
    for _ in range(2):  # a process of its own: the server must be started from a main thread
        running = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PROCOT_BACKUP_PASSPHRASE": SECRET},
        )
        printed, complained = await running.communicate()
        said.append((running.returncode, printed.decode(), complained.decode()))
    (first, out, err), (second, _, refusal) = said
    assert (first, "1 births" in out) == (0, True), err
    assert (second, "is not empty" in refusal) == (1, True)
    assert len(list((tmp_path / "new" / "keys").iterdir())) == 2


# --------------------------------------------------------------------------------- a journal behind the registry


async def disaster(
    way: Journey, config: Path, tmp_path: Path, empty_database: str, *, after: State
) -> tuple[Path, Any]:
    """Back up before, let the registry take the birth, then lose the database."""
    await backup(config, tmp_path / "backups")
    await way.work()
    assert await way.state() is after
    new = target(tmp_path / "b", empty_database)
    done = await restore(new, tmp_path / "backups")
    assert done.status == 0, done.err
    return new, way.registry


async def test_what_the_registry_took_after_the_backup_is_asked_about_and_not_sent_again(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.tell(notice())
        await way.step(Kind.ASSIGN)
        _, registry = await disaster(way, config, tmp_path, empty_database, after=State.IN_PROCESS)
    async with journey(empty_database, tmp_path / "b") as way:
        way.registry.cases.update(registry.cases)
        assert await way.state() is State.READY  # our journal is behind
        await way.work()
        assert await way.state() is State.IN_PROCESS
        assert way.registry.submissions == []
        assert len(way.registry.asked) == 1


async def test_a_birth_made_after_the_backup_has_the_same_id_and_is_not_doubled(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        told = notice(control_id="LOST0001")
        await backup(config, tmp_path / "backups")  # before the birth was heard of
        await way.tell(told)
        await way.work()
        lost = await way.birth()
        new = target(tmp_path / "b", empty_database)
        assert (await restore(new, tmp_path / "backups")).status == 0
        registry = way.registry
    async with journey(empty_database, tmp_path / "b") as way:
        way.registry.cases.update(registry.cases)
        assert await way.tell(told) == "CA"  # the hospital sends it again
        await way.step(Kind.ASSIGN)
        assert (await way.birth()).id == lost.id
        await way.work()
        assert [s.idempotency_key for s in registry.submissions] == [f"{lost.id}:1"]
        assert way.registry.submissions == []


async def test_what_was_issued_after_the_backup_is_learnt_and_told_to_the_hospital(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.reach(State.SEALED)
        way.registry.on_submit.append(RegistryStatus.ISSUED)
        _, registry = await disaster(way, config, tmp_path, empty_database, after=State.DELIVERED)
    async with journey(empty_database, tmp_path / "b") as way:
        way.registry.cases.update(registry.cases)
        await way.work()
        assert await way.state() is State.DELIVERED
        assert way.registry.submissions == []

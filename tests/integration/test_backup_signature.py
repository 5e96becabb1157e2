"""`procot restore` takes our backups and no stranger's, whoever knows the passphrase; nothing in a file is believed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.evidence import vault
from gateway.evidence.head import FILE, Memory
from gateway.evidence.keys import Keyring
from gateway.evidence.manifest import Manifest, sign_manifest
from gateway.pipeline.journal import check, seal
from gateway.store.database import Database
from tests.integration.test_backup import SECRET, backup, content, gateway_with_births, restore, stranger, target
from tests.integration.test_journal import sealed
from tests.simulators.command import configuration
from tests.simulators.facilities import HOSPITAL
from tests.simulators.forged_backup import Part, as_before_signatures, put_together, taken_apart, written
from tests.simulators.journey import journey, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.simulators.command import Done


@pytest.fixture(autouse=True)
def _quick_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "SCRYPT_N", 2**10)


@pytest_asyncio.fixture
async def made(database: str, tmp_path: Path) -> AsyncIterator[Path]:
    """Lend a backup of a gateway in `a`, whose keys and database are still there."""
    async with gateway_with_births(database, tmp_path / "a") as (way, config):
        await way.reach(State.DELIVERED)
        await sealed(way)
        done = await backup(config, tmp_path / "backups")
        assert done.status == 0, done.err
        assert f"signed by {way.context.keyring.signing.key_id}" in done.out
    (file,) = (tmp_path / "backups").iterdir()
    yield file


async def refused(done: Done, said: str, dsn: str) -> None:
    """Look that one sentence tells why, and that nothing was restored."""
    assert (done.status, said in done.err) == (1, True), done.err + done.out
    assert "Traceback" not in done.err
    connection = await asyncpg.connect(dsn)
    try:
        if await connection.fetchval("SELECT to_regclass('births') IS NOT NULL"):
            assert await connection.fetchval("SELECT count(*) FROM births") == 0
    finally:
        await connection.close()


async def test_a_backup_of_our_own_machine_needs_no_word_and_a_new_machine_is_told_whom_to_trust(
    made: Path, empty_database: str, tmp_path: Path
) -> None:
    keys = Keyring(tmp_path / "a" / "keys")
    keys.open()
    new = target(tmp_path / "b", empty_database)
    await refused(await stranger(new, made), "which is not known here", empty_database)
    looked = await stranger(new, made, "--check")
    assert (looked.status, "was not compared with a key of yours" in looked.out) == (0, True)
    (tmp_path / "b" / "keys").mkdir()
    for path in keys.directory.iterdir():
        (tmp_path / "b" / "keys" / path.name).write_bytes(path.read_bytes())
    own = await stranger(new, made)
    assert (own.status, f"signed by {keys.signing.key_id}" in own.out) == (0, True), own.err


async def test_the_keys_id_is_enough_on_a_new_machine(made: Path, empty_database: str, tmp_path: Path) -> None:
    keys = Keyring(tmp_path / "a" / "keys")
    keys.open()
    new = target(tmp_path / "b", empty_database)
    done = await stranger(new, made, "--trust", keys.signing.key_id)
    assert done.status == 0, done.err
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "b" / "keys").iterdir()}
    assert (modes, (tmp_path / "b" / "keys").stat().st_mode & 0o777) == ({0o600}, 0o700)


async def test_a_strangers_backup_is_refused_though_it_is_signed(
    made: Path, empty_database: str, tmp_path: Path
) -> None:
    """Somebody with the passphrase made it on a gateway of his own; its keys are in it."""
    parts = taken_apart(made, SECRET)
    theirs = Keyring(tmp_path / "theirs")
    theirs.open()
    for part in parts:
        if part.about["entry"] == "file" and part.about["name"].startswith("sign-"):
            (key,) = theirs.directory.glob("sign-*.pem")
            part.about["name"], part.blocks = key.name, [key.read_bytes()]
    _sign(parts, theirs)
    put_together(made, parts, SECRET)
    new = target(tmp_path / "b", empty_database)
    await refused(await restore(new, made), "which is none of the 1 we trust: it may be a stranger's", empty_database)
    await refused(await restore(new, made, "--unsigned"), "it may be a stranger's", empty_database)
    await refused(await restore(new, made, "--check"), "it may be a stranger's", empty_database)
    assert not (tmp_path / "b" / "keys").exists()


def _sign(parts: list[Part], keys: Keyring) -> None:
    stream = b"".join(part.packed for part in parts[:-1])
    manifest = Manifest(hashlib.sha256(stream).hexdigest(), parts[0].about["made_at"], 5)
    parts[-1].about["jws"] = sign_manifest(manifest, keys.signing)


def _table(parts: list[Part], name: str) -> Part:
    return next(part for part in parts if part.about.get("name") == name)


def _another_akta(parts: list[Part]) -> None:
    part = _table(parts, "certificates")
    part.blocks = [b"".join(part.blocks).replace(b"3510-LU", b"3599-LU")]


def _swapped(parts: list[Part]) -> None:
    one, other = _table(parts, "seals"), _table(parts, "revisions")
    one.blocks, other.blocks = other.blocks, one.blocks


def _another_token(parts: list[Part]) -> None:
    _table(parts, "tokens").blocks.append(b"x")


def _stripped(parts: list[Part]) -> None:
    parts.pop()


def _cut(parts: list[Part]) -> None:
    del parts[-3:]


def _other_form(parts: list[Part]) -> None:
    parts[-1].about["jws"] = "e30.e30.e30"


def _when(parts: list[Part]) -> None:
    parts[0].about["made_at"] = "2030-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_another_akta, "this one was changed"),
        (_swapped, "this one was changed"),
        (_another_token, "this one was changed"),
        (_when, "this one was changed"),
        (_stripped, "ends too early"),
        (_cut, "ends too early"),
        (_other_form, "its signature is not right"),
    ],
)
async def test_what_was_changed_behind_the_encryption_is_refused(
    made: Path, empty_database: str, tmp_path: Path, change: Callable[[list[Part]], None], said: str
) -> None:
    parts = taken_apart(made, SECRET)
    change(parts)
    put_together(made, parts, SECRET)
    new = target(tmp_path / "b", empty_database)
    for more in ((), ("--unsigned",)):
        done = await restore(new, made, *more)
        assert done.status == 1
        assert "Traceback" not in done.err
    await refused(done, "" if change is _other_form else said, empty_database)


async def test_a_signature_of_another_backup_is_refused(
    made: Path, database: str, empty_database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path / "a") as way:
        await way.tell(notice(record_number="00450122"))
    await backup(tmp_path / "a" / "procot.toml", tmp_path / "later")
    (later,) = (tmp_path / "later").iterdir()
    parts = taken_apart(made, SECRET)
    parts[-1] = taken_apart(later, SECRET)[-1]
    put_together(made, parts, SECRET)
    await refused(await restore(target(tmp_path / "b", empty_database), made), "this one was changed", empty_database)


async def test_a_backup_from_before_there_were_signatures_wants_so_many_words(
    made: Path, database: str, empty_database: str, tmp_path: Path
) -> None:
    before = await content(database)
    put_together(made, as_before_signatures(taken_apart(made, SECRET)), SECRET)
    new = target(tmp_path / "b", empty_database)
    await refused(await restore(new, made), "is not signed, so that it may be a stranger's", empty_database)
    done = await restore(new, made, "--unsigned")
    assert (done.status, "not signed" in done.out) == (0, True), done.err
    assert await content(empty_database) == before


def _foreign_table(parts: list[Part]) -> None:
    _table(parts, "seals").about["name"] = "schema_migrations"


def _catalogue(parts: list[Part]) -> None:
    _table(parts, "seals").about["name"] = "pg_authid"


def _injected(parts: list[Part]) -> None:
    _table(parts, "seals").about["name"] = "seals\" (payload) FROM PROGRAM 'id' --"


def _twice(parts: list[Part]) -> None:
    parts.insert(2, Part({**parts[1].about}, list(parts[1].blocks)))


def _columns(parts: list[Part]) -> None:
    _table(parts, "seals").about["columns"] = ["payload", "payload"]


def _end_of_data(parts: list[Part]) -> None:
    """Let COPY end before its rows: what stands behind its mark of an end is not read."""
    part = _table(parts, "messages")
    part.blocks = [b"\\.\n", *part.blocks]


def _outside(parts: list[Part]) -> None:
    parts.insert(-2, Part({"entry": "file", "name": "../../etc/cron.d/x"}, [b"x"]))


def _no_head(parts: list[Part]) -> None:
    parts[0].about["migrations"] = {"a": 1}


def _large_file(parts: list[Part]) -> None:
    parts.insert(-2, Part({"entry": "file", "name": "retired-x.pem"}, [b"x" * 100_000]))


def _no_rows(parts: list[Part]) -> None:
    parts[-1].about["rows"] = "many"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_foreign_table, "a table that is not ours"),
        (_catalogue, "a table that is not ours"),
        (_injected, "a table that is not ours"),
        (_twice, "or one twice"),
        (_columns, "has not the columns"),
        (_end_of_data, "does not hold the rows it says it holds"),
        (_outside, "is no key of ours"),
        (_no_head, "of another format"),
        (_large_file, "more than 65536 bytes"),
        (_no_rows, "of another format"),
    ],
)
async def test_nothing_in_an_unsigned_file_is_believed(
    made: Path, empty_database: str, tmp_path: Path, change: Callable[[list[Part]], None], said: str
) -> None:
    parts = as_before_signatures(taken_apart(made, SECRET))
    change(parts)
    put_together(made, parts, SECRET)
    done = await restore(target(tmp_path / "b", empty_database), made, "--unsigned")
    await refused(done, said, empty_database)
    assert not (tmp_path.parent / "etc").exists()


def _bomb() -> bytes:
    deflate = zlib.compressobj(9)
    head = {"entry": "head", "format": 2, "made_at": "2026-01-01T00:00:00+00:00", "migrations": [[1, "a", "b"]]}
    packed = deflate.compress(json.dumps(head).encode() + b"\n" + bytes(4) + b'{"entry":"table","name":"x"}\n')
    block = (2**20).to_bytes(4) + bytes(2**20)
    for _ in range(400):
        packed += deflate.compress(block)
    return packed + deflate.flush()


_HUGE = zlib.compress(
    b'{"entry":"head","format":2,"made_at":"2026-01-01T00:00:00+00:00","migrations":[[1,"a","b"]]}\n\xff\xff\xff\xff'
)


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (_bomb(), "more than 250 times its size"),
        (_HUGE, "no block of ours is that large"),
        (b"not compressed at all", "not compressed as ours is"),
        (zlib.compress(b"[" * 100_000 + b"\n"), "of another format"),
        (zlib.compress(b"{}\n"), "of another format"),
        (zlib.compress(b"x" * 3_000_000), "of another format"),
        (b"", "ends too early"),
    ],
)
async def test_a_file_made_to_do_harm_is_one_sentence(
    made: Path, empty_database: str, tmp_path: Path, archive: bytes, said: str
) -> None:
    written(made, archive, SECRET)
    await refused(await restore(target(tmp_path / "b", empty_database), made, "--check"), said, empty_database)


async def test_an_older_backup_is_restored_with_a_warning_and_the_journal_goes_on_as_a_branch(
    made: Path, database: str, empty_database: str, tmp_path: Path
) -> None:
    config = tmp_path / "a" / "procot.toml"
    async with journey(database, tmp_path / "a") as way:
        await way.tell(notice(record_number="00450122"))
        await sealed(way)
        signed = way.context.keyring.public
    await asyncio.to_thread(made.rename, made.with_name("procot-20300101T000000Z.procot-backup"))  # as if the newest
    config = configuration(tmp_path / "a", empty_database, facility=HOSPITAL)
    done = await stranger(config, tmp_path / "backups")
    assert done.status == 0, done.err
    assert "not when its name says: it was renamed" in done.err
    assert "and this machine signed" in done.err
    assert list((tmp_path / "a" / "keys").glob(f"{FILE}.until-*")), "what was signed before is kept"
    async with journey(empty_database, tmp_path / "a") as way:
        assert await sealed(way)
        said = await way.database.fetch("SELECT entry FROM journal ORDER BY position DESC LIMIT 1")
        assert json.loads(said[0]["entry"])["kind"] == "restored"
        found = await check(way.database, signed, keyring=way.context.keyring)
        assert found.problems == []


async def test_a_restored_journal_is_signed_on_without_a_word(made: Path, empty_database: str, tmp_path: Path) -> None:
    new = target(tmp_path / "b", empty_database)
    assert (await restore(new, made)).status == 0
    keys = Keyring(tmp_path / "b" / "keys")
    keys.open()
    kept = Memory(keys.directory).read(keys.public)
    assert kept is not None
    database = Database(empty_database, size=2, timeout_s=10)
    await database.open()
    try:
        assert await seal(database, keys)
    finally:
        await database.close()

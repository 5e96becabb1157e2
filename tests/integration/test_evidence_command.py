"""`procot evidence`: what proves something passes; what was altered does not and is named; with public keys alone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.evidence.envelope import sign_compact, sign_detached
from gateway.evidence.keys import Keyring, b64url
from gateway.pipeline import journal
from gateway.pipeline.journal import seal
from gateway.store import journal as store
from gateway.store.database import connect
from gateway.store.migrate import migrate
from tests.simulators.command import Done, configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey, notice
from tests.simulators.journey import journey as parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway with a birth on its way, its journal sealed, and its public keys in a file."""
    async with parts(database, tmp_path) as found:
        await found.tell(notice(control_id="EVIDENCE1"))
        await seal(found.database, found.context.keyring)
        await found.reach(State.IN_PROCESS)
        await seal(found.database, found.context.keyring)
        (tmp_path / "jwks.json").write_text(json.dumps(found.context.keyring.jwks()))
        yield found


async def verify(directory: Path, file: Path, *more: object) -> Done:
    return await procot("evidence", "verify", file, "--keys", directory / "jwks.json", *more)


async def a_receipt(way: Journey, path: Path, position: int = 0) -> dict[str, Any]:
    async with way.database.connection() as connection:
        (found,) = await store.page(connection, position, 1)
        made = await journal.receipt(connection, found)
    await asyncio.to_thread(path.write_text, json.dumps(made))
    return made


async def exported(way: Journey, directory: Path) -> Path:
    config = configuration(directory, way.database.dsn, facility=HOSPITAL)
    done = await procot("evidence", "export", directory / "journal.jsonl", "--config", config)
    assert done.status == 0, done.err
    assert "wrote 4 entries" in done.out
    return directory / "journal.jsonl"


async def test_a_receipt_is_good_and_tells_what_it_is_about(way: Journey, tmp_path: Path) -> None:
    made = await a_receipt(way, tmp_path / "receipt.json")
    row = await way.database.fetchrow("SELECT raw FROM messages ORDER BY id LIMIT 1")
    assert row is not None
    (tmp_path / "message.hl7").write_bytes(row["raw"])
    done = await verify(tmp_path, tmp_path / "receipt.json", "--message", tmp_path / "message.hl7")
    assert (done.status, done.err) == (0, "")
    assert "good, a receipt" in done.out
    assert HOSPITAL in done.out
    shown = await verify(tmp_path, tmp_path / "receipt.json", "--json")
    (said,) = shown.lines
    assert said["good"]
    assert said["entry"]["sha256"] == hashlib.sha256(row["raw"]).hexdigest() == json.loads(made["entry"])["sha256"]
    (tmp_path / "framed.hl7").write_bytes(b"\x0b" + row["raw"] + b"\x1c\r")
    framed = await verify(tmp_path, tmp_path / "receipt.json", "--message", tmp_path / "framed.hl7")
    assert framed.status == 0, framed.err
    own = await procot("evidence", "verify", tmp_path / "receipt.json", "--data", tmp_path)
    assert own.status == 0, own.err


async def test_a_receipt_of_another_message_is_not_good(way: Journey, tmp_path: Path) -> None:
    await a_receipt(way, tmp_path / "receipt.json")
    (tmp_path / "message.hl7").write_bytes(b"MSH|another")
    done = await verify(tmp_path, tmp_path / "receipt.json", "--message", tmp_path / "message.hl7")
    assert done.status == 1
    assert "the receipt is of" in done.err


async def test_an_altered_receipt_is_not_good_and_the_part_is_named(way: Journey, tmp_path: Path) -> None:
    made = await a_receipt(way, tmp_path / "receipt.json", 1)
    header, payload, signature = made["checkpoint"].split(".")
    larger = json.loads(base64.urlsafe_b64decode(payload + "=="))
    larger["size"] += 1
    stranger = Keyring(tmp_path / "stranger")
    stranger.open()
    record = sign_compact(json.dumps(larger).encode(), way.context.keyring.signing, typ="another")
    for change, told in (
        (
            {"entry": made["entry"].replace('"at":"2', '"at":"3')},
            "entry 1 is not the one",
        ),
        ({"position": 0}, "entry 0 is not the one"),
        ({"position": 99}, "position: 99 is not among"),
        ({"position": True}, "of another kind"),
        ({"proof": made["proof"][:-1]}, "hashes do not lead"),
        ({"proof": [*made["proof"][:-1], "00" * 32]}, "leads to root"),
        ({"proof": ["zz"]}, "not a list of SHA-256 hashes"),
        ({"checkpoint": f"{header}.{b64url(json.dumps(larger).encode())}.{signature}"}, "does not fit the bytes"),
        ({"checkpoint": sign_compact(b"{}", stranger.signing, typ="procot-checkpoint+jws")}, "not among the 1 keys"),
        ({"checkpoint": record}, "signed for something else"),
        ({"version": "2"}, "version: '2' is not known"),
    ):
        (tmp_path / "altered.json").write_text(json.dumps(made | change))
        done = await verify(tmp_path, tmp_path / "altered.json")
        assert (done.status, told in done.err) == (1, True), (change, done.err)
        (said,) = (await verify(tmp_path, tmp_path / "altered.json", "--json")).lines
        assert said["good"] is False
        assert told in said["problem"]


async def test_a_sealed_record_is_good_in_every_form_in_which_it_leaves_the_house(way: Journey, tmp_path: Path) -> None:
    row = await way.database.fetchrow("SELECT payload, signature, sha256 FROM seals")
    assert row is not None
    (tmp_path / "body").write_bytes(row["payload"])
    (tmp_path / "signature").write_text(row["signature"])
    signed = {"payload": row["payload"].decode(), "signature": row["signature"]}
    (tmp_path / "leased.json").write_text(json.dumps({"id": "x", "signed": signed}, indent=2))
    header, _, mac = row["signature"].split(".")
    (tmp_path / "compact.jws").write_text(f"{header}.{b64url(row['payload'])}.{mac}\n")
    for file, more in (
        ("body", ("--signature", row["signature"])),
        ("body", ("--signature", f"@{tmp_path / 'signature'}")),
        ("leased.json", ()),
        ("compact.jws", ()),
    ):
        done = await verify(tmp_path, tmp_path / file, *more, "--json")
        assert done.status == 0, done.err
        assert done.lines[0]["sha256"] == row["sha256"]
    (tmp_path / "body").write_bytes(row["payload"].replace(b"3", b"4", 1))
    done = await verify(tmp_path, tmp_path / "body", "--signature", row["signature"])
    assert (done.status, "does not fit the bytes" in done.err) == (1, True)


async def test_a_pack_that_says_other_things_than_were_signed_is_not_good(way: Journey, tmp_path: Path) -> None:
    payload = b'{"birth_id":"b","record":{"x":1},"revision":1}'
    signed = {"payload": payload.decode(), "signature": sign_detached(payload, way.context.keyring.signing)}
    pack = {"kind": "procot-handover", "birth_id": "b", "revision": 1, "record": {"x": 1}, "signed": signed}
    (tmp_path / "pack.json").write_text(json.dumps(pack))
    assert (await verify(tmp_path, tmp_path / "pack.json")).status == 0
    (tmp_path / "pack.json").write_text(json.dumps(pack | {"record": {"x": 2}}))
    done = await verify(tmp_path, tmp_path / "pack.json")
    assert (done.status, "record: the pack says another one" in done.err) == (1, True)


async def test_a_checkpoint_alone_can_be_checked(way: Journey, tmp_path: Path) -> None:
    made = await a_receipt(way, tmp_path / "receipt.json")
    (tmp_path / "checkpoint.jws").write_text(made["checkpoint"])
    done = await verify(tmp_path, tmp_path / "checkpoint.jws", "--json")
    assert done.status == 0, done.err
    assert (done.lines[0]["kind"], done.lines[0]["entries"]) == ("checkpoint", 4)


async def test_an_exported_journal_is_good_and_each_alteration_is_found_with_its_line(
    way: Journey, tmp_path: Path
) -> None:
    file = await exported(way, tmp_path)
    done = await verify(tmp_path, file, "--json")
    assert done.status == 0, done.err
    assert {key: done.lines[0][key] for key in ("kind", "entries", "checkpoints")} == {
        "kind": "journal",
        "entries": 4,
        "checkpoints": 2,
    }
    lines = file.read_text().splitlines(keepends=True)
    assert [json.loads(line).keys() & {"entry", "checkpoint"} for line in lines[1:]] == [
        {"entry"}, {"checkpoint"}, {"entry"}, {"entry"}, {"entry"}, {"checkpoint"},
    ]  # fmt: skip
    for altered, told in (
        ([*lines[:3], lines[3].replace("message", "massage"), *lines[4:]], "line 7: checkpoint of 4 entries"),
        ([*lines[:3], *lines[4:]], "line 4: entry 1 is missing"),
        ([*lines[:2], *lines[3:]], "does not follow the checkpoint before it"),
        (lines[:6], "its last 3 entries are under no checkpoint"),
        (lines[:2], "the export ends before its first checkpoint"),
        ([*lines[:3], "{}\n", *lines[3:]], "line 4: neither an entry nor a checkpoint"),
        ([*lines[:3], "x\n"], "line 4: not a line of JSON"),
        ([lines[0].replace('"log":"', '"log":"0'), *lines[1:]], "line 3: checkpoint of 1 entries"),
        ([*lines[:2], lines[6]], "1 entries stand before it"),
    ):
        file.write_text("".join(altered))
        done = await verify(tmp_path, file)
        assert (done.status, told in done.err) == (1, True), (told, done.err)


async def test_what_cannot_be_checked_is_neither_good_nor_bad(way: Journey, tmp_path: Path) -> None:
    await a_receipt(way, tmp_path / "receipt.json")
    (tmp_path / "letter").write_text("dear all")
    (tmp_path / "strange.json").write_text('{"keys": []}')
    for arguments, told in (
        ((tmp_path / "letter", "--keys", tmp_path / "jwks.json"), "neither a receipt"),
        ((tmp_path / "absent", "--keys", tmp_path / "jwks.json"), "No such file"),
        ((tmp_path / "receipt.json", "--keys", tmp_path / "strange.json"), "holds no Ed25519 key"),
        ((tmp_path / "receipt.json", "--keys", tmp_path / "letter"), "not JSON"),
        ((tmp_path / "receipt.json", "--data", tmp_path / "nowhere"), "--keys"),
    ):
        done = await procot("evidence", "verify", *arguments)
        assert (done.status, done.out, told in done.err) == (2, "", True), (told, done.err)


async def test_the_check_of_our_own_journal_ends_well_or_says_what_is_wrong(way: Journey, tmp_path: Path) -> None:
    config = configuration(tmp_path, way.database.dsn, facility=HOSPITAL)
    done = await procot("evidence", "check", "--config", config)
    assert done.status == 0, done.err
    assert "4 entries under 2 checkpoints" in done.out
    await way.database.fetch("UPDATE messages SET answer = 'other' WHERE id = 1")
    done = await procot("evidence", "check", "--config", config, "--json")
    (said,) = done.lines
    assert (done.status, said["good"], len(said["problems"])) == (1, False, 1)


async def test_on_an_older_schema_the_command_says_what_to_do(empty_database: str, tmp_path: Path) -> None:
    connection = await connect(empty_database, timeout_s=60)
    await migrate(connection, upto=store.LEVEL - 1)
    await connection.close()
    Keyring(tmp_path / "keys").open()
    config = configuration(tmp_path, empty_database, facility=HOSPITAL)
    for words in (("check",), ("export", tmp_path / "x")):
        done = await procot("evidence", *words, "--config", config)
        assert (done.status, "procot migrate" in done.err) == (1, True)
    assert not (tmp_path / "x").exists()

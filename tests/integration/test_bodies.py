"""`procot evidence check` hashes every body and names the place of each difference; what is right raises no alarm."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway.config import Retention
from gateway.contract.lifecycle import State
from gateway.contract.ports import Attachment
from gateway.evidence.keys import Keyring
from gateway.hl7.location import Location
from gateway.observe.metrics import Metrics
from gateway.pipeline import bodies
from gateway.pipeline.cull import cull
from gateway.pipeline.journal import check
from gateway.store import attachments
from gateway.store import bodies as store
from tests.integration.test_journal import keep, sealed
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey
from tests.simulators.journey import journey as parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SCAN = b"%PDF-1.4 a letter of the midwife"


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway whose journal tells of a birth to its end, with a scan."""
    async with parts(database, tmp_path) as found:
        birth = await found.reach(State.DELIVERED)
        scan = Attachment(
            Location("form", 0), "form", "application/pdf", size=len(SCAN), sha256=hashlib.sha256(SCAN).hexdigest(),
            content=SCAN,
        )  # fmt: skip
        async with found.database.transaction() as connection:
            await attachments.keep(connection, birth.id, None, scan, SCAN)
        while await sealed(found):
            pass
        yield found


async def differences(way: Journey) -> list[str]:
    found = await check(way.database, way.context.keyring.public, keyring=way.context.keyring)
    assert bool(found.problems) == bool(found.bodies.places)
    return [f"{place.table}.{place.column}" for place in found.bodies.places]


async def test_what_nobody_touched_is_good_and_everything_was_hashed(way: Journey) -> None:
    found = await check(way.database, way.context.keyring.public, keyring=way.context.keyring)
    assert found.problems == []
    assert found.bodies.unchecked == []
    assert found.bodies.hashed == {
        "messages": 1, "seals": 1, "certificates": 1, "earlier_certificates": 0, "attachments": 1,
    }  # fmt: skip


_HASH = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    ("done", "place"),
    [
        ("UPDATE messages SET raw = raw || 'x'", "messages.raw"),
        ("UPDATE messages SET raw = ''", "messages.raw"),
        ("UPDATE messages SET digest = sha256('x')", "messages.digest"),
        ("UPDATE messages SET raw = 'x', digest = sha256('x')", "messages.digest"),
        ("UPDATE messages SET answer = answer || 'x'", "messages.answer"),
        ("UPDATE messages SET answer_code = 'AE'", "messages.answer_code"),
        ("UPDATE messages SET application_answer = 'x'", "messages.application_answer"),
        ("UPDATE messages SET facility = 'ANOTHER'", "messages.digest"),
        ("UPDATE messages SET received_at = received_at - interval '3 days'", "messages.received_at"),
        ("UPDATE messages SET raw = 'MSH', culled_at = now()", "messages.culled_at"),
        ("UPDATE seals SET payload = payload || 'x'", "seals.payload"),
        ("UPDATE seals SET payload = 'x', sha256 = 'OF_X'", "seals.payload"),
        ("UPDATE seals SET payload = ''", "seals.payload"),
        ("UPDATE seals SET sha256 = 'nonsense'", "seals.sha256"),
        ("UPDATE certificates SET document = document || 'x'", "certificates.document"),
        ("UPDATE certificates SET document = 'x', sha256 = 'OF_X'", "certificates.sha256"),
        ("UPDATE certificates SET sha256 = 'nonsense'", "certificates.sha256"),
        ("UPDATE certificates SET number = '3510-LU-01011990-0001'", "certificates.number"),
        ("UPDATE certificates SET revision = revision + 1", "certificates.revision"),
        ("DELETE FROM certificates", "certificates.row"),
        ("UPDATE attachments SET content = content || 'x'", "attachments.content"),
        ("UPDATE attachments SET content = 'x', size = 1, sha256 = 'OF_X'", "attachments.row"),
        ("UPDATE attachments SET content = NULL", "attachments.content"),
        ("UPDATE attachments SET sha256 = 'nonsense'", "attachments.sha256"),
        ("DELETE FROM attachments", "attachments.row"),
    ],
)
async def test_each_changed_body_is_named_by_its_place(way: Journey, done: str, place: str) -> None:
    assert await differences(way) == []
    async with way.database.connection() as connection:
        await connection.execute(done.replace("OF_X", _HASH))
    assert place in await differences(way)


async def test_a_page_of_many_finds_the_one_that_was_changed(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_STEP", 3)
    monkeypatch.setattr(store, "PAGE", 1)
    await keep(way, "m", 20)
    await sealed(way)
    told: list[tuple[str, int, int]] = []
    async with way.database.connection() as connection:
        await connection.execute("UPDATE messages SET raw = 'x' WHERE control_id = 'm13'")
    found = await check(
        way.database, way.context.keyring.public, lambda *said: told.append(said), keyring=way.context.keyring
    )
    (place,) = found.bodies.places
    row = await way.database.fetchrow("SELECT id FROM messages WHERE control_id = 'm13'")
    assert row is not None
    assert (place.id, place.column) == (str(row["id"]), "raw")
    assert ("messages", 21, 21) in told
    assert {what for what, _, _ in told} == {"journal", "messages", "seals", "certificates", "earlier_certificates",
                                             "attachments"}  # fmt: skip


async def test_many_differences_are_counted_and_the_first_ones_named(way: Journey) -> None:
    await keep(way, "m", 300)
    await sealed(way)
    async with way.database.connection() as connection:
        await connection.execute("DELETE FROM messages WHERE control_id LIKE 'm%'")
    found = await check(way.database, way.context.keyring.public)
    assert found.bodies.found == {"messages": 300}
    assert len(found.bodies.places) == bodies.MOST


async def test_what_retention_removed_is_counted_and_what_was_changed_before_is_found(way: Journey) -> None:
    for table, column in (("messages", "received_at"), ("births", "updated_at")):
        await way.database.fetch(f"UPDATE {table} SET {column} = {column} - interval '91 days'")  # noqa: S608
    await cull(way.database, Retention(pause_s=0), Metrics())
    found = await check(way.database, way.context.keyring.public, keyring=way.context.keyring)
    assert found.problems == []
    removed = found.bodies.removed
    assert (removed["messages"], removed["attachments"]) == (1, 1)
    async with way.database.connection() as connection:
        await connection.execute("UPDATE messages SET digest = sha256('x')")
    assert "messages.digest" in await differences(way)


async def test_entries_of_before_numbers_were_keyed_are_still_checked(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older gateway beside this one seals with the plain hash of the number."""
    row = await way.database.fetchrow("SELECT number FROM certificates")
    assert row is not None
    plain = hashlib.sha256(row["number"].encode()).hexdigest()
    text = await way.database.fetchrow("SELECT entry FROM journal WHERE entry LIKE '%number_hmac%' LIMIT 1")
    assert text is not None
    entry = json.loads(text["entry"])
    assert plain not in text["entry"], "it would be guessed in a second"
    del entry["number_hmac"], entry["number_key"]
    same = bodies._same_number
    assert same(row["number"], {**entry, "number": plain}, None) is True
    assert same("3510-LU-01011990-0001", {**entry, "number": plain}, None) is False
    assert same(row["number"], json.loads(text["entry"]), way.context.keyring) is True
    assert same("3510-LU-01011990-0001", json.loads(text["entry"]), way.context.keyring) is False


async def test_without_the_key_of_numbers_the_check_says_what_it_did_not_check(way: Journey, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    other = Keyring(tmp_path / "another")
    other.open()
    async with way.database.transaction() as connection:
        found = await bodies.compare(connection, other, lambda *_: None)
    assert found.problems == []
    assert "index.key" in found.unchecked[0]


async def test_the_command_names_the_place_for_people_and_machines(way: Journey, database: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL)
    good = await procot("evidence", "check", "--config", config)
    assert (good.status, "messages: 1 hashed" in good.out) == (0, True), good.err
    async with way.database.connection() as connection:
        await connection.execute("UPDATE seals SET payload = payload || 'x'")
    birth = await way.birth()
    bad = await procot("evidence", "check", "--config", config)
    assert bad.status == 1
    assert f"seals {birth.id}/1, payload: " in bad.err
    machine = await procot("evidence", "check", "--json", "--config", config)
    said = json.loads(machine.out)
    assert said["good"] is False
    assert [(d["table"], d["id"], d["column"]) for d in said["differences"]] == [("seals", f"{birth.id}/1", "payload")]

"""Receipts and the journal over HTTP: within scope, in the documented form, and checked as a stranger would."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gateway.evidence.envelope import public_keys
from gateway.evidence.journal import open_checkpoint, verify_receipt
from gateway.evidence.merkle import Peaks, consistent, leaf_hash
from gateway.pipeline import journal
from gateway.pipeline.journal import check
from gateway.store import journal as store
from gateway.store import tokens
from tests.contract.test_openapi import conforms
from tests.simulators.facilities import HOSPITAL, sample
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from tests.simulators.system import System

RECEIPT, CHECKPOINT, ENTRIES = "/v1/receipts/{digest}", "/v1/journal/checkpoint", "/v1/journal/entries"


def digest(message: bytes) -> str:
    return hashlib.sha256(message).hexdigest()


async def get(running: System, path: str, status: int, *, token: str = "", route: str = "", **query: str) -> Any:
    """Return the JSON of a GET whose status is known, checked against the document."""
    async with running.request(path, token=token or running.operator, params=query) as response:
        told = json.loads(await response.text())
        assert response.status == status, told
        await conforms(response, route or path)
        return told


async def sealed(running: System, size: int) -> None:
    """Return when so many entries are under a checkpoint."""
    async with asyncio.timeout(60):
        while True:
            async with running.gateway.context.database.connection() as connection:
                newest = await store.newest(connection)
            if newest is not None and newest.size >= size:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def journalled(dsn: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    """Lend a gateway that seals at once, in which the birth of sample 01 went its whole way."""
    monkeypatch.setattr(journal, "SEAL_S", 0.01)
    async with system(dsn, directory) as running:
        await running.send(sample("01"))
        await running.until(control_id_of(sample("01")), "DELIVERED")
        await sealed(running, 5)
        yield running


async def test_a_hospital_gets_the_receipt_of_what_it_sent_and_can_check_it_with_our_public_keys(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journalled(database, tmp_path, monkeypatch) as running:
        ward = running.facility[HOSPITAL]
        path = f"/v1/receipts/{digest(sample('01'))}"
        receipt = await get(running, path, 200, token=ward, route=RECEIPT)
        keys = public_keys(await get(running, "/.well-known/jwks.json", 200))
        found = verify_receipt(receipt, keys)
        assert (found.entry["kind"], found.entry["facility"]) == ("message", HOSPITAL)
        upper = await get(running, f"/v1/receipts/{digest(sample('01')).upper()}", 200, token=ward, route=RECEIPT)
        assert upper["entry"] == receipt["entry"]
        row = await running.gateway.context.database.fetchrow("SELECT sha256 FROM certificates")
        assert row is not None
        path = f"/v1/receipts/{row['sha256']}"
        for kind in ("issued", "delivered"):
            told = await get(running, path, 200, token=ward, route=RECEIPT, kind=kind)
            assert verify_receipt(told, keys).entry["kind"] == kind
        assert (await check(running.gateway.context.database, keys)).problems == []


async def test_what_lies_outside_of_a_tokens_scope_has_no_receipt_and_no_text(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journalled(database, tmp_path, monkeypatch) as running:
        database_ = running.gateway.context.database
        other = await running.new_token("facility", "RS LAIN")
        _, near = await tokens.new(database_, label="o", role="officer", office="3510")
        _, far = await tokens.new(database_, label="o", role="officer", office="9999")
        row = await database_.fetchrow("SELECT sha256 FROM seals")
        assert row is not None
        message, record = f"/v1/receipts/{digest(sample('01'))}", f"/v1/receipts/{row['sha256']}"
        for token, statuses in (
            (running.operator, (200, 200)),
            (running.officer, (200, 200)),
            (near, (404, 200)),
            (far, (404, 404)),
            (other, (404, 404)),
            ("unknown", (401, 401)),
        ):
            for path, status in zip((message, record), statuses, strict=True):
                told = await get(running, path, status, token=token, route=RECEIPT)
                if status == 404:
                    assert told["code"] == "NO_RECEIPT"
                    assert "SHA-256" in told["detail"]
        everything = await get(running, ENTRIES, 200)
        strange = await get(running, ENTRIES, 200, token=other)
        assert [item["leaf"] for item in strange["items"]] == [item["leaf"] for item in everything["items"]]
        assert {item["entry"] for item in strange["items"]} == {None}
        await database_.fetch("UPDATE births SET restricted = 'vip'")
        await get(running, record, 404, token=running.operator, route=RECEIPT)


async def test_the_office_of_a_birth_gets_the_receipts_of_its_messages_by_naming_it_and_no_other_office_does(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journalled(database, tmp_path, monkeypatch) as running:
        store_ = running.gateway.context.database
        _, near = await tokens.new(store_, label="o", role="officer", office="3510")
        _, far = await tokens.new(store_, label="o", role="officer", office="9999")
        _, every = await tokens.new(store_, label="o", role="officer", office="all")
        ward, strangers = running.facility[HOSPITAL], await running.new_token("facility", "RS LAIN")
        birth = (await running.until(control_id_of(sample("01")), "DELIVERED"))["id"]
        path, another = f"/v1/receipts/{digest(sample('01'))}", "97bf6398-5f1f-5ff9-9447-112d5dd1094d"
        for token, named, status in (
            (near, birth, 200),
            (near, birth.upper(), 200),
            (near, another, 404),
            (every, birth, 200),
            (ward, birth, 200),
            (far, birth, 404),
            (strangers, birth, 404),
            (near, "1", 400),
        ):
            told = await get(running, path, status, token=token, route=RECEIPT, birth=named)
            if status == 200:
                assert json.loads(told["entry"])["sha256"] == digest(sample("01"))
        await get(running, path, 404, token=near, route=RECEIPT, birth=birth, kind="sealed")
        row = await store_.fetchrow("SELECT sha256 FROM seals")
        assert row is not None
        record = await get(running, f"/v1/receipts/{row['sha256']}", 200, token=near, route=RECEIPT, birth=birth)
        assert json.loads(record["entry"])["birth"] == birth
        await store_.fetch("UPDATE births SET restricted = 'vip'")
        await get(running, path, 404, token=near, route=RECEIPT, birth=birth)
        _, trusted = await tokens.new(store_, label="o", role="officer", office="3510", restricted=True)
        await get(running, path, 200, token=trusted, route=RECEIPT, birth=birth)


async def test_the_journal_is_read_in_pages_that_lead_to_the_root(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journalled(database, tmp_path, monkeypatch) as running:
        tree, first = Peaks(), "0"
        while first is not None:
            page = await get(running, ENTRIES, 200, **{"from": first, "limit": "2"})
            for item in page["items"]:
                assert leaf_hash(item["entry"].encode()).hex() == item["leaf"]
                tree.append(bytes.fromhex(item["leaf"]))
            first = page["next"]
        head = await get(running, CHECKPOINT, 200)
        assert (tree.size, tree.root().hex()) == (head["size"], head["root"])
        assert (await get(running, ENTRIES, 200, **{"from": "99"}))["items"] == []


async def test_a_later_checkpoint_is_shown_to_go_on_from_an_earlier_one(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journalled(database, tmp_path, monkeypatch) as running:
        ward, keys = running.facility[HOSPITAL], running.gateway.keyring.public
        old = open_checkpoint((await get(running, CHECKPOINT, 200, token=ward))["checkpoint"], keys).head
        await running.send(sample("02"))
        await sealed(running, old.size + 1)
        told = await get(running, CHECKPOINT, 200, token=ward, since=str(old.size))
        new = open_checkpoint(told["checkpoint"], keys).head
        proof = [bytes.fromhex(hashed) for hashed in told["consistency"]]
        assert consistent(old.size, old.root, new.size, new.root, proof)


async def test_questions_that_cannot_be_answered_say_what_to_ask_instead(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEAL_S", 3600)
    async with system(database, tmp_path) as running:
        assert (await get(running, CHECKPOINT, 404))["code"] == "NO_CHECKPOINT"
        assert (await get(running, ENTRIES, 200))["items"] == []
        await running.send(sample("01"))
        path = f"/v1/receipts/{digest(sample('01'))}"
        assert (await get(running, path, 404, route=RECEIPT))["code"] == "NOT_SEALED"
        strange = await running.new_token("facility", "RS LAIN")
        assert (await get(running, path, 404, token=strange, route=RECEIPT))["code"] == "NO_RECEIPT"
        while await journal.seal(running.gateway.context.database, running.gateway.keyring):
            pass
        for asked, route, query in (
            ("/v1/receipts/12", RECEIPT, {}),
            (path, RECEIPT, {"kind": "letter"}),
            (path, RECEIPT, {"page": "1"}),
            (CHECKPOINT, "", {"since": "0"}),
            (CHECKPOINT, "", {"since": "99999"}),
            (CHECKPOINT, "", {"since": "one"}),
            (ENTRIES, "", {"limit": "0"}),
            (ENTRIES, "", {"limit": "100000"}),
            (ENTRIES, "", {"from": "-1"}),
        ):
            told = await get(running, asked, 400, route=route, **query)
            assert told["code"] == "QUERY"
        running.gateway.context.schema.level = store.LEVEL - 1
        for asked, route in ((path, RECEIPT), (CHECKPOINT, ""), (ENTRIES, "")):
            told = await get(running, asked, 404, route=route)
            assert (told["code"], "procot migrate" in told["detail"]) == ("NO_JOURNAL", True)

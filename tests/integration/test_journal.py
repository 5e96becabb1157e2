"""The evidence journal on real PostgreSQL: made with what it speaks of, sealed by one of many, provable ever after."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from gateway.config import Retention
from gateway.contract.lifecycle import State
from gateway.evidence.canonical import canonical
from gateway.evidence.journal import open_checkpoint, verify_export, verify_receipt
from gateway.evidence.merkle import TILE, consistent
from gateway.observe.metrics import Metrics
from gateway.pipeline import journal
from gateway.pipeline.cull import cull
from gateway.pipeline.journal import ENTRIES, check, seal
from gateway.store import journal as store
from gateway.store.database import connect
from gateway.store.migrate import migrate
from tests.simulators.journey import Journey, notice
from tests.simulators.journey import journey as parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_MESSAGE = """
INSERT INTO messages (facility, application, control_id, event, peer, raw, digest, content_digest, answer,
                      answer_code, effect, medical_record, findings)
SELECT $1, 'SIMRS', $2 || n, 'ADT^A01', '127.0.0.1', convert_to($2 || n, 'UTF8'), sha256(convert_to($2 || n, 'UTF8')),
       '', 'MSA|AA|', 'AA', 'none', 'x', '[]' FROM generate_series(1, $3::int) AS n
"""


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with parts(database, tmp_path) as found:
        yield found


async def sealed(way: Journey) -> int:
    """Seal all there is and return how many checkpoints that took."""
    count = 0
    while await seal(way.database, way.context.keyring):
        count += 1
    return count


async def keep(way: Journey, name: str, count: int = 1, facility: str = "RS") -> None:
    await way.database.fetch(_MESSAGE, facility, name, count)


async def entries(way: Journey) -> list[dict[str, Any]]:
    return [json.loads(r["entry"]) for r in await way.database.fetch("SELECT entry FROM journal ORDER BY position")]


async def positions(way: Journey) -> list[int]:
    return [r["position"] for r in await way.database.fetch("SELECT position FROM journal ORDER BY position")]


async def good(way: Journey) -> None:
    """Check the whole journal and that nothing waits."""
    found = await check(way.database, way.context.keyring.public, keyring=way.context.keyring)
    assert found.problems == []
    assert found.bodies.unchecked == []
    assert found.unsealed == 0


async def receipts(way: Journey) -> list[dict[str, Any]]:
    async with way.database.connection() as connection:
        found = await store.page(connection, 0, 10_000)
        return [await journal.receipt(connection, entry) for entry in found]


async def test_the_whole_way_of_a_birth_stands_in_the_journal_and_nothing_about_people(way: Journey) -> None:
    birth = await way.reach(State.DELIVERED)
    await sealed(way)
    said = await entries(way)
    assert [e["kind"] for e in said] == ["message", "sealed", "submitted", "issued", "delivered"]
    message = await way.database.fetchrow("SELECT * FROM messages")
    assert message is not None
    assert said[0] == {
        "kind": "message",
        "facility": birth.facility,
        "at": message["received_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "sha256": hashlib.sha256(message["raw"]).hexdigest(),
        "answer": hashlib.sha256(message["answer"]).hexdigest(),
        "answer_code": message["answer_code"],
    }
    seal_row = await way.database.fetchrow("SELECT * FROM seals")
    certificate = await way.database.fetchrow("SELECT * FROM certificates")
    assert seal_row is not None
    assert certificate is not None
    number = way.context.keyring.number(hashlib.sha256(certificate["number"].encode()).digest()).hex()
    assert said[1]["sha256"] == said[2]["sha256"] == seal_row["sha256"]
    assert said[3]["sha256"] == said[4]["sha256"] == certificate["sha256"]
    assert said[3]["number_hmac"] == said[4]["number_hmac"] == number
    assert {e["birth"] for e in said[1:]} == {str(birth.id)}
    assert {key for e in said for key in e} == {
        "kind", "facility", "at", "sha256", "answer", "answer_code", "birth", "revision", "number_hmac", "number_key",
    }  # fmt: skip
    await good(way)


async def test_entries_are_canonical_json_whatever_a_facility_is_called(way: Journey) -> None:
    for facility in ('RS "X"\\/', "RSÜ \u2028€😀", "\x01\x1f\t\b\x7f"):
        await keep(way, "m", facility=facility)
    await sealed(way)
    for row in await way.database.fetch("SELECT facility, entry FROM journal"):
        assert canonical(json.loads(row["entry"])).decode() == row["entry"]
        assert json.loads(row["entry"])["facility"] == row["facility"]
    await good(way)


async def test_an_application_answer_has_its_digest_beside_the_accept_answer(way: Journey) -> None:
    await way.database.fetch(
        """INSERT INTO messages (facility, application, control_id, event, peer, raw, digest, content_digest, answer,
                                 application_answer, answer_code, effect, medical_record, findings)
           SELECT 'RS', 'S', n::text, 'E', 'p', int4send(n), sha256(int4send(n)), '', 'accept', answer, 'AA', 'none',
                  '', '[]'
           FROM (VALUES (1, 'application'::bytea), (2, NULL)) AS made (n, answer)"""
    )
    await sealed(way)
    both, one = sorted(await entries(way), key=lambda e: "application_answer" not in e)
    assert both["application_answer"] == hashlib.sha256(b"application").hexdigest()
    assert both["answer"] == one["answer"] == hashlib.sha256(b"accept").hexdigest()
    assert "application_answer" not in one
    await good(way)


async def test_trouble_is_told_once_and_not_an_attempt_a_line(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    tries = 0

    async def failing(*_: object) -> int:
        nonlocal tries
        tries += 1
        raise OSError

    monkeypatch.setattr(journal, "SEAL_S", 0.001)
    monkeypatch.setattr(journal, "seal", failing)
    monkeypatch.setattr(journal, "_tell", lambda _late, error: told.append(type(error).__name__))
    chore = asyncio.create_task(journal.run(way.context))
    async with asyncio.timeout(60):
        while tries < 5:  # noqa: ASYNC110 - the chore counts
            await asyncio.sleep(0.001)
    chore.cancel()
    assert told == ["OSError"]


async def test_every_entry_has_a_receipt_that_anybody_can_check_and_no_altered_one_passes(way: Journey) -> None:
    await keep(way, "a", 5)
    await sealed(way)
    await keep(way, "b", 2)
    await sealed(way)
    keys = way.context.keyring.public
    for receipt in await receipts(way):
        found = verify_receipt(json.loads(json.dumps(receipt)), keys)
        assert found.checkpoint.head.size == 7
        assert found.entry["kind"] == "message"


async def test_checkpoints_follow_each_other_and_every_later_one_contains_every_earlier_one(way: Journey) -> None:
    for count in (1, 2, TILE, 3):
        await keep(way, f"m{count}-", count)
        await sealed(way)
    rows = await way.database.fetch("SELECT jws FROM journal_checkpoints ORDER BY size")
    heads = [open_checkpoint(row["jws"], way.context.keyring.public) for row in rows]
    assert [c.before for c in heads] == [None, *(c.head for c in heads[:-1])]
    async with way.database.connection() as connection:
        for old in heads:
            for new in heads:
                if old.head.size <= new.head.size:
                    proof = await journal.consistency(connection, old.head.size, new.head.size)
                    assert consistent(old.head.size, old.head.root, new.head.size, new.head.root, proof)
    await good(way)


async def test_an_aborted_transaction_leaves_no_entry_and_no_gap(way: Journey) -> None:
    await keep(way, "a")
    with contextlib.suppress(asyncpg.DivisionByZeroError):
        async with way.database.transaction() as connection:
            await connection.execute(_MESSAGE, "RS", "aborted", 3)
            await connection.execute("SELECT 1 / 0")
    await keep(way, "b")
    await sealed(way)
    assert await positions(way) == [0, 1]
    await good(way)


async def test_a_commit_that_comes_late_gets_its_place_after_what_was_sealed_meanwhile(way: Journey) -> None:
    async with way.database.transaction() as late:
        await late.execute(_MESSAGE, "RS", "late", 1)
        await keep(way, "soon", 2)
        await sealed(way)
        assert await positions(way) == [0, 1]
    await sealed(way)
    assert await positions(way) == [0, 1, 2]
    assert (await entries(way))[2]["sha256"] == hashlib.sha256(b"late1").hexdigest()
    await good(way)


async def test_many_gateways_seal_beside_each_other_and_beside_writers(way: Journey) -> None:
    done = asyncio.Event()

    async def sealer() -> None:
        while not done.is_set() or await seal(way.database, way.context.keyring):
            await seal(way.database, way.context.keyring)

    async def writer(name: str) -> None:
        for n in range(20):
            await keep(way, f"{name}-{n}-", 1 + n % 7)

    sealers = [asyncio.create_task(sealer()) for _ in range(3)]
    await asyncio.gather(*(writer(name) for name in "abc"))
    done.set()
    await asyncio.wait_for(asyncio.gather(*sealers), 60)
    await sealed(way)
    count = await way.count("messages")
    assert await positions(way) == list(range(count))
    await good(way)


@pytest.mark.parametrize("point", ["store.tiles", "keyring", "store.keep_tiles", "store.keep_checkpoint"])
async def test_a_sealer_killed_at_any_step_leaves_everything_to_the_next_one(
    way: Journey, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(way, "a", 3)
    await sealed(way)
    await keep(way, "b", 2)

    class KilledError(Exception):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        if point == "keyring":
            patch.setattr(type(way.context.keyring), "signing", property(killed))
        else:
            patch.setattr(f"gateway.store.journal.{point.removeprefix('store.')}", killed)
        with pytest.raises(KilledError):
            await seal(way.database, way.context.keyring)
    assert await positions(way) == [0, 1, 2]
    await sealed(way)
    assert await positions(way) == [0, 1, 2, 3, 4]
    await good(way)


async def test_while_one_process_seals_no_other_one_does_and_its_death_frees_the_place(way: Journey) -> None:
    await keep(way, "a")
    other = await connect(way.database.dsn, timeout_s=60)
    transaction = other.transaction()
    await transaction.start()
    assert await store.alone(other)
    assert await seal(way.database, way.context.keyring) == 0
    other.terminate()
    async with asyncio.timeout(60):
        while not await seal(way.database, way.context.keyring):  # noqa: ASYNC110 - another task or process does it
            await asyncio.sleep(0.01)
    await good(way)


async def test_more_than_one_sealing_takes_is_sealed_in_parts(way: Journey) -> None:
    await keep(way, "a", 1000)
    await keep(way, "b", 200)
    first = await seal(way.database, way.context.keyring)
    assert ENTRIES <= first < ENTRIES + 64
    assert await seal(way.database, way.context.keyring) == 1200 - first
    assert await seal(way.database, way.context.keyring) == 0
    assert len(await positions(way)) == 1200
    await good(way)


async def test_one_statement_of_very_many_messages_makes_rows_of_bounded_size(way: Journey) -> None:
    await keep(way, "bulk", 1000)
    row = await way.database.fetchrow("SELECT max(cardinality(digests)) AS n, count(*) AS rows FROM journal_pending")
    assert row is not None
    assert row["n"] <= 64
    await sealed(way)
    assert len(await positions(way)) == 1000
    await good(way)


async def test_retention_takes_bodies_and_leaves_the_journal_whole(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await sealed(way)
    for table, column in (("messages", "received_at"), ("births", "updated_at")):
        await way.database.fetch(f"UPDATE {table} SET {column} = {column} - interval '91 days'")  # noqa: S608
    assert (await cull(way.database, Retention(pause_s=0), Metrics()))["messages"] == 1
    await good(way)


async def test_what_an_old_key_signed_is_good_after_it_was_rotated_and_retired(way: Journey) -> None:
    ring = way.context.keyring
    old = ring.signing
    await keep(way, "a")
    await sealed(way)
    new = ring.new()
    await keep(way, "b")
    await sealed(way)
    ring.retire(old.key_id)
    await keep(way, "c")
    await sealed(way)
    rows = await way.database.fetch("SELECT key_id FROM journal_checkpoints ORDER BY size")
    assert [row["key_id"] for row in rows] == [old.key_id, new.key_id, new.key_id]
    await good(way)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            "UPDATE journal SET entry = replace(entry, '\"AA\"', '\"AE\"') WHERE position = 2",
            "entries 0 to 4 was changed",
        ),
        ("DELETE FROM journal WHERE position = 2", "entry 2 is missing"),
        ("UPDATE journal_checkpoints SET root = sha256('x') WHERE size = 5", "its columns are not what was signed"),
        ("DELETE FROM journal_checkpoints WHERE size = 5", "does not follow the checkpoint before it"),
        (
            "DELETE FROM journal_checkpoints WHERE size = 8; DELETE FROM journal WHERE position > 4",
            "no entry tells of these bytes",
        ),
        ("UPDATE journal_tiles SET hashes = sha256('x') WHERE level = 0", "not those of the entries"),
        (
            "UPDATE messages SET answer = 'MSA|AE' WHERE control_id = 'a3'",
            "messages 3, answer: is not what its entry tells (entry 2)",
        ),
        ("DELETE FROM messages WHERE control_id = 'a3'", "an entry tells of it, and it is gone (entry 2)"),
    ],
)
async def test_the_check_finds_and_names_what_was_altered(way: Journey, damage: str, told: str) -> None:
    await keep(way, "a", 5)
    await sealed(way)
    await keep(way, "b", 3)
    await sealed(way)
    await good(way)
    async with way.database.connection() as connection:
        await connection.execute(damage)
    found = await check(way.database, way.context.keyring.public)
    assert any(told in problem for problem in found.problems), found.problems


async def test_a_message_kept_past_the_journal_is_found(way: Journey) -> None:
    async with way.database.transaction() as connection:
        await connection.execute("ALTER TABLE messages DISABLE TRIGGER journal")
        await connection.execute(_MESSAGE, "RS", "silent", 2)
        await connection.execute("ALTER TABLE messages ENABLE TRIGGER journal")
    found = await check(way.database, way.context.keyring.public)
    (said,) = found.problems
    assert said.startswith("2 places in messages not as the journal tells; the first: messages 1, digest: no entry")


async def test_a_journal_of_many_pages_is_read_in_order(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PAGE", 3)
    for number, count in enumerate((1, 1, 1, 1, 7, 2, 1, 1, 1, 10)):
        await keep(way, f"m{number}-", count)
        await sealed(way)
    await good(way)
    async with way.database.connection() as connection:
        found = [item async for item in store.everything(connection, upto=26)]
    assert [item.position for item in found if isinstance(item, store.Found)] == list(range(26))
    assert [item.size for item in found if isinstance(item, store.Signed)] == [1, 2, 3, 4, 11, 13, 14, 15, 16, 26]


async def test_an_export_can_be_checked_line_by_line(way: Journey) -> None:
    for count in (1, 3, 200):
        await keep(way, f"m{count}-", count)
        await sealed(way)
    told: list[tuple[int, int]] = []
    async with way.database.connection() as connection:
        lines = [line async for line in journal.export(connection, lambda done, size: told.append((done, size)))]
    head, *rest = [json.dumps(line).encode() for line in lines]
    chains = list(verify_export(json.loads(head), rest, way.context.keyring.public))
    assert (chains[-1].size, chains[-1].checkpoints) == (204, len(told))
    assert told[-1] == (204, 204)


async def test_the_chore_seals_and_tells_the_metrics(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEAL_S", 0.01)
    await keep(way, "a", 3)
    chore = asyncio.create_task(journal.run(way.context))
    async with asyncio.timeout(60):
        while way.context.metrics.journal_entries._value.get() != 3:  # noqa: ASYNC110 - another task or process does it
            await asyncio.sleep(0.01)
    assert way.context.metrics.journal_unsealed._value.get() == 0
    chore.cancel()
    await good(way)


async def test_on_an_older_schema_there_is_no_journal_and_everything_else_goes_on(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await connect(empty_database, timeout_s=60)
    await migrate(connection, upto=store.LEVEL - 1)
    monkeypatch.setattr(journal, "SEAL_S", 0.01)
    async with parts(empty_database, tmp_path) as way:
        assert way.context.schema_level == store.LEVEL - 1
        chore = asyncio.create_task(journal.run(way.context))
        assert await way.tell(notice()) == "CA"
        await asyncio.sleep(0.05)
        assert not chore.done()
        # Migrated while it runs: what is kept from then on has its entry, what was kept before needs none.
        await migrate(connection)
        await way.context.schema.refresh(way.database)
        assert await way.tell(notice(record_number="00450122")) == "CA"
        async with asyncio.timeout(60):
            while not await way.count("journal"):  # noqa: ASYNC110 - another task or process does it
                await asyncio.sleep(0.01)
        assert await way.count("messages") == 2
        assert [e["kind"] for e in await entries(way)] == ["message"]
        chore.cancel()
        await good(way)
    await connection.close()


async def test_a_restore_is_told_in_the_journal(way: Journey) -> None:
    await way.database.fetch("INSERT INTO restores (backup_at) VALUES (now())")
    await sealed(way)
    (entry,) = await entries(way)
    assert (entry["kind"], sorted(entry)) == ("restored", ["at", "kind"])
    await good(way)

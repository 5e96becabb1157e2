"""Births in the store: opened, revised, moved by the table only, each with its event row."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.contract.masked import Personal
from gateway.errors import IllegalMoveError
from gateway.store import births, events, outbound, overdue, revisions, siblings, submissions
from gateway.store.births import Birth, Keys, Why
from gateway.store.database import Database
from gateway.store.submissions import Seal
from tests.simulators.records import birth_record, child
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from gateway.store.database import Connection

BORN = dt.datetime.fromisoformat("2025-03-11T04:15:00+07:00")
CAME = dt.datetime.fromisoformat("2025-03-11T09:30:00+07:00")
MOTHER = b"mother"
OFFICER = Why("officer:tester", "test", "looked at it", detail={"page": 2})


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Database]:
    """Lend an open pool on a database of this test's own."""
    pool = Database(database, size=4, timeout_s=60)
    await pool.open()
    yield pool
    await pool.close()


async def message(connection: Connection) -> int:
    number: int = await connection.fetchval(
        """INSERT INTO messages (facility, application, control_id, event, peer, raw, digest, content_digest, answer,
                                 answer_code, effect, medical_record, findings)
           VALUES ('F', 'A', gen_random_uuid()::text, 'ADT^A01', 'p', '', '', '', '', 'AA', 'open', 'M', '[]')
           RETURNING id"""
    )
    return number


async def opened(
    store: Database, record_number: str = "00450121", *, born: dt.datetime = BORN, group: uuid.UUID | None = None
) -> Birth:
    record = birth_record(child=child(medical_record=Personal(record_number)))
    async with store.transaction() as connection:
        return await births.open_birth(
            connection,
            record=record,
            keys=Keys(MOTHER, born, dt.date(2025, 5, 10)),
            message_id=await message(connection),
            received_at=CAME,
            twin_group=group,
        )


async def last_event(store: Database) -> asyncpg.Record:
    row = await store.fetchrow("SELECT * FROM events ORDER BY id DESC LIMIT 1")
    assert row is not None
    return row


async def everything(store: Database) -> list[Any]:
    return [await store.fetch(f"SELECT * FROM {t} ORDER BY 1") for t in ("births", "events", "revisions")]  # noqa: S608


async def test_an_opened_birth_is_read_back_whole(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        assert await births.read(connection, birth.id) == birth
        assert await births.lock(connection, birth.id) == birth
        known = await births.lock_by_record_numbers(connection, birth.facility, ["00450121", "NOBODY"])
        assert known == {"00450121": birth}
    event = await last_event(store)
    assert (event["actor"], event["from_state"], event["to_state"]) == ("hospital", None, "RECEIVED")
    row = await store.fetchrow("SELECT * FROM births")
    assert row is not None
    assert row["wait_until"] is not None


async def test_an_unknown_birth_is_a_lookup_error(store: Database) -> None:
    async with store.transaction() as connection:
        for read in (births.read, births.lock):
            with pytest.raises(LookupError):
                await read(connection, uuid.uuid4())


async def test_a_baby_has_one_birth(store: Database) -> None:
    await opened(store)
    with pytest.raises(Exception, match="duplicate key"):
        await opened(store)


async def test_a_revision_keeps_the_one_before(store: Database) -> None:
    birth = await opened(store)
    record = birth_record(child=child(name=Personal("AHMAD RIZQI PRATAMA")))
    async with store.transaction() as connection:
        locked = await births.lock(connection, birth.id)
        keys = Keys(None, None, None)
        await revisions.revise(connection, locked, record, keys=keys, changed=["child.name"], why=OFFICER)
        assert await births.read(connection, birth.id) == locked
    rows = await store.fetch("SELECT * FROM revisions ORDER BY revision")
    assert [(r["revision"], r["actor"], r["changed"]) for r in rows] == [
        (1, "hospital", []),
        (2, "officer:tester", ["child.name"]),
    ]
    assert [r["record"]["child"]["name"] for r in rows] == ["AHMAD RIZKI PRATAMA", "AHMAD RIZQI PRATAMA"]


async def test_a_move_writes_who_when_and_why(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        assert await births.move(connection, birth, State.REVIEW, OFFICER)
    event = await last_event(store)
    assert (event["from_state"], event["to_state"], event["step"]) == ("RECEIVED", "REVIEW", "test")
    assert (event["actor"], event["reason"], event["detail"]) == ("officer:tester", "looked at it", {"page": 2})
    row = await store.fetchrow("SELECT state, wait_until - now() AS wait, now() - $1 AS ago FROM births", event["at"])
    assert row is not None
    assert row["state"] == "REVIEW"
    assert dt.timedelta(hours=23) < row["wait"] <= dt.timedelta(days=1)
    assert row["ago"] < dt.timedelta(minutes=1)


async def test_staying_is_no_move(store: Database) -> None:
    birth = await opened(store)
    before = await everything(store)
    async with store.transaction() as connection:
        assert not await births.move(connection, birth, State.RECEIVED, OFFICER)
    assert await everything(store) == before


@pytest.mark.parametrize("state", [State.ISSUED, State.DELIVERED, State.SUBMITTED, State.SEALED])
async def test_a_move_that_is_not_in_the_table_changes_nothing(store: Database, state: State) -> None:
    birth = await opened(store)
    before = await everything(store)
    async with store.transaction() as connection:
        with pytest.raises(IllegalMoveError, match=f"RECEIVED cannot become {state.value}"):
            await births.move(connection, birth, state, OFFICER)
    assert birth.state is State.RECEIVED
    assert await everything(store) == before


async def test_a_move_from_a_state_that_was_left_meanwhile_is_refused(store: Database) -> None:
    stale = await opened(store)
    async with store.transaction() as connection:
        await births.move(connection, await births.lock(connection, stale.id), State.REVIEW, OFFICER)
    async with store.transaction() as connection:
        with pytest.raises(IllegalMoveError, match="not RECEIVED any more"):
            await births.move(connection, stale, State.READY, OFFICER)
    assert stale.state is State.RECEIVED


async def test_a_final_state_waits_for_nobody(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        await births.move(connection, birth, State.CANCELLED, OFFICER)
    row = await store.fetchrow("SELECT wait_until FROM births")
    assert row is not None
    assert row["wait_until"] is None


async def test_the_state_before_is_found_in_the_events(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        with pytest.raises(IllegalMoveError, match="nothing is known"):
            await events.state_before(connection, birth, State.DEAD_LETTER)
        await births.move(connection, birth, State.READY, OFFICER)
        await births.move(connection, birth, State.DEAD_LETTER, OFFICER)
        await births.note(connection, birth, OFFICER)
        assert await events.state_before(connection, birth, State.DEAD_LETTER) is State.READY


async def test_what_is_set_is_read_back(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        await births.set_accepted(connection, birth, frozenset({"B", "A"}))
        await births.set_findings(connection, birth, [{"code": "A", "state": "REVIEW"}])
        await births.set_held(connection, birth, held=True)
        await births.set_priority(connection, birth, 0)
        await births.set_reference(connection, birth, "PRM-1")
        await births.set_told_at(connection, birth, CAME)
        assert await births.read(connection, birth.id) == birth


async def test_a_sibling_is_another_birth_of_the_mother_within_a_day(store: Database) -> None:
    first = await opened(store, "TW1")

    async def ask(born: dt.datetime, *, mother: bytes = MOTHER, number: str = "TW2") -> object:
        async with store.transaction() as connection:
            return await siblings.twin_of(
                connection, mother_key=mother, born_at=born, facility=first.facility, medical_record=number
            )

    day = dt.timedelta(hours=24)
    assert await ask(BORN + day) == (first.id, None)
    assert await ask(BORN - day) == (first.id, None)
    assert await ask(BORN + day + dt.timedelta(minutes=1)) is None
    assert await ask(BORN, mother=b"somebody else") is None
    assert await ask(BORN, number="TW1") is None
    group = uuid.uuid4()
    async with store.transaction() as connection:
        await siblings.set_twin_group(connection, first.id, group)
    assert await ask(BORN) == (first.id, group)
    async with store.transaction() as connection:
        await births.move(connection, first, State.CANCELLED, OFFICER)
    assert await ask(BORN) is None


async def test_an_overdue_birth_is_told_once_and_counted_by_owner(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        assert await overdue.newly_overdue(connection) == []
        await connection.execute("UPDATE births SET wait_until = now() - interval '1 second'")
    async with store.transaction() as connection:
        assert [r["id"] for r in await overdue.newly_overdue(connection)] == [birth.id]
        assert await overdue.newly_overdue(connection) == []
        assert await overdue.overdue_counts(connection) == {"gateway": 1}
        await births.move(connection, birth, State.REVIEW, OFFICER)
        assert await overdue.overdue_counts(connection) == {}


async def test_the_first_seal_of_a_revision_stays(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        with pytest.raises(LookupError):
            await submissions.sealed(connection, birth.id, 1)
        for payload in (b"first", b"second"):
            await submissions.keep_seal(connection, birth.id, 1, Seal(payload, "s", "j..s", "kid"))
        kept = await submissions.sealed(connection, birth.id, 1)
    assert (kept.payload, kept.idempotency_key) == (b"first", f"{birth.id}:1")


async def test_an_attempt_without_an_end_is_unknown_until_it_is_resolved(store: Database) -> None:
    birth = await opened(store)
    async with store.transaction() as connection:
        await submissions.keep_seal(connection, birth.id, 1, Seal(b"p", "s", "j..s", "kid"))
        assert not await submissions.outcome_unknown(connection, birth.id, 1)
        attempt = await submissions.begin_attempt(connection, birth.id, 1)
        assert await submissions.outcome_unknown(connection, birth.id, 1)
        await submissions.end_attempt(connection, attempt, "unavailable")
        assert not await submissions.outcome_unknown(connection, birth.id, 1)
        await submissions.end_attempt(connection, attempt, "unknown")
        assert await submissions.outcome_unknown(connection, birth.id, 1)
        await submissions.resolve_unknown(connection, birth.id, 1, "answered")
        assert not await submissions.outcome_unknown(connection, birth.id, 1)


async def test_the_first_certificate_stays_and_is_read_back_with_its_file(store: Database) -> None:
    birth = await opened(store)
    issued = certificate()
    async with store.transaction() as connection:
        assert await submissions.certificate(connection, birth.id) is None
        assert await submissions.keep_certificate(connection, birth.id, 1, issued)
        assert not await submissions.keep_certificate(connection, birth.id, 1, certificate("ANOTHER"))
        assert await submissions.certificate(connection, birth.id) == issued
        await submissions.keep_document(connection, birth.id, b"%PDF")
        found = await submissions.certificate(connection, birth.id)
        assert await submissions.number_taken(connection, uuid.uuid4(), issued.number)
        assert not await submissions.number_taken(connection, birth.id, issued.number)
    assert found is not None
    assert found.document == b"%PDF"
    assert found.child_nik.reveal() == issued.child_nik.reveal()
    assert issued.child_nik.reveal() not in repr(found)


async def test_a_letter_is_kept_once_and_waits_until_it_is_accepted(store: Database) -> None:
    birth = await opened(store)

    async def keep(control_id: str) -> int | None:
        return await outbound.keep(
            connection,
            birth_id=birth.id,
            facility=birth.facility,
            kind="MDM^T02",
            subject="N1",
            letter=(control_id, b"MSH"),
        )

    async with store.transaction() as connection:
        number = await keep("PC1")
        assert number is not None
        assert await keep("PC2") is None
        await outbound.refused(connection, number, "AE")
        assert await outbound.waiting(connection, birth.id) == [number]
        letter = await outbound.read(connection, number)
        assert letter is not None
        assert (letter.control_id, letter.message, letter.birth_id) == ("PC1", b"MSH", birth.id)
        await outbound.accepted(connection, number, "AA")
        assert await outbound.waiting(connection, birth.id) == []
        assert await outbound.read(connection, number) is None
    assert len({outbound.new_control_id() for _ in range(1000)}) == 1000
    assert len(outbound.new_control_id()) == 20

"""The inbox on real PostgreSQL: one commit for many, the stored answer for a repeat, no promise unkept."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from adapters.hospital.baseline import BaselineHospital
from gateway.config import Limits
from gateway.errors import MessageNotKeptError, StoreUnavailableError
from gateway.observe.metrics import Metrics
from gateway.pipeline.answer import Answerer
from gateway.pipeline.intake import Intake, content_digest
from gateway.pipeline.verdict import Judge
from gateway.store import inbox as inbox_module
from gateway.store import messages
from gateway.store.database import connect
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.inbox import Inbox, Kept, Quarantined, Row
from gateway.store.migrate import migrate
from gateway.store.queue import CHANNEL
from tests.simulators.facilities import CLOCK, HOSPITAL, facility
from tests.simulators.journey import RENAMED, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    import asyncpg

    from gateway.contract.ports import Draft
    from gateway.store.inbox import Submission
    from gateway.store.known import Baby, Known


@dataclasses.dataclass
class Observer:
    """Counts commits as the metrics do."""

    commits: list[int] = dataclasses.field(default_factory=list)
    failures: int = 0

    def committed(self, messages: int) -> None:
        self.commits.append(messages)

    def commit_failed(self) -> None:
        self.failures += 1


@dataclasses.dataclass
class Letter:
    """A submission; `seen` is what the store said of its baby."""

    control_id: str
    raw: bytes = b"MSH|raw"
    peer: str = "127.0.0.1"
    asks_about: Baby | None = None
    opens: bool = False
    compares: bool = False
    others: tuple[Baby, ...] = ()
    draft: Draft | None = None
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    seen: list[str | None] = dataclasses.field(default_factory=list)
    error: Exception | None = None
    size: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.raw)

    def row(self, known: Mapping[Baby, Known]) -> Row | Quarantined:
        found = known.get(self.asks_about) if self.asks_about else None
        self.seen.append(found.state if found else None)
        if self.error is not None:
            raise self.error
        values: dict[str, Any] = {
            "facility": HOSPITAL,
            "application": "SIMRS",
            "control_id": self.control_id,
            "event": "ADT^A01",
            "peer": "127.0.0.1",
            "raw": self.raw,
            "digest": hashlib.sha256(self.raw).digest(),
            "content_digest": hashlib.sha256(self.raw).digest(),
            "answer": b"MSA|AA|" + self.control_id.encode() + self.raw,
            "application_answer": None,
            "answer_code": "AA",
            "effect": "open",
            "medical_record": self.control_id,
            "told": None,
            "findings": "[]",
        }
        return Row(**(values | self.changes))


@dataclasses.dataclass
class Garbage:
    """A submission that ends in quarantine."""

    raw: bytes = b"garbage"
    peer: str = "127.0.0.1"
    asks_about: Baby | None = None
    opens: bool = False
    compares: bool = False
    others: tuple[Baby, ...] = ()
    draft: Draft | None = None
    size: int = 7

    def row(self, known: Mapping[Baby, Known]) -> Row | Quarantined:
        return Quarantined("127.0.0.1", "MSH_UNREADABLE", self.raw, b"MSA|AR")


def inbox_on(dsn: str, observer: Observer | None = None, **limits: int) -> Inbox:
    return Inbox(dsn, observer=observer or Observer(), limits=Limits(**limits), timeout_s=60)


@asynccontextmanager
async def running(*inboxes: Inbox) -> AsyncIterator[None]:
    writers = [asyncio.create_task(inbox.run()) for inbox in inboxes]
    try:
        yield
    finally:
        for writer in writers:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer


@asynccontextmanager
async def observing(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(dsn, timeout_s=60)
    try:
        yield connection
    finally:
        await connection.close()


async def results(*futures: asyncio.Future[Kept]) -> list[Kept]:
    return list(await asyncio.wait_for(asyncio.gather(*futures), 60))


async def test_a_message_is_kept_alike_alone_and_among_others(database: str) -> None:
    told: dict[str, Any] = {"told": '{"charset": "x"}', "findings": '[{"code": "é"}]', "application_answer": b"MSA|AE"}
    inbox, columns = inbox_on(database), ", ".join(c for c in Row._fields if c not in ("control_id", "deferred"))
    async with running(inbox), observing(database) as connection:
        for batch in (["ALONE"], ["FIRST", "SECOND"]):
            same = {"answer": b"MSA|AA", "medical_record": "MR1"}
            await results(*submit(inbox, *(Letter(name, changes=told | same) for name in batch)))
        kept = await connection.fetch(f"SELECT {columns} FROM messages ORDER BY id")  # noqa: S608 - our own names
        assert len(kept) == 3
        assert kept[0] == kept[1] == kept[2]
        assert await connection.fetchval("SELECT count(*) FROM tasks") == 3


async def until_kept(inbox: Inbox, letter: Submission) -> int:
    """Send as hospitals do, until it is kept."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StoreUnavailableError):
                (kept,) = await results(*submit(inbox, letter))
                assert kept.message_id is not None
                return kept.message_id


def submit(inbox: Inbox, *letters: Submission) -> list[asyncio.Future[Kept]]:
    return [inbox.submit(letter) for letter in letters]


# ------------------------------------------------------------------------------------------------------ group commit


async def test_all_that_waits_is_kept_by_one_commit_in_order(database: str) -> None:
    observer = Observer()
    inbox = inbox_on(database, observer)
    futures = submit(inbox, *(Letter(f"C{n:03}") for n in range(100)))
    async with running(inbox), observing(database) as connection:
        kept = await results(*futures)
        assert observer.commits == [100]
        ids = [k.message_id for k in kept]
        assert ids == sorted(i for i in ids if i is not None)
        rows = await connection.fetch("SELECT control_id, xmin::text AS x FROM messages ORDER BY id")
        assert [r["control_id"] for r in rows] == [f"C{n:03}" for n in range(100)]
        assert len({r["x"] for r in rows}) == 1
        tasks = await connection.fetch("SELECT message_id, xmin::text AS x FROM tasks WHERE kind = 'assign'")
        assert sorted(r["message_id"] for r in tasks) == ids
        assert {r["x"] for r in tasks} == {rows[0]["x"]}


async def test_a_batch_has_a_limit_and_what_exceeds_it_follows(database: str) -> None:
    observer = Observer()
    inbox = inbox_on(database, observer, inbox_batch=40)
    futures = submit(inbox, *(Letter(f"C{n}") for n in range(100)))
    async with running(inbox):
        await results(*futures)
    assert observer.commits == [40, 40, 20]


async def test_a_promise_is_kept_before_it_is_given(database: str) -> None:
    inbox = inbox_on(database)
    async with running(inbox), observing(database) as connection:
        there: list[bool] = []
        future = inbox.submit(Letter("C1"))
        await results(future)
        there.append(bool(await connection.fetch("SELECT FROM messages WHERE control_id = 'C1'")))
    assert there == [True]


async def test_a_message_without_effect_gets_no_task(database: str) -> None:
    inbox = inbox_on(database)
    async with running(inbox), observing(database) as connection:
        await results(*submit(inbox, Letter("C1", changes={"effect": "none", "medical_record": "", "told": None})))
        assert await connection.fetch("SELECT FROM tasks") == []


async def test_workers_are_told_at_the_commit(database: str) -> None:
    inbox = inbox_on(database)
    rung = asyncio.Event()
    async with running(inbox), observing(database) as connection:
        await connection.add_listener(CHANNEL, lambda *_: rung.set())
        await results(*submit(inbox, Letter("C1")))
        await asyncio.wait_for(rung.wait(), 60)


# ----------------------------------------------------------------------------------------------------------- repeats


async def test_a_repeat_gets_what_was_stored(database: str) -> None:
    inbox = inbox_on(database)
    async with running(inbox), observing(database) as connection:
        (first,) = await results(*submit(inbox, Letter("C1")))
        (again,) = await results(*submit(inbox, Letter("C1", changes={"answer": b"another answer"})))
        assert (first.before, again.message_id) == (None, None)
        assert again.before is not None
        assert again.before.answer == b"MSA|AA|C1MSH|raw"
        assert await connection.fetchval("SELECT count(*) FROM tasks") == 1


async def test_a_repeat_within_one_batch_gets_the_answer_of_the_first(database: str) -> None:
    inbox = inbox_on(database)
    letters = [Letter("C1"), Letter("C1", changes={"answer": b"another"}), Letter("C2")]
    futures = submit(inbox, *letters)
    async with running(inbox):
        first, again, other = await results(*futures)
    assert (first.before, other.before) == (None, None)
    assert again.before is not None
    assert again.before.answer == b"MSA|AA|C1MSH|raw"


async def test_repeats_within_one_batch_of_what_is_stored_get_the_stored_answer(database: str) -> None:
    inbox = inbox_on(database)
    async with running(inbox):
        await results(*submit(inbox, Letter("C1")))
    later = inbox_on(database)
    futures = submit(later, *(Letter("C1", changes={"answer": b"another"}) for _ in range(3)))
    async with running(later):
        kept = await results(*futures)
    assert [k.before.answer if k.before else None for k in kept] == [b"MSA|AA|C1MSH|raw"] * 3


async def test_two_gateways_keep_a_message_once_and_answer_the_same(database: str) -> None:
    one, two = inbox_on(database), inbox_on(database)
    async with running(one, two), observing(database) as connection:
        futures = [
            inbox.submit(Letter(f"C{n}", changes={"answer": name + str(n).encode()}))
            for n in range(200)
            for inbox, name in ((one, b"one"), (two, b"two"))
        ]
        kept = await results(*futures)
        for n in range(200):
            a, b = kept[2 * n], kept[2 * n + 1]
            assert {a.before is None, b.before is None} == {True, False}
            stored = await connection.fetchval("SELECT answer FROM messages WHERE control_id = $1", f"C{n}")
            given = {k.before.answer if k.before else k.row.answer for k in (a, b) if k.row is not None}
            assert given == {stored}
        assert await connection.fetchval("SELECT count(*) FROM tasks") == 200


async def test_two_gateways_with_the_same_messages_in_opposite_order_lose_none(database: str) -> None:
    one, two = inbox_on(database), inbox_on(database)
    letters = [Letter(f"C{n}") for n in range(50)]
    futures = [*submit(one, *letters), *submit(two, *reversed(letters))]
    async with running(one, two), observing(database) as connection:
        kept = await results(*futures)
        assert sum(k.before is None for k in kept) == 50
        assert await connection.fetchval("SELECT count(*) FROM messages") == 50


# ------------------------------------------------------------------------------------------------------------ poison


@pytest.mark.parametrize(
    "poison",
    [
        Letter("P\0"),
        Letter("P", changes={"told": "no json"}),
        Letter("P", changes={"event": "\ud800"}),
        Letter("P", error=ValueError("cannot be told")),
    ],
    ids=["nul", "no json", "surrogate", "own error"],
)
async def test_a_poisoned_row_fails_alone(database: str, poison: Letter) -> None:
    observer = Observer()
    inbox = inbox_on(database, observer)
    futures = submit(inbox, Letter("C1"), Garbage(), poison, Letter("C2"))
    async with running(inbox), observing(database) as connection:
        first, garbage, second = await results(futures[0], futures[1], futures[3])
        with pytest.raises(MessageNotKeptError):
            await futures[2]
        assert first.message_id is not None
        assert second.message_id is not None
        assert isinstance(garbage.row, Quarantined)
        rows = await connection.fetch("SELECT control_id FROM messages ORDER BY id")
        assert [r["control_id"] for r in rows] == ["C1", "C2"]
        aside = await connection.fetch("SELECT reason FROM quarantine ORDER BY id")
        assert [r["reason"] for r in aside] == ["MSH_UNREADABLE", "INTERNAL"], "a person can look at it"
    assert (observer.commits, observer.failures) == ([1, 1, 1], 1)


async def test_quarantine_has_a_cap(database: str) -> None:
    inbox = inbox_on(database, quarantine_rows=3)
    async with running(inbox), observing(database) as connection:
        for n in range(5):
            (kept,) = await results(*submit(inbox, Garbage(raw=b"%d" % n)))
            assert isinstance(kept.row, Quarantined)
        rows = await connection.fetch("SELECT raw, reason, answer FROM quarantine ORDER BY id")
    assert [r["raw"] for r in rows] == [b"0", b"1", b"2"]
    assert (rows[0]["reason"], rows[0]["answer"]) == ("MSH_UNREADABLE", b"MSA|AR")


# ------------------------------------------------------------------------------------------------ trouble in the store


async def test_a_killed_backend_fails_nobody_for_long(database: str) -> None:
    observer = Observer()
    inbox = inbox_on(database, observer)
    async with running(inbox), observing(database) as connection:
        await results(*submit(inbox, Letter("C1")))
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert await until_kept(inbox, Letter("C2"))
        assert await connection.fetchval("SELECT count(*) FROM messages") == 2


async def test_a_backend_killed_in_the_middle_of_a_write_keeps_nothing(database: str) -> None:
    inbox = inbox_on(database)
    async with running(inbox), observing(database) as blocker:
        await results(*submit(inbox, Letter("C0")))
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE messages IN EXCLUSIVE MODE")
            futures = submit(inbox, Letter("C1"), Letter("C2"))
            killed: list[asyncpg.Record] = []
            async with asyncio.timeout(60):
                while not killed:
                    killed = await blocker.fetch(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                        " AND datname = current_database()"
                    )
            for future in futures:
                with pytest.raises(StoreUnavailableError):
                    await asyncio.wait_for(future, 60)
        assert await blocker.fetchval("SELECT count(*) FROM messages") == 1


async def test_a_server_that_is_gone_is_told_at_once_and_found_again(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "server")
    dsn = await server.start()
    try:
        async with observing(dsn) as connection:
            await migrate(connection)
        observer = Observer()
        inbox = inbox_on(dsn, observer)
        async with running(inbox):
            await results(*submit(inbox, Letter("C1")))
            await server.stop()
            with pytest.raises(StoreUnavailableError):
                await results(*submit(inbox, Letter("C2")))
            with pytest.raises(StoreUnavailableError):
                await results(*submit(inbox, Letter("C2")))
            assert await server.start() == dsn
            assert await until_kept(inbox, Letter("C2"))
            assert observer.failures >= 1
    finally:
        await server.stop()


async def test_a_read_only_database_keeps_nothing_and_recovers(database: str) -> None:
    inbox = inbox_on(database)
    name = database.partition("@/")[2].partition("?")[0]
    async with observing(database) as connection:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with running(inbox):
        with pytest.raises(StoreUnavailableError):
            await results(*submit(inbox, Letter("C1")))
        async with observing(database) as connection:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert await until_kept(inbox, Letter("C1"))


async def test_an_over_full_queue_refuses_at_once(database: str) -> None:
    inbox = inbox_on(database, inbox_waiting=2)
    waiting = submit(inbox, Letter("C1"), Letter("C2"))
    (refused,) = submit(inbox, Letter("C3"))
    assert isinstance(refused.exception(), StoreUnavailableError)
    async with running(inbox):
        await results(*waiting)
        await results(*submit(inbox, Letter("C3")))


async def test_too_many_bytes_are_refused_and_their_room_comes_back(database: str) -> None:
    inbox = inbox_on(database, inbox_bytes=1024)
    waiting = submit(inbox, Letter("C1", raw=b"x" * 600))
    (refused,) = submit(inbox, Letter("C2", raw=b"x" * 600))
    assert isinstance(refused.exception(), StoreUnavailableError)
    async with running(inbox):
        await results(*waiting)
        await results(*submit(inbox, Letter("C2", raw=b"x" * 600)))


async def test_a_stopped_writer_fails_what_waits_and_what_is_in_hand(database: str) -> None:
    inbox = inbox_on(database, inbox_batch=1)
    async with observing(database) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE messages IN EXCLUSIVE MODE")
        async with running(inbox):
            futures = submit(inbox, Letter("C1"), Letter("C2"))
            async with asyncio.timeout(60):
                while not inbox._in_hand:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0)
        for future in (*futures, inbox.submit(Letter("C3"))):
            with pytest.raises(StoreUnavailableError, match="stopping"):
                await future


async def test_a_message_removed_before_its_repeat_was_answered_is_not_promised(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = inbox_on(database)
    async with running(inbox):
        await results(*submit(inbox, Letter("C1")))
        monkeypatch.setattr("gateway.store.inbox._STORED", inbox_module._STORED + " WHERE false")
        with pytest.raises(StoreUnavailableError, match="send again"):
            await results(*submit(inbox, Letter("C1")))


async def test_a_sender_that_went_away_disturbs_nobody(database: str) -> None:
    inbox = inbox_on(database)
    gone, there = submit(inbox, Letter("C1"), Letter("C2"))
    gone.cancel()
    async with running(inbox), observing(database) as connection:
        await results(there)
        assert await connection.fetchval("SELECT count(*) FROM messages") == 2


# ------------------------------------------------------------------------------------------------------ what is known


async def test_a_submission_is_told_the_state_of_its_baby(database: str) -> None:
    inbox = inbox_on(database)
    baby = (HOSPITAL, "B1")
    async with running(inbox), observing(database) as connection:
        unknown = Letter("A1", asks_about=baby, changes={"effect": "none", "medical_record": "B1"})
        await results(*submit(inbox, unknown))
        await results(*submit(inbox, Letter("A2", changes={"medical_record": "B1"})))
        waiting = Letter("A3", asks_about=baby, changes={"effect": "none"})
        await results(*submit(inbox, waiting))
        number = await connection.fetchval("SELECT id FROM messages WHERE control_id = 'A2'")
        await connection.execute(
            """INSERT INTO births (id, facility, medical_record, state, revision, record, first_message_id, received_at)
               VALUES (gen_random_uuid(), $1, 'B1', 'DELIVERED', 1, '{}', $2, now())""",
            HOSPITAL,
            number,
        )
        done = Letter("A4", asks_about=baby, changes={"effect": "none"})
        await results(*submit(inbox, done))
    assert (unknown.seen, waiting.seen, done.seen) == ([None], ["RECEIVED"], ["DELIVERED"])


async def test_a_birth_told_earlier_in_the_same_batch_is_known_to_what_follows(database: str) -> None:
    inbox = inbox_on(database)
    baby = (HOSPITAL, "B1")
    letters = [
        Letter("A1", asks_about=baby, changes={"effect": "none"}),
        Letter("A2", changes={"medical_record": "B1"}),
        Letter("A3", asks_about=baby),
    ]
    futures = submit(inbox, *letters)
    async with running(inbox):
        await results(*futures)
    assert [letter.seen for letter in letters] == [[None], [None], ["RECEIVED"]]


# ------------------------------------------------------------------------------------------- intake: from bytes to ack


@asynccontextmanager
async def door(dsn: str, *more: Inbox, **limits: int) -> AsyncIterator[tuple[Intake, Inbox, Metrics]]:
    metrics = Metrics()
    inbox = Inbox(dsn, observer=metrics, limits=Limits(**limits), timeout_s=60)
    judge = Judge(
        facilities={HOSPITAL: facility()},
        hospitals={"baseline": BaselineHospital()},
        clock=lambda: CLOCK.astimezone(dt.UTC),
        test_messages="accept",
        require_form=False,
        segment_limit=2000,
    )
    answerer = Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: CLOCK.astimezone(dt.UTC))
    async with running(inbox, *more):
        yield Intake(judge=judge, answerer=answerer, inbox=inbox, metrics=metrics), inbox, metrics


async def ask(intake: Intake, raw: bytes) -> Sequence[bytes]:
    return await asyncio.wait_for(intake.take(raw, peer="127.0.0.1"), 60)


def original(raw: bytes) -> bytes:
    """Return a message that asks for original mode."""
    return raw.replace(b"|||AL|AL|", b"|||||")


def codes(frames: Sequence[bytes]) -> list[str]:
    return [line.split("|")[1] for f in frames for line in f.decode().split("\r") if line.startswith("MSA")]


async def test_the_same_bytes_again_get_the_stored_answer_byte_for_byte(database: str) -> None:
    raw = original(notice(control_id="SAME1"))
    async with door(database) as (intake, _, metrics), observing(database) as connection:
        first = await ask(intake, raw)
        assert codes(first) == ["AA"]
        assert await ask(intake, raw) == first
        both = await asyncio.gather(ask(intake, raw), ask(intake, raw))
        assert list(both) == [first, first]
        assert await connection.fetchval("SELECT answer FROM messages") == first[0]
        assert await connection.fetchval("SELECT count(*) FROM messages") == 1
    assert metrics.registry.get_sample_value("procot_replays_total") == 3


async def test_the_same_bytes_twice_in_one_batch_get_the_same_answer(database: str) -> None:
    raw = original(notice(control_id="SAME2"))
    async with door(database) as (intake, _, _metrics):
        first, second = await asyncio.gather(*(intake.take(raw, peer="127.0.0.1") for _ in range(2)))
    assert first == second


async def test_a_repeat_with_a_new_time_gets_the_stored_answer(database: str) -> None:
    async with door(database) as (intake, _, _metrics):
        first = await ask(intake, original(notice(control_id="SAME3")))
        newer = original(notice(control_id="SAME3")).replace(b"20250311093000+0700||ADT", b"20250311101500+0700||ADT")
        assert await ask(intake, newer) == first


async def test_a_reused_control_id_is_told_and_the_first_message_stays(database: str) -> None:
    async with door(database) as (intake, _, _metrics), observing(database) as connection:
        await ask(intake, original(notice(control_id="SAME4")))
        other = await ask(intake, original(notice(control_id="SAME4", changes=RENAMED)))
        assert codes(other) == ["AE"]
        assert b"|205^" in other[0]
        enhanced = await ask(intake, notice(control_id="SAME4", changes=RENAMED))
        assert codes(enhanced) == ["CE"]
        raw = await connection.fetchval("SELECT raw FROM messages")
        assert b"RIZKI" in raw


async def test_a_silent_sender_stays_silent_when_it_repeats(database: str) -> None:
    raw = notice(control_id="QUIET").replace(b"|||AL|AL|", b"|||NE|NE|")
    async with door(database) as (intake, _, _metrics), observing(database) as connection:
        assert await ask(intake, raw) == ()
        assert await ask(intake, raw) == ()
        assert await connection.fetchval("SELECT count(*) FROM messages") == 1


async def test_what_was_not_kept_is_told_even_to_a_silent_sender(database: str) -> None:
    async with door(database, inbox_bytes=1024) as (intake, _, _metrics):
        quiet = notice().replace(b"|||AL|AL|", b"|||NE|NE|")
        assert codes(await ask(intake, quiet)) == ["AR"]
        assert codes(await ask(intake, original(notice()))) == ["AR"]


async def test_garbage_is_answered_and_quarantined(database: str) -> None:
    async with door(database) as (intake, _, metrics), observing(database) as connection:
        answer = await ask(intake, b"what is this")
        assert codes(answer) == ["AR"]
        assert b"|100^" in answer[0]
        row = await connection.fetchrow("SELECT * FROM quarantine")
        assert row is not None
        assert (row["raw"], row["reason"], row["answer"]) == (b"what is this", "MSH_UNREADABLE", answer[0])
        assert await connection.fetchval("SELECT count(*) FROM messages") == 0
    assert metrics.registry.get_sample_value("procot_quarantined_total", {"reason": "MSH_UNREADABLE"}) == 1


async def test_a_message_that_breaks_the_judge_is_answered(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Judge, "evaluate", broken)
    async with door(database) as (intake, _, _metrics), observing(database) as connection:
        assert codes(await ask(intake, notice())) == ["AR"]
        assert await connection.fetchval("SELECT reason FROM quarantine") == "INTERNAL"


async def test_an_answer_that_cannot_be_built_is_answered_all_the_same(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Answerer._build

    def sometimes(self: Answerer, verdict: Any, code: str, findings: Any) -> bytes:
        if verdict.header is not None:
            raise LookupError("unknown codec")
        return build(self, verdict, code, findings)

    monkeypatch.setattr(Answerer, "_build", sometimes)
    async with door(database) as (intake, _, _metrics), observing(database) as connection:
        assert codes(await ask(intake, notice())) == ["AR"]
        assert await connection.fetchval("SELECT count(*) FROM messages") == 0


async def test_a_sender_that_hung_up_before_the_answer_is_no_accident(database: str) -> None:
    async with door(database) as (intake, _, _metrics), observing(database) as connection:
        future = intake.take(notice(control_id="GONE"), peer="127.0.0.1")
        future.cancel()
        await ask(intake, notice())
        assert await connection.fetchval("SELECT count(*) FROM messages WHERE control_id = 'GONE'") == 1


async def test_an_update_in_the_same_breath_finds_the_birth_it_follows(database: str) -> None:
    async with door(database) as (intake, _, _metrics), observing(database) as connection:
        notices = [notice(), notice("A03", segments=("PV1",)), notice("A11", segments=("PV1",))]
        await asyncio.gather(*(intake.take(raw, peer="127.0.0.1") for raw in notices))
        rows = await connection.fetch("SELECT effect FROM messages ORDER BY id")
        assert [r["effect"] for r in rows] == ["open", "discharge", "cancel"]
        kept = await messages.unassigned(connection, HOSPITAL, "00450121")
        assert [k.event for k in kept] == ["ADT^A01", "ADT^A03", "ADT^A11"]
        assert await messages.baby_of(connection, kept[0].id) == (HOSPITAL, "00450121")
        assert await messages.origin(connection, kept[0].id) == (notices[0], kept[0].control_id)
        for read in (messages.baby_of, messages.origin):
            with pytest.raises(LookupError):
                await read(connection, 10**9)


async def test_an_application_answer_on_the_same_connection_is_stored_and_repeated(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door(database) as (intake, _, _metrics):
        profile = facility(application_answer="same_connection")
        monkeypatch.setattr(intake._judge, "_facilities", {HOSPITAL: profile})
        raw = notice(control_id="TWICE")
        first = await ask(intake, raw)
        assert codes(first) == ["CA", "AA"]
        assert await ask(intake, raw) == first


@pytest.mark.parametrize(
    "again",
    [
        b"MSH|^~\\&|A|B|C|D|2026||ADT\nPID|1\n",
        b"MSH|^~\\&|A|B|C|D|2025||ADT\r\nPID|1",
        b"\xef\xbb\xbfMSH|^~\\&|A|B|C|D|2025||ADT\rPID|1\r\r",
        b"\r\n MSH|^~\\&|A|B|C|D|2025||ADT\rPID|1\r",
    ],
)
def test_a_repeat_with_other_line_ends_is_the_same_content(again: bytes) -> None:
    assert content_digest(again) == content_digest(b"MSH|^~\\&|A|B|C|D|2025||ADT\rPID|1\r")


def test_the_content_digest_leaves_out_the_time_only() -> None:
    base = b"MSH|^~\\&|A|B|C|D|2025||ADT^A01|1|P|2.5\rPID|1\r"
    assert content_digest(base) == content_digest(base.replace(b"|2025|", b"|2026|"))
    for other in (base.replace(b"|1|P", b"|2|P"), base.replace(b"PID|1", b"PID|2"), base.replace(b"|A|", b"|X|")):
        assert content_digest(base) != content_digest(other)
    for odd in (b"", b"MSH", b"MSH|", b"MSH|^~\\&|A", b"no end"):
        assert len(content_digest(odd)) == 32

"""The inbox: keep, then promise. One statement and one COMMIT for all messages that are waiting (T1).

Writer and senders meet at a future each: it resolves to the bytes to answer with, after the commit. No timer: the
writer takes what waits whenever it is free. A row that PostgreSQL refuses never fails its neighbours; a database that
is away fails everybody at once, so that senders keep their messages.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from gateway.errors import MessageNotKeptError, OverloadedError, StoreUnavailableError
from gateway.rates import Seldom
from gateway.store import answers
from gateway.store.database import UNAVAILABLE, as_unavailable, connect
from gateway.store.known import NO_NOTICE, Baby, Known, insert_from, known
from gateway.store.quarantine import Room

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import asyncpg

    from gateway.config import Limits
    from gateway.contract.ports import Draft
    from gateway.store.answers import Letter

_log = structlog.get_logger()
_RECONNECT_PAUSE_S = 0.25
_TELL_S = 60.0  # how often a full quarantine is told of

Key = tuple[str, str, str]  # facility, application, control id: who said it, and which of theirs it is


class Row(NamedTuple):
    """One message as it is kept. `effect` other than "none" gets its first task in the same statement.

    All but the last are the columns of the insert, in its order.
    """

    facility: str
    application: str
    control_id: str
    event: str
    peer: str
    raw: bytes
    digest: bytes
    content_digest: bytes
    answer: bytes
    application_answer: bytes | None
    answer_code: str
    effect: str
    medical_record: str
    told: str | None
    findings: str
    deferred: Letter | None = None  # an application answer for the sender's listener, its subject still open

    @property
    def key(self) -> Key:
        """What makes a message the same message."""
        return (self.facility, self.application, self.control_id)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message that gets AR or CR: kept raw with the reason, never counted as accepted."""

    peer: str
    reason: str
    raw: bytes
    answer: bytes
    deferred: Letter | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the inbox holds under a key already."""

    digest: bytes
    content_digest: bytes
    answer: bytes
    application_answer: bytes | None
    message_id: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """The result for one submission: its own row was kept (`before` None), or `before` was there already."""

    message_id: int | None
    before: Stored | None = None
    row: Row | Quarantined | None = None


class Submission(Protocol):
    """A message on its way into the inbox."""

    asks_about: Baby | None  # its baby, where the answer depends on what is known of it
    opens: bool  # a notice: mostly nothing is known of its baby, and the insert itself finds that out
    compares: bool  # what it says is compared with the record
    others: tuple[Baby, ...]  # whom a merge names beside
    draft: Draft | None  # what is told to those behind it
    raw: bytes
    peer: str
    size: int

    def row(self, known: Mapping[Baby, Known]) -> Row | Quarantined:
        """Return what to keep, by what is known of its baby. Called again where more is known than was thought."""
        ...


@dataclass(slots=True)
class _Waiting:
    submission: Submission
    done: asyncio.Future[Kept]


_COLUMNS = Row._fields[: Row._fields.index("deferred")]
_TYPES = (
    "text", "text", "text", "text", "text", "bytea", "bytea", "bytea", "bytea", "bytea", "text", "text", "text", "json",
    "json",
)  # fmt: skip
_PARAMETERS = [f"${n}::{kind}" for n, kind in enumerate(_TYPES, 1)]
_ARRAYS = ", ".join(f"{parameter}[]" for parameter in _PARAMETERS)
_INSERT = insert_from(_COLUMNS, f"SELECT * FROM unnest({_ARRAYS})")  # noqa: S608 - numbers and types
_INSERT_ONE = insert_from(_COLUMNS, f"VALUES ({', '.join(_PARAMETERS)})")  # two thirds of the work on our side
_TOLD = [_PARAMETERS[_COLUMNS.index(name)] for name in ("facility", "medical_record", "effect")]
_INSERT_NEW = insert_from(
    _COLUMNS,  # of babies nobody knows
    f"SELECT * FROM unnest({_ARRAYS})",  # noqa: S608 - numbers and types
    f"SELECT * FROM unnest({', '.join(f'{parameter}[]' for parameter in _TOLD)})",  # noqa: S608 - the same
)
_INSERT_NEW_ONE = insert_from(_COLUMNS, f"SELECT {', '.join(_PARAMETERS)}", f"SELECT {', '.join(_TOLD)}")
_QUARANTINE = """
INSERT INTO quarantine (peer, reason, raw, answer)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[])
"""
_STORED = """
SELECT m.facility, m.application, m.control_id, m.id, m.digest, m.content_digest, m.answer, m.application_answer
FROM unnest($1::text[], $2::text[], $3::text[]) AS k(facility, application, control_id)
JOIN messages m USING (facility, application, control_id)
"""


class Observer(Protocol):
    """What the inbox tells the metrics."""

    def committed(self, messages: int) -> None:
        """Count one commit of so many messages."""
        ...

    def commit_failed(self) -> None:
        """Count one failed commit."""
        ...


class Inbox:
    """The writer task and the queue before it."""

    def __init__(self, dsn: str, *, observer: Observer, limits: Limits, timeout_s: float) -> None:
        self._dsn = dsn
        self._observer = observer
        self._limits = limits
        self._timeout_s = timeout_s
        self._in_hand: list[_Waiting] = []
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._ready = asyncio.Event()
        self._connection: asyncpg.Connection | None = None
        self._retry_at = 0.0
        self._room = Room(limits)
        self._full_told = Seldom(_TELL_S)
        self._ended = False

    def submit(self, submission: Submission) -> asyncio.Future[Kept]:
        """Queue a message; the future resolves after its commit, in order of submission.

        It fails with StoreUnavailableError where nothing was kept, or where too much is waiting.
        """
        done: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        if self._ended:
            done.set_exception(StoreUnavailableError("the gateway is stopping; send again"))
            return done
        if len(self._queue) >= self._limits.inbox_waiting or self._bytes + submission.size > self._limits.inbox_bytes:
            done.set_exception(OverloadedError("too many messages wait to be kept; send again in a minute"))
            return done
        self._bytes += submission.size
        self._queue.append(_Waiting(submission, done))
        self._ready.set()
        return done

    async def run(self) -> None:
        """Write until cancelled; what still waits then is failed, not promised."""
        try:
            while True:
                await self._ready.wait()
                batch = self._in_hand = self._take()
                await self._flush(batch)
        finally:
            self._ended = True
            _fail((*self._in_hand, *self._queue), StoreUnavailableError("the gateway is stopping; send again"))
            await self._disconnect()

    def _take(self) -> list[_Waiting]:
        batch = [self._queue.popleft() for _ in range(min(self._limits.inbox_batch, len(self._queue)))]
        if not self._queue:
            self._ready.clear()
        self._bytes -= sum(w.submission.size for w in batch)
        return batch

    async def _flush(self, batch: list[_Waiting]) -> None:
        try:
            await self._write(batch)
            self._observer.committed(len(batch))
        except UNAVAILABLE as error:
            self._observer.commit_failed()
            _log.error("inbox.unavailable", error=type(error).__name__, messages=len(batch))
            await self._disconnect()
            _fail(batch, as_unavailable(error))
        except StoreUnavailableError as error:
            self._observer.commit_failed()
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever the reason, neighbours must not share it
            await self._flush_one_by_one(batch, error)

    async def _flush_one_by_one(self, batch: list[_Waiting], error: Exception) -> None:
        """Find the row that PostgreSQL will not take, so that it fails alone."""
        if len(batch) > 1:
            _log.warning("inbox.batch_split", error=type(error).__name__, messages=len(batch))
            for waiting in batch:
                await self._flush([waiting])
            return
        self._observer.commit_failed()
        _log.error("inbox.row_refused", error=type(error).__name__)
        await self._set_aside(batch[0].submission)
        _fail(batch, MessageNotKeptError("PostgreSQL does not take this message; a person must look at it"))

    async def _set_aside(self, submission: Submission) -> None:
        """Keep the bytes of a message that could not be kept as a message, for a person."""
        aside = Quarantined(submission.peer, "INTERNAL", submission.raw, b"")
        try:
            await self._quarantine(await self._connected(), [aside])
        except (StoreUnavailableError, *UNAVAILABLE) as error:
            _log.warning("inbox.not_set_aside", error=type(error).__name__)

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if time.monotonic() < self._retry_at:
            raise StoreUnavailableError("PostgreSQL is not available; nothing was kept")
        self._retry_at = time.monotonic() + _RECONNECT_PAUSE_S
        self._connection = await connect(self._dsn, timeout_s=self._timeout_s)
        await self._connection.reset_type_codec("json", schema="pg_catalog")
        _log.info("inbox.connected")
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*UNAVAILABLE):
                await connection.close(timeout=1)

    async def _write(self, batch: list[_Waiting]) -> None:
        connection = await self._connected()
        submissions = [waiting.submission for waiting in batch]
        found = await _ask(connection, [s for s in submissions if not s.opens])
        rows = _rows(submissions, found)
        fresh = _first_of_each_key(rows)
        ids = await self._keep(connection, rows, fresh, notices_only_of_unknown=True)
        if ids is None:  # a notice's number is known: rarely, so that the usual one need not ask
            rows = _rows(submissions, await _ask(connection, submissions))
            fresh = _first_of_each_key(rows)
            ids = await self._keep(connection, rows, fresh, notices_only_of_unknown=False) or {}
        before = await _stored(connection, fresh.keys() - ids.keys()) if len(ids) < len(fresh) else {}
        if before and (again := _asked_again(rows, before)):
            await answers.send_again(connection, again)
        _settle(batch, rows, fresh, ids, before)

    async def _keep(
        self,
        connection: asyncpg.Connection,
        rows: Sequence[Row | Quarantined],
        fresh: dict[Key, Row],
        *,
        notices_only_of_unknown: bool,
    ) -> dict[Key, int] | None:
        """Keep a batch; None, and nothing is kept, where a notice is of a baby that is known and must not be."""
        refused = [row for row in rows if isinstance(row, Quarantined)]
        deferring = any(row.deferred for row in rows)
        if not refused and not deferring:
            return await _insert(connection, fresh, notices_only_of_unknown=notices_only_of_unknown)
        async with connection.transaction():
            ids = await _insert(connection, fresh, notices_only_of_unknown=notices_only_of_unknown)
            if ids is None:
                return None
            if refused:
                await self._quarantine(connection, refused)
            if deferring:
                await answers.keep(connection, _letters(rows, fresh, ids))
        return ids

    async def _quarantine(self, connection: asyncpg.Connection, refused: list[Quarantined]) -> None:
        """Keep what the caps have room for. Between two counts other processes and replays are not seen."""
        await self._room.recount(connection)
        kept = []
        for row in refused:
            passed = self._room.take(row.peer, len(row.raw) + len(row.answer))
            if not passed:
                kept.append(row)
            elif times := self._full_told.due(f"{passed} {row.peer}", time.monotonic()):
                _log.error("inbox.quarantine_full", peer=row.peer, reason=passed, messages=times)
        if not kept:
            return
        columns = ([r.peer for r in kept], [r.reason for r in kept], [r.raw for r in kept])
        await connection.execute(_QUARANTINE, *columns, [r.answer for r in kept])


def _rows(submissions: Sequence[Submission], found: Mapping[Baby, Known]) -> list[Row | Quarantined]:
    """Let each submission decide in order, so that a birth told earlier in the batch is known to the later ones."""
    rows: list[Row | Quarantined] = []
    told = dict(found)
    for submission in submissions:
        row = submission.row(told)
        if isinstance(row, Row) and row.effect not in NO_NOTICE:
            baby = (row.facility, row.medical_record)
            before = told.get(baby) or Known("RECEIVED", draft=submission.draft)
            told[baby] = before.once(row.effect)
        rows.append(row)
    return rows


def _first_of_each_key(rows: Sequence[Row | Quarantined]) -> dict[Key, Row]:
    fresh: dict[Key, Row] = {}
    for row in rows:
        if isinstance(row, Row):
            fresh.setdefault(row.key, row)
    return fresh


async def _ask(connection: asyncpg.Connection, submissions: Sequence[Submission]) -> dict[Baby, Known]:
    whole: set[Baby] = set()
    babies: set[Baby] = set()
    for submission in submissions:
        if submission.asks_about:
            asked = {submission.asks_about, *submission.others}
            babies |= asked
            if submission.compares:
                whole |= asked
    return await known(connection, babies, whole=whole)


async def _insert(
    connection: asyncpg.Connection, fresh: dict[Key, Row], *, notices_only_of_unknown: bool
) -> dict[Key, int] | None:
    if not fresh:
        return {}
    guarded = notices_only_of_unknown and any(row.effect == "open" for row in fresh.values())
    if len(fresh) == 1:
        (row,) = fresh.values()
        kept = await connection.fetch(_INSERT_NEW_ONE if guarded else _INSERT_ONE, *row[: len(_COLUMNS)])
    else:
        columns = list(zip(*fresh.values(), strict=True))
        kept = await connection.fetch(_INSERT_NEW if guarded else _INSERT, *columns[: len(_COLUMNS)])
    if guarded and any(number is None for number, *_ in kept):
        return None
    return {(facility, application, control_id): number for number, facility, application, control_id, _ in kept}


async def _stored(connection: asyncpg.Connection, missing: set[Key]) -> dict[Key, Stored]:
    """Return what was there before, for the keys that were not inserted now."""
    found = await connection.fetch(_STORED, *([key[i] for key in missing] for i in range(3)))
    return {
        (r["facility"], r["application"], r["control_id"]): Stored(
            r["digest"], r["content_digest"], r["answer"], r["application_answer"], r["id"]
        )
        for r in found
    }


def _letters(rows: Sequence[Row | Quarantined], fresh: dict[Key, Row], ids: dict[Key, int]) -> list[Letter]:
    """Return the deferred answers of what is kept now, in the order it came; a repeat has its own already."""
    letters = []
    for row in rows:
        if row.deferred is None:
            continue
        if isinstance(row, Quarantined):
            letters.append(row.deferred)
        elif fresh[row.key] is row and row.key in ids:
            letters.append(row.deferred._replace(subject=str(ids[row.key])))
    return letters


def _asked_again(rows: Sequence[Row | Quarantined], before: dict[Key, Stored]) -> set[int]:
    """Return the messages whose repeat tells that their sender misses the deferred answer."""
    repeated = ((row, before.get(row.key)) for row in rows if isinstance(row, Row) and row.deferred)
    return {was.message_id for row, was in repeated if was and row.content_digest == was.content_digest}


def _settle(
    batch: list[_Waiting],
    rows: list[Row | Quarantined],
    fresh: dict[Key, Row],
    ids: dict[Key, int],
    before: dict[Key, Stored],
) -> None:
    for waiting, row in zip(batch, rows, strict=True):
        if waiting.done.done():
            continue
        if isinstance(row, Quarantined):
            waiting.done.set_result(Kept(None, row=row))
            continue
        key = row.key
        first, number = fresh[key], ids.get(key)
        if number is not None and row is first:
            waiting.done.set_result(Kept(number, row=row))
        elif number is not None:
            repeated = Stored(first.digest, first.content_digest, first.answer, first.application_answer)
            waiting.done.set_result(Kept(None, before=repeated, row=row))
        elif key in before:
            waiting.done.set_result(Kept(None, before=before[key], row=row))
        else:  # it was there, and was removed before it could be read: nothing is kept, so nothing is promised
            waiting.done.set_exception(StoreUnavailableError("the message is not in the store; send again"))


def _fail(batch: Iterable[_Waiting], error: StoreUnavailableError | MessageNotKeptError) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(error)

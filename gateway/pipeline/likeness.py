"""Is a birth told for the second time? It is compared with the other births of its mother (domain A.6, F 1-9, 62).

When it is opened, and whenever something about its identity changes: a part of step 5, and of forms.

Locks: a transaction that holds a birth never waits for a mother or for another birth. Where one of them is taken, it
gives up (`BirthBusyError`), and begins again with the mothers locked first of all: so nobody waits crosswise, and of
two notices of one baby that come at the same moment the second one always sees the first.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import structlog

from gateway.contract.lifecycle import JUDGED, State
from gateway.contract.record import PluralityKind
from gateway.errors import BirthBusyError
from gateway.pipeline.rejudge import LIKENESS, doubt, doubt_anew, keys_of, mothers_of, rejudge
from gateway.store import births, likenesses
from gateway.store.births import Why
from gateway.store.likenesses import Pair, Sought, in_order
from gateway.verify.likeness import Verdict, compare, is_set_told, order_of, own_nik, strongest

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Collection

    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context, Rules
    from gateway.store.births import Birth, Keys
    from gateway.store.database import Connection, Database
    from gateway.verify.likeness import Likeness

T = TypeVar("T")
_log = structlog.get_logger()
# What a new value of makes a birth be compared again. The name of a single baby not: it is expected to change (A.6).
_ABOUT_IDENTITY = (
    "event", "mother.", "father.nik", "family_card", "facility.letter_number", "child.sex", "child.born_on",
    "child.born_at", "child.utc_offset", "child.plurality", "child.birth_order", "child.weight_g", "child.nik",
)  # fmt: skip
_ATTEMPTS, _PAUSE_S = 8, 0.05
_ANY = random.SystemRandom()
_WORDS = {
    Verdict.TWIN: "a sibling of this delivery",
    Verdict.SUSPECT: "perhaps one baby under two record numbers: a person decides",
    Verdict.CONFLICT: "contradicts another birth of this mother: a person decides",
}

_CONTRADICTING = "a sibling of this delivery that contradicts it: a person decides"


async def patiently(attempt: Callable[[frozenset[bytes]], Awaitable[T]], rng: random.Random = _ANY) -> T:
    """Run a transaction that may find a birth busy, again with the mothers it names locked at its beginning.

    Raises BirthBusyError where somebody is busy with it all the time.
    """
    mothers: frozenset[bytes] = frozenset()
    for number in range(_ATTEMPTS):
        try:
            return await attempt(mothers)
        except BirthBusyError as busy:
            if busy.mothers <= mothers:
                await asyncio.sleep(_PAUSE_S * (number + rng.random()))
            mothers |= busy.mothers
    raise BirthBusyError(mothers)


async def begun_again(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run work in a transaction of its own, as `patiently` does: for whoever has no task that comes again."""

    async def attempt(mothers: frozenset[bytes]) -> T:
        async with database.transaction() as connection:
            if mothers:
                await likenesses.lock_mothers(connection, mothers)
            return await work(connection)

    return await patiently(attempt)


async def relatives(
    context: Context, connection: Connection, record: BirthRecord, keys: Keys
) -> list[tuple[Birth, Likeness]]:
    """Return the births that have to do with one, locked, each with the verdict on it. Raises BirthBusyError.

    Nothing is compared before the database has the table for it (migration 9).
    """
    if context.schema_level < likenesses.SINCE:
        return []
    return await _relatives(context, connection, record, keys)


async def _relatives(
    context: Rules, connection: Connection, record: BirthRecord, keys: Keys
) -> list[tuple[Birth, Likeness]]:
    today = _today(context, record)
    sought, near = _sought(record, keys, today), _near(context, record)
    if not sought.locks or near is None:
        return []
    if not await likenesses.try_lock_mothers(connection, sought.locks):
        raise BirthBusyError(sought.locks)
    itself = (record.facility.code, record.child.medical_record.reveal())
    found: list[Birth] = []
    for row in await likenesses.candidates(connection, sought, near=near, but=itself):
        known = births.record_in(row["record"])
        if compare(record, known, today=today).verdict is not Verdict.NEW:
            if not await likenesses.lock_free(connection, row["id"]):
                raise BirthBusyError(sought.locks)
            found.append(await births.read(connection, row["id"]))
    orders = [order_of(birth.record) for birth in found] + [order_of(record)]
    seen = [(b, compare(record, b.record, today=today, complete=_is_told(orders, record, b))) for b in found]
    return [(birth, likeness) for birth, likeness in seen if likeness.verdict is not Verdict.NEW]


def _sought(record: BirthRecord, keys: Keys, today: dt.date) -> Sought:
    return Sought(keys.mother_key if own_nik(record, today=today) else None, keys.mother_name_key)


def _near(context: Rules, record: BirthRecord) -> dt.datetime | None:
    """Return about when a birth was, None where not even the day is known: then there is nothing to compare yet."""
    child = record.child
    if child.moment_of_birth is not None or child.born_on is None:
        return child.moment_of_birth
    zone = ZoneInfo(context.facility(record.facility.code).time_zone)
    return dt.datetime.combine(child.born_on, dt.time(12), zone)


def _is_told(orders: list[int | None], record: BirthRecord, other: Birth) -> bool:
    return any(is_set_told(orders, child.plurality) for child in (record.child, other.record.child))


def _today(context: Rules, record: BirthRecord) -> dt.date:
    return context.clock().astimezone(ZoneInfo(context.facility(record.facility.code).time_zone)).date()


async def keep(
    context: Context, connection: Connection, birth: Birth, found: list[tuple[Birth, Likeness]], why: Why
) -> Verdict:
    """Write down what a birth is to others, and let both sides wait where a person must decide; return the verdict.

    The birth's own findings are set here, its state is not: the caller judges it. Raises BirthBusyError.
    """
    if context.schema_level < likenesses.SINCE or (birth.state is State.RECEIVED and not found):
        return Verdict.NEW  # one that was opened just now has no verdicts yet
    return await _keep(context, connection, birth, found, why)


async def _keep(
    context: Rules, connection: Connection, birth: Birth, found: list[tuple[Birth, Likeness]], why: Why
) -> Verdict:
    known = {pair.other(birth.id): pair for pair in await likenesses.of_birth(connection, birth.id)}
    verdicts = []
    for other, likeness in found:
        before = known.pop(other.id, None)
        if before is not None and before.decision is not None:
            continue
        verdicts.append(likeness.verdict)
        # A withdrawn birth was nobody's double meanwhile: told again, it is one anew.
        same = before is not None and _asks(before) == _asks(_pair(birth, other, likeness, why))
        if not same or birth.state is State.CANCELLED:
            await _tell(context, connection, (birth, other), likeness, why)
    for pair in known.values():
        if pair.decision is None:
            await _take_back(context, connection, birth, pair, why)
    await doubt(connection, birth, reopening=_reopening(birth))
    return strongest(verdicts)


async def _tell(
    context: Rules, connection: Connection, pair: tuple[Birth, Birth], likeness: Likeness, why: Why
) -> None:
    birth, other = pair
    told = likeness.as_dict()
    kept = _pair(birth, other, likeness, why)
    await likenesses.keep(connection, kept)
    context.metrics.likenesses.labels(likeness.verdict.value).inc()
    twins = likeness.verdict is Verdict.TWIN
    words = _CONTRADICTING if twins and kept.waits else _WORDS[likeness.verdict]
    await births.note(connection, birth, _why(why, words, told, other.id))
    if not kept.waits:
        await doubt_anew(context, connection, other, _why(why, words, told, birth.id))
        return
    gone = other.submitted > 0
    words += "; this one is at the registry, or registered, and stays" if gone else ""
    await doubt_anew(context, connection, other, _why(why, words, told, birth.id), reopening=_reopening(birth))
    _log.warning(
        "birth.suspected",
        birth_id=str(birth.id),
        facility=birth.facility,
        state=other.state.value,
        code=f"{likeness.verdict.value}:{likeness.rule}",
    )


def _pair(birth: Birth, other: Birth, likeness: Likeness, why: Why) -> Pair:
    earlier, later = in_order(birth, other)
    owner = _owner((birth, other), likeness)
    return Pair.of(earlier.id, later.id, likeness.as_dict(), owner=owner, message_id=why.message_id)


def _asks(pair: Pair) -> tuple[str, str, bool, bool]:
    """Return what a verdict says and asks for: as long as that is the same, nothing new is told."""
    return pair.verdict, pair.rule, pair.verdict == Verdict.TWIN.value and pair.waits, pair.of_one_name


def _reopening(birth: Birth) -> uuid.UUID | None:
    return birth.id if birth.state is State.CANCELLED else None


def _why(why: Why, words: str, told: dict[str, Any], other: uuid.UUID) -> Why:
    return Why("gateway", "likeness", words, why.message_id, {"with": str(other), **told})


def _owner(pair: tuple[Birth, Birth], likeness: Likeness) -> uuid.UUID | None:
    return pair[likeness.owner].id if likeness.owner >= 0 else None


async def _take_back(context: Rules, connection: Connection, birth: Birth, pair: Pair, why: Why) -> None:
    """Forget a verdict that what is told now does not bear out any more, and let the other side go on."""
    other_id = pair.other(birth.id)
    if not await likenesses.lock_free(connection, other_id):
        raise BirthBusyError(await mothers_of(connection, birth))
    await likenesses.forget(connection, pair)
    detail = {"verdict": Verdict.NEW.value, "was": pair.verdict}
    words = "what was told since shows another birth"
    await births.note(connection, birth, _why(why, words, detail, other_id))
    other = await births.read(connection, other_id)
    await doubt_anew(context, connection, other, _why(why, words, detail, birth.id))


async def look_at_united(context: Rules, connection: Connection, birth: Birth, keys: Keys, why: Why) -> None:
    """Compare a birth that took over what another one knew, and let it wait where that shows a third one.

    `keys` are what it is found by: the command line has no key to make them with. Raises BirthBusyError.
    """
    before = [f for f in birth.findings if f.get("by") == LIKENESS]
    await _keep(context, connection, birth, await _relatives(context, connection, birth.record, keys), why)
    after = [f for f in birth.findings if f.get("by") == LIKENESS]
    if before != after and birth.state in JUDGED | {State.SEALED, State.AWAIT_OFFICE}:
        await rejudge(context, connection, birth, why)


async def look_again(
    context: Context, connection: Connection, birth: Birth, changed: Collection[str], why: Why
) -> Verdict:
    """Compare a birth again where something about its identity changed, or it was told anew. Raises BirthBusyError."""
    anew = birth.state is State.CANCELLED
    named = "child.name" in changed and birth.record.child.plurality not in (None, PluralityKind.SINGLE)
    about = named or any(path.startswith(_ABOUT_IDENTITY) for path in changed)
    if birth.state is State.MERGED or not (anew or about):
        return Verdict.NEW
    found = await relatives(context, connection, birth.record, keys_of(context, birth.record))
    return await keep(context, connection, birth, found, why)

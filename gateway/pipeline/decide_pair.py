"""What a person decides of two births that resemble each other: one baby (merge), or two (split).

A preview lays both sides out side by side. Names and numbers of people are compared and not shown: only whether they
agree; of a restricted birth nothing is shown. Each decision is one transaction, an event of both births, and is
remembered: what is different is never suspected again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import State
from gateway.errors import IllegalMoveError
from gateway.pipeline import family, identity
from gateway.pipeline.change import is_certified, may_not_vanish, review
from gateway.pipeline.family import Family
from gateway.pipeline.likeness import look_at_united, patiently
from gateway.pipeline.rejudge import MESSAGE, doubt_anew, rejudge
from gateway.store import births, likenesses, queue, submissions
from gateway.store.queue import Kind
from gateway.verify.likeness import Verdict, alike, compare
from gateway.verify.nik import clean_nik
from gateway.verify.reuse import are_two_mothers

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    from gateway.contract.masked import Personal
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.operate import Desk
    from gateway.store.births import Birth, Why
    from gateway.store.database import Connection
    from gateway.store.likenesses import Pair

_SUSPECT = "DUP_SUSPECT"
_OUT = (State.MERGED, State.CANCELLED)
_UNTOLD = "–"


@dataclass(frozen=True, slots=True)
class Preview:
    """Two births side by side. `rows`: (field, left, right, whether they agree: None where one is not told)."""

    left: Birth
    right: Birth
    rows: tuple[tuple[str, str, str, bool | None], ...]
    verdict: dict[str, Any]
    decision: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the published form."""
        return {
            "births": [str(self.left.id), str(self.right.id)],
            "verdict": self.verdict,
            "decision": self.decision,
            "fields": [
                {"field": field, "values": [left, right], "same": same} for field, left, right, same in self.rows
            ],
        }


async def preview(desk: Desk, left: uuid.UUID, right: uuid.UUID) -> Preview:
    """Return both sides of a pair as they are now. Raises LookupError, IllegalMoveError."""
    async with desk.database.connection() as connection:
        await _ready(connection, left, right)
        one, other = await births.read(connection, left), await births.read(connection, right)
        pair = await _pair(connection, left, right)
        numbers = [await submissions.certificate(connection, birth.id) for birth in (one, other)]
    verdict = compare(one.record, other.record, today=desk.clock().date()).as_dict()
    heads = (
        ("state", one.state.value, other.state.value),
        ("certificate", *(c.number if c else _UNTOLD for c in numbers)),
        ("received", *(_moment(b.received_at) for b in (one, other))),
        ("revision", str(one.revision), str(other.revision)),
        ("facility", one.facility, other.facility),
        ("record no.", one.medical_record, other.medical_record),
    )
    rows = [(name, a, b, a == b if _UNTOLD not in (a, b) else None) for name, a, b in heads]
    rows += _shown(one.record, other.record, hidden=bool(one.restricted or other.restricted))
    rows += _compared(one.record, other.record)
    return Preview(one, other, tuple(rows), verdict, pair.decision if pair else None)


def _moment(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_SHOWN: tuple[tuple[str, Callable[[BirthRecord], object]], ...] = (
    ("event", lambda r: r.event.value),
    ("born on", lambda r: r.child.born_on),
    ("born at", lambda r: r.child.born_at and f"{r.child.born_at} {r.child.utc_offset or ''}".strip()),
    ("sex", lambda r: r.child.sex and r.child.sex.value),
    ("plurality", lambda r: r.child.plurality and r.child.plurality.name.lower()),
    ("order", lambda r: r.child.birth_order),
    ("weight (g)", lambda r: r.child.weight_g),
    ("length (cm)", lambda r: r.child.length_cm),
    ("place", lambda r: r.child.place_name),
    ("letter of birth", lambda r: r.facility.letter_number),
)
_COMPARED: tuple[tuple[str, Callable[[BirthRecord], Personal | None]], ...] = (
    ("baby's name", lambda r: r.child.name),
    ("mother's name", lambda r: r.mother.name if r.mother else None),
    ("father's name", lambda r: r.father.name if r.father else None),
)
_NUMBERS: tuple[tuple[str, Callable[[BirthRecord], Personal | None]], ...] = (
    ("mother's NIK", lambda r: r.mother.nik if r.mother else None),
    ("father's NIK", lambda r: r.father.nik if r.father else None),
    ("family card", lambda r: r.family_card),
)


def _shown(one: BirthRecord, other: BirthRecord, *, hidden: bool) -> list[tuple[str, str, str, bool | None]]:
    rows: list[tuple[str, str, str, bool | None]] = []
    for name, value in _SHOWN:
        a, b = (str(v) if v not in (None, "") else _UNTOLD for v in (value(one), value(other)))
        same = a == b if _UNTOLD not in (a, b) else None
        if hidden:
            a, b = ("told" if v != _UNTOLD else v for v in (a, b))
        rows.append((name, a, b, same))
    return rows


def _compared(one: BirthRecord, other: BirthRecord) -> list[tuple[str, str, str, bool | None]]:
    """Compare what is about people without showing it."""
    rows: list[tuple[str, str, str, bool | None]] = []
    for name, value in _COMPARED:
        a, b = value(one), value(other)
        rows.append((name, _told(a), _told(b), alike(a, b) == "equal" if a and b else None))
    for name, value in _NUMBERS:
        a, b = value(one), value(other)
        same = clean_nik(a.reveal()) == clean_nik(b.reveal()) if a and b else None
        rows.append((name, _told(a), _told(b), same))
    return rows


def _told(value: Personal | None) -> str:
    return "told" if value else _UNTOLD


# -------------------------------------------------------------------------------------------------------- merge


async def merge(desk: Desk, birth_id: uuid.UUID, into_id: uuid.UUID) -> uuid.UUID:
    """Let two births be one baby's and return the one that lives on.

    Within a facility that is the one with a certificate or a case at the registry, under the record number of `into`;
    between two facilities it is `into`. Raises LookupError, and IllegalMoveError saying what to do instead.
    """
    numbers: dict[str, frozenset[str]] = {}

    async def attempt(mothers: frozenset[bytes]) -> uuid.UUID:
        nonlocal numbers
        while True:
            done = await _try(desk, (birth_id, into_id), numbers, mothers)
            if not isinstance(done, dict):
                return done
            numbers = done

    kept = await patiently(attempt)
    desk.metrics.identity_decisions.labels("same").inc()
    return kept


async def _try(
    desk: Desk, ids: tuple[uuid.UUID, uuid.UUID], numbers: dict[str, frozenset[str]], mothers: frozenset[bytes]
) -> uuid.UUID | dict[str, frozenset[str]]:
    """Do it under the locks of these numbers; where more are needed, change nothing and return them all.

    Raises BirthBusyError where mothers must be locked first (pipeline.likeness).
    """
    async with desk.database.transaction() as connection:
        await _ready(connection, *ids)
        if mothers:
            await likenesses.lock_mothers(connection, mothers)
        wanted = dict(numbers)
        for found in ids:
            birth = await births.read(connection, found)
            wanted[birth.facility] = wanted.get(birth.facility, frozenset()) | {birth.medical_record}
        families = await _lock(connection, wanted)
        return await _merge(desk, connection, families, ids) if isinstance(families, Family) else families


async def _lock(connection: Connection, numbers: dict[str, frozenset[str]]) -> Family | dict[str, frozenset[str]]:
    """Lock both sides' record numbers, facility by facility; return all there are where more belong to them.

    Of two facilities only the births are looked at afterwards: the family returned is that of the last one.
    """
    locked: list[Family] = []
    for facility in sorted(numbers):
        found = await family.lock(connection, facility, numbers[facility])
        if not isinstance(found, Family):
            return {**numbers, facility: found}
        locked.append(found)
    return locked[-1]


async def _merge(desk: Desk, connection: Connection, numbers: Family, ids: tuple[uuid.UUID, uuid.UUID]) -> uuid.UUID:
    at_hand = {birth.id: birth for birth in numbers.births.values()}
    prior, into = [at_hand.get(i) or await births.lock(connection, i) for i in ids]
    certified = [b for b in (prior, into) if await is_certified(connection, b)]
    _check(desk, prior, into, certified)
    why = desk.why("merge", {"with": str(into.id)})
    if len(certified) > 1:
        await review(desk, connection, prior, State.REVOCATION_REVIEW, why)
        await births.note(connection, into, desk.why("merge", {"with": str(prior.id)}))
        await _decide(connection, desk, prior.id, into.id, same=True)
        return into.id
    if prior.facility == into.facility:
        message = prior.first_message_id
        revisions = {birth.id: birth.revision for birth in (prior, into)}
        kept = await identity.make_one(desk, connection, numbers, prior, into, why, message_id=message)
        await _look(desk, connection, kept, revisions[kept.id], why)
        return kept.id
    if identity.standing(prior, certified) > identity.standing(into, certified):
        raise IllegalMoveError(
            f"the registry knows {prior.id} and not {into.id}: merge {into.id} into {prior.id} instead"
        )
    before = into.revision
    await identity.unite(desk, connection, (into, prior), why)
    await _look(desk, connection, into, before, why)
    if into in certified:  # the other hospital is told of the akta too (domain F 62)
        await queue.add(connection, Kind.COLLECT, birth_id=into.id, priority=into.priority)
    return into.id


async def _look(desk: Desk, connection: Connection, kept: Birth, before: int, why: Why) -> None:
    """Compare the birth that lives on at once, where it took something over (pipeline.likeness)."""
    if kept.revision != before:
        keys = await births.keys_as_stored(connection, kept)
        await look_at_united(desk, connection, kept, keys, why)


def _check(desk: Desk, prior: Birth, into: Birth, certified: Sequence[Birth]) -> None:
    for birth in (prior, into):
        if birth.state in _OUT:
            raise IllegalMoveError(f"{birth.id} is {birth.state.value}: there is nothing to merge")
        if may_not_vanish(birth) and birth not in certified:
            raise IllegalMoveError(
                f"the registry has {birth.id} ({birth.state.value}): merge when it has answered, "
                "or ask it to withdraw its case first (procot births withdraw)"
            )
    if marks := are_two_mothers(prior.record, into.record, today=desk.clock().date()):
        raise IllegalMoveError(
            f"the mothers differ ({', '.join(marks).lower()}): babies of two mothers are never merged; where that is a "
            "mistake, the hospital corrects the mother by A08 first"
        )
    sexes = {birth.record.child.sex for birth in (prior, into)} - {None}
    if len(sexes) > 1 or compare(prior.record, into.record, today=desk.clock().date()).verdict is Verdict.TWIN:
        raise IllegalMoveError(
            "their order or sex says that they are twins, which are never merged; where that is a mistake, "
            "the hospital corrects PID-24, PID-25 or PID-8 by A08 first"
        )


async def _ready(connection: Connection, *ids: uuid.UUID) -> None:
    """Check that there is something to decide upon. Raises IllegalMoveError."""
    if len(set(ids)) < len(ids):
        raise IllegalMoveError("both are the same birth; name two")
    if not await likenesses.known(connection):
        raise IllegalMoveError("the database has no place for this decision yet; run procot migrate")


async def _pair(connection: Connection, one: uuid.UUID, other: uuid.UUID) -> Pair | None:
    return next((p for p in await likenesses.of_birth(connection, one) if p.other(one) == other), None)


async def _decide(connection: Connection, desk: Desk, one: uuid.UUID, other: uuid.UUID, *, same: bool) -> None:
    pair = await _pair(connection, one, other)
    if pair is not None:
        await likenesses.decide(connection, pair, same=same, by=desk.actor, reason=desk.reason)


# -------------------------------------------------------------------------------------------------------- split


async def split(desk: Desk, birth_id: uuid.UUID, other_id: uuid.UUID | None = None) -> tuple[uuid.UUID, ...]:
    """Let a birth be another baby than those it resembles (or than one of them), and return them.

    All that waited only for this go on. Raises LookupError, and IllegalMoveError where nothing is suspected.
    """
    async with desk.database.transaction() as connection:
        await _ready(connection, birth_id)
        others = [pair.other(birth_id) for pair in await _waiting(connection, birth_id, other_id)]
        locked = {i: await births.lock(connection, i) for i in sorted({birth_id, *others})}
        birth = locked[birth_id]
        # Looked at again: somebody may have decided while this one waited for the locks.
        pairs = [p for p in await _waiting(connection, birth_id, other_id) if p.other(birth_id) in locked]
        others = [pair.other(birth_id) for pair in pairs]
        linked = [f for f in birth.findings if f["code"] == _SUSPECT and f.get("by") == MESSAGE]
        if not pairs and not (linked and other_id is None):
            raise IllegalMoveError(
                f"the birth is {birth.state.value} and resembles no other birth that is to be decided upon"
            )
        for pair in pairs:
            await likenesses.decide(connection, pair, same=False, by=desk.actor, reason=desk.reason)
            desk.metrics.identity_decisions.labels("different").inc()
        for found in locked.values():
            told = others if found is birth else [birth_id]
            why = desk.why("split", {"with": [str(i) for i in told]})
            if found is birth and linked:
                await _forget_link(desk, connection, birth)
            await doubt_anew(desk, connection, found, why)
        return tuple(others)


async def _waiting(connection: Connection, birth_id: uuid.UUID, other_id: uuid.UUID | None) -> list[Pair]:
    pairs = [pair for pair in await likenesses.of_birth(connection, birth_id) if pair.waits]
    return [pair for pair in pairs if other_id in (None, pair.other(birth_id))]


async def _forget_link(desk: Desk, connection: Connection, birth: Birth) -> None:
    """Take back what a link of the hospital (A24) made suspect."""
    rest = [f for f in birth.findings if not (f["code"] == _SUSPECT and f.get("by") == MESSAGE)]
    await births.set_findings(connection, birth, rest)
    if birth.state is State.REVIEW:
        await rejudge(desk, connection, birth, desk.why("split"))

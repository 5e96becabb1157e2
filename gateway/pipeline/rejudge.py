"""Judge a birth's record as it stands and move the birth to where that leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import JUDGED, State, judged_state
from gateway.contract.record import Event, PluralityKind
from gateway.contract.revision import leaves_of
from gateway.errors import BirthBusyError
from gateway.hl7.location import Location
from gateway.pipeline.draft import places
from gateway.pipeline.routing import route
from gateway.store import births, likenesses, queue, siblings
from gateway.store.births import Keys, Why
from gateway.store.queue import Kind
from gateway.verify.content import judge
from gateway.verify.likeness import name_key
from gateway.verify.missing import missing
from gateway.verify.moment import deadline
from gateway.verify.people import check_people

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Mapping, Sequence

    from gateway.contract.ports import Draft
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context, Rules
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.likenesses import Pair

_log = structlog.get_logger()
MESSAGE = "message"  # marks a stored finding that only a message can show, and only a later one takes back
OFFICE = "office"  # marks an officer's question: it stands until something that came after it (pipeline.question)
LIKENESS = "likeness"  # marks one about another birth (pipeline.likeness): no release waves it through, a decision does
_OUT = frozenset({State.CANCELLED, State.MERGED})
_DOUBTS = {"suspect": "DUP_SUSPECT", "conflict": "SIBLING_CONFLICT"}
_SINCE = "SIBLING_SINCE"  # told of a birth that is out of the house: it holds nothing


async def rejudge(
    context: Rules, connection: Connection, birth: Birth, why: Why, *, told: Draft | None = None
) -> State:
    """Find what is wrong now, store it, move the birth; READY gets its next task.

    `told` is the message that changed the record. What an adapter found in an earlier message stays until a later one
    speaks of the same field: the record alone does not show it.
    """
    stored, values = _found(context, birth, told)
    await keep_findings(context, connection, birth, stored, values)
    state = _leads_to(stored, birth)
    await go(context, connection, birth, state, why)
    return state


def would_be(context: Rules, birth: Birth, *, told: Draft | None = None) -> State:
    """Return where `rejudge` would move the birth; changes nothing."""
    return _leads_to(_found(context, birth, told)[0], birth)


def _leads_to(stored: Sequence[Mapping[str, Any]], birth: Birth) -> State:
    open_ = (f for f in stored if f.get("by") == LIKENESS or f["code"] not in birth.accepted)
    return judged_state({State(f["state"]) for f in open_ if f["state"]})


def _found(context: Rules, birth: Birth, told: Draft | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what is wrong with a birth now, as it is stored, and its record's values by path."""
    more = told.findings if told else ()
    values, known = leaves_of(birth.record, derived=True), places(birth.record)
    judgement = judge(
        values,
        known,
        facility=context.facility(birth.facility),
        now=context.clock(),
        require_form=context.config.registry.require_form,
        adapter_findings=(*more, *_people(context, birth, values, known)),
    )
    stored = [f.as_dict() | ({"by": MESSAGE} if f in more else {}) for f in judgement.findings]
    stored += [f for f in birth.findings if f.get("by") in (LIKENESS, OFFICE)]
    codes = {f["code"] for f in stored}
    stored += [f for f in birth.findings if f.get("by") == MESSAGE and f["code"] not in codes and not _retold(f, told)]
    return stored, values


def _people(context: Rules, birth: Birth, values: Mapping[str, Any], known: Mapping[str, Location]) -> list[Finding]:
    """Judge reporter and witnesses, where the office wants them (F 88)."""
    if not context.config.registry.require_form or birth.record.event is Event.STILLBIRTH:
        return []
    return check_people(values, known, today=_today(context, birth))


async def keep_findings(
    context: Rules,
    connection: Connection,
    birth: Birth,
    stored: list[dict[str, Any]],
    values: Mapping[str, Any] | None = None,
) -> None:
    """Store what is wrong with a birth, and with it what is missing, from whom, and whose office it is.

    `values` are the record's by path, where the caller has them.
    """
    values = leaves_of(birth.record) if values is None else values
    needs = missing(values, stored, accepted=birth.accepted, today=_today(context, birth))
    office = birth.office if birth.way else route(birth.record, context.config).office
    await births.set_findings(connection, birth, stored, missing=needs, office=office)


def _today(context: Rules, birth: Birth) -> dt.date:
    return context.clock().astimezone(ZoneInfo(context.facility(birth.facility).time_zone)).date()


def _retold(finding: Mapping[str, Any], told: Draft | None) -> bool:
    """Tell whether a message speaks of the field an earlier finding is about."""
    if told is None or not finding["place"]:
        return False
    place = Location.parse(finding["place"])
    return any((p.segment, p.field) == (place.segment, place.field) for p in told.places.values())


def state_of(findings: Sequence[Finding], accepted: frozenset[str]) -> State:
    """Return where findings lead, leaving out those a person took responsibility for."""
    return judged_state({f.entry.hold for f in findings if f.entry.hold and f.code not in accepted})


async def go(context: Rules, connection: Connection, birth: Birth, state: State, why: Why) -> None:
    """Move a birth, drop the work a newer decision made pointless, and add the next task.

    Raises BirthBusyError where it goes out and a birth that resembles it is being worked on: nothing was changed.
    """
    await queue.drop(connection, birth.id, Kind.CHECK, Kind.SEAL, Kind.SUBMIT)
    if await births.move(connection, birth, state, why):
        context.metrics.moves.labels(state.value).inc()
    else:
        await births.note(connection, birth, why)
    if state is State.READY and not birth.held:
        await queue.add(connection, Kind.CHECK, birth_id=birth.id, priority=birth.priority)
    if state in _OUT:
        await _free_others(context, connection, birth)
        await _free_siblings(connection, birth)


async def doubt(connection: Connection, birth: Birth, *, reopening: uuid.UUID | None = None) -> bool:
    """Give a birth the findings that its undecided likenesses ask for, and no others; True where that changes its wait.

    The later of two waits as long as nobody else has it; the earlier one too, unless it was sealed before. A single one
    that was is told that another baby of its delivery came since, so that somebody looks at its akta.
    """
    early = birth.state in JUDGED or birth.state is State.RECEIVED or birth.id == reopening
    gone = birth.at_registry > 0 or (birth.submitted > 0 and birth.state is not State.REFUSED)
    pairs = await likenesses.waiting_of(connection, birth.id, reopening=reopening) if not gone else []
    codes = {_doubt_of(pair) for pair in pairs if early or pair.later == birth.id}
    known = {f["code"] for f in birth.findings if f.get("by") == LIKENESS}
    told = {_SINCE} if not early and await _has_sibling_since(connection, birth, reopening) else set[str]()
    if codes | told == known:
        return False
    rest = [f for f in birth.findings if f.get("by") != LIKENESS]
    more = [Finding(code).as_dict() | {"by": LIKENESS} for code in sorted(codes | told)]
    await births.set_findings(connection, birth, rest + more)
    if told - known:
        _log.warning("birth.sibling_since", birth_id=str(birth.id), facility=birth.facility, state=birth.state.value)
    return codes != known - {_SINCE}


def _doubt_of(pair: Pair) -> str:
    if pair.verdict in _DOUBTS:
        return _DOUBTS[pair.verdict]
    return "TWIN_NAME_SAME" if pair.of_one_name else "SIBLING_CONFLICT"


async def _has_sibling_since(connection: Connection, birth: Birth, reopening: uuid.UUID | None) -> bool:
    """Whether another baby was told of a delivery that this one, sealed or registered, was the only one of."""
    if birth.record.child.plurality not in (None, PluralityKind.SINGLE) or birth.state in _OUT:
        return False
    return await likenesses.has_sibling(connection, birth.id, reopening=reopening)


async def _free_others(context: Rules, connection: Connection, birth: Birth) -> None:
    """Let go on what waited only because it resembled a birth that is out now. Raises BirthBusyError.

    Two that resemble each other may go out at one moment: neither waits for the other.
    """
    if not await likenesses.known(connection):
        return
    others = [pair.other(birth.id) for pair in await likenesses.of_birth(connection, birth.id) if pair.waits]
    if others and not await likenesses.lock_free(connection, *others):
        raise BirthBusyError(await mothers_of(connection, birth))
    for other in others:
        why = Why("gateway", "likeness", "the birth it resembled is out", detail={"with": str(birth.id)})
        await doubt_anew(context, connection, await births.read(connection, other), why)


async def mothers_of(connection: Connection, birth: Birth) -> frozenset[bytes]:
    """Return what a birth's mother is found by, as it is stored: whoever begins again locks her first of all."""
    keys = await births.keys_as_stored(connection, birth)
    return frozenset(key for key in (keys.mother_key, keys.mother_name_key) if key)


async def _free_siblings(connection: Connection, birth: Birth) -> None:
    """End the wait of siblings for a birth that is out now; each looks again at whom it still waits for."""
    if birth.twin_group is not None:
        for sibling in (await siblings.of(connection, birth)).ids:
            await queue.hurry(connection, sibling, Kind.SEAL)


async def doubt_anew(
    context: Rules, connection: Connection, birth: Birth, why: Why, *, reopening: uuid.UUID | None = None
) -> None:
    """Let a birth wait, or go on, by what its likenesses ask for now; the event is written in any case.

    `reopening` is the withdrawn birth that is being told again, if any.
    """
    changed = await doubt(connection, birth, reopening=reopening)
    if changed and birth.state in JUDGED | {State.RECEIVED, State.SEALED, State.AWAIT_OFFICE}:
        await rejudge(context, connection, birth, why)
    else:
        await births.note(connection, birth, why)


def keys_of(context: Context, record: BirthRecord) -> Keys:
    """Return what a birth is found by: the mother, under a keyed hash, and the time of birth."""
    mother = record.mother
    nik = mother.nik.reveal() if mother and mother.nik else ""
    name = name_key(record) if context.schema_level >= likenesses.SINCE else ""
    return Keys(
        mother_key=context.keyring.index(nik) if nik else None,
        mother_name_key=context.keyring.index(f"name\x1f{name}") if name else None,
        born_at=record.child.moment_of_birth,
        deadline=deadline(record, context.clock()),
    )

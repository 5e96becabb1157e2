"""What becomes of a birth whose record changes: wait for the registry, a revision, a new judgement, or an officer.

The record is made by the step that has the message (assign, identity); what follows from it is here (domain F 16-20).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, MOVES, State
from gateway.contract.ports import Effect
from gateway.contract.precedence import Source, keep_stronger
from gateway.contract.record import BirthRecord, Event, PluralityKind
from gateway.contract.registered import as_registered, differing
from gateway.contract.revision import changed_paths, leaves_of, legal_changes
from gateway.hl7.location import Location
from gateway.pipeline import likeness, question
from gateway.pipeline.draft import places
from gateway.pipeline.no_name import as_named
from gateway.pipeline.rejudge import MESSAGE, go, keys_of, rejudge, would_be
from gateway.store import acts, births, events, revisions, siblings, submissions
from gateway.store.births import Why

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from gateway.contract.ports import Draft
    from gateway.pipeline.context import Context, Rules
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.messages import Kept


_log = structlog.get_logger()
# What makes a parent another person, or the same one known better.
_WHO = ("name", "nik", "travel_document", "citizenship")
_DATE = "BIRTH_DATE_DOUBT"


@dataclass(frozen=True, slots=True)
class Told:
    """One message about a birth."""

    kept: Kept
    draft: Draft
    certified: bool = False
    late: str = ""  # why it does not count whole: newer ones came before it

    @property
    def why(self) -> Why:
        """The words of the event row."""
        return Why("hospital", "assign", self.kept.event, self.kept.id)

    @property
    def at(self) -> dt.datetime | None:
        """When it was written, but not later than it came: a fast clock must not outrank the rest (F 110)."""
        return min(self.draft.sent_at, self.kept.received_at) if self.draft.sent_at else None

    def older_than(self, moment: dt.datetime | None) -> bool:
        """Tell whether it was written before what is known."""
        return bool(moment and self.at and self.at < moment)


async def is_certified(connection: Connection, birth: Birth) -> bool:
    """Whether a certificate was issued, asked for or not."""
    return birth.state in CERTIFIED or await submissions.certificate(connection, birth.id) is not None


def registry_has_it(birth: Birth) -> bool:
    """Whether bytes of this birth may lie at the registry without a final answer."""
    return birth.state in IN_FLIGHT or (birth.state is State.DEAD_LETTER and birth.submitted > 0)


def may_not_vanish(birth: Birth) -> bool:
    """Whether a birth must wait to be merged: the registry has it, or is about to have a change of its open case."""
    return registry_has_it(birth) or (birth.at_registry > 0 and birth.state in (State.READY, State.SEALED))


async def apply(
    context: Context,
    connection: Connection,
    birth: Birth,
    record: BirthRecord,
    told: Told,
    *,
    dated: bool = True,
) -> bool:
    """Let a birth have this record; False (and nothing done) where it must wait for the registry's answer.

    `dated`: what was written earlier comes late from now on (gateway.pipeline.late).
    """
    told = _doubting_date(birth, record, _doubting_plurality(birth.record, record, told))
    record, stayed = keep_stronger(birth.record, record, by=Source.HL7)
    if stayed:  # a form or an officer had said otherwise
        kept = because(told.why, f"differs from a stronger source, which stays: {', '.join(stayed)}")
        await births.note(connection, birth, kept)
    if told.certified:
        record = await _as_issued(connection, birth, record, told)
    changed = changed_paths(birth.record, record)
    legal = legal_changes(changed)
    # After issue a person decides in any case, and may ask for the correction of what was let pass before.
    accepted = birth.accepted if told.certified else _still_accepted(birth, changed)
    becomes = replace(birth, record=record, accepted=accepted)
    if legal and not told.certified and not await _may_change(context, connection, birth, becomes, told):
        return False
    if accepted != birth.accepted:
        await births.set_accepted(connection, birth, accepted)
    if dated and told.at and not told.older_than(birth.told_at):
        await births.set_told_at(connection, birth, told.at)
    if changed or birth.state is State.CANCELLED:
        says_more = birth.state is State.CANCELLED or not question.NO_ANSWER.issuperset(changed)
        if says_more and await question.is_answered_by(connection, birth, told.kept.id):
            question.close(birth)
        event = f"{told.kept.event}: {told.late}" if told.late else told.kept.event
        why = Why("hospital", "assign", event, told.kept.id, {"changed": list(changed)})
        await revisions.revise(connection, birth, record, keys=keys_of(context, record), changed=changed, why=why)
        await likeness.look_again(context, connection, birth, changed, why)
        await _join_twins(context, connection, birth)
        if "child.died_at" in changed:
            await _tell_death(connection, birth)
        await _after_revision(context, connection, birth, (why, told, bool(legal)))
    else:
        await _told_again(context, connection, birth, told)
    return True


def _doubting_plurality(before: BirthRecord, after: BirthRecord, told: Told) -> Told:
    """Let a person look where a result says single of a birth that was one of several, or the other way round.

    Within one message the hospital's adapter finds such a contradiction; a corrected notice (A08) is no contradiction.
    """
    known, says = before.child.plurality, after.child.plurality
    if told.draft.effect is not Effect.OBSERVE or known is None or says is known:
        return told
    if PluralityKind.SINGLE not in (known, says):
        return told
    doubt = Finding("PLURALITY_CONFLICT", told.draft.places.get("child.plurality"))
    return replace(told, draft=replace(told.draft, findings=(*told.draft.findings, doubt)))


def _doubting_date(birth: Birth, record: BirthRecord, told: Told) -> Told:
    """Keep the doubt about a birth date as long as the date stays, also where what spoke against it is not repeated."""
    if birth.record.child.born_on != record.child.born_on or any(f.code == _DATE for f in told.draft.findings):
        return told
    known = [Finding(_DATE, Location.parse(f["place"])) for f in birth.findings if f["code"] == _DATE]
    return replace(told, draft=replace(told.draft, findings=(*told.draft.findings, *known))) if known else told


async def _told_again(context: Context, connection: Connection, birth: Birth, told: Told) -> None:
    """Judge anew what a message changed no value of, where it changes what is doubtful, or what an office asked."""
    answered = await question.is_answered_by(connection, birth, told.kept.id)
    said = ""
    if answered and await question.is_told_anew(connection, birth):
        said = "told again, now that the office asked"
    elif not told.certified and not registry_has_it(birth) and _doubts_change(birth, told.draft):
        said = "the values stay, what was doubtful about them does not"
    if not said:
        await births.note(connection, birth, because(told.why, told.late or "told again: nothing new"))
        return
    if answered:
        question.close(birth)
    await rejudge(context, connection, birth, because(told.why, said), told=told.draft)


def about_field(place: Location) -> tuple[str, int]:
    """Return what a finding is about, as a later message may speak of it: the field, wherever it stands there."""
    return place.segment, place.field


def _doubts_change(birth: Birth, draft: Draft) -> bool:
    """Tell whether a message that changes no value takes back what an earlier one had shown, or shows more.

    A final result may be the preliminary one (F 81), and the same mother may come with another beside her (F 45).
    """
    fields = {about_field(place) for place in draft.places.values()}
    before = {f["code"]: f["place"] for f in birth.findings if f.get("by") == MESSAGE}
    kept = {code for code, place in before.items() if not place or about_field(Location.parse(place)) not in fields}
    return kept | {finding.code for finding in draft.findings} != before.keys()


def _still_accepted(birth: Birth, changed: Sequence[str]) -> frozenset[str]:
    """Return the findings a person took responsibility for, without those whose matter is another now.

    Who let a foreign father pass did not let pass another one: with other values the same finding asks anew.
    """
    places = {path: Location.parse(place) for path, place in birth.record.provenance.items() if path in changed}
    fields = {(place.segment, place.sequence, place.field) for place in places.values()}
    lapsed = {role.upper() for role in ("mother", "father") if any(f"{role}.{part}" in changed for part in _WHO)}
    stands = {f["code"]: f["place"] for f in birth.findings}
    return frozenset(
        code
        for code in birth.accepted
        if code.partition("_")[0] not in lapsed and not (stands.get(code) and _exact(stands[code]) in fields)
    )


def _exact(place: str) -> tuple[str, int, int]:
    parsed = Location.parse(place)
    return parsed.segment, parsed.sequence, parsed.field


async def _may_change(context: Context, connection: Connection, birth: Birth, becomes: Birth, told: Told) -> bool:
    """Whether what the akta will say may change now: not while the registry has it, unless it can be amended there.

    Amended is what the office works on, takes changes of, and was not asked to withdraw; and only by a record in which
    nothing is open, so that no decision of a person is skipped (domain F 18).
    """
    if await acts.undecided(connection, birth.id) is not None:
        return False
    if not registry_has_it(birth):
        return True
    if birth.state is not State.IN_PROCESS or birth.way or birth.held or not birth.reference:
        return False
    if birth.at_registry != birth.submitted or not context.registry.amends:
        return False
    return would_be(context, becomes, told=told.draft) is State.READY


async def _as_issued(connection: Connection, birth: Birth, record: BirthRecord, told: Told) -> BirthRecord:
    """Return the record with the akta's own words where the hospital only repeats what it had said before issue.

    Without it each later message would look like a change of the akta (domain F 97); what is new stays new (F 19).
    """
    record, stayed = as_named(birth.record, record, told.draft)
    if stayed:
        await births.note(
            connection, birth, because(told.why, f"no name for an akta, which stays: {', '.join(stayed)}")
        )
    certificate = await submissions.certificate(connection, birth.id)
    if certificate is None or not certificate.registered:
        return record
    asked = await revisions.record_of(connection, birth.id, await submissions.certified_revision(connection, birth.id))
    before, now = leaves_of(asked), leaves_of(record)
    repeated = [p for p in differing(asked, certificate.registered) if before.get(p) == now.get(p)]
    return as_registered(record, certificate.registered, repeated)


async def _after_revision(
    context: Context, connection: Connection, birth: Birth, revised: tuple[Why, Told, bool]
) -> None:
    why, told, legal = revised
    if told.certified and birth.state is State.CANCELLED:  # its akta was revoked; another one is the office's to give
        why = because(why, "told anew after its akta was revoked: the office decides")
        await review(context, connection, birth, State.REVOCATION_REVIEW, why)
    elif told.certified and legal and birth.state is not State.REVOCATION_REVIEW:
        why = because(why, "changed after issue: an officer decides")
        why = replace(why, detail={**why.detail, "cause": events.CHANGED})
        await review(context, connection, birth, State.AMENDMENT_REVIEW, why)
    elif told.certified or (registry_has_it(birth) and not legal):
        await births.note(connection, birth, because(why, "not part of the akta: recorded only"))
    else:
        await rejudge(context, connection, birth, why, told=await _weighed(connection, birth, told.draft))


async def _tell_death(connection: Connection, birth: Birth) -> None:
    """Tell of a child that died after its birth, whatever the registry has: its death is a report of its own (F 77)."""
    died = Finding("CHILD_DIED", places(birth.record).get("child.died_at"))
    kept = [f for f in birth.findings if f["code"] != died.code]
    if birth.record.event is Event.STILLBIRTH or not birth.record.child.died_at:
        await births.set_findings(connection, birth, kept)
        return
    await births.set_findings(connection, birth, [*kept, died.as_dict()])
    _log.warning("birth.child_died", birth_id=str(birth.id), facility=birth.facility, state=birth.state.value)


async def _weighed(connection: Connection, birth: Birth, draft: Draft) -> Draft:
    """Add that a person must decide where a person had cancelled; what a hospital withdrew it may tell again (F 22)."""
    if birth.state is not State.CANCELLED:
        return draft
    if not (await events.moved_by(connection, birth, State.CANCELLED)).startswith(("operator", "officer")):
        return draft
    return replace(draft, findings=(*draft.findings, Finding("REOPENED_AFTER_CANCEL")))


async def review(context: Rules, connection: Connection, birth: Birth, state: State, why: Why) -> None:
    """Lay a certified birth before an officer; one whose state has no such move (issued unasked) gets an event."""
    if state in MOVES[birth.state]:
        await go(context, connection, birth, state, why)
    else:
        await births.note(connection, birth, why)


async def twin_group(connection: Connection, record: BirthRecord, keys: births.Keys) -> uuid.UUID | None:
    """Return the group of a multiple birth: that of a sibling within 24 hours, or a new one (domain F 1, 2)."""
    child = record.child
    if child.plurality in (None, PluralityKind.SINGLE) or keys.mother_key is None or keys.born_at is None:
        return None
    sibling = await siblings.twin_of(
        connection,
        mother_key=keys.mother_key,
        born_at=keys.born_at,
        facility=record.facility.code,
        medical_record=child.medical_record.reveal(),
    )
    if sibling is None:
        return uuid.uuid4()
    birth_id, group = sibling
    if group is None:
        group = uuid.uuid4()
        await siblings.set_twin_group(connection, birth_id, group)
    return group


async def _join_twins(context: Context, connection: Connection, birth: Birth) -> None:
    """Give a birth its group where only a later message told that it is one of several."""
    if birth.twin_group is None:
        group = await twin_group(connection, birth.record, keys_of(context, birth.record))
        if group is not None:
            await siblings.set_twin_group(connection, birth.id, group)
            birth.twin_group = group


def because(why: Why, reason: str) -> Why:
    """Return the same words with a reason behind them."""
    return Why(why.actor, why.step, f"{why.reason}: {reason}", why.message_id, why.detail)

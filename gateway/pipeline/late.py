"""A message that comes after newer ones takes its place among them (domain F 16): any order ends in the same record.

Of each value the newest message that speaks of it counts. What no newer one speaks of, an overtaken one may still tell:
it is applied, and then again every message that was written after it, oldest first. What messages had doubtful stays so
until a later one speaks of the same value. Nothing counts of what was withdrawn since (A11), and into a birth made of
two an overtaken message only fills gaps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import Draft, Effect
from gateway.contract.revision import apply_draft, changed_paths, under_number
from gateway.pipeline.change import Told, about_field
from gateway.pipeline.draft import places
from gateway.pipeline.rejudge import MESSAGE
from gateway.pipeline.reread import read_kept
from gateway.store import messages

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from gateway.contract.finding import Finding
    from gateway.contract.record import BirthRecord
    from gateway.hl7.location import Location
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.messages import Kept

OLDER = "older than what is known: kept, not applied"
OVERTAKEN = "older than what is known: only what nothing newer speaks of"
# Findings whose place holds no value of the record, or another one's.
_ABOUT = {
    "BIRTH_ORDER": frozenset({"child.birth_order"}),
    "PLURALITY_CONFLICT": frozenset({"child.plurality"}),
    "WEIGHT_RANGE": frozenset({"child.weight_g"}),
    "LENGTH_RANGE": frozenset({"child.length_cm"}),
    "GESTATION_RANGE": frozenset({"child.gestation_weeks"}),
    "MOTHER_AMBIGUOUS": frozenset({"mother.name", "mother.nik"}),
    "FATHER_AMBIGUOUS": frozenset({"father.name", "father.nik"}),
}


async def in_its_place(
    context: Context, connection: Connection, birth: Birth, told: Told
) -> tuple[BirthRecord | None, Told]:
    """Return the record of a locked birth after a message, whatever came before it, and what is left of the message.

    The record is None where the message counts no more; `Told.late` says why it is not taken whole.
    """
    newest = (birth.told_at, await messages.observed_at(connection, birth.id))
    if not any(told.older_than(moment) for moment in newest):
        return apply_draft(birth.record, told.draft), await _with_doubts(context, connection, birth, told)
    if birth.state is State.CANCELLED:  # whoever cancelled it: only a newer notice reopens it
        return None, replace(told, late=OLDER)
    others = await _others(context, connection, birth)
    newer = [draft for at, _, draft in others if told.older_than(at)]
    if any(draft.effect is Effect.CANCEL for draft in newer):
        return None, replace(told, late=OLDER)
    if await messages.is_past_retelling(connection, birth.id):
        return _filling(birth, told)
    record = apply_draft(birth.record, told.draft)
    for draft in newer:
        record = apply_draft(record, draft)
    older = [draft for at, _, draft in others if not told.older_than(at)]
    weighed = _weighed(told.draft, [*older, told.draft, *newer])
    return _placed(birth, under_number(record, birth.medical_record), replace(told, draft=weighed))


async def _with_doubts(context: Context, connection: Connection, birth: Birth, told: Told) -> Told:
    """Return the newest message with what earlier ones had doubtful and it does not answer; mostly there is nothing."""
    doubtful = any(f.get("by") == MESSAGE and f["place"] for f in birth.findings)
    if not doubtful or await messages.is_past_retelling(connection, birth.id):
        return told
    heard = [draft for _, _, draft in await _others(context, connection, birth)]
    return replace(told, draft=_weighed(told.draft, [*heard, told.draft]))


async def _others(context: Context, connection: Connection, birth: Birth) -> list[tuple[dt.datetime, int, Draft]]:
    """Return what the birth's messages said, by when they were written; one that does not tell counts as it came."""
    heard = [await _read(context, connection, kept) for kept in await messages.telling(connection, birth.id)]
    dated = [(told.at or told.kept.received_at, told.kept.id, told.draft) for told in heard]
    return sorted(dated, key=lambda other: other[:2])


def _placed(birth: Birth, record: BirthRecord, told: Told) -> tuple[BirthRecord, Told]:
    return record, replace(told, late=OVERTAKEN if changed_paths(birth.record, record) else OLDER)


def _filling(birth: Birth, told: Told) -> tuple[BirthRecord, Told]:
    """Let a message fill gaps only."""
    assert told.draft.record is not None  # noqa: S101 - the caller's messages bring one
    known = Draft.of_record(Effect.AMEND, birth.record, places(birth.record))
    record = under_number(apply_draft(told.draft.record, known), birth.medical_record)
    return _placed(birth, record, replace(told, draft=replace(told.draft, findings=())))


def _weighed(draft: Draft, heard: Sequence[Draft]) -> Draft:
    """Return a draft with the findings that are left when all were heard in their order, and with all their places.

    What a message had doubtful stays so until a later one speaks of the same value: another result, or the father, is
    no answer to a preliminary weight or to two mothers.
    """
    left: list[tuple[Finding, frozenset[str]]] = []
    spoken: dict[str, Location] = {}
    for number, one in enumerate(heard):
        paths, fields = one.places.keys() | one.cleared, {about_field(place) for place in one.places.values()}
        left = [(f, of) for f, of in left if not (of & paths if of else f.place and about_field(f.place) in fields)]
        left = [(f, of) for f, of in left if (f.code, of) not in {(new.code, _paths(new, one)) for new in one.findings}]
        left += [(finding, _paths(finding, one)) for finding in one.findings]
        spoken |= {f"{number} {path}": place for path, place in one.places.items()}
    return replace(draft, findings=tuple(finding for finding, _ in left), places=spoken)


def _paths(finding: Finding, draft: Draft) -> frozenset[str]:
    """Return the values a finding is about: by its code, else those that came from its place."""
    if finding.code in _ABOUT:
        return _ABOUT[finding.code]
    if finding.place is None:
        return frozenset()
    exact = (finding.place.segment, finding.place.sequence, finding.place.field)
    return frozenset(p for p, at in draft.places.items() if (at.segment, at.sequence, at.field) == exact)


async def _read(context: Context, connection: Connection, kept: Kept) -> Told:
    draft, _ = await read_kept(context, connection, kept)
    return Told(kept, draft)

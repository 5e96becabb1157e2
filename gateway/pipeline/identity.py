"""Who is who: merges, renumberings and links (domain A.1, F 9 to 14). A part of step 5, under the locks of all numbers.

Never two births of one baby, never one of two: what contradicts itself is laid before a person, and after issue
nothing happens by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from gateway.contract.lifecycle import JUDGED, MOVES, State
from gateway.contract.ports import Draft, Effect
from gateway.contract.precedence import keep_stronger
from gateway.contract.revision import apply_draft, changed_paths, under_number
from gateway.hl7.location import Location
from gateway.pipeline import change, question, reuse
from gateway.pipeline.change import because, is_certified, may_not_vanish, registry_has_it, review
from gateway.pipeline.draft import places
from gateway.pipeline.merge_says import fill_gaps
from gateway.pipeline.rejudge import MESSAGE, doubt, go, keys_of, rejudge
from gateway.store import attachments, births, events, likenesses, messages, revisions, siblings
from gateway.store.births import Keys, Why
from gateway.verify.likeness import name_key
from gateway.verify.moment import deadline
from gateway.verify.reuse import are_two_babies, contradiction

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from gateway.contract.ports import Prior
    from gateway.contract.record import BirthRecord, Parent
    from gateway.pipeline.change import Told
    from gateway.pipeline.context import Context, Rules
    from gateway.pipeline.family import Family
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_SUSPECT = "DUP_SUSPECT"
_NUMBER = "child.medical_record"
_OPEN = JUDGED | {State.RECEIVED, State.SEALED, State.AWAIT_OFFICE}  # judged anew by whatever is told
_OUT = frozenset({State.CANCELLED, State.REFUSED, State.MERGED})  # not on its way to a certificate
_HONORIFICS = frozenset({"NY", "NYONYA", "NN", "NONA", "IBU", "TN", "SDRI"})


def addressed(draft: Draft, number: str) -> Draft:
    """Return a draft as if it had been sent under the number the baby has now."""
    if draft.values is None or draft.medical_record == number:
        return draft
    return replace(draft, medical_record=number, values={**draft.values, "child.medical_record": number})


# --------------------------------------------------------------------------------------- merge and renumbering


async def join(context: Context, connection: Connection, family: Family, told: Told) -> tuple[bool, Birth | None]:
    """Apply a merge or renumbering, pair by pair; nothing of it where one pair must wait for the registry."""
    for pair in told.draft.prior:
        if await _must_wait(context, connection, family, pair):
            return False, None
    joined = None
    for pair in told.draft.prior:
        birth = await _join(context, connection, family, (pair, told))
        joined = joined or (birth.id if birth else None)
        await family.read_again(connection)  # also the first birth: a later pair may have changed it
        united = family.births.get(number := family.number(pair.new))
        if united is not None and pair.says is not None and family.number(pair.old) == number:
            await fill_gaps(context, connection, united, addressed(pair.says, number), told)
            await family.read_again(connection)
    return True, next((birth for birth in family.births.values() if birth.id == joined), None)


async def _must_wait(context: Context, connection: Connection, family: Family, pair: Prior) -> bool:
    prior, survivor = family.births.get(pair.old), family.birth(pair.new)
    if prior is None or survivor is None or prior.id == survivor.id or prior.state is State.MERGED:
        return False
    if _contradiction(context, prior, survivor):
        return False  # nothing becomes of it: what else is told of the two must not wait
    return any([may_not_vanish(b) and not await is_certified(connection, b) for b in (prior, survivor)])


async def _join(context: Context, connection: Connection, family: Family, told: tuple[Prior, Told]) -> Birth | None:
    pair, message = told
    why = message.why
    new, now = family.number(pair.new), family.number(pair.old)
    prior, survivor = family.births.get(now), family.births.get(new)
    if now == new and pair.old == now:  # the old number is the one in use, the new one was left before: back again
        return await _turn_back(context, connection, family, pair, message)
    if now == new or (now != pair.old and prior is not None):
        reason = "merged before: nothing new" if now == new else "merged into another record before: not applied"
        for birth in {b.id: b for b in (prior, survivor) if b}.values():
            await births.note(connection, birth, because(why, reason))
        return survivor
    if prior is not None and survivor is not None:
        return await _merge(context, connection, family, prior, survivor, message)
    await family.point(connection, old=pair.old, new=new, message_id=message.kept.id)
    if prior is not None:
        family.births[new] = family.births.pop(pair.old)
        again = await _was_cleared_away(connection, prior, message)
        await _rekey(context, connection, prior, new, because(why, "its old number was cleared away") if again else why)
        if again:
            await rejudge(context, connection, prior, because(why, "lives on under its new number"))
    elif survivor is not None:
        await births.note(connection, survivor, because(why, "nothing is known under the old number yet"))
    return prior or survivor


async def _was_cleared_away(connection: Connection, birth: Birth, told: Told) -> bool:
    """Tell whether a birth was withdrawn only since its old number was given up: that came here before this message."""
    if birth.state is not State.CANCELLED or birth.at_registry or birth.told_at is None or told.at is None:
        return False
    overtaken = told.at <= birth.told_at and not await is_certified(connection, birth)
    return overtaken and await events.moved_by(connection, birth, State.CANCELLED) == "hospital"


async def _turn_back(context: Context, connection: Connection, family: Family, pair: Prior, told: Told) -> Birth | None:
    """Give a birth back the number it once had; what was merged under that number changes places with it."""
    birth, merged = family.births.pop(pair.old, None), family.births.get(pair.new)
    await family.point(connection, old=pair.old, new=pair.new, message_id=told.kept.id)
    if birth is None:
        return None
    if merged is not None:
        await births.swap_numbers(connection, birth, merged)
        family.births[pair.old] = merged
    family.births[pair.new] = birth
    await _rekey(context, connection, birth, pair.new, told.why)
    return birth


async def _rekey(context: Context, connection: Connection, birth: Birth, number: str, why: Why) -> None:
    """Put a birth under its new number (F 13): the same birth, and letters go to the new number."""
    await births.rekey(connection, birth, number)
    why = Why(why.actor, why.step, f"{why.reason}: record number changed", why.message_id, {"changed": [_NUMBER]})
    record = under_number(birth.record, number)
    await revisions.revise(connection, birth, record, keys=keys_of(context, record), changed=[_NUMBER], why=why)
    if birth.state in _OPEN:
        await rejudge(context, connection, birth, why)
    else:
        await births.note(connection, birth, why)


async def _merge(
    context: Context, connection: Connection, family: Family, prior: Birth, survivor: Birth, told: Told
) -> Birth:
    """Make one birth of two (F 10), unless they cannot be one baby's, or both have a certificate (F 11)."""
    why = told.why
    certified = [b for b in (prior, survivor) if await is_certified(connection, b)]
    if len(certified) > 1:
        both = because(why, "both have a certificate: the office decides")
        await review(context, connection, prior, State.REVOCATION_REVIEW, _with(both, other=survivor))
        await births.note(connection, survivor, _with(both, other=prior))
        return survivor
    if seen := _contradiction(context, prior, survivor):
        await _contradict(context, connection, (prior, survivor), (seen, certified), why)
        return survivor
    return await make_one(context, connection, family, prior, survivor, why, message_id=told.kept.id)


def _contradiction(context: Rules, prior: Birth, survivor: Birth) -> tuple[str, ...]:
    today = context.clock().astimezone(ZoneInfo(context.facility(survivor.facility).time_zone)).date()
    return contradiction(prior.record, survivor.record, {prior.state, survivor.state}, today=today)


async def _contradict(
    context: Context,
    connection: Connection,
    pair: tuple[Birth, Birth],
    found: tuple[tuple[str, ...], Sequence[Birth]],
    why: Why,
) -> None:
    """Merge nothing, and lay both before a person as far as they are not certified (F 10 to 13)."""
    seen, certified = found
    for birth, other in (pair, pair[::-1]):
        words = "the mothers differ: not merged" if seen[0] != "BABIES_DIFFER" else "the babies differ: not merged"
        told = because(why, words)
        told = Why(told.actor, told.step, told.reason, told.message_id, {"not_merged": str(other.id), "seen": [*seen]})
        if birth in certified:
            await births.note(connection, birth, told)
        else:
            await reuse.lay_before_a_person(context, connection, birth, reuse.CONTRADICTION, told)


async def make_one(  # noqa: PLR0913 - both births, and who says so
    context: Rules,
    connection: Connection,
    family: Family,
    prior: Birth,
    survivor: Birth,
    why: Why,
    *,
    message_id: int,
) -> Birth:
    """Make one of two births of a facility, at most one of them certified, and return it: under the survivor's number.

    `message_id` is what the alias is kept with: the merge, or the first message of the prior where a person merges.
    """
    certified = [b for b in (prior, survivor) if await is_certified(connection, b)]
    keep, other = survivor, prior
    await family.point(connection, old=prior.medical_record, new=survivor.medical_record, message_id=message_id)
    if standing(prior, certified) > standing(survivor, certified):
        keep, other = prior, survivor
        await births.swap_numbers(connection, keep, other)
    family.births.update({keep.medical_record: keep, other.medical_record: other})
    await unite(context, connection, (keep, other), why)
    return keep


def standing(birth: Birth, certified: Sequence[Birth]) -> int:
    """Return how far a birth has come: of two the one with a certificate, or a case at the registry, lives on."""
    if birth in certified:
        return 3
    return 0 if birth.state in _OUT else 2 if birth.submitted else 1


async def unite(context: Rules, connection: Connection, pair: tuple[Birth, Birth], why: Why) -> None:
    """Let one of two births live on under the surviving number, with the messages and papers of the other."""
    keep, other = pair
    if await likenesses.known(connection):
        for found in await likenesses.of_birth(connection, keep.id):
            if found.other(keep.id) == other.id:
                await likenesses.decide(connection, found, same=True, by=why.actor, reason=why.reason)
        await _inherit_doubts(connection, keep, other)
        await doubt(connection, keep)
    withdrawn = other.state is State.CANCELLED
    await _retire(context, connection, other, _with(because(why, "merged into another record"), into=keep))
    await messages.hand_over(connection, old=other.id, new=keep.id)
    await attachments.hand_over(connection, old=other.id, new=keep.id)
    await _inherit(connection, keep, other, withdrawn=withdrawn)
    await _fill(context, connection, keep, other, why)


async def _inherit_doubts(connection: Connection, keep: Birth, other: Birth) -> None:
    """Let a third birth that the merged one resembled wait for the one that lives: else both would be registered."""
    if other.state in (State.CANCELLED, State.MERGED):
        return
    known = {pair.other(keep.id) for pair in await likenesses.of_birth(connection, keep.id)}
    for pair in await likenesses.waiting_of(connection, other.id):
        if (third := pair.other(other.id)) not in known | {keep.id}:
            earlier, later = likenesses.in_order(keep, await births.read(connection, third))
            owner = keep.id if pair.owner == other.id else pair.owner
            await likenesses.keep(connection, replace(pair, earlier=earlier.id, later=later.id, owner=owner))


async def _retire(context: Rules, connection: Connection, birth: Birth, why: Why) -> None:
    """End a merged birth: MERGED, or CANCELLED where the office refused it or a person had it."""
    for state in (State.MERGED, State.CANCELLED):
        if state in MOVES[birth.state]:
            await go(context, connection, birth, state, why)
            return
    await births.note(connection, birth, why)


async def _inherit(connection: Connection, keep: Birth, other: Birth, *, withdrawn: bool) -> None:
    """Let what a person or the clock said of the merged birth hold for the one that lives (`withdrawn`: not when)."""
    if other.priority < keep.priority:
        await births.set_priority(connection, keep, other.priority)
    if other.held and not keep.held:
        await births.set_held(connection, keep, held=True)
        keep.held = True
    if not withdrawn and other.told_at and (keep.told_at is None or keep.told_at < other.told_at):
        await births.set_told_at(connection, keep, other.told_at)
    if keep.twin_group is None and other.twin_group is not None:
        await siblings.set_twin_group(connection, keep.id, other.twin_group)
        keep.twin_group = other.twin_group
    if other.restricted and not keep.restricted:
        await births.restrict(connection, keep, other.restricted)


async def _fill(context: Rules, connection: Connection, keep: Birth, other: Birth, why: Why) -> None:
    """Fill what is missing in a record from the merged one; what is known stays, and after issue nothing is filled."""
    certified = await is_certified(connection, keep)
    number = keep.medical_record
    record = keep.record if certified else _known_wins(keep.record, other.record)
    record = under_number(record, number)
    changed = changed_paths(keep.record, record)
    why = _with(because(why, "merged with another record"), other=other, changed=list(changed))
    if changed:
        keys = await _keys_of_both(connection, (keep, other), record, now=context.clock())
        await revisions.revise(connection, keep, record, keys=keys, changed=changed, why=why)
    if keep.state not in _OPEN or certified:
        await births.note(connection, keep, why)
        return
    if changed and await question.is_answered_by(connection, keep, why.message_id):
        question.close(keep)
    doubts = [f for f in keep.findings if not (f["code"] == _SUSPECT and f.get("by") == MESSAGE)]
    await births.set_findings(connection, keep, doubts + _inherited(record, other, changed))
    await rejudge(context, connection, keep, why)


async def _keys_of_both(
    connection: Connection, pair: tuple[Birth, Birth], record: BirthRecord, *, now: dt.datetime
) -> Keys:
    """Return what a united birth is found by, without the key that hashes: its mother is the one of either."""
    keep, other = pair
    mine, theirs = await births.keys_as_stored(connection, keep), await births.keys_as_stored(connection, other)
    hers, told = ((b.mother.nik.reveal() if b.mother and b.mother.nik else "") for b in (record, keep.record))
    named = name_key(record) == name_key(keep.record)
    return Keys(
        mother_key=mine.mother_key if hers == told else theirs.mother_key,
        mother_name_key=mine.mother_name_key if named else theirs.mother_name_key,
        born_at=record.child.moment_of_birth,
        deadline=deadline(record, now),
    )


def _inherited(record: BirthRecord, other: Birth, changed: Sequence[str]) -> list[dict[str, Any]]:
    """Return what an adapter found in the fields that came from the merged birth."""
    places = {_field(record.provenance[path]) for path in changed if path in record.provenance}
    return [f for f in other.findings if f.get("by") == MESSAGE and f["place"] and _field(f["place"]) in places]


def _field(place: str) -> tuple[str, int]:
    parsed = Location.parse(place)
    return parsed.segment, parsed.field


def _known_wins(known: BirthRecord, more: BirthRecord) -> BirthRecord:
    """Return a record with the gaps of the known one filled; a form's or officer's word in the other counts more."""
    record, _ = keep_stronger(more, apply_draft(more, Draft.of_record(Effect.AMEND, known, places(known))))
    return record


def _with(why: Why, *, other: Birth | None = None, into: Birth | None = None, changed: list[str] | None = None) -> Why:
    """Name births by their ids: an event holds no record number."""
    named = {"merged_with": other, "merged_into": into}
    detail: dict[str, Any] = {key: str(birth.id) for key, birth in named.items() if birth}
    if changed is not None:
        detail["changed"] = changed
    return Why(why.actor, why.step, why.reason, why.message_id, detail)


# --------------------------------------------------------------------------------------------------------- links


async def link_newborns(
    context: Context, connection: Connection, family: Family, told: Told
) -> tuple[bool, Birth | None]:
    """Suspect the second of two linked newborns to be the first (F 9, 14), or take the suspicion back (A37)."""
    first = family.birth(told.draft.medical_record)
    others = [birth for number in told.draft.linked if (birth := family.birth(number)) and birth is not first]
    if first is None or not others:
        return True, first
    if any([registry_has_it(b) and not await is_certified(connection, b) for b in others]):
        return False, None
    for birth in others:
        await _suspect(context, connection, first, birth, told)
    return True, others[0]


async def _suspect(context: Context, connection: Connection, first: Birth, birth: Birth, told: Told) -> None:
    why = _with(told.why, other=first)
    if told.draft.effect is Effect.UNLINK:
        rest = [f for f in birth.findings if not (f["code"] == _SUSPECT and f.get("by") == MESSAGE)]
        await births.set_findings(connection, birth, rest)
        if birth.state in _OPEN:
            await rejudge(context, connection, birth, because(why, "unlinked"))
        else:
            await births.note(connection, birth, because(why, "unlinked"))
    elif are_two_babies(first.record, birth.record):
        await births.note(connection, birth, because(why, "linked with a baby that differs: two births"))
    else:
        words = because(why, "linked: perhaps the same birth")
        await reuse.lay_before_a_person(context, connection, birth, _SUSPECT, words)


async def link_mother(context: Context, connection: Connection, birth: Birth, told: Told) -> bool:
    """Fill what is missing of the mother from her own PID (F 14); another woman than the known one is not mixed in."""
    assert told.draft.record is not None  # noqa: S101 - a link without a record is one of newborns
    known, linked = birth.record.mother, told.draft.record.mother
    if birth.state in _OUT or linked is None or (known is not None and not _same_woman(known, linked)):
        reason = "the linked mother is not the one known: not applied" if linked else "nothing is said of the mother"
        await births.note(connection, birth, because(told.why, reason))
        return True
    record = _known_wins(birth.record, told.draft.record)
    return await change.apply(context, connection, birth, record, told, dated=False)


def _same_woman(known: Parent, linked: Parent) -> bool:
    if known.nik and linked.nik:
        return known.nik.reveal() == linked.nik.reveal()
    if known.name is None or linked.name is None:
        return known.nik is None or linked.nik is not None
    one, other = ({*parent.reveal().split()} - _HONORIFICS for parent in (known.name, linked.name))
    return one <= other or other <= one


async def unlink_mother(context: Context, connection: Connection, birth: Birth, told: Told) -> bool:
    """Take back what a link told of the mother: her own PID is its source, which no other message has it from."""
    provenance = birth.record.provenance
    paths = {p for p, place in provenance.items() if p.startswith("mother.") and _is_her_own_pid(place)}
    if birth.state in _OUT or not paths:
        await births.note(connection, birth, because(told.why, "no link to take back"))
        return True
    assert told.draft.record is not None  # noqa: S101 - as above
    nothing = Draft.of_record(Effect.AMEND, told.draft.record.model_copy(update={"mother": None}), {})
    record = apply_draft(birth.record, replace(nothing, cleared=frozenset(paths)))
    return await change.apply(context, connection, birth, record, told, dated=False)


def _is_her_own_pid(place: str) -> bool:
    """PID-6 and PID-21 are the baby's fields about its mother."""
    segment, field = _field(place)
    return segment == "PID" and field not in (6, 21)

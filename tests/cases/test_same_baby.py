"""F 9 to 14: one baby under two record numbers, and what merges, renumberings and links make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from tests.cases.case import case
from tests.cases.dialogue import LATEST, assigned, codes_of, message, told
from tests.integration.test_merges import aliases, issue, last_event, merge, mother, orphaned, pid
from tests.integration.test_merges import message as about_several
from tests.simulators.journey import HEAVIER

if TYPE_CHECKING:
    from tests.simulators.journey import Journey

OLD, NEW = "00450121", "00450999"


async def both_issued(way: Journey) -> None:
    """Let the births of two families be issued."""
    await told(way, message())
    await told(way, message(record_number=NEW))
    await way.work()
    await issue(way, OLD)
    await issue(way, NEW, "3510-LU-20032025-9002")


@case(
    9,
    decision="Both wait, unless the first was signed before: which one is right is what the person decides.",
)
async def test_f009_a_baby_under_a_second_number_is_suspected_and_never_merged(way: Journey) -> None:
    """Same mother, order, sex, 3 minutes apart, another number: DUP_SUSPECT, REVIEW; only an A40 makes one of two."""
    await told(way, message())
    await told(way, message("A01", ("041500+0700|M|", "041800+0700|M|"), record_number=NEW, same_mother=True))
    first, second = await way.birth(), await way.birth(NEW)
    assert (first.state, second.state) == (State.REVIEW, State.REVIEW)
    assert (codes_of(first), codes_of(second)) == ({"DUP_SUSPECT"}, {"DUP_SUSPECT"})
    await way.work()
    assert (await aliases(way), way.registry.submissions) == ({}, [])
    await way.tell(merge())
    await assigned(way)
    await way.work()
    assert (await way.state(OLD), await way.state(NEW)) == (State.MERGED, State.IN_PROCESS)
    assert len(way.registry.submissions) == 1


@case(10)
@pytest.mark.parametrize("event", ["A18", "A34", "A40"])
async def test_f010_a_merge_before_submission_keeps_the_surviving_number(way: Journey, event: str) -> None:
    """A merge before submission: the surviving number lives on with data and history of both, the other is MERGED."""
    await told(way, message())
    await way.tell(orphaned(NEW))
    await assigned(way)
    assert await way.tell(merge(event=event)) == "AA"
    await assigned(way)
    survivor, other = await way.birth(NEW), await way.birth(OLD)
    assert other.state is State.MERGED
    assert survivor.record.mother is not None  # only the merged birth knew her
    assert survivor.record.child.medical_record.reveal() == NEW
    assert (await last_event(way, NEW))["detail"]["merged_with"] == str(other.id)
    rows = await way.database.fetch("SELECT DISTINCT birth_id FROM messages WHERE control_id NOT LIKE 'M%'")
    assert [r["birth_id"] for r in rows] == [survivor.id]
    await way.work()
    assert len(way.registry.submissions) == 1


@case(11)
async def test_f011_a_merge_after_both_were_issued_is_for_the_office(way: Journey) -> None:
    """Both issued: one of them goes to REVOCATION_REVIEW, both certificates stay, nothing is done by itself."""
    await both_issued(way)
    await way.tell(merge())
    await assigned(way)
    await way.work()
    assert await way.state(OLD) is State.REVOCATION_REVIEW
    assert await way.state(NEW) in (State.ISSUED, State.DELIVERED)
    rows = await way.database.fetch("SELECT number FROM certificates WHERE revoked_at IS NULL")
    assert len(rows) == 2
    assert way.registry.acted == []


@case(12)
async def test_f012_a_merge_of_an_unknown_number_waits_as_an_alias(way: Journey) -> None:
    """A merge that names an unknown number is AA and kept as an alias: what comes late under it finds the baby."""
    await told(way, message(record_number=NEW, same_mother=True))
    assert await way.tell(merge()) == "AA"
    await assigned(way)
    assert await aliases(way) == {OLD: NEW}
    await told(way, message("A08", *HEAVIER, sent=LATEST))  # under the old number
    assert await way.count("births") == 1
    assert (await way.birth(NEW)).record.child.weight_g == 3510


@case(13)
async def test_f013_a_renumbered_baby_is_the_same_birth_and_letters_go_to_the_new_number(way: Journey) -> None:
    """A47: the same birth under its new number, the old one leads to it, and the certificate goes to the new one."""
    before = await way.reach(State.IN_PROCESS)
    assert await way.tell(about_several("A47", pid(NEW), f"MRG|{OLD}^^^RSCEMPAKA^MR")) == "AA"
    await assigned(way)
    after = await way.birth(NEW)
    assert (after.id, after.state) == (before.id, State.IN_PROCESS)
    assert await aliases(way) == {OLD: NEW}
    await issue(way, NEW)
    await way.work()
    assert await way.state(NEW) is State.DELIVERED
    assert [f"|{NEW}^".encode() in letter for letter in way.hospital.received] == [True, True]


@case(14)
async def test_f014_a_link_of_mother_and_baby_fills_in_the_mother(way: Journey) -> None:
    """A24 of a mother and her newborn sets the mother where she is missing."""
    await way.tell(orphaned())
    await assigned(way)
    assert await way.state() is State.HOLD_DATA
    assert await way.tell(about_several("A24", mother(), pid(OLD))) == "AA"
    await assigned(way)
    birth = await way.birth()
    assert birth.state is State.READY
    assert birth.record.mother is not None
    assert birth.record.mother.name is not None
    assert birth.record.mother.name.reveal() == "SITI AMINAH"


@case(14)
async def test_f014_a_link_of_two_newborns_is_a_suspected_duplicate(way: Journey) -> None:
    """A24 of two newborns makes the second a suspected duplicate, for a person to look at; nothing is merged."""
    await told(way, message())
    await told(way, message(record_number=NEW))
    assert await way.state(NEW) is State.READY
    await way.tell(about_several("A24", pid(OLD), pid(NEW, sequence=2)))
    await assigned(way)
    second = await way.birth(NEW)
    assert (second.state, codes_of(second)) == (State.REVIEW, {"DUP_SUSPECT"})
    assert await way.state() is State.READY
    assert await aliases(way) == {}

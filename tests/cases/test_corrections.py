"""F 15 to 25: corrections and withdrawals, before, while and after the registry has the birth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import ActKind, RegistryStatus
from gateway.pipeline.assign import URGENT, USUAL
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.dialogue import LATER, LATEST, NAME, assigned, codes_of, message, tell, told
from tests.simulators.journey import HEAVIER, RENAMED, Journey, journey
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from pathlib import Path

EARLIER = "20250311080000+0700"
WITHDRAWN: dict[str, Any] = {"sent": LATER, "segments": ("PV1",)}


async def names_sent(way: Journey) -> list[str]:
    """Return the name in each application the registry got."""
    return [json.loads(s.payload)["nama"] for s in way.registry.submissions]


@case(15)
async def test_f015_an_update_of_an_unknown_newborn_opens_a_birth(way: Journey) -> None:
    """An A08 before any A01 opens the birth where the marks of a newborn are there."""
    assert (await told(way, message("A08"))).code == "AA"
    assert await way.state() is State.READY


@case(15)
async def test_f015_where_that_is_switched_off_it_is_an_error(database: str, tmp_path: Path) -> None:
    """With `update_creates = false` it is AE with condition 204, and no birth."""
    async with journey(database, tmp_path, update_creates=False) as way:
        answer = await told(way, message("A08"))
        assert (answer.code, answer.codes) == ("AE", {"BIRTH_UNKNOWN"})
        assert b"|204^" in answer.raw
        assert await way.count("births") == 0


@case(16)
async def test_f016_an_older_update_is_history(way: Journey) -> None:
    """An A08 that was written before what is known is accepted, kept and not applied."""
    await told(way, message(sent=LATER))
    assert (await told(way, message("A08", *RENAMED, sent=EARLIER))).code == "AA"
    birth = await way.birth()
    assert birth.revision == 1
    assert birth.record.child.name is not None
    assert birth.record.child.name.reveal() == NAME
    assert await way.count("messages") == 2
    assert "older than what is known" in (await way.reasons())[-1]


@case(17)
async def test_f017_a_correction_before_submission_is_judged_and_signed_anew(way: Journey) -> None:
    """An A08 before submission makes a revision that is judged again; what was signed before is never sent."""
    await way.reach(State.SEALED)
    assert (await told(way, message("A08", *RENAMED, sent=LATER))).code == "AA"
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.READY, 2)
    await way.work()
    assert await names_sent(way) == ["AHMAD RIZQI PRATAMA"]
    seals = await way.database.fetch("SELECT revision FROM seals ORDER BY revision")
    assert [r["revision"] for r in seals] == [1, 2]


@case(18)
async def test_f018_a_change_while_in_process_amends_where_the_office_allows(way: Journey) -> None:
    """A legal change while the registry works on it goes as an amendment of the same case; the ward is warned."""
    await way.reach(State.IN_PROCESS)
    answer = await told(way, message("A08", *RENAMED, sent=LATER))
    assert (answer.code, answer.severities) == ("AA", {"IN_PROCESS_CHANGE": "W"})
    await way.work()
    assert await names_sent(way) == [NAME, "AHMAD RIZQI PRATAMA"]
    assert way.registry.submissions[1].amends
    assert (await way.birth()).state is State.IN_PROCESS


@case(18)
async def test_f018_else_it_waits_for_the_registrys_answer(way: Journey) -> None:
    """Where the office takes no amendment the change waits until the registry has answered."""
    way.registry.amends = False
    await way.reach(State.IN_PROCESS)
    assert (await tell(way, message("A08", *RENAMED, sent=LATER))).code == "AA"
    await way.work(Kind.ASSIGN)
    assert (await way.birth()).revision == 1
    assert await names_sent(way) == [NAME]
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    await assigned(way)
    assert (await way.birth()).state is State.AMENDMENT_REVIEW


@case(19)
@pytest.mark.parametrize(
    "change",
    [
        RENAMED[0],
        ("||20250311041500+0700|M|", "||20250310041500+0700|M|"),
        ("||20250311041500+0700|M|", "||20250311041500+0700|F|"),
        ("BUDI SANTOSO^^^^^^L", "BUDI SANTOSA^^^^^^L"),
    ],
    ids=["name", "date", "sex", "father"],
)
async def test_f019_legal_fields_after_issue_go_to_a_person(way: Journey, change: tuple[str, str]) -> None:
    """Name, date, sex or a parent changed after issue: AMENDMENT_REVIEW, ALREADY_ISSUED; nothing goes out by itself."""
    await way.reach(State.DELIVERED)
    answer = await told(way, message("A08", change, sent=LATER))
    assert (answer.code, "ALREADY_ISSUED" in answer.codes) == ("AA", True)
    await way.work()
    assert await way.state() is State.AMENDMENT_REVIEW
    assert (len(way.registry.submissions), way.registry.acted) == (1, [])


@case(20)
async def test_f020_other_fields_after_issue_are_recorded_only(way: Journey) -> None:
    """Weight or room changed after issue: a revision, and the birth stays as it is."""
    await way.reach(State.DELIVERED)
    assert (await told(way, message("A08", *HEAVIER, ("NIFAS^203", "NIFAS^105"), sent=LATER))).code == "AA"
    birth = await way.birth()
    assert (birth.state, birth.revision, birth.record.child.weight_g) == (State.DELIVERED, 2, 3510)
    assert "recorded only" in (await way.reasons())[-1]


@case(21)
async def test_f021_two_quotes_delete_and_empty_does_not(way: Journey) -> None:
    """`""` clears an optional value; clearing what must be there holds; an empty field changes nothing."""
    await told(way, message())
    visit = ("V25031100077", '""')
    await told(way, message("A08", visit, ("AHMAD RIZKI PRATAMA^^^^^^L", ""), sent=LATER))
    child = (await way.birth()).record.child
    assert child.visit is None
    assert child.name is not None
    assert await way.state() is State.READY
    answer = await told(way, message("A08", ("|20250311041500+0700|M|", '|20250311041500+0700|""|'), sent=LATEST))
    assert "SEX_UNKNOWN" in answer.codes  # and the sender is told what the birth lacks now
    birth = await way.birth()
    assert (birth.state, birth.record.child.sex) == (State.HOLD_DATA, None)
    assert "SEX_UNKNOWN" in codes_of(birth)


@case(22)
async def test_f022_a_withdrawal_before_submission_cancels_and_a_new_notice_reopens(way: Journey) -> None:
    """An A11 before submission cancels; a later A01 of the same number reopens the birth as a new revision."""
    await told(way, message())
    assert (await told(way, message("A11", **WITHDRAWN))).code == "AA"
    cancelled = await way.birth()
    assert (cancelled.state, await way.open_kinds()) == (State.CANCELLED, [])
    await told(way, message(sent=LATEST))
    birth = await way.birth()
    assert (birth.id, birth.state, birth.revision) == (cancelled.id, State.READY, 2)


@case(23)
async def test_f023_a_withdrawal_while_in_process_asks_the_office(way: Journey) -> None:
    """An A11 while the registry has it sends `pembatalan` and waits for the office; AA with a warning."""
    await way.reach(State.IN_PROCESS)
    answer = await told(way, message("A11", **WITHDRAWN))
    assert (answer.code, answer.severities) == ("AA", {"IN_PROCESS_CHANGE": "W"})
    await way.work()
    assert [act.kind for act in way.registry.acted] == [ActKind.WITHDRAW]
    assert await way.state() is State.IN_PROCESS
    await way.settle(RegistryStatus.WITHDRAWN)
    assert await way.state() is State.CANCELLED


@case(24)
@pytest.mark.parametrize("event", ["A11", "A23", "A29"])
async def test_f024_a_withdrawal_after_issue_is_for_the_office(way: Journey, event: str) -> None:
    """A11, A23 or A29 after issue: REVOCATION_REVIEW and an alarm; the akta stays, CANCEL_AFTER_ISSUE is told."""
    await way.reach(State.DELIVERED)
    answer = await told(way, message(event, **WITHDRAWN))
    assert (answer.code, answer.severities) == ("AA", {"CANCEL_AFTER_ISSUE": "W"})
    await way.work()
    assert await way.state() is State.REVOCATION_REVIEW
    row = await way.database.fetchrow("SELECT number, revoked_at FROM certificates")
    assert row is not None
    assert (row["number"], row["revoked_at"]) == (certificate().number, None)
    assert way.registry.acted == []
    assert way.context.metrics.moves.labels("REVOCATION_REVIEW")._value.get() == 1  # what the alarm rings on


@case(25)
async def test_f025_a_cancelled_discharge_lowers_the_urgency_only(way: Journey) -> None:
    """A03 makes a birth urgent, A13 takes that back and changes nothing else."""
    await told(way, message())
    await told(way, message("A03", sent=LATER))
    assert (await way.birth()).priority == URGENT
    assert (await told(way, message("A13", sent=LATEST, segments=("PV1",)))).code == "AA"
    birth = await way.birth()
    assert (birth.priority, birth.state, birth.revision) == (USUAL, State.READY, 1)

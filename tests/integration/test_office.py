"""Records for offices without an interface: leases, outcomes, routing. Nothing is lost, nothing registered twice."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from gateway.config import Config
from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.ports import ElementVerdict, ParentCheck, RegistryStatus
from gateway.contract.revision import leaves_of
from gateway.errors import IllegalMoveError, LeaseLostError, RegistryProtocolError
from gateway.pipeline import clocks, officer, operate
from gateway.pipeline.officer import Decision, Issue, IssueRefusedError, OutcomeOutOfPlaceError, Reason, Word
from gateway.store.leases import Wanted
from tests.simulators.journey import HEAVIER, RENAMED, journey, notice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

PDF = b"%PDF-1.7 akta"
ISSUE = Issue(
    "3510-LU-20032025-9001", "3510161103259001", "3510161405189001", dt.datetime(2025, 3, 20, 3, tzinfo=dt.UTC)
)
ELSEWHERE = (("3510161405189001", "3573011405189001"),)  # the family card of another regency


def at_office(way: Journey, /, **registry: Any) -> Journey:
    """Let the births of this journey wait for their office instead of being submitted."""
    config = way.context.config
    values = {"way": "lease", "require_form": False, **registry}
    offices = values.pop("offices", [])
    made = Config.model_validate(
        {
            "facility": [f.model_dump() for f in config.facility],
            "registry": values,
            "office": offices,
        }
    )
    way.context = replace(way.context, config=made)
    return way


async def waiting(way: Journey, record_number: str = "00450121", **changes: Any) -> None:
    """Tell of a birth and work until it waits for its office."""
    await way.tell(notice(record_number=record_number, **changes))
    await way.work()
    assert await way.state(record_number) is State.AWAIT_OFFICE


async def take(way: Journey, *, office: str = "3510", seconds: float = 900, **wish: Any) -> list[dict[str, Any]]:
    values: dict[str, Any] = {"restricted": False, "count": 10, **wish}
    return await officer.lease(way.context, Wanted(office=office, **values), actor="officer:one", seconds=seconds)


async def say(way: Journey, item: dict[str, Any], decision: Decision, **told: Any) -> dict[str, Any]:
    digest = hashlib.sha256(repr((decision, told)).encode()).digest()
    word = Word(decision, UUID(item["lease"]), "officer:one", digest, **told)
    return await officer.decide(way.context, UUID(item["id"]), word)


async def expire(way: Journey) -> None:
    """Let every lease end now, as time would."""
    await way.database.fetch("UPDATE leases SET expires_at = now() - interval '1 second' WHERE ended_at IS NULL")


# ------------------------------------------------------------------------------------------------------------ leases


async def test_a_record_waits_for_its_office_and_nothing_is_submitted(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        assert way.registry.submissions == []
        assert await way.open_kinds() == []
        (item,) = await take(way)
        assert (item["revision"], item["taken"], item["state"]) == (1, 1, "IN_PROCESS")
        await way.hurry()
        await way.work()
        assert way.registry.submissions == [] == way.registry.asked


async def test_a_leased_record_holds_all_that_an_officer_needs(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))
        await way.work()
        (item,) = await take(way)
        assert item["record"]["child"]["name"] == "AHMAD RIZQI PRATAMA"
        assert item["provenance"]["child.name"].startswith("PID")
        change = next(c for c in item["diff"]["changes"] if c["path"] == "child.name")
        assert (item["diff"]["since"], change["before"], change["after"], change["source"]) == (
            1,
            "AHMAD RIZKI PRATAMA",
            "AHMAD RIZQI PRATAMA",
            "hl7",
        )
        assert [v["event"] for v in item["verdicts"]] == ["ADT^A01", "ADT^A08"]
        assert (item["deadline"], item["late"]) == ("2025-05-10", False)
        assert item["days_left"] == 51
        assert item["office"]["code"] == "3510"
        assert json.loads(item["signed"]["payload"])["record"]["child"]["name"] == "AHMAD RIZQI PRATAMA"
        assert item["idempotency_key"] == f"{item['id']}:2"


async def test_a_leased_record_says_which_message_brought_what_and_what_the_register_said_of_whom(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        told = (ElementVerdict("nik", agrees=True), ElementVerdict("name", agrees=True, score=97))
        way.registry.on_check.append((ParentCheck("mother", (), elements=told), ParentCheck("father", ())))
        await waiting(way)
        way.registry.on_check.append(
            (ParentCheck("mother", (Finding("MOTHER_KK_MISMATCH", severity_override="W"),),
                         elements=(ElementVerdict("family_card", agrees=False, score=0),)),)
        )  # fmt: skip
        await way.tell(notice("A08", sent="20250312093000+0700", control_id="NEWNAME1", changes=RENAMED))
        await way.work()
        (item,) = await take(way)
        assert [(c["parent"], c["revision"], c["elements"], c["codes"]) for c in item["checks"]] == [
            ("mother", 2, {"family_card": {"agrees": False, "score": 0}}, ["MOTHER_KK_MISMATCH"]),
        ]
        assert [(r["revision"], r["actor"]) for r in item["revisions"]] == [(1, "hospital"), (2, "hospital")]
        assert item["revisions"][1]["control_id"] == "NEWNAME1"
        assert item["revisions"][1]["changed"] == ["child.name", "child.name_as_sent"]
        first = next(e for e in await way.events() if e["step"] == "check" and "checks" in e["detail"])
        assert first["detail"]["checks"][0]["elements"]["name"] == {"agrees": True, "score": 97}
        assert set(item["provenance"]) >= set(leaves_of((await way.birth()).record))


async def test_the_most_urgent_come_first(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        for number in ("1", "2", "3", "4"):
            await waiting(way, number)
        await way.database.fetch("UPDATE births SET deadline = '2025-04-01' WHERE medical_record = '3'")
        await way.database.fetch("UPDATE births SET leaves_at = '2025-03-21 03:00Z' WHERE medical_record = '4'")
        await way.tell(notice("A03", sent="20250312093000+0700", record_number="2", segments=("PV1",)))
        await way.work()
        first = await take(way, count=2)
        assert [item["mrn"] for item in first] == ["2", "4"]
        assert [item["mrn"] for item in await take(way)] == ["3", "1"]


async def test_a_record_is_never_given_to_two(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        for number in range(12):
            await waiting(way, str(number))
        taken = [
            item["id"] for items in await asyncio.gather(*(take(way, count=4) for _ in range(5))) for item in items
        ]
        assert len(taken) == len(set(taken)) == 12
        assert await take(way) == []


async def test_a_dead_consumers_record_comes_back_and_its_lease_writes_nothing(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (dead,) = await take(way)
        assert await take(way) == []
        await expire(way)
        (mine,) = await take(way)
        assert (mine["id"], mine["taken"], mine["idempotency_key"]) == (dead["id"], 2, dead["idempotency_key"])
        before = await way.snapshot()
        with pytest.raises(LeaseLostError):
            await say(way, dead, Decision.ISSUE, issue=ISSUE)
        assert await way.snapshot() == before
        assert (await say(way, mine, Decision.ISSUE, issue=ISSUE))["state"] == "ISSUED"


async def test_a_late_outcome_and_a_new_lease_at_once_leave_one_truth(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        for number in range(6):
            await waiting(way, str(number))
            (item,) = await take(way)
            await expire(way)
            issue = replace(ISSUE, number=f"3510-LU-20032025-{number:04}")
            said, taken = await asyncio.gather(
                say(way, item, Decision.ISSUE, issue=issue), take(way), return_exceptions=True
            )
            state = await way.state(str(number))
            if isinstance(said, dict):
                assert (state, taken) == (State.ISSUED, [])
            else:
                assert isinstance(said, LeaseLostError)
                assert isinstance(taken, list)
                assert (state, len(taken)) == (State.IN_PROCESS, 1)
                await say(way, taken[0], Decision.ISSUE, issue=issue)
        assert await way.count("certificates") == 6


async def test_an_office_sees_its_own_records_only(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way, out_of_domicile=False, offices=[{"code": "3573"}])
        await waiting(way)
        await way.tell(notice(record_number="2", changes=ELSEWHERE))
        await way.work()
        assert await way.state("2") is State.REVIEW  # MOTHER_OTHER_KABUPATEN: an officer looks first
        await _release(way, "2")
        assert (await way.birth("2")).office == "3573"
        assert [item["mrn"] for item in await take(way, office="3573")] == ["2"]
        assert [item["mrn"] for item in await take(way, office="3510")] == ["00450121"]


async def test_a_held_or_restricted_record_is_not_given_out(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        await way.database.fetch("UPDATE births SET held = true")
        assert await take(way) == []
        await way.database.fetch("UPDATE births SET held = false, restricted = 'vip'")
        assert await take(way) == []
        assert len(await take(way, restricted=True)) == 1


async def _release(way: Journey, number: str) -> None:
    desk = replace(way.desk(), config=way.context.config)
    await operate.release(desk, (await way.birth(number)).id)
    await way.work()
    assert await way.state(number) is State.AWAIT_OFFICE


# ---------------------------------------------------------------------------------------------------------- outcomes


async def test_an_issued_record_goes_back_to_the_hospital(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        decided = await say(way, item, Decision.ISSUE, issue=replace(ISSUE, document=PDF))
        assert (decided["state"], decided["repeated"]) == ("ISSUED", False)
        await way.work()
        assert await way.state() is State.DELIVERED
        told = b"".join(way.hospital.received)
        assert b"3510-LU-20032025-9001" in told
        assert hashlib.sha256(PDF).hexdigest().encode() in told
        assert way.registry.fetched == []
        assert [e["actor"] for e in await way.events() if e["step"] in ("lease", "outcome")] != []


async def test_numbers_without_a_file_are_delivered_without_a_link(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        await say(way, item, Decision.ISSUE, issue=ISSUE)
        await way.work()
        assert await way.state() is State.DELIVERED
        told = b"".join(way.hospital.received)
        assert b"3510161103259001" in told
        assert b"AKTA_URL" not in told
        assert b"AKTA_SHA256" not in told


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"number": "3510-LU-2003-1"}, "ISSUED_NUMBER_FORM"),
        ({"number": "3510-LU-31022025-0001"}, "ISSUED_NUMBER_DATE"),
        ({"number": "3510-LU-10032025-0001"}, "ISSUED_NUMBER_DATE"),  # before the birth
        ({"number": "3510-LU-21032025-0001"}, "ISSUED_NUMBER_DATE"),  # tomorrow
        ({"child_nik": "351016110325900"}, "ISSUED_NIK_LENGTH"),
        ({"child_nik": "3510165103259001"}, "ISSUED_NIK_SEX_MISMATCH"),
        ({"child_nik": "3510161203259001"}, "ISSUED_NIK_DOB_MISMATCH"),
        ({"child_nik": "3510160407929001"}, "ISSUED_NIK_OF_PARENT"),
        ({"kk_number": "35101614051890"}, "ISSUED_KK_FORM"),
        ({"kk_number": "3510161103259001"}, "ISSUED_KK_IS_NIK"),
    ],
)
async def test_numbers_that_cannot_be_are_refused_and_nothing_changes(
    database: str, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        before = await way.snapshot()
        with pytest.raises(IssueRefusedError) as refused:
            await say(way, item, Decision.ISSUE, issue=replace(ISSUE, **changes))
        assert code in {f.code for _, f in refused.value.problems}
        assert await way.snapshot() == before
        await say(way, item, Decision.ISSUE, issue=ISSUE)  # the lease still stands


async def test_another_births_number_is_refused(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way, "1")
        await waiting(way, "2")
        one, other = await take(way)
        await say(way, one, Decision.ISSUE, issue=ISSUE)
        with pytest.raises(RegistryProtocolError, match="another birth"):
            await say(way, other, Decision.ISSUE, issue=ISSUE)


async def test_an_outcome_said_twice_counts_once(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        said = await asyncio.gather(*(say(way, item, Decision.ISSUE, issue=ISSUE) for _ in range(3)))
        assert sorted(s["repeated"] for s in said) == [False, True, True]
        before = await way.snapshot()
        assert (await say(way, item, Decision.ISSUE, issue=ISSUE))["repeated"]
        with pytest.raises(OutcomeOutOfPlaceError):
            await say(way, item, Decision.REFUSE, reason=Reason.OTHER)
        assert await way.snapshot() == before


async def test_an_accepted_record_does_not_come_back_and_its_office_may_take_it_over(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way, seconds=30)
        assert (await say(way, item, Decision.ACCEPT, reference="BWI-17"))["state"] == "IN_PROCESS"
        assert (await way.birth()).reference == "BWI-17"
        assert await take(way) == []
        (over,) = await take(way, records=(UUID(item["id"]),), count=1)
        with pytest.raises(LeaseLostError):
            await say(way, item, Decision.ISSUE, issue=ISSUE)
        assert (await say(way, over, Decision.ISSUE, issue=ISSUE))["state"] == "ISSUED"


async def test_what_the_office_asks_for_comes_back_to_it_with_the_difference(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        await say(way, item, Decision.ASK, reason=Reason.NAME, note="ejaan nama?")
        birth = await way.birth()
        assert birth.state is State.HOLD_DATA
        assert await way.open_kinds() == []
        row = (await way.database.fetch("SELECT missing FROM births"))[0]
        assert "office_request" in row["missing"]
        await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))
        await way.work()
        assert await way.state() is State.AWAIT_OFFICE
        (again,) = await take(way)
        assert (again["revision"], again["taken"], again["diff"]["since"]) == (2, 1, 1)
        assert [c["path"] for c in again["diff"]["changes"] if c["path"] == "child.name"] == ["child.name"]
        assert (await say(way, again, Decision.ISSUE, issue=ISSUE))["state"] == "ISSUED"


async def test_a_refused_record_is_free_to_go_another_way(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        assert (await say(way, item, Decision.REFUSE, reason=Reason.OTHER_REGION))["state"] == "REFUSED"
        birth = await way.birth()
        assert (birth.way, birth.submitted) == ("", 0)
        assert "SUBMISSION_REFUSED" in {f["code"] for f in birth.findings}
        assert await take(way) == []


async def test_before_issue_a_revocation_withdraws_and_after_it_a_person_looks(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way, "1")
        await waiting(way, "2")
        one, other = await take(way)
        assert (await say(way, one, Decision.REVOKE, reason=Reason.DUPLICATE))["state"] == "CANCELLED"
        await say(way, other, Decision.ISSUE, issue=ISSUE)
        (again,) = await take(way, records=(UUID(other["id"]),), count=1)
        assert again["certificate_number"] == ISSUE.number
        assert (await say(way, again, Decision.REVOKE, reason=Reason.COURT))["state"] == "REVOCATION_REVIEW"


async def test_a_change_while_the_office_has_the_record_waits_for_its_outcome(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))
        await way.work()
        assert (await way.birth()).revision == 1
        await expire(way)
        (item,) = await take(way)
        assert item["waiting_messages"] == 1
        await say(way, item, Decision.ASK, reason=Reason.NAME)
        await way.hurry()
        await way.work()
        birth = await way.birth()
        assert (birth.revision, birth.state) == (2, State.HOLD_DATA)  # it had come before the question: no answer to it


async def test_a_change_before_the_office_took_it_is_a_new_revision_to_take(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        await way.tell(notice("A08", sent="20250312093000+0700", changes=HEAVIER))
        await way.work()
        (item,) = await take(way)
        assert (item["revision"], item["record"]["child"]["weight_g"]) == (2, 3510)


# ------------------------------------------------------------------------------------------------------- never twice


async def test_an_operators_retry_submits_nothing_that_an_office_has(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        desk = replace(way.desk(), config=way.context.config)
        with pytest.raises(IllegalMoveError):
            await operate.retry(desk, (await way.birth()).id)
        await take(way)
        with pytest.raises(IllegalMoveError):
            await operate.retry(desk, (await way.birth()).id)
        await way.database.fetch(
            "INSERT INTO tasks (kind, birth_id) SELECT k, id FROM births, unnest(ARRAY['submit', 'poll']) AS k"
        )
        await way.work()
        assert way.registry.submissions == [] == way.registry.asked
        assert await way.state() is State.IN_PROCESS


async def test_what_was_submitted_stays_with_the_registry_whatever_the_setting_says_later(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path) as way:
        await way.reach(State.IN_PROCESS)
        at_office(way)
        assert await take(way) == []
        assert await take(way, records=((await way.birth()).id,), count=1) == []
        await way.settle(RegistryStatus.NEEDS_DATA, reason="NAMA_TIDAK_SAH")
        await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))
        await way.work()
        assert [s.revision for s in way.registry.submissions] == [1, 2]
        assert await take(way) == []


async def test_a_birth_that_waits_for_an_office_stays_there_when_births_are_submitted_again(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        at_office(way, way="push")
        await say(way, item, Decision.ASK, reason=Reason.NAME)
        await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))
        await way.work()
        assert way.registry.submissions == []
        assert await way.state() is State.AWAIT_OFFICE


async def test_what_had_come_before_a_question_does_not_answer_it(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))
        await way.work()
        await say(way, item, Decision.ASK, reason=Reason.NIK_IBU)
        await way.hurry()
        await way.work()
        birth = await way.birth()
        assert (birth.state, birth.revision) == (State.HOLD_DATA, 2)
        assert [f["code"] for f in birth.findings] == ["REGISTRY_REFUSED"]
        await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))  # said again, now that it was asked
        await way.work()
        assert await way.state() is State.AWAIT_OFFICE
        (again,) = await take(way)
        assert {c["path"] for c in again["diff"]["changes"]} == {"child.name", "child.name_as_sent"}


async def test_a_question_stands_where_the_hospital_has_nothing_new_to_say(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        await say(way, item, Decision.ASK, reason=Reason.NAME)
        await way.tell(notice("A08", sent="20250312093000+0700"))
        await way.work()
        assert await way.state() is State.HOLD_DATA
        await way.tell(notice("A08", sent="20250313093000+0700", changes=RENAMED))
        await way.work()
        assert await way.state() is State.AWAIT_OFFICE


async def test_the_end_of_the_term_answers_no_question(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        (item,) = await take(way)
        await say(way, item, Decision.ASK, reason=Reason.NAME)
        at = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
        way.context = replace(way.context, clock=lambda: at)
        await clocks.escalate(way.context)
        assert await way.state() is State.HOLD_DATA
        assert "REGISTRY_REFUSED" in [f["code"] for f in (await way.birth()).findings]


async def test_a_leased_birth_may_be_cancelled_by_nobody_here(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        at_office(way)
        await waiting(way)
        await take(way)
        with pytest.raises(IllegalMoveError):
            await operate.cancel(replace(way.desk(), config=way.context.config), (await way.birth()).id)

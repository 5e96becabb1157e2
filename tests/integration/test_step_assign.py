"""The step assign: whose birth a message is about, and what it makes of it, whatever comes before and after."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.pipeline import assign, operate
from gateway.pipeline.assign import URGENT
from gateway.store import queue
from gateway.store.queue import Kind
from tests.integration.steps import LATER, LATEST
from tests.simulators.journey import HEAVIER, RENAMED, Journey, notice


async def test_a_notice_becomes_a_birth_that_is_ready(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision, birth.submitted) == (State.READY, 1, 0)
    assert birth.told_at == dt.datetime.fromisoformat("2025-03-11T09:30:00+07:00")
    assert [(e["actor"], e["from_state"], e["to_state"]) for e in await way.events()] == [
        ("hospital", None, "RECEIVED"),
        ("gateway", "RECEIVED", "READY"),
    ]
    assert await way.open_kinds() == ["check"]


async def test_an_update_before_sealing_makes_a_revision_that_is_judged_and_signed_anew(way: Journey) -> None:
    await way.tell(notice())
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.READY, 2)
    assert await way.open_kinds() == ["check"]
    await way.work()
    assert [s.revision for s in way.registry.submissions] == [2]
    assert json.loads(way.registry.submissions[0].payload)["nama"] == "AHMAD RIZQI PRATAMA"


async def test_a_change_that_moves_nothing_is_an_event_all_the_same(way: Journey) -> None:
    await way.tell(notice(changes=(("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),)))
    await way.work()
    await way.tell(notice("A08", sent=LATER, changes=(("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"), *HEAVIER)))
    await way.work()
    birth = await way.birth()
    assert (birth.state, birth.revision, birth.record.child.weight_g) == (State.HOLD_NAME, 2, 3510)
    (*_, before, last) = await way.events()
    assert (last["from_state"], last["to_state"], last["actor"]) == ("HOLD_NAME", "HOLD_NAME", "hospital")
    assert last["detail"] == {"changed": ["child.weight_g"]}
    assert before["from_state"] != before["to_state"]


async def test_an_older_update_is_kept_and_not_applied(way: Journey) -> None:
    await way.tell(notice(sent=LATER))
    await way.work(Kind.ASSIGN)
    await way.tell(notice("A08", sent="20250312081400+0700", changes=RENAMED))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert birth.revision == 1
    assert birth.record.child.name is not None
    assert birth.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"
    assert "older than what is known" in (await way.reasons())[-1]
    assert await way.open_kinds() == ["check"]


async def test_a_sender_whose_clock_is_fast_does_not_silence_what_follows(way: Journey) -> None:
    await way.tell(notice(sent=LATER))  # so it says; it came a day earlier
    await way.database.fetch("UPDATE messages SET received_at = '2025-03-11 10:00+07'")
    await way.step(Kind.ASSIGN)
    await way.tell(notice("A08", sent="20250311110000+0700", changes=RENAMED))
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).revision == 2


async def test_two_quotes_delete_and_a_missing_mandatory_value_holds(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    cleared = (("AHMAD RIZKI PRATAMA^^^^^^L", '""'), ("|20250311041500+0700|M|", '|20250311041500+0700|""|'))
    await way.tell(notice("A08", sent=LATER, changes=cleared))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert birth.record.child.name is None
    assert birth.state is State.HOLD_DATA
    assert {f["code"] for f in birth.findings} >= {"NAME_MISSING", "SEX_UNKNOWN"}


async def test_what_is_told_again_makes_no_revision(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.tell(notice(sent=LATER))
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).revision == 1
    assert "nothing new" in (await way.reasons())[-1]
    assert await way.open_kinds() == ["check"]


async def test_all_messages_of_a_baby_are_applied_in_order_by_one_claim(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.tell(notice("A08", sent=LATEST, changes=HEAVIER))
    newest = (await queue.claim(way.database, limit=10, lease_s=60))[-1]
    await assign.run(way.context, newest)
    birth = await way.birth()
    assert birth.revision == 3
    assert birth.record.child.weight_g == 3510
    await way.hurry()
    await way.step(Kind.ASSIGN)  # the other two find nothing to do
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).revision == 3


async def test_a_withdrawal_cancels_a_birth_and_its_work(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.CANCELLED
    assert await way.open_kinds() == []


async def test_a_withdrawal_older_than_what_is_known_cancels_nothing(way: Journey) -> None:
    await way.tell(notice(sent=LATER))
    await way.step(Kind.ASSIGN)
    await way.tell(notice("A11", sent="20250311100000+0700", segments=("PV1",)))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.READY


async def test_a_new_notice_reopens_a_cancelled_birth(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.work()
    await way.tell(notice(sent=LATEST))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.READY, 2)


async def test_what_an_operator_cancelled_is_reopened_by_a_person_only(way: Journey) -> None:
    await way.reach(State.READY)
    await operate.cancel(way.desk(), (await way.birth()).id)
    await way.tell(notice(sent=LATER))
    await way.work()
    assert await way.state() is State.REVIEW
    assert [f["code"] for f in (await way.birth()).findings if f["state"]] == ["REOPENED_AFTER_CANCEL"]
    assert await operate.release(way.desk(), (await way.birth()).id) is State.READY


async def test_an_update_does_not_reopen_a_cancelled_birth(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.work()
    await way.tell(notice("A08", sent=LATEST, changes=RENAMED))
    await way.tell(notice("A08", sent="20250311100000+0700", changes=HEAVIER))
    await way.work()
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.CANCELLED, 1)


async def test_a_withdrawal_while_the_registry_has_it_waits_where_the_office_takes_none(way: Journey) -> None:
    way.registry.acts = frozenset()
    await way.reach(State.IN_PROCESS)
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.IN_PROCESS
    await way.settle(RegistryStatus.REFUSED, reason="DITOLAK")
    assert (await way.task(Kind.ASSIGN))["due_in"] <= 0
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.CANCELLED


@pytest.mark.parametrize("state", [State.ISSUED, State.DELIVERED])
async def test_a_withdrawal_after_issue_is_for_the_office(way: Journey, state: State) -> None:
    await way.reach(state)
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.work(Kind.ASSIGN)
    assert await way.state() is State.REVOCATION_REVIEW
    await way.tell(notice("A11", sent=LATEST, segments=("PV1",)))
    await way.work(Kind.ASSIGN)
    assert await way.state() is State.REVOCATION_REVIEW


async def test_a_legal_change_after_issue_is_for_an_officer(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.AMENDMENT_REVIEW, 2)
    assert await way.open_kinds() == []
    await way.tell(notice("A11", sent=LATEST, segments=("PV1",)))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.REVOCATION_REVIEW


async def test_a_change_that_is_not_on_the_certificate_is_recorded_only(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await way.tell(notice("A08", sent=LATER, changes=HEAVIER))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.DELIVERED, 2)
    assert "recorded only" in (await way.reasons())[-1]


async def test_a_legal_change_while_in_process_waits_where_the_office_takes_none(way: Journey) -> None:
    way.registry.amends = False
    await way.reach(State.IN_PROCESS)
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).revision == 1
    waiting = await way.task(Kind.ASSIGN)
    assert waiting["last_error"] == "REGISTRY_HAS_IT"
    assert waiting["due_in"] > 20
    await way.settle(RegistryStatus.NEEDS_DATA, reason="NAMA", text="Perbaiki nama.")
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.READY, 2)
    await way.work()
    assert [s.idempotency_key for s in way.registry.submissions] == [f"{birth.id}:1", f"{birth.id}:2"]


async def test_a_change_off_the_certificate_does_not_wait_for_the_registry(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.tell(notice("A08", sent=LATER, changes=HEAVIER))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision, birth.submitted) == (State.IN_PROCESS, 2, 1)


async def test_a_discharge_makes_a_birth_and_its_tasks_urgent(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.tell(notice("A03", sent=LATER))
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).priority == URGENT
    assert (await way.task(Kind.CHECK))["priority"] == URGENT
    await way.step(Kind.CHECK)
    assert (await way.task(Kind.SEAL))["priority"] == URGENT
    await way.tell(notice("A03", sent=LATEST))
    await way.step(Kind.ASSIGN)
    assert (await way.reasons()).count("discharge: urgency raised") == 1


async def test_an_update_for_an_unknown_newborn_opens_a_birth(way: Journey) -> None:
    await way.tell(notice("A08"))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.READY


async def test_an_unassignable_message_is_about_no_birth(way: Journey) -> None:
    await way.tell(notice())
    await way.database.fetch("UPDATE messages SET effect = 'amend'")
    await way.step(Kind.ASSIGN)
    assert await way.count("births") == 0
    row = await way.database.fetchrow("SELECT assigned_at, birth_id FROM messages")
    assert row is not None
    assert (row["assigned_at"] is not None, row["birth_id"]) == (True, None)


async def test_what_an_adapter_found_stays_until_a_message_speaks_of_it(way: Journey) -> None:
    temporary = (("AHMAD RIZKI PRATAMA^^^^^^L", "AHMAD RIZKI PRATAMA^^^^^^TEMP"),)
    await way.tell(notice(changes=temporary))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.HOLD_NAME
    quiet = (("AHMAD RIZKI PRATAMA^^^^^^L", ""), *HEAVIER)
    await way.tell(notice("A08", sent=LATER, changes=quiet))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.HOLD_NAME, 2)
    await way.tell(notice("A08", sent=LATEST, changes=(*RENAMED, *HEAVIER)))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.READY

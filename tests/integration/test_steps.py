"""Each step of the journey by itself, on real PostgreSQL: what it does, and what an accident leaves."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from joserfc import jws
from joserfc.jwk import OKPKey

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import (
    DeliveryRefusedError,
    DeliveryUnavailableError,
    IllegalMoveError,
    KeyMissingError,
    LeaseLostError,
    RegistryProtocolError,
    RegistryRefusedError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
    StoreUnavailableError,
)
from gateway.evidence.canonical import canonical
from gateway.evidence.keys import Keyring
from gateway.hl7.location import Location
from gateway.pipeline import assign, deliver, handover, operate, submit
from gateway.pipeline.assign import URGENT
from gateway.pipeline.change import Told
from gateway.pipeline.retry import UNKNOWN_ERROR_ATTEMPTS
from gateway.pipeline.worker import Workers
from gateway.store import births, messages, queue, submissions
from gateway.store.database import Database
from gateway.store.queue import Kind
from tests.simulators.facilities import CLINIC, CLOCK, HOSPITAL, sample
from tests.simulators.journey import HEAVIER, RENAMED, Journey, control_id_of, journey, notice
from tests.simulators.scripted_registry import PDF, certificate, checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from gateway.contract.ports import ParentCheck, Submission
    from gateway.store.database import Connection
    from gateway.store.queue import Task

LATER = "20250312081500+0700"
LATEST = "20250313081500+0700"


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway's parts on a database of this test's own."""
    async with journey(database, tmp_path) as parts:
        yield parts


def twin(order: int, record_number: str, *, name: str, born: str) -> bytes:
    return notice(
        record_number=record_number,
        same_mother=True,
        changes=(
            ("AHMAD RIZKI PRATAMA", name),
            ("20250311041500+0700|M", f"{born}|M"),
            ("|BANYUWANGI|N|1|", f"|BANYUWANGI|Y|{order}|"),
            ("57722-1^Birth plurality of Pregnancy^LN||1|", "57722-1^Birth plurality of Pregnancy^LN||2|"),
            ("|1^Tunggal|", "|2^Kembar 2|"),
        ),
    )


# ---------------------------------------------------------------------------------------------------------- assign


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


async def test_twins_over_midnight_share_a_group_and_stay_two(way: Journey) -> None:
    await way.tell(twin(1, "TW1", name="DEWA PRATAMA", born="20250310235200+0700"))
    await way.tell(twin(2, "TW2", name="DEWI PRATAMA", born="20250311000400+0700"))
    await way.work()
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert one.twin_group is not None
    assert one.twin_group == two.twin_group
    sent = [json.loads(s.payload)["kembar"] for s in way.registry.submissions]
    assert sent == [{"kelompok": str(one.twin_group), "jumlah": 2}] * 2


async def test_twins_assigned_by_two_workers_at_once_share_a_group(way: Journey) -> None:
    await way.tell(twin(1, "TW1", name="DEWA PRATAMA", born="20250310235200+0700"))
    await way.tell(twin(2, "TW2", name="DEWI PRATAMA", born="20250311000400+0700"))
    first, second = await queue.claim(way.database, limit=2, lease_s=60)
    async with way.database.transaction() as connection:
        (kept,) = await messages.unassigned(connection, HOSPITAL, "TW1")
        draft, _ = await assign._read(way.context, connection, kept)
        await assign._apply(way.context, connection, None, Told(kept, draft), number="TW1")
        other = asyncio.create_task(assign.run(way.context, second))
        async with asyncio.timeout(10):
            blocked = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await way.database.fetch(blocked):  # noqa: ASYNC110 - PostgreSQL tells nobody who waits
                await asyncio.sleep(0.005)
        await messages.assigned(connection, kept.id, None)
        await queue.finish(connection, first)
    await asyncio.wait_for(other, 10)
    groups = {r["twin_group"] for r in await way.database.fetch("SELECT twin_group FROM births")}
    assert len(groups) == 1
    assert None not in groups


async def test_a_birth_told_late_to_be_a_twin_joins_its_sibling(way: Journey) -> None:
    first = notice(record_number="TW1", same_mother=True, changes=(("AHMAD RIZKI PRATAMA", "DEWA PRATAMA"),))
    await way.tell(first)
    await way.tell(twin(2, "TW2", name="DEWI PRATAMA", born="20250311042000+0700"))
    await way.step(Kind.ASSIGN)
    await way.step(Kind.ASSIGN)
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert one.twin_group == two.twin_group is not None
    await way.tell(notice(record_number="S1", changes=(("AHMAD RIZKI PRATAMA", "RATNA SARI"),)))
    await way.step(Kind.ASSIGN)
    assert (await way.birth("S1")).twin_group is None


async def test_a_plurality_told_by_an_update_makes_a_group(way: Journey) -> None:
    await way.tell(notice(record_number="TW1", same_mother=True))
    await way.step(Kind.ASSIGN)
    first = twin(1, "TW1", name="DEWA PRATAMA", born="20250311041500+0700").decode()
    update = first.replace("ADT^A01^ADT_A01", "ADT^A08^ADT_A01").replace("EVN|A01", "EVN|A08")
    await way.tell(update.encode())
    await way.step(Kind.ASSIGN)
    assert (await way.birth("TW1")).twin_group is not None


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


# ----------------------------------------------------------------------------------------------------------- check


async def test_parents_that_agree_let_a_birth_go_on(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.step(Kind.CHECK)
    assert await way.open_kinds() == ["seal"]
    assert len(way.registry.checked) == 1


@pytest.mark.parametrize(
    ("code", "state"), [("MOTHER_NIK_NOT_FOUND", State.HOLD_DATA), ("MOTHER_NIK_DECEASED", State.REVIEW)]
)
async def test_what_the_registry_finds_wrong_holds_a_birth(way: Journey, code: str, state: State) -> None:
    way.registry.on_check.append(checks(Finding(code, Location("NK1", 1, 33))))
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.step(Kind.CHECK)
    birth = await way.birth()
    assert birth.state is state
    assert code in {f["code"] for f in birth.findings}
    detail = (await way.events())[-1]["detail"]
    assert (detail["codes"], detail["checks"][0]["parent"]) == ([code], "mother")
    assert await way.open_kinds() == []


async def test_a_released_finding_does_not_hold_again(way: Journey) -> None:
    answer: tuple[ParentCheck, ...] = checks(Finding("MOTHER_NIK_DECEASED", Location("NK1", 1, 33)))
    way.registry.on_check.extend([answer, answer])
    await way.tell(notice())
    await way.work()
    birth = await way.birth()
    assert birth.state is State.REVIEW
    assert await operate.release(way.desk(), birth.id) is State.READY
    await way.work()
    assert await way.state() is State.IN_PROCESS


async def test_an_opinion_on_an_older_revision_changes_nothing(way: Journey) -> None:
    way.registry.on_check.append(checks(Finding("MOTHER_NIK_NOT_FOUND")))
    await way.tell(notice())
    await way.step(Kind.ASSIGN)

    async def hospital_corrects(_call: str) -> None:
        await way.tell(notice("A08", sent=LATER, changes=RENAMED))
        await way.step(Kind.ASSIGN)

    way.registry.during = hospital_corrects
    with pytest.raises(LeaseLostError):
        await way.step(Kind.CHECK)
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.READY, 2)
    assert await way.open_kinds() == ["check"]
    assert "MOTHER_NIK_NOT_FOUND" not in {f["code"] for f in birth.findings}


async def test_a_birth_that_left_ready_is_not_asked_about(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    async with way.database.transaction() as connection:
        await births.move(connection, birth, State.REVIEW, births.Why("officer", "test"))
    await way.step(Kind.CHECK)
    assert way.registry.checked == []
    assert await way.open_kinds() == []


# ------------------------------------------------------------------------------------------------------------ seal


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc: RFC 9864 renames it, its meaning stays
async def test_the_signed_bytes_are_kept_canonical_and_verifiable(way: Journey) -> None:
    await way.tell(notice())
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)
    birth = await way.birth()
    row = await way.database.fetchrow("SELECT * FROM seals")
    assert row is not None
    document = way.registry.document(birth.record, birth_id=str(birth.id), revision=1, twins=None)
    assert row["payload"] == canonical(document)
    assert row["sha256"] == hashlib.sha256(row["payload"]).hexdigest()
    published = next(k for k in way.context.keyring.jwks()["keys"] if k["kid"] == row["key_id"])
    key = OKPKey.import_key({**published})
    header, _, signature = row["signature"].split(".")
    attached = f"{header}.{_b64(row['payload'])}.{signature}"
    assert jws.deserialize_compact(attached, key, algorithms=["EdDSA"]).payload == row["payload"]
    await way.step(Kind.SUBMIT)
    assert (way.registry.submissions[0].payload, way.registry.submissions[0].signature) == (
        row["payload"],
        row["signature"],
    )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_a_missing_key_leaves_the_birth_ready_and_is_tried_again(
    way: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.step(Kind.CHECK)
    monkeypatch.setattr(way.context.keyring, "_keys", [])
    with pytest.raises(KeyMissingError):
        await way.step(Kind.SEAL)
    await way.hurry()
    await way.work(Kind.SEAL)
    assert await way.state() is State.READY
    assert (await way.task(Kind.SEAL))["last_error"] == "KEY_MISSING"
    monkeypatch.setattr(way.context.keyring, "_keys", _opened(tmp_path / "keys"))
    await way.hurry()
    await way.work(Kind.SEAL)
    assert await way.state() is State.SEALED


def _opened(directory: Path) -> list[object]:
    keyring = Keyring(directory)
    keyring.open()
    return list(keyring.keys)


async def test_a_birth_that_left_ready_is_not_sealed(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.step(Kind.CHECK)
    async with way.database.transaction() as connection:
        await births.move(connection, await way.birth(), State.REVIEW, births.Why("officer", "test"))
    await way.step(Kind.SEAL)
    assert await way.count("seals") == 0


# ---------------------------------------------------------------------------------------------------------- submit


async def sealed(way: Journey) -> None:
    await way.tell(notice())
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)


async def results(way: Journey) -> list[str | None]:
    return [r["result"] for r in await way.database.fetch("SELECT result FROM attempts ORDER BY id")]


async def test_the_attempt_is_written_before_the_bytes_leave(way: Journey) -> None:
    await sealed(way)
    seen: list[tuple[State, list[str | None], int]] = []

    async def look(_call: str) -> None:
        birth = await way.birth()
        seen.append((birth.state, await results(way), birth.submitted))

    way.registry.during = look
    await way.step(Kind.SUBMIT)
    assert seen == [(State.SUBMITTED, [None], 1)]
    assert await way.state() is State.IN_PROCESS
    assert await results(way) == ["answered"]
    assert (await way.birth()).reference.startswith("PRM-")
    assert (await way.task(Kind.POLL))["due_in"] > 20


async def test_a_lost_answer_is_asked_for_and_nothing_is_sent_again(way: Journey) -> None:
    await sealed(way)
    way.registry.loses_answer = RegistryUnknownOutcomeError("the answer was lost")
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.SUBMITTED
    assert await results(way) == ["unknown"]
    await way.hurry()
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.IN_PROCESS
    assert len(way.registry.submissions) == 1
    assert way.registry.asked == [(str((await way.birth()).id), 1, "")]
    assert await results(way) == ["answered", "found"]


async def test_what_the_registry_does_not_know_is_sent_again_with_the_same_bytes(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnknownOutcomeError("connection reset"))
    await way.work(Kind.SUBMIT)
    await way.hurry()
    await way.work(Kind.SUBMIT)
    first, second = way.registry.submissions
    assert (first.payload, first.signature, first.idempotency_key) == (
        second.payload,
        second.signature,
        second.idempotency_key,
    )
    assert len(way.registry.asked) == 1
    assert await way.state() is State.IN_PROCESS


async def test_a_process_killed_after_sending_asks_first(way: Journey) -> None:
    await sealed(way)

    async def die(_call: str) -> None:
        raise KeyboardInterrupt

    way.registry.during = die
    with pytest.raises(KeyboardInterrupt):
        await way.step(Kind.SUBMIT)
    await way.database.fetch("UPDATE attempts SET result = NULL, finished_at = NULL")  # a kill -9 writes no end
    await way.hurry()
    await way.step(Kind.SUBMIT)
    assert len(way.registry.asked) == 1
    assert await way.state() is State.IN_PROCESS


async def test_an_unreachable_registry_postpones_and_is_not_asked_first(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnavailableError("maintenance", after=120))
    await way.work(Kind.SUBMIT)
    waiting = await way.task(Kind.SUBMIT)
    assert 119 < waiting["due_in"] < 122
    assert waiting["last_error"] == "REGISTRY_UNAVAILABLE"
    assert await results(way) == ["unavailable"]
    await way.hurry()
    await way.work(Kind.SUBMIT)
    assert way.registry.asked == []
    assert await way.state() is State.IN_PROCESS


async def test_an_unknown_attempt_stays_unknown_while_the_registry_cannot_be_asked(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnknownOutcomeError("lost"))
    way.registry.on_ask.append(RegistryUnavailableError("down"))
    for _ in range(2):
        await way.work(Kind.SUBMIT)
        await way.hurry()
    assert await results(way) == ["unknown", "unknown"]
    assert len(way.registry.submissions) == 1


async def test_a_refusal_ends_in_refused_with_the_registrys_words(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryRefusedError("NIK ibu tidak sesuai", reason="NIK_IBU_TIDAK_SESUAI"))
    await way.step(Kind.SUBMIT)
    birth = await way.birth()
    assert birth.state is State.REFUSED
    finding = next(f for f in birth.findings if f["code"] == "SUBMISSION_REFUSED")
    assert "NIK_IBU_TIDAK_SESUAI" in finding["pesan"]
    assert (await way.reasons())[-1] == "NIK_IBU_TIDAK_SESUAI"
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.work()
    birth = await way.birth()
    assert (birth.state, birth.submitted) == (State.IN_PROCESS, 2)
    assert "SUBMISSION_REFUSED" not in {f["code"] for f in birth.findings}


@pytest.mark.parametrize("answer", [RegistryStatus.UNKNOWN, Outcome("", 1, RegistryStatus.ISSUED)])
async def test_an_answer_that_decides_nothing_is_laid_before_a_person(
    way: Journey, answer: RegistryStatus | Outcome
) -> None:
    await sealed(way)
    if isinstance(answer, Outcome):
        answer = Outcome(str((await way.birth()).id), 1, RegistryStatus.ISSUED)
    way.registry.on_submit.append(answer)
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.DEAD_LETTER
    assert await way.open_kinds() == []


async def test_an_answer_about_another_birth_is_not_applied(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(Outcome(str(uuid.uuid4()), 1, RegistryStatus.ISSUED, certificate=certificate()))
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.DEAD_LETTER
    assert await way.count("certificates") == 0


async def test_a_callback_before_the_submissions_answer_is_not_undone_by_it(way: Journey) -> None:
    await sealed(way)

    async def callback(_call: str) -> None:
        await way.settle(RegistryStatus.ISSUED, certificate=certificate())

    way.registry.during = callback
    await way.step(Kind.SUBMIT)
    assert await way.state() is State.ISSUED
    assert await way.open_kinds() == ["collect"]
    assert await results(way) == ["answered"]


async def test_a_callback_that_holds_takes_the_submission_from_its_worker(way: Journey) -> None:
    await sealed(way)

    async def callback(_call: str) -> None:
        await way.settle(RegistryStatus.NEEDS_DATA, reason="FOTO")

    way.registry.during = callback
    with pytest.raises(LeaseLostError):
        await way.step(Kind.SUBMIT)
    assert await way.state() is State.HOLD_DATA
    assert await way.open_kinds() == []


async def test_a_submission_whose_lease_was_lost_writes_nothing_and_the_next_one_asks(way: Journey) -> None:
    await sealed(way)

    async def paused_too_long(_call: str) -> None:
        await way.hurry()

    way.registry.during = paused_too_long
    with pytest.raises(LeaseLostError):
        await way.step(Kind.SUBMIT)
    assert await way.state() is State.SUBMITTED
    assert await results(way) == [None]
    await way.step(Kind.SUBMIT)
    assert await way.state() is State.IN_PROCESS
    assert len(way.registry.submissions) == 1


async def test_a_submission_that_is_not_wanted_any_more_is_dropped(way: Journey) -> None:
    await sealed(way)
    await way.settle(RegistryStatus.UNKNOWN)
    task = await way.claim(Kind.SUBMIT)
    async with way.database.transaction() as connection:
        await births.move(connection, await way.birth(), State.CANCELLED, births.Why("test", "test"))
    await submit.run(way.context, task)
    assert way.registry.submissions == []
    assert await way.open_kinds() == []


async def test_nothing_is_submitted_once_a_certificate_is_there(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="NAMA")
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)
    await way.settle(RegistryStatus.ISSUED, revision=1, certificate=certificate())  # late
    assert await way.state() is State.AMENDMENT_REVIEW, "the akta bears the older name: a person looks"
    await way.work()
    assert len(way.registry.submissions) == 1
    letter = next(m for m in way.hospital.received if b"MDM^T02" in m)
    assert b"RIZQI" not in letter, "the hospital is told the name that the akta bears"


# ---------------------------------------------------------------------------------------------------------- settle


@pytest.mark.parametrize("state", [State.IN_PROCESS, State.ISSUED, State.DELIVERED])
async def test_the_same_outcome_twice_changes_nothing(way: Journey, state: State) -> None:
    await way.reach(state)
    before = await way.snapshot()
    reference = (await way.birth()).reference
    if state is State.IN_PROCESS:
        await way.settle(RegistryStatus.IN_PROCESS, reference=reference)
    else:
        await way.settle(RegistryStatus.ISSUED, certificate=certificate(), reference=reference)
    assert await way.snapshot() == before


@pytest.mark.parametrize(
    ("status", "asked_on"),
    [(RegistryStatus.REFUSED, []), (RegistryStatus.NEEDS_DATA, ["poll"]), (RegistryStatus.WITHDRAWN, [])],
)
async def test_a_decision_twice_changes_nothing(way: Journey, status: RegistryStatus, asked_on: list[str]) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(status, reason="R", text="T")
    before = await way.snapshot()
    await way.settle(status, reason="R", text="T")
    assert await way.snapshot() == before
    assert await way.open_kinds() == asked_on


async def test_a_case_that_wanted_data_goes_on_at_the_registry_and_is_issued(way: Journey) -> None:
    """PERLU_PERBAIKAN goes both ways (domain C.4): the office may have mended it itself."""
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="BERKAS_KURANG")
    assert await way.state() is State.HOLD_DATA
    assert [f["code"] for f in (await way.birth()).findings if f["state"]] == ["REGISTRY_REFUSED"]
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.HOLD_DATA, "it is asked about at once"
    await way.settle(RegistryStatus.IN_PROCESS)
    assert await way.state() is State.IN_PROCESS
    assert (await way.birth()).findings == []
    way.registry.on_ask.append(RegistryStatus.ISSUED)
    await way.hurry()
    await way.work()
    assert await way.state() is State.DELIVERED


@pytest.mark.parametrize("state", [State.ISSUED, State.DELIVERED])
@pytest.mark.parametrize("status", [RegistryStatus.REFUSED, RegistryStatus.WITHDRAWN])
async def test_a_certificate_the_registry_takes_back_is_reviewed_once(
    way: Journey, state: State, status: RegistryStatus
) -> None:
    await way.reach(state)
    await way.settle(status, reason="DICABUT")
    assert await way.state() is State.REVOCATION_REVIEW
    assert "DICABUT" in (await way.reasons())[-1]
    before = await way.snapshot()
    await way.settle(status, reason="DICABUT")
    assert await way.snapshot() == before


async def test_what_the_register_did_not_know_is_asked_again_by_retry(way: Journey) -> None:
    """The mother may have been added there meanwhile, and the hospital has nothing new to say (domain F 34)."""
    way.registry.on_check.append(checks(Finding("MOTHER_NIK_NOT_FOUND")))
    await way.tell(notice())
    await way.work()
    assert await way.state() is State.HOLD_DATA
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.READY
    await way.work()
    assert await way.state() is State.IN_PROCESS


async def test_a_refused_application_goes_again_as_a_new_revision(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.REFUSED, reason="WILAYAH_LAIN")
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.READY
    await way.work()
    assert [s.revision for s in way.registry.submissions] == [1, 2]


@pytest.mark.parametrize("state", [State.ISSUED, State.DELIVERED])
async def test_a_second_certificate_is_never_applied(way: Journey, state: State) -> None:
    await way.reach(state)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate("3510-LU-20032025-9999"))
    assert await way.state() is State.AMENDMENT_REVIEW
    async with way.database.connection() as connection:
        kept = await submissions.certificate(connection, (await way.birth()).id)
    assert kept is not None
    assert kept.number == "3510-LU-20032025-9001"
    last = (await way.events())[-1]
    assert last["detail"] == {"certificate_number": "3510-LU-20032025-9999"}
    await way.settle(RegistryStatus.ISSUED, certificate=certificate("3510-LU-20032025-9999"))
    assert await way.state() is State.AMENDMENT_REVIEW


async def test_the_same_number_with_another_content_is_a_contradiction(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate(sha256="0" * 64))
    assert await way.state() is State.AMENDMENT_REVIEW


async def test_a_number_of_another_births_certificate_is_refused(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.tell(notice(record_number="OTHER"))
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)
    other = await way.birth("OTHER")
    way.registry.on_submit.append(Outcome(str(other.id), 1, RegistryStatus.ISSUED, certificate=certificate()))
    await way.work(Kind.SUBMIT)
    assert await way.state("OTHER") is State.DEAD_LETTER
    assert await way.count("certificates") == 1


async def test_a_certificate_for_a_dead_letter_is_applied(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    way.registry.on_ask.append(RegistryStatus.UNKNOWN)
    await way.hurry()
    await way.work(Kind.POLL)
    assert await way.state() is State.DEAD_LETTER
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    assert await way.state() is State.ISSUED
    await way.work()
    assert await way.state() is State.DELIVERED


async def test_a_refusal_for_a_dead_letter_is_told_and_lets_waiting_messages_in(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    way.registry.on_ask.append(RegistryStatus.UNKNOWN)
    await way.hurry()
    await way.work(Kind.POLL)
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).revision == 1
    await way.settle(RegistryStatus.REFUSED, reason="DITOLAK")
    assert await way.state() is State.REFUSED
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.READY


async def test_a_refusal_for_a_dead_letter_with_a_certificate_is_ignored(way: Journey) -> None:
    await way.reach(State.ISSUED)
    way.hospital.script = ["AR", "AR"]
    await way.work()
    assert await way.state() is State.DEAD_LETTER
    await way.settle(RegistryStatus.REFUSED, reason="DITOLAK")
    await way.settle(RegistryStatus.ISSUED, certificate=certificate("3510-LU-20032025-9999"))
    assert await way.state() is State.DEAD_LETTER
    assert "second certificate number" in (await way.reasons())[-1]


async def test_a_certificate_of_an_earlier_revision_counts_and_says_so(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="NAMA")
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.work()
    await way.settle(RegistryStatus.ISSUED, revision=1, certificate=certificate())
    assert await way.state() is State.AMENDMENT_REVIEW  # it does not say what the hospital says by now
    issued = next(e for e in await way.events() if e["to_state"] == "ISSUED")
    assert issued["detail"] == {"certificate_number": "3510-LU-20032025-9001", "revision": 1}


async def test_an_outcome_of_an_earlier_revision_decides_nothing(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="NAMA")
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.work()
    assert (await way.birth()).submitted == 2
    before = await way.snapshot()
    await way.settle(RegistryStatus.NEEDS_DATA, revision=1, reason="NAMA", reference="OLD")
    await way.settle(RegistryStatus.REFUSED, revision=1, reason="NAMA")
    assert await way.snapshot() == before


async def test_a_certificate_nobody_waits_for_is_kept_and_delivered_and_noted(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.WITHDRAWN)
    assert await way.state() is State.CANCELLED
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    await way.work()
    assert await way.state() is State.REVOCATION_REVIEW, (
        "the hospital withdrew it and the akta is valid: a person looks"
    )
    assert [e["detail"].get("certificate_number") for e in await way.events()].count("3510-LU-20032025-9001") == 1
    assert len(way.hospital.received) == 2
    # Later words of the hospital about it are for a person, and are not stuck.
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.tell(notice(sent=LATEST, changes=RENAMED))
    await way.work()
    assert await way.open_kinds() == []
    assert await way.state() is State.REVOCATION_REVIEW


# ------------------------------------------------------------------------------------------------------------ poll


async def test_a_poll_finds_the_certificate_that_no_callback_brought(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    way.registry.on_ask.append(RegistryStatus.ISSUED)
    await way.hurry()
    await way.step(Kind.POLL)
    assert await way.state() is State.ISSUED
    assert await way.open_kinds() == ["collect"]
    birth = await way.birth()
    assert way.registry.asked == [(str(birth.id), 1, birth.reference)]


async def test_a_poll_comes_back_later_each_time(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    waits = []
    for _ in range(4):
        await way.hurry()
        await way.step(Kind.POLL)
        waits.append((await way.task(Kind.POLL))["due_in"])
    assert waits == sorted(waits)
    assert 25 <= waits[0] <= 61
    await way.database.fetch("UPDATE tasks SET attempts = 30")
    await way.hurry()
    await way.step(Kind.POLL)
    assert 440 <= (await way.task(Kind.POLL))["due_in"] <= 900


async def test_a_poll_of_a_case_that_is_decided_ends(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    async with way.database.transaction() as connection:
        await births.move(connection, await way.birth(), State.REFUSED, births.Why("registry", "test"))
    await way.hurry()
    await way.step(Kind.POLL)
    assert way.registry.asked == []
    assert await way.open_kinds() == []


async def test_a_callback_during_a_poll_wins_and_the_poll_writes_nothing(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.hurry()

    async def callback(_call: str) -> None:
        await way.settle(RegistryStatus.ISSUED, certificate=certificate())

    way.registry.during = callback
    way.registry.on_ask.append(RegistryStatus.IN_PROCESS)
    with pytest.raises(LeaseLostError):
        await way.step(Kind.POLL)
    assert await way.state() is State.ISSUED
    assert await way.open_kinds() == ["collect"]


async def test_a_case_the_registry_forgot_is_laid_before_a_person(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    way.registry.cases.clear()
    await way.hurry()
    with pytest.raises(RegistryProtocolError):
        await way.step(Kind.POLL)


async def test_an_odd_error_after_many_patient_polls_is_tried_again_first(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.database.fetch("UPDATE tasks SET attempts = 40, last_error = 'IN_PROCESS'")
    for _ in range(UNKNOWN_ERROR_ATTEMPTS - 1):
        way.registry.on_ask.append(ValueError("odd"))
        await way.hurry()
        await way.work(Kind.POLL)
        assert await way.state() is State.IN_PROCESS
    way.registry.on_ask.append(ValueError("odd"))
    await way.hurry()
    await way.work(Kind.POLL)
    assert await way.state() is State.DEAD_LETTER


# --------------------------------------------------------------------------------------------------------- collect


async def test_the_file_is_collected_and_both_letters_are_written_once(way: Journey) -> None:
    birth = await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    assert await way.open_kinds() == ["deliver", "deliver"]
    rows = await way.database.fetch("SELECT kind, subject, control_id, message FROM outbound ORDER BY id")
    assert [(r["kind"], r["subject"]) for r in rows] == [
        ("MDM^T02", "3510-LU-20032025-9001"),
        ("ADT^A31", "3510-LU-20032025-9001"),
    ]
    assert all(control_id_of(r["message"]) == r["control_id"] for r in rows)
    assert f"https://gateway.invalid/v1/births/{birth.id}/document".encode() in rows[0]["message"].replace(
        b"\\T\\", b"&"
    )
    async with way.database.transaction() as connection:
        await queue.add(connection, Kind.COLLECT, birth_id=birth.id)
    await way.step(Kind.COLLECT)
    assert await way.count("outbound") == 2
    assert len(way.registry.fetched) == 1  # the kept file is used


async def test_a_file_with_another_digest_is_never_delivered(way: Journey) -> None:
    await way.reach(State.ISSUED)
    way.registry.on_fetch.append(PDF + b" tampered")
    await way.work()
    assert await way.state() is State.DEAD_LETTER
    assert way.hospital.received == []
    row = await way.database.fetchrow("SELECT document FROM certificates")
    assert row is not None
    assert row["document"] is None
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.ISSUED
    await way.work()
    assert await way.state() is State.DELIVERED


async def test_a_birth_without_a_certificate_has_none_to_collect(way: Journey) -> None:
    birth = await way.reach(State.IN_PROCESS)
    async with way.database.transaction() as connection:
        await queue.add(connection, Kind.COLLECT, birth_id=birth.id)
    with pytest.raises(RegistryProtocolError, match="no certificate"):
        await way.step(Kind.COLLECT)


async def test_without_a_listener_the_certificate_waits_for_pick_up(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path, listener=False) as way:
        birth = await way.reach(State.ISSUED)
        await way.step(Kind.COLLECT)
        assert await way.open_kinds() == []
        assert await way.state() is State.ISSUED
        await handover.picked_up(way.context, birth.id, actor="facility:token")
        assert await way.state() is State.DELIVERED
        before = await way.snapshot()
        await handover.picked_up(way.context, birth.id, actor="facility:token")
        assert await way.snapshot() == before


# --------------------------------------------------------------------------------------------------------- deliver


async def test_a_birth_is_delivered_when_both_letters_were_accepted(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    await way.step(Kind.DELIVER)
    assert await way.state() is State.ISSUED
    await way.step(Kind.DELIVER)
    assert await way.state() is State.DELIVERED
    assert await way.open_kinds() == []
    assert len(way.hospital.received) == 2


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
async def test_a_refused_letter_is_laid_before_a_person(way: Journey, code: str) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    way.hospital.script = [code]
    await way.work()
    birth = await way.birth()
    assert birth.state is State.DEAD_LETTER
    refused, accepted = (await way.reasons())[-2:]
    assert refused.startswith(f"DELIVERY_REFUSED: the hospital's listener answered {code} to MDM^T02 PC"), "it says why"
    assert accepted == "ADT^A31 accepted"
    row = await way.database.fetchrow("SELECT answer_code, accepted_at FROM outbound WHERE kind = 'MDM^T02'")
    assert row is not None
    assert (row["answer_code"], row["accepted_at"]) == (code, None)
    assert await operate.retry(way.desk(), birth.id) is State.ISSUED
    await way.work()
    assert await way.state() is State.DELIVERED
    first, second = (m for m in way.hospital.received if b"MDM^T02" in m)
    assert first == second


@pytest.mark.parametrize("trouble", ["LATE", "OTHER", "BARE"])
async def test_an_answer_that_is_none_is_retried_with_the_same_bytes(
    way: Journey, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "ANSWER_S", 0.2)
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    way.hospital.script = [trouble]
    with pytest.raises(DeliveryUnavailableError):
        await way.step(Kind.DELIVER)
    await way.hurry()
    way.forget_pauses()
    way.hospital.script = [trouble]
    await way.work(Kind.DELIVER)
    waiting = await way.database.fetch("SELECT last_error FROM tasks WHERE last_error IS NOT NULL")
    assert {r["last_error"] for r in waiting} == {"DELIVERY_UNAVAILABLE"}
    await way.hurry()
    way.forget_pauses()
    await way.work()
    assert await way.state() is State.DELIVERED
    certificates = [m for m in way.hospital.received if b"MDM^T02" in m]
    assert len(certificates) >= 2
    assert len(set(certificates)) == 1


async def test_an_accepted_letter_is_not_sent_again(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    tasks = await queue.claim(way.database, limit=10, lease_s=60)
    await deliver.run(way.context, tasks[0])
    async with way.database.transaction() as connection:
        await queue.add(connection, Kind.DELIVER, birth_id=tasks[0].birth_id, outbound_id=tasks[0].outbound_id)
    await way.step(Kind.DELIVER)
    assert len(way.hospital.received) == 1


async def test_a_facility_without_a_listener_any_more_is_laid_before_a_person(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    profile = way.context.facility(HOSPITAL).model_copy(update={"deliver_to": ""})
    way.context.facilities[HOSPITAL] = profile  # type: ignore[index]
    with pytest.raises(DeliveryRefusedError):
        await way.step(Kind.DELIVER)


async def test_a_delivery_whose_lease_was_lost_writes_nothing(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    task = await way.claim(Kind.DELIVER)
    await way.hurry()
    await way.claim(Kind.DELIVER)
    before = await way.snapshot()
    with pytest.raises(LeaseLostError):
        await deliver.run(way.context, task)
    assert await way.snapshot() == before


# --------------------------------------------------------------------------------------------------------- operate


async def test_a_held_birth_stops_and_goes_on_when_released(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert await operate.hold(way.desk(), birth.id) is State.READY
    assert await way.open_kinds() == []
    with pytest.raises(IllegalMoveError, match="held; release it first"):
        await operate.retry(way.desk(), birth.id)
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.work()
    assert await way.state() is State.READY
    assert way.registry.submissions == []
    assert await operate.release(way.desk("all is well"), birth.id) is State.READY
    await way.work()
    assert await way.state() is State.IN_PROCESS
    assert [e["reason"] for e in await way.events() if e["actor"] == "operator:tester"] == [
        "checked by telephone",
        "all is well",
    ]


async def test_a_hold_during_a_check_takes_it_from_its_worker(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    birth = await way.birth()

    async def officer(_call: str) -> None:
        await operate.hold(way.desk(), birth.id)

    way.registry.during = officer
    with pytest.raises(LeaseLostError):
        await way.step(Kind.CHECK)
    assert await way.open_kinds() == []


async def test_what_the_registry_has_cannot_be_held(way: Journey) -> None:
    birth = await way.reach(State.IN_PROCESS)
    with pytest.raises(IllegalMoveError, match="the registry has this birth"):
        await operate.hold(way.desk(), birth.id)


async def test_a_held_issued_birth_is_collected_after_its_release(way: Journey) -> None:
    birth = await way.reach(State.ISSUED)
    await operate.hold(way.desk(), birth.id)
    await way.work()
    assert way.registry.fetched == []
    await operate.release(way.desk(), birth.id)
    await way.work()
    assert await way.state() is State.DELIVERED


async def test_a_person_may_wave_a_form_through(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(changes=(("|3510161508709001^SLAMET RIYADI|", "||"),)))
        await way.work()
        birth = await way.birth()
        assert birth.state is State.AWAIT_FORM
        assert await operate.release(way.desk(), birth.id) is State.READY
        assert (await way.birth()).accepted == {"FORM_INCOMPLETE"}
        last = (await way.events())[-1]
        assert (last["detail"], last["from_state"]) == ({"accepted": ["FORM_INCOMPLETE"]}, "AWAIT_FORM")
        await way.work()
        assert await way.state() is State.IN_PROCESS


async def test_a_release_does_not_forget_what_an_adapter_found(way: Journey) -> None:
    changes = (("AHMAD RIZKI PRATAMA^^^^^^L", "AHMAD RIZKI PRATAMA^^^^^^TEMP"), ("19950312", "20120312"))
    young = (("3510165203959001", "3510165203129001"),)
    await way.tell(notice(changes=(*changes, *young)))
    await way.work()
    birth = await way.birth()
    assert birth.state is State.REVIEW
    assert await operate.release(way.desk(), birth.id) is State.HOLD_NAME


async def test_a_missing_name_cannot_be_waved_through(way: Journey) -> None:
    await way.tell(notice(changes=(("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),)))
    await way.work()
    birth = await way.birth()
    for act in (operate.release, operate.retry):
        before = await way.snapshot()
        with pytest.raises(IllegalMoveError, match="HOLD_NAME and waits for NAME_PLACEHOLDER"):
            await act(way.desk(), birth.id)
        assert await way.snapshot() == before


async def test_a_retry_makes_a_waiting_step_due(way: Journey) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnavailableError("down", after=3600))
    await way.work(Kind.SUBMIT)
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.SUBMITTED
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.IN_PROCESS


async def test_a_retry_leaves_a_step_to_the_worker_that_has_it(way: Journey) -> None:
    await sealed(way)

    async def impatient(_call: str) -> None:
        await operate.retry(way.desk(), (await way.birth()).id)

    way.registry.during = impatient
    await way.step(Kind.SUBMIT)
    assert await way.state() is State.IN_PROCESS
    assert len(way.registry.submissions) == 1


async def test_a_retry_after_a_failed_seal_reads_the_record_anew(way: Journey) -> None:
    await sealed(way)
    birth = await way.birth()
    async with way.database.transaction() as connection:
        await births.move(connection, birth, State.DEAD_LETTER, births.Why("gateway", "submit", "odd"))
    assert await operate.retry(way.desk(), birth.id) is State.READY
    await way.work()
    assert await way.state() is State.IN_PROCESS


async def test_a_birth_that_did_not_leave_the_house_can_be_cancelled(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    assert await operate.cancel(way.desk(), (await way.birth()).id) is State.CANCELLED
    assert await way.open_kinds() == []


async def test_a_birth_the_registry_may_have_cannot_be_cancelled_but_a_refused_one_can(way: Journey) -> None:
    birth = await way.reach(State.IN_PROCESS)
    with pytest.raises(IllegalMoveError, match="ask the office"):
        await operate.cancel(way.desk(), birth.id)
    await way.settle(RegistryStatus.REFUSED, reason="DITOLAK")
    assert await operate.cancel(way.desk(), birth.id) is State.CANCELLED


async def test_an_unknown_birth_cannot_be_operated_on(way: Journey) -> None:
    for act in (operate.hold, operate.release, operate.retry, operate.cancel):
        with pytest.raises(LookupError):
            await act(way.desk(), uuid.uuid4())


async def test_a_facility_out_of_the_configuration_is_named(way: Journey) -> None:
    with pytest.raises(LookupError, match=r"put its \[\[facility\]\] block back"):
        way.desk().facility(CLINIC)
    with pytest.raises(LookupError):
        way.context.facility(CLINIC)


async def test_a_journey_of_one_birth_leaves_an_event_for_every_move(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    moves = [(e["from_state"], e["to_state"]) for e in await way.events() if e["from_state"] != e["to_state"]]
    assert moves == [
        (None, "RECEIVED"),
        ("RECEIVED", "READY"),
        ("READY", "SEALED"),
        ("SEALED", "SUBMITTED"),
        ("SUBMITTED", "IN_PROCESS"),
        ("IN_PROCESS", "ISSUED"),
        ("ISSUED", "DELIVERED"),
    ]
    assert all(e["actor"] and e["at"] for e in await way.events())
    assert CLOCK.tzinfo is not None


def _texts(events: Sequence[object]) -> str:
    return " ".join(map(str, events))


async def test_events_hold_no_person(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    text = _texts([dict(e) for e in await way.events()])
    for person in ("AHMAD", "SITI", "BUDI", "3510165203959001", "3510160407929001"):
        assert person not in text
    assert b"AHMAD" in sample("01")


# ---------------------------------------------------------------------------------------------------------- worker


async def test_an_odd_error_is_tried_a_few_times_and_then_laid_before_a_person(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    for attempt in range(1, 6):
        assert await way.state() is State.READY
        way.registry.on_check.append(ValueError("odd"))
        await way.hurry()
        await way.work(Kind.CHECK)
        if attempt < 5:
            task = await way.task(Kind.CHECK)
            assert (task["last_error"], task["attempts"], task["lease"]) == ("ValueError", attempt, None)
            assert 0 < task["due_in"] <= 2 ** (attempt - 1)
    assert await way.state() is State.DEAD_LETTER
    last = (await way.events())[-1]
    assert last["reason"] == "ValueError"
    assert {k: last["detail"][k] for k in ("code", "fault", "attempts")} == {
        "code": "ValueError", "fault": "ours", "attempts": 5,
    }  # fmt: skip
    assert last["detail"]["do"]
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.READY
    await way.work()
    assert await way.state() is State.IN_PROCESS


async def test_a_message_nobody_can_assign_is_looked_at_again_slowly(way: Journey) -> None:
    await way.tell(notice())
    await way.database.fetch("UPDATE messages SET raw = 'MSH'")
    await way.database.fetch("UPDATE tasks SET failures = 4")
    await way.work(Kind.ASSIGN)
    task = await way.task(Kind.ASSIGN)
    assert task["last_error"] == "HL7_SYNTAX"
    assert task["due_in"] > 3500


async def test_giving_up_where_a_birth_cannot_be_a_dead_letter_is_an_event(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.WITHDRAWN)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    way.registry.on_fetch.append(b"not the file")
    await way.work()
    assert await way.state() is State.REVOCATION_REVIEW
    assert (await way.reasons())[-1].startswith("REGISTRY_PROTOCOL: the certificate's file does not have the announced")
    assert await way.open_kinds() == []


async def test_a_worker_that_lost_its_lease_writes_nothing_however_it_fails(way: Journey) -> None:
    await sealed(way)
    for error in (None, RegistryUnavailableError("down"), RegistryProtocolError("odd"), ValueError("odd")):
        if error is not None:
            way.registry.on_submit.append(error)
        way.registry.during = lambda _call: way.hurry()
        task = await way.claim(Kind.SUBMIT)
        await Workers(way.context)._work(task)
        row = await way.task(Kind.SUBMIT)
        assert (row["id"], row["last_error"]) == (task.id, None)
        assert await way.state() is State.SUBMITTED
        way.registry.cases.clear()


async def test_workers_finish_a_birth_and_stop(way: Journey) -> None:
    way.registry.on_submit.append(RegistryStatus.ISSUED)
    workers = Workers(way.context)
    running = asyncio.create_task(workers.run())
    await way.tell(notice())
    async with asyncio.timeout(20):
        while not (await way.count("births") and await way.state() is State.DELIVERED):
            workers.wake()
            await asyncio.sleep(0.01)
    await workers.stop(within_s=5)
    await asyncio.wait_for(running, 5)
    assert await way.open_kinds() == []


async def test_a_stopping_worker_leaves_a_late_task_to_its_lease(way: Journey) -> None:
    await sealed(way)
    entered = asyncio.Event()

    async def hang(_call: str) -> None:
        entered.set()
        await asyncio.Event().wait()

    way.registry.during = hang
    workers = Workers(way.context)
    running = asyncio.create_task(workers.run())
    await asyncio.wait_for(entered.wait(), 10)
    await workers.stop(within_s=0.01)
    await asyncio.wait_for(running, 5)
    assert (await way.task(Kind.SUBMIT))["lease"] is not None
    assert await results(way) == ["unknown"]


async def test_workers_outlive_a_database_that_is_away(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_args: object, **_kwargs: object) -> list[Task]:
        raise StoreUnavailableError("away")

    workers = Workers(way.context)
    monkeypatch.setattr(queue, "claim_each", away)
    assert await workers._start_due() == 1.0


async def test_a_failure_that_cannot_be_written_down_is_left_to_the_lease(
    way: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sealed(way)
    way.registry.on_submit.append(RegistryUnavailableError("down"))
    task = await way.claim(Kind.SUBMIT)

    async def broken(*_args: object, **_kwargs: object) -> bool:
        raise RuntimeError("the connection broke")

    monkeypatch.setattr(queue, "postpone", broken)
    await Workers(way.context)._work(task)
    assert (await way.task(Kind.SUBMIT))["lease"] == task.lease


async def test_a_full_house_claims_nothing_until_somebody_is_done(way: Journey) -> None:
    workers = Workers(way.context)
    hands = way.context.config.gateway.workers
    for n in range(hands + 2):
        await way.tell(notice(record_number=f"B{n}"))
    assert await workers._start_due() == 5.0  # as many were due as there are hands
    assert len(workers._running) == hands
    assert await workers._start_due() == 5.0
    assert len(workers._running) == hands
    await asyncio.wait(workers._running)
    assert await workers._start_due() != 1.0
    await workers.stop(within_s=10)
    assert await way.count("births") == hands + 2


async def test_steps_that_wait_for_others_never_take_every_worker(way: Journey) -> None:
    """One dead listener, or a registry that times out, must not keep births from being assigned (architecture)."""
    for n in range(20):
        await way.tell(notice(record_number=f"B{n}"))
        await way.step(Kind.ASSIGN)
    gate = asyncio.Event()

    async def never(_call: str) -> None:
        await gate.wait()

    way.registry.during = never
    workers = Workers(way.context)
    await workers._start_due()
    hands = way.context.config.gateway.workers
    assert 0 < len(workers._running) < hands, "all twenty wait for the registry"
    await way.tell(notice(record_number="NEW"))
    await workers._start_due()
    await way.until_assigned("NEW")
    gate.set()
    await workers.stop(within_s=10)


async def test_what_is_claimed_while_stopping_is_given_back(way: Journey) -> None:
    await way.tell(notice())
    workers = Workers(way.context)
    workers._stopping = True
    await workers._start_due()
    task = await way.task(Kind.ASSIGN)
    assert (task["lease"], task["attempts"]) == (None, 0)
    assert workers._running == {}


async def test_a_step_that_crashes_its_worker_hurts_no_other(way: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(way.context)

    async def crash(_task: Task) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(workers, "_work", crash)
    await way.tell(notice())
    await workers._start_due()
    await workers.stop(within_s=5)
    await asyncio.sleep(0)
    assert workers._running == {}
    assert (await way.task(Kind.ASSIGN))["lease"] is not None


# --------------------------------------------------------------------------------- killed before and after each commit


class Killed(BaseException):
    """What a kill -9 looks like from within: nobody catches it."""


class Executioner:
    """Kills at one commit: just before it, so that it never was, or just after, so that nobody heard of it."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left = at
        self.after = after
        self.done = False
        self._transaction = Database.transaction

    @asynccontextmanager
    async def transaction(self, database: Database) -> AsyncIterator[Connection]:
        self.left -= 1
        now = self.left == 0
        async with self._transaction(database) as connection:
            yield connection
            if now and not self.after:
                self.done = True
                raise Killed
        if now:
            self.done = True
            raise Killed


async def survive(way: Journey, record_number: str, executioner: Executioner) -> None:
    await way.tell(notice(record_number=record_number))
    with suppress(Killed):
        await way.work()
        await way.hurry()  # the poll
        await way.work()
    for _ in range(3):  # restarted; leases run out, waits end
        await way.hurry()
        await way.work()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_birth_survives_a_kill_at_every_commit_and_is_done_once(
    way: Journey, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    accept = way.registry.submit

    async def issue_later(submission: Submission) -> Outcome:
        outcome = await accept(submission)
        number = f"3510-LU-{submission.birth_id[:8]}"
        issued = Outcome(submission.birth_id, 1, RegistryStatus.ISSUED, certificate=certificate(number))
        way.registry.cases[submission.idempotency_key] = issued
        return outcome

    monkeypatch.setattr(way.registry, "submit", issue_later)
    at, killed = 1, True
    while killed:
        executioner = Executioner(at, after=after)
        monkeypatch.setattr(Database, "transaction", lambda database, e=executioner: e.transaction(database))
        await survive(way, f"B{at}", executioner)
        monkeypatch.setattr(Database, "transaction", executioner._transaction)
        assert await way.state(f"B{at}") is State.DELIVERED, f"killed at commit {at}"
        assert await way.open_kinds() == []
        at, killed = at + 1, executioner.done
    assert at > 9
    sent = {
        s.birth_id: {t.payload for t in way.registry.submissions if t.birth_id == s.birth_id}
        for s in way.registry.submissions
    }
    assert [len(payloads) for payloads in sent.values()] == [1] * (at - 1)
    assert await way.count("certificates") == at - 1
    assert len(set(way.hospital.received)) == 2 * (at - 1)
    assert await way.count("births") == at - 1

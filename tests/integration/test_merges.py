"""Who is who, on real PostgreSQL: merges, renumberings, links, late results and documents (domain A.1, F 9 to 14)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.pipeline import assign, operate
from gateway.pipeline.assign import URGENT
from gateway.pipeline.settle import settle
from gateway.store import births, queue
from gateway.store.queue import Kind
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import HEAVIER, RENAMED, Journey, journey
from tests.simulators.journey import notice as told
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

OLD, NEW, OTHER = "00450121", "00450999", "00450777"
LATER, LATEST = "20250312081500+0700", "20250313081500+0700"
PDF = b"%PDF-1.7 surat keterangan kelahiran"
_NUMBERS = iter(range(10**6))
notice = partial(told, same_mother=True)  # here another record number is not another baby


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway's parts on a database of this test's own."""
    async with journey(database, tmp_path) as parts:
        yield parts


def message(event: str, *segments: str, kind: str = "ADT", sent: str = LATER) -> bytes:
    number = f"M{next(_NUMBERS):08}"
    head = f"MSH|^~\\&|SIMRS|{HOSPITAL}|AKTAGW|DISDUKCAPIL 3510|{sent}||{kind}^{event}|{number}|P|2.5"
    return "\r".join((head, f"EVN|{event}|{sent}", *segments, "")).encode()


def pid(number: str, *, born: str = "20250311", sex: str = "M", name: str = "", sequence: int = 1) -> str:
    return f"PID|{sequence}||{number}^^^RSCEMPAKA^MR||{name}||{born}|{sex}"


def merge(old: str = OLD, new: str = NEW, *, event: str = "A40", sent: str = LATER) -> bytes:
    return message(event, pid(new), f"MRG|{old}^^^RSCEMPAKA^MR", sent=sent)


def mother(*, name: str = "SITI AMINAH", nik: str = "3510165203959001") -> str:
    return f"PID|2||00331807^^^RSCEMPAKA^MR~{nik}^^^DUKCAPIL^NI||{name}||19950312|F"


def orphaned(number: str = OLD) -> bytes:
    """Return a notice that tells nothing of the mother."""
    lines = notice(record_number=number).decode().split("\r")
    kept = [line for line in lines if not line.startswith("NK1|1")]
    return "\r".join(kept).replace("00331807^^^RSCEMPAKA^MR~3510165203959001^^^DUKCAPIL^NI", "").encode()


def results(*lines: str, number: str = OLD, sent: str = LATER) -> bytes:
    obx = (f"OBX|{n}|NM|{line}" for n, line in enumerate(lines, 1))
    return message("R01", f"PID|1||{number}^^^RSCEMPAKA^MR", "OBR|1|||1^LAHIR", *obx, kind="ORU", sent=sent)


def letter(content: bytes = PDF, *, number: str = OLD) -> bytes:
    value = f"SIMRS^AP^PDF^Base64^{base64.b64encode(content).decode()}"
    obx = f"OBX|1|ED|SKL^Surat Keterangan Lahir||{value}||||||F"
    return message("T02", pid(number), "PV1|1|I", "TXA|1|SKL|AP||||||||||1", obx, kind="MDM")


async def aliases(way: Journey) -> dict[str, str]:
    return {r["old"]: r["new"] for r in await way.database.fetch("SELECT old, new FROM aliases")}


async def reasons(way: Journey, number: str) -> list[str]:
    birth = await way.birth(number)
    rows = await way.database.fetch("SELECT reason FROM events WHERE birth_id = $1 ORDER BY id", birth.id)
    return [r["reason"] for r in rows]


async def last_event(way: Journey, number: str) -> asyncpg.Record:
    birth = await way.birth(number)
    row = await way.database.fetchrow("SELECT * FROM events WHERE birth_id = $1 ORDER BY id DESC LIMIT 1", birth.id)
    assert row is not None
    return row


async def assigned(way: Journey) -> None:
    """Run every due assignment."""
    while await way.database.fetch("SELECT FROM tasks WHERE kind = 'assign' AND due_at <= now()"):
        await way.work(Kind.ASSIGN)


async def issue(way: Journey, number: str, certificate_number: str = "") -> None:
    """Let the registry issue a certificate for the birth of a number that is in process."""
    birth = await way.birth(number)
    assert birth.state is State.IN_PROCESS
    issued = certificate()
    issued = replace(issued, number=certificate_number or issued.number)
    outcome = Outcome(str(birth.id), birth.submitted, RegistryStatus.ISSUED, certificate=issued)
    async with way.database.transaction() as connection:
        locked = await births.lock(connection, birth.id)
        await settle(way.context, connection, locked, outcome, actor="registry", step="callback")


# ---------------------------------------------------------------------------------------------------- merges


@pytest.mark.parametrize("event", ["A18", "A34", "A35", "A36", "A40"])
async def test_a_merge_before_submission_keeps_the_surviving_number_and_fills_its_gaps(
    way: Journey, event: str
) -> None:
    await way.tell(notice())
    await way.tell(orphaned(NEW))
    await assigned(way)
    assert await way.state(NEW) is State.HOLD_DATA
    assert await way.tell(merge(event=event)) == "AA"
    await assigned(way)
    survivor, other = await way.birth(NEW), await way.birth(OLD)
    assert (survivor.state, other.state) == (State.READY, State.MERGED)
    assert survivor.record.mother is not None
    assert survivor.record.child.medical_record.reveal() == NEW
    assert await aliases(way) == {OLD: NEW}
    assert (await last_event(way, OLD))["detail"] == {"merged_into": str(survivor.id)}
    assert (await last_event(way, NEW))["detail"]["merged_with"] == str(other.id)
    assert await way.open_kinds() == ["check"]


async def test_what_the_survivor_knows_stays(way: Journey) -> None:
    await way.tell(notice(changes=(*RENAMED, *HEAVIER)))
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    await way.tell(merge())
    await assigned(way)
    child = (await way.birth(NEW)).record.child
    assert child.name is not None
    assert (child.name.reveal(), child.weight_g) == ("AHMAD RIZKI PRATAMA", 3150)
    assert (await way.birth(NEW)).revision == 1


async def test_the_history_of_the_merged_birth_leads_to_the_survivor(way: Journey) -> None:
    await way.tell(notice(control_id="FIRST"))
    await way.tell(letter())
    await way.tell(notice("A03", sent=LATER))
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    await way.tell(merge())
    await assigned(way)
    survivor = await way.birth(NEW)
    assert survivor.priority == URGENT
    rows = await way.database.fetch("SELECT DISTINCT birth_id FROM messages")
    assert [r["birth_id"] for r in rows] == [survivor.id]
    (row,) = await way.database.fetch("SELECT birth_id FROM attachments")
    assert row["birth_id"] == survivor.id


async def test_late_messages_for_the_old_number_go_to_the_survivor(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await way.tell(merge())
    await assigned(way)
    await way.tell(notice("A08", sent=LATEST, changes=RENAMED))
    await way.tell(notice(sent=LATEST, changes=HEAVIER))
    await assigned(way)
    survivor = await way.birth(NEW)
    assert survivor.record.child.name is not None
    assert survivor.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"  # the last one told said so
    assert (survivor.revision, survivor.record.child.weight_g) == (3, 3510)
    assert survivor.record.child.medical_record.reveal() == NEW
    assert await way.state(OLD) is State.MERGED
    assert await way.count("births") == 2


async def test_a_thin_update_under_an_old_number_is_known_to_be_about_a_birth(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(message("A47", pid(NEW), f"MRG|{OLD}"))
    await assigned(way)
    assert await way.tell(message("A11", f"PID|1||{OLD}", sent=LATEST)) == "AA"
    await assigned(way)
    assert await way.state(NEW) is State.READY
    assert (await reasons(way, NEW))[-1] == "ADT^A11: a number it had before: noted, nothing else"


async def test_a_merge_of_an_unknown_number_is_an_alias_for_what_comes_late(way: Journey) -> None:
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    assert await way.tell(merge()) == "AA"
    await assigned(way)
    assert await aliases(way) == {OLD: NEW}
    assert (await way.birth(NEW)).revision == 1
    assert "nothing is known under the old number yet" in (await reasons(way, NEW))[-1]
    await way.tell(notice(sent=LATEST, changes=HEAVIER))
    await assigned(way)
    assert await way.count("births") == 1
    assert (await way.birth(NEW)).record.child.weight_g == 3510


async def test_a_merge_of_two_unknown_numbers_opens_the_late_birth_under_the_new_one(way: Journey) -> None:
    assert await way.tell(merge()) == "AA"
    await assigned(way)
    assert await way.count("births") == 0
    await way.tell(notice())
    await assigned(way)
    assert (await way.birth(NEW)).state is State.READY
    assert await way.count("births") == 1


async def test_a_merge_into_an_unknown_number_renames_the_birth(way: Journey) -> None:
    await way.tell(notice())
    await assigned(way)
    before = await way.birth(OLD)
    await way.tell(merge())
    await assigned(way)
    after = await way.birth(NEW)
    assert (after.id, after.state, after.revision) == (before.id, State.READY, 2)
    assert after.record.child.medical_record.reveal() == NEW
    assert await way.count("births") == 1


async def test_a_merge_sees_what_waits_under_both_numbers(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(orphaned(NEW))
    await way.tell(merge())
    newest = (await queue.claim(way.database, limit=10, lease_s=60))[-1]
    await assign.run(way.context, newest)
    assert (await way.state(OLD), await way.state(NEW)) == (State.MERGED, State.READY)
    await way.hurry()
    await assigned(way)  # the others find nothing to do
    assert (await way.state(OLD), await way.state(NEW)) == (State.MERGED, State.READY)


async def test_a_merge_told_twice_is_done_once(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await way.tell(merge())
    await assigned(way)
    before = await way.birth(NEW)
    await way.tell(merge(sent=LATEST))
    await assigned(way)
    assert (await way.birth(NEW)).revision == before.revision
    assert "merged before" in (await reasons(way, NEW))[-1]


async def test_a_chain_of_merges_leads_to_the_last_number(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await way.tell(merge())
    await way.tell(merge(NEW, OTHER, sent=LATEST))
    await assigned(way)
    assert await aliases(way) == {OLD: OTHER, NEW: OTHER}
    assert await way.state(OTHER) is State.READY
    await way.tell(notice("A08", sent="20250314081500+0700", changes=HEAVIER))
    await assigned(way)
    assert (await way.birth(OTHER)).record.child.weight_g == 3510


async def test_a_second_merge_of_the_same_number_elsewhere_is_not_applied(way: Journey) -> None:
    for number in (OLD, NEW, OTHER):
        await way.tell(orphaned(number))
    await way.tell(merge())
    await way.tell(merge(OLD, OTHER, sent=LATEST))
    await assigned(way)
    assert await aliases(way) == {OLD: NEW}
    assert (await way.state(NEW), await way.state(OTHER)) == (State.HOLD_DATA, State.HOLD_DATA)
    assert "not applied" in (await reasons(way, OTHER))[-1]


async def test_a_merge_of_several_groups_merges_each(way: Journey) -> None:
    for number in ("A1", "A2"):
        await way.tell(notice(record_number=number))
    await way.tell(notice(record_number="B1", changes=(("20250311041500+0700|M|", "20250309041500+0700|F|"),)))
    groups = (pid("A2"), "MRG|A1^^^RSCEMPAKA^MR", pid("B2", sex="F"), "MRG|B1^^^RSCEMPAKA^MR")
    await way.tell(message("A40", *groups))
    await assigned(way)
    assert (await way.state("A1"), await way.state("A2")) == (State.MERGED, State.READY)
    assert (await way.birth("B2")).record.child.born_on is not None
    assert await aliases(way) == {"A1": "A2", "B1": "B2"}


async def test_two_suspected_births_become_one_under_a_third_number_by_one_message(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    assert (await way.state(OLD), await way.state(NEW)) == (State.REVIEW, State.REVIEW)
    groups = (f"MRG|{OLD}^^^RSCEMPAKA^MR", pid(OTHER), f"MRG|{NEW}^^^RSCEMPAKA^MR")
    await way.tell(message("A40", pid(OTHER), *groups))
    await assigned(way)
    assert (await way.state(OTHER), await way.state(NEW)) == (State.READY, State.MERGED)
    assert await aliases(way) == {OLD: OTHER, NEW: OTHER}


@pytest.mark.parametrize(
    "different",
    [
        ("20250311041500+0700|M|", "20250311041500+0700|F|"),
        ("20250311041500+0700|M|", "20250308041500+0700|M|"),
        ("|BANYUWANGI|N|1|", "|BANYUWANGI|Y|2|"),
    ],
)
async def test_babies_that_differ_are_not_merged_but_reviewed(way: Journey, different: tuple[str, str]) -> None:
    twin = (("57722-1^Birth plurality of Pregnancy^LN||1|", "57722-1^Birth plurality of Pregnancy^LN||2|"),)
    changes = (different, *twin, ("|1^Tunggal|", "|2^Kembar 2|")) if "|Y|2|" in different[1] else (different,)
    await way.tell(told(record_number=NEW))
    await way.tell(told(changes=changes))
    await way.tell(merge())
    await assigned(way)
    assert await aliases(way) == {}
    for number in (OLD, NEW):
        doubted = await way.birth(number)
        assert doubted.state is State.REVIEW
        assert [f["code"] for f in doubted.findings if f["state"]] == ["MERGE_CONTRADICTION"]
        await operate.release(way.desk(), doubted.id)  # a person says that they are two
        assert await way.state(number) is State.READY


async def test_a_merge_waits_while_the_registry_has_one_of_them(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    await way.tell(merge())
    await assigned(way)
    assert (await way.state(OLD), await way.state(NEW)) == (State.IN_PROCESS, State.REVIEW)
    assert (await way.task(Kind.ASSIGN))["last_error"] == "REGISTRY_HAS_IT"
    birth = await way.birth(OLD)
    await issue(way, OLD)
    await way.hurry()
    await assigned(way)
    kept = await way.birth(NEW)
    assert (kept.id, kept.state) == (birth.id, State.ISSUED)
    assert await way.state(OLD) is State.MERGED


async def test_the_birth_with_the_certificate_lives_on_under_the_surviving_number(way: Journey) -> None:
    issued = await way.reach(State.DELIVERED)
    await way.tell(notice(record_number=NEW, changes=(*RENAMED, *HEAVIER)))
    await assigned(way)
    await way.tell(merge())
    await assigned(way)
    kept = await way.birth(NEW)
    assert (kept.id, kept.state) == (issued.id, State.DELIVERED)
    assert kept.record.child.name is not None
    assert kept.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"
    assert kept.record.child.weight_g == 3150
    assert await way.state(OLD) is State.MERGED
    assert "check" not in await way.open_kinds()


async def test_a_merge_of_two_issued_births_is_for_the_office(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.tell(told(record_number=NEW))
    await way.work()
    await issue(way, NEW, "3510-LU-11032025-9999")
    await way.tell(merge())
    await assigned(way)
    assert await way.state(OLD) is State.REVOCATION_REVIEW
    assert await way.state(NEW) in (State.ISSUED, State.DELIVERED)
    assert await aliases(way) == {}
    assert "the office decides" in (await reasons(way, NEW))[-1]


async def test_a_withdrawn_survivor_gives_its_number_to_the_birth_that_lives(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await way.tell(notice("A11", record_number=NEW, sent=LATER, segments=("PV1",)))
    await assigned(way)
    alive = await way.birth(OLD)
    await way.tell(merge(sent=LATEST))
    await assigned(way)
    kept, other = await way.birth(NEW), await way.birth(OLD)
    assert (kept.id, kept.state, other.state) == (alive.id, State.READY, State.CANCELLED)
    assert kept.record.child.medical_record.reveal() == NEW


async def test_a_withdrawn_prior_stays_withdrawn(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.tell(notice(record_number=NEW))
    await way.tell(merge(sent=LATEST))
    await assigned(way)
    assert (await way.state(OLD), await way.state(NEW)) == (State.CANCELLED, State.READY)
    assert await aliases(way) == {OLD: NEW}


async def test_a_held_birth_stays_held_after_a_merge(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    await operate.hold(way.desk(), (await way.birth(OLD)).id)
    await way.tell(merge())
    await assigned(way)
    assert (await way.birth(NEW)).held
    assert await way.open_kinds() == []


async def test_merges_crosswise_by_many_workers_never_deadlock(way: Journey) -> None:
    numbers = [f"X{n}" for n in range(6)]
    for number in numbers:
        await way.tell(notice(record_number=number))
    for n in range(5):
        await way.tell(merge(f"X{n}", f"X{n + 1}"))
        await way.tell(notice("A08", record_number=f"X{n}", sent=LATEST, changes=HEAVIER))
    tasks = await queue.claim(way.database, limit=100, lease_s=60)
    tasks = [task for task in tasks if task.kind is Kind.ASSIGN]
    limit = asyncio.Semaphore(5)

    async def one(task: queue.Task) -> None:
        async with limit:
            await assign.run(way.context, task)

    await asyncio.wait_for(asyncio.gather(*(one(task) for task in reversed(tasks))), 60)
    assert await way.state("X5") is State.READY
    states = [r["state"] for r in await way.database.fetch("SELECT state FROM births WHERE medical_record <> 'X5'")]
    assert states == ["MERGED"] * 5
    assert set((await aliases(way)).values()) == {"X5"}
    assert (await way.birth("X5")).record.child.weight_g == 3510


# ------------------------------------------------------------------------------------------------- renumbering


async def test_a_renumbering_rekeys_and_keeps_the_alias(way: Journey) -> None:
    before = await way.reach(State.SEALED)
    await way.tell(message("A47", pid(NEW), f"MRG|{OLD}^^^RSCEMPAKA^MR"))
    await assigned(way)
    after = await way.birth(NEW)
    assert (after.id, after.state, after.revision) == (before.id, State.READY, 2)
    assert await aliases(way) == {OLD: NEW}
    assert (await last_event(way, NEW))["detail"] == {"changed": ["child.medical_record"]}
    await way.tell(notice("A08", sent=LATEST, changes=HEAVIER))
    await assigned(way)
    assert (await way.birth(NEW)).record.child.weight_g == 3510
    assert await way.count("births") == 1


async def test_a_renumbering_does_not_wait_for_the_registry_and_letters_go_to_the_new_number(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.tell(message("A47", pid(NEW), f"MRG|{OLD}^^^RSCEMPAKA^MR"))
    await assigned(way)
    birth = await way.birth(NEW)
    assert (birth.state, birth.revision, birth.submitted) == (State.IN_PROCESS, 2, 1)
    await issue(way, NEW)
    await way.work()
    assert await way.state(NEW) is State.DELIVERED
    assert all(f"{NEW}^".encode() in letter for letter in way.hospital.received)


async def test_a_number_that_comes_back_is_nobodys_alias(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(merge(event="A47"))
    await way.tell(merge(NEW, OLD, event="A47", sent=LATEST))
    await assigned(way)
    assert await aliases(way) == {NEW: OLD}
    assert await way.state(OLD) is State.READY


async def test_a_merge_the_other_way_round_gives_the_birth_its_first_number_back(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await way.tell(merge())
    await assigned(way)
    alive = await way.birth(NEW)
    await way.tell(merge(NEW, OLD, sent=LATEST))
    await assigned(way)
    back = await way.birth(OLD)
    assert (back.id, back.state, await way.state(NEW)) == (alive.id, State.READY, State.MERGED)
    assert await aliases(way) == {NEW: OLD}
    assert back.record.child.medical_record.reveal() == OLD


# --------------------------------------------------------------------------------- place, class, urgency, booking


@pytest.mark.parametrize("event", ["A02", "A06", "A07", "A12"])
async def test_a_transfer_is_an_event_and_no_revision(way: Journey, event: str) -> None:
    await way.tell(notice())
    await assigned(way)
    assert await way.tell(message(event, pid(OLD, name="NAMA LAIN"), "PV1|1|I|ANAK^1^2")) == "AA"
    await assigned(way)
    birth = await way.birth()
    assert (birth.revision, birth.state) == (1, State.READY)
    assert (await reasons(way, OLD))[-1] == f"ADT^{event}: place or class in the hospital only"


@pytest.mark.parametrize("event", ["A02", "A05", "A07", "A13"])
async def test_what_is_about_nobody_we_know_is_accepted_and_forgotten(way: Journey, event: str) -> None:
    assert await way.tell(message(event, pid(OLD), "PV1|1|I")) == "AA"
    assert await way.count("tasks") == 0


async def test_a_discharge_undone_lowers_the_urgency_and_changes_nothing_else(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A03", sent=LATER))
    await assigned(way)
    assert (await way.birth()).priority == URGENT
    await way.tell(message("A13", pid(OLD, name="NAMA LAIN"), "PV1|1|I", sent=LATEST))
    await assigned(way)
    birth = await way.birth()
    assert (birth.priority, birth.revision) == (5, 1)
    assert (await way.task(Kind.CHECK))["priority"] == 5


async def test_an_undone_discharge_older_than_what_is_known_lowers_nothing(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A03", sent=LATEST))
    await way.tell(message("A13", pid(OLD), "PV1|1|I", sent=LATER))
    await way.database.fetch("UPDATE messages SET received_at = '2025-03-20'")
    await assigned(way)
    assert (await way.birth()).priority == URGENT


# ------------------------------------------------------------------------------------------------------- links


async def test_a_link_with_its_mother_fills_what_is_missing(way: Journey) -> None:
    await way.tell(orphaned())
    await assigned(way)
    assert await way.state() is State.HOLD_DATA
    assert await way.tell(message("A24", pid(OLD), mother())) == "AA"
    await assigned(way)
    birth = await way.birth()
    assert birth.record.mother is not None
    assert birth.record.mother.nik is not None
    assert birth.record.mother.nik.reveal() == "3510165203959001"
    assert birth.state is State.READY
    assert await way.count("births") == 1


async def test_an_unlink_takes_back_what_the_link_told(way: Journey) -> None:
    await way.tell(orphaned())
    await way.tell(message("A24", mother(), pid(OLD)))
    await assigned(way)
    await way.tell(message("A37", mother(), pid(OLD), sent=LATEST))
    await assigned(way)
    birth = await way.birth()
    assert (birth.record.mother, birth.state) == (None, State.HOLD_DATA)


async def test_a_link_with_another_woman_is_not_mixed_in_and_an_unlink_takes_nothing_of_the_notice(
    way: Journey,
) -> None:
    await way.tell(notice())
    await way.tell(message("A24", pid(OLD), mother(name="DEWI LESTARI", nik="3510165203959002")))
    await assigned(way)
    assert "not the one known" in (await reasons(way, OLD))[-1]
    await way.tell(message("A37", pid(OLD), mother(), sent=LATEST))
    await assigned(way)
    assert "no link to take back" in (await reasons(way, OLD))[-1]
    birth = await way.birth()
    assert birth.revision == 1
    assert birth.record.mother is not None
    assert birth.record.mother.nik is not None
    assert birth.record.mother.nik.reveal() == "3510165203959001"


async def test_two_linked_newborns_are_reviewed_and_stay_two_until_unlinked(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(record_number=NEW))
    await assigned(way)
    await way.tell(message("A24", pid(OLD), pid(NEW)))
    await assigned(way)
    second = await way.birth(NEW)
    assert (await way.state(OLD), second.state) == (State.READY, State.REVIEW)
    assert "DUP_SUSPECT" in [f["code"] for f in second.findings]
    assert await aliases(way) == {}
    await way.tell(told("A08", record_number=NEW, sent=LATEST, changes=HEAVIER))
    await assigned(way)
    assert await way.state(NEW) is State.REVIEW  # an update does not wave it through
    await way.tell(message("A37", pid(OLD), pid(NEW), sent=LATEST))
    await assigned(way)
    assert await way.state(NEW) is State.READY


async def test_a_suspicion_ends_with_the_merge_that_settles_it(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await way.tell(message("A24", pid(OLD), pid(NEW)))
    await way.tell(merge(sent=LATEST))
    await assigned(way)
    assert (await way.state(OLD), await way.state(NEW)) == (State.MERGED, State.READY)


async def test_linked_babies_that_differ_are_two_births(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(record_number=NEW, changes=(("20250311041500+0700|M|", "20250311041500+0700|F|"),)))
    await way.tell(message("A24", pid(OLD), pid(NEW, sex="F")))
    await assigned(way)
    assert (await way.state(OLD), await way.state(NEW)) == (State.READY, State.READY)


async def test_a_link_of_a_birth_the_registry_has_waits(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    await way.tell(message("A24", pid(NEW), pid(OLD)))
    await assigned(way)
    assert (await way.task(Kind.ASSIGN))["last_error"] == "REGISTRY_HAS_IT"
    await way.settle(RegistryStatus.NEEDS_DATA, reason="X", text="")
    await way.hurry()
    await assigned(way)
    assert "DUP_SUSPECT" in [f["code"] for f in (await way.birth(OLD)).findings]


# ---------------------------------------------------------------------------------------- results and documents


async def test_late_results_are_merged_into_the_birth(way: Journey) -> None:
    await way.tell(notice(changes=(("||3150|g^g", "||||"), ("|3150|49|", "||49|"))))
    await assigned(way)
    assert (await way.birth()).record.child.weight_g is None
    assert await way.tell(results("8339-4||3150|g|||||F", "9271-8||10||||||F")) == "AA"
    await assigned(way)
    birth = await way.birth()
    assert (birth.record.child.weight_g, birth.record.child.apgar_10) == (3150, 10)
    assert (birth.record.child.apgar_1, birth.state) == (8, State.READY)
    assert birth.told_at is not None
    assert birth.told_at.day == 11  # an A08 written before the results still counts


async def test_results_that_overtake_the_notice_wait_for_it(way: Journey) -> None:
    assert await way.tell(results("9271-8||10||||||F", sent="20250311050000+0700")) == "AA"
    await assigned(way)
    assert await way.count("births") == 0
    assert await way.count("tasks") == 0
    await way.tell(notice())
    await assigned(way)
    child = (await way.birth()).record.child
    assert (child.apgar_10, child.weight_g) == (10, 3150)
    rows = await way.database.fetch("SELECT FROM messages WHERE birth_id IS NULL")
    assert rows == []


async def test_results_that_wait_make_no_unknown_baby_known(way: Journey) -> None:
    await way.tell(results("9271-8||10||||||F"))
    assert await way.tell(message("A11", pid(OLD), "PV1|1|I")) == "AE"
    await way.tell(notice("A08"))
    await assigned(way)
    assert (await way.birth()).record.child.apgar_10 == 10


async def test_older_results_fill_and_newer_ones_correct(way: Journey) -> None:
    await way.tell(notice())
    await assigned(way)
    await way.tell(results("8339-4||3200|g|||||C", sent=LATEST))
    await assigned(way)
    await way.tell(results("8339-4||3100|g|||||F", "9271-8||10||||||F", sent=LATER))
    await assigned(way)
    child = (await way.birth()).record.child
    assert (child.weight_g, child.apgar_10) == (3200, 10)


async def test_results_after_issue_are_recorded_only(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await way.tell(results("8339-4||3200|g|||||C"))
    await assigned(way)
    birth = await way.birth()
    assert (birth.state, birth.revision, birth.record.child.weight_g) == (State.DELIVERED, 2, 3200)


async def test_a_late_sign_of_life_of_a_stillborn_is_for_a_person(way: Journey) -> None:
    dead = (
        ("73757-7^Infant living at time of report^LN||Y^Yes", "73757-7^Infant living at time of report^LN||N^No"),
        ("1 minute Apgar Score^LN||8|", "1 minute Apgar Score^LN||0|"),
        ("5 minute Apgar Score^LN||9|", "5 minute Apgar Score^LN||0|"),
    )
    await way.tell(notice(changes=dead))
    await assigned(way)
    assert await way.state() is State.STILLBIRTH
    await way.tell(results("9271-8||3||||||F"))
    await assigned(way)
    assert await way.state() is State.REVIEW


async def test_a_scanned_letter_is_kept_with_its_birth_once(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(letter())
    await way.tell(letter())
    await assigned(way)
    birth = await way.birth()
    (row,) = await way.database.fetch("SELECT * FROM attachments")
    assert (row["birth_id"], row["mime"], row["kind"], row["size"]) == (birth.id, "application/pdf", "SKL", len(PDF))
    assert (row["sha256"], row["content"]) == (hashlib.sha256(PDF).hexdigest(), PDF)
    assert birth.revision == 1
    assert [r for r in await reasons(way, OLD) if "documents kept" in r] == [
        "MDM^T02: 1 documents kept",
        "MDM^T02: 0 documents kept",
    ]


async def test_a_letter_before_its_birth_waits_for_it(way: Journey) -> None:
    assert await way.tell(letter()) == "AA"
    await assigned(way)
    assert await way.count("attachments") == 0
    await way.tell(notice())
    await assigned(way)
    assert await way.count("attachments") == 1


async def test_a_document_over_the_cap_is_noted_without_its_bytes(way: Journey) -> None:
    large = PDF + b"x" * 20_000
    limits = way.context.config.limits.model_copy(update={"document_bytes": 10_000})
    object.__setattr__(way.context, "config", way.context.config.model_copy(update={"limits": limits}))
    await way.tell(notice())
    await way.tell(letter(large))
    await assigned(way)
    (row,) = await way.database.fetch("SELECT size, sha256, content FROM attachments")
    assert tuple(row) == (len(large), hashlib.sha256(large).hexdigest(), None)
    assert "noted only" in (await reasons(way, OLD))[-1]


async def test_a_broken_document_is_told_and_nothing_is_kept(way: Journey) -> None:
    await way.tell(notice())
    assert await way.tell(letter(b"MZ no document")) == "AE"
    await assigned(way)
    assert await way.count("attachments") == 0


async def test_no_event_holds_a_record_number_or_a_person(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(orphaned(NEW))
    await way.tell(message("A24", pid(NEW), mother()))
    await way.tell(merge(sent=LATEST))
    await way.tell(letter(number=NEW))
    await assigned(way)
    events = json.dumps([dict(e) for e in await way.events()], default=str)
    assert not [word for word in (OLD, NEW, "SITI", "3510165203959001", "AHMAD") if word in events]

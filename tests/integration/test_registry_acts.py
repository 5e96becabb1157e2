"""What is asked of the registry about a case it has, on a real database: amended, withdrawn, corrected, revoked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.masked import Personal
from gateway.contract.ports import ActKind, ActOutcome, ActStatus, Outcome, RegistryStatus
from gateway.errors import (
    IllegalMoveError,
    RegistryTooLateError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from gateway.pipeline import legal
from gateway.pipeline.settle import settle
from gateway.store import acts, births
from gateway.store.queue import Kind
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import HEAVIER, RENAMED, Journey, journey, notice
from tests.simulators.scripted_registry import certificate, checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LATER, LATEST = "20250312093000+0700", "20250313093000+0700"
NEW_NUMBER = "3510-LU-21032025-9002"
TOO_LATE = RegistryTooLateError("approved already", reason="TERLAMBAT")


@pytest.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(database, tmp_path) as running:
        yield running


async def renamed(way: Journey, *, sent: str = LATER, changes: Any = RENAMED) -> None:
    await way.tell(notice("A08", sent=sent, changes=changes))
    await way.step(Kind.ASSIGN)


async def through(way: Journey, *kinds: Kind) -> None:
    for kind in kinds:
        await way.step(kind)


async def submitted_keys(way: Journey) -> list[str]:
    birth = await way.birth()
    return [s.idempotency_key.removeprefix(str(birth.id)) for s in way.registry.submissions]


async def act_of(way: Journey, kind: ActKind) -> acts.Act:
    async with way.database.connection() as connection:
        act = await acts.last(connection, (await way.birth()).id, kind)
    assert act is not None
    return act


async def told(way: Journey, status: RegistryStatus, act: ActStatus, kind: ActKind, **changes: Any) -> None:
    """Let the registry say, by a callback, what became of an act."""
    key = (await act_of(way, kind)).key
    await way.settle(status, acts=(ActOutcome(key, act, changes.pop("code", "")),), **changes)


async def withdrawn(way: Journey) -> None:
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.step(Kind.ASSIGN)


def issued_otherwise(**registered: str) -> Any:
    paths = {path.replace("_", ".", 1): Personal(text) for path, text in registered.items()}
    return certificate(registered=paths)


# --------------------------------------------------------------------------------- amended in flight (F 18)


async def test_a_change_while_the_office_works_on_it_amends_the_case_under_a_key_of_its_own(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    assert await way.state() is State.READY
    await through(way, Kind.CHECK, Kind.SEAL, Kind.SUBMIT)
    birth = await way.birth()
    assert (birth.state, birth.revision, birth.submitted, birth.at_registry) == (State.IN_PROCESS, 2, 2, 2)
    assert await submitted_keys(way) == [":1", ":2"]
    assert [s.amends for s in way.registry.submissions] == ["", birth.reference]
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    assert await way.state() is State.ISSUED
    assert (await way.birth()).at_registry == 0


async def test_an_amendment_whose_answer_was_lost_is_asked_about_before_the_same_bytes_go_again(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    await through(way, Kind.CHECK, Kind.SEAL)
    way.registry.on_submit.append(RegistryUnknownOutcomeError("lost"))
    with pytest.raises(RegistryUnknownOutcomeError):
        await way.step(Kind.SUBMIT)
    await way.hurry()
    way.registry.asked.clear()
    await way.step(Kind.SUBMIT)
    birth = await way.birth()
    assert way.registry.asked == [(str(birth.id), 2, "")]
    first, second = way.registry.submissions[1:]
    assert first == second
    assert birth.state is State.IN_PROCESS


async def test_an_amendment_that_arrived_before_its_answer_was_lost_is_not_sent_again(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    await through(way, Kind.CHECK, Kind.SEAL)
    way.registry.loses_answer = RegistryUnknownOutcomeError("lost")
    with pytest.raises(RegistryUnknownOutcomeError):
        await way.step(Kind.SUBMIT)
    await way.hurry()
    await way.step(Kind.SUBMIT)
    assert await submitted_keys(way) == [":1", ":2"]
    assert await way.state() is State.IN_PROCESS


async def test_an_amendment_that_comes_too_late_leaves_the_case_and_becomes_a_review_after_issue(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    await through(way, Kind.CHECK, Kind.SEAL)
    birth = await way.birth()
    way.registry.on_submit.append(TOO_LATE)
    way.registry.on_ask.append(Outcome(str(birth.id), 1, RegistryStatus.IN_PROCESS, reference=birth.reference))
    await way.step(Kind.SUBMIT)
    birth = await way.birth()
    assert (birth.state, birth.revision, birth.submitted, birth.at_registry) == (State.IN_PROCESS, 2, 1, 1)
    assert "AMENDMENT_NOT_TAKEN" in {f["code"] for f in birth.findings}
    assert Kind.POLL.value in await way.open_kinds()
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    assert await way.state() is State.AMENDMENT_REVIEW


async def test_a_case_that_was_refused_before_the_amendment_came_is_a_new_application(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    await through(way, Kind.CHECK, Kind.SEAL)
    birth = await way.birth()
    way.registry.on_submit.append(RegistryTooLateError("ended", reason="SUDAH_BERAKHIR"))
    way.registry.on_ask.append(Outcome(str(birth.id), 1, RegistryStatus.REFUSED, reason="NAMA_TIDAK_SAH"))
    await way.step(Kind.SUBMIT)
    assert await way.state() is State.READY
    await through(way, Kind.CHECK, Kind.SEAL, Kind.SUBMIT)
    last = way.registry.submissions[-1]
    assert (last.idempotency_key, last.amends) == (f"{birth.id}:2", "")
    assert await way.state() is State.IN_PROCESS


async def test_a_certificate_that_comes_while_the_change_is_prepared_is_laid_before_a_person(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    await through(way, Kind.CHECK, Kind.SEAL)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    assert await way.state() is State.AMENDMENT_REVIEW
    await way.work()
    assert await submitted_keys(way) == [":1"]


async def test_parents_are_checked_before_an_amendment_and_a_disagreement_stops_it(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    way.registry.on_check.append(checks(Finding("MOTHER_NAME_MISMATCH")))
    await way.step(Kind.CHECK)
    assert await way.state() is State.REVIEW
    assert await submitted_keys(way) == [":1"]
    await way.hurry()
    await way.step(Kind.POLL)  # the registry goes on meanwhile, and is asked
    assert Kind.POLL.value in await way.open_kinds()


async def test_a_change_with_something_open_waits_instead_of_being_sent(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way, changes=(("AHMAD RIZKI PRATAMA", "AHMAD R1ZKI"),))
    birth = await way.birth()
    assert (birth.state, birth.revision) == (State.IN_PROCESS, 1)
    assert (await way.task(Kind.ASSIGN))["last_error"] == "REGISTRY_HAS_IT"


async def test_an_answer_to_a_request_for_data_goes_to_the_case_that_asked(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="NAMA_TIDAK_SAH")
    await renamed(way)
    await through(way, Kind.CHECK, Kind.SEAL, Kind.SUBMIT)
    birth = await way.birth()
    assert [s.amends for s in way.registry.submissions] == ["", birth.reference]
    assert await submitted_keys(way) == [":1", ":2"]


# -------------------------------------------------------------------------------- withdrawn in flight (F 23)


async def test_a_withdrawal_in_process_is_asked_of_the_registry_and_waits_for_its_word(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    assert await way.state() is State.IN_PROCESS
    await way.step(Kind.ACT)
    (act,) = way.registry.acted
    birth = await way.birth()
    assert (act.kind, act.reference, act.revision) == (ActKind.WITHDRAW, birth.reference, 1)
    assert birth.state is State.IN_PROCESS
    assert Kind.ACT.value in await way.open_kinds()
    await told(way, RegistryStatus.WITHDRAWN, ActStatus.GRANTED, ActKind.WITHDRAW)
    assert await way.state() is State.CANCELLED
    await way.hurry()
    await way.step(Kind.ACT)
    assert len(way.registry.acted) == 1
    assert Kind.ACT.value not in await way.open_kinds()


async def test_a_withdrawal_granted_at_once_ends_the_birth(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    way.registry.on_act.append(ActStatus.GRANTED)
    await way.step(Kind.ACT)
    birth = await way.birth()
    assert (birth.state, birth.at_registry) == (State.CANCELLED, 0)
    assert (await act_of(way, ActKind.WITHDRAW)).status == "granted"


async def test_what_is_withdrawn_twice_is_asked_once(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    await way.tell(notice("A11", sent=LATEST, segments=("PV1",)))
    await way.step(Kind.ASSIGN)
    await way.step(Kind.ACT)
    assert await way.count("acts") == 1
    assert len(way.registry.acted) == 1


async def test_a_case_issued_while_its_withdrawal_was_under_way_is_for_the_office(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    assert await way.state() is State.REVOCATION_REVIEW
    assert (await act_of(way, ActKind.WITHDRAW)).status == "refused"
    await way.work()
    assert way.registry.acted == []


async def test_a_refused_withdrawal_lets_the_case_go_on_and_what_is_issued_is_for_the_office(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    await way.step(Kind.ACT)
    await told(way, RegistryStatus.IN_PROCESS, ActStatus.REFUSED, ActKind.WITHDRAW, code="PERLU_HADIR")
    birth = await way.birth()
    assert birth.state is State.IN_PROCESS
    assert "ACT_REFUSED" in {f["code"] for f in birth.findings}
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    assert await way.state() is State.REVOCATION_REVIEW


async def test_told_again_while_its_withdrawal_is_decided_waits_and_then_counts(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    await way.step(Kind.ACT)
    await way.tell(notice("A01", sent=LATEST))
    await way.step(Kind.ASSIGN)
    assert (await way.task(Kind.ASSIGN))["last_error"] == "REGISTRY_HAS_IT"
    await told(way, RegistryStatus.IN_PROCESS, ActStatus.REFUSED, ActKind.WITHDRAW)
    await way.step(Kind.ASSIGN)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    assert await way.state() is State.ISSUED


async def test_what_the_registry_asked_data_for_is_withdrawn_there_and_not_only_here(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="BERKAS_KURANG")
    assert await way.state() is State.HOLD_DATA
    await withdrawn(way)
    assert await way.state() is State.IN_PROCESS
    way.registry.on_act.append(ActStatus.GRANTED)
    await way.step(Kind.ACT)
    assert await way.state() is State.CANCELLED


async def test_a_withdrawal_stops_an_amendment_that_was_being_prepared(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    await way.tell(notice("A11", sent=LATEST, segments=("PV1",)))
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.IN_PROCESS
    await way.work()
    assert await submitted_keys(way) == [":1"]
    assert [a.kind for a in way.registry.acted] == [ActKind.WITHDRAW]


# -------------------------------------------------------------------------------- one key, asked before resent


async def test_an_act_whose_answer_was_lost_is_asked_about_and_not_sent_again_where_it_arrived(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    way.registry.loses_act = RegistryUnknownOutcomeError("lost")
    with pytest.raises(RegistryUnknownOutcomeError):
        await way.step(Kind.ACT)
    await way.hurry()
    way.registry.asked.clear()
    await way.step(Kind.ACT)
    assert len(way.registry.asked) == 1
    assert len(way.registry.acted) == 1
    assert (await act_of(way, ActKind.WITHDRAW)).status == "accepted"


async def test_an_act_that_got_lost_goes_again_with_the_same_key_and_bytes(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    way.registry.on_act.append(RegistryUnknownOutcomeError("lost"))
    with pytest.raises(RegistryUnknownOutcomeError):
        await way.step(Kind.ACT)
    await way.hurry()
    await way.step(Kind.ACT)
    first, second = way.registry.acted
    assert first == second
    assert len(way.registry.asked) == 1


async def test_an_act_cut_off_before_it_was_sent_is_asked_about_first(way: Journey) -> None:
    """As after kill -9 between writing the try down and the call."""
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)

    async def killed(_call: str) -> None:
        raise SystemExit

    way.registry.during = killed
    with pytest.raises(SystemExit):
        await way.step(Kind.ACT)
    await way.hurry()
    way.registry.asked.clear()
    await way.step(Kind.ACT)
    assert len(way.registry.asked) == 1
    assert way.registry.acted[0] == way.registry.acted[1]


async def test_an_act_that_did_not_reach_the_registry_is_not_asked_about(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await withdrawn(way)
    way.registry.on_act.append(RegistryUnavailableError("down"))
    with pytest.raises(RegistryUnavailableError):
        await way.step(Kind.ACT)
    await way.hurry()
    way.registry.asked.clear()
    await way.step(Kind.ACT)
    assert way.registry.asked == []
    assert len(way.registry.acted) == 2


# -------------------------------------------------------------------------- corrected after issue (F 19, 79)


async def under_review(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await renamed(way)
    assert await way.state() is State.AMENDMENT_REVIEW


async def test_a_change_after_issue_reaches_the_registry_only_by_a_person(way: Journey) -> None:
    await under_review(way)
    await way.work()
    assert way.registry.acted == []
    plan = await legal.amend(way.desk(), (await way.birth()).id, basis="clerical")
    assert (plan.kind, plan.paths) == (ActKind.CORRECT, ("child.name",))
    await way.step(Kind.ACT)
    (act,) = way.registry.acted
    assert (act.kind, act.revision) == (ActKind.CORRECT, 2)
    assert b'"basis":"clerical"' in act.payload
    assert await way.state() is State.AMENDMENT_REVIEW  # the office decides


async def test_a_granted_correction_brings_a_replacement_to_the_hospital(way: Journey) -> None:
    await under_review(way)
    before = await way.birth()
    await legal.amend(way.desk(), before.id, basis="clerical")
    await way.step(Kind.ACT)
    corrected = certificate(NEW_NUMBER)
    for _ in range(2):  # told twice
        await told(way, RegistryStatus.ISSUED, ActStatus.GRANTED, ActKind.CORRECT, revision=2, certificate=corrected)
    assert await way.state() is State.ISSUED
    way.hospital.received.clear()
    await way.work()
    assert await way.state() is State.DELIVERED
    replacement, identity = way.hospital.received
    assert b"MDM^T10" in replacement
    assert b"|3510-LU-21032025-9002^DUKCAPIL3510|3510-LU-20032025-9001^DUKCAPIL3510|" in replacement
    assert b"AHMAD RIZQI PRATAMA" in replacement
    assert b"ADT^A31" in identity
    assert await way.count("earlier_certificates") == 1


async def test_late_news_of_the_certificate_before_change_nothing(way: Journey) -> None:
    await under_review(way)
    await legal.amend(way.desk(), (await way.birth()).id, basis="clerical")
    await way.step(Kind.ACT)
    corrected = certificate(NEW_NUMBER)
    await told(way, RegistryStatus.ISSUED, ActStatus.GRANTED, ActKind.CORRECT, revision=2, certificate=corrected)
    before = await way.snapshot()
    await way.settle(RegistryStatus.ISSUED, revision=1, certificate=certificate())
    assert await way.snapshot() == before


async def test_another_certificate_that_nobody_asked_for_is_still_not_applied(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await way.settle(RegistryStatus.ISSUED, certificate=certificate(NEW_NUMBER))
    assert await way.state() is State.AMENDMENT_REVIEW
    assert await way.count("earlier_certificates") == 0


async def test_a_correction_that_names_another_child_is_laid_before_a_person(way: Journey) -> None:
    await under_review(way)
    await legal.amend(way.desk(), (await way.birth()).id, basis="clerical")
    await way.step(Kind.ACT)
    other = certificate(NEW_NUMBER, child_nik=type(certificate().child_nik)("3510161103259002"))
    await told(way, RegistryStatus.ISSUED, ActStatus.GRANTED, ActKind.CORRECT, revision=2, certificate=other)
    assert await way.state() is State.AMENDMENT_REVIEW
    assert await way.count("earlier_certificates") == 0


async def test_a_refused_correction_leaves_the_akta_and_says_why(way: Journey) -> None:
    await under_review(way)
    birth = await way.birth()
    await legal.amend(way.desk(), birth.id, basis="court", order="12/Pdt.P/2025/PN Byw")
    await way.step(Kind.ACT)
    await told(way, RegistryStatus.ISSUED, ActStatus.REFUSED, ActKind.CORRECT, code="DASAR_TIDAK_CUKUP",
               certificate=certificate())  # fmt: skip
    after = await way.birth()
    assert after.state is State.AMENDMENT_REVIEW
    assert any(f["code"] == "ACT_REFUSED" and "DASAR_TIDAK_CUKUP" in f["message"] for f in after.findings)
    assert await legal.keep_issued(way.desk(), birth.id) is State.DELIVERED


async def test_only_one_act_of_a_birth_is_open(way: Journey) -> None:
    await under_review(way)
    birth = await way.birth()
    await legal.amend(way.desk(), birth.id, basis="clerical")
    for again in (legal.amend(way.desk(), birth.id, basis="clerical"), legal.withdraw(way.desk(), birth.id)):
        with pytest.raises(IllegalMoveError, match="still decides"):
            await again


# --------------------------------------------------------------------------------- revoked after issue (F 24)


async def test_a_cancellation_after_issue_reaches_the_registry_only_by_a_person(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await withdrawn(way)
    await way.work()
    assert await way.state() is State.REVOCATION_REVIEW
    assert way.registry.acted == []
    plan = await legal.withdraw(way.desk(), (await way.birth()).id)
    assert plan.kind is ActKind.REVOKE
    await way.step(Kind.ACT)
    assert await way.state() is State.REVOCATION_REVIEW  # the akta stays valid until the office decides
    await told(way, RegistryStatus.WITHDRAWN, ActStatus.GRANTED, ActKind.REVOKE)
    assert await way.state() is State.CANCELLED
    way.hospital.received.clear()
    await way.work()
    (letter,) = way.hospital.received
    assert b"MDM^T11" in letter
    assert b"3510-LU-20032025-9001" in letter


async def test_what_the_registry_revoked_by_itself_is_told_to_the_hospital_once_a_person_agreed(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await way.settle(RegistryStatus.WITHDRAWN)
    assert await way.state() is State.REVOCATION_REVIEW
    birth = await way.birth()
    with pytest.raises(IllegalMoveError, match="revoked"):
        await legal.keep_issued(way.desk(), birth.id)
    plan = await legal.withdraw(way.desk(), birth.id)
    assert plan.kind is None
    way.hospital.received.clear()
    await way.work()
    assert [b"MDM^T11" in letter for letter in way.hospital.received] == [True]
    assert way.registry.acted == []
    assert await way.state() is State.CANCELLED


async def test_a_birth_told_anew_after_its_akta_was_revoked_is_laid_before_a_person(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await way.settle(RegistryStatus.WITHDRAWN)
    await legal.withdraw(way.desk(), (await way.birth()).id)
    await way.work()
    assert await way.state() is State.CANCELLED
    await way.tell(notice(sent=LATER))
    await way.work()
    assert await way.state() is State.REVOCATION_REVIEW
    assert "told anew after its akta was revoked" in (await way.events())[-1]["reason"]


# --------------------------------------------------------------------------- what the registry issued wins (F 97)


async def test_the_issued_spelling_is_kept_and_its_difference_told_to_the_ward(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.ISSUED, certificate=issued_otherwise(child_name="AHMAD RIZKY PRATAMA"))
    birth = await way.birth()
    assert birth.state is State.ISSUED
    assert birth.record.child.name == Personal("AHMAD RIZKY PRATAMA")
    assert birth.record.provenance["child.name"] == "registry"
    assert any(f["code"] == "CERTIFICATE_DIFFERS" and "child.name" in f["message"] for f in birth.findings)
    await way.work()
    letter, identity = way.hospital.received
    assert b"AHMAD RIZKY PRATAMA" in letter
    assert b"|BEDA_DATA^" in letter
    assert b"AHMAD RIZKY PRATAMA" in identity
    assert await way.state() is State.DELIVERED


async def test_a_hospital_that_repeats_its_own_spelling_opens_no_review_but_a_new_one_does(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.ISSUED, certificate=issued_otherwise(child_name="AHMAD RIZKY PRATAMA"))
    await way.work()
    await renamed(way, changes=HEAVIER)
    assert await way.state() is State.DELIVERED
    assert (await way.birth()).record.child.name == Personal("AHMAD RIZKY PRATAMA")
    await renamed(way, sent=LATEST)
    assert await way.state() is State.AMENDMENT_REVIEW


async def test_the_same_words_in_other_capitals_and_spaces_are_no_difference(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    same = issued_otherwise(child_name="Ahmad  Rizki Pratama", child_born_on="2025-03-11", child_sex="L")
    await way.settle(RegistryStatus.ISSUED, certificate=same)
    birth = await way.birth()
    assert (birth.revision, [f["code"] for f in birth.findings if f["code"] == "CERTIFICATE_DIFFERS"]) == (1, [])


# ------------------------------------------------------------------------------------------------ documents


async def test_documents_the_registry_asked_for_are_sent_by_a_person(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.settle(RegistryStatus.NEEDS_DATA, reason="BERKAS_KURANG")
    birth = await way.birth()
    with pytest.raises(IllegalMoveError, match="none are here"):
        await legal.amend(way.desk(), birth.id, basis="clerical")
    async with way.database.transaction() as connection:
        await connection.execute(
            """INSERT INTO attachments (birth_id, place, kind, mime, size, sha256, pointer, content, actor)
               VALUES ($1, 'OBX', 'KK', 'application/pdf', 4, $2, '', $3, 'form')""",
            birth.id,
            "ab" * 32,
            b"%PDF",
        )
    plan = await legal.amend(way.desk(), birth.id, basis="clerical")
    assert plan.digests == ("ab" * 32,)
    way.registry.on_act.append(ActStatus.GRANTED)
    await way.step(Kind.ACT)
    (act,) = way.registry.acted
    assert [(s.kind, s.content) for s in act.scans] == [("KK", b"%PDF")]
    assert await way.state() is State.IN_PROCESS


async def test_no_act_is_asked_of_a_registry_about_what_an_office_took_under_a_lease(way: Journey) -> None:
    await under_review(way)
    async with way.database.transaction() as connection:
        birth = await births.lock(connection, (await way.birth()).id)
        await births.set_way(connection, birth, way="lease", office="3510")
    with pytest.raises(IllegalMoveError, match="decides by its outcome"):
        await legal.amend(way.desk(), birth.id, basis="clerical")


async def test_an_act_that_nobody_asked_for_is_ignored(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    birth = await way.birth()
    before = await way.snapshot()
    outcome = Outcome(str(birth.id), 1, RegistryStatus.UNKNOWN, acts=(ActOutcome("other", ActStatus.GRANTED),))
    async with way.database.transaction() as connection:
        locked = await births.lock(connection, birth.id)
        await settle(way.context, connection, locked, replace(outcome), actor="registry", step="callback")
    assert await way.snapshot() == before


async def test_a_birth_whose_case_is_being_amended_is_not_merged_away(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await renamed(way)
    assert await way.state() is State.READY
    async with way.database.transaction() as connection:
        await connection.execute("DELETE FROM tasks")  # the amendment is not sent yet
    await way.tell(notice(record_number="00450999", same_mother=True))
    await way.step(Kind.ASSIGN)
    head = f"MSH|^~\\&|SIMRS|{HOSPITAL}|AKTAGW|DISDUKCAPIL 3510|{LATEST}||ADT^A40|M1|P|2.5"
    lines = (
        head,
        f"EVN|A40|{LATEST}",
        "PID|1||00450999^^^RSCEMPAKA^MR||||20250311|M",
        "MRG|00450121^^^RSCEMPAKA^MR",
        "",
    )
    await way.tell("\r".join(lines).encode())
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.READY
    assert (await way.task(Kind.ASSIGN))["last_error"] == "REGISTRY_HAS_IT"

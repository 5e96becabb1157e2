"""What the registry said, applied: the same twice changes nothing, and a second certificate is for a person."""

from __future__ import annotations

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.pipeline import operate
from gateway.store import submissions
from gateway.store.queue import Kind
from tests.integration.steps import LATER, LATEST
from tests.simulators.journey import RENAMED, Journey, notice
from tests.simulators.scripted_registry import certificate


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

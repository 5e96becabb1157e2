"""What an operator may do to a birth on its way: hold, release, retry, cancel; and what is refused."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.errors import IllegalMoveError, LeaseLostError, RegistryUnavailableError
from gateway.pipeline import operate
from gateway.store import births
from gateway.store.queue import Kind
from tests.integration.steps import LATER, sealed
from tests.simulators.facilities import CLINIC
from tests.simulators.journey import RENAMED, Journey, journey, notice
from tests.simulators.scripted_registry import checks

if TYPE_CHECKING:
    from pathlib import Path


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

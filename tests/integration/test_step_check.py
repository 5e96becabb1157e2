"""The step check: what the registry finds wrong with the parents holds a birth; an opinion that came late does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.errors import LeaseLostError
from gateway.hl7.location import Location
from gateway.pipeline import operate
from gateway.store import births
from gateway.store.queue import Kind
from tests.integration.steps import LATER
from tests.simulators.journey import RENAMED, Journey, notice
from tests.simulators.scripted_registry import checks

if TYPE_CHECKING:
    from gateway.contract.ports import ParentCheck


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

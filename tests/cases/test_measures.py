"""Cases 78 to 82: the child's sex, and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.seen import born, edited, obx, plus, seen, without
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from tests.simulators.journey import Journey

BARE = without(notice(), "OBX", "ZKL")


@case(78)
@pytest.mark.parametrize("sex", ["U", "A", "O", "N", ""])
def test_f078_a_sex_that_is_neither_is_held(sex: str) -> None:
    """Unknown, ambiguous or other: held, with the medical letter named; the form has only two."""
    told = seen(born({"PID-8": sex}))
    assert told.state is State.HOLD_DATA
    assert "SEX_UNKNOWN" in told.codes
    assert "surat keterangan medis" in told.texts["SEX_UNKNOWN"]
    assert told.record.child.sex is None


@case(79)
async def test_f079_a_sex_corrected_after_issue_is_for_an_officer(way: Journey) -> None:
    """After issue another sex changes nothing by itself: an officer decides, the akta stays."""
    await way.reach(State.DELIVERED)
    later = edited(notice("A08", sent="20250312093000+0700"), {"PID-8": "F"})
    assert "ALREADY_ISSUED" in seen(later, known=State.DELIVERED).codes
    await way.tell(later)
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.AMENDMENT_REVIEW
    assert len(way.registry.submissions) == 1


@case(80)
@pytest.mark.parametrize(
    ("value", "unit"), [("3,15", "kg"), ("3.15", ""), ("3150", "g"), ("3,15 kg", ""), ("3150 gr", "")]
)
def test_f080_a_weight_is_read_as_grams_whatever_its_unit(value: str, unit: str) -> None:
    """Kilograms, a comma, a unit behind the number: the weight is kept in grams."""
    told = seen(plus(BARE, obx("8339-4", value, unit=unit)))
    assert told.record.child.weight_g == 3150


@case(80)
@pytest.mark.parametrize("value", ["32000", "120", "berat"])
def test_f080_a_weight_nobody_has_is_a_warning(value: str) -> None:
    """What is out of range, or is no number, is said and holds nothing."""
    told = seen(plus(BARE, obx("8339-4", value, unit="g")))
    assert (told.code, told.state) == ("AA", State.READY)
    assert "WEIGHT_RANGE" in told.codes


@case(81)
def test_f081_a_preliminary_result_is_kept_and_not_submitted() -> None:
    """OBX-11 P: the value is kept, the birth waits for the final one."""
    told = seen(plus(BARE, obx("8339-4", "3150", unit="g", status="P")))
    assert told.record.child.weight_g == 3150
    assert (told.code, told.state) == ("AA", State.HOLD_DATA)
    assert "OBSERVATION_PRELIMINARY" in told.codes


@case(81)
@pytest.mark.parametrize("status", ["D", "W", "X"])
async def test_f081_a_deleted_or_wrong_result_goes(way: Journey, status: str) -> None:
    """OBX-11 D, W or X takes back what was said before."""
    await way.tell(without(notice(), "ZKL"))
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).record.child.weight_g == 3150
    raw = plus(
        without(notice("A08", sent="20250312093000+0700"), "OBX", "ZKL"), obx("8339-4", "3150", unit="g", status=status)
    )
    await way.tell(raw)
    await way.step(Kind.ASSIGN)
    assert (await way.birth()).record.child.weight_g is None


@case(82)
def test_f082_of_two_results_the_later_counts_and_a_correction_beats_both() -> None:
    """The same OBX twice: the last by OBX-14, then by order; a corrected one (C) beats final ones (F)."""
    first, last = "20250311042000", "20250311052000"
    by_time = plus(BARE, obx("8339-4", "3300", unit="g", at=last), obx("8339-4", "3150", unit="g", at=first))
    by_order = plus(BARE, obx("8339-4", "3150", unit="g", at=first), obx("8339-4", "3300", unit="g", at=first))
    corrected = plus(
        BARE, obx("8339-4", "3200", unit="g", status="C", at=first), obx("8339-4", "3300", unit="g", at=last)
    )
    weights = [seen(raw).record.child.weight_g for raw in (by_time, by_order, corrected)]
    assert weights == [3300, 3300, 3200]

"""A record number used again, told from a correction; two mothers, told from one misspelt (domain A.6, F 10 to 17)."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.masked import Nik, Personal
from gateway.contract.record import PluralityKind, Sex
from gateway.verify.reuse import RULES, Reuse, Telling, affirms, are_two_mothers, contradiction, reused
from tests.simulators.records import birth_record, child, mother

TODAY = dt.date(2025, 3, 20)
TWIN: dict[str, Any] = {"plurality": PluralityKind.TWIN}
OTHER: dict[str, Any] = {
    "name": Personal("DEWI LESTARI"), "nik": Nik("3510137101909001"), "born_on": dt.date(1990, 1, 31),
    "family_card": None,
}  # fmt: skip


def look(
    known: dict[str, Any],
    told: dict[str, Any],
    *,
    hers: dict[str, Any] | None = None,
    opens: bool = False,
    on: tuple[dt.date, dt.date] = (dt.date(2025, 3, 11), dt.date(2025, 3, 12)),
) -> Reuse | None:
    before = birth_record(child=child(**known))
    now = birth_record(child=child(**told), mother=mother(**(hers or {})))
    return reused(Telling(before, on[0]), Telling(now, on[1]), opens=opens, today=TODAY)


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize(
    ("known", "told", "hers", "rule"),
    [
        ({}, {}, OTHER, "other-mother"),
        ({}, {}, {"nik": OTHER["nik"], "born_on": OTHER["born_on"]}, "other-mother"),  # two women of one name
        ({}, {}, {"nik": None, "name": OTHER["name"], "born_on": OTHER["born_on"]}, "other-mother"),
        (TWIN, {**TWIN, "birth_order": 2, "born_at": "04:19"}, {}, "other-order"),
        (TWIN, {**TWIN, "birth_order": 2, "sex": Sex.FEMALE}, {}, "other-order"),
        (TWIN, {**TWIN, "birth_order": 2, "weight_g": 2400}, {}, "other-order"),
        ({"birth_order": None}, {**TWIN, "birth_order": 2, "sex": Sex.FEMALE, "weight_g": 2400}, {}, "other-twin"),
        ({}, {"sex": Sex.FEMALE, "born_at": "09:40", "weight_g": 2400}, {}, "other-baby"),
    ],
)
def test_another_baby_is_told_from_the_known_one(
    known: dict[str, Any], told: dict[str, Any], hers: dict[str, Any], rule: str, *, opens: bool
) -> None:
    seen = look(known, told, hers=hers, opens=opens)
    assert seen is not None
    assert seen.rule == rule
    assert seen.rule in RULES
    assert seen.reasons


@pytest.mark.parametrize(
    ("known", "told", "hers"),
    [
        (TWIN, {**TWIN, "birth_order": 2}, {}),  # nothing else differs: of an update a correction
        ({}, {"sex": Sex.FEMALE, "born_at": "09:40"}, {}),  # so far: twins not told to be
        ({}, {"born_at": "09:40"}, {"nik": OTHER["nik"]}),
    ],
)
def test_a_notice_is_another_babys_sooner_than_an_update(
    known: dict[str, Any], told: dict[str, Any], hers: dict[str, Any]
) -> None:
    assert look(known, told, hers=hers, opens=True) is not None
    assert look(known, told, hers=hers, opens=False) is None


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize(
    ("told", "hers"),
    [
        ({}, {}),
        ({}, {"nik": OTHER["nik"]}),  # her NIK was another's
        ({}, {"nik": Nik("3510165203959010")}),
        ({}, {"nik": Nik("3510160407929001")}),  # her husband's
        ({}, {"name": Personal("NUR HASANAH")}),
        ({}, {"name": Personal("NY. S. AMINAH"), "born_on": dt.date(1995, 12, 3)}),
        ({}, {"name": Personal("SITI AMINAH BINTI SALEH"), "nik": OTHER["nik"]}),
        ({}, {"nik": None, "name": None}),
        ({"name": Personal("BY NY SITI AMINAH")}, {}),
        ({"name": Personal("MUHAMMAD HASAN"), "weight_g": 3510}, {}),
        ({"sex": Sex.FEMALE}, {}),
        ({"sex": Sex.FEMALE, "name": Personal("AISYAH")}, {"name": Personal("SITI AMINA")}),
        ({"born_on": dt.date(2025, 3, 10), "born_at": "23:50"}, {}),  # over midnight
        ({"born_on": dt.date(2025, 3, 8)}, {}),
        ({"born_on": dt.date(2025, 2, 27), "born_at": "09:40"}, {}),  # no woman has two deliveries in two weeks
        ({"born_on": dt.date(1995, 3, 12)}, {}),  # the mother's birth date
        ({"born_at": "16:15", "weight_g": 2400}, {}),
        ({"born_on": None, "born_at": None, "utc_offset": None, "sex": None, "weight_g": None}, {}),
    ],
)
def test_a_correction_is_no_other_baby(told: dict[str, Any], hers: dict[str, Any], *, opens: bool) -> None:
    assert look({}, told, hers=hers, opens=opens) is None


def test_a_twin_may_be_told_to_be_one_and_its_order_be_corrected_by_an_update() -> None:
    assert look({"birth_order": None}, {**TWIN, "birth_order": 2}) is None
    assert look({}, {**TWIN, "birth_order": 2}) is None
    assert look({**TWIN, "birth_order": 2}, {**TWIN, "birth_order": 1}) is None


def test_a_foundlings_mother_becoming_known_is_no_other_mother() -> None:
    before = birth_record(mother=None)
    told = birth_record(mother=mother(**OTHER))
    assert reused(Telling(before, TODAY), Telling(told, TODAY), opens=True, today=TODAY) is None
    assert reused(Telling(told, TODAY), Telling(before, TODAY), opens=True, today=TODAY) is None


@pytest.mark.parametrize("opens", [True, False])
def test_the_next_baby_of_a_mother_is_another_whichever_is_told_first(*, opens: bool) -> None:
    days = (dt.date(2025, 3, 11), dt.date(2026, 1, 15))
    for first, second in (days, days[::-1]):
        seen = look({"born_on": first}, {"born_on": second}, on=(first, second), opens=opens)
        assert seen is not None
        assert seen.rule == "other-delivery"


def test_born_a_year_to_the_day_later_is_no_slip_of_the_finger() -> None:
    later = dt.date(2026, 3, 11)
    seen = look({}, {"born_on": later}, on=(dt.date(2025, 3, 12), later))
    assert seen is not None
    assert seen.rule == "other-delivery"
    assert look({}, {"born_on": later}) is None  # told the day after: a year mistyped, and held for it


def test_a_doubtful_date_shows_no_other_delivery() -> None:
    assert look({"born_on": dt.date(1995, 3, 12)}, {}, on=(TODAY, TODAY)) is None
    assert reused(Telling(birth_record(), None), Telling(birth_record(), None), opens=True, today=TODAY) is None


def test_a_baby_is_named_beyond_doubt_by_mother_and_day() -> None:
    assert affirms(birth_record(), birth_record(), today=TODAY)
    assert affirms(birth_record(), birth_record(mother=mother(nik=None)), today=TODAY)
    assert not affirms(birth_record(), birth_record(mother=None), today=TODAY)
    assert not affirms(birth_record(), birth_record(mother=mother(**OTHER)), today=TODAY)
    assert not affirms(birth_record(), birth_record(child=child(born_on=None)), today=TODAY)


@pytest.mark.parametrize(
    ("hers", "two"),
    [
        ({}, False),
        ({"nik": OTHER["nik"]}, True),  # one mark is enough for a merge
        ({"nik": Nik("3510165203959010")}, False),  # a slip
        ({"nik": None, "name": OTHER["name"]}, True),
        ({"nik": None, "born_on": OTHER["born_on"]}, True),
        ({"name": OTHER["name"]}, False),  # one NIK, one woman
        ({"nik": None, "name": Personal("SITI AMINA")}, False),
        ({"nik": None, "name": None, "born_on": None}, False),
    ],
)
def test_when_a_merge_is_of_two_mothers_babies(hers: dict[str, Any], *, two: bool) -> None:
    one, other = birth_record(), birth_record(mother=mother(**hers))
    for a, b in itertools.permutations((one, other)):
        assert bool(are_two_mothers(a, b, today=TODAY)) is two
        assert bool(contradiction(a, b, {State.READY}, today=TODAY)) is two


def test_another_family_card_is_another_mother_unless_she_is_known_to_be_the_same() -> None:
    one = birth_record(mother=mother(nik=None, born_on=None))
    other = one.model_copy(update={"family_card": Personal("3510161405189077")})
    assert are_two_mothers(one, other, today=TODAY) == ("FAMILY_CARD_DIFFERS",)
    known = birth_record(mother=mother(nik=None))
    moved = known.model_copy(update={"family_card": Personal("3510161405189077")})
    assert are_two_mothers(known, moved, today=TODAY) == ()


def test_a_withdrawn_baby_is_merged_with_what_differs_but_never_another_mothers() -> None:
    one, girl = birth_record(), birth_record(child=child(sex=Sex.FEMALE))
    assert contradiction(one, girl, {State.READY}, today=TODAY) == ("BABIES_DIFFER",)
    assert contradiction(one, girl, {State.READY, State.CANCELLED}, today=TODAY) == ()
    other = birth_record(mother=mother(**OTHER))
    assert contradiction(one, other, {State.READY, State.CANCELLED}, today=TODAY)

"""Twin, duplicate, contradiction or strangers: the rules (domain A.6, F 1 to 9, 62)."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.masked import Nik, Personal
from gateway.contract.record import Event, PluralityKind, Sex
from gateway.verify.likeness import (
    RULES,
    Mother,
    Verdict,
    compare,
    is_set_told,
    is_slip,
    name_key,
    order_of,
    same_mother,
    strongest,
)
from tests.identity.pairs import KINDS, Maker, soiled
from tests.simulators.records import birth_record, child, mother

if TYPE_CHECKING:
    from gateway.contract.record import BirthRecord
    from gateway.verify.likeness import Likeness

TODAY = dt.date(2025, 3, 20)
SEVERAL: dict[str, Any] = {"plurality": PluralityKind.TWIN}


def baby(*, of: dict[str, Any] | None = None, **changes: Any) -> BirthRecord:
    return birth_record(child=child(medical_record=Personal("2"), **changes), mother=mother(**(of or {})))


def told(one: BirthRecord, other: BirthRecord, **more: Any) -> Likeness:
    return compare(one, other, today=TODAY, **more)


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ({}, {}, "alike"),
        ({}, {"born_at": "04:20", "name": Personal("BY NY SITI AMINAH")}, "alike"),
        ({}, {"born_at": "16:15"}, "alike"),
        ({}, {"born_at": "04:51", "weight_g": 3150}, "alike"),
        ({}, {"born_at": None, "utc_offset": None}, "alike"),
        ({}, {"utc_offset": "+08:00"}, "alike"),
        ({}, {"born_at": "09:40", "weight_g": 2600, "name": Personal("BUDIMAN ARYA")}, "two-in-a-day"),
        ({}, {"born_at": "09:40", "weight_g": 2600, "sex": Sex.FEMALE}, "two-in-a-day"),
        ({}, {"sex": Sex.FEMALE}, "sex-mistyped"),
        ({}, {"born_on": dt.date(2025, 3, 17)}, "date-mistyped"),
        ({}, {"born_on": dt.date(2025, 11, 3)}, "another-day"),
        ({}, {"born_on": dt.date(2024, 3, 11), "weight_g": 2900}, "another-day"),
        ({}, {"born_on": None}, "date-untold"),
        (SEVERAL, {**SEVERAL, "birth_order": 2}, "orders-differ"),
        (SEVERAL, {**SEVERAL, "birth_order": 2, "born_on": dt.date(2025, 3, 12), "born_at": "00:04"}, "orders-differ"),
        ({}, {**SEVERAL, "birth_order": 2}, "orders-differ"),
        (SEVERAL, SEVERAL, "same-order-one-baby"),
        (SEVERAL, {**SEVERAL, "weight_g": 2300}, "same-order"),
        (SEVERAL, {**SEVERAL, "born_at": "04:31", "weight_g": 3170}, "same-order"),
        (SEVERAL, {**SEVERAL, "sex": Sex.FEMALE}, "same-order"),
        (SEVERAL, {**SEVERAL, "birth_order": None}, "order-untold"),
        (SEVERAL, {**SEVERAL, "birth_order": None, "weight_g": 2300}, "siblings"),
        (SEVERAL, {**SEVERAL, "birth_order": None, "sex": Sex.FEMALE}, "siblings"),
        ({"nik": Nik("3510161103259001")}, {"nik": Nik("3510161103259001"), "birth_order": None}, "child-nik"),
    ],
)
def test_rules_of_one_mother(one: dict[str, Any], other: dict[str, Any], rule: str) -> None:
    seen = told(birth_record(child=child(**one)), baby(**other))
    assert seen.rule == rule, seen
    assert seen.verdict is RULES[rule][0]


def test_twins_tell_what_they_contradict_each_other_in() -> None:
    one = birth_record(child=child(**SEVERAL))
    seen = told(one, baby(**SEVERAL | {"birth_order": 2}))
    assert (seen.verdict, "NAME_SAME" in {r.code for r in seen.reasons}) == (Verdict.TWIN, True)
    single = told(birth_record(child=child(plurality=PluralityKind.SINGLE)), baby(**SEVERAL | {"birth_order": 2}))
    assert "PLURALITY_DIFFERS" in {r.code for r in single.reasons}


def test_two_mothers_called_nobody_are_not_one() -> None:
    nobody = {"name": Personal("TIDAK ADA"), "nik": None, "born_on": None}
    seen = told(birth_record(mother=mother(**nobody)), baby(of=nobody))
    assert seen.rule == "other-mother"
    assert name_key(baby(of=nobody)) == ""


def test_a_set_told_whole_makes_one_more_without_order_a_duplicate() -> None:
    seen = told(birth_record(child=child(**SEVERAL)), baby(**SEVERAL, birth_order=None), complete=True)
    assert (seen.rule, seen.verdict) == ("set-told-already", Verdict.SUSPECT)


def test_a_stillborn_twin_is_a_twin_and_a_single_one_contradicts() -> None:
    still = baby(**(SEVERAL | {"birth_order": 2})).model_copy(update={"event": Event.STILLBIRTH})
    assert told(birth_record(child=child(**SEVERAL)), still).verdict is Verdict.TWIN
    assert told(birth_record(), baby().model_copy(update={"event": Event.STILLBIRTH})).rule == "two-in-a-day"


@pytest.mark.parametrize(
    ("hers", "relation"),
    [
        ({}, Mother.SAME),
        ({"name": Personal("NY. SITI AMINAH"), "born_on": None}, Mother.SAME),
        ({"nik": Nik("3510165203959002")}, Mother.OTHER),
        ({"nik": None}, Mother.LIKELY),
        ({"nik": Nik("351016520395900")}, Mother.LIKELY),
        ({"nik": None, "born_on": dt.date(1995, 12, 3)}, Mother.LIKELY),  # day and month exchanged; one family card
        ({"nik": None, "born_on": dt.date(1990, 5, 30)}, Mother.OTHER),
        ({"nik": None, "name": Personal("DEWI LESTARI")}, Mother.OTHER),
        ({"nik": Nik("3510160407929001")}, Mother.LIKELY),  # her husband's
        ({"name": Personal("DEWI LESTARI")}, Mother.POSSIBLE),  # one number, two women
        ({"name": None, "nik": None}, Mother.OTHER),
    ],
)
def test_when_two_notices_have_one_mother(hers: dict[str, Any], relation: Mother) -> None:
    assert same_mother(birth_record(), baby(of=hers), today=TODAY)[0] is relation


def test_a_foreign_mother_is_known_by_her_passport() -> None:
    abroad = {"nik": None, "travel_document": Personal("X1234567")}
    one = birth_record(mother=mother(**abroad))
    assert same_mother(one, baby(of=abroad), today=TODAY)[0] is Mother.SAME
    other = baby(of=abroad | {"travel_document": Personal("X7654321")})
    assert same_mother(one, other, today=TODAY)[0] is Mother.OTHER


def test_a_name_alone_needs_a_baby_that_agrees() -> None:
    bare = {"nik": None, "born_on": None}
    one = birth_record(mother=mother(**bare), father=None, family_card=None)

    def other(**changes: Any) -> BirthRecord:
        return baby(of=bare, **changes).model_copy(update={"father": None, "family_card": None})

    assert told(one, other()).rule == "same-name-alike"
    assert told(one, other(weight_g=2600, name=Personal("BY NY SITI"))).rule == "same-name"
    assert told(one, other(born_at="09:00")).rule == "same-name"


def test_the_hospital_of_birth_is_the_one_that_wrote_down_the_birth() -> None:
    there = baby(attendant=None)
    there = there.model_copy(
        update={"facility": there.facility.model_copy(update={"code": "RSIA KENANGA", "letter_number": None})}
    )
    assert (told(birth_record(), there).owner, told(there, birth_record()).owner) == (0, 1)
    assert told(birth_record(), baby()).owner == -1


def test_what_is_stored_holds_codes_and_numbers_only() -> None:
    stored = told(birth_record(), baby()).as_dict()
    assert set(stored) == {"verdict", "rule", "score", "reasons"}
    assert stored["score"] == sum(reason["weight"] for reason in stored["reasons"])
    assert "AMINAH" not in str(stored)


@pytest.mark.parametrize(
    ("one", "other", "slip"),
    [
        ("0415", "0451", True),
        ("0415", "0416", True),
        ("0415", "415", True),
        ("0415", "0415", False),
        ("0415", "1540", False),
        ("0415", "0154", False),
    ],
)
def test_slips(one: str, other: str, *, slip: bool) -> None:
    assert is_slip(one, other) is slip
    assert is_slip(other, one) is slip


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("BY NY SITI AMINAH II", 2),
        ("BAYI NY. RINA 1", 1),
        ("BY NY SITI B", 2),
        ("BY NY AMINAH", None),
        ("ARYA II", None),
    ],
)
def test_a_placeholder_may_tell_the_order(name: str, order: int | None) -> None:
    assert order_of(baby(**SEVERAL, birth_order=None, name=Personal(name))) == order


def test_an_order_is_read_from_a_placeholder_of_several_only() -> None:
    assert order_of(baby(birth_order=None, name=Personal("BY NY SITI AMINAH II"))) is None


@pytest.mark.parametrize("name", ["AMINAH SITI", "Siti  Aminah", "NY. SITI AMINAH", "SITIAMINAH"])
def test_one_name_has_one_key(name: str) -> None:
    assert name_key(baby(of={"name": Personal(name)})) == name_key(birth_record())


def test_a_placeholder_is_no_key() -> None:
    assert name_key(baby(of={"name": Personal("NN")})) == ""
    assert name_key(birth_record(mother=None)) == ""


def test_a_set_is_told_when_each_order_was() -> None:
    assert is_set_told([1, None, 2], PluralityKind.TWIN)
    assert not is_set_told([1, 1], PluralityKind.TWIN)
    assert not is_set_told([1, 3], PluralityKind.TWIN)
    assert not is_set_told([1, 2], PluralityKind.TRIPLET)
    assert not is_set_told([1], PluralityKind.SINGLE)


def test_of_several_verdicts_the_strongest_counts() -> None:
    assert strongest([Verdict.TWIN, Verdict.SUSPECT, Verdict.CONFLICT]) is Verdict.SUSPECT
    assert strongest([Verdict.TWIN, Verdict.CONFLICT]) is Verdict.CONFLICT
    assert strongest([]) is Verdict.NEW


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(sorted(KINDS)))
def test_a_verdict_does_not_depend_on_who_was_told_first(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    one, other = (soiled(record, rng) for record in KINDS[kind][1](Maker(rng)))
    there, back = compare(one, other, today=TODAY), compare(other, one, today=TODAY)
    assert (there.verdict, there.rule, there.reasons) == (back.verdict, back.rule, back.reasons)
    assert (there.owner, back.owner) in {(-1, -1), (0, 1), (1, 0)}


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(sorted(KINDS)))
def test_babies_with_two_orders_are_never_one(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    one, other = (soiled(record, rng) for record in KINDS[kind][1](Maker(rng)))
    other = other.model_copy(update={"child": other.child.model_copy(update={"birth_order": 2, **SEVERAL})})
    one = one.model_copy(update={"child": one.child.model_copy(update={"birth_order": 1})})
    if one.child.born_on and other.child.born_on and abs(one.child.born_on - other.child.born_on).days <= 1:
        assert compare(one, other, today=TODAY).verdict in (Verdict.TWIN, Verdict.NEW)

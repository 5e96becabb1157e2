"""What is missing is said exactly, and from whom; reporter and witnesses are judged by the rules of every NIK."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from gateway.contract.finding import Finding
from gateway.contract.masked import Nik, Personal
from gateway.contract.missing import ITEMS, described
from gateway.contract.record import Event, Participant
from gateway.contract.revision import leaves_of
from gateway.hl7.location import Location
from gateway.verify.missing import missing
from gateway.verify.people import check_people
from tests.simulators.records import FATHER_NIK, MOTHER_NIK, birth_record

TODAY = dt.date(2025, 3, 20)
SLAMET, ENDANG = "3510161508709001", "3510165811759001"


def witness(number: str = SLAMET, **changes: Any) -> Participant:
    return Participant(**{"name": Personal("SLAMET RIYADI"), "nik": Nik(number), **changes})


def lacking(*codes: str, **changes: Any) -> tuple[str, ...]:
    stored = [Finding(code).as_dict() for code in codes]
    return missing(leaves_of(birth_record(**changes)), stored, today=TODAY)


def codes(**changes: Any) -> list[str]:
    return [f.code for f in check_people(leaves_of(birth_record(**changes)), {}, today=TODAY)]


def test_a_birth_that_waits_for_nothing_lacks_nothing() -> None:
    assert lacking() == ()
    assert lacking("NAME_ONE_WORD", "NO_FATHER") == ()  # said, and holding nothing


@pytest.mark.parametrize(
    ("code", "item", "owner"),
    [
        ("NAME_PLACEHOLDER", "name", "parents"),
        ("NAME_TITLE", "name", "parents"),
        ("BIRTH_TIME", "birth_time", "hospital"),
        ("SEX_UNKNOWN", "sex", "hospital"),
        ("BIRTH_ORDER", "birth_order", "hospital"),
        ("MOTHER_MISSING", "mother", "hospital"),
        ("MOTHER_NAME_UNREADABLE", "mother_name", "hospital"),
        ("FATHER_NAME_UNREADABLE", "hospital_data", "hospital"),
        ("MOTHER_NIK_LENGTH", "mother_nik", "parents"),
        ("FATHER_NIK_NOT_FOUND", "father_nik", "parents"),
        ("OBSERVATION_PRELIMINARY", "final_result", "hospital"),
        ("REGISTRY_REFUSED", "office_request", "hospital"),
        ("MOTHER_OTHER_KABUPATEN", "decision", "office"),
        ("STILLBIRTH_GE_28W", "decision", "office"),
    ],
)
def test_each_hold_names_one_thing_and_its_owner(code: str, item: str, owner: str) -> None:
    assert lacking(code) == (item,)
    (told,) = described([item])
    assert (told["item"], told["from"]) == (item, owner)


def test_the_form_is_told_person_by_person() -> None:
    assert lacking("FORM_INCOMPLETE", reporter=None, witnesses=(), marriage=None) == (
        "reporter",
        "witness_1",
        "witness_2",
        "marriage",
    )
    assert lacking("FORM_INCOMPLETE", witnesses=(witness(),)) == ("witness_2",)
    assert lacking("FORM_INCOMPLETE", witnesses=(witness(), witness())) == ("witness_2",)
    assert lacking("FORM_INCOMPLETE", witnesses=(witness(MOTHER_NIK), witness(ENDANG))) == ("witness_1",)
    assert lacking("FORM_INCOMPLETE", witnesses=(witness("351016150870900"), witness(ENDANG))) == ("witness_1",)
    assert lacking("FORM_INCOMPLETE", father=None, marriage=None) == ()
    broken = witness(ENDANG, name=Personal("END\ufffdNG"))
    assert lacking("WITNESS_NAME_UNREADABLE", witnesses=(witness(), broken)) == ("witness_2",)
    assert lacking("REPORTER_NAME_UNREADABLE", reporter=broken) == ("reporter",)


def test_consent_is_named_and_holds_nothing() -> None:
    assert lacking(consent=None) == ("consent",)
    assert Finding("FORM_INCOMPLETE").entry.hold is not None
    assert lacking(consent=None, event=Event.STILLBIRTH) == ()


def test_what_a_person_took_responsibility_for_is_not_missing() -> None:
    stored = [Finding("MOTHER_OTHER_KABUPATEN").as_dict()]
    values = leaves_of(birth_record())
    assert missing(values, stored, accepted={"MOTHER_OTHER_KABUPATEN"}, today=TODAY) == ()


def test_every_item_has_its_words_in_both_languages() -> None:
    for item in ITEMS.values():
        assert item.text_id
        assert item.text_en
        assert item.text_id != item.text_en


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"reporter": witness("351016150870900")}, ["REPORTER_NIK_LENGTH"]),
        ({"reporter": witness("3510161508709O01")}, ["REPORTER_NIK_FORMAT"]),
        ({"reporter": witness("3510163102709001")}, ["REPORTER_NIK_DATE"]),
        ({"reporter": witness("9999161508709001")}, []),  # where a NIK was first issued is no matter here
        ({"reporter": witness("", citizenship="WNA")}, []),
        ({"witnesses": (witness(), witness())}, ["WITNESS_TWICE"]),
        ({"witnesses": (witness(), witness("3510 1615 0870 9001"))}, ["WITNESS_TWICE"]),
        ({"witnesses": (witness(FATHER_NIK), witness())}, ["WITNESS_IS_PARENT"]),
        ({"witnesses": (witness(), witness("3510160101109001"))}, ["WITNESS_AGE"]),
        ({"witnesses": (witness("3510162003049001"), witness())}, []),  # 21 today
        ({"witnesses": (witness("3510162103049001"), witness())}, ["WITNESS_AGE"]),  # 21 tomorrow
    ],
)
def test_reporter_and_witnesses_are_judged(changes: dict[str, Any], expected: list[str]) -> None:
    assert codes(**changes) == expected


def test_a_finding_tells_which_witness_and_where() -> None:
    values = leaves_of(birth_record(witnesses=(witness(), witness("35101615087090"))))
    (found,) = check_people(values, {}, today=TODAY)
    assert found.place == Location("ZKL", 1, 12)
    assert "witness II" in found.text("en")
    assert "saksi II" in found.text("id")
    assert "(ada 14)" in found.text("id")

"""What an office says it issued: each failure apart, nothing mended but blanks and small letters (B.1 to B.3)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from gateway.contract.record import Sex
from gateway.verify.akta import Issued, check_issued, read_issued
from tests.simulators.records import MOTHER_NIK, birth_record, child

TODAY = dt.date(2025, 3, 20)
GOOD = ("3510-LU-20032025-9001", "3510161103259001", "3510161405189001")


def checked(
    issued: Issued, *, reported_on: dt.date = TODAY, today: dt.date = TODAY, **record: Any
) -> tuple[list[str], list[str]]:
    errors, warnings = check_issued(issued, birth_record(**record), reported_on=reported_on, today=today)
    return [code for _, code in errors], [code for _, code in warnings]


def test_what_is_right_is_right() -> None:
    assert checked(read_issued(*GOOD)) == ([], [])


def test_small_letters_and_blanks_are_read_and_printed_as_they_should_be() -> None:
    issued = read_issued(" 3510-lu-2003 2025-9001", "3510 1611 0325 9001", "3510.1614.0518.9001")
    assert (issued.number, issued.child_nik, issued.family_card) == GOOD


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("3510-XX-20032025-9001", "ISSUED_NUMBER_FORM"),
        ("3510-LU-20032025-12", "ISSUED_NUMBER_FORM"),
        ("3510-LU-20032025-1234567", "ISSUED_NUMBER_FORM"),
        ("AL.500.0123456", "ISSUED_NUMBER_FORM"),
        ("3510-LU-30022025-9001", "ISSUED_NUMBER_DATE"),
        ("3510-LU-10032025-9001", "ISSUED_NUMBER_DATE"),
        ("3510-LU-21032025-9001", "ISSUED_NUMBER_DATE"),
        ("", "ISSUED_NUMBER_FORM"),
    ],
)
def test_a_number_that_cannot_be_is_told(number: str, code: str) -> None:
    assert checked(read_issued(number, *GOOD[1:])) == ([code], [])


@pytest.mark.parametrize("serial", ["001", "9001", "123456"])
def test_serials_of_three_to_six_digits_are_taken(serial: str) -> None:
    assert checked(read_issued(f"3510-LU-20032025-{serial}", *GOOD[1:])) == ([], [])


def test_late_is_more_than_sixty_days_and_bears_lt() -> None:
    born = dt.date(2025, 3, 11)
    for days, right in ((60, "LU"), (61, "LT")):
        day = born + dt.timedelta(days=days)
        for kind in ("LU", "LT"):
            number = f"3510-{kind}-{day:%d%m%Y}-0001"
            expected = [] if kind == right else ["ISSUED_NUMBER_KIND"]
            assert checked(read_issued(number, *GOOD[1:]), reported_on=day, today=day) == ([], expected)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("351016110325900", ["ISSUED_NIK_LENGTH"]),
        ("3510161103250000", ["ISSUED_NIK_FORMAT"]),
        ("3510165103259001", ["ISSUED_NIK_SEX_MISMATCH"]),
        ("3510161203259001", ["ISSUED_NIK_DOB_MISMATCH"]),
        (MOTHER_NIK, ["ISSUED_NIK_SEX_MISMATCH", "ISSUED_NIK_DOB_MISMATCH", "ISSUED_NIK_OF_PARENT"]),
    ],
)
def test_the_childs_nik_is_held_against_the_birth(number: str, expected: list[str]) -> None:
    assert checked(read_issued(GOOD[0], number, GOOD[2])) == (expected, [])


def test_a_girls_nik_has_forty_days_more() -> None:
    issued = read_issued(GOOD[0], "3510165103259001", GOOD[2])
    assert checked(issued, child=child(sex=Sex.FEMALE)) == ([], [])


def test_a_district_nobody_knows_is_only_a_warning() -> None:
    assert checked(read_issued(GOOD[0], "9999991103259001", GOOD[2])) == ([], ["ISSUED_NIK_REGION_UNKNOWN"])


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("35101614051890", ["ISSUED_KK_FORM"]),
        ("3510163205189001", ["ISSUED_KK_FORM"]),
        ("3510161405180000", ["ISSUED_KK_FORM"]),
        ("351016140518900A", ["ISSUED_KK_FORM"]),
        (GOOD[1], ["ISSUED_KK_IS_NIK"]),
    ],
)
def test_a_family_card_has_a_day_of_issue_and_is_no_nik(number: str, expected: list[str]) -> None:
    assert checked(read_issued(*GOOD[:2], number)) == (expected, [])

"""The form of a NIK (domain B.1): every failure apart, and nothing more than form."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.record import Sex
from gateway.verify.nik import age_on, birth_date_of, check_nik, is_younger, sex_of

TODAY = dt.date(2025, 3, 20)
MOTHER = "3510165203959001"
FATHER = "3510160407929001"


def problems(text: str, sex: Sex | None = None, born_on: dt.date | None = None) -> list[str]:
    return check_nik(text, sex=sex, born_on=born_on, today=TODAY)


def test_a_right_nik_has_no_problem() -> None:
    assert problems(MOTHER, Sex.FEMALE, dt.date(1995, 3, 12)) == []
    assert problems(FATHER, Sex.MALE, dt.date(1992, 7, 4)) == []


def test_blanks_and_dots_are_forgiven() -> None:
    assert problems(" 351016.520395.9001 ") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("351016520395900", ["LENGTH"]),
        ("35101652039590011", ["LENGTH"]),
        ("3510165203959001.0", ["LENGTH"]),  # Excel
        ("3.51E+15", ["LENGTH", "FORMAT"]),
        ("351O165203959001", ["FORMAT"]),  # the letter O
        ("-", ["LENGTH", "FORMAT"]),
        ("", ["LENGTH", "FORMAT"]),
        ("0000000000000000", ["FORMAT"]),
        ("9999999999999999", ["FORMAT"]),
        ("1234567890123456", ["FORMAT"]),
        ("6543210987654321", ["FORMAT"]),
        ("٣٥١٠١٦٥٢٠٣٩٥٩٠٠١", ["FORMAT"]),  # digits, but not ours
        ("3510165203950000", ["FORMAT"]),  # serial 0000
        ("9910165203959001", ["REGION_UNKNOWN"]),
        ("3510163213959001", ["DATE"]),  # month 13, day 32
        ("3510167201909001", ["DATE"]),  # day 72 (F 38)
        ("3510160003959001", ["DATE"]),
        ("3510162902959001", ["DATE"]),  # 29-02-1995: in no century (F 39)
        ("9910163213950000", ["REGION_UNKNOWN", "FORMAT", "DATE"]),
    ],
)
def test_each_failure_is_told(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize("text", ["3510137101909001", "3510166902969001", "3510162902009001"])
def test_real_days_pass(text: str) -> None:
    assert problems(text) == []


def test_a_fathers_number_in_the_mothers_place() -> None:
    assert problems(FATHER, Sex.FEMALE) == ["SEX_MISMATCH"]
    assert problems("3510164407929001", Sex.MALE) == ["SEX_MISMATCH"]
    assert problems(MOTHER, Sex.FEMALE, dt.date(1995, 3, 13)) == ["DOB_MISMATCH"]


def test_the_century_is_the_one_that_fits() -> None:
    assert birth_date_of(MOTHER, today=TODAY) == dt.date(1995, 3, 12)
    assert birth_date_of("3510165203059001", today=TODAY) == dt.date(2005, 3, 12)
    assert birth_date_of("3510165203309001", today=TODAY) == dt.date(1930, 3, 12)
    assert birth_date_of("351016", today=TODAY) is None
    assert age_on(dt.date(2008, 3, 21), TODAY) == 16
    assert sex_of("3510167209959001") is None
    assert sex_of("x") is None


@given(st.dates(min_value=dt.date(1930, 1, 1), max_value=TODAY), st.sampled_from(Sex), st.integers(1, 9999))
def test_a_number_made_by_the_rule_passes(born: dt.date, sex: Sex, serial: int) -> None:
    day = born.day + (40 if sex is Sex.FEMALE else 0)
    text = f"351016{day:02}{born:%m%y}{serial:04}"
    assert problems(text, sex, born) == []
    other = Sex.MALE if sex is Sex.FEMALE else Sex.FEMALE
    assert problems(text, other, born) == ["SEX_MISMATCH"]


@given(st.from_regex(r"351016[0-7]\d[01]\d\d\d9001", fullmatch=True), st.dates(dt.date(1990, 1, 1)), st.integers(1, 99))
def test_younger_than_is_what_the_later_century_says(text: str, today: dt.date, years: int) -> None:
    born = birth_date_of(text, today=today, youngest=0, oldest=100)
    assert is_younger(text, years, today=today) is (born is not None and age_on(born, today) < years)


@pytest.mark.parametrize(
    ("text", "young"), [("3510160101059001", True), ("3510162003049001", False), ("351016", False)]
)
def test_of_age_on_the_day_of_21(text: str, *, young: bool) -> None:
    assert is_younger(text, 21, today=TODAY) is young


@given(st.text())
def test_any_text_gets_a_verdict(text: str) -> None:
    found = problems(text, Sex.FEMALE, dt.date(1995, 3, 12))
    assert len(found) == len(set(found))
    birth_date_of(text, today=TODAY)

"""The form of a family card's number."""

from __future__ import annotations

import datetime as dt

import pytest

from gateway.verify.cards import check_card

TODAY = dt.date(2025, 3, 20)


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("3510161405189001", ""),
        ("3510 1614 0518 9001", ""),
        ("351016140518900", "LENGTH"),
        ("35101614051890011", "LENGTH"),
        ("3510161405I89001", "FORMAT"),
        ("3510163205189001", "FORMAT"),  # day 32
        ("3510161413189001", "FORMAT"),  # month 13
        ("3510161405180000", "FORMAT"),
        ("3510165405189001", "IS_NIK"),  # day 54: a woman's
        ("3510162902000001", ""),
        ("3510161405990001", ""),  # of the last century
    ],
)
def test_every_failure_is_told_apart(number: str, problem: str) -> None:
    assert check_card(number, today=TODAY) == problem

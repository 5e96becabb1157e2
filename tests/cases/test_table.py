"""Every case has its test, and docs/cases.md says what they show."""

from __future__ import annotations

from tests.cases import table
from tests.cases.case import CASES
from tests.cases.situations import GROUPS, SITUATIONS


def test_every_case_has_a_test_and_no_other_number_has_one() -> None:
    assert {test.case.number for test in table.shown()} == set(CASES)


def test_a_test_is_named_after_its_case_and_says_in_a_sentence_what_it_shows() -> None:
    for test in table.shown():
        assert test.name.startswith(f"test_f{test.case.number:03}_"), test.name
        assert test.behaviour.endswith("."), test.name


def test_every_case_has_its_situation_and_a_group() -> None:
    assert list(SITUATIONS) == list(CASES)
    assert list(GROUPS) == sorted(GROUPS)
    assert min(GROUPS) == CASES.start


def test_the_page_is_current() -> None:
    assert table.PAGE.exists(), "run python -m tests.cases.table --write"
    assert table.PAGE.read_text("utf-8") == table.page(table.shown()), "run python -m tests.cases.table --write"

"""docs/identity.md says what is measured: eleven thousand labelled pairs, and no twin among the suspects."""

from __future__ import annotations

import pytest

from gateway.verify.likeness import Verdict
from tests.identity.measure import PAGE, Figures, measure, page
from tests.identity.pairs import KINDS

TWINS = [kind for kind, (truth, _, _) in KINDS.items() if truth is Verdict.TWIN]
STRANGERS = [kind for kind, (truth, _, _) in KINDS.items() if truth is Verdict.NEW]


@pytest.fixture(scope="module")
def clean() -> Figures:
    return measure()


@pytest.fixture(scope="module")
def soiled() -> Figures:
    return measure(dirt=True)


def test_there_are_at_least_five_thousand_pairs(clean: Figures) -> None:
    assert sum(said.total() for said in clean.said.values()) >= 5000


@pytest.mark.parametrize("kind", TWINS)
def test_twins_are_always_twins(clean: Figures, kind: str) -> None:
    assert clean.said[kind] == {Verdict.TWIN: clean.said[kind].total()}


@pytest.mark.parametrize("seed", range(4, 14))
def test_no_soiled_notice_makes_a_twin_a_duplicate_and_none_with_its_order_waits(seed: int) -> None:
    figures = measure(seed=seed, each=60, dirt=True)
    assert (figures.twins_suspected, figures.twins_drawn) == (0, 0)


@pytest.mark.parametrize("kind", STRANGERS)
def test_other_women_have_nothing_to_do_with_it(clean: Figures, kind: str) -> None:
    assert clean.recall(kind) == 1


def test_precision_and_recall(clean: Figures, soiled: Figures) -> None:
    for figures, precision, recall in ((clean, 0.99, 0.99), (soiled, 0.99, 0.92)):
        assert figures.precision(Verdict.SUSPECT, Verdict.CONFLICT) >= precision
        assert figures.found(Verdict.SUSPECT, Verdict.CONFLICT) >= recall


def test_the_page_is_what_was_measured() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.identity.measure --write"

"""Whole stories between a hospital, the gateway and the registry, as the pages beside this file tell them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialogues.runner import perform
from tests.dialogues.script import read

PAGES = sorted(Path(__file__).parent.glob("[0-9]*.md"))
_ISSUE_ASKS_FOR = 52  # the twelve samples, and forty more


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_a_dialogue_goes_as_its_page_says(page: Path, database: str, tmp_path: Path) -> None:
    await perform(read(page), database, tmp_path)


def test_there_are_as_many_as_were_promised_and_each_has_a_number_of_its_own() -> None:
    numbers = [page.name.partition("-")[0] for page in PAGES]
    assert len(PAGES) >= _ISSUE_ASKS_FOR
    assert len(set(numbers)) == len(numbers)

"""At most one real name in a thousand holds a birth as nobody's."""

from __future__ import annotations

import pytest

from tests.identity.names import HARD, HIGHEST, invented, taken_for_nobody


def test_hardly_a_real_name_is_taken_for_nobodys() -> None:
    names = invented()
    assert len(names) >= 2000
    wrong = taken_for_nobody(names)
    assert len(wrong) / len(names) <= HIGHEST, wrong


@pytest.mark.parametrize("name", HARD)
def test_a_name_near_the_words_is_somebodys(name: str) -> None:
    assert taken_for_nobody([name]) == []

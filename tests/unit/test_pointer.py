"""JSON Pointers as RFC 6901 writes them."""

from __future__ import annotations

import pytest

from gateway.contract.pointer import LONGEST, pointer


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), ""),
        (("",), "/"),
        (("witnesses", 0, "nik"), "/witnesses/0/nik"),
        (("a/b", "c~d"), "/a~1b/c~0d"),
    ],
)
def test_a_place_is_written_as_the_standard_says(parts: tuple[str | int, ...], expected: str) -> None:
    assert pointer(parts) == expected


def test_a_strangers_long_name_is_cut() -> None:
    assert len(pointer(["x" * 1000])) == LONGEST

"""JSON that says one thing."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from gateway.contract.strict_json import validated


class _Part(BaseModel):
    name: str = ""
    weight: float = 0
    parts: tuple[_Part, ...] = ()


def test_what_is_right_is_read() -> None:
    assert validated(_Part, b'{"name":"SITI","parts":[{"name":"A"},{"name":"B"}]}').parts[1].name == "B"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name":"SITI","name":"BUDI"}',
        b'{"parts":[{"name":"SITI","name":"SITI"}]}',
        b'{"weight":NaN}',
        b'{"weight":-Infinity}',
        b"[" * 100_000,
        b'{"parts":' * 5_000,
        b'{"weight":' + b"9" * 100_000 + b"}",
        b'{"name":"\xff"}',
        b"",
    ],
)
def test_what_may_be_read_in_two_ways_or_in_none_is_refused_without_its_text(raw: bytes) -> None:
    with pytest.raises(ValidationError) as refused:
        validated(_Part, raw)
    said = [error["msg"] for error in refused.value.errors(include_url=False, include_input=False)]
    assert said
    assert "BUDI" not in str(said)

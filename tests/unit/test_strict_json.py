"""JSON that says one thing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.contract.strict_json import Day, Moment, Truth, Whole, validated


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


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        (Day, (0, 20250311, "0", "1741651200", True, 1.5, "11-03-2025"), "2025-03-11"),
        (Moment, (0, 1741651200, "1741651200", False), "2025-03-11T04:15:00+07:00"),
        (Whole, (True, False, "7", None, [7], 7.5), 7),
        (Truth, ("yes", "true", 1, 0, "on", None), True),
    ],
)
def test_a_value_of_another_kind_is_none(kind: Any, wrong: tuple[Any, ...], right: object) -> None:
    shape = TypeAdapter(kind)
    shape.validate_json(json.dumps(right))
    for value in wrong:
        with pytest.raises(ValidationError):
            shape.validate_json(json.dumps(value))


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert TypeAdapter(Whole).validate_json("16.0") == 16

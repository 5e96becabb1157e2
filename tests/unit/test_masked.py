"""Personal values do not print themselves."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from gateway.contract.masked import MASK, Nik, Personal
from gateway.contract.record import Parent

SECRET = "SITI AMINAH"


@pytest.mark.parametrize("kind", [Personal, Nik])
def test_every_printed_form_is_masked(kind: type[Personal]) -> None:
    value = kind(SECRET)
    shown = [str(value), repr(value), f"{value}", f"{value!r}", f"{value:>20}", "{}".format(value), "%s" % value]  # noqa: UP031, UP032
    shown += [repr([value]), repr({"name": value}), str((value,))]
    assert not [text for text in shown if "SITI" in text]
    assert str(value) == MASK
    assert value.reveal() == SECRET
    assert type(value.reveal()) is str


def test_a_value_is_still_a_value() -> None:
    assert Personal(SECRET) == SECRET
    assert hash(Personal(SECRET)) == hash(SECRET)
    assert copy.deepcopy(Personal(SECRET)) == SECRET
    assert pickle.loads(pickle.dumps(Nik("1"))) == "1"  # noqa: S301 - our own bytes


def test_models_mask_and_keep() -> None:
    parent = Parent(name=SECRET, nik="3510165203959001")
    assert "SITI" not in repr(parent)
    assert "3510165203959001" not in str(parent)
    assert isinstance(parent.nik, Nik)
    stored = parent.model_dump_json()
    assert json.loads(stored)["name"] == SECRET
    assert Parent.model_validate_json(stored) == parent


def test_models_are_strict_about_unknown_keys() -> None:
    with pytest.raises(ValueError, match="extra"):
        Parent.model_validate({"nama": "x"})

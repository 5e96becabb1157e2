"""Segments along the tree of their structure."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7 import reference
from gateway.verify.layout import Misfit, misfits, most


def wrong(structure: str, names: str, version: str = "2.5") -> list[tuple[str, str, int]]:
    found = reference.structure(version, structure)
    assert found is not None
    return [(misfit.kind, misfit.name, misfit.sequence) for misfit in misfits(found, names.split())]


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        ("ADT_A01", "MSH EVN PID PV1"),
        ("ADT_A01", "MSH SFT SFT EVN PID PD1 ROL NK1 NK1 PV1 PV2 ROL DB1 OBX OBX AL1 DG1 PR1 ROL PR1 IN1 IN2 IN1 PDA"),
        ("ADT_A39", "MSH EVN PID MRG PID PD1 MRG PV1 PID MRG"),
        ("ADT_A24", "MSH EVN PID PV1 PID PD1"),
        ("ORU_R01", "MSH PID NTE PV1 OBR OBX NTE OBX OBR OBX SPM OBX PID OBR"),
        ("ORU_R01", "MSH OBR OBX"),
        ("MDM_T02", "MSH EVN PID PV1 TXA OBX OBX"),
    ],
)
def test_what_the_structure_has_is_in_its_place(structure: str, names: str) -> None:
    assert wrong(structure, names) == []


@pytest.mark.parametrize(
    ("structure", "names", "expected"),
    [
        ("ADT_A01", "MSH PID", [("missing", "EVN", 1), ("missing", "PV1", 1)]),
        ("ADT_A01", "MSH EVN PV1 PID", [("order", "PID", 1)]),
        ("ADT_A01", "MSH EVN PID PID PV1", [("repeated", "PID", 2)]),
        ("ADT_A01", "MSH EVN PID PV1 TXA", [("unexpected", "TXA", 1)]),
        ("ADT_A01", "MSH EVN PID PV1 IN2", [("missing", "IN1", 1)]),  # the group has begun
        ("ADT_A39", "MSH EVN PID PID MRG", [("missing", "MRG", 1)]),
        ("ADT_A39", "MSH EVN PID MRG PID", [("missing", "MRG", 2)]),
        ("ADT_A39", "MSH EVN PID PV1 MRG", [("order", "MRG", 1)]),
        ("ADT_A39", "MSH EVN MRG PID", [("missing", "PID", 1), ("missing", "MRG", 2)]),
        ("ADT_A39", "MSH EVN", [("missing", "PID", 1), ("missing", "MRG", 1)]),  # a whole group
        ("ADT_A24", "MSH EVN PID", [("missing", "PID", 2)]),
        ("ORU_R01", "MSH PID OBX", [("missing", "OBR", 1)]),
        ("ORU_R01", "MSH", [("missing", "OBR", 1)]),  # a group in a group
    ],
)
def test_what_is_not_in_its_place_is_named_once(
    structure: str, names: str, expected: list[tuple[str, str, int]]
) -> None:
    assert sorted(wrong(structure, names)) == sorted(expected)


def test_how_often_a_segment_may_be_there() -> None:
    birth, link = reference.structure("2.5", "ADT_A01"), reference.structure("2.5", "ADT_A24")
    assert birth is not None
    assert link is not None
    assert (most(birth.tree, "PID"), most(birth.tree, "NK1"), most(birth.tree, "TXA")) == (1, -1, 0)
    assert most(link.tree, "PID") == 2
    assert most(birth.tree, "IN1") == -1  # its group repeats


def _valid(nodes: tuple[reference.Node, ...], dice: random.Random) -> list[str]:
    names: list[str] = []
    for node in nodes:
        for _ in range(dice.randint(1, 2 if node.maximum != 1 else 1) if node.required or dice.random() < 0.4 else 0):
            names += _valid(node.children, dice) if node.children else [node.name]
    return names


@pytest.mark.parametrize("version", reference.VERSIONS)
@pytest.mark.parametrize("name", ["ADT_A01", "ADT_A06", "ADT_A39", "ORU_R01", "MDM_T02"])
def test_any_message_that_follows_its_structure_misses_nothing(version: str, name: str) -> None:
    structure = reference.structure(version, name)
    if structure is None:
        pytest.skip(f"{version} has no {name}")
    for seed in range(40):
        names = _valid(structure.tree, random.Random(seed))
        assert [m for m in misfits(structure, names) if m.kind in ("order", "repeated", "unexpected")] == []


@settings(deadline=None)
@given(st.lists(st.sampled_from(["MSH", "EVN", "PID", "PD1", "NK1", "PV1", "MRG", "OBR", "OBX", "NTE", "IN1"])))
def test_any_order_of_segments_ends_and_accounts_for_each(names: list[str]) -> None:
    for version, name in (("2.5", "ADT_A01"), ("2.5", "ADT_A39"), ("2.8.2", "ORU_R01")):
        structure = reference.structure(version, name)
        assert structure is not None
        found = misfits(structure, names)
        assert len(set(found)) == len(found)
        for misfit in found:
            assert isinstance(misfit, Misfit)
            there = names.count(misfit.name)
            assert misfit.sequence <= there + (misfit.kind == "missing")

from __future__ import annotations

import subprocess
import sys

import hl7apy
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import MaxLengthReached

from gateway.hl7 import reference
from gateway.hl7.reference import VERSIONS, Resolved


def test_the_versions_are_those_of_hl7apy() -> None:
    assert sorted(VERSIONS) == sorted(hl7apy.SUPPORTED_LIBRARIES)


@pytest.mark.parametrize(
    ("asked", "version", "exact"),
    [
        ("2.5", "2.5", True),
        ("2.3.1", "2.3.1", True),
        ("2.7.1", "2.7", False),
        ("2.9", "2.8.2", False),
        ("3.0", "2.8.2", False),
        ("2.10", "2.8.2", False),
        ("2.5.2", "2.5.1", False),
        ("2.0", "2.1", False),
        ("2", "2.1", False),
        ("", "2.5", False),
        ("v2.5", "2.5", False),
        ("²", "2.5", False),
    ],
)
def test_an_unknown_version_is_read_by_the_closest_lower_one(asked: str, version: str, exact: bool) -> None:  # noqa: FBT001 - a table
    assert reference.resolve_version(asked) == Resolved(version, exact=exact)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_segment_of_hl7apy_is_compiled_as_it_stands(version: str) -> None:
    for name in hl7apy.load_library(version).SEGMENTS.keys() - {"ANYHL7SEGMENT", "ORO"}:
        parts = reference.segment(version, name) or ()
        theirs = hl7apy.load_reference(name, "Segment", version)
        children = theirs[1] if len(theirs) > 1 else ()
        assert [(part.number, part.required, part.maximum) for part in parts] == [
            (int(child[0].split("_")[1]), child[2][0] > 0, child[2][1]) for child in children
        ]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_structure_and_data_type_of_hl7apy_is_compiled(version: str) -> None:
    library = hl7apy.load_library(version)
    for name in library.MESSAGES:
        found = reference.structure(version, name)
        assert found is not None
        assert {name for node in found.tree for name in node.known} == found.known
    for name, children in library.DATATYPES_STRUCTS.items():
        assert len(reference.datatype(version, name)) == len(children)


def test_the_patient_segment_of_2_5() -> None:
    parts = reference.segment("2.5", "PID") or ()
    assert [part.number for part in parts if part.required] == [3, 5]
    assert (parts[6].name, parts[6].datatype, parts[6].maximum) == ("DATE_TIME_OF_BIRTH", "TS", 1)
    assert (parts[7].table, parts[20].maximum) == ("HL70001", -1)
    assert len(reference.datatype("2.5", "CX")) == 10


def test_structures_are_trees_of_segments_and_groups() -> None:
    merge = reference.structure("2.5", "ADT_A39")
    assert merge is not None
    *_, group = merge.tree
    assert (group.name, group.required, group.maximum) == ("ADT_A39_PATIENT", True, -1)
    assert [(node.name, node.required) for node in group.children] == [
        ("PID", True),
        ("PD1", False),
        ("MRG", True),
        ("PV1", False),
    ]
    assert group.first == {"PID"}
    result = reference.structure("2.5", "ORU_R01")
    assert result is not None
    assert result.tree[2].first == {"PID", "ORC", "OBR"}  # the patient may be left out, then the order


def test_of_a_choice_no_alternative_is_required_for_itself() -> None:
    alternatives = (("AAA", None, (1, 1), "SEG"), ("BBB", None, (1, 1), "SEG"))
    assert [node.required for node in reference._tree(("choice", alternatives))] == [False, False]
    assert [node.required for node in reference._tree(("sequence", alternatives))] == [True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_data_types_hold_as_much_as_hl7apy_lets_them(version: str) -> None:
    for name, kind in hl7apy.load_library(version).get_base_datatypes().items():
        limit = reference.longest(version, name)
        if name in ("ST", "GTS", "IS", "TX", "FT", "ID", "WD"):
            longest = limit if limit > 0 else 100
            kind("B" * longest, validation_level=VALIDATION_LEVEL.STRICT)
        if name in ("ST", "GTS", "IS", "TX", "FT", "ID") and limit > 0:
            with pytest.raises(MaxLengthReached):
                kind("B" * (limit + 1), validation_level=VALIDATION_LEVEL.STRICT)
    assert (reference.longest(version, "NM"), reference.longest(version, "SI")) == (16, 4)
    assert reference.longest(version, "CX") == -1


def test_what_does_not_exist_is_none_or_empty() -> None:
    assert reference.segment("2.5", "ZKL") is None
    assert reference.structure("2.5", "ADT_A04") is None
    assert reference.datatype("2.5", "ST") == ()
    assert reference.table("2.5", "HL79999") == frozenset()


def test_tables_before_2_3_1_stand_in() -> None:
    assert reference.table("2.5", "HL70136") == {"Y", "N"}
    assert reference.table("2.1", "HL70001") == reference.table("2.3.1", "HL70001") == {"F", "M", "O", "U"}


def test_odd_entries_of_hl7apy_are_read_too() -> None:
    oro = reference.segment("2.1", "ORO") or ()  # lacks its leading "sequence"
    assert [part.number for part in oro][:2] == [1, 2]
    assert reference.segment("2.7", "QRD") == ()  # withdrawn, without children


def test_warming_all_versions_is_free_to_repeat() -> None:
    reference.warm(VERSIONS)
    reference.warm(VERSIONS)


def test_a_version_is_read_only_when_it_is_asked_for() -> None:
    program = (
        "import sys; from gateway.hl7 import reference;"
        "assert not any(m.startswith('hl7apy') for m in sys.modules);"
        "reference.warm(['2.5', '2.3']);"
        "assert 'hl7apy.v2_5' in sys.modules and 'hl7apy.v2_4' not in sys.modules;"
        "assert 'hl7apy.core' not in sys.modules and 'hl7apy.parser' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

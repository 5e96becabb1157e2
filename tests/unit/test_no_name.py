"""What is told of names after issue and is no change of the akta (domain F 19, F 26, B.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.finding import Finding
from gateway.contract.masked import Personal
from gateway.contract.ports import Draft, Effect
from gateway.contract.revision import build_record, leaves_of, proposed
from gateway.pipeline.no_name import as_named

if TYPE_CHECKING:
    from gateway.contract.record import BirthRecord

AKTA = {"child.name": "AHMAD RIZKI", "mother.name": "SITI AMINAH", "father.name": "BUDI SANTOSO"}
NOTHING = Draft(Effect.AMEND, "1", None)


def record(**names: str) -> BirthRecord:
    told = AKTA | {f"{role}.name": name for role, name in names.items()}
    values = {"child.medical_record": "1", "facility.code": "RS", "facility.name": "RS", "facility.region": "3510"}
    return proposed(build_record({**values, **{path: Personal(name) for path, name in told.items()}}))


@pytest.mark.parametrize(
    ("role", "name"),
    [
        *(("child", name) for name in ("BY NY SITI AMINAH", "BAYI NY. SITI", "BBL", "TWIN 2", "AHMAD RIZKI, AN.")),
        *(("mother", name) for name in ("NY SITI AMINAH", "Hj. SITI AMINAH", "SITI AMINAH, S.Pd", "SITI AMINAH NY")),
        ("father", "TN. BUDI SANTOSO"),
    ],
)
def test_a_placeholder_or_a_title_is_no_change(role: str, name: str) -> None:
    kept, stayed = as_named(record(), record(**{role: name}), NOTHING)
    assert (kept, stayed) == (record(), (f"{role}.name",))


@pytest.mark.parametrize(
    ("role", "name"),
    [("child", "AHMAD RIZKY"), ("child", "SITI AISYAH"), ("mother", "SITI AMINA"), ("father", "BUDI SANTOSA")],
)
def test_another_name_is_one(role: str, name: str) -> None:
    told = record(**{role: name})
    assert as_named(record(), told, NOTHING) == (told, ())


def test_a_name_whose_type_says_temporary_is_no_change_either() -> None:
    draft = Draft(Effect.AMEND, "1", None, findings=(Finding("NAME_PLACEHOLDER"),))
    kept, stayed = as_named(record(), record(child="AISYAH", mother="SITI AMINA"), draft)
    names = leaves_of(kept)
    assert (names["child.name"].reveal(), names["mother.name"].reveal()) == ("AHMAD RIZKI", "SITI AMINA")
    assert stayed == ("child.name",)

"""What a facility changes about the birth profile, from its configuration to the verdict."""

from __future__ import annotations

import datetime as dt
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adapters.hospital.baseline import BaselineHospital
from gateway.config import parse
from gateway.contract.facility import FacilityProfile
from gateway.contract.strictness import CHECKS, SEVERITIES, Change, read_changes
from gateway.errors import ConfigError
from gateway.hl7.header import read_header
from gateway.hl7.message import parse_message
from gateway.pipeline.verdict import Judge
from gateway.verify import plans
from gateway.verify.policy import changed, load_policy
from gateway.verify.structure import check_structure, plan_for, prepare

if TYPE_CHECKING:
    from gateway.pipeline.verdict import Verdict

LOAD = (Path(__file__).parents[1] / "vectors/load_birth_a01_v25.hl7").read_text(encoding="utf-8").replace("\n", "\r")
SENDER = "RSU CEMPAKA CONTOH"


def facility(**policy: str) -> FacilityProfile:
    return FacilityProfile.model_validate({"code": SENDER, "region": "3510", "policy": policy})


def evaluate(text: str, policy: dict[str, str]) -> Verdict:
    judge = Judge(
        facilities={SENDER: facility(**policy)},
        hospitals={"baseline": BaselineHospital()},
        clock=lambda: dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC),
        test_messages="accept",
        require_form=False,
        segment_limit=2000,
    )
    return judge.evaluate(text.encode(), peer="127.0.0.1")


def told(text: str, policy: dict[str, str], event: str = "A01") -> list[tuple[str, str, str]]:
    message = parse_message(text.replace("ADT^A01^ADT_A01", f"ADT^{event}"))
    changes: Any = read_changes(policy)
    found = check_structure(message, read_header(message), load_policy(changes))
    return [(f.code, f.place.label if f.place else "", f.severity) for f in found]


def with_field(segment: str, number: int, text: str) -> str:
    lines = [line.split("|") for line in LOAD.split("\r") if line]
    line = next(line for line in lines if line[0] == segment)
    line += [""] * (number + 1 - len(line))
    line[number] = text
    return "\r".join("|".join(line) for line in lines)


CODED = with_field("PID", 24, "YA")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, [("FIELD_TABLE", "PID-24", "W")]),
        ({"PID-24.table": "error"}, [("FIELD_TABLE", "PID-24", "E")]),
        ({"PID-24.table": "ignore"}, []),
        ({"PID.table": "ignore"}, []),
        ({"table": "error"}, [("FIELD_TABLE", "PID-24", "E")]),
        ({"table": "ignore", "PID-24.table": "error"}, [("FIELD_TABLE", "PID-24", "E")]),  # the nearer place holds
        ({"PID-24.table": "error", "*.table": "ignore"}, [("FIELD_TABLE", "PID-24", "E")]),  # in whatever order
        ({"PID-8.table": "ignore"}, [("FIELD_TABLE", "PID-24", "W")]),
    ],
)
def test_a_check_is_loosened_and_tightened_in_a_place(
    policy: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    assert told(CODED, policy) == expected


@pytest.mark.parametrize(
    ("text", "policy", "expected"),
    [
        (f"{LOAD}QQQ|1", {"unknown-segment": "error"}, []),  # the profile has it nowhere
        (f"{LOAD}QQQ|1", {"*.unknown-segment": "error"}, [("SEGMENT_UNKNOWN", "QQQ", "E")]),
        (f"{LOAD}TXA|1", {"TXA.unexpected-segment": "warning"}, [("SEGMENT_UNEXPECTED", "TXA", "W")]),
        (LOAD.replace("\rPV2|", "\rPV2|\rPV2|"), {"*.repeated-segment": "warning"},
         [("SEGMENT_REPEATED", "PV2[2]", "W")]),
        (LOAD.replace("\rEVN|", "\rNK1|9\rEVN|"), {"EVN.order": "warning"}, [("SEGMENT_ORDER", "EVN", "W")]),
        (with_field("PID", 5, ""), {"PID-5.demanded": "error"}, [("FIELD_REQUIRED", "PID-5", "E")]),
        (with_field("PID", 5, "A&B&C&D&E&F^X&Y"), {"PID-5.extra-subcomponents": "warning"},
         [("SUBCOMPONENT_EXTRA", "PID-5", "W"), ("SUBCOMPONENT_EXTRA", "PID-5.2", "W")]),
        (with_field("PID", 3, "1^2^3^^5^^besok"), {"PID-3.component-type": "warning"},
         [("FIELD_DATE", "PID-3.7", "W")]),
        (with_field("PID", 5, "X^^^^^^QZ"), {"PID-5.7.component-table": "warning"}, [("FIELD_TABLE", "PID-5.7", "W")]),
        (with_field("PID", 23, "B" * 200), {"PID-23.length": "warning"}, [("FIELD_LONG", "PID-23", "W")]),
        (with_field("PID", 5, "B" * 200), {"PID-5.2.length": "warning"}, []),
        (with_field("PID", 5, f"A^{'B' * 200}"), {"PID-5.2.length": "warning"}, [("FIELD_LONG", "PID-5.2", "W")]),
        (with_field("NK1", 3, "TANTE"), {"NK1-3.table": "warning"}, [("FIELD_TABLE", "NK1-3", "W")]),
        (with_field("NK1", 3, "9^Tante^99RS"), {"NK1-3.table": "warning"}, []),  # its own coding system
        (with_field("PID", 1, "satu"), {"PID.type": "error"}, [("FIELD_TYPE", "PID-1", "E")]),
    ],
)  # fmt: skip
def test_checks_that_the_profile_leaves_silent_can_be_asked_for(
    text: str, policy: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    assert [
        found for found in told(text, policy) if found[1].split("[")[0] != "NK1" or "NK1" in str(policy)
    ] == expected


def test_a_required_component_is_asked_for_from_the_version_on_that_requires_it() -> None:
    text = with_field("PID", 21, "^^^RS^MR")
    assert told(text, {"PID-21.required-component": "warning"}) == []
    newer = text.replace("|P|2.5|", "|P|2.6|")
    assert told(newer, {"PID-21.required-component": "warning"}) == [("COMPONENT_REQUIRED", "PID-21", "W")]


def test_a_changed_rule_keeps_its_events() -> None:
    undated = with_field("PID", 7, "")
    assert told(undated, {"PID-7.demanded": "warning"}) == [("FIELD_REQUIRED", "PID-7", "W")]
    assert told(undated, {"PID-7.demanded": "warning"}, "A08") == []  # an update may leave it unchanged


def test_the_verdict_of_a_facility_follows_its_policy_and_of_no_other() -> None:
    def findings(policy: dict[str, str]) -> list[tuple[str, str]]:
        return [(f.code, f.severity) for f in evaluate(CODED, policy).findings if f.code == "FIELD_TABLE"]

    assert findings({}) == [("FIELD_TABLE", "W")]
    assert findings({"PID-24.table": "error"}) == [("FIELD_TABLE", "E")]
    assert findings({"PID-24.table": "ignore"}) == []
    assert findings({}) == [("FIELD_TABLE", "W")]


# ------------------------------------------------------------------------------------- what nobody may loosen

WITHOUT_NUMBER = with_field("PID", 3, "")
MERGE = LOAD.replace("ADT^A01^ADT_A01", "ADT^A40^ADT_A39")
FIXED = ("single-segment", "demanded-segment", "required-segment", "order", "length", "extra-subcomponents", "demanded")
LOOSE = {check: "ignore" for check in CHECKS if check not in FIXED}
EVERYWHERE_LOOSE = {f"*.{check}": "ignore" for check in CHECKS if check not in ("demanded", "demanded-segment")}


@pytest.mark.parametrize("policy", [LOOSE, EVERYWHERE_LOOSE], ids=["named", "everywhere"])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (WITHOUT_NUMBER, "FIELD_REQUIRED"),
        (with_field("PID", 3, "12&34^^^RS^MR"), "RECORD_NUMBER_CUT"),
        (with_field("PID", 3, "9" * 1001), "FIELD_LONG"),
        ("\r".join(line for line in LOAD.split("\r") if not line.startswith("PID|")), "SEGMENT_MISSING"),
        (f"{LOAD}PID|2||2||B||20261124", "SEGMENT_EXTRA"),
        (MERGE, "SEGMENT_MISSING"),
        (f"{MERGE}MRG|", "FIELD_REQUIRED"),
        (f"{MERGE}MRG|1&2", "RECORD_NUMBER_CUT"),
        (f"{MERGE}MRG|1\rPID|2||2", "SEGMENT_MISSING"),
    ],
)
def test_no_policy_silences_what_would_lose_a_record_number(text: str, code: str, policy: dict[str, str]) -> None:
    message = parse_message(text)
    changes: Any = read_changes(policy)
    found = check_structure(message, read_header(message), load_policy(changes))
    assert [f.code for f in found if f.severity == "E"] == [code]


def test_a_record_number_that_is_cut_off_touches_no_birth() -> None:
    verdict = evaluate(with_field("PID", 3, "12&34^^^RS^MR"), {})
    assert [f.code for f in verdict.findings if f.severity == "E"] == ["RECORD_NUMBER_CUT"]
    assert verdict.effect.value == "none"


@pytest.mark.parametrize("event", ["A18", "A34", "A35", "A36", "A40", "A47"])
@pytest.mark.parametrize("version", ["2.3", "2.5", "2.8.2"])
@pytest.mark.parametrize("body", ["PID MRG", "PID PD1 MRG", "PID PV1 MRG", "PID MRG PV1"])
def test_a_merge_that_can_be_read_is_not_stopped(event: str, version: str, body: str) -> None:
    lines = {"PID": "PID|1||12", "MRG": "MRG|13", "PD1": "PD1|", "PV1": "PV1|1|I"}
    text = "\r".join(lines[name] for name in body.split())
    message = parse_message(f"MSH|^~\\&|A|B|||20261124||ADT^{event}|1|P|{version}\rEVN|{event}|20261124\r{text}\r")
    assert check_structure(message, read_header(message), load_policy()) == []


def test_an_old_number_before_its_patient_is_an_error() -> None:
    text = f"{MERGE}".replace("\rPID|", "\rMRG|13\rPID|")
    assert ("SEGMENT_MISSING", "PID", "E") in told(text, {}, "A40")


# --------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ('tabel = "error"', r"'tabel' = 'error': there is no check 'tabel'; it is one of required-segment, .*table"),
        ('"PID-8.table" = "fatal"', "'PID-8.table' = 'fatal': no such severity; it is one of error, warning, ignore"),
        ('"PID-8.table" = 1', "no such severity"),
        ('PID-8.tables = "error"', "there is no check 'tables'"),
        ('"PID-99.type" = "error"', "no HL7 version from 2.1 to 2.8.2 has PID-99"),
        ('"PID-3.77.component-type" = "error"', "has PID-3.77"),
        ('"ZKL.required" = "error"', "has ZKL"),
        ('"PID-8.order" = "error"', "'PID-8' is no place for it; write one such as PID"),
        ('"pid-8.table" = "error"', "no place for it; write one such as PID or PID-8"),
        ('"*.demanded" = "error"', "name a field before it"),
        ('"PID-3.demanded" = "ignore"', "PID-3 cannot be loosened: a birth's record number would be lost"),
        ('"PID-3.demanded" = "warning"', "cannot be loosened"),
        ('"PID-3.required" = "ignore"', "PID-3 cannot be loosened"),
        ('"MRG-1.required" = "warning"', "MRG-1 cannot be loosened"),
        ('demanded = "ignore"', "MRG-1, PID-3 cannot be loosened: .*; write PID-7.demanded"),
        ('required-segment = "warning"', "MRG, PID cannot be loosened: .*; write EVN.required-segment or PV1"),
        ('"PID.single-segment" = "ignore"', "PID cannot be loosened"),
        ('"PID-3.1.extra-subcomponents" = "ignore"', "cannot be loosened"),
        ('"PID.length" = "ignore"', "PID-3 cannot be loosened"),
        ('single-segment = "ignore"', "cannot be loosened anywhere"),
    ],
)
def test_a_wrong_line_stops_the_start_and_says_what_it_may_be(policy: str, reason: str) -> None:
    text = f'[[facility]]\ncode = "RSU"\nregion = "3510"\n[facility.policy]\n{policy}\n'
    with pytest.raises(ConfigError, match=rf"facility RSU: policy.*{reason}"):
        parse(tomllib.loads(text), where="procot.toml")


def test_a_policy_is_a_table_and_has_an_end() -> None:
    values = {"code": "RSU", "region": "3510"}
    with pytest.raises(ConfigError, match="policy"):
        parse({"facility": [values | {"policy": "strict"}]}, where="procot.toml")
    many = {f"PID-5.{number}.length": "error" for number in range(201)}
    with pytest.raises(ConfigError, match="200 are the most"):
        parse({"facility": [values | {"policy": many}]}, where="procot.toml")


def test_keys_with_and_without_quotes_are_the_same() -> None:
    quoted = tomllib.loads('"PID-8.table" = "error"\n"PID-5.2.length" = "warning"')
    assert read_changes(quoted) == read_changes(tomllib.loads('PID-8.table = "error"\nPID-5.2.length = "warning"'))


def test_changes_are_applied_the_widest_first() -> None:
    changes = read_changes({"PID-8.type": "error", "PID.type": "error", "type": "error", "*.type": "error"})
    assert isinstance(changes, tuple)
    assert [change.place for change in changes] == ["", "*", "PID", "PID-8"]


def test_a_facility_can_be_copied_and_kept_as_a_key() -> None:
    profile = facility(**{"PID-8.table": "error"})
    assert profile.policy == (Change("PID-8", "table", "E"),)
    assert {profile.model_copy(update={"peers": ()})} == {profile}
    assert FacilityProfile.model_validate(profile.model_dump()) == profile


# ------------------------------------------------------------------------------------------------- once, not often


def test_facilities_with_the_same_policy_share_what_is_made_of_it() -> None:
    one, two = facility(**{"PID-8.table": "error"}), facility(**{"PID-8.table": "error"})
    assert load_policy(one.policy) is load_policy(two.policy)
    assert load_policy(facility().policy) is load_policy()


def test_a_policy_is_compiled_once() -> None:
    policy = changed(load_policy(), facility(**{"PID-8.table": "error"}).policy)
    prepare(policy, ["2.5"])
    message = parse_message(LOAD)
    header = read_header(message)
    before = plans._plan.cache_info().misses, plan_for(header, policy)
    for _ in range(3):
        assert check_structure(message, header, policy) == []
    assert (plans._plan.cache_info().misses, plan_for(header, policy)) == before


def test_unknown_segments_cannot_fill_the_plans() -> None:
    plan = plan_for(read_header(parse_message(LOAD)), load_policy())
    names = [f"Y{a}{b}" for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    assert [plan.segments.plan(name) for name in names] == [None] * len(names)
    assert len(plan.segments.made) <= 512


def test_every_severity_and_check_is_told_in_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs/integrators.md").read_text(encoding="utf-8")
    assert all(f"`{word}`" in guide for word in (*CHECKS, *SEVERITIES))
    positions = [guide.index(f"`{check}`") for check in CHECKS]
    assert all(a < b for a, b in pairwise(positions))

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from gateway.hl7.charset import decode
from gateway.hl7.header import read_header
from gateway.hl7.message import parse_message
from gateway.verify.envelope import check_envelope

if TYPE_CHECKING:
    from gateway.contract.finding import Finding

SAMPLES = sorted((Path(__file__).parents[1] / "vectors" / "samples").glob("*.hl7"))
CATALOGUE = tomllib.loads(resources.files("schemas").joinpath("hl7/findings-wire.toml").read_text(encoding="utf-8"))
REJECTED = {code for code, entry in CATALOGUE.items() if entry.get("answer") == "reject"}


def judge(
    kind: str = "ADT^A01",
    control_id: str = "1",
    processing_id: str = "P",
    version: str = "2.5",
    continuation: str = "",
    *,
    test_messages: Literal["accept", "reject"] = "reject",
) -> list[Finding]:
    text = f"MSH|^~\\&|A|B|||2025||{kind}|{control_id}|{processing_id}|{version}||{continuation}"
    return check_envelope(read_header(parse_message(text)), test_messages=test_messages)


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_comes_in(path: Path) -> None:
    header = read_header(parse_message(decode(path.read_bytes()).text))
    assert check_envelope(header, test_messages="reject") == []


@pytest.mark.parametrize(
    ("finding", "code"),
    [
        (judge(kind=""), "HEADER_FIELD_MISSING"),
        (judge(kind="DFT^P03"), "TYPE_UNSUPPORTED"),
        (judge(kind="ADT^A17"), "EVENT_UNSUPPORTED"),
        (judge(kind="ADT"), "EVENT_UNSUPPORTED"),
        (judge(kind="MDM^T01"), "EVENT_UNSUPPORTED"),
        (judge(control_id=""), "CONTROL_ID_MISSING"),
        (judge(control_id="9" * 200), "CONTROL_ID_LONG"),
        (judge(processing_id=""), "HEADER_FIELD_MISSING"),
        (judge(processing_id="T"), "PROCESSING_ID_UNSUPPORTED"),
        (judge(processing_id="X", test_messages="accept"), "PROCESSING_ID_UNSUPPORTED"),
        (judge(version=""), "HEADER_FIELD_MISSING"),
        (judge(version="3.0"), "VERSION_UNSUPPORTED"),
        (judge(continuation="7"), "CONTINUATION_UNSUPPORTED"),
    ],
)
def test_what_cannot_be_processed_is_rejected(finding: list[Finding], code: str) -> None:
    assert codes(finding) == [code]
    assert code in REJECTED


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8.2"])
def test_versions_that_come_in(version: str) -> None:
    assert judge(version=version) == []
    assert judge(version=f"{version}^IDN") == []


@pytest.mark.parametrize("kind", ["ADT^A01", "ADT^A40^ADT_A39", "adt^a28", "ORU^R01", "MDM^T02^MDM_T02", "ORU"])
def test_types_and_events_that_come_in(kind: str) -> None:
    assert judge(kind=kind) == []


@pytest.mark.parametrize("processing_id", ["T", "D", "t"])
def test_test_messages_come_in_where_the_setting_says_so(processing_id: str) -> None:
    found = judge(processing_id=processing_id, test_messages="accept")
    assert codes(found) == ["TEST_MESSAGE"]
    assert "TEST_MESSAGE" not in REJECTED


def test_several_faults_are_all_told_and_long_codes_are_cut() -> None:
    found = judge(kind="X" * 100, control_id="", version="9")
    assert codes(found) == ["TYPE_UNSUPPORTED", "CONTROL_ID_MISSING", "VERSION_UNSUPPORTED"]
    assert found[0].parameters["value"] == "X" * 20
    assert str(found[0].place) == "MSH^1^9^1^1"

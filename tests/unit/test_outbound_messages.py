"""The certificate back to the hospital: MDM^T02 and ADT^A31, read by our lexer and by hl7apy."""

from __future__ import annotations

import base64
import datetime as dt
import re
from typing import Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message as parse_with_hl7apy

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import AnswerKind, Certificate, Correspondence
from gateway.contract.revision import apply_draft
from gateway.hl7.charset import decode
from tests.simulators.facilities import draft_of, facility, message_of, sample

NOW = dt.datetime(2025, 3, 11, 3, 45, tzinfo=dt.UTC)
PDF = b"%PDF-1.7\n%\xc3 content\n"
CERTIFICATE = Certificate(
    number="3510-LU-11032025-0007",
    child_nik=Nik("3510161103259001"),
    family_card=Personal("3510161405189001"),
    issued_at=dt.datetime(2025, 3, 11, 3, 43, tzinfo=dt.UTC),
    sha256="9494d259f02a4b87198c02df36e56b1814de40bebe3d54361e32a5d568ed459f",
    document_url="https://gw.example.test/d/6f0c2a?a=1&b=~2|^",
    document=PDF,
)


def composed(kind: AnswerKind, origin: bytes, **changes: Any) -> bytes:
    letter = Correspondence(
        facility=facility(message_of(origin).value("MSH", 4), **changes),
        record=apply_draft(None, draft_of(origin)),
        control_id="GW0000000099",
        now=NOW,
        our_application="AKTAGW",
        our_facility="DISDUKCAPIL 3510",
        origin=origin,
    )
    return BaselineHospital().compose(kind, CERTIFICATE, letter)


def test_the_certificate_is_the_sample() -> None:
    """All of samples/outbound/mdm_t02 but MSH-15/16 (left empty on purpose) and NO_KK (added)."""
    raw = composed(AnswerKind.CERTIFICATE, sample("01"), deliver_document="both").decode()
    lines = raw.split("\r")
    assert lines[0] == (
        "MSH|^~\\&|AKTAGW|DISDUKCAPIL 3510^3510^L|SIMRS|RSU CEMPAKA CONTOH^3510999^L|20250311104500+0700||"
        "MDM^T02^MDM_T02|GW0000000099|P|2.5|||||IDN|UNICODE UTF-8"
    )
    assert lines[1] == "EVN|T02|20250311104500+0700"
    assert lines[2] == (
        "PID|1||00450121^^^RSCEMPAKA^MR~3510161103259001^^^DUKCAPIL^NI~3510161405189001^^^DUKCAPIL^KK||"
        "AHMAD RIZKI PRATAMA^^^^^^L||20250311041500+0700|M"
    )
    assert lines[3] == "PV1|1|I|||||||||||||||||V25031100077"
    assert lines[4] == (
        "TXA|1|AKTALAHIR|AP|20250311104300+0700||20250311104300+0700||||||3510-LU-11032025-0007^DUKCAPIL3510||"
        "RSC20250311000101^SIMRS||3510-LU-11032025-0007.pdf|LA|R|AV"
    )
    assert lines[5] == "OBX|1|ST|NO_AKTA_LHR^Nomor akta kelahiran^99AKTAGW||3510-LU-11032025-0007||||||F"
    assert [line.split("|")[3].split("^")[0] for line in lines[5:11]] == [
        *("NO_AKTA_LHR", "NIK_ANAK", "NO_KK", "AKTA_URL", "AKTA_PDF", "AKTA_SHA256"),
    ]
    assert lines[11:] == [""]


@pytest.mark.parametrize(
    ("wish", "expected"), [("pointer", {"AKTA_URL"}), ("pdf", {"AKTA_PDF"}), ("both", {"AKTA_URL", "AKTA_PDF"})]
)
def test_the_document_comes_as_the_facility_wishes(wish: str, expected: set[str]) -> None:
    message = message_of(composed(AnswerKind.CERTIFICATE, sample("01"), deliver_document=wish))
    found = {obx.components(3)[0]: obx for obx in message.all("OBX")}
    assert found.keys() & {"AKTA_URL", "AKTA_PDF"} == expected
    if "AKTA_PDF" in expected:
        assert base64.b64decode(found["AKTA_PDF"].components(5)[4]) == PDF
    if "AKTA_URL" in expected:
        assert len(found["AKTA_URL"].components(5)) == 4
        url = next(o for o in message.segments if o is found["AKTA_URL"])
        assert url.components(5)[0] == "https://gw.example.test/d/6f0c2a?a=1\\T\\b=\\R\\2\\F\\\\S\\"


def test_the_identity_changes_the_index_only() -> None:
    lines = composed(AnswerKind.CHILD_IDENTITY, sample("01")).decode().split("\r")
    assert [line[:3] for line in lines if line] == ["MSH", "EVN", "PID", "PV1"]
    assert "|ADT^A31^ADT_A05|" in lines[0]
    assert "3510161103259001^^^DUKCAPIL^NI" in lines[2]
    assert lines[3] == "PV1|1|N"


def test_a_name_goes_back_in_the_parts_it_came_in() -> None:
    assert message_of(composed(AnswerKind.CHILD_IDENTITY, sample("02"))).raw("PID", 5) == ("RAMADHANI^AISYAH NUR^^^^^L")


def test_the_sender_is_answered_in_its_own_delimiters_and_charset() -> None:
    origin = sample("11").replace(b"^", b"#").replace(b"|", b"!").replace(b"#~\\&", b"#~\\&")
    raw = composed(AnswerKind.CERTIFICATE, origin)
    assert raw.startswith(b"MSH!#~\\&!AKTAGW!")
    assert b"8859/1" in raw
    assert decode(raw).codec == "iso-8859-1"
    assert "ZOË" in decode(raw).text


def test_another_receiver_name_is_replaced_by_ours() -> None:
    origin = sample("01").replace(b"DISDUKCAPIL 3510^3510^L", b"ENGINE")
    assert message_of(composed(AnswerKind.CERTIFICATE, origin)).raw("MSH", 4) == "DISDUKCAPIL 3510"


def test_an_application_answer_is_no_message_of_ours() -> None:
    with pytest.raises(ValueError, match="ACK"):
        composed(AnswerKind.APPLICATION_ANSWER, sample("01"))


VERSIONS = ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6"]


def origin_in(version: str) -> bytes:
    return re.sub(rb"\|P\|2\.5\|", f"|P|{version}|".encode(), sample("01"), count=1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [AnswerKind.CERTIFICATE, AnswerKind.CHILD_IDENTITY])
def test_hl7apy_reads_what_we_write(version: str, kind: AnswerKind) -> None:
    raw = composed(kind, origin_in(version), deliver_document="both").decode()
    assert f"|{version}|" in raw.split("\r")[0]
    message = parse_with_hl7apy(raw, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
    assert message.version == version
    assert message.pid.pid_3[1].cx_1.value == "3510161103259001"
    assert message.pid.pid_5.value.startswith("AHMAD RIZKI PRATAMA")
    # The library has no structure for A31 before 2.4, and before 2.5 wants the OBX of T02 in a group nobody has.
    if message.name in ("MDM_T02", "ADT_A05"):
        assert message.validate()


@pytest.mark.parametrize("name", [f"{n:02}" for n in range(1, 13) if n != 8])
@pytest.mark.parametrize("kind", [AnswerKind.CERTIFICATE, AnswerKind.CHILD_IDENTITY])
def test_every_sample_can_be_answered(name: str, kind: AnswerKind) -> None:
    origin = sample(name)
    raw = composed(kind, origin)
    message = message_of(raw)
    assert message.raw("MSH", 12) == message_of(origin).raw("MSH", 12)
    assert message.raw("MSH", 15) == message.raw("MSH", 16) == ""
    assert message.raw("MSH", 5) == message_of(origin).raw("MSH", 3)
    assert re.fullmatch(r"\d{14}\+0700", message.raw("MSH", 7))


def letter_of(certificate: Certificate = CERTIFICATE, **changes: Any) -> Correspondence:
    values: dict[str, Any] = {
        "facility": facility(message_of(sample("01")).value("MSH", 4)),
        "record": apply_draft(None, draft_of(sample("01"))),
        "control_id": "GW0000000099",
        "now": NOW,
        "our_application": "AKTAGW",
        "our_facility": "DISDUKCAPIL 3510",
        "origin": sample("01"),
    }
    return Correspondence(**(values | changes))


def test_a_corrected_certificate_names_the_number_it_replaces() -> None:
    letter = letter_of(replaces="3510-LU-11032025-0001")
    message = message_of(BaselineHospital().compose(AnswerKind.REPLACEMENT, CERTIFICATE, letter))
    assert message.all("MSH")[0].components(9) == ["MDM", "T10", "MDM_T02"]
    txa = message.all("TXA")[0]
    assert (txa.components(12)[0], txa.components(13)[0]) == ("3510-LU-11032025-0007", "3510-LU-11032025-0001")
    assert {obx.components(3)[0] for obx in message.all("OBX")} >= {"NO_AKTA_LHR", "AKTA_URL"}


def test_a_revoked_certificate_is_told_without_content() -> None:
    message = message_of(BaselineHospital().compose(AnswerKind.REVOCATION, CERTIFICATE, letter_of()))
    assert message.all("MSH")[0].components(9) == ["MDM", "T11", "MDM_T01"]
    txa = message.all("TXA")[0]
    assert (txa.components(12)[0], txa.components(19)[0]) == ("3510-LU-11032025-0007", "CA")
    assert message.all("OBX") == []


def test_what_the_registry_changed_is_named_to_the_ward_without_the_values() -> None:
    raw = BaselineHospital().compose(AnswerKind.CERTIFICATE, CERTIFICATE, letter_of(differs=("child.name",)))
    obx = next(o for o in message_of(raw).all("OBX") if o.components(3)[0] == "BEDA_DATA")
    assert obx.components(5) == ["nama anak"]

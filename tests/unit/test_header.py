from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7.charset import decode
from gateway.hl7.header import Header, read_header, salvage_header
from gateway.hl7.lexer import DEFAULT
from gateway.hl7.message import parse_message

SAMPLES = Path(__file__).parents[1] / "vectors" / "samples"


def header_of(text: str) -> Header:
    return read_header(parse_message(text))


def test_the_header_of_a_birth() -> None:
    header = header_of(decode((SAMPLES / "01_singleton_a01_v25.hl7").read_bytes()).text)
    assert header.sending_application == "SIMRS"
    assert header.sending_facility == "RSU CEMPAKA CONTOH^3510999^L"
    assert header.facility_code == "RSU CEMPAKA CONTOH"
    assert header.receiving_facility == "DISDUKCAPIL 3510^3510^L"
    assert (header.message_code, header.event, header.structure) == ("ADT", "A01", "ADT_A01")
    assert header.control_id == "RSC20250311000101"
    assert (header.processing_id, header.version) == ("P", "2.5")
    assert header.sent_at_raw == "20250311093000+0700"
    assert header.enhanced
    assert (header.country, header.charset) == ("IDN", "UNICODE UTF-8")


def test_original_mode_has_neither_ack_field() -> None:
    header = header_of(decode((SAMPLES / "04_placeholder_name_a28_v24.hl7").read_bytes()).text)
    assert not header.enhanced
    assert header.structure == "ADT_A05"


def test_a_short_msh_reads_as_empty_parts() -> None:
    header = header_of("MSH|^~\\&|SIMRS")
    assert header.control_id == header.version == header.charset == header.continuation == ""


@pytest.mark.parametrize(
    ("msh_9", "event", "expected"),
    [
        ("ADT", "A01", ("ADT", "A01", "")),  # 2.1 and 2.2 name the event in EVN-1
        ("adt^a01", "", ("ADT", "A01", "")),
        ("ADT^A08^ADT_A01", "A01", ("ADT", "A08", "ADT_A01")),  # MSH-9 is the one that counts (domain 0.6)
        ("ORU", "", ("ORU", "R01", "")),
        ("", "", ("", "", "")),
    ],
)
def test_type_event_and_structure(msh_9: str, event: str, expected: tuple[str, str, str]) -> None:
    header = header_of(f"MSH|^~\\&|A|B|||2025||{msh_9}|1|P|2.2\rEVN|{event}")
    assert (header.message_code, header.event, header.structure) == expected


def test_codes_are_unescaped_and_raw_parts_are_verbatim() -> None:
    header = header_of("MSH|^~\\&|A\\T\\B^x|RS \\T\\ IBU^1^L|||2025||ADT^A01| 1\\F\\2 |P|2.5")
    assert header.application_code == "A&B"
    assert header.facility_code == "RS & IBU"
    assert header.sending_facility == "RS \\T\\ IBU^1^L"
    assert header.control_id == " 1\\F\\2 "


def test_msh_2_is_kept_as_it_was_written() -> None:
    assert header_of("MSH|^~|A|B|||2025||ADT^A01|1|P|2.5").encoding_characters == "^~"
    assert header_of("MSH$!%?*#$A$B$$$2025$$ADT!A01$1$P$2.7").encoding_characters == "!%?*#"


def test_a_message_that_cannot_be_lexed_still_gives_its_control_id() -> None:
    text = "MSH|^~\\&|SIMRS|RSC|AKTAGW|DUK|20250311||ADT^A01|CID7|P|2.5\rthis line is broken"
    header = salvage_header(text)
    assert header is not None
    assert (header.control_id, header.sending_facility, header.version) == ("CID7", "RSC", "2.5")


def test_broken_encoding_characters_are_answered_with_the_usual_ones() -> None:
    header = salvage_header("MSH|^^^^|SIMRS|RSC|||20250311||ADT^A01|CID7|P|2.5\n")
    assert header is not None
    assert header.encoding_characters == DEFAULT.encoding_characters
    assert header.control_id == "CID7"


@pytest.mark.parametrize("text", ["", "MSH", "PID|1", "MSHA|", "MSH^~\\&|", "BHS|^~\\&|", "\r\n"])
def test_without_msh_nothing_is_salvaged(text: str) -> None:
    assert salvage_header(text) is None


@settings(deadline=None)
@given(st.text(max_size=120))
def test_salvaging_never_fails(text: str) -> None:
    salvage_header(text)
    salvage_header(f"MSH|{text}")
    salvage_header(f"MSH{text}")


@pytest.mark.parametrize("value", ["AL", "ne", " Er ", "SU"])
def test_what_table_0155_knows_is_asked_for(value: str) -> None:
    header = header_of(f"MSH|^~\\&|A|B|||2025||ADT^A01|1|P|2.5|||{value}|{value}")
    assert (header.accept_ack, header.application_ack) == (value.strip().upper(),) * 2
    assert header.enhanced


@pytest.mark.parametrize("value", ["", "IDN", '""', "ALWAYS", "AL^NE", "Y"])
def test_what_table_0155_does_not_know_asks_for_nothing(value: str) -> None:
    header = header_of(f"MSH|^~\\&|A|B|||2025||ADT^A01|1|P|2.5|||{value}|{value}")
    assert (header.accept_ack, header.application_ack, header.enhanced) == ("", "", False)

from __future__ import annotations

import datetime as dt
from pathlib import Path

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7.ack import Problem, build_acknowledgement, table_0357_text
from gateway.hl7.charset import decode
from gateway.hl7.escape import unescape
from gateway.hl7.header import Header, read_header, salvage_header
from gateway.hl7.location import Location
from gateway.hl7.message import Message, parse_message

SAMPLES = Path(__file__).parents[1] / "vectors" / "samples"
WIB = dt.timezone(dt.timedelta(hours=7))
MSH = "MSH|^~\\&|SIMRS|RSU CEMPAKA CONTOH^3510999^L|AKTAGW|DISDUKCAPIL 3510^3510^L"


def header_of(text: str) -> Header:
    return read_header(parse_message(text))


def sample(name: str) -> Header:
    return header_of(decode((SAMPLES / name).read_bytes()).text)


def expected(name: str) -> bytes:
    return (SAMPLES / "outbound" / name).read_bytes()


def at(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=WIB)


def answer(
    header: Header | None,
    code: str = "AE",
    *problems: Problem,
    now: str = "20250311093004",
    control_id: str = "GW1",
    text: str = "",
    codec: str = "utf-8",
) -> bytes:
    return build_acknowledgement(
        header,
        code=code,
        problems=problems,
        control_id=control_id,
        now=at(now),
        our_application="OURS",
        our_facility="OUR PLACE",
        codec=codec,
        text=text,
    )


def read(raw: bytes) -> Message:
    return parse_message(decode(raw).text)


def required(place: Location | None = None, severity: str = "E", user_message: str = "") -> Problem:
    return Problem(place, 101, table_0357_text(101), severity, "FIELD_REQUIRED", "Empty", user_message=user_message)


NIK_LENGTH = Problem(
    Location("PID", 1, 21, 1, 1),
    102,
    table_0357_text(102),
    "E",
    "NIK_LENGTH",
    "NIK must have 16 digits",
    parameter="15",
    diagnostic="mother NIK in PID-21 has 15 digits",
    user_message="NIK ibu harus 16 angka. Perbaiki lalu kirim A08.",
)
NIK_SEX = Problem(
    Location("NK1", 2, 33, 1, 1),
    207,
    "Application internal error",
    "E",
    "NIK_SEX_MISMATCH",
    "NIK sex differs from NK1-15",
    diagnostic="father NIK encodes a female birth day",
    user_message="NIK ayah tidak cocok dengan jenis kelamin ayah.",
)


# ------------------------------------------------------------------------------------- the samples, byte for byte


def test_accepted_as_in_the_sample() -> None:
    given_header = sample("01_singleton_a01_v25.hl7")
    assert answer(given_header, "AA", control_id="GW0000000002") == expected("ack_aa_v25.hl7")


def test_commit_accept_of_enhanced_mode_as_in_the_sample() -> None:
    found = answer(sample("01_singleton_a01_v25.hl7"), "CA", control_id="GW0000000001", now="20250311093001")
    assert found == expected("ack_ca_enhanced_v25.hl7")


def test_errors_from_2_5_as_in_the_sample() -> None:
    found = answer(
        sample("09_bad_nik_a01_v25.hl7"), "AE", NIK_LENGTH, NIK_SEX, control_id="GW0000000010", now="20250316070001"
    )
    assert found == expected("ack_ae_v25_err.hl7")


def test_errors_up_to_2_4_as_in_the_sample() -> None:
    problem = required(Location("PID", 1, 7), user_message="Tanggal lahir bayi kosong (PID-7)")
    header = header_of(f"{MSH}|20250312140600||ADT^A28^ADT_A05|RSC20250312000032|P|2.4")
    found = answer(header, "AE", problem, control_id="GW0000000011", now="20250312140601")
    assert found == expected("ack_ae_v24_err1.hl7")


def test_warnings_up_to_2_4_as_in_the_sample() -> None:
    problem = required(
        Location("PID", 1, 5), severity="W", user_message="nama bayi sementara, kirim A31 setelah nama ditetapkan"
    )
    found = answer(
        sample("04_placeholder_name_a28_v24.hl7"), "AA", problem, control_id="GW0000000012", now="20250312140501"
    )
    assert found == expected("ack_aa_v24_warning.hl7")


# ------------------------------------------------------------------------------------------------ the rules


@pytest.mark.parametrize(
    ("version", "message_type"),
    [
        ("2.1", "ACK"),
        ("2.3", "ACK"),
        ("2.3.1", "ACK^A28"),
        ("2.4", "ACK^A28"),
        ("2.5", "ACK^A28^ACK"),
        ("2.5.1", "ACK^A28^ACK"),
        ("2.8.2", "ACK^A28^ACK"),
        ("9.9", "ACK^A28^ACK"),
        ("x", "ACK^A28^ACK"),
    ],
)
def test_the_message_type_follows_the_version(version: str, message_type: str) -> None:
    found = read(answer(header_of(f"{MSH}|20250312||ADT^A28|1|P|{version}")))
    assert found.raw("MSH", 9) == message_type
    assert found.raw("MSH", 12) == version


@pytest.mark.parametrize(("version", "in_msa_6"), [("2.2", ""), ("2.3", ""), ("2.3.1", "101"), ("2.4", "101")])
def test_msa_6_bears_the_condition_where_the_version_has_it(version: str, in_msa_6: str) -> None:
    found = read(answer(header_of(f"{MSH}|20250312||ADT^A28|1|P|{version}"), "AE", required(Location("PID", 1, 7))))
    assert found.value("MSA", 6) == in_msa_6
    assert found.raw("ERR", 1) == "PID^1^7^101&Required field missing&HL70357"


def test_up_to_2_4_errors_repeat_in_one_segment_and_warnings_are_text_only() -> None:
    header = header_of(f"{MSH}|20250312||ADT^A28|1|P|2.4")
    warning = required(Location("PID", 1, 5), severity="W", user_message="Peringatan.")
    found = read(answer(header, "AE", warning, required(Location("PID", 1, 7), user_message="Galat."), required()))
    assert len(found.all("ERR")) == 1
    assert found.all("ERR")[0].repetitions(1) == [
        "PID^1^7^101&Required field missing&HL70357",
        "^^^101&Required field missing&HL70357",
    ]
    assert found.value("MSA", 3) == "Galat. Peringatan."


def test_from_2_5_errors_come_before_warnings_and_information() -> None:
    header = sample("01_singleton_a01_v25.hl7")
    found = read(answer(header, "AE", required(severity="I"), required(severity="W"), required(Location("PID", 1, 7))))
    assert [segment.field(4) for segment in found.all("ERR")] == ["E", "I", "W"]
    assert found.raw("MSA", 3) == ""


def test_a_detail_code_is_the_alternate_identifier_where_it_says_more() -> None:
    place = Location("PID", 1, 21)
    one = Problem(place, 102, "Data type error", "E", "NIK_LENGTH", "NIK", detail_code="MOTHER_NIK_LENGTH")
    same = Problem(place, 102, "Data type error", "E", "NIK_LENGTH", "NIK", detail_code="NIK_LENGTH")
    found = read(answer(sample("01_singleton_a01_v25.hl7"), "AE", one, same))
    assert [segment.field(5) for segment in found.all("ERR")] == [
        "NIK_LENGTH^NIK^99AKTAGW^MOTHER_NIK_LENGTH^^99AKTAGW",
        "NIK_LENGTH^NIK^99AKTAGW",
    ]


def test_an_offset_is_written_where_the_sender_writes_one() -> None:
    with_offset = read(answer(header_of(f"{MSH}|20250312+0700||ADT^A01|1|P|2.3"), "AA"))
    without = read(answer(header_of(f"{MSH}|20250312||ADT^A01|1|P|2.5"), "AA"))
    assert with_offset.raw("MSH", 7) == "20250311093004+0700"
    assert without.raw("MSH", 7) == "20250311093004"


def test_we_name_ourselves_where_the_sender_does_not() -> None:
    found = read(answer(header_of("MSH|^~\\&|A|B|||2025||ADT^A01|1|P|2.5"), "AA"))
    assert found.all("MSH")[0].fields[3:7] == ["OURS", "OUR PLACE", "A", "B"]


def test_without_a_readable_msh_there_still_is_an_answer() -> None:
    problem = Problem(Location("MSH"), 100, table_0357_text(100), "E", "MSH_UNREADABLE", "MSH cannot be read")
    found = read(answer(None, "AR", problem))
    assert found.raw("MSH", 9) == "ACK"
    assert found.raw("MSH", 12) == "2.5"
    assert (found.raw("MSA", 1), found.raw("MSA", 2)) == ("AR", "")
    assert found.raw("ERR", 2) == "MSH^1"
    assert found.raw("ERR", 3) == "100^Segment sequence error^HL70357"


def test_a_salvaged_header_is_named_in_the_answer() -> None:
    header = salvage_header(f"{MSH}|2025||ADT^A01|CID7|P|2.4\rbroken line")
    assert read(answer(header, "AR")).raw("MSA", 2) == "CID7"


def test_the_control_id_goes_back_verbatim() -> None:
    header = header_of(f"{MSH}|2025||ADT^A01| a\\F\\b^c |P|2.5")
    assert read(answer(header, "AA")).raw("MSA", 2) == " a\\F\\b^c "


def test_texts_are_cut_to_what_their_fields_hold() -> None:
    long = "kata " * 600
    old = read(answer(header_of(f"{MSH}|2025||ADT^A01|1|P|2.4"), "AE", required(user_message=long)))
    assert len(old.value("MSA", 3)) <= 200
    problem = Problem(None, 101, "x", "E", "A", "B", diagnostic=long, user_message=long)
    new = read(answer(sample("01_singleton_a01_v25.hl7"), "AE", problem))
    assert (len(new.raw("ERR", 7)) <= 2048, len(new.raw("ERR", 8)) <= 250) == (True, True)


def test_a_text_of_the_gateway_stands_in_msa_3() -> None:
    assert read(answer(sample("01_singleton_a01_v25.hl7"), "AA", text="TEST")).raw("MSA", 3) == "TEST"
    warned = required(severity="W", user_message="Lengkapi nama.")
    old = header_of(f"{MSH}|2025||ADT^A01|1|P|2.3")
    assert read(answer(old, "AA", warned, text="TEST")).raw("MSA", 3) == "TEST Lengkapi nama."


@pytest.mark.parametrize("marks", ["|^~\\&", "$!%?*", "#:+=@", "|^~\\&#"])
@pytest.mark.parametrize("version", ["2.3", "2.4", "2.5", "2.7"])
def test_the_delimiters_of_the_sender_are_used_throughout(marks: str, version: str) -> None:
    f, c = marks[0], marks[1]
    text = f.join(["MSH", marks[1:], "A", f"RS{c}1", "G", "D", "2025", "", f"ADT{c}A01", "1", "P", version])
    said = f"semua tanda {marks} | ^ ~ \\ & \r\n tetap utuh"
    found = read(answer(header_of(text), "AE", required(Location("PID", 1, 7), user_message=said), text=said))
    header = read_header(found)
    assert header.encoding_characters == marks[1:]
    assert header.receiving_facility == f"RS{c}1"
    assert said in unescape(found.raw("MSA", 3), found.delimiters)
    if version >= "2.5":
        assert found.value("ERR", 8) == said
        assert found.all("ERR")[0].components(2) == ["PID", "1", "7"]


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.sampled_from(["2.3", "2.4", "2.5"]))
def test_no_text_breaks_an_answer(title: str, diagnostic: str, said: str, version: str) -> None:
    problem = Problem(Location("PID", 1, 7), 101, title, "E", "CODE", title, diagnostic=diagnostic, user_message=said)
    raw = answer(header_of(f"{MSH}|2025||ADT^A01|CID|P|{version}"), "AE", problem, text=title)
    found = read(raw)
    assert [segment.name for segment in found.segments] == ["MSH", "MSA", "ERR"]
    assert raw.endswith(b"\r")
    assert found.raw("MSA", 2) == "CID"


def test_the_character_set_of_the_sender_is_used() -> None:
    header = header_of(f"{MSH}|2025||ADT^A01|1|P|2.5||||||8859/1")
    raw = answer(header, "AA", text="Zoé", codec="iso-8859-1")
    assert b"Zo\xe9" in raw
    assert decode(raw).codec == "iso-8859-1"


def test_python_hl7_reads_the_answer() -> None:
    raw = answer(sample("09_bad_nik_a01_v25.hl7"), "AE", NIK_LENGTH, NIK_SEX)
    found = hl7.parse(raw.decode())
    assert str(found["MSA"][0][1]) == "AE"
    assert str(found["ERR"][1][2]) == "NK1^2^33^1^1"


def test_conditions_have_the_texts_of_the_standard() -> None:
    assert table_0357_text(102) == "Data type error"
    assert table_0357_text(999) == table_0357_text(207)


# ------------------------------------------------------------------------------------- a message of its own


@pytest.mark.parametrize(
    ("version", "tail", "expected"),
    [
        ("2.2", "", ["AL", "NE"]),
        ("2.3.1", "|||AL|AL|IDN", ["AL", "NE"]),  # before 2.5 the country alone is not repeated
        ("2.5", "|||AL|AL|IDN", ["AL", "NE", "IDN"]),
        ("2.4", "|||ER|SU|IDN|8859/1", ["AL", "NE", "IDN", "8859/1"]),
    ],
)
def test_a_deferred_answer_asks_for_a_commit_and_for_no_answer_to_the_answer(
    version: str, tail: str, expected: list[str]
) -> None:
    header = header_of(f"{MSH}|20250311093000||ADT^A01|RSC1|P|{version}{tail}")
    found = build_acknowledgement(
        header,
        code="AA",
        problems=(),
        control_id="PC1",
        now=at("20250311093004"),
        our_application="OURS",
        our_facility="OUR PLACE",
        codec="utf-8",
        deferred=True,
    )
    msh = found.decode().split("\r")[0].split("|")
    assert (msh[9], msh[11], msh[12:14], msh[14:]) == ("PC1", version, ["", ""], expected)
    assert read_header(read(found)).enhanced
    assert found.decode().split("\r")[1] == "MSA|AA|RSC1"

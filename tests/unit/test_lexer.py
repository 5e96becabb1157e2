from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Hl7SyntaxError
from gateway.hl7.charset import decode
from gateway.hl7.lexer import DEFAULT, Delimiters, read_delimiters, split_segments
from gateway.hl7.location import Location
from gateway.hl7.message import SEGMENT_LIMIT, Message, parse_message, repetitions_of, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = sorted((Path(__file__).parents[1] / "vectors" / "samples").rglob("*.hl7"))
MSH = "MSH|^~\\&|SIMRS|RSCEMPAKA|||20250311||ADT^A01|1|P|2.5"

part = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\0|"), max_size=30)


def read(path: Path) -> str:
    return decode(path.read_bytes()).text


@settings(deadline=None)
@given(st.lists(st.lists(part, max_size=8), max_size=5))
def test_joining_what_was_split_gives_the_same_text(rows: list[list[str]]) -> None:
    lines = [MSH, *("|".join(["ZZ1", *row]) for row in rows)]
    _, segments = split_segments("\r".join(lines), limit=SEGMENT_LIMIT)
    assert [segment.raw for segment in segments] == lines
    assert ["|".join(segment.fields) for segment in segments[1:]] == lines[1:]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_lexed_or_refused_with_the_one_error(text: str) -> None:
    for candidate in (text, f"MSH{text}", f"{MSH}\r{text}"):
        try:
            message = parse_message(candidate)
        except Hl7SyntaxError:
            continue
        assert message.segments[0].name == "MSH"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_python_hl7_reads_the_same_fields(path: Path) -> None:
    text = read(path)
    ours, theirs = parse_message(text), hl7.parse(text)
    assert [segment.name for segment in ours.segments] == [str(segment[0]) for segment in theirs]
    for mine, other in zip(ours.segments, theirs, strict=True):
        assert mine.fields[1:] == [str(field) for field in other[1:]]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_python_hl7_reads_the_same_components(path: Path) -> None:
    text = read(path)
    ours, theirs = parse_message(text), hl7.parse(text)
    for mine, other in zip(ours.segments, theirs, strict=True):
        for number in range(3, len(mine.fields)):
            for repetition in repetitions_of(mine, number):
                components = mine.components(number, repetition)
                assert components == [str(component) for component in listed(other, number, repetition)]


def listed(segment: hl7.Segment, number: int, repetition: int) -> list[str]:
    found = segment[number][repetition - 1]
    return [found] if isinstance(found, str) else list(found)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\n\n", "\r\n\r\n", "\n\r", "\r \t\r"])
def test_segments_may_end_as_senders_end_them(end: str) -> None:
    message = parse_message(end.join([MSH, "EVN|A01", "PID|1"]) + end)
    assert [segment.name for segment in message.segments] == ["MSH", "EVN", "PID"]


def test_ends_may_be_mixed_and_the_last_one_missing() -> None:
    message = parse_message(f"{MSH}\rEVN|A01\nPID|1\r\nNK1|1\n\rPV1|1")
    assert [segment.name for segment in message.segments] == ["MSH", "EVN", "PID", "NK1", "PV1"]
    assert message.raw("PV1", 1) == "1"


def test_a_mark_of_another_file_before_a_segment_is_forgiven() -> None:
    assert parse_message(f"{MSH}\r\ufeffPID|1||77").raw("PID", 3) == "77"


def test_local_segments_and_unknown_ones_are_kept_as_they_came() -> None:
    message = parse_message(f"{MSH}\rZKL|1|2\rZ12|x\rXXX|y\rzzz|z")
    assert [segment.name for segment in message.segments] == ["MSH", "ZKL", "Z12", "XXX", "ZZZ"]
    assert [segment.raw for segment in message.segments[1:]] == ["ZKL|1|2", "Z12|x", "XXX|y", "ZZZ|z"]


def test_a_second_msh_is_refused_since_its_message_would_go_unanswered() -> None:
    with pytest.raises(Hl7SyntaxError, match="second MSH"):
        parse_message(f"{MSH}\rPID|1\rmsh|^~\\&|A")


def test_blank_lines_leading_blanks_and_lower_case_names_are_forgiven() -> None:
    message = parse_message(f"\ufeff\r\n  {MSH}\r  pid|1||77\r   \revn|A01")
    assert message.raw("PID", 3) == "77"
    assert message.raw("EVN", 1) == "A01"


def test_nul_padding_is_dropped_since_no_store_would_hold_it() -> None:
    assert parse_message(f"\0{MSH}\rPID|1||7\x007\0\0").raw("PID", 3) == "77"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MSH",
        "MSH|^~\\&",
        "PID|1",
        "MSHA^~\\&A",
        "MSH|^^\\&|x",
        "MSH|||x",
        "MSH|^~\\&#!|x",
        "MSH |~\\& ",
        "MSH|^~\\&\rPID|1",
        f"{MSH}\rnot a segment at all",
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(Hl7SyntaxError):
        parse_message(text)


def test_more_segments_than_the_cap_are_refused() -> None:
    text = MSH + "\rNTE|1" * 11
    assert len(parse_message(text, limit=11).segments) == 12
    with pytest.raises(Hl7SyntaxError, match="more than 10 segments"):
        parse_message(text, limit=10)
    assert len(parse_message(text.replace("\r", "\r\r"), limit=11).segments) == 12, "blank lines do not count"


def test_delimiters_come_from_the_message() -> None:
    assert read_delimiters("MSH*$%!@*X") == Delimiters("*", "$", "%", "!", "@")
    assert read_delimiters("MSH|^~\\&#|X").truncation == "#"
    assert read_delimiters("MSH|^~|X") == DEFAULT


def test_segments_of_a_name_are_numbered() -> None:
    message = parse_message(f"{MSH}\rNK1|1\rPV1|1\rNK1|2")
    assert [segment.sequence for segment in message.all("NK1")] == [1, 2]
    assert str(value_of(message.all("NK1")[1], 1).place) == "NK1^2^1^1^1"


@pytest.mark.parametrize("text", ["PID^1", "PID^1^7", "NK1^2^33^1^1", "OBX^3^5^^2"])
def test_a_place_is_written_and_read_back(text: str) -> None:
    assert str(Location.parse(text)) == text


def test_a_place_is_called_as_people_call_it() -> None:
    assert Location("PID", 1, 21, 1, 1).label == "PID-21"
    assert Location("NK1", 2, 33, 1, 4).label == "NK1[2]-33.4"
    assert Location("PV1").label == "PV1"


def test_a_segment_and_a_value_never_show_their_content() -> None:
    message = parse_message(f"{MSH}\rPID|1||||AHMAD")
    assert "AHMAD" not in repr(message.first("PID"))
    assert "AHMAD" not in repr(message.value("PID", 5))
    assert message.value("PID", 5) == "AHMAD"


def test_absent_parts_are_empty() -> None:
    message: Message = parse_message(f"{MSH}\rPID|1||A^^^B&C~D")
    assert message.value("PV1", 2) == ""
    assert message.value("PID", 30) == ""
    assert message.value("PID", 3, 4) == "B"
    pid = message.all("PID")[0]
    assert value_of(pid, 3, component=4, subcomponent=2) == "C"
    assert value_of(pid, 3, component=4, subcomponent=3) == ""
    assert value_of(pid, 3, repetition=3) == ""


# Every pair of things senders do to a message: it reads the same.

_VARIANTS: dict[str, Callable[[str], str]] = {
    "CRLF": lambda t: t.replace("\r", "\r\n"),
    "LF": lambda t: t.replace("\r", "\n"),
    "blank lines": lambda t: t.replace("\r", "\r\r"),
    "leading blanks": lambda t: t.replace("\r", "\r  "),
    "lower case": lambda t: "\r".join(line[:3].lower() + line[3:] for line in t.split("\r")),
    "NULs": lambda t: t.replace("|", "|\0"),
    "no final CR": lambda t: t.rstrip("\r"),
    "a mark": lambda t: f"\ufeff{t}",
}


@pytest.mark.parametrize("first", _VARIANTS)
@pytest.mark.parametrize("second", _VARIANTS)
def test_what_is_forgiven_alone_is_forgiven_together(first: str, second: str) -> None:
    text = read(SAMPLES[0])
    spoilt = parse_message(_VARIANTS[second](_VARIANTS[first](text)))
    plain = parse_message(text)
    assert [s.name for s in spoilt.segments] == [s.name for s in plain.segments]
    assert [s.fields for s in spoilt.segments] == [s.fields for s in plain.segments]


def test_a_large_message_is_lexed_as_a_small_one() -> None:
    rows = [MSH, "OBX|1|ED|x||^^^Base64^" + "QUJD" * 200_000, "PV1|1", "", "NTE|1"]
    message = parse_message("\r".join(rows))
    assert [s.raw for s in message.segments] == [row for row in rows if row]
    assert len(message.value("OBX", 5, 5)) == 800_000

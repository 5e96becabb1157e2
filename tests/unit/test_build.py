from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7.build import Verbatim, Writer
from gateway.hl7.charset import decode
from gateway.hl7.escape import unescape
from gateway.hl7.lexer import DEFAULT, Delimiters
from gateway.hl7.message import Message, parse_message

if TYPE_CHECKING:
    from gateway.hl7.build import Field

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x0b\x1c\0"), min_size=1, max_size=20)
nested = st.lists(st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=4), min_size=1, max_size=3)
marks = st.sampled_from([DEFAULT, Delimiters("$", "!", "%", "?", "*"), Delimiters(".", "^", "~", "\\", "&", "#")])


def read(raw: bytes) -> Message:
    return parse_message(decode(raw).text)


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 12), nested, min_size=1), marks)
def test_the_lexer_reads_back_every_value(fields: dict[int, Field], delimiters: Delimiters) -> None:
    writer = Writer(delimiters)
    writer.segment("MSH", {3: "AKTAGW", 18: "UNICODE UTF-8"})
    writer.segment("ZZ1", fields)
    message = read(writer.render())
    assert message.delimiters == delimiters
    segment = message.all("ZZ1")[0]
    for number, expected in fields.items():
        found = [
            [
                [unescape(leaf, delimiters) for leaf in component.split(delimiters.subcomponent)]
                for component in repetition.split(delimiters.component)
            ]
            for repetition in segment.repetitions(number)
        ]
        assert found == expected


def test_a_patient_segment() -> None:
    writer = Writer(DEFAULT)
    writer.segment("MSH", {3: "AKTAGW", 9: [["MDM", "T02", "MDM_T02"]], 10: Verbatim("GW\\F\\1")})
    writer.segment(
        "PID", {1: "1", 3: [["00450121", "", "", "RSCEMPAKA", "MR"], ["35", "", "", ["A", "B"]]], 5: "X & Y"}
    )
    assert writer.render() == (
        b"MSH|^~\\&|AKTAGW||||||MDM^T02^MDM_T02|GW\\F\\1\r"
        b"PID|1||00450121^^^RSCEMPAKA^MR~35^^^A&B||X \\T\\ Y\r"
    )  # fmt: skip


def test_the_codec_of_the_receiver_is_used() -> None:
    writer = Writer(DEFAULT, "iso-8859-1")
    writer.segment("PID", {5: ["ZOÉ ”", "B"]})
    assert writer.render() == b"PID|||||ZO\xc9 ?~B\r"


def test_a_segment_without_fields_is_its_name() -> None:
    writer = Writer(DEFAULT)
    writer.segment("FTS", {})
    assert writer.render() == b"FTS\r"

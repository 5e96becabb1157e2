"""Messages out of files: one, many or a batch, framed or not, any segment end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mllp.files import envelope_remarks, split_messages
from gateway.mllp.framing import frame

ONE = b"MSH|^~\\&|SIMRS|RS\rEVN|A01\rPID|1||\xe9\xff\r"
TWO = b"MSH|^~\\&|SIMRS|RS\rEVN|A08\r"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"], ids=["CR", "LF", "CRLF"])
def test_one_message_with_any_segment_end(end: bytes) -> None:
    assert split_messages(ONE.replace(b"\r", end)) == [ONE]


def test_a_missing_last_segment_end_is_added() -> None:
    assert split_messages(ONE.rstrip(b"\r")) == [ONE]


@pytest.mark.parametrize("between", [b"", b"\r", b"\n\n", b"\r\n\r\n"])
def test_many_messages(between: bytes) -> None:
    assert split_messages(ONE + between + TWO + between + ONE) == [ONE, TWO, ONE]


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n"])
def test_framed_messages(between: bytes) -> None:
    assert split_messages(frame(ONE) + between + frame(TWO) + between) == [ONE, TWO]


def test_framed_messages_with_line_feeds_inside() -> None:
    assert split_messages(frame(ONE.replace(b"\r", b"\n")) + frame(TWO.replace(b"\r", b"\r\n"))) == [ONE, TWO]


def test_frames_whose_cr_was_forgotten_or_whose_end_is_missing() -> None:
    assert split_messages(b"\x0b" + ONE.rstrip(b"\r") + b"\x1c\x0b" + TWO + b"\x1c") == [ONE, TWO]
    assert split_messages(b"\x0b" + ONE) == [ONE]


def test_a_batch_gives_its_messages_only() -> None:
    batch = b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + ONE + TWO + b"BTS|2\rBHS|^~\\&|A\r" + TWO + b"BTS|1\rFTS|2\r"
    assert split_messages(batch) == [ONE, TWO, TWO]


def test_a_batch_in_one_frame() -> None:
    assert split_messages(frame(b"BHS|^~\\&\n" + ONE + TWO + b"BTS|2\n")) == [ONE, TWO]


def test_a_trailer_without_fields_ends_the_batch() -> None:
    assert split_messages(b"FHS|^~\\&\r" + ONE + b"FTS\r") == [ONE]


def test_a_segment_whose_name_only_begins_like_a_batch_header_is_content() -> None:
    message = ONE + b"BTSX|1\r"
    assert split_messages(message) == [message]


def test_a_byte_order_mark_belongs_to_the_file() -> None:
    assert split_messages(b"\xef\xbb\xbf" + ONE + b"\xef\xbb\xbf" + TWO) == [ONE, TWO]
    assert split_messages(b"\xef\xbb\xbf" + frame(ONE)) == [ONE]
    assert split_messages(frame(b"\xef\xbb\xbf" + ONE)) == [ONE]


def test_what_is_no_message_comes_back_as_a_piece_of_its_own() -> None:
    assert split_messages(b"not HL7 at all\n") == [b"not HL7 at all\r"]
    assert split_messages(b"junk\nmore\n" + ONE + b"BTS|1\rtail\r") == [b"junk\rmore\r", ONE, b"tail\r"]


@pytest.mark.parametrize("nothing", [b"", b"\r\n\r\n", b"\x0b\x1c\r", b"\xef\xbb\xbf", b"FHS|^~\\&\rFTS|0\r"])
def test_a_file_without_messages(nothing: bytes) -> None:
    assert split_messages(nothing) == []


segments = st.lists(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n\x0b\x1c\ufeff"), max_size=20).map(
        lambda text: b"ZZ1|" + text.encode()
    ),
    max_size=4,
)


@given(st.lists(segments, max_size=4), st.sampled_from([b"\r", b"\n", b"\r\n"]), st.booleans())
def test_content_is_never_changed(bodies: list[list[bytes]], end: bytes, framed: bool) -> None:  # noqa: FBT001 - hypothesis fills it in
    messages = [b"".join(s + b"\r" for s in [b"MSH|^~\\&|X", *body]) for body in bodies]
    stored = [m.replace(b"\r", end) for m in messages]
    assert split_messages(b"".join(frame(m) if framed else m for m in stored)) == messages


def test_a_files_own_counts_are_compared_with_what_is_in_it() -> None:
    head = b"FHS|^~\\&|A\nBHS|^~\\&|A\n"
    assert envelope_remarks(frame(head + ONE + TWO + b"BTS|3\nFTS|1\n")) == ["batch 1: BTS-1 says 3, 2 came"]
    assert envelope_remarks(head + ONE + b"BTS|1\nFTS|2\n") == ["file: FTS-1 says 2, 1 came"]
    assert envelope_remarks(head + ONE + TWO + b"BTS|2\nFTS|1\n") == []
    assert envelope_remarks(ONE + TWO) == []


@pytest.mark.parametrize("end", [b"\r\x1c\r", b"\x1c\r", b"\r\x1c\r\n"])
def test_what_is_in_another_block_spoils_no_message(end: bytes) -> None:
    block = b"\x0b%b" + end
    assert split_messages(block % ONE.rstrip(b"\r") + b"sent 12:00\r\n" + block % b"hello" + block % TWO) == [
        ONE,
        b"sent 12:00\r",
        b"hello\r",
        TWO,
    ]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_a_message_of_wide_characters_comes_back_as_it_is(codec: str) -> None:
    wide = TWO.decode().encode(codec)
    assert split_messages(wide) == split_messages(b"\x0b" + wide + b"\x1c\r") == [wide]
    assert envelope_remarks(wide) == []

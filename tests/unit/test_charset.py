from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7.charset import CODECS, declared, decode, encode

SAMPLES = Path(__file__).parents[1] / "vectors" / "samples"


def head(charset: str) -> bytes:
    return b"MSH|^~\\&|A|B|||20250311||ADT^A01|1|P|2.5||||||" + charset.encode() + b"\r"


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["", "NONSENSE", *CODECS]))
def test_decoding_is_total(body: bytes, charset: str) -> None:
    for raw in (body, head(charset) + body, b"\xff\xfe" + body, b"M\0S\0H\0" + body, b"\r\n" + head(charset) + body):
        assert isinstance(decode(raw).text, str)


@settings(deadline=None)
@given(st.text(max_size=80), st.sampled_from(sorted(set(CODECS.values()))))
def test_encoding_is_total(text: str, codec: str) -> None:
    assert isinstance(encode(text, codec), bytes)


@pytest.mark.parametrize("charset", ["UNICODE UTF-8", "8859/1", "8859/15", "GB 18030-2000", "UTF-8"])
def test_a_declared_set_is_used(charset: str) -> None:
    raw = head(charset) + "PID|1||||ZOÉ".encode(CODECS[charset])
    found = decode(raw)
    assert found.text.endswith("ZOÉ")
    assert not found.doubtful


def test_the_sample_in_latin_1_is_read_as_declared() -> None:
    found = decode((SAMPLES / "11_non_ascii_a01_v25_latin1.hl7").read_bytes())
    assert found.codec == "iso-8859-1"
    assert "MARÍA" in found.text


def test_without_a_declaration_utf_8_then_the_habit_of_the_facility() -> None:
    assert decode(head("") + "ZOÉ".encode()).text.endswith("ZOÉ")
    guessed = decode(head("") + b"ZO\xc9")
    assert guessed.text.endswith("ZOÉ")
    assert guessed.codec == "cp1252"
    assert guessed.doubtful


def test_bytes_that_contradict_their_declaration_are_doubtful() -> None:
    found = decode(head("UNICODE UTF-8") + b"ZO\xc9")
    assert found.text.endswith("ZOÉ")
    assert found.doubtful


def test_utf_16_is_not_believed_where_msh_was_read_byte_by_byte() -> None:
    found = decode(head("UNICODE UTF-16") + b"PID|1\r")
    assert found.text.startswith("MSH|")
    assert found.doubtful


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_seen_by_its_bytes(codec: str) -> None:
    assert decode(head("UNICODE UTF-16").decode().encode(codec)).text.lstrip("\ufeff").startswith("MSH|")


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xc3\xaf\xc2\xbb\xc2\xbf"])
def test_a_byte_order_mark_is_stripped(mark: bytes) -> None:
    assert decode(mark + head("UNICODE UTF-8")).text.startswith("MSH|")


def test_only_the_first_repetition_of_msh_18_counts() -> None:
    assert declared(head("8859/1~UNICODE UTF-8")) == "8859/1"
    assert declared(b"\r\n" + head("8859/1")) == "8859/1"
    assert declared(b"") == declared(b"MSH|^~\\&|") == ""

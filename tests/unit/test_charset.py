from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7 import charset
from gateway.hl7.charset import CODECS, codec_of, declared, declared_sets, decode, encode

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


@pytest.mark.parametrize(
    "charset", ["UNICODE UTF-8", "8859/1", "8859/15", "GB 18030-2000", "UTF-8", "8859/9", "8859/14"]
)
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


def test_an_echo_cannot_end_the_block_it_is_written_in() -> None:
    assert encode("MSA|AA|1\x1c\r\x0b2", "utf-8") == b"MSA|AA|1\r2"


# Names of table 0211, and what senders make of them.


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("ISO-8859-1", "iso-8859-1"),
        ("ISO_8859-15", "iso-8859-15"),
        ("8859-9", "iso-8859-9"),
        ("iso8859/2", "iso-8859-2"),
        ("utf8", "utf-8"),
        ("UNICODE", "utf-8"),
        ("Windows-1252", "cp1252"),
        ("CP1252", "cp1252"),
        ("ISO_IR 100", "iso-8859-1"),
        ("ISO IR87", "iso2022_jp"),
        ("GB18030-2000", "gb18030"),
        ("KS_X_1001", "euc_kr"),
        ("8859/12", None),
        ("NONSENSE", None),
        ("", None),
    ],
)
def test_a_name_is_known_in_every_spelling_senders_use(name: str, codec: str | None) -> None:
    assert codec_of(name) == codec


TEXTS = {
    "8859/2": "ŁÓDŹ", "8859/3": "ĦAMRUN", "8859/4": "ĶEMPE", "8859/5": "ИВАН", "8859/6": "محمد", "8859/7": "ΑΘΗΝΑ",
    "8859/8": "שלום", "8859/9": "ŞAHİN", "8859/10": "ÞÓRA", "8859/11": "สมชาย", "8859/13": "ŠĶ", "8859/14": "ŴY",
    "8859/15": "ŒUVRE€", "8859/16": "ȘTEFAN", "GB 18030-2000": "王小明", "KS X 1001": "김철수", "BIG-5": "陳大文",
}  # fmt: skip


@pytest.mark.parametrize(("charset", "text"), TEXTS.items(), ids=list(TEXTS))
def test_each_set_of_the_table_is_read_and_answered_in(charset: str, text: str) -> None:
    raw = head(charset) + b"PID|1||||" + text.encode(CODECS[charset])
    found = decode(raw)
    assert found.text.endswith(f"|{text}")
    assert (found.codec, found.doubtful) == (CODECS[charset], False)
    assert encode(text, found.codec) == text.encode(CODECS[charset])


# Lies (domain A.8).


@pytest.mark.parametrize("charset", ["8859/1", "8859/15", "8859/9", "WINDOWS-1252"])
def test_utf_8_under_the_name_of_a_single_byte_set_is_utf_8(charset: str) -> None:
    found = decode(head(charset) + "PID|1||||ZOÉ ÑUÑEZ".encode())
    assert found.text.endswith("ZOÉ ÑUÑEZ")
    assert (found.codec, found.doubtful) == ("utf-8", True)


def test_windows_1252_under_the_name_of_latin_1_keeps_its_apostrophe() -> None:
    found = decode(head("8859/1") + b"PID|1||||D\x92SOUZA \xc9")
    assert found.text.endswith("D’SOUZA É")
    assert (found.codec, found.doubtful) == ("cp1252", True)


def test_a_hole_of_windows_1252_is_still_read() -> None:
    assert decode(head("8859/1") + b"\x81\xc9").text.endswith("\x81É")
    assert decode(head("") + b"\x81\xc9").text.endswith("\x81É")


@pytest.mark.parametrize("charset", ["KS X 1001", "BIG-5", "ISO IR87"])
def test_utf_8_under_the_name_of_a_multi_byte_set_is_utf_8_where_the_set_does_not_have_it(charset: str) -> None:
    found = decode(head(charset) + "PID|1||||É€ 😀".encode() + b"|")
    assert found.text.endswith("É€ 😀|")
    assert found.doubtful


def test_an_unknown_name_is_read_as_if_there_were_none() -> None:
    assert decode(head("NONSENSE") + "ZOÉ".encode()).text.endswith("ZOÉ")
    assert decode(head("NONSENSE") + b"ZO\xc9").text.endswith("ZOÉ")
    assert decode(head("NONSENSE")).doubtful


def test_the_habit_of_the_facility_decides_where_nothing_else_does() -> None:
    assert decode(head("") + b"\xfdLKER", fallback="iso-8859-9").text.endswith("ıLKER")
    assert decode(head("") + b"\xc9", fallback="no-such-codec").text.endswith("É")


# Width and marks.


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("charset", ["UNICODE UTF-16", "", "8859/1"])
def test_wide_sets_are_seen_whatever_msh_18_says(codec: str, charset: str) -> None:
    found = decode((head(charset).decode() + "PID|1||||ZOÉ €").encode(codec))
    assert found.text.startswith("MSH|")
    assert found.text.endswith("ZOÉ €")
    assert decode(encode(found.text, found.codec)).text == found.text, "the answer is readable by who wrote so"


def test_a_big_endian_mark_is_answered_in_big_endian() -> None:
    assert decode(b"\xfe\xff" + head("").decode().encode("utf-16-be")).codec == "utf-16-be"


def test_wide_text_may_begin_with_a_blank_line_and_in_lower_case() -> None:
    assert decode("\r\nmsh|^~\\&|".encode("utf-16-le")).text == "\r\nmsh|^~\\&|"


def test_half_a_character_at_the_end_is_shown_as_lost() -> None:
    assert decode("MSH|^~\\&|A".encode("utf-16-le") + b"x").text.endswith("A\ufffd")


@pytest.mark.parametrize(
    "lead", [b"\xef\xbb\xbf", b"\r\n\xef\xbb\xbf", b"  ", b"\0\0", b"\xc3\xaf\xc2\xbb\xc2\xbf\r\n"]
)
def test_what_lies_before_msh_does_not_hide_msh_18(lead: bytes) -> None:
    assert decode(lead + head("8859/5") + "PID|1||||ИВАН".encode("iso-8859-5")).text.endswith("ИВАН")


def test_msh_18_is_found_in_lower_case_with_other_delimiters_and_line_feeds() -> None:
    assert declared(b"msh*$%!@*A*B***2025**ADT$A01*1*P*2.5******8859/5%ISO IR87\nPID*1") == "8859/5"
    assert declared_sets(head("8859/5~ISO IR87")) == ("8859/5", "ISO IR87")
    assert declared_sets(b"PID|1") == declared_sets(b"MSH") == ()


# Switches (chapter 2.7.2, table 0356).


def switched(value: bytes, charset: str = "8859/1~ISO IR87~8859/5") -> str:
    return decode(head(charset) + b"PID|1||||" + value + b"|after").text.partition("||||")[2].partition("PID|1||||")[2]


KANJI = "山田".encode("euc_jp").translate(bytes(b & 0x7F for b in range(256)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"YAMADA^" + b"\\M2442\\" + KANJI + b"\\C2842\\", "YAMADA^山田"),
        (b"\\M2440\\" + KANJI + b"\\C284A\\x", "山田x"),
        (b"\x1b$B" + KANJI + b"\x1b(B", "山田"),
        (b"\\C2D4C\\" + "ИВАН".encode("iso-8859-5"), "ИВАН"),
        (b"\\C2d4c\\" + "ИВАН".encode("iso-8859-5") + b"\\C2D41\\\xc9", "ИВАНÉ"),
        (b"\\C2D4C\\" + "И^В".encode("iso-8859-5"), "И^В"),
        (b"\\M242943\\" + "김철수".encode("euc_kr"), "김철수"),
        (b"\\M242941\\" + "王小明".encode("gb2312"), "王小明"),
        (b"\\M242844\\" + b"\x30\x21" + b"\\C2842\\", b"\x8f\xb0\xa1".decode("euc_jp")),
        (b"\\C2849\\" + b"\x54\x5d\x4a" + b"\\C2842\\", "ﾔﾝﾊ"),
        (b"\\C2949\\\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"),
        (b"\xc9\\C2842\\\xc9", "ÉÉ"),
    ],
    ids=["kanji", "1978", "real ESC", "cyrillic", "and back", "in components", "hangul", "hanzi", "supplementary kanji",
         "kana", "right kana", "only back"],
)  # fmt: skip
def test_a_switch_changes_the_set_of_what_follows(value: bytes, text: str) -> None:
    assert switched(value) == f"{text}|after"


@pytest.mark.parametrize(
    "value",
    [
        b"\\C5555\\\xc9",  # designates nothing
        b"\\M2442\\" + KANJI,  # never switched off
        b"\\M2442\\;",  # half a pair (the switch back is understood, and dropped)
        b"\\M2442\\~~",  # not in the set
        b"\\C28\\ \\C284\\ \\CXXXX\\",
    ],
    ids=["unknown", "unclosed", "half", "not in the set", "broken"],
)
def test_a_switch_that_cannot_be_followed_stays_as_it_is(value: bytes) -> None:
    assert switched(value + b"\\C2842\\" if value[-1:] in b";~" else value) == value.decode("latin-1") + "|after"


def test_a_pair_may_hold_the_bytes_of_delimiters() -> None:
    pair = b"|^"  # 0x7C5E is beyond the set's last row, 0x5E7C is not
    text = switched(b"\\M2442\\" + pair[::-1] + b"\\C2842\\")
    assert text == bytes([0xDE, 0xFC]).decode("euc_jp") + "|after"


def test_a_set_reached_by_a_switch_ends_with_its_field() -> None:
    raw = head("8859/1~8859/5") + b"PID|1||||\\C2D4C\\\xb8|\xc9\r"
    assert decode(raw).text.endswith("|И|É\r")


def test_without_alternate_sets_in_msh_18_nothing_is_switched() -> None:
    assert switched(b"\\C2D4C\\\xb8", "8859/1") == "\\C2D4C\\¸|after"


def test_switches_are_written_with_the_senders_escape_character() -> None:
    raw = b"MSH|^~!&|A|B|||2025||ADT^A01|1|P|2.5||||||8859/1~8859/5\rPID|1||||!C2D4C!\xb8"
    assert decode(raw).text.endswith("|И")


def test_a_lie_about_the_default_set_does_not_stop_the_switches() -> None:
    raw = head("UNICODE UTF-8~8859/5") + b"PID|1||||\xc9^\\C2D4C\\\xb8"
    found = decode(raw)
    assert found.text.endswith("É^И")
    assert (found.codec, found.doubtful) == ("cp1252", True)


def test_a_message_of_nothing_but_switches_is_read_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = mock.Mock(side_effect=charset._run_end)
    monkeypatch.setattr(charset, "_run_end", looks)
    decode(head("8859/1~ISO IR87") + b"PID|" + b"\\M2442\\x" * 100_000)
    assert looks.call_count <= charset._SWITCHES_PER_MESSAGE

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7.escape import escape, is_delete, unescape
from gateway.hl7.lexer import DEFAULT, Delimiters

PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x0b\x1c\0"), max_size=60)


@st.composite
def delimiters(draw: st.DrawFn) -> Delimiters:
    return Delimiters(*draw(st.permutations(PUNCTUATION))[: draw(st.sampled_from([5, 6]))])


@settings(deadline=None)
@given(texts, delimiters())
def test_unescaping_gives_back_what_was_escaped(text: str, marks: Delimiters) -> None:
    assert unescape(escape(text, marks), marks) == text


@settings(deadline=None)
@given(texts, delimiters())
def test_escaped_text_holds_no_delimiter_and_no_segment_end(text: str, marks: Delimiters) -> None:
    written = escape(text, marks)
    splitting = {marks.field, marks.component, marks.subcomponent, marks.repetition, "\r", "\n"}
    assert not splitting & set(written)


@settings(deadline=None)
@given(st.text(max_size=80), delimiters())
def test_unescaping_never_fails(text: str, marks: Delimiters) -> None:
    unescape(text, marks)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r"12 \T\ 14", "12 & 14"),
        (r"\F\\S\\R\\E\\P\ ", "|^~\\# "),
        (r"a\.br\b", "a\nb"),
        (r"\H\bold\N\ ", "bold "),
        (r"\X4A4B\ ", "JK "),
        (r"\XE9\ ", "é "),  # not UTF-8: byte by byte
        (r"\XC3A9\ ", "é "),
        (r"\X00\ ", r"\X00\ "),  # no store holds NUL
        (r"\XZZ\ \Zlocal\ \C2842\ ", r"\XZZ\ \Zlocal\ \C2842\ "),
        ("broken \\ alone", "broken \\ alone"),
    ],
)
def test_sequences_of_the_standard(raw: str, text: str) -> None:
    assert unescape(raw, DEFAULT) == text


def test_mllp_block_characters_and_nul_cannot_be_written() -> None:
    assert escape("a\x0bb\x1cc\0d", DEFAULT) == "abcd"


def test_two_quotes_ask_to_delete() -> None:
    assert is_delete('""')
    assert not is_delete("")

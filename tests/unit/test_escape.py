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
        # Broken ones never swallow a whole one behind them.
        (r"C:\DATA\T\X", r"C:\DATA&X"),
        (r"unclosed \F and \F\ closed", r"unclosed \F and | closed"),
        (r"empty \\ and \\S\ ", r"empty \\ and \^ "),
        (r"odd \X4A4\ none \X\ spaced \X4A 4B\ ", r"odd \X4A4\ none \X\ spaced \X4A 4B\ "),
        (r"lower \f\ long \FF\ ", r"lower \f\ long \FF\ "),
        ("over \\F\r\\S\\ lines", "over \\F\r^ lines"),
        ("\\F", "\\F"),
        ("\\", "\\"),
        (r"\E\E\E\ ", "\\E\\ "),
        # Local and character set sequences stay whole, whatever they hold.
        (r"\ZF\F\T\ ", r"\ZF\F& "),
        (r"\M242843\ \C28\ ", r"\M242843\ \C28\ "),
        # Formatted text (chapter 2.7.6).
        (r"a\.sp2\b\.sp\c\.ce\d", "a\n\nb\nc\nd"),
        (r"\.in+4\a\.ti-2\b\.fi\\.nf\c\.sk3\d\.BR\e", "abc   d\ne"),
        (r"\.xx\ \.br", r"\.xx\ \.br"),
    ],
)
def test_sequences_of_the_standard(raw: str, text: str) -> None:
    assert unescape(raw, DEFAULT) == text


def test_a_long_sequence_of_digits_is_one_character_a_pair() -> None:
    assert unescape("\\X" + "41" * 10_000 + "\\", DEFAULT) == "A" * 10_000


def test_white_space_asked_for_by_a_command_has_a_cap() -> None:
    assert unescape(r"\.sp999\ ", DEFAULT) == "\n" * 100 + " "


def test_the_truncation_character_is_the_senders_or_the_usual_one() -> None:
    assert unescape(r"\P\ ", Delimiters(truncation="%")) == "% "
    assert unescape(r"\P\ ", DEFAULT) == "# "
    assert escape("a#b", Delimiters(truncation="#")) == r"a\P\b"
    assert escape("a#b", DEFAULT) == "a#b"


def test_mllp_block_characters_and_nul_cannot_be_written() -> None:
    assert escape("a\x0bb\x1cc\0d", DEFAULT) == "abcd"


def test_two_quotes_ask_to_delete() -> None:
    assert is_delete('""')
    assert not is_delete("")


@pytest.mark.parametrize("mark", ["+", "-"])
def test_a_mark_that_is_a_sign_ends_a_command_and_is_not_its_sign(mark: str) -> None:
    marks = Delimiters(escape=mark)
    assert unescape(f"A{mark}.br{mark}{mark}.br{mark}B", marks) == "A\n\nB"
    assert unescape(escape("A\n\nB", marks), marks) == "A\n\nB"

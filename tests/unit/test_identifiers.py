"""A number with characters that nobody sees in it is no number: in MSH AR, elsewhere AE 102, and nothing is done."""

from __future__ import annotations

import pytest

from gateway.contract.ports import Effect
from tests.simulators.journey import notice
from tests.unit.test_verdict import codes, evaluate

# One of each class: C0, NUL, DEL, C1, marks, embeddings, overrides, isolates, line separators; and written as escapes.
HOSTILE = ("\x1b", "\0", "\x7f", "\x9b", "\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\u2028")
ESCAPED = ("\\X1B\\", "\\X9B\\", "\\XE280AE\\", "\\.br\\", "\\X0D0A\\")
_HEADER = {
    "MSH-3": (b"|SIMRS|", b"|SI%sRS|"),
    "MSH-4": (b"RSU CEMPAKA CONTOH^", b"RSU CEM%sAKA CONTOH^"),
    "MSH-5": (b"|AKTAGW|", b"|AK%sGW|"),
    "MSH-6": (b"3510^3510^L", b"3510^35%s10^L"),
    "MSH-10": (b"|T0", b"|T%s0"),
}
_NUMBERS = {
    "PID-3": (b"||00450121^", b"||004%s21^"),
    "PID-3.4": (b"00450121^^^RSCEMPAKA^MR", b"00450121^^^RS%sKA^MR"),
    "PID-21": (b"|||||00331807^", b"|||||0033%s07^"),
    "PID-21, NIK": (b"3510165203959001^^^DUKCAPIL^NI||", b"35101652039%s59001^^^DUKCAPIL^NI||"),
    "NK1-33": (b"3510160407929001^^^DUKCAPIL", b"351016%s0407929001^^^DUKCAPIL"),
    "PV1-19": (b"V25031100077", b"V2503%s0077"),
    "ZKL-9": (b"0451/017/VI/2019", b"0451/%s/VI/2019"),
    "ZKL-10": (b"3510160407929001^BUDI", b"35101604%s07929001^BUDI"),
    "ZKL-12": (b"3510165811759001^ENDANG", b"3510165811%s759001^ENDANG"),
}


def _spoiled(place: tuple[bytes, bytes], character: str) -> bytes:
    good, bad = place
    raw = notice()
    assert raw.count(good) == 1, good
    return raw.replace(good, bad % character.encode())


@pytest.mark.parametrize("character", [*HOSTILE, *ESCAPED], ids=ascii)
@pytest.mark.parametrize("place", _NUMBERS)
def test_a_number_with_what_nobody_sees_is_an_error_and_opens_nothing(place: str, character: str) -> None:
    verdict = evaluate(_spoiled(_NUMBERS[place], character))
    found = next(f for f in verdict.findings if f.code == "IDENTIFIER_CONTROL")
    assert (found.severity, found.entry.condition, found.entry.answer) == ("E", 102, "")
    assert found.place is not None
    assert place.startswith(f"{found.place.segment}-{found.place.field}")
    assert verdict.effect is Effect.NONE
    assert character not in found.text("en") + found.text("id")


@pytest.mark.parametrize("character", [*HOSTILE, *ESCAPED], ids=ascii)
@pytest.mark.parametrize("place", _HEADER)
def test_a_header_field_with_what_nobody_sees_is_rejected(place: str, character: str) -> None:
    verdict = evaluate(_spoiled(_HEADER[place], character))
    found = next(f for f in verdict.findings if f.code == "HEADER_CONTROL")
    assert (found.entry.condition, found.place and found.place.label) == (102, place)
    assert verdict.rejected


@pytest.mark.parametrize("padding", [b"\0", b"\0\0 ", b" \t"])
def test_padding_behind_a_number_is_none_of_it(padding: bytes) -> None:
    raw = notice().replace(b"||00450121^", b"||00450121" + padding + b"^")
    assert "IDENTIFIER_CONTROL" not in codes(evaluate(raw))


def test_a_merge_by_a_marred_number_does_nothing() -> None:
    raw = notice().replace(b"A01", b"A40").replace(b"\rNK1|1", b"\rMRG|0045\xc2\x9b0120^^^RSCEMPAKA^MR\rNK1|1", 1)
    verdict = evaluate(raw)
    assert "IDENTIFIER_CONTROL" in codes(verdict)
    assert verdict.effect is Effect.NONE


@pytest.mark.parametrize(
    "number", ["RM-2025/0001", "RM.00 45", "0045_0121", "№45", "45\N{NO-BREAK SPACE}01", "\\T\\45"]
)
def test_visible_numbers_of_every_kind_stay_numbers(number: str) -> None:
    raw = notice().replace(b"||00450121^", b"||" + number.encode() + b"^")
    assert "IDENTIFIER_CONTROL" not in codes(evaluate(raw))


def test_nuls_between_segments_are_no_part_of_a_number() -> None:
    assert "IDENTIFIER_CONTROL" not in codes(evaluate(notice().replace(b"\rPV1", b"\r\0PV1")))

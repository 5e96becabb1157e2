"""Who is taken for a newborn, however the birth date is written, and who is not (domain A.1)."""

from __future__ import annotations

import datetime as dt

import pytest

from adapters.hospital.ages import rough_age
from gateway.contract.lifecycle import State
from gateway.contract.ports import Effect
from gateway.pipeline.verdict import Verdict, in_view_of
from tests.simulators.facilities import draft_of
from tests.unit.test_verdict import codes, evaluate

MARKS = {
    "mother": "NK1|1|SITI AMINAH|MTH\r",
    "class": "PV1|1|I||N\r",
    "indicator": f"PV2|{'|' * 35}Y\r",
    "form": "ZKL|1|1\r",
}
MORE = {  # no marks of their own, or the same with a date
    "weight": "OBX|1|NM|8339-4^Birth weight^LN||3150|g|||||F\r",
    "apgar": "OBX|2|NM|9272-6^Apgar 1^LN||8||||||F\r",
    "born": f"NK1|1|SITI AMINAH|MTH{'|' * 13}19950312\r",
    "nik": f"NK1|1|SITI AMINAH|MTH{'|' * 30}3510165203959001^^^^NI\r",
    "father": f"NK1|2|AGUS|FTH{'|' * 13}19950312\r",
}
SPELLINGS = [
    *("2025-03-11", "2025-03-11T00:15:00", "2025/03/11", "2025.3.11", "11/03/2025", "11-03-2025", "11.03.2025"),
    *(
        "20250311 00:15",
        "20250311T0015",
        "202503110015+07:00",
        "20250311256000",
        "25022025",
        "03/11/2025",
        "30-02-2025",
    ),
    *("11 MAR 2025", "25-Feb-2025", "11 Maret 2025 00:15"),
]
UNTOLD = ["", "-", "kemarin", "0000-00-00", "00000000", "20991231", "2025", "01/03/25", "32-02-2025"]
GROWN = [
    *("1990-01-01", "19900000", "19900500", "1990-00-00", "1990", "01/01/1990", "01011990", "01/01/90", "1-JAN-1990"),
    *("19900230", "19900101 00:00"),
]


def admission(born: str, *marks: str, name: str = "BUDI SANTOSA", event: str = "A01", more: str = "") -> bytes:
    head = f"MSH|^~\\&|SIMRS|RSU CEMPAKA CONTOH|||20250311093000+0700||ADT^{event}|1|P|2.5\rEVN||20250311093000\r"
    return (
        f"{head}PID|1||4711^^^RS^MR||{name}||{born}|M{more}\r{''.join((MARKS | MORE)[mark] for mark in marks)}".encode()
    )


def answered(raw: bytes) -> tuple[Effect, list[str]]:
    """Return what is done for an unknown patient, and the codes of the answer."""
    verdict: Verdict = evaluate(raw)
    effect, findings = in_view_of(verdict, None)
    return effect, [f.code for f in findings]


@pytest.mark.parametrize("born", SPELLINGS)
def test_a_birth_date_in_another_spelling_is_a_mark_and_is_asked_for_anew(born: str) -> None:
    for mark in ("mother", "class"):
        verdict = evaluate(admission(born, mark))
        assert verdict.effect is Effect.OPEN, mark
        assert "BIRTH_DATE" in codes(verdict)
        assert verdict.draft is not None
        assert verdict.draft.values is not None
        assert "child.born_on" not in verdict.draft.values


def test_a_birth_date_ahead_is_a_mark_and_told_to_be_ahead() -> None:
    for born in ("20250313", "20250312", "202503130415", "20260310"):
        effect, found = answered(admission(born, "mother"))
        assert (effect, "BIRTH_FUTURE" in found) == (Effect.OPEN, True), born
    assert "BIRTH_FUTURE" not in answered(admission("20250311", "mother"))[1]


@pytest.mark.parametrize("born", GROWN)
def test_a_grown_woman_in_a_newborns_class_with_her_own_mother_opens_no_birth(born: str) -> None:
    assert answered(admission(born, "mother", "class")) == (Effect.NONE, [])
    assert draft_of(admission(born, "mother", event="A08")).effect is Effect.NONE


@pytest.mark.parametrize("born", UNTOLD)
def test_one_mark_without_a_birth_date_is_told_and_opens_nothing(born: str) -> None:
    for mark in MARKS:
        assert answered(admission(born, mark)) == (Effect.NONE, ["NEWBORN_UNSURE"]), mark
    assert answered(admission(born, name="BY NY SITI")) == (Effect.NONE, ["NEWBORN_UNSURE"])
    assert answered(admission(born, "mother", "class"))[0] is Effect.OPEN


def test_a_date_in_another_spelling_alone_is_told_too() -> None:
    assert answered(admission("2025-03-11")) == (Effect.NONE, ["NEWBORN_UNSURE"])
    assert answered(admission("20250311")) == (Effect.NONE, ["NEWBORN_UNSURE"])
    assert answered(admission("11 Pebruari 2025")) == (Effect.NONE, ["NEWBORN_UNSURE"])
    assert answered(admission("20250130")) == (Effect.NONE, [])
    assert answered(admission("2025-03-11", event="A05")) == (Effect.NONE, [])


def test_who_lives_as_grown_or_has_no_mark_is_passed_over_in_silence() -> None:
    assert answered(admission("", "mother", more="||||||||M")) == (Effect.NONE, [])
    assert answered(admission("", "mother", more="").replace(b"\rNK1", b"\rNK1|9|AGUS|SPO\rNK1")) == (Effect.NONE, [])
    assert answered(admission("")) == (Effect.NONE, [])


def test_the_finding_names_the_field_and_what_to_send() -> None:
    (finding,) = evaluate(admission("kemarin", "class")).findings
    assert (str(finding.place), finding.severity) == ("PID^1^7^1^1", "W")
    assert "kemarin" not in str(finding.as_dict())


@pytest.mark.parametrize("yes", ["Y", "y", "YA", "yes", "1"])
def test_the_indicator_of_a_newborn_is_read_in_both_languages(yes: str) -> None:
    raw = admission("20250311", "indicator").replace(b"|Y\r", f"|{yes}\r".encode())
    assert answered(raw)[0] is Effect.OPEN
    assert answered(raw.replace(f"|{yes}\r".encode(), b"|TIDAK\r"))[0] is Effect.NONE


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2025-03-11", 9),
        ("20032025", 0),
        ("12/03/2025", 8),  # the day first
        ("2025", 31),
        ("2024", 79),
        ("2026", None),
        ("3510165203959001", None),
        ("99999999", None),
        ("30/02/2025", 20),
        ("32/02/2025", None),
        ("11 XYZ 2025", None),
        ("01/01/25", None),
        ("01/01/99", 9575),
    ],
)
def test_ages_by_rough_dates(text: str, days: int | None) -> None:
    assert rough_age(text, dt.date(2025, 3, 20)) == days


IMPOSSIBLE = ["20130311", "19250311", "1825-03-11", "01/03/1995", "1995", "19950312"]
OUTRIGHT = [("class", "indicator"), ("indicator", "mother"), ("form", "mother"), ("class", "form"), ("class", "weight")]


@pytest.mark.parametrize("marks", OUTRIGHT)
@pytest.mark.parametrize("event", ["A01", "A04", "A28", "A08", "A31"])
def test_what_says_newborn_outright_is_never_passed_over_for_its_date(event: str, marks: tuple[str, ...]) -> None:
    for born in IMPOSSIBLE:
        effect, found = answered(admission(born, *marks, event=event))
        assert "BIRTH_DATE" in found, born
        assert effect is Effect.NONE or born.startswith("18"), born  # 1825 is nobody's: the date counts as not told


def test_a_parents_birth_date_is_none_of_the_baby_and_opens_it_without_one() -> None:
    for marks in (
        ("class", "born"),
        ("class", "nik"),
        ("weight", "born"),
        ("class", "mother", "father"),
        ("form", "nik"),
    ):
        verdict = evaluate(admission("19950312", *marks))
        assert (verdict.effect, "BIRTH_DATE" in codes(verdict)) == (Effect.OPEN, True), marks
        assert verdict.draft is not None
        assert "child.born_on" not in (verdict.draft.values or {})
        assert "BORN_ELSEWHERE" not in codes(verdict), "nor was it born thirty years before admission"
    assert answered(admission("19950312", "born")) == (Effect.NONE, ["NEWBORN_UNSURE"])
    assert answered(admission("19950313", "class", "born")) == (Effect.NONE, []), "a grown woman, and her mother"


def test_a_grown_patient_who_stands_in_nk1_herself_is_no_baby() -> None:
    assert answered(admission("19950312", "born", name="SITI AMINAH")) == (Effect.NONE, [])
    own = admission("19950312", "mother", name="SITI AMINAH", more=f"{'|' * 13}3510165203959001^^^^NI")
    assert answered(own.replace(b"|4711^^^RS^MR|", b"|4711^^^RS^MR~3510165203959001^^^^NI|")) == (Effect.NONE, [])


def test_a_grown_patient_with_her_babys_results_or_an_old_placeholder_is_passed_over() -> None:
    assert answered(admission("19950312", "mother", "weight", "apgar")) == (Effect.NONE, [])
    assert answered(admission("20130311", "mother", name="BY NY SITI", event="A28")) == (Effect.NONE, [])


def test_what_is_measured_at_a_birth_alone_is_told_to_be_unsure() -> None:
    for more in ("", "||||||||||||||||Y", "||||||||||||||||N|1"):
        marks = () if more else ("apgar",)
        assert answered(admission("", *marks, more=more)) == (Effect.NONE, ["NEWBORN_UNSURE"]), more


def test_the_mothers_pid_before_the_babys_is_an_error_in_every_event_that_tells_of_a_birth() -> None:
    for event in ("A01", "A04", "A28", "A08", "A31", "A03", "A11"):
        mother = admission("19950312", "mother", event=event)
        effect, found = answered(mother + b"PID|2||4712^^^RS^MR||BY NY SITI||20250311|M\r")
        assert (effect, "SEGMENT_EXTRA" in found) == (Effect.NONE, True), event
    grown = admission("19950312", "mother") + b"PID|2||4712^^^RS^MR||AGUS||19900101|M\r"
    assert answered(grown) == (Effect.NONE, [])


@pytest.mark.parametrize("event", ["A08", "A31", "A03", "A11", "A23", "A29"])
def test_an_impossible_date_for_an_open_birth_changes_nothing_and_is_told(event: str) -> None:
    verdict = evaluate(admission("20130311", "class", event=event))
    assert in_view_of(verdict, State.HOLD_NAME)[0] is Effect.NONE
    assert [f.code for f in in_view_of(verdict, State.HOLD_NAME)[1]] == ["BIRTH_DATE"]
    assert in_view_of(verdict, State.DELIVERED) == (Effect.NONE, []), "a child that grew up is nobody's birth"
    assert in_view_of(verdict, None) == (Effect.NONE, [])


def test_a_date_that_cannot_be_read_is_told_while_the_birth_is_open() -> None:
    verdict = evaluate(admission("31-02-25", "class", event="A08"))
    assert verdict.effect is Effect.AMEND
    assert "BIRTH_DATE" in {f.code for f in in_view_of(verdict, State.READY)[1]}
    assert "BIRTH_DATE" not in {f.code for f in in_view_of(verdict, State.DELIVERED)[1]}

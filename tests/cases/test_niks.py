"""F 34 to 46: NIK and KK numbers as they are typed, and which of the people in NK1 are the parents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.dukcapil.replies import parse_case, parse_look_up
from gateway.contract.lifecycle import State
from gateway.errors import IllegalMoveError
from gateway.pipeline import operate
from tests.cases.case import case
from tests.cases.dialogue import FATHER_NIK, KK, MOTHER, MOTHER_NIK, judged, message, told, without

if TYPE_CHECKING:
    from tests.simulators.journey import Journey

MOTHER_IN_PID = f"00331807^^^RSCEMPAKA^MR~{MOTHER_NIK}^^^DUKCAPIL^NI||BANYUWANGI"
ANOTHER_NIK = "3510165203959002"


@case(
    34,
    decision="No search by name and birth date: the look-ups of C.1 and C.2 go by NIK only. "
    "The text sends a mother without one to the office, which makes her biodata first.",
)
def test_f034_a_mother_without_nik_holds() -> None:
    """An Indonesian mother without NIK: accepted with a warning, HOLD_DATA; the text says who gives one."""
    raw = message("A01", (f"~{MOTHER_NIK}^^^DUKCAPIL^NI|", "|"), (f"{MOTHER_NIK}^^^DUKCAPIL^NI~", ""))
    found = judged(raw)
    assert (found.answer.code, found.codes, found.state) == ("AA", {"MOTHER_NIK_MISSING"}, State.HOLD_DATA)
    assert "Disdukcapil" in found.answer.warned["MOTHER_NIK_MISSING"]


@case(35)
@pytest.mark.parametrize(
    ("typed", "codes"),
    [
        ("351016520395900", {"MOTHER_NIK_LENGTH"}),
        ("35101652039590011", {"MOTHER_NIK_LENGTH"}),
        ("3510165203959001.0", {"MOTHER_NIK_LENGTH"}),
        ("3510165203959001-", {"MOTHER_NIK_LENGTH", "MOTHER_NIK_FORMAT"}),
        ("3.51E+15", {"MOTHER_NIK_LENGTH", "MOTHER_NIK_FORMAT"}),
        ("351O165203959001", {"MOTHER_NIK_FORMAT"}),
        ("0000000000000000", {"MOTHER_NIK_FORMAT"}),
        ("1234567890123456", {"MOTHER_NIK_FORMAT"}),
    ],
)
def test_f035_a_dirty_nik_is_an_error(typed: str, codes: set[str]) -> None:
    """A mother's NIK of 15 or 17 digits, or dirty, is an AE with its own code each, and HOLD_DATA."""
    found = judged(message("A01", (MOTHER_NIK, typed)))
    assert (found.answer.code, found.codes, found.state) == ("AE", codes, State.HOLD_DATA)


@case(35)
def test_f035_blanks_and_dots_are_no_mistake() -> None:
    """Blanks and dots within a NIK are read over."""
    found = judged(message("A01", (MOTHER_NIK, "351016 520395.9001")))
    assert (found.codes, found.values["mother.nik"]) == (set(), MOTHER_NIK)


@case(36)
def test_f036_a_mans_nik_in_the_mothers_place_holds() -> None:
    """A mother whose NIK is a man's: AE and HOLD_DATA, with the hint that it may be the husband's."""
    found = judged(message("A01", (MOTHER_NIK, FATHER_NIK)))
    assert (found.answer.code, found.state) == ("AE", State.HOLD_DATA)
    assert "MOTHER_NIK_SEX_MISMATCH" in found.codes
    assert "suami" in found.answer.warned["MOTHER_NIK_SEX_MISMATCH"]


@case(36)
async def test_f036_the_office_may_find_an_odd_nik_right(way: Journey) -> None:
    """Where only the sex in a NIK is odd and the office finds it right, it is released by a person; nothing else is."""
    odd = (MOTHER_NIK, "3510161203959001")
    await told(way, message("A01", odd))
    birth = await way.birth()
    assert birth.state is State.HOLD_DATA
    assert await operate.release(way.desk("seen with KTP"), birth.id) is State.READY
    await told(way, message("A01", odd, (FATHER_NIK, "35101604079290"), record_number="00450122"))
    with pytest.raises(IllegalMoveError):
        await operate.release(way.desk(), (await way.birth("00450122")).id)


@case(37)
def test_f037_a_womans_nik_in_the_fathers_place_holds() -> None:
    """A father whose NIK has a day above 40: AE, HOLD_DATA."""
    found = judged(message("A01", (FATHER_NIK, "3510164407929001")))
    assert (found.answer.code, found.codes, found.state) == ("AE", {"FATHER_NIK_SEX_MISMATCH"}, State.HOLD_DATA)
    assert "istri" in found.answer.warned["FATHER_NIK_SEX_MISMATCH"]


@case(38)
@pytest.mark.parametrize(
    ("digits", "born", "codes"),
    [
        ("710195", "19950131", set()),
        ("710495", "19950430", {"MOTHER_NIK_DATE"}),
        ("720195", "19950131", {"MOTHER_NIK_DATE"}),
        ("320195", "19950131", {"MOTHER_NIK_DATE"}),
    ],
)
def test_f038_day_71_is_the_31st_of_a_woman(digits: str, born: str, codes: set[str]) -> None:
    """Day 71 is right where the month has 31 days; 72 is an error."""
    found = judged(message("A01", (MOTHER_NIK, f"351016{digits}9001"), ("|F|19950312|", f"|F|{born}|")))
    assert found.codes == codes


@case(39)
@pytest.mark.parametrize(
    ("digits", "born", "codes"),
    [
        ("690296", "19960229", set()),
        ("690200", "20000229", set()),  # 1900 had none, 2000 had
        ("690295", "19950228", {"MOTHER_NIK_DATE"}),
    ],
)
def test_f039_a_29_february_needs_a_leap_year_in_some_century(digits: str, born: str, codes: set[str]) -> None:
    """A NIK of a 29 February is an error unless one of the centuries had that day."""
    found = judged(message("A01", (MOTHER_NIK, f"351016{digits}9001"), ("|F|19950312|", f"|F|{born}|")))
    assert found.codes == codes


@case(40)
def test_f040_another_birth_date_than_the_nik_is_a_warning() -> None:
    """A birth date that is not the NIK's is a warning only: old NIK hold wrong dates, and the register decides."""
    found = judged(message("A01", ("|F|19950312|", "|F|19950313|")))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"MOTHER_NIK_DOB_MISMATCH"}, State.READY)
    assert found.answer.severities == {"MOTHER_NIK_DOB_MISMATCH": "W"}


@case(41)
@pytest.mark.parametrize("prefix", ["991016", "540101"])
def test_f041_an_unknown_or_retired_prefix_is_a_warning(prefix: str) -> None:
    """A prefix that no list has (54: East Timor) is a warning only."""
    found = judged(message("A01", (MOTHER_NIK, f"{prefix}5203959001")))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"MOTHER_NIK_REGION_UNKNOWN"}, State.READY)


@case(42)
def test_f042_the_kk_typed_as_nik_is_recognised() -> None:
    """The KK number in the NIK's place is NIK_FORMAT, with the hint that it is the KK's."""
    found = judged(message("A01", (MOTHER_NIK, KK)))
    assert (found.answer.code, found.codes, found.state) == ("AE", {"MOTHER_NIK_FORMAT"}, State.HOLD_DATA)
    assert "KK" in found.answer.warned["MOTHER_NIK_FORMAT"]


@case(43)
@pytest.mark.parametrize(
    ("sent", "whole"),
    [
        ("9102061103259001", "9102061103259001"),
        ("9671999999999999", "9671999999999999"),
        ("9.102061103259001E+15", "9102061103259001"),
    ],
)
def test_f043_a_nik_beyond_2_to_the_53_stays_exact(sent: str, whole: str) -> None:
    """A NIK that comes as a JSON number above 2^53 becomes its sixteen digits, exactly."""
    looked = parse_look_up(f'{{"content": [{{"NIK": {sent}, "NO_KK": {sent}}}]}}'.encode())
    assert looked.person is not None
    assert (looked.person.nik, looked.person.family_card) == (whole, whole)
    issued = f"""{{"id_kasus": "x", "revisi": 1, "status": "TERBIT", "terbit": {{"no_akta": "3510-LU-20032025-9001",
        "nik_anak": {sent}, "terbit_pada": "2025-03-20T10:00:00+07:00",
        "dokumen": [{{"jenis": "AKTA", "url": "https://registry.invalid/a", "sha256": "{"0" * 64}"}}]}}}}"""
    certificate = parse_case(issued.encode()).certificate
    assert certificate is not None
    assert certificate.child_nik.reveal() == whole


@case(44)
def test_f044_no_mother_is_an_error() -> None:
    """A birth without a mother is AE MOTHER_MISSING and HOLD_DATA."""
    raw = without(message("A01", (MOTHER_IN_PID, "||BANYUWANGI")), "NK1|1|")
    found = judged(raw)
    assert (found.answer.code, found.codes, found.state) == ("AE", {"MOTHER_MISSING"}, State.HOLD_DATA)


def _second_mother(raw: bytes) -> bytes:
    """Add another woman, first in the message, who is called the mother too."""
    lines = raw.decode().split("\r")
    first = next(n for n, line in enumerate(lines) if line.startswith("NK1|1|"))
    other = lines[first].replace(MOTHER, "WAHYU LESTARI").replace(MOTHER_NIK, ANOTHER_NIK).replace("NK1|1|", "NK1|3|")
    return "\r".join([*lines[:first], other, *lines[first:]]).encode()


@case(45)
def test_f045_of_two_mothers_the_one_of_pid_21_counts() -> None:
    """Of two NK1 with MTH the one whose NIK stands in PID-21 is the mother."""
    found = judged(_second_mother(message()))
    assert (found.codes, found.state, found.values["mother.name"]) == (set(), State.READY, MOTHER)


@case(45)
def test_f045_two_mothers_and_no_pid_21_hold() -> None:
    """Without PID-21 nobody is chosen: HOLD_DATA."""
    found = judged(_second_mother(message("A01", (MOTHER_IN_PID, "||BANYUWANGI"))))
    assert (found.answer.code, found.state) == ("AE", State.HOLD_DATA)
    assert "MOTHER_AMBIGUOUS" in found.codes


@case(46)
@pytest.mark.parametrize("relation", ["Ibu Kandung", "^Ibu Kandung", "IBU", "ORTU", "PAR^Parent", "Orang Tua"])
def test_f046_a_relationship_in_words_is_read(relation: str) -> None:
    """IBU KANDUNG is the mother; ORTU is, where NK1-15 is F, and the father where it is M."""
    raw = message("A01", ("MTH^Mother^HL70063", relation), ("FTH^Father^HL70063", "ORTU"))
    found = judged(raw)
    assert (found.codes, found.state) == (set(), State.READY)
    assert (found.values["mother.nik"], found.values["father.nik"]) == (MOTHER_NIK, FATHER_NIK)


@case(46)
@pytest.mark.parametrize("relation", ["IBU TIRI", "IBU ANGKAT", "IBU MERTUA"])
def test_f046_a_step_or_foster_mother_is_nobodys_mother_here(relation: str) -> None:
    """A step, foster or mother-in-law is not taken for the mother."""
    raw = message("A01", ("MTH^Mother^HL70063", relation), (MOTHER_IN_PID, "||BANYUWANGI"))
    assert "MOTHER_MISSING" in judged(raw).codes

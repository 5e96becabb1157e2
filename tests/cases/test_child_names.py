"""F 26 to 33: names that may stand on an akta, and names that may not."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.pipeline import clocks, form
from tests.cases.case import case
from tests.cases.dialogue import FATHER, LATER, MOTHER, NAME, codes_of, judged, message, told

if TYPE_CHECKING:
    from tests.simulators.journey import Journey

PLACEHOLDER = (NAME, "BY NY SITI AMINAH")


@case(26)
async def test_f026_a_placeholder_holds_until_the_name_is_chosen(way: Journey) -> None:
    """A baby called "By Ny …" waits in HOLD_NAME, accepted with a warning; an A31 with the chosen name releases it."""
    answer = await told(way, message("A01", PLACEHOLDER))
    birth = await way.birth()
    assert (answer.code, answer.severities) == ("AA", {"NAME_PLACEHOLDER": "W"})
    assert "A31" in answer.warned["NAME_PLACEHOLDER"]
    assert (birth.state, codes_of(birth)) == (State.HOLD_NAME, {"NAME_PLACEHOLDER"})
    row = await way.database.fetchrow("SELECT missing FROM births")
    assert row is not None
    assert "name" in row["missing"]

    assert (await told(way, message("A31", sent=LATER))).warned == {}
    birth = await way.birth()
    assert (birth.state, codes_of(birth), birth.revision) == (State.READY, set(), 2)


@case(26)
@pytest.mark.parametrize(
    "name", ["B/O SITI AMINAH", "BAYINYA SITI", "KEMBAR DUA SITI", "PEREMPUAN NY", "XXX", "TEST TEST"]
)
def test_f026_other_words_for_nobodys_name(name: str) -> None:
    """B/O, BAYINYA, KEMBAR DUA, XXX and TEST TEST are nobody's name either."""
    found = judged(message("A01", (NAME, name)))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"NAME_PLACEHOLDER"}, State.HOLD_NAME)


@case(27)
async def test_f027_a_name_changed_before_registration_is_a_revision(way: Journey) -> None:
    """A name changed before registration makes a new revision; both names stay in the audit trail."""
    await told(way, message())
    await told(way, message("A08", (NAME, "AHMAD RIZQI PRATAMA"), sent=LATER))
    birth = await way.birth()
    rows = await way.database.fetch("SELECT record->'child'->>'name' AS name FROM revisions ORDER BY revision")
    assert (birth.state, birth.revision) == (State.READY, 2)
    assert [r["name"] for r in rows] == [NAME, "AHMAD RIZQI PRATAMA"]
    assert (await way.events())[-1]["detail"] == {"changed": ["child.name", "child.name_as_sent"]}


@case(28)
async def test_f028_a_nameless_baby_is_escalated_and_never_registered(way: Journey) -> None:
    """No name by day 50: somebody is told and the birth moves forward in every queue; a placeholder is never sent."""
    await told(way, message("A01", PLACEHOLDER))
    before = (await way.birth()).priority
    fiftieth = dt.datetime(2025, 4, 30, 2, tzinfo=dt.UTC)
    assert await clocks.escalate(replace(way.context, clock=lambda: fiftieth)) == 1
    last = (await way.events())[-1]
    birth = await way.birth()
    assert (last["step"], last["detail"]["day"]) == ("clock", 50)
    assert birth.priority < before
    await way.hurry()
    await way.work()
    assert await way.state() is State.HOLD_NAME
    assert way.registry.submissions == []


@case(29)
def test_f029_one_word_is_a_warning() -> None:
    """A name of one word is accepted with a warning and goes on."""
    found = judged(message("A01", (NAME, "SURYANI")))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"NAME_ONE_WORD"}, State.READY)
    assert found.answer.severities == {"NAME_ONE_WORD": "W"}


@case(30)
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("AHMAD RIZKI 2", "NAME_DIGIT", "angka"),
        ("H. AHMAD RIZKI", "NAME_TITLE", "gelar"),
        ("AHMAD RIZKI, S.H.", "NAME_TITLE", "gelar"),
        ("PUTRI RAHAYU NY", "NAME_TITLE", "sapaan"),
        ("AHMAD RIZKI " + "PRATAMA" * 7, "NAME_LENGTH", "61 huruf"),
    ],
)
def test_f030_what_no_akta_bears_is_held_with_the_rule(name: str, code: str, said: str) -> None:
    """Digits, titles and more than 60 letters hold the name; the warning names the very rule."""
    found = judged(message("A01", (NAME, name)))
    assert (found.answer.code, found.codes, found.state) == ("AA", {code}, State.HOLD_NAME)
    assert said in found.answer.warned[code]


@case(30)
def test_f030_sixty_letters_are_allowed() -> None:
    """Sixty letters, blanks included, go through."""
    assert judged(message("A01", (NAME, "AHMAD RIZKI " + "PRATAMA" * 6 + "PRATAM"))).state is State.READY


@case(31)
@pytest.mark.parametrize(
    ("name", "code", "offered"),
    [
        ("NUR'AINI PUTRI", "NAME_PUNCTUATION", ["NURAINI PUTRI", "NUR AINI PUTRI"]),
        ("AL-FATIH PUTRA", "NAME_PUNCTUATION", ["ALFATIH PUTRA", "AL FATIH PUTRA"]),
        ("ZOË PUTRI", "NAME_NON_BASIC_LATIN", ["ZOE PUTRI"]),
        ("SØREN D'ANGELO", "NAME_NON_BASIC_LATIN", ["SOREN DANGELO", "SOREN D ANGELO"]),
        ("AHMAD-2 RIZKI", "NAME_DIGIT", []),
    ],
)
async def test_f031_marks_and_accents_are_held_and_other_spellings_offered(
    way: Journey, name: str, code: str, offered: list[str]
) -> None:
    """Apostrophe, hyphen, accent: HOLD_NAME; the form offers other spellings, and the name stays as it was sent."""
    answer = await told(way, message("A01", (NAME, name)))
    birth = await way.birth()
    assert (answer.code, birth.state) == ("AA", State.HOLD_NAME)
    assert code in codes_of(birth)
    assert birth.record.child.name is not None
    assert birth.record.child.name.reveal() == name
    assert await form.spellings_of(way.context, birth.id) == offered
    assert name not in answer.raw.decode()


@case(32)
@pytest.mark.parametrize("parent", [MOTHER, FATHER, "Siti  Aminah"])
def test_f032_a_parents_name_is_a_placeholder(parent: str) -> None:
    """A baby with the name of its mother or father waits in HOLD_NAME: it is probably a placeholder."""
    found = judged(message("A01", (NAME, parent)))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"NAME_SAME_AS_PARENT"}, State.HOLD_NAME)


@case(33)
@pytest.mark.parametrize("name", ["I GEDE ARTA", "NI LUH AYU", "IDA AYU PUTRI", "ANAK AGUNG PUTRA", "AN NISA PUTRI"])
def test_f033_balinese_and_arabic_words_are_words(name: str) -> None:
    """I GEDE, NI LUH, ANAK AGUNG and AN NISA are names and raise nothing."""
    found = judged(message("A01", (NAME, name)))
    assert (found.codes, found.state) == (set(), State.READY)


@case(33)
@pytest.mark.parametrize("name", ["I NY. SUKARSA", "NI NYM SARI"])
def test_f033_nyoman_cut_short_is_no_lady(name: str) -> None:
    """NY and NYM behind I or NI are Nyoman: an abbreviation is warned of, and no placeholder."""
    found = judged(message("A01", (NAME, name)))
    assert (found.codes, found.state) == ({"NAME_ABBREV"}, State.READY)


@case(33, decision="M. and MUH. are warned of and not refused: B.8 forbids abbreviations unless not read otherwise.")
@pytest.mark.parametrize("name", ["M. RIZKI PRATAMA", "MUH RIZKI PRATAMA", "ABD. RAHMAN"])
def test_f033_an_abbreviation_is_warned_of(name: str) -> None:
    """M., MUH and ABD. are warned of as abbreviations."""
    found = judged(message("A01", (NAME, name)))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"NAME_ABBREV"}, State.READY)

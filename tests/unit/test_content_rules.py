"""The content rules: the samples against the manifest, then each rule at its edges."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.masked import Nik, Personal
from gateway.contract.record import BirthRecord, Event, Parent
from gateway.contract.revision import apply_draft, leaves_of
from gateway.verify.content import Judgement, judge
from gateway.verify.moment import deadline
from tests.simulators.facilities import CLOCK, MANIFEST, draft_of, facility, message_of, sample

MESSAGES = {m["file"]: m for m in MANIFEST["messages"]}


def verdict(raw: bytes, *, require_form: bool = False, now: dt.datetime = CLOCK) -> Judgement:
    draft = draft_of(raw, now=now)
    assert draft.values is not None
    return judge(
        draft.values,
        draft.places,
        facility=facility(message_of(raw).value("MSH", 4)),
        now=now,
        require_form=require_form,
        adapter_findings=draft.findings,
    )


def codes(judgement: Judgement) -> set[str]:
    return {finding.code for finding in judgement.findings}


def judged(record: BirthRecord, *, require_form: bool = False, now: dt.datetime = CLOCK) -> Judgement:
    return judge(leaves_of(record, derived=True), {}, facility=facility(), now=now, require_form=require_form)


def sample_01(path: str = "", value: Any = None) -> BirthRecord:
    """Return the record of sample 01, complete with its form, with one value set."""
    record = apply_draft(None, draft_of(sample("01")))
    if not path:
        return record
    *parents, leaf = path.split(".")
    if not parents:
        return record.model_copy(update={leaf: value})
    part = getattr(record, parents[0])
    return record.model_copy(update={parents[0]: part.model_copy(update={leaf: value})})


@pytest.mark.parametrize("name", sorted(f for f in MESSAGES if "cancels" not in MESSAGES[f]))
def test_the_samples_are_judged_as_the_manifest_says(name: str) -> None:
    expected = MESSAGES[name]
    state = expected.get("state") or expected["state_if_not_sent"]
    plain = verdict(sample(name[:2]))
    assert plain.state.value == state
    assert codes(plain) == set(expected.get("issues", []))
    assert any(f.severity == "E" for f in plain.findings) == ("AE" in expected["ack"])
    full = verdict(sample(name[:2]), require_form=True)
    waits = state == "READY" and not expected["form_complete"]
    assert full.state.value == ("AWAIT_FORM" if waits else state)
    if "variant" in expected:
        record = draft_of(sample(name[:2])).record
        assert record
        assert record.variant
        assert record.variant.value == expected["variant"]


def test_sample_07_after_sample_01_is_ready_with_its_form() -> None:
    record = apply_draft(sample_01(), draft_of(sample("07")))
    assert judged(record, require_form=True).state is State.READY


def test_findings_of_sample_09_stand_where_the_sample_answer_says() -> None:
    mother, father = verdict(sample("09")).findings
    assert (mother.entry.error_code, str(mother.place), mother.entry.condition) == ("NIK_LENGTH", "PID^1^21^1^1", 102)
    assert mother.parameters == {"count": "15"}
    assert (father.entry.error_code, str(father.place)) == ("NIK_SEX_MISMATCH", "NK1^2^33^1^1")
    assert father.entry.condition == 207


def test_deadlines() -> None:
    promised = dt.date.fromisoformat(MESSAGES["01_singleton_a01_v25.hl7"]["deadline"])
    assert deadline(sample_01(), CLOCK) == promised == dt.date(2025, 5, 10)
    still = apply_draft(None, draft_of(sample("12")))
    assert deadline(still, CLOCK) == dt.date(2025, 4, 17)
    early = still.model_copy(update={"child": still.child.model_copy(update={"gestation_weeks": 27})})
    assert deadline(early, CLOCK) is None
    assert deadline(sample_01("child.born_on", None), CLOCK) is None
    assert deadline(sample_01("child.born_on", dt.date(2026, 1, 1)), CLOCK) is None


@pytest.mark.parametrize(
    ("path", "value", "expected", "state"),
    [
        ("child.sex", None, {"SEX_UNKNOWN"}, State.HOLD_DATA),
        ("child.born_at", None, {"BIRTH_TIME"}, State.HOLD_DATA),
        ("child.born_on", None, {"BIRTH_DATE"}, State.HOLD_DATA),
        ("child.born_on", dt.date(2025, 3, 21), {"BIRTH_FUTURE"}, State.HOLD_DATA),
        ("child.born_on", dt.date(2025, 1, 19), set(), State.READY),  # the sixtieth day
        ("child.born_on", dt.date(2025, 1, 18), {"BIRTH_LATE"}, State.READY),
        ("child.utc_offset", "+08:00", {"BIRTH_OFFSET"}, State.READY),
        ("child.weight_g", 299, {"WEIGHT_RANGE"}, State.READY),
        ("child.weight_g", 7000, set(), State.READY),
        ("child.weight_g", 32000, {"WEIGHT_RANGE"}, State.READY),
        ("child.length_cm", 66.0, {"LENGTH_RANGE"}, State.READY),
        ("child.gestation_weeks", 46, {"GESTATION_RANGE"}, State.READY),
        ("child.name", None, {"NAME_MISSING"}, State.HOLD_NAME),
        ("child.name", "SITI AMINAH", {"NAME_SAME_AS_PARENT"}, State.HOLD_NAME),
        ("child.name", "RIZKI", {"NAME_ONE_WORD"}, State.READY),
        ("child.name", "M. RIZKI", {"NAME_ABBREV"}, State.READY),
        ("child.name", "H. AHMAD RIZKI", {"NAME_TITLE"}, State.HOLD_NAME),
        ("child.name", "AHMAD \ufffdIZKI", {"NAME_UNREADABLE"}, State.HOLD_NAME),
        ("child.name", "A" * 31 + " " + "B" * 30, {"NAME_LENGTH"}, State.HOLD_NAME),
        ("mother.name", "SITI \ufffdMINAH", {"MOTHER_NAME_UNREADABLE"}, State.HOLD_NAME),
        ("mother.name", "ZOÃ‹ AMINAH", {"MOTHER_NAME_UNREADABLE"}, State.HOLD_NAME),
        ("mother.name", "S1TI 2", {"MOTHER_NAME_DIGIT"}, State.READY),
        ("mother.name", "ZOË D'ARC", set(), State.READY),
        ("father.name", "BUD\ufffd", {"FATHER_NAME_UNREADABLE"}, State.HOLD_NAME),
        ("father.name", "BUDI 2", {"FATHER_NAME_DIGIT"}, State.READY),
        ("reporter.name", "BUD\ufffd", {"REPORTER_NAME_UNREADABLE"}, State.AWAIT_FORM),
        ("child.place_name", "BANYUW\ufffdNGI", {"BIRTH_PLACE_UNREADABLE"}, State.READY),  # the region is known
        ("mother", None, {"MOTHER_MISSING"}, State.HOLD_DATA),
        ("mother.name", None, {"MOTHER_NAME_MISSING"}, State.HOLD_DATA),
        ("mother.nik", None, {"MOTHER_NIK_MISSING"}, State.HOLD_DATA),
        ("mother.nik", "3510160407929001", {"MOTHER_NIK_SEX_MISMATCH", "MOTHER_NIK_DOB_MISMATCH"}, State.HOLD_DATA),
        ("mother.nik", "0000000000000000", {"MOTHER_NIK_FORMAT"}, State.HOLD_DATA),
        ("mother.nik", "3510161405189001", {"MOTHER_NIK_FORMAT"}, State.HOLD_DATA),  # the family card (F 42)
        ("mother.nik", "9910165203959001", {"MOTHER_NIK_REGION_UNKNOWN"}, State.READY),
        ("mother.nik", "3510167203959001", {"MOTHER_NIK_DATE"}, State.HOLD_DATA),
        ("mother.born_on", dt.date(1995, 3, 13), {"MOTHER_NIK_DOB_MISMATCH"}, State.READY),
        ("mother.citizenship", "WNA", {"MOTHER_FOREIGN"}, State.REVIEW),
        ("father.name", None, {"FATHER_NAME_MISSING"}, State.HOLD_DATA),
        ("father.nik", None, {"FATHER_NIK_MISSING"}, State.HOLD_DATA),
        ("father", None, {"NO_FATHER"}, State.READY),
        ("family_card", "5171031405189001", {"MOTHER_OTHER_KABUPATEN"}, State.REVIEW),
        ("family_card", "51710314", {"KK_LENGTH"}, State.READY),  # no family card's number: the village says it
        ("reporter", None, {"FORM_INCOMPLETE"}, State.AWAIT_FORM),
        ("witnesses", (), {"FORM_INCOMPLETE"}, State.AWAIT_FORM),
        ("marriage", None, {"FORM_INCOMPLETE"}, State.AWAIT_FORM),
    ],
)
def test_rules(path: str, value: Any, expected: set[str], state: State) -> None:
    record = sample_01(path, value)
    plain = BirthRecord.model_validate_json(record.model_dump_json())
    judgement = judged(plain, require_form=True)
    assert codes(judgement) == expected
    assert judgement.state is state


@pytest.mark.parametrize(
    ("born_on", "expected"),
    [
        (dt.date(2008, 3, 12), {"MOTHER_AGE"}),  # sixteen
        (dt.date(2008, 3, 11), set()),  # seventeen that day
        (dt.date(1964, 3, 12), set()),
        (dt.date(1964, 3, 11), {"MOTHER_AGE"}),
    ],
)
def test_the_age_of_the_mother(born_on: dt.date, expected: set[str]) -> None:
    nik = f"351016{born_on.day + 40:02}{born_on:%m%y}9001"
    for given in (born_on, None):
        mother = Parent(name="SITI AMINAH", nik=nik, born_on=given, citizenship="WNI")
        assert codes(judged(sample_01("mother", mother))) == expected


def test_a_foreign_mother_needs_no_nik() -> None:
    mother = Parent(name="JANE MILLER", travel_document="PX1", citizenship="WNA")
    assert codes(judged(sample_01("mother", mother))) == {"MOTHER_FOREIGN"}


def test_multiple_births_need_an_order_within_the_set() -> None:
    assert codes(verdict(sample("02").replace(b"|Y|1|", b"|Y||").replace(b"73771-8", b"00000-0"))) == {"BIRTH_ORDER"}
    assert codes(verdict(sample("02").replace(b"|Y|1|", b"|Y|3|").replace(b"73771-8", b"00000-0"))) == {"BIRTH_ORDER"}


def test_a_foundling_is_reviewed() -> None:
    raw = sample("10").replace(b"|N|1|IDN\r", b"|N|1|IDN|||||Y\r").replace(b"FTH^Father", b"GRD^Guardian")
    judgement = verdict(raw)
    assert (codes(judgement), judgement.state) == ({"FOUNDLING"}, State.REVIEW)


def test_witnesses_are_two_grown_others() -> None:
    record = sample_01()
    one, two = record.witnesses
    parent = two.model_copy(update={"nik": record.mother.nik if record.mother else None})
    child = two.model_copy(update={"nik": Nik("3510160101109001")})
    for pair in ((one, one), (one, parent), (one, child), (one,)):
        judgement = judged(record.model_copy(update={"witnesses": pair}), require_form=True)
        assert [f.parameters for f in judgement.findings] == [{"missing": "dua saksi", "missing_en": "two witnesses"}]


def test_a_mother_alone_needs_no_marriage_proof() -> None:
    record = sample_01("father", None).model_copy(update={"marriage": None})
    assert codes(judged(record, require_form=True)) == {"NO_FATHER"}


def test_a_birth_time_a_little_ahead_is_a_clock() -> None:
    record = sample_01()
    born = dt.datetime.fromisoformat("2025-03-11T04:15:00+07:00")
    assert codes(judged(record, now=born - dt.timedelta(minutes=59))) == set()
    assert codes(judged(record, now=born - dt.timedelta(minutes=61))) == {"BIRTH_FUTURE"}


@pytest.mark.parametrize(
    ("weeks", "code", "state"),
    [
        (28, "STILLBIRTH_GE_28W", State.STILLBIRTH),
        (27, "STILLBIRTH_LT_28W", State.STILLBIRTH),
        (None, "GESTATION_UNKNOWN", State.REVIEW),
    ],
)
def test_stillbirths(weeks: int | None, code: str, state: State) -> None:
    record = apply_draft(None, draft_of(sample("12")))
    record = record.model_copy(
        update={"child": record.child.model_copy(update={"gestation_weeks": weeks, "sex": None})}
    )
    judgement = judged(record, require_form=True)
    assert (codes(judgement), judgement.state) == ({code}, state)
    assert record.event is Event.STILLBIRTH


def test_a_stillbirth_is_late_after_thirty_days() -> None:
    record = apply_draft(None, draft_of(sample("12")))
    assert "BIRTH_LATE" not in codes(judged(record, now=CLOCK + dt.timedelta(days=28)))
    assert "BIRTH_LATE" in codes(judged(record, now=CLOCK + dt.timedelta(days=29)))


def test_adapter_findings_count_and_are_told_once() -> None:
    late = Finding("WEIGHT_RANGE")
    judgement = judge(
        leaves_of(sample_01("child.weight_g", 32000), derived=True),
        {},
        facility=facility(),
        now=CLOCK,
        require_form=False,
        adapter_findings=[late, Finding("MOTHER_NIK_CONFLICT")],
    )
    assert [f.code for f in judgement.findings] == ["MOTHER_NIK_CONFLICT", "WEIGHT_RANGE"]  # errors first
    assert judgement.state is State.HOLD_DATA


@pytest.mark.parametrize("require_form", [True, False])
def test_a_witness_whose_name_cannot_be_read_is_told_by_number(*, require_form: bool) -> None:
    first, second = sample_01().witnesses
    broken = second.model_copy(update={"name": Personal("SLAM\ufffdT")})
    judgement = judged(sample_01("witnesses", (first, broken)), require_form=require_form)
    (found,) = judgement.findings
    assert (found.code, str(found.place), judgement.state) == ("WITNESS_NAME_UNREADABLE", "ZKL^1^12", State.AWAIT_FORM)
    assert "saksi II" in found.text("id")


def test_a_place_that_cannot_be_read_is_no_place_where_no_code_says_it() -> None:
    record = sample_01("child.place_name", "KOTA \ufffd")
    record = record.model_copy(update={"child": record.child.model_copy(update={"place_region": None})})
    judgement = judged(record)
    assert codes(judgement) == {"BIRTH_PLACE", "BIRTH_PLACE_UNREADABLE"}
    assert judgement.state is State.HOLD_DATA


def test_a_stillborn_childs_parents_must_be_readable_too() -> None:
    record = apply_draft(None, draft_of(sample("12")))
    assert record.mother
    broken = record.mother.model_copy(update={"name": Personal("SITI \ufffdMINAH")})
    assert "MOTHER_NAME_UNREADABLE" in codes(judged(record.model_copy(update={"mother": broken})))

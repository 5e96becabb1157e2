"""The verdict on one message: in which order it is looked at, and what an update means for a birth we know."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

import pytest

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, JUDGED, State
from gateway.contract.ports import Draft, Effect
from gateway.pipeline.verdict import Judge, Verdict, in_view_of
from tests.simulators.facilities import CLOCK, HOSPITAL, facility, sample
from tests.simulators.journey import RENAMED, notice

if TYPE_CHECKING:
    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.message import Message


class Counting(BaselineHospital):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def draft(self, message: Message, facility: FacilityProfile, *, now: dt.datetime) -> Draft:
        self.asked += 1
        return super().draft(message, facility, now=now)


def judge_of(
    adapter: BaselineHospital | None = None,
    *,
    tests: Literal["accept", "reject"] = "accept",
    segment_limit: int = 2000,
    **profile: Any,
) -> Judge:
    return Judge(
        facilities={HOSPITAL: facility(**profile)},
        hospitals={"baseline": adapter or BaselineHospital()},
        clock=lambda: CLOCK.astimezone(dt.UTC),
        test_messages=tests,
        require_form=False,
        segment_limit=segment_limit,
    )


def evaluate(raw: bytes, judge: Judge | None = None) -> Verdict:
    return (judge or judge_of()).evaluate(raw, peer="127.0.0.1")


def codes(verdict: Verdict) -> list[str]:
    return [f.code for f in verdict.findings]


def test_a_good_notice_has_a_draft_and_no_findings() -> None:
    verdict = evaluate(notice())
    assert (codes(verdict), verdict.effect, verdict.event) == ([], Effect.OPEN, "ADT^A01")
    assert not verdict.rejected
    assert not [f for f in verdict.findings if f.severity == "E"]


@pytest.mark.parametrize(
    ("raw", "header"),
    [
        (b"", False),
        (b"garbage", False),
        (b"PID|1\rMSH|^~\\&|A", False),
        (b"MSH|^^^^|A|B|C|D|2025||ADT^A01|ID9|P|2.5\r", True),
        (b"\x00\xff\xfe", False),
    ],
)
def test_an_unreadable_msh_is_rejected_and_what_can_be_read_of_it_is(raw: bytes, *, header: bool) -> None:
    verdict = evaluate(raw)
    assert codes(verdict) == ["MSH_UNREADABLE"]
    assert verdict.findings[0].entry.condition == 100
    assert (verdict.rejected, verdict.effect, verdict.draft) == (True, Effect.NONE, None)
    assert (verdict.header is not None) is header
    assert verdict.event == ("ADT^A01" if header else "")


def test_an_unknown_facility_is_rejected_before_anything_is_mapped() -> None:
    adapter = Counting()
    verdict = evaluate(notice(changes=(("RSU CEMPAKA CONTOH", "RSU LAIN"),)), judge_of(adapter))
    assert codes(verdict) == ["FACILITY_UNKNOWN"]
    assert (verdict.rejected, verdict.facility, adapter.asked) == (True, None, 0)


def test_a_rejected_envelope_or_sender_ends_the_walk() -> None:
    adapter = Counting()
    for raw, code in (
        (notice(changes=(("|P|2.5|", "|P|9.9|"),)), "VERSION_UNSUPPORTED"),
        (notice(changes=(("ADT^A01^ADT_A01", "DFT^P03^DFT_P03"),)), "TYPE_UNSUPPORTED"),
        (notice(changes=(("|SIMRS|", "|STRANGER|"),)), "APPLICATION_NOT_ALLOWED"),
    ):
        verdict = evaluate(raw, judge_of(adapter, applications=("SIMRS",)))
        assert codes(verdict) == [code]
        assert verdict.rejected
    assert adapter.asked == 0
    stranger = judge_of(adapter, peers=("10.0.0.0/8",)).evaluate(notice(), peer="127.0.0.1")
    assert codes(stranger) == ["FACILITY_NOT_ALLOWED"]
    certified = judge_of(adapter, certificates=("rs.contoh",))
    assert codes(certified.evaluate(notice(), peer="127.0.0.1")) == ["FACILITY_NOT_ALLOWED"]
    named = certified.evaluate(notice(), peer="127.0.0.1", certificate_names={"rs.contoh"})
    assert codes(named) == []


def test_what_is_not_a_birth_is_understood_and_nobodys_case() -> None:
    adult = notice(
        changes=(
            ("||20250311041500+0700|M|", "||19600101|M|"),
            ("NIFAS^203^1^RSCEMPAKA|N|", "NIFAS^203^1^RSCEMPAKA|R|"),
        ),
        segments=("PV1",),
    )
    verdict = evaluate(adult)
    assert (codes(verdict), verdict.draft, verdict.effect) == ([], None, Effect.NONE)
    assert in_view_of(verdict, None) == (Effect.NONE, [])


@pytest.mark.parametrize("kind", ["T", "D"])
def test_test_messages_are_answered_and_never_mapped(kind: str) -> None:
    adapter = Counting()
    raw = notice(changes=(("|P|2.5|", f"|{kind}|2.5|"),))
    verdict = evaluate(raw, judge_of(adapter))
    assert (codes(verdict), verdict.effect, verdict.rejected) == (["TEST_MESSAGE"], Effect.NONE, False)
    assert in_view_of(verdict, None)[0] is Effect.NONE
    refused = evaluate(raw, judge_of(adapter, tests="reject"))
    assert (codes(refused), refused.rejected) == (["PROCESSING_ID_UNSUPPORTED"], True)
    assert adapter.asked == 0


def test_a_baby_without_a_record_number_is_an_error_and_no_case() -> None:
    verdict = evaluate(notice(record_number="").replace(b"|^^^RSCEMPAKA^MR~", b"|"))
    assert "MEDICAL_RECORD_MISSING" in codes(verdict)
    assert [f for f in verdict.findings if f.severity == "E"]
    assert in_view_of(verdict, State.READY) == (Effect.NONE, verdict.findings)


def test_a_field_is_complained_about_once() -> None:
    verdict = evaluate(notice(changes=(("20250311041500+0700|M|", "20251399|M|"),)))
    fields = [(f.place.segment, f.place.sequence, f.place.field) for f in verdict.findings if f.place]
    assert len(fields) == len(set(fields))
    assert [f for f in verdict.findings if f.severity == "E"]


@pytest.mark.parametrize("name", ["01", "02", "04", "06", "09", "10", "11", "12"])
def test_the_samples_of_any_facility_come_through(name: str) -> None:
    raw = sample(name)
    code = raw.split(b"|")[3].split(b"^")[0].decode("latin-1")
    judge = judge_of(code=code)
    judge._facilities = {code: facility(code)}
    verdict = evaluate(raw, judge)
    assert verdict.draft is not None
    assert not verdict.rejected


def test_doubtful_bytes_are_read_in_the_facilitys_character_set() -> None:
    raw = notice(changes=(("UNICODE UTF-8", ""), ("AHMAD RIZKI", "JOSÉ RIZKI"))).decode().encode("latin-1")
    verdict = evaluate(raw, judge_of(charset="iso-8859-1"))
    assert verdict.codec == "iso-8859-1"
    assert verdict.draft is not None
    assert verdict.draft.record is not None
    assert verdict.draft.record.child.name is not None
    assert verdict.draft.record.child.name.reveal() == "JOSÉ RIZKI PRATAMA"


def test_the_segment_limit_counts_in_every_character_set() -> None:
    long = notice() + b"ZZZ|\xe9\r" * 2100
    raw = long.replace(b"UNICODE UTF-8", b"")
    generous = judge_of(charset="iso-8859-1", segment_limit=5000)
    assert "MESSAGE_UNREADABLE" not in codes(evaluate(raw, generous))
    assert codes(evaluate(raw)) == ["MESSAGE_UNREADABLE"]


# --------------------------------------------------------------------------------- in view of what the store knows


def test_an_opening_message_is_itself_whatever_is_known() -> None:
    verdict = evaluate(notice())
    for state in (None, *State):
        assert in_view_of(verdict, state) == (Effect.OPEN, verdict.findings)


def test_an_update_for_an_unknown_newborn_opens_where_the_facility_allows() -> None:
    verdict = evaluate(notice("A08", changes=RENAMED))
    assert in_view_of(verdict, None) == (Effect.OPEN, verdict.findings)
    strict = evaluate(notice("A08"), judge_of(update_creates=False))
    effect, findings = in_view_of(strict, None)
    assert (effect, [f.code for f in findings]) == (Effect.NONE, ["BIRTH_UNKNOWN"])


def test_an_update_for_somebody_unknown_who_may_be_no_newborn_is_not_ours() -> None:
    verdict = evaluate(notice("A08", segments=("PV1",), changes=(("||20250311041500+0700|M|", "||20240601|M|"),)))
    assert in_view_of(verdict, None) == (Effect.NONE, [])


def test_a_discharge_for_somebody_unknown_is_not_ours() -> None:
    assert in_view_of(evaluate(notice("A03", segments=("PV1",))), None) == (Effect.NONE, [])


def test_a_withdrawal_for_somebody_unknown_is_accepted_without_a_case() -> None:
    effect, findings = in_view_of(evaluate(notice("A11", segments=("PV1",))), None)
    assert effect is Effect.NONE
    assert {f.code for f in findings} <= {"BIRTH_UNKNOWN"}


@pytest.mark.parametrize("state", list(State))
def test_an_update_for_a_known_birth_is_told_what_becomes_of_it(state: State) -> None:
    amend = in_view_of(evaluate(notice("A08")), state)
    cancel = in_view_of(evaluate(notice("A11", segments=("PV1",))), state)
    discharge = in_view_of(evaluate(notice("A03")), state)
    assert [e for e, _ in (amend, cancel, discharge)] == [Effect.AMEND, Effect.CANCEL, Effect.DISCHARGE]
    late = [[f.code for f in findings] for _, findings in (amend, cancel, discharge)]
    if state in CERTIFIED:
        assert late == [["ALREADY_ISSUED"], ["CANCEL_AFTER_ISSUE"], []]
    elif state in IN_FLIGHT:
        assert late == [["IN_PROCESS_CHANGE"], ["IN_PROCESS_CHANGE"], []]
    elif state is State.CANCELLED:
        assert late == [["BIRTH_WITHDRAWN"], [], ["BIRTH_WITHDRAWN"]]
    else:
        assert late == [[], [], []]
    assert State.READY in JUDGED


def test_what_an_update_does_not_mention_is_not_missing() -> None:
    bare = notice("A08", segments=("PV1",))
    _, unknown = in_view_of(evaluate(notice(segments=("PV1",))), None)
    assert "MOTHER_NAME_MISSING" in {f.code for f in unknown} or "MOTHER_MISSING" in {f.code for f in unknown}
    effect, findings = in_view_of(evaluate(bare), State.READY)
    assert effect is Effect.AMEND
    assert not {f.code for f in findings} & {"MOTHER_MISSING", "MOTHER_NAME_MISSING", "NO_FATHER"}


def test_what_an_update_says_wrongly_is_told() -> None:
    wrong = notice("A08", changes=(("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),))
    _, findings = in_view_of(evaluate(wrong), State.READY)
    assert "NAME_PLACEHOLDER" in {f.code for f in findings}


def test_a_field_that_repeats_without_end_is_named_and_costs_no_time() -> None:
    raw = sample("01").replace(b"||AHMAD", b"~" * 16_000 + b"||AHMAD")
    (finding,) = evaluate(raw).findings
    assert (finding.code, str(finding.place)) == ("FIELD_REPEATS_WITHOUT_END", "PID^1^3")
    assert "200" in finding.text("id")


def test_a_dropped_nul_is_told() -> None:
    assert "CHARSET_DOUBTFUL" in codes(evaluate(sample("01").replace(b"RIZKI", b"RI\0KI")))


def test_two_babies_in_one_message_open_nothing() -> None:
    raw = sample("01") + b"PID|2||99^^^RSCEMPAKA^MR||BAYI LAIN||20250311041500+0700|M\r"
    verdict = evaluate(raw)
    assert "SEGMENT_EXTRA" in codes(verdict)
    assert not {"MOTHER_MISSING", "FORM_INCOMPLETE"} & set(codes(evaluate(raw.replace(b"|MTH^", b"|UNK^"))))
    assert verdict.effect is Effect.NONE


def test_an_answer_is_never_many_times_its_message() -> None:
    raw = sample("01").replace(b"EVN|A01|20250311093000+0700", b"EVN|A01|" + b"~".join([b"x"] * 190))
    assert len(evaluate(raw).findings) <= 60


def test_two_visits_in_one_message_are_one_patient() -> None:
    raw = sample("01").replace(b"\rPV1|", b"\rPV1|9|O\rPV1|")
    verdict = evaluate(raw, judge_of(policy={"PV1.single-segment": "warning"}))
    assert "SEGMENT_EXTRA" in codes(verdict)
    assert verdict.effect is Effect.OPEN

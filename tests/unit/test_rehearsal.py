"""The dry run: the wire's verdict with the store's part assumed, and what it tells people to do."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.facility import FacilityProfile
from gateway.contract.finding import catalogue
from gateway.contract.lifecycle import WAITS
from gateway.hl7.told import decode_told, told_codec
from gateway.pipeline.answer import Answerer
from gateway.pipeline.rehearsal import Rehearsal, Report, senders
from gateway.pipeline.verdict import Judge
from tests.simulators.facilities import CLOCK, HOSPITAL, facility, sample
from tests.simulators.journey import RENAMED, notice


class Stumbling(BaselineHospital):
    def draft(self, *arguments: Any, **more: Any) -> Any:
        raise ZeroDivisionError


def rehearsal(adapter: BaselineHospital | None = None, **profile: Any) -> Rehearsal:
    judge = Judge(
        facilities={HOSPITAL: facility(**profile)},
        hospitals={"baseline": adapter or BaselineHospital()},
        clock=utc,
        test_messages="accept",
        require_form=True,
        segment_limit=2000,
    )
    return Rehearsal(judge, Answerer("AKTAGW", "DISDUKCAPIL", utc))


def utc() -> dt.datetime:
    return CLOCK.astimezone(dt.UTC)


def report(raw: bytes, **profile: Any) -> Report:
    return rehearsal(**profile).report(raw, peer="127.0.0.1")


def original(raw: bytes) -> bytes:
    """Return a message in original acknowledgement mode."""
    return raw.replace(b"|AL|AL|", b"|||")


def actions(said: Report, language: Any = "en") -> dict[str, str | None]:
    return {finding.code: said.action(finding, language) for finding in said.findings}


@pytest.mark.parametrize(
    ("raw", "code", "result"),
    [
        (notice(), "CA", "AA"),
        (original(notice()), "AA", "AA"),
        (original(sample("10")), "AE", "AE"),
        (sample("10"), "CA", "AE"),
        (original(notice(changes=(("|2.5|", "|3.0|"),))), "AR", "AR"),
        (notice(changes=(("|2.5|", "|3.0|"),)), "CR", "CR"),
        (notice(changes=(("|AL|AL|", "|NE|AL|"),)), "AA", "AA"),
        (b"no HL7", "AR", "AR"),
    ],
)
def test_code_is_what_the_wire_says_first_and_result_the_verdict(raw: bytes, code: str, result: str) -> None:
    said = report(raw)
    assert (said.code, said.result, said.accepted) == (code, result, result == "AA")
    assert f"MSA|{code}" in said.as_dict("en")["answer"]


def test_a_message_that_wants_no_answer_shows_none() -> None:
    shown = report(notice(changes=(("|AL|AL|", "|NE|NE|"),))).as_dict("en")
    assert (shown["code"], shown["result"], shown["answer"]) == ("AA", "AA", "")


def test_an_update_is_judged_as_for_a_known_birth_and_the_report_says_so() -> None:
    shown = report(notice("A31", changes=RENAMED)).as_dict("en")
    assert (shown["effect"], shown["assumed"]) == ("amend", "known_birth")
    assert report(notice()).as_dict("en")["assumed"] is None


def test_a_finding_bears_the_words_of_the_wire_and_of_people() -> None:
    found = {f["code"]: f for f in report(sample("09")).as_dict("id")["findings"]}["MOTHER_NIK_LENGTH"]
    assert (found["error_code"], found["condition"], found["severity"]) == ("NIK_LENGTH", 102, "E")
    assert (found["place"].partition("^")[0], found["label"], found["state"]) == ("PID", "PID-21", "HOLD_DATA")
    assert found["text"] == found["pesan"] != found["message"]


def test_what_to_do_depends_on_whether_the_message_is_kept() -> None:
    kept = actions(report(sample("10")))
    assert "Kept, but it must be corrected" in str(kept["MOTHER_MISSING"])
    assert "waits in AWAIT_FORM, the next move is with: parents" in str(kept["FORM_INCOMPLETE"])
    rejected = actions(report(notice(changes=(("|2.5|", "|3.0|"),))))
    assert "correct the message and send it again" in str(rejected["VERSION_UNSUPPORTED"])
    blocked = actions(report(notice(changes=((HOSPITAL, "RSU LAIN"),))))
    assert "send it again when the cause is mended" in str(blocked["FACILITY_UNKNOWN"])


def test_a_remark_that_holds_nothing_asks_for_nothing() -> None:
    judged = report(notice(changes=(("||20250311041500+0700|M", "||20241010041500+0700|M"),)))
    assert actions(judged).get("BIRTH_LATE", "absent") is None


def test_every_state_that_a_finding_holds_in_has_an_owner() -> None:
    assert {entry.hold for entry in catalogue().values() if entry.hold} <= set(WAITS)


def test_an_error_of_ours_is_reported_as_the_wire_answers_it() -> None:
    said = rehearsal(Stumbling()).report(notice(), peer="")
    assert (said.result, [f.code for f in said.findings]) == ("AR", ["INTERNAL"])
    assert isinstance(said.fault, ZeroDivisionError)


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"", set()),
        (b"PID|1\r", set()),
        (b"MSH|^~\\&|A|B^1\r", {"B"}),
        (b"\r\n  \xef\xbb\xbfmsh|^~\\&|A|B\nPID|1\rMSH#$%*!#A#C", {"B", "C"}),
        (b"BHS|^~\\&|A|X\rMSH|^~\\&|A|B\r", {"B"}),
        ("MSH|^~\\&|A|B\r".encode("utf-16"), {"B"}),
        (b"M\0SH|^~\\&|A|B\r", {"B"}),
    ],
)
def test_every_sender_that_some_part_could_be_taken_for_is_seen(raw: bytes, named: set[str]) -> None:
    assert senders(raw) == named


# ------------------------------------------------------------------------------------------- what the transport told


@pytest.mark.parametrize(
    ("name", "codec"),
    [("UTF-8", "utf-8"), ("utf8", "utf-8"), ("us-ascii", "utf-8"), ("latin1", "iso-8859-1"), ("windows-1252", "cp1252"),
     ("utf-16", ""), ("klingon", None), ("rot13", None), ("unicode_escape", None), ("a\0b", None)],
)  # fmt: skip
def test_charsets_are_known_by_their_registered_names(name: str, codec: str | None) -> None:
    assert told_codec(name) == codec


def test_a_told_charset_wins_over_msh_18() -> None:
    raw = "MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5||||||8859/2\rPID|1||Ñ".encode("iso-8859-1")
    assert decode_told(raw, "iso-8859-1").text.endswith("Ñ")
    assert decode_told(raw, "").text.endswith("Ń")


def test_a_told_charset_that_the_bytes_are_not_in_is_as_if_none_was_told() -> None:
    raw = "MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5||||||8859/2\rPID|1||Ń".encode("iso-8859-2")
    assert decode_told(raw, "utf-8").text.endswith("Ń")
    assert decode_told("MSH|Ń".encode(), "iso-8859-1").text == "MSH|Ń"
    assert decode_told("MSH|^~\\&|A".encode("utf-16"), "utf-8").text == "MSH|^~\\&|A"


# ----------------------------------------------------------------------------------------- ids that are counted per day


def test_the_key_is_the_control_id_unless_it_is_counted_per_day() -> None:
    assert facility().control_key("000123", "20250311093000", utc) == "000123"


@pytest.mark.parametrize(
    ("sent", "day"),
    [("20250311093000+0700", "20250311"), ("20250311", "20250311"), ("", "received"), ("2025", "received")],
)
def test_the_key_has_the_day_of_msh_7_else_of_receipt_at_the_facility(sent: str, day: str) -> None:
    profile = FacilityProfile(code="A", region="3510", control_id_per_day=True, time_zone="WIT")
    midnight = dt.datetime(2025, 3, 10, 15, 30, tzinfo=dt.UTC)  # half past midnight of the 11th in Jayapura
    expected = "20250311" if day == "received" else day
    assert profile.control_key("000123", sent, lambda: midnight) == f"{expected}/000123"

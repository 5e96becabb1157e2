"""Every event to its meaning, in every version, and newborns known by dirty fields (domain A.1)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.lifecycle import State
from gateway.contract.ports import Draft, Effect, Prior
from gateway.contract.record import Sex
from gateway.pipeline.verdict import Judge, Verdict, in_view_of
from gateway.verify.policy import load_policy
from tests.simulators.facilities import CLOCK, HOSPITAL, draft_of, facility

VERSIONS = sorted(load_policy().versions)
PDF = b"%PDF-1.7 surat keterangan kelahiran"
NOW = "20250311093000+0700"
BABY = f"PID|1||4711^^^RS^MR||AHMAD RIZKI||{NOW[:8]}0415|M"
MOTHER = "PID|1||331807^^^RS^MR~3510165203959001^^^DUKCAPIL^NI||SITI AMINAH||19950312|F"
MEANINGS = {
    **dict.fromkeys(("A01", "A04", "A28"), Effect.OPEN),
    **dict.fromkeys(("A08", "A31"), Effect.AMEND),
    **dict.fromkeys(("A02", "A06", "A07", "A12"), Effect.MOVE),
    **dict.fromkeys(("A11", "A23", "A29"), Effect.CANCEL),
    **dict.fromkeys(("A18", "A34", "A35", "A36", "A40"), Effect.MERGE),
    "A03": Effect.DISCHARGE,
    "A05": Effect.NONE,
    "A13": Effect.UNDO_DISCHARGE,
    "A24": Effect.LINK,
    "A37": Effect.UNLINK,
    "A47": Effect.RENUMBER,
}


def message(event: str, *segments: str, kind: str = "ADT", version: str = "2.5") -> bytes:
    head = f"MSH|^~\\&|SIMRS|{HOSPITAL}|AKTAGW|DISDUKCAPIL 3510|{NOW}||{kind}^{event}|1|P|{version}"
    return "\r".join((head, f"EVN|{event}|{NOW}", *segments, "")).encode()


def about(event: str) -> tuple[str, ...]:
    """Return what an event of a baby has besides its head."""
    if event in ("A24", "A37"):
        return BABY, MOTHER
    if MEANINGS[event] in (Effect.MERGE, Effect.RENUMBER):
        return BABY, "MRG|4712^^^RS^MR"
    return BABY, "PV1|1|I||N"


def verdict_of(raw: bytes, **profile: Any) -> Verdict:
    judge = Judge(
        facilities={HOSPITAL: facility(**profile)},
        hospitals={"baseline": BaselineHospital()},
        clock=lambda: CLOCK.astimezone(dt.UTC),
        test_messages="accept",
        require_form=False,
        segment_limit=2000,
    )
    return judge.evaluate(raw, peer="127.0.0.1")


def codes(verdict: Verdict, state: State | None) -> list[str]:
    return [finding.code for finding in in_view_of(verdict, state)[1]]


def prior_of(draft: Draft) -> list[tuple[str, str]]:
    return [(pair.old, pair.new) for pair in draft.prior]


# -------------------------------------------------------------------------------------------------- the table A.1


def test_every_event_of_the_profile_has_a_meaning_here() -> None:
    assert load_policy().events["ADT"] == MEANINGS.keys()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("event", sorted(MEANINGS))
def test_an_event_means_the_same_in_every_version(event: str, version: str) -> None:
    verdict = verdict_of(message(event, *about(event), version=version))
    assert not verdict.rejected
    assert in_view_of(verdict, State.READY)[0] is MEANINGS[event]


@pytest.mark.parametrize("version", ["1", "2", "2.0", "2.51", "2.9", "3.0", "v2.5", "2,5", "HL7", "٢.٥"])
def test_a_version_that_is_none_is_rejected(version: str) -> None:
    verdict = verdict_of(message("A01", *about("A01"), version=version))
    assert [f.code for f in verdict.findings] == ["VERSION_UNSUPPORTED"]
    assert (verdict.rejected, verdict.findings[0].entry.condition) == (True, 203)


@pytest.mark.parametrize(
    ("kind", "event", "condition"),
    [("DFT", "P03", 200), ("SIU", "S12", 200), ("ADT", "A60", 201), ("ADT", "Z99", 201), ("MDM", "T01", 201)],
)
def test_what_is_not_for_us_is_rejected(kind: str, event: str, condition: int) -> None:
    verdict = verdict_of(message(event, *about("A01"), kind=kind))
    assert (verdict.rejected, verdict.findings[0].entry.condition) == (True, condition)


def test_the_event_is_read_from_evn_where_msh_9_has_none() -> None:
    raw = message("A40", *about("A40"), version="2.2").replace(b"ADT^A40", b"ADT")
    assert draft_of(raw).effect is Effect.MERGE


@pytest.mark.parametrize("event", sorted(MEANINGS))
def test_the_same_event_about_a_grown_person_is_nobodys_birth(event: str) -> None:
    father = MOTHER.replace("|F", "|M").replace("331807", "9")
    segments = {"A24": (MOTHER, father), "A37": (MOTHER, father)}.get(event, (MOTHER, *about(event)[1:]))
    assert draft_of(message(event, *segments)).effect is Effect.NONE
    verdict = verdict_of(message(event, *segments))
    assert in_view_of(verdict, None) == (Effect.NONE, [])


@pytest.mark.parametrize(
    ("event", "effect", "said"),
    [
        ("A08", Effect.OPEN, []),
        ("A31", Effect.OPEN, []),
        ("A02", Effect.NONE, []),
        ("A03", Effect.NONE, []),
        ("A13", Effect.NONE, []),
        ("A24", Effect.NONE, []),
        ("A11", Effect.NONE, ["BIRTH_UNKNOWN"]),
        ("A40", Effect.MERGE, []),
        ("A47", Effect.RENUMBER, []),
    ],
)
def test_events_about_an_unknown_baby(event: str, effect: Effect, said: list[str]) -> None:
    segments = (*about(event), "NK1|1|SITI AMINAH|MTH") if event in ("A08", "A31") else about(event)
    seen, findings = in_view_of(verdict_of(message(event, *segments)), None)
    assert seen is effect
    if effect is not Effect.OPEN:
        assert [f.code for f in findings] == said


def test_an_update_opens_nothing_where_the_facility_does_not_allow_it() -> None:
    raw = message("A08", BABY, "PV1|1|I||N", "NK1|1|SITI AMINAH|MTH")
    verdict = verdict_of(raw, update_creates=False)
    assert in_view_of(verdict, None)[0] is Effect.NONE
    assert codes(verdict, None) == ["BIRTH_UNKNOWN"]


@pytest.mark.parametrize("event", ["A01", "A08", "A03"])
def test_two_patients_in_one_message_are_an_error_and_change_nothing(event: str) -> None:
    other = BABY.replace("PID|1", "PID|2").replace("4711", "4712")
    verdict = verdict_of(message(event, BABY, other, "PV1|1|I||N"))
    for state in (None, State.READY):
        assert in_view_of(verdict, state)[0] is Effect.NONE
        assert "SEGMENT_EXTRA" in codes(verdict, state)
    assert any(f.severity == "E" for f in verdict.findings)


# ------------------------------------------------------------------------------------------- merges and numbers


@pytest.mark.parametrize(
    ("mrg", "old"),
    [
        ("MRG|4712^^^RS^MR", ["4712"]),
        ("MRG|4712", ["4712"]),
        ("MRG|3510^^^D^KK~4712^^^RS^MR", ["4712"]),
        ("MRG|4712^^^RS^MR~4713^^^RS^MR", ["4712", "4713"]),
        ("MRG||||4712", ["4712"]),
        ("MRG||4712", ["4712"]),
        ("MRG|||ACC1", []),
        ("MRG|4711^^^RS^MR||ACC1", []),
        ('MRG|-||""|4712', ["4712"]),
        (f"MRG|{'9' * 1001}", []),
    ],
)
def test_where_the_old_number_stands(mrg: str, old: list[str]) -> None:
    draft = draft_of(message("A18", BABY, mrg))
    assert prior_of(draft) == [(number, "4711") for number in old]
    assert draft.medical_record == "4711"


def test_a_merge_of_several_groups_has_a_pair_for_each_and_leaves_out_the_grown() -> None:
    second = BABY.replace("4711", "5711")
    raw = message("A40", MOTHER, "MRG|1^^^RS^MR", BABY, "MRG|4712", second, "MRG|5712", "MRG|5713")
    draft = draft_of(raw)
    assert prior_of(draft) == [("4712", "4711"), ("5712", "5711"), ("5713", "5711")]
    assert (draft.medical_record, draft.concerns) == ("4711", ("4712", "5711", "5712", "5713"))


def test_a_merge_without_an_old_number_is_an_error() -> None:
    verdict = verdict_of(message("A40", BABY))
    assert in_view_of(verdict, State.READY)[0] is Effect.NONE
    assert "SEGMENT_MISSING" in codes(verdict, State.READY)
    assert any(f.severity == "E" for f in verdict.findings)


def test_an_account_merge_of_one_number_does_nothing() -> None:
    verdict = verdict_of(message("A35", BABY, "MRG|4711^^^RS^MR||ACC1"))
    assert in_view_of(verdict, State.READY) == (Effect.NONE, [])


# ------------------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize("order", [(BABY, MOTHER), (MOTHER, BABY)])
def test_a_link_of_mother_and_newborn_is_about_the_newborn(order: tuple[str, str]) -> None:
    draft = draft_of(message("A24", *order))
    assert (draft.effect, draft.medical_record, draft.linked) == (Effect.LINK, "4711", ())
    assert draft.record is not None
    assert draft.record.mother is not None
    mother = draft.record.mother
    assert mother.name is not None
    assert mother.nik is not None
    assert (mother.name.reveal(), mother.nik.reveal(), mother.sex) == ("SITI AMINAH", "3510165203959001", Sex.FEMALE)
    assert draft.record.child.name is None


def test_a_link_of_two_newborns_names_both_and_opens_nothing() -> None:
    draft = draft_of(message("A24", BABY, BABY.replace("4711", "4712")))
    assert (draft.effect, draft.medical_record, draft.linked, draft.record) == (Effect.LINK, "4711", ("4712",), None)


@pytest.mark.parametrize(
    "pids",
    [
        (BABY,),
        (BABY, BABY),
        (BABY, MOTHER.replace("|F", "|M")),
        (MOTHER, MOTHER.replace("331807", "331808")),
        (BABY, MOTHER, MOTHER.replace("331807", "331808")),
    ],
)
def test_any_other_link_is_not_about_a_birth(pids: tuple[str, ...]) -> None:
    assert draft_of(message("A24", *pids)).effect is Effect.NONE


def test_a_baby_of_unknown_age_in_a_link_is_known_by_its_name() -> None:
    draft = draft_of(message("A24", "PID|1||4711||BY NY SITI", MOTHER))
    assert (draft.effect, draft.medical_record) == (Effect.LINK, "4711")


# ---------------------------------------------------------------------------------------- results and documents


def results(*lines: str, pid: str = "PID|1||4711^^^RS^MR") -> bytes:
    segments = [f"OBX|{n}|NM|{line}" for n, line in enumerate(lines, 1)]
    return message("R01", pid, "OBR|1|||1^LAHIR", *segments, kind="ORU")


def test_late_results_fill_weight_length_gestation_and_apgar() -> None:
    lines = ("8339-4^w^LN||3150|g|||||F", "89269-5||49|cm|||||F", "11884-4||39|wk|||||F")
    apgar = ("9272-6||8||||||F", "9274-2||9||||||F", "9271-8||12||||||F")
    draft = draft_of(results(*lines, *apgar))
    assert draft.effect is Effect.OBSERVE
    assert draft.record is not None
    child = draft.record.child
    assert (child.weight_g, child.length_cm, child.gestation_weeks) == (3150, 49.0, 39)
    assert (child.apgar_1, child.apgar_5, child.apgar_10) == (8, 9, None)
    assert (child.name, child.sex, child.born_on, draft.record.mother) == (None, None, None, None)


def test_results_for_an_unknown_baby_are_kept_and_that_is_said() -> None:
    effect, findings = in_view_of(verdict_of(results("8339-4||3150|g|||||F")), None)
    assert (effect, [f.code for f in findings]) == (Effect.OBSERVE, ["BIRTH_AWAITED"])
    assert [f.severity for f in findings] == ["I"]


@pytest.mark.parametrize("line", ["718-7^Hb^LN||11|g/dL|||||F", "3141-9^weight^LN||62|kg|||||F"])
def test_a_laboratory_result_is_not_about_a_birth(line: str) -> None:
    assert draft_of(results(line)).effect is Effect.NONE


def test_a_babys_results_under_its_mothers_number_are_not_hers() -> None:
    assert draft_of(results("8339-4||3150|g|||||F", pid=MOTHER)).effect is Effect.NONE


def test_what_is_wrong_with_a_late_result_is_told() -> None:
    verdict = verdict_of(results("8339-4||99|g|||||F"))
    assert codes(verdict, State.READY) == ["WEIGHT_RANGE"]


def letter(value: str, *, kind: str = "ED", baby: str = BABY) -> bytes:
    obx = f"OBX|1|{kind}|SKL^Surat Keterangan Lahir||{value}||||||F"
    return message("T02", baby, "PV1|1|I", "TXA|1|SKL|AP||||||||||1", obx, kind="MDM")


def test_a_scanned_letter_is_an_attachment_with_its_type_size_and_digest() -> None:
    draft = draft_of(letter(f"SIMRS^AP^JPEG^Base64^{base64.b64encode(PDF).decode()}"))
    (attachment,) = draft.attachments
    assert (draft.effect, attachment.mime, attachment.kind) == (Effect.ATTACH, "application/pdf", "SKL")
    assert (attachment.size, attachment.sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())
    assert attachment.content == PDF
    assert "JVBERi" not in repr(draft)


@pytest.mark.parametrize("data", [b"\xff\xd8\xff\xe0 jpeg", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*"])
def test_pictures_are_documents_too(data: bytes) -> None:
    draft = draft_of(letter(f"^^^Hex^{data.hex()}"))
    assert draft.attachments[0].mime.startswith("image/")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (f"^AP^PDF^Base64^{base64.b64encode(b'MZ program').decode()}", "DOCUMENT_TYPE"),
        ("^AP^PDF^Base64^not base 64!", "DOCUMENT_UNREADABLE"),
        ("^AP^PDF^Hex^XYZ", "DOCUMENT_UNREADABLE"),
        ("^AP^PDF^ROT13^JVBERi0", "DOCUMENT_UNREADABLE"),
        ("^AP^PDF^Base64^", "DOCUMENT_UNREADABLE"),
        ("^TEXT^HTML^A^<html>", "DOCUMENT_TYPE"),
    ],
)
def test_what_is_no_document_is_an_error_and_nothing_is_kept(value: str, code: str) -> None:
    verdict = verdict_of(letter(value))
    effect, findings = in_view_of(verdict, State.READY)
    assert (effect, [f.code for f in findings]) == (Effect.NONE, [code])
    assert findings[0].severity == "E"


def test_a_pointer_is_noted_and_never_followed() -> None:
    (attachment,) = draft_of(letter("https://simrs.invalid/skl/1^SIMRS^AP^PDF", kind="RP")).attachments
    assert (attachment.pointer, attachment.mime) == ("https://simrs.invalid/skl/1", "application/pdf")
    assert (attachment.sha256, attachment.size) == ("", 0)
    assert "simrs" not in repr(attachment)


def test_a_letter_of_text_is_no_attachment() -> None:
    assert draft_of(letter("resume medis", kind="TX")).effect is Effect.NONE


def test_a_letter_for_an_unknown_baby_waits_for_it() -> None:
    verdict = verdict_of(letter(f"^AP^PDF^Base64^{base64.b64encode(PDF).decode()}"))
    assert in_view_of(verdict, None)[0] is Effect.ATTACH
    assert codes(verdict, None) == ["BIRTH_AWAITED"]
    assert codes(verdict, State.ISSUED) == []


# ----------------------------------------------------------------------------------------- newborns, dirty fields

BARE = "PID|1||4711||NAMA BARU"


@pytest.mark.parametrize(
    "mark",
    [
        ("PID|1||4711||NAMA BARU||||||||||||||||SITI AMINAH",),
        (BARE, "NK1|1|SITI AMINAH|MOT"),
        (BARE, "NK1|1|SITI AMINAH|IBU"),
        (BARE, "NK1|1|SITI AMINAH|IBU KANDUNG"),
        (BARE, "NK1|1|SITI AMINAH|||||MTH"),
        (BARE, 'NK1|1|SITI AMINAH|""||| |MTH'),
        (BARE, "NK1|1|SITI AMINAH|-||||IBU"),
        (BARE, "NK1|1|BUDI|FTH", "NK1|2|SITI AMINAH|MTH"),
        (BARE, "PV2||||||||||||||||||||||||||||||||||||Y"),
        (BARE, "OBX|1|NM|8339-4||3150|g|||||F"),
        ("PID|1||4711||BABYBOY OF SITI",),
        ("PID|1||4711||OF SITI^BABYBOY",),
        ("PID|1||4711||BABYBOY^OF SITI",),
        ("PID|1||4711||SITI RAHAYU TWIN B",),
        ("PID|1||4711||BY^NY SITI",),
        ("PID|1||4711||NY SITI^BY",),
        ("PID|1||4711||BAYI KEMBAR II NY SITI",),
    ],
)
def test_one_dirty_mark_beside_a_newborns_class_is_enough(mark: tuple[str, ...]) -> None:
    assert draft_of(message("A01", *mark, "PV1|1|NEWBORN")).effect is Effect.OPEN
    assert draft_of(message("A01", *mark, "PV1|1|I||NEWBORN")).effect is Effect.OPEN
    assert draft_of(message("A28", *mark, "PV1|1|N")).effect is Effect.NONE  # N in PV1-2: not applicable


def test_a_name_among_the_mothers_identifiers_is_her_name() -> None:
    draft = draft_of(message("A01", f"{BABY}|||||||||||||SITI AMINAH^^^^NI", "PV1|1|I||N"))
    assert draft.record is not None
    assert draft.record.mother is not None
    assert draft.record.mother.name is not None
    assert (draft.record.mother.name.reveal(), draft.record.mother.nik) == ("SITI AMINAH", None)


def test_the_mother_in_the_second_nk1_is_the_mother() -> None:
    raw = message("A01", BABY, "NK1|1|BUDI SANTOSO|||||FTH", "NK1|2|SITI AMINAH|||||MTH", "PV1|1|I||N")
    record = draft_of(raw).record
    assert record is not None
    assert record.mother is not None
    assert record.father is not None
    assert record.mother.name is not None
    assert record.father.name is not None
    assert (record.mother.name.reveal(), record.father.name.reveal()) == ("SITI AMINAH", "BUDI SANTOSO")


@pytest.mark.parametrize("name", ["NY SITI^BY", "BABYBOY^OF SITI", "TWIN B", "SITI RAHAYU, TWIN 2", "BABYBOY OF SITI"])
def test_a_placeholder_is_held_also_with_its_parts_swapped(name: str) -> None:
    verdict = verdict_of(message("A01", BABY.replace("AHMAD RIZKI", name), "PV1|1|I||N"))
    assert "NAME_PLACEHOLDER" in codes(verdict, None)


@pytest.mark.parametrize("name", ["KEMBARA PUTRA", "PUTRI^BAYINAH", "TWINDA SARI", "ANAK AGUNG^GDE", "RIZKI^AHMAD"])
def test_a_real_name_is_not_taken_for_a_placeholder(name: str) -> None:
    verdict = verdict_of(message("A01", BABY.replace("AHMAD RIZKI", name), "PV1|1|I||N"))
    assert "NAME_PLACEHOLDER" not in codes(verdict, None)


@pytest.mark.parametrize(
    "grown",
    [
        ("PID|1||331807||NY SITI AMINAH|||F||||||||M",),
        ("PID|1||331807||NY SITI AMINAH|||F||||||||KAWIN",),
        ("PID|1||331807||NY SITI AMINAH|||F", "NK1|2|BUDI|SUAMI"),
        ("PID|1||331807||NY SITI AMINAH|||F", "NK1|2|BUDI|||||SPO"),
    ],
)
@pytest.mark.parametrize("event", ["A01", "A04", "A28"])
def test_a_mothers_own_admission_without_a_birth_date_opens_nothing(event: str, grown: tuple[str, ...]) -> None:
    raw = message(event, *grown, "NK1|1|NENEK|MTH", "PV1|1|I", "OBX|1|NM|8339-4||3150|g|||||F")
    assert draft_of(raw).effect is Effect.NONE
    assert in_view_of(verdict_of(raw), None) == (Effect.NONE, [])


def test_a_newborn_with_its_mothers_marital_status_is_a_newborn() -> None:
    raw = message("A01", "PID|1||4711||BY NY SITI|||F||||||||M", "PV1|1|I||N")
    assert draft_of(raw).effect is Effect.OPEN


ADULTS = st.builds(
    lambda born, name, rest: (f"PID|1||77^^^RS^MR||{name}||{born:%Y%m%d}|F|||||||||||||{rest}", *()),
    st.dates(dt.date(1925, 1, 1), dt.date(2015, 3, 1)),
    st.sampled_from(["SITI AMINAH", "BY NY SITI", "BABYBOY OF", "NY SITI", "TWIN B"]),
    st.sampled_from(["", "88^^^RS^MR", "SITI", "3510165203959001^^^D^NI"]),
)
DIRT = st.lists(
    st.sampled_from(
        [
            "NK1|1|NENEK|MTH",
            "NK1|2|BUDI|SPO",
            "PV1|1|NEWBORN||N",
            "PV2||||||||||||||||||||||||||||||||||||Y",
            "OBX|1|NM|8339-4||3150|g|||||F",
            "OBX|2|NM|9272-6||8||||||F",
            "ZKL|1|1|1|1",
        ]
    ),
    unique=True,
)


@settings(max_examples=300, deadline=None)
@given(ADULTS, DIRT, st.sampled_from(sorted(MEANINGS.keys() - {"A24", "A37"})), st.sampled_from(VERSIONS))
def test_a_grown_patient_never_opens_a_birth(pid: tuple[str], dirt: list[str], event: str, version: str) -> None:
    raw = message(event, *pid, *dirt, version=version)
    assert draft_of(raw).effect is not Effect.OPEN
    assert in_view_of(verdict_of(raw), None)[0] not in (Effect.OPEN, Effect.AMEND)


def test_the_pairs_of_a_draft_say_what_must_be_locked_with_it() -> None:
    draft = Draft(Effect.MERGE, "B", None, prior=(Prior("A", "B"), Prior("C", "D")), linked=("E",))
    assert draft.concerns == ("A", "C", "D", "E")

"""Cases 57 to 59: one foreign parent, two, and parents without papers."""

from __future__ import annotations

import datetime as dt

from adapters.dukcapil import payload
from adapters.dukcapil.replies import parse_case
from gateway.contract.lifecycle import State
from gateway.contract.masked import Nik
from gateway.contract.ports import RegistryStatus
from gateway.verify.akta import check_issued, document_kind, read_issued
from tests.cases.case import case
from tests.cases.seen import born, edited, seen
from tests.simulators.facilities import sample
from tests.simulators.journey import notice

PASSPORTS = {
    "NK1#1-19": "NLD",
    "NK1#1-33": "NX1234567^^^NLD^PPN",
    "NK1#2-19": "NLD",
    "NK1#2-33": "NX7654321^^^NLD^PPN",
    "PID-3": "00450121^^^RSCEMPAKA^MR",
    "PID-21": "00331807^^^RSCEMPAKA^MR",
}
ISSUED_WITHOUT_NIK = b"""{"id_kasus": "b-1", "revisi": 1, "status": "TERBIT", "terbit": {
    "no_akta": "3510-LU-20032025-9001", "nik_anak": null, "no_kk": null, "terbit_pada": "2025-03-20T10:00:00+07:00",
    "dokumen": [{"jenis": "AKTA", "url": "https://registry.invalid/akta", "sha256": "%s"}]}}""" % (b"a" * 64)


@case(57)
def test_f057_a_foreign_father_is_for_an_officer_and_needs_no_nik() -> None:
    """Indonesian mother, foreign father: his passport stands in the NIK's place, and an officer reviews."""
    told = seen(sample("06"))
    father = told.record.father
    assert father is not None
    assert (father.citizenship, father.nik, father.travel_document is not None) == ("WNA", None, True)
    assert told.code == "AA"
    assert told.state is State.REVIEW
    assert "FATHER_FOREIGN" in told.codes
    assert "FATHER_NIK_MISSING" not in told.codes


@case(
    58,
    decision="Who holds a permanent permit has a KK: where one was sent, KK and KIA are asked for too. The permit "
    "itself is an officer's to see (REVIEW).",
)
def test_f058_of_two_foreigners_an_akta_is_asked_for_and_no_kk() -> None:
    """Two foreigners: an akta on passport and permit; no KK is asked for, and an akta without a NIK is taken."""
    told = seen(edited(notice(), PASSPORTS))
    assert told.state is State.REVIEW
    assert {"MOTHER_FOREIGN", "FATHER_FOREIGN"} <= told.codes
    assert not {"MOTHER_NIK_MISSING", "FATHER_NIK_MISSING", "NO_PAPERS"} & told.codes
    asked = payload.document(told.record, birth_id="b-1", revision=1, office="3510", twins=None)
    assert asked["layanan"] == ["AKTA"]
    assert "nik" not in asked["ibu"]
    assert asked["ibu"]["dokumen_perjalanan"] == "NX1234567"
    issued = parse_case(ISSUED_WITHOUT_NIK)
    assert issued.status is RegistryStatus.ISSUED
    assert issued.certificate is not None
    assert issued.certificate.child_nik == Nik("")


@case(58)
def test_f058_with_a_family_card_the_child_goes_into_it() -> None:
    """Two foreigners with a KK, which only a permanent permit gives: KK and KIA are asked for too."""
    told = seen(edited(notice(), {k: v for k, v in PASSPORTS.items() if k != "PID-3"}))
    asked = payload.document(told.record, birth_id="b-1", revision=1, office="3510", twins=None)
    assert asked["layanan"] == ["AKTA", "KK", "KIA"]


@case(59)
def test_f059_parents_without_papers_get_a_letter_of_the_event() -> None:
    """Foreign parents without any paper: an officer reviews, and the letter (SKPP) instead of an akta is named."""
    told = seen(edited(notice(), PASSPORTS | {"NK1#1-33": "", "NK1#2-33": ""}))
    assert (told.code, told.state) == ("AA", State.REVIEW)
    assert "NO_PAPERS" in told.codes
    assert "Surat Keterangan Peristiwa Penting" in told.texts["NO_PAPERS"]


@case(58)
def test_f058_an_office_may_issue_without_nik_and_kk_to_foreigners_only() -> None:
    """An office's akta for two foreigners needs neither NIK nor KK; for an Indonesian parent's child both are asked."""
    day = dt.date(2025, 3, 20)
    issued = read_issued("3510-LU-20032025-0001", "", "")
    foreign, home = seen(edited(notice(), PASSPORTS)).record, seen(notice()).record
    assert check_issued(issued, foreign, reported_on=day, today=day) == ([], [])
    errors, _ = check_issued(issued, home, reported_on=day, today=day)
    assert {field for field, _ in errors} == {"child_nik", "kk_number"}


@case(59)
def test_f059_the_office_issues_a_letter_of_any_form_for_it() -> None:
    """What the office issues then is SKPP, whose number has no fixed form; for all others an akta's number is asked."""
    day = dt.date(2025, 3, 20)
    record = seen(edited(notice(), PASSPORTS | {"NK1#1-33": "", "NK1#2-33": ""})).record
    letter = read_issued("474/12/SKPP/2025", "", "")
    assert (document_kind(record), document_kind(seen(notice()).record)) == ("SKPP", "AKTA")
    assert check_issued(letter, record, reported_on=day, today=day) == ([], [])
    errors, _ = check_issued(letter, seen(notice()).record, reported_on=day, today=day)
    assert ("number", "ISSUED_NUMBER_FORM") in errors


@case(59)
def test_f059_with_one_indonesian_parent_it_is_an_akta() -> None:
    """One Indonesian parent makes it a normal akta, whatever the other one lacks."""
    told = seen(born({"NK1#2-19": "MMR", "NK1#2-33": ""}))
    assert "FATHER_FOREIGN" in told.codes
    assert "NO_PAPERS" not in told.codes

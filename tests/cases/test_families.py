"""F 47 to 56: who is the mother, which akta a family gets, and what a person must look at first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from adapters.dukcapil.payload import document
from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.ports import ParentCheck
from gateway.contract.revision import build_record, proposed
from gateway.pipeline import operate
from gateway.pipeline.rejudge import state_of
from tests.cases.case import case
from tests.cases.dialogue import (
    FATHER,
    FATHER_NIK,
    LATER,
    MOTHER,
    MOTHER_NIK,
    codes_of,
    fatherless,
    judged,
    message,
    tell,
)
from tests.integration.test_dukcapil_adapter import adapter_for
from tests.simulators.records import birth_record
from tests.simulators.registry import canned
from tests.simulators.scripted_registry import checks

if TYPE_CHECKING:
    from tests.simulators.journey import Journey

IN_NK1_1 = f"NK1|1|{MOTHER}^^^^^^L|MTH^Mother^HL70063|"
PROOF = "|0451/017/VI/2019^20190616^KUA BANYUWANGI|"


def sent_to_registry(raw: bytes) -> dict[str, Any]:
    """Return the document the registry would get of a message."""
    record = proposed(build_record(judged(raw).values))
    return document(record, birth_id="x", revision=1, office="3510", twins=None)


def married_as(mother: str = "", father: str = "") -> bytes:
    """Return a notice whose NK1-14 says so of the parents."""
    lines = message().decode().split("\r")
    for number, status in ((1, mother), (2, father)):
        index = next(n for n, line in enumerate(lines) if line.startswith(f"NK1|{number}|"))
        fields = lines[index].split("|")
        fields[14] = status
        lines[index] = "|".join(fields)
    return "\r".join(lines).encode()


@case(47)
@pytest.mark.parametrize("bearer", ["GESTM", "SURROGATE MOTHER", "IBU PENGGANTI"])
def test_f047_the_woman_who_gave_birth_is_the_mother(bearer: str) -> None:
    """With a surrogate named beside a mother, the woman who gave birth is recorded, and a person looks (REVIEW)."""
    genetic = f"NK1|3|WAHYU LESTARI|MTH^Mother^HL70063\r{IN_NK1_1}"
    surrogate = genetic.replace(f"{MOTHER}^^^^^^L|MTH^Mother^HL70063", f"{MOTHER}|{bearer}")
    found = judged(message("A01", (IN_NK1_1, surrogate)))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"SURROGACY"}, State.REVIEW)
    assert (found.values["mother.name"], found.values["mother.nik"]) == (MOTHER, MOTHER_NIK)


@case(47)
def test_f047_a_genetic_mother_is_never_recorded() -> None:
    """A genetic mother alone is nobody's mother here: HOLD_DATA until the woman who gave birth is named."""
    told_as = (IN_NK1_1, f"NK1|1|{MOTHER}|GENETIC MOTHER|")
    found = judged(message("A01", told_as, (f"~{MOTHER_NIK}^^^DUKCAPIL^NI||BANYUWANGI", "||BANYUWANGI")))
    assert {"SURROGACY", "MOTHER_MISSING"} <= found.codes
    assert found.state is State.HOLD_DATA


@case(48)
def test_f048_without_a_father_no_father_reaches_the_registry() -> None:
    """An unmarried mother: akta ANAK_SEORANG_IBU, and nothing of a father is sent, even where he reports the birth."""
    raw = fatherless(message())
    found = judged(raw)
    assert (found.answer.code, found.codes, found.state) == ("AA", {"NO_FATHER"}, State.READY)
    sent = sent_to_registry(raw)
    assert (sent["usulan_varian"], sent["ayah"], sent["perkawinan"]) == ("ANAK_SEORANG_IBU", None, {"status": "TIDAK"})
    assert "hubungan" not in sent["pelapor"]  # the message says AYAH


@case(
    49,
    decision="The gateway sees no family card: that the KK shows husband and wife is told by the form's SPTJM "
    "(F-2.04), and checked by the office.",
)
def test_f049_a_marriage_by_statement_gets_the_phrase() -> None:
    """A father without marriage proof waits for the form; with SPTJM (F-2.04) the akta with the phrase is proposed."""
    raw = message("A01", (PROOF, "||"))
    waits = judged(raw, require_form=True)
    assert (waits.codes, waits.state) == ({"FORM_INCOMPLETE"}, State.AWAIT_FORM)
    assert "bukti nikah" in waits.answer.warned["FORM_INCOMPLETE"]
    sent = sent_to_registry(message("A01", (PROOF, "|SPTJM|")))
    assert (sent["usulan_varian"], sent["ayah"]["nama"]) == ("AYAH_IBU_FRASA", FATHER)
    assert sent["alasan_varian"] == ["FATHER_NAMED", "MARRIAGE_BY_STATEMENT"]


@case(50)
def test_f050_without_marriage_the_father_is_kept_and_not_sent() -> None:
    """Father, no marriage: mother's akta is proposed, acknowledgement explained; his data stay, and are not sent."""
    raw = message("A01", (PROOF, "|TIDAK|"))
    found = judged(raw, require_form=True)
    assert (found.answer.code, found.codes, found.state) == ("AA", {"FATHER_NOT_ON_AKTA"}, State.READY)
    assert "pengakuan" in found.answer.warned["FATHER_NOT_ON_AKTA"]
    assert (found.values["father.name"], found.values["father.nik"]) == (FATHER, FATHER_NIK)
    sent = sent_to_registry(raw)
    assert (sent["usulan_varian"], sent["ayah"], sent["perkawinan"]) == ("ANAK_SEORANG_IBU", None, {"status": "TIDAK"})
    assert sent["alasan_varian"] == ["FATHER_NAMED", "MARRIAGE_NOT_PROVEN"]


@case(
    51,
    decision="Seen is what NK1-14 or the register (STATUS_KAWIN, where the agreement grants it) says against a "
    "recorded marriage. To whom, the 300 days and a second wife outside the KK no service tells: the office does.",
)
@pytest.mark.parametrize(("mother", "father"), [("S", "M"), ("D", ""), ("", "CERAI HIDUP"), ("BELUM KAWIN", "KAWIN")])
def test_f051_a_marriage_that_a_civil_status_denies_is_reviewed(mother: str, father: str) -> None:
    """A recorded marriage and a parent said to be unmarried or divorced: REVIEW, nobody's paternity is decided here."""
    found = judged(married_as(mother, father))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"MARRIAGE_CONFLICT"}, State.REVIEW)


@case(51)
async def test_f051_the_register_may_deny_a_marriage() -> None:
    """Where the agreement grants it the register is asked whether both are married; a no is for a person."""
    agrees = {"NAMA_LGKP": "Sesuai (100)", "TGL_LHR": "Sesuai", "JENIS_KLMIN": "Sesuai", "NO_KK": "Sesuai"}
    answer = json.dumps({"content": [{**agrees, "STATUS_KAWIN": "Tidak Sesuai"}]}).encode()
    async with canned(200, answer) as url:
        registry = adapter_for(url, check_user="GATEWAY", options={"married": "KAWIN"})
        found = await registry.check_parents(birth_record())
        await registry.close()
    findings = [f for check in found for f in check.findings]
    assert [f.code for f in findings] == ["MOTHER_MARITAL_MISMATCH", "FATHER_MARITAL_MISMATCH"]
    assert state_of(findings, frozenset()) is State.REVIEW


@case(
    52,
    decision="F 52 allows it, F 92 and C.2 hold a deceased NIK for review. Reviewed, and let go on by a person.",
)
async def test_f052_a_father_who_died_before_is_on_the_akta(way: Journey) -> None:
    """A father known as deceased: a person looks, then it goes on; the marriage decides, he stands on the akta."""
    raw = married_as(mother="W")
    assert judged(raw).state is State.READY  # a widow's marriage is no conflict
    await way.tell(raw)
    way.registry.on_check.extend([(ParentCheck("father", (Finding("FATHER_NIK_DECEASED"),)),)] * 2)
    await way.work()
    birth = await way.birth()
    assert (birth.state, codes_of(birth)) == (State.REVIEW, {"FATHER_NIK_DECEASED"})
    assert await operate.release(way.desk(), birth.id) is State.READY
    await way.work()
    birth = await way.birth()
    assert birth.state is State.IN_PROCESS
    assert birth.record.father is not None
    assert sent_to_registry(raw)["ayah"]["nama"] == FATHER


@case(
    53,
    decision="Her death is in her own record and not in the baby's: code 11 is reviewed as C.2 says. Not a block: a "
    "person lets it go on.",
)
async def test_f053_a_mother_who_died_in_childbirth_blocks_nothing(way: Journey) -> None:
    """The mother died at birth: nothing is refused, the father reports; code 11 waits for a person and goes on."""
    await way.tell(message())
    assert (await tell(way, mothers_death())).code == "AA"
    way.registry.on_check.extend([checks(Finding("MOTHER_NIK_DECEASED"))] * 2)
    await way.work()
    birth = await way.birth()
    assert (birth.state, codes_of(birth)) == (State.REVIEW, {"MOTHER_NIK_DECEASED"})
    await operate.release(way.desk(), birth.id)
    await way.work()
    birth = await way.birth()
    assert birth.state is State.IN_PROCESS
    assert birth.record.reporter is not None
    assert birth.record.reporter.relation == "AYAH"


def mothers_death() -> bytes:
    """Return the mother's own discharge, expired."""
    raw = message("A03", record_number="00331807", sent=LATER, segments=("PV1",)).decode()
    raw = raw.replace("|20250311041500+0700|M|", "|19950312|F|", 1)
    lines = raw.split("\r")
    index = next(n for n, line in enumerate(lines) if line.startswith("PV1"))
    fields = lines[index].split("|")
    fields[36] = "20"  # expired
    lines[index] = "|".join(fields)
    return "\r".join(lines).encode()


@case(
    54,
    decision="Reviewed, and no KTP asked for. She is not hidden from her own ward as a restricted case: who sees fit "
    "restricts her (`procot births restrict`).",
)
def test_f054_a_mother_under_17_is_reviewed_and_asked_for_no_ktp() -> None:
    """A mother of 16: REVIEW for child protection, with her NIK from the KK and nothing else asked."""
    found = judged(aged("20090312", "3510165203099001"), require_form=True)
    assert (found.answer.code, found.codes, found.state) == ("AA", {"MOTHER_AGE"}, State.REVIEW)


@case(55)
@pytest.mark.parametrize(("born", "nik"), [("20160312", "3510165203169001"), ("19600312", "3510165203609001")])
def test_f055_an_age_beyond_belief_is_reviewed(born: str, nik: str) -> None:
    """A mother under 10 or over 60: warning and REVIEW."""
    found = judged(aged(born, nik))
    assert (found.answer.code, found.codes, found.state) == ("AA", {"MOTHER_AGE"}, State.REVIEW)
    assert found.answer.severities == {"MOTHER_AGE": "W"}


@case(55)
def test_f055_a_mother_of_17_or_of_60_is_not() -> None:
    """Seventeen and sixty raise nothing."""
    assert judged(aged("20080311", "3510165103089001")).state is State.READY
    assert judged(aged("19641231", "3510167112649001")).state is State.READY


def aged(born: str, nik: str) -> bytes:
    return message("A01", ("|F|19950312|", f"|F|{born}|"), (MOTHER_NIK, nik))


@case(56)
def test_f056_a_foreign_mother_has_a_passport() -> None:
    """A foreign mother, an Indonesian father: REVIEW; her passport stands for a NIK, KK and KIA are asked for."""
    raw = foreign_mother(message())
    found = judged(raw)
    assert (found.answer.code, found.codes, found.state) == ("AA", {"MOTHER_FOREIGN"}, State.REVIEW)
    sent = sent_to_registry(raw)
    assert sent["ibu"]["kewarganegaraan"] == "WNA"
    assert sent["ibu"]["dokumen_perjalanan"] == "PX0000001"
    assert "nik" not in sent["ibu"]
    assert sent["layanan"] == ["AKTA", "KK", "KIA"]


def foreign_mother(raw: bytes) -> bytes:
    lines = raw.decode().replace(f"~{MOTHER_NIK}^^^DUKCAPIL^NI||BANYUWANGI", "||BANYUWANGI").split("\r")
    index = next(n for n, line in enumerate(lines) if line.startswith("NK1|1|"))
    lines[index] = (
        lines[index].replace("|||IDN|", "|||AUS|").replace(f"{MOTHER_NIK}^^^DUKCAPIL^NI", "PX0000001^^^AUS^PPN")
    )
    return "\r".join(lines).encode()

"""Sandbox and adapter on a real socket: amendment, withdrawal, correction, revocation, documents (domain C.4)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import rfc8785
from jsonschema import Draft202012Validator

from adapters.dukcapil.adapter import open_dukcapil
from adapters.dukcapil.payload import pointer
from adapters.dukcapil.signature import sign_detached
from gateway.contract.masked import Personal
from gateway.contract.ports import (
    ActKind,
    ActOutcome,
    ActStatus,
    Ask,
    Outcome,
    RegistrySettings,
    RegistryStatus,
    Scan,
    SignedAct,
    Submission,
)
from gateway.contract.record import Sex
from gateway.errors import (
    ConfigError,
    RegistryProtocolError,
    RegistryRefusedError,
    RegistryTooLateError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from tests.simulators.records import birth_record, child
from tests.simulators.registry import KEY, KID, TOKEN, Bench, Clock, bench, mailbox

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contract.record import BirthRecord

SPEC: dict[str, Any] = json.loads(resources.files("schemas").joinpath("dukcapil/openapi.json").read_text("utf-8"))
RENAMED = birth_record(child=child(name="AHMAD RIZQI PRATAMA"))
PDF = b"%PDF-1.7 SPECIMEN"


def fits(schema: str, value: object) -> None:
    Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": SPEC["components"]}).validate(value)


async def taken(desk: Bench, **changes: Any) -> tuple[Submission, Outcome]:
    submission = desk.submission(**changes)
    return submission, await desk.adapter.submit(submission)


def amendment(
    desk: Bench, first: Submission, reference: str, record: BirthRecord = RENAMED, *, revision: int = 2
) -> Submission:
    newer = desk.submission(record, birth_id=first.birth_id, revision=revision)
    return Submission(newer.birth_id, revision, newer.payload, newer.signature, amends=reference)


def act(desk: Bench, kind: ActKind, first: Submission, outcome: Outcome, *, key: str = "", **about: Any) -> SignedAct:
    record = about.pop("record", birth_record())
    revision = about.pop("revision", first.revision)
    ask = Ask(kind=kind, birth_id=first.birth_id, revision=revision, reason="diminta faskes", **about)
    payload = rfc8785.dumps(desk.adapter.act_document(ask, record))
    fits({"correct": "Correction", "documents": "Files"}.get(kind.value, "Withdrawal"), json.loads(payload))
    return SignedAct(
        kind, first.birth_id, revision, outcome.reference, key or str(uuid4()), payload,
        sign_detached(payload, key=KEY, kid=KID), about.get("scans", ()),
    )  # fmt: skip


def correction(desk: Bench, first: Submission, outcome: Outcome, **changes: Any) -> SignedAct:
    assert outcome.certificate is not None
    about: dict[str, Any] = {
        "number": outcome.certificate.number, "basis": "clerical", "paths": ("child.name",), "record": RENAMED,
        "revision": 2,
    }  # fmt: skip
    return act(desk, ActKind.CORRECT, first, outcome, **(about | changes))


# --------------------------------------------------------------------------------------------------- perbaikan


async def test_an_amended_case_keeps_its_reference_and_is_issued_with_the_newer_data(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, before = await taken(desk)
        desk.behave(work_seconds=0)
        amended = await desk.adapter.submit(amendment(desk, first, before.reference))
        assert (amended.reference, amended.revision, amended.status) == (before.reference, 2, RegistryStatus.ISSUED)
        assert amended.certificate is not None
        assert amended.certificate.registered["child.name"] == Personal("AHMAD RIZQI PRATAMA")
        assert len(await desk.records()) == 1


async def test_an_amendment_is_found_by_its_revision_and_answered_the_same_again(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, before = await taken(desk)
        newer = amendment(desk, first, before.reference)
        desk.behave(lose_answer_rate=1.0)
        with pytest.raises(RegistryUnknownOutcomeError):
            await desk.adapter.submit(newer)
        desk.behave(lose_answer_rate=0.0)
        found = await desk.adapter.ask(birth_id=first.birth_id, revision=2, reference="")
        assert (found.revision, found.status) == (2, RegistryStatus.IN_PROCESS)
        assert (await desk.adapter.submit(newer)).revision == 2
        assert (await desk.adapter.submit(first)).revision == 1  # the old key has its old answer
        with pytest.raises(RegistryProtocolError):
            await desk.adapter.submit(
                amendment(desk, first, before.reference, birth_record(child=child(weight_g=3000)))
            )


async def test_what_was_asked_for_goes_on_by_an_amendment(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(needs_data_next="NAMA_TIDAK_SAH")
        first, before = await taken(desk)
        assert before.status is RegistryStatus.NEEDS_DATA
        assert (await desk.adapter.submit(amendment(desk, first, before.reference))).status is RegistryStatus.ISSUED


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"late_amendments": True, "work_seconds": 3600}, "TERLAMBAT"),
        ({"reject_next": "NAMA_TIDAK_SAH"}, "SUDAH_BERAKHIR"),
        ({}, "SUDAH_TERBIT"),
    ],
)
async def test_an_amendment_that_the_case_has_outrun_leaves_it_as_it_is(
    tmp_path: Path, behaviour: dict[str, Any], reason: str
) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(**behaviour)
        first, before = await taken(desk)
        with pytest.raises(RegistryTooLateError) as late:
            await desk.adapter.submit(amendment(desk, first, before.reference))
        assert late.value.reason == reason
        assert (await desk.ask(first)).status is before.status


async def test_an_amendment_with_a_name_that_may_not_stand_is_refused_and_the_case_stands(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, before = await taken(desk)
        nameless = amendment(desk, first, before.reference, birth_record(child=child(name="BAYI 1")))
        with pytest.raises(RegistryTooLateError) as refused:
            await desk.adapter.submit(nameless)
        assert refused.value.reason == "NAMA_TIDAK_SAH"
        assert (await desk.ask(first)).status is RegistryStatus.IN_PROCESS


async def test_an_older_revision_amends_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, before = await taken(desk, revision=3)
        with pytest.raises(RegistryTooLateError):
            await desk.adapter.submit(amendment(desk, first, before.reference, revision=2))


# -------------------------------------------------------------------------------------------------- pembatalan


async def test_a_case_is_withdrawn_before_issue_and_the_act_is_told_with_it(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, work_seconds=3600, callbacks=True, callback_url=box.url) as desk:
        first, outcome = await taken(desk)
        asked = act(desk, ActKind.WITHDRAW, first, outcome, key="k-1")
        done = await desk.adapter.act(asked)
        assert (done.status, done.acts) == (RegistryStatus.WITHDRAWN, (ActOutcome("k-1", ActStatus.GRANTED),))
        assert await desk.adapter.act(asked) == done  # the same key and bytes: the same answer
        headers, body = await box.next()
        assert await desk.adapter.read_callback(headers, body) == done
        fits("Case", json.loads(body))


async def test_a_decision_that_takes_time_is_seen_by_asking(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, outcome = await taken(desk)
        desk.behave(act_seconds=0.1, refuse_act_next="PERLU_HADIR")
        asked = await desk.adapter.act(act(desk, ActKind.WITHDRAW, first, outcome, key="k-1"))
        assert asked.acts == (ActOutcome("k-1", ActStatus.ACCEPTED),)
        with pytest.raises(RegistryUnavailableError):  # one at a time
            await desk.adapter.act(act(desk, ActKind.WITHDRAW, first, outcome))
        async with asyncio.timeout(60):
            while asked.acts[0].status is ActStatus.ACCEPTED:
                asked = await desk.ask(first)
        assert asked.acts == (ActOutcome("k-1", ActStatus.REFUSED, "PERLU_HADIR"),)
        assert asked.status is RegistryStatus.IN_PROCESS


async def test_a_withdrawal_that_does_not_know_of_the_akta_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        first, outcome = await taken(desk)
        with pytest.raises(RegistryRefusedError) as refused:
            await desk.adapter.act(act(desk, ActKind.WITHDRAW, first, outcome))
        assert refused.value.reason == "SUDAH_TERBIT"
        assert (await desk.ask(first)).status is RegistryStatus.ISSUED


async def test_an_akta_is_revoked_by_its_number_and_no_other_application_comes_after(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        first, outcome = await taken(desk)
        assert outcome.certificate is not None
        done = await desk.adapter.act(act(desk, ActKind.REVOKE, first, outcome, number=outcome.certificate.number))
        assert (done.status, done.certificate) == (RegistryStatus.WITHDRAWN, None)
        with pytest.raises(RegistryRefusedError):
            await desk.adapter.submit(desk.submission(birth_id=first.birth_id, revision=2))


async def test_a_key_that_was_used_for_another_act_is_off_the_contract(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, outcome = await taken(desk)
        await desk.adapter.act(act(desk, ActKind.WITHDRAW, first, outcome, key="k-1"))
        with pytest.raises(RegistryProtocolError):
            await desk.adapter.act(act(desk, ActKind.DOCUMENTS, first, outcome, key="k-1", scans=scans()))


# -------------------------------------------------------------------------------------------------- pembetulan


async def test_a_corrected_akta_has_another_number_and_the_same_child(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        first, outcome = await taken(desk)
        before = outcome.certificate
        done = await desk.adapter.act(correction(desk, first, outcome, key="k-1"))
        assert (done.status, done.revision) == (RegistryStatus.ISSUED, 2)
        assert before is not None
        assert done.certificate is not None
        assert done.certificate.number != before.number
        assert done.certificate.child_nik == before.child_nik
        assert done.certificate.registered["child.name"] == Personal("AHMAD RIZQI PRATAMA")
        pdf = await desk.adapter.fetch_document(done.certificate)
        assert hashlib.sha256(pdf).hexdigest() == done.certificate.sha256


async def test_a_sex_is_corrected_by_a_court_s_order_only(tmp_path: Path) -> None:
    girl = birth_record(child=child(sex=Sex.FEMALE))
    async with bench(tmp_path) as desk:
        first, outcome = await taken(desk)
        wanted = {"paths": ("child.sex",), "record": girl}
        with pytest.raises(RegistryRefusedError) as refused:
            await desk.adapter.act(correction(desk, first, outcome, **wanted))
        assert refused.value.reason == "DASAR_TIDAK_CUKUP"
        court = correction(desk, first, outcome, basis="court", order="12/Pdt.P/2025/PN Byw", **wanted)
        assert (await desk.adapter.act(court)).status is RegistryStatus.ISSUED


@pytest.mark.parametrize(("changes", "reason"), [({"number": "3510-LU-20032025-9999"}, "DUPLIKAT")])
async def test_a_correction_of_another_akta_is_refused(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    async with bench(tmp_path) as desk:
        first, outcome = await taken(desk)
        with pytest.raises(RegistryRefusedError) as refused:
            await desk.adapter.act(correction(desk, first, outcome, **changes))
        assert refused.value.reason == reason


def test_only_what_the_akta_shows_has_a_place_in_a_correction() -> None:
    assert [pointer(p) for p in ("child.name", "mother.nik", "father.born_on", "variant", "child.weight_g")] == [
        "/anak/nama", "/ibu/nik", "/ayah/tanggal_lahir", "", "",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------ berkas


def scans(content: bytes = PDF) -> tuple[Scan, ...]:
    return (Scan("KK", hashlib.sha256(PDF).hexdigest(), "application/pdf", content),)


async def test_documents_are_taken_with_their_digests_and_the_case_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(needs_data_next="BERKAS_KURANG")
        first, outcome = await taken(desk)
        done = await desk.adapter.act(act(desk, ActKind.DOCUMENTS, first, outcome, scans=scans()))
        assert done.acts[0].status is ActStatus.GRANTED
        async with asyncio.timeout(60):
            outcome = done
            while outcome.status is not RegistryStatus.ISSUED:
                outcome = await desk.ask(first)


async def test_a_document_that_does_not_fit_its_digest_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, outcome = await taken(desk)
        with pytest.raises(RegistryRefusedError) as refused:
            await desk.adapter.act(act(desk, ActKind.DOCUMENTS, first, outcome, scans=scans(b"%PDF other")))
        assert refused.value.reason == "BERKAS_TIDAK_TERBACA"


# ------------------------------------------------------------------------------------------------- at the door


async def test_an_act_without_our_signature_is_not_believed(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, outcome = await taken(desk)
        good = act(desk, ActKind.WITHDRAW, first, outcome)
        forged = SignedAct(
            good.kind, good.birth_id, good.revision, good.reference, good.key, good.payload, first.signature
        )
        with pytest.raises(RegistryUnavailableError):  # 401, told to an operator
            await desk.adapter.act(forged)
        assert (await desk.ask(first)).status is RegistryStatus.IN_PROCESS


async def test_an_office_without_acts_is_told_so_by_setting_and_by_answer(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600, adapter={"options": {"acts": "perbaikan pembetulan"}}) as desk:
        assert desk.adapter.amends
        assert desk.adapter.acts == {ActKind.CORRECT}
        first, outcome = await taken(desk)
        with pytest.raises(RegistryRefusedError) as refused:
            await desk.adapter.act(act(desk, ActKind.WITHDRAW, first, outcome))
        assert refused.value.reason == "TIDAK_TERSEDIA"
    with pytest.raises(ConfigError, match=r"registry\.options\.acts"):
        open_dukcapil(RegistrySettings(url="http://127.0.0.1:1", clock=Clock(), options={"acts": "semua"}))


async def test_problems_of_acts_fit_the_contract(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first, outcome = await taken(desk)
        good = act(desk, ActKind.WITHDRAW, first, outcome)
        for path, key, expected in (
            (f"{outcome.reference}/pembatalan", "", 400),
            ("P3510-99999999/pembatalan", "k", 404),
            (f"{outcome.reference}/pembetulan", "k", 400),
        ):
            headers = {
                "Authorization": f"Bearer {TOKEN}", "X-Waktu": desk.clock().isoformat(),
                "X-Tanda-Tangan": good.signature, **({"Idempotency-Key": key} if key else {}),
            }  # fmt: skip
            url = f"{desk.url}/api/v1/kelahiran/{path}"
            async with desk.http.post(url, data=good.payload, headers=headers) as response:
                assert response.status == expected
                fits("Problem", await response.json())


# -------------------------------------------------------------------------------------------------- spelling


async def test_the_office_may_spell_a_name_its_own_way_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(respell_next="AHMAD RIZKY PRATAMA")
        _, outcome = await taken(desk)
        assert outcome.certificate is not None
        assert outcome.certificate.registered["child.name"] == Personal("AHMAD RIZKY PRATAMA")
        assert outcome.certificate.registered["mother.name"] == Personal("SITI AMINAH")
        _, other = await taken(desk)
        assert other.certificate is not None
        assert other.certificate.registered["child.name"] == Personal("AHMAD RIZKI PRATAMA")

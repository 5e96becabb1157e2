"""The Dukcapil adapter against the sandbox, and against registries that answer badly, on real sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import io
import json
import os
import ssl
from contextlib import closing
from socket import create_server
from typing import TYPE_CHECKING, Any

import pypdf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.dukcapil.adapter import open_dukcapil
from adapters.dukcapil.agreements import Agreements
from adapters.dukcapil.client import Client, Tls
from adapters.dukcapil.keyring import KeyRing
from adapters.dukcapil.replies import parse_check, parse_look_up
from adapters.dukcapil.sandbox.keys import own_key, thumbprint
from adapters.dukcapil.signature import jwk, sign_detached
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import Outcome, ParentCheck, RegistrySettings, RegistryStatus, Submission
from gateway.contract.record import BirthRecord, Variant
from gateway.errors import (
    ConfigError,
    DocumentAddressError,
    ProcotError,
    RegistryDocumentError,
    RegistryLoginError,
    RegistryProtocolError,
    RegistryRefusedError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
    SignatureError,
)
from tests.simulators.records import FAMILY_CARD, FATHER_NIK, MOTHER_NIK, birth_record, child, father, mother
from tests.simulators.registry import KEY, Clock, bench, canned, mailbox
from tests.simulators.scripted_registry import certificate
from tests.simulators.scripted_registry import certificate as scripted_certificate

if TYPE_CHECKING:
    from pathlib import Path

SUBMISSION = Submission("b-1", 1, b"{}", "a..b")


def adapter_for(url: str, clock: Clock | None = None, **changes: Any) -> Any:
    values: dict[str, Any] = {"url": url, "clock": clock or Clock(), "timeout_s": 2.0}
    return open_dukcapil(RegistrySettings(**(values | changes)))


async def submitted_to(url: str, **changes: Any) -> Outcome:
    adapter = adapter_for(url, **changes)
    try:
        outcome: Outcome = await adapter.submit(SUBMISSION)
        return outcome
    finally:
        await adapter.close()


def codes(checks: tuple[ParentCheck, ...]) -> dict[str, list[str]]:
    return {check.parent: [finding.code for finding in check.findings] for check in checks}


# ------------------------------------------------------------------------------------------------- happy paths


async def test_a_birth_is_issued_and_its_certificate_is_a_specimen_that_fits_its_digest(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        outcome = await desk.adapter.submit(desk.submission())
        certificate = outcome.certificate
        assert outcome.status is RegistryStatus.ISSUED
        assert certificate is not None
        assert certificate.number == "3510-LU-20032025-0001"
        assert certificate.child_nik.reveal() == "3510161103259000"
        assert certificate.family_card.reveal() == FAMILY_CARD
        assert certificate.issued_at == desk.clock()
        pdf = await desk.adapter.fetch_document(certificate)
    assert hashlib.sha256(pdf).hexdigest() == certificate.sha256
    page = pypdf.PdfReader(io.BytesIO(pdf)).pages[0].extract_text()
    assert page.count("TIDAK BERLAKU / NOT VALID") == 2
    for text in ("SPECIMEN", "KUTIPAN AKTA KELAHIRAN", certificate.number, "AHMAD RIZKI PRATAMA", "11 Maret 2025"):
        assert text in page


async def test_a_birth_worked_on_is_seen_by_polling(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=0.2) as desk:
        submission = desk.submission()
        first = await desk.adapter.submit(submission)
        assert (first.status, first.certificate) == (RegistryStatus.IN_PROCESS, None)
        async with asyncio.timeout(60):
            outcome = first
            while outcome.status is RegistryStatus.IN_PROCESS:
                outcome = await desk.adapter.ask(birth_id=submission.birth_id, revision=1, reference=first.reference)
        assert outcome.status is RegistryStatus.ISSUED
        assert outcome == await desk.ask(submission)


async def test_a_birth_is_told_by_a_signed_callback_that_says_what_polling_says(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, callbacks=True, callback_url=box.url, work_seconds=0.1) as desk:
        submission = desk.submission()
        await desk.adapter.submit(submission)
        headers, body = await box.next()
        outcome = await desk.adapter.read_callback(headers, body)
        assert outcome.status is RegistryStatus.ISSUED
        assert outcome == await desk.ask(submission)


async def test_a_repeated_submission_is_answered_as_the_first_time(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        first = await desk.adapter.submit(submission)
        assert await desk.adapter.submit(submission) == first
        assert len(await desk.records()) == 1


# --------------------------------------------------------------------------------------- when things go wrong


async def test_a_lost_answer_is_an_unknown_outcome_and_asking_by_our_id_finds_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        assert (await desk.ask(submission)).status is RegistryStatus.UNKNOWN
        desk.behave(lose_answer_rate=1)
        with pytest.raises(RegistryUnknownOutcomeError):
            await desk.adapter.submit(submission)
        desk.behave(lose_answer_rate=0)
        assert (await desk.ask(submission)).status is RegistryStatus.ISSUED


async def test_an_answer_too_late_is_an_unknown_outcome(tmp_path: Path) -> None:
    async with bench(tmp_path, adapter={"timeout_s": 0.2}) as desk:
        desk.behave(latency_ms=1000)
        with pytest.raises(RegistryUnknownOutcomeError):
            await desk.adapter.submit(desk.submission())


async def test_garbage_is_an_unknown_outcome_for_a_submission_and_no_answer_to_a_question(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        desk.behave(garbage_rate=1)
        with pytest.raises(RegistryUnknownOutcomeError):
            await desk.adapter.submit(submission)
        with pytest.raises(RegistryUnavailableError):
            await desk.ask(submission)
        with pytest.raises(RegistryUnavailableError):
            await desk.adapter.check_parents(birth_record())


async def test_an_outage_and_a_throttle_say_that_nothing_was_done(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(outage=True)
        with pytest.raises(RegistryUnavailableError) as closed:
            await desk.adapter.submit(desk.submission())
        desk.behave(outage=False, throttle_s=17)
        with pytest.raises(RegistryUnavailableError) as busy:
            await desk.adapter.submit(desk.submission())
        assert (closed.value.after, busy.value.after) == (None, 17)
        assert await desk.records() == []


async def test_a_registry_that_is_not_there_is_unavailable() -> None:
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RegistryUnavailableError):
        await submitted_to(f"http://127.0.0.1:{port}")
    with pytest.raises(RegistryUnavailableError):
        await submitted_to("http://registry.invalid")


@pytest.mark.parametrize(
    ("status", "body", "error", "reason"),
    [
        (200, b"", RegistryUnknownOutcomeError, ""),
        (202, b'{"status": "DITERIMA", "id_kasus": "b-1", "revisi": "1"}', RegistryUnknownOutcomeError, ""),
        (202, b"x" * (1024 * 1024 + 1), RegistryUnknownOutcomeError, ""),
        (202, b'{"status": "DITERIMA", "id_kasus": "b-2", "revisi": 1}', RegistryProtocolError, ""),
        (400, b"", RegistryRefusedError, "HTTP_400"),
        (400, b'{"kode": "ISI_TIDAK_SAH"}', RegistryRefusedError, "ISI_TIDAK_SAH"),
        (422, b'{"kode": "NAMA_TIDAK_SAH", "pesan": "SITI"}', RegistryRefusedError, "NAMA_TIDAK_SAH"),
        (409, b'{"kode": "DUPLIKAT"}', RegistryRefusedError, "DUPLIKAT"),
        (409, b'{"kode": "KUNCI_DIPAKAI"}', RegistryProtocolError, ""),
        (409, b"", RegistryProtocolError, ""),
        (418, b"", RegistryProtocolError, ""),
        (302, b"", RegistryProtocolError, ""),
        (401, b"", RegistryUnavailableError, ""),
        (403, b"", RegistryUnavailableError, ""),
        (404, b"", RegistryUnavailableError, ""),
        (429, b"", RegistryUnavailableError, ""),
        (503, b"", RegistryUnavailableError, ""),
        (500, b"", RegistryUnknownOutcomeError, ""),
        (504, b"", RegistryUnknownOutcomeError, ""),
    ],
)
async def test_every_status_of_a_submission_has_one_meaning(
    status: int, body: bytes, error: type[ProcotError], reason: str
) -> None:
    async with canned(status, body) as url:
        with pytest.raises(error) as raised:
            await submitted_to(url)
    assert type(raised.value) is error
    assert getattr(raised.value, "reason", "") == reason
    assert "SITI" not in str(raised.value)


async def test_423_means_that_the_office_works_on_it() -> None:
    async with canned(423, b'{"kode": "SEDANG_DIPROSES", "no_permohonan": "P1"}') as url:
        outcome = await submitted_to(url)
    assert outcome == Outcome("b-1", 1, RegistryStatus.IN_PROCESS, reference="P1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("99999999999", 86_400), ("Thu, 20 Mar 2025 02:01:00 GMT", 60), ("soon", None), ("-1", None)],
)
async def test_retry_after_is_read_as_seconds_or_date(text: str, seconds: float | None) -> None:
    async with canned(503, b"", {"Retry-After": text}) as url:
        with pytest.raises(RegistryUnavailableError) as raised:
            await submitted_to(url)
    assert raised.value.after == seconds


@pytest.mark.parametrize("status", [400, 404, 423, 500, 502, 302, 200])
async def test_a_question_is_never_answered_with_unknown_by_mistake(status: int) -> None:
    async with canned(status, b"<html>") as url:
        adapter = adapter_for(url)
        try:
            with pytest.raises((RegistryUnavailableError, RegistryProtocolError)):
                await adapter.ask(birth_id="b-1", revision=1, reference="")
        finally:
            await adapter.close()


async def test_a_refused_token_is_not_tried_again_before_its_pause_is_over(tmp_path: Path) -> None:
    clock = Clock()
    async with bench(tmp_path, clock=clock, adapter={"token": "wrong"}) as desk:
        with pytest.raises(RegistryUnavailableError) as first:
            await desk.adapter.submit(desk.submission())
        assert first.value.after == 300
        await desk.sandbox.stop()  # a second request would now fail in another way
        clock.advance(seconds=100)
        with pytest.raises(RegistryUnavailableError, match="not asked again") as second:
            await desk.adapter.submit(desk.submission())
        assert second.value.after == 200


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_file_that_is_not_to_be_had_concerns_that_file_alone(status: int) -> None:
    async with canned(status, b"") as url:
        adapter = adapter_for(url)
        try:
            told = certificate(document_url=f"{url}/dokumen/x.pdf")
            for _ in range(2):
                with pytest.raises(RegistryDocumentError):
                    await adapter.fetch_document(told)
            with pytest.raises(RegistryUnavailableError) as asked:
                await adapter.submit(SUBMISSION)
            assert "not asked again" not in str(asked.value), "it was asked"
        except RegistryProtocolError:  # 410 to a submission is off the contract, and was asked too
            assert status == 410
        finally:
            await adapter.close()


async def test_one_thing_that_is_forbidden_closes_nothing_else() -> None:
    async with canned(403, b"") as url:
        adapter = adapter_for(url)
        try:
            for _ in range(2):
                with pytest.raises(RegistryUnavailableError, match="does not let us in"):
                    await adapter.submit(SUBMISSION)
        finally:
            await adapter.close()


async def test_the_sandbox_has_dead_files_and_moves_them(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        outcome = await desk.adapter.submit(desk.submission())
        assert outcome.certificate is not None
        for status in (404, 403):
            desk.behave(dead_file_rate=1.0, dead_file_status=status)
            with pytest.raises(RegistryDocumentError, match=str(status)):
                await desk.adapter.fetch_document(outcome.certificate)
        desk.behave(dead_file_rate=0.0, files_under="arsip")
        with pytest.raises(RegistryDocumentError):
            await desk.adapter.fetch_document(outcome.certificate)
        fresh = await desk.adapter.ask(birth_id=outcome.birth_id, revision=1, reference=outcome.reference)
        assert fresh.certificate is not None
        assert (await desk.adapter.fetch_document(fresh.certificate)).startswith(b"%PDF")


async def test_a_refusal_bears_the_registry_s_code_and_place(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        with pytest.raises(RegistryRefusedError, match="/ibu/nik") as raised:
            await desk.adapter.submit(desk.submission(birth_record(mother=mother(nik=Nik("3510165203959013")))))
        assert raised.value.reason == "NIK_IBU_TIDAK_SESUAI"


async def test_a_newer_revision_of_an_issued_birth_is_a_duplicate(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        await desk.adapter.submit(submission)
        with pytest.raises(RegistryRefusedError) as raised:
            await desk.adapter.submit(desk.submission(birth_id=submission.birth_id, revision=2))
        assert raised.value.reason == "DUPLIKAT"


async def test_a_key_used_with_another_body_is_for_a_person_to_look_at(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        await desk.adapter.submit(submission)
        other = desk.submission(birth_record(child=child(weight_g=1)), birth_id=submission.birth_id)
        with pytest.raises(RegistryProtocolError):
            await desk.adapter.submit(other)


async def test_our_signature_is_checked_by_the_registry(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        good, other = desk.submission(), desk.submission()
        with pytest.raises(RegistryUnavailableError, match="TANDA_TANGAN_TIDAK_SAH"):
            await desk.adapter.submit(Submission(good.birth_id, 1, good.payload, other.signature))
        assert (await desk.adapter.submit(good)).status is RegistryStatus.ISSUED  # one bad record stops no other


# ---------------------------------------------------------------------------------------------------- callbacks


def callback(
    tmp_path: Path, at: dt.datetime, *, iat: int | None = None, **changes: str
) -> tuple[dict[str, str], bytes]:
    key = own_key(tmp_path / "registry" / "registry-key.pem")
    body = json.dumps({"id_kasus": "b-1", "revisi": 1, "status": "VERIFIKASI"}).encode()
    issued_at = int(at.timestamp()) if iat is None else iat
    signature = sign_detached(body, key=key, kid=thumbprint(key.public_key()), issued_at=issued_at)
    return {"x-tanda-tangan": signature, "X-WAKTU": at.isoformat()} | changes, body


async def test_a_callback_is_believed_with_the_right_signature_and_time_only(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        now = desk.clock()
        headers, body = callback(tmp_path, now + dt.timedelta(minutes=5))
        assert (await desk.adapter.read_callback(headers, body)).status is RegistryStatus.IN_PROCESS
        stranger = sign_detached(body, key=KEY, kid="gateway-key", issued_at=int(now.timestamp()))
        impostor = headers["x-tanda-tangan"].split("..")[0] + ".." + stranger.split("..")[1]
        late, early = now - dt.timedelta(seconds=301), now + dt.timedelta(seconds=301)
        refused = [
            (headers, body + b" "),
            ({}, body),
            (headers | {"x-tanda-tangan": stranger}, body),
            (headers | {"x-tanda-tangan": impostor}, body),
            (headers | {"X-WAKTU": now.isoformat()}, body),  # not the signed time
            (headers | {"X-WAKTU": "yesterday"}, body),
            callback(tmp_path, late),
            callback(tmp_path, early),
            callback(tmp_path, now, iat=int(late.timestamp())),
        ]
        for wrong_headers, wrong_body in refused:
            with pytest.raises(SignatureError):
                await desk.adapter.read_callback(wrong_headers, wrong_body)


async def test_without_a_key_set_no_callback_is_believed(tmp_path: Path) -> None:
    async with bench(tmp_path, adapter={"callback_jwks": ""}) as desk:
        with pytest.raises(SignatureError, match="no key set"):
            await desk.adapter.read_callback(*callback(tmp_path, desk.clock()))


async def test_a_callback_off_the_contract_is_told_apart_from_a_forged_one(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        key = own_key(tmp_path / "registry" / "registry-key.pem")
        now = desk.clock()
        signature = sign_detached(b"{}", key=key, kid=thumbprint(key.public_key()), issued_at=int(now.timestamp()))
        with pytest.raises(RegistryProtocolError):
            await desk.adapter.read_callback({"X-Tanda-Tangan": signature, "X-Waktu": now.isoformat()}, b"{}")


# ----------------------------------------------------------------------------------------------------- key sets


async def test_a_key_added_to_a_file_is_known_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    ring = KeyRing(str(path))
    with pytest.raises(RegistryUnavailableError, match="cannot be read"):
        await ring.verify(sign_detached(b"x", key=KEY, kid="old"), b"x")
    for kid in ("old", "new"):
        path.write_text(json.dumps({"keys": [jwk(KEY.public_key(), kid)]}))
        os.utime(path, ns=(0, len(kid) * (kid == "new")))  # the file system's clock may be too coarse to tell
        assert (await ring.verify(sign_detached(b"x", key=KEY, kid=kid), b"x")).kid == kid


async def test_a_key_set_is_fetched_at_most_once_a_minute() -> None:
    now, fetched, kids = [0.0], [0], ["k1"]

    async def answer(_request: web.Request) -> web.Response:
        fetched[0] += 1
        return web.json_response({"keys": [jwk(KEY.public_key(), kid) for kid in kids]})

    async with TestServer(_app(answer)) as server:
        ring = KeyRing(str(server.make_url("/jwks.json")), monotonic=lambda: now[0])
        signatures = [sign_detached(b"x", key=KEY, kid=kid) for kid in ("k1", "k2")]
        await ring.verify(signatures[0], b"x")
        kids.append("k2")
        for _ in range(3):
            with pytest.raises(SignatureError):
                await ring.verify(signatures[1], b"x")
        assert fetched == [1]
        now[0] = 60.0
        await asyncio.gather(*(ring.verify(signatures[1], b"x") for _ in range(5)))
        assert fetched == [2]


async def test_keys_that_cannot_be_fetched_are_no_proof_of_a_forgery() -> None:
    async with canned(500, b"") as url:
        ring = KeyRing(url, monotonic=lambda: 0.0)
        for reason in ("cannot be fetched", "a moment ago"):
            with pytest.raises(RegistryUnavailableError, match=reason):
                await ring.verify(sign_detached(b"x", key=KEY, kid="k"), b"x")


def _app(handler: Any) -> web.Application:
    app = web.Application()
    app.router.add_get("/jwks.json", handler)
    return app


# ------------------------------------------------------------------------------------------------ element check


async def test_parents_who_agree_bring_no_findings(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        assert codes(await desk.adapter.check_parents(birth_record())) == {"mother": [], "father": []}


@pytest.mark.parametrize(
    ("serial", "code"),
    [
        ("9011", "NIK_DECEASED"),
        ("9012", "NIK_DUPLICATE"),
        ("9013", "NIK_NOT_FOUND"),
        ("9014", "NIK_INACTIVE"),
        ("9015", "NIK_FORMAT"),
        ("9018", "CHECK_CODE_08"),
        ("9060", "NAME_MISMATCH"),
        ("9059", "NIK_NOT_FOUND"),
    ],
)
async def test_each_standing_of_a_nik_becomes_its_finding(tmp_path: Path, serial: str, code: str) -> None:
    record = birth_record(
        mother=mother(nik=Nik(MOTHER_NIK[:12] + serial)), father=father(nik=Nik(FATHER_NIK[:12] + serial))
    )
    async with bench(tmp_path) as desk:
        checks = await desk.adapter.check_parents(record)
    assert codes(checks) == {"mother": [f"MOTHER_{code}"], "father": [f"FATHER_{code}"]}


async def test_a_nearly_equal_name_is_a_warning_at_its_place_with_its_score(tmp_path: Path) -> None:
    record = birth_record(mother=mother(nik=Nik("3510165203959061")))
    async with bench(tmp_path) as desk:
        finding = (await desk.adapter.check_parents(record))[0].findings[0]
    assert (finding.code, finding.severity_override, finding.parameters) == (
        "MOTHER_NAME_MISMATCH",
        "W",
        {"score": "85"},
    )
    assert finding.place is not None
    assert finding.place.label == "NK1-2"


async def test_a_lower_threshold_lets_a_nearly_equal_name_pass(tmp_path: Path) -> None:
    record = birth_record(mother=mother(nik=Nik("3510165203959061")), father=None)
    async with bench(tmp_path, adapter={"options": {"name_threshold": "85", "key_case": "lower"}}) as desk:
        assert codes(await desk.adapter.check_parents(record)) == {"mother": []}


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"NAMA_LGKP": "Tidak Sesuai (59)"}, ["MOTHER_NAME_MISMATCH"]),
        ({"TGL_LHR": "Tidak Sesuai"}, ["MOTHER_DOB_MISMATCH"]),
        ({"JENIS_KLMIN": "Tidak Sesuai"}, ["MOTHER_SEX_MISMATCH"]),
        ({"NO_KK": "Tidak Sesuai"}, ["MOTHER_KK_MISMATCH"]),
        ({"TGL_LHR": None}, ["MOTHER_CHECK_UNCLEAR"]),
        ({"TGL_LHR": "barangkali", "NO_KK": "?"}, ["MOTHER_CHECK_UNCLEAR"]),
        ({"NIK": "Tidak Sesuai"}, ["MOTHER_CHECK_UNCLEAR"]),
    ],
)
async def test_each_element_that_disagrees_has_its_own_finding(
    verdicts: dict[str, str | None], expected: list[str]
) -> None:
    agreed = dict.fromkeys(("NIK", "NAMA_LGKP", "TGL_LHR", "JENIS_KLMIN", "NO_KK"), "Sesuai")
    body = json.dumps({"content": [agreed | verdicts]}).encode()
    async with canned(200, body) as url:
        adapter = adapter_for(url, check_user="u", check_password="p")
        checks = await adapter.check_parents(birth_record(father=None))
        await adapter.close()
    assert codes(checks) == {"mother": expected}


@pytest.mark.parametrize(
    ("record", "asked"),
    [
        (birth_record(variant=Variant.MOTHER_ONLY), {"mother"}),
        (birth_record(mother=mother(nik=None)), {"father"}),
        (birth_record(father=father(citizenship="WNA")), {"mother"}),
        (birth_record(mother=None, father=None), set()),
    ],
)
async def test_only_citizens_with_a_nik_who_will_stand_on_the_akta_are_asked_about(
    tmp_path: Path, record: BirthRecord, asked: set[str]
) -> None:
    async with bench(tmp_path) as desk:
        assert codes(await desk.adapter.check_parents(record)).keys() == asked


async def test_a_malformed_nik_is_known_without_a_call_and_without_an_account_a_person_looks() -> None:
    adapter = adapter_for("http://registry.invalid")
    checks = await adapter.check_parents(birth_record(mother=mother(nik=Nik("35101")), father=father()))
    assert codes(checks) == {"mother": ["MOTHER_NIK_FORMAT"], "father": ["FATHER_CHECK_UNCLEAR"]}


async def test_a_used_up_quota_closes_the_check_until_midnight_in_jakarta(tmp_path: Path) -> None:
    clock = Clock(dt.datetime(2025, 3, 20, 15, 0, tzinfo=dt.UTC))  # 22.00 WIB
    async with bench(tmp_path, clock=clock) as desk:
        desk.behave(quota_exhausted=True)
        with pytest.raises(RegistryUnavailableError) as first:
            await desk.adapter.check_parents(birth_record())
        desk.behave(quota_exhausted=False)
        clock.advance(hours=1)
        with pytest.raises(RegistryUnavailableError) as second:
            await desk.adapter.check_parents(birth_record())
        assert (first.value.after, second.value.after) == (7200, 3600)
        clock.advance(hours=1)
        assert codes(await desk.adapter.check_parents(birth_record())) == {"mother": [], "father": []}


async def test_a_refused_login_is_tried_once_and_again_only_when_a_person_mended_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(login_refused=True)
        with pytest.raises(RegistryLoginError, match="procot registry resume"):
            await desk.adapter.check_parents(birth_record())  # two parents, one call
        assert desk.sandbox.logins == 1
        desk.behave(login_refused=False)
        desk.clock.advance(days=30)
        with pytest.raises(RegistryLoginError):
            await desk.adapter.check_parents(birth_record())
        assert desk.sandbox.logins == 1
        desk.adapter.reopen_checks(desk.clock() - dt.timedelta(days=40))  # before it was closed: no word about it
        with pytest.raises(RegistryLoginError):
            await desk.adapter.check_parents(birth_record())
        desk.adapter.reopen_checks(desk.clock())
        assert codes(await desk.adapter.check_parents(birth_record())) == {"mother": [], "father": []}


async def test_other_credentials_have_another_identity_that_shows_none_of_them() -> None:
    one = adapter_for("http://127.0.0.1:1", check_user="u", check_password="secret")
    other = adapter_for("http://127.0.0.1:1", check_user="u", check_password="mended")
    assert one.check_identity != other.check_identity
    assert "secret" not in one.check_identity


# ------------------------------------------------------------------------------------------ cache and look-up


async def test_parents_who_agreed_are_believed_for_a_day_and_not_longer(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.adapter.check_parents(birth_record())
        asked = desk.sandbox.logins
        desk.clock.advance(hours=23, minutes=59)
        assert codes(await desk.adapter.check_parents(birth_record())) == {"mother": [], "father": []}
        assert desk.sandbox.logins == asked
        desk.clock.advance(minutes=1)
        await desk.adapter.check_parents(birth_record())
        assert desk.sandbox.logins == 2 * asked


@pytest.mark.parametrize("changed", [{"name": "SITI AMINAH LAIN"}, {"born_on": dt.date(1995, 3, 13)}])
async def test_other_elements_of_a_parent_are_asked_about_anew(tmp_path: Path, changed: dict[str, Any]) -> None:
    async with bench(tmp_path) as desk:
        await desk.adapter.check_parents(birth_record(father=None))
        await desk.adapter.check_parents(birth_record(father=None, mother=mother(**changed)))
        assert desk.sandbox.logins == 2


async def test_a_disagreement_is_never_remembered(tmp_path: Path) -> None:
    record = birth_record(father=None, mother=mother(nik=Nik("3510165203959061")))
    async with bench(tmp_path) as desk:
        for _ in range(2):
            assert codes(await desk.adapter.check_parents(record)) == {"mother": ["MOTHER_NAME_MISMATCH"]}
        assert desk.sandbox.logins == 2


def test_what_is_remembered_holds_no_name_and_no_number() -> None:
    agreements = Agreements(seconds=60, clock=Clock())
    agreements.keep({"NIK": MOTHER_NIK, "NAMA_LGKP": "SITI AMINAH"})
    assert {len(digest) for digest in agreements._until} == {32}
    assert not any(MOTHER_NIK.encode() in digest or b"SITI" in digest for digest in agreements._until)


async def test_the_full_record_is_looked_up_only_where_configured_and_only_for_what_is_missing(tmp_path: Path) -> None:
    cardless = birth_record(family_card=None, mother=mother(family_card=None), father=None)
    for options, record, looked in (
        ({}, cardless, False),
        ({"look_up": "CALL_NIK"}, cardless, True),
        ({"look_up": "CALL_NIK"}, birth_record(father=None), False),
    ):
        async with bench(tmp_path / f"{looked}{len(options)}", adapter={"options": options}) as desk:
            (check,) = await desk.adapter.check_parents(record)
        assert check.findings == ()
        assert {p: len(v.reveal()) for p, v in check.learned.items()} == ({"mother.family_card": 16} if looked else {})


class _Records:
    """A register whose full records hold more than a birth may need."""

    def __init__(self) -> None:
        self.looked: list[str] = []

    async def check(self, _path: str, _request: Any) -> Any:
        return parse_check(b'{"content": [{"NIK": "Sesuai", "NAMA_LGKP": "Sesuai", "TGL_LHR": "Sesuai",'
                           b'"JENIS_KLMIN": "Sesuai", "NO_KK": "Sesuai"}]}')  # fmt: skip

    async def look_up(self, path: str, request: Any) -> Any:
        self.looked.append(path)
        record = {"NIK": int(request["NIK"]), "NO_KK": 3510161405189001, "TMPT_LHR": "Banyuwangi  ", "AGAMA": "X"}
        return parse_look_up(json.dumps({"content": [record]}).encode())


@pytest.mark.parametrize(
    ("options", "gaps", "learned"),
    [
        ({}, {"family_card": None, "born_in": None}, set()),
        ({"look_up": "CALL_NIK"}, {"family_card": None, "born_in": None}, {"family_card"}),
        ({"look_up": "CALL_NIK"}, {"born_in": None}, set()),
        ({"look_up": "CALL_NIK", "look_up_fills": "record"}, {"born_in": None}, {"family_card", "born_in"}),
        ({"look_up": "CALL_NIK", "look_up_fills": "record"}, {"born_in": "JEMBER"}, set()),
    ],
)
async def test_of_the_full_record_only_what_is_configured_fills_a_gap_and_without_one_it_is_not_read(
    options: dict[str, str], gaps: dict[str, Any], learned: set[str]
) -> None:
    records = _Records()
    adapter: Any = adapter_for(url="http://127.0.0.1:1", check_user="GATEWAY", options=options)
    adapter._checks._client = records
    card = {} if "family_card" in gaps else {"family_card": Personal("3510161405189001")}
    (check,) = await adapter.check_parents(birth_record(family_card=None, father=None, mother=mother(**gaps, **card)))
    assert {path.removeprefix("mother.") for path in check.learned} == learned
    assert len(records.looked) == bool(learned)
    if "born_in" in learned:
        assert check.learned["mother.born_in"].reveal() == "BANYUWANGI"


async def test_the_check_may_be_down_while_submission_works(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(check_outage=True)
        with pytest.raises(RegistryUnavailableError):
            await desk.adapter.check_parents(birth_record())
        assert (await desk.adapter.submit(desk.submission())).status is RegistryStatus.ISSUED


# ----------------------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"url": "registry.example"}, "registry.url"),
        ({"options": {"name_treshold": "95"}}, "registry.options.name_treshold"),
        ({"options": {"name_threshold": "79"}}, "registry.options.name_threshold"),
        ({"options": {"name_threshold": "many"}}, "registry.options.name_threshold"),
        ({"options": {"key_case": "title"}}, "registry.options.key_case"),
        ({"options": {"check_url": "ftp://x"}}, "registry.options.check_url"),
        ({"options": {"institution": "../x"}}, "registry.options.institution"),
        ({"options": {"look_up": "a/b"}}, "registry.options.look_up"),
        ({"options": {"look_up_fills": "all"}}, "registry.options.look_up_fills"),
        ({"options": {"cache_hours": "25"}}, "registry.options.cache_hours"),
        ({"options": {"kk_threshold": "-1"}}, "registry.options.kk_threshold"),
        ({"options": {"ca_file": "/nowhere.pem"}}, "ca_file"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        adapter_for(**({"url": "http://127.0.0.1:1"} | changes))


def test_settings_do_not_print_their_secrets() -> None:
    settings = RegistrySettings(
        url="http://x", clock=Clock(), token="secret-t", check_user="secret-u", check_password="secret-p"
    )
    assert "secret" not in repr(settings)


async def test_a_wrong_clock_costs_a_short_wait_and_a_right_one_goes_on(tmp_path: Path) -> None:
    ours = Clock()
    async with bench(tmp_path, adapter={"clock": ours}) as desk:
        ours.advance(minutes=20)
        submission = desk.submission()
        with pytest.raises(RegistryUnavailableError, match="check the clock") as raised:
            await desk.adapter.submit(submission)
        assert raised.value.after is None
        ours.advance(minutes=-20)
        assert (await desk.adapter.submit(submission)).certificate is not None


async def test_a_pause_that_a_wrong_clock_made_too_long_ends_with_it(tmp_path: Path) -> None:
    ours = Clock()
    async with bench(tmp_path, adapter={"clock": ours, "token": "wrong"}) as desk:
        ours.advance(minutes=20)
        with pytest.raises(RegistryUnavailableError, match="does not let us in"):
            await desk.adapter.submit(desk.submission())
        with pytest.raises(RegistryUnavailableError, match="not asked again yet"):
            await desk.adapter.submit(desk.submission())
        ours.advance(minutes=-20)
        with pytest.raises(RegistryUnavailableError, match="does not let us in"):
            await desk.adapter.submit(desk.submission())


async def test_our_token_goes_to_the_registry_s_own_address_only(tmp_path: Path) -> None:
    async with (
        bench(tmp_path / "other") as stranger,
        bench(tmp_path, adapter={"document_origins": (stranger.url,)}) as desk,
    ):
        outcome = await stranger.adapter.submit(stranger.submission())
        assert outcome.certificate is not None
        assert outcome.certificate.document_url.startswith(stranger.url)
        with pytest.raises(RegistryUnavailableError):  # 401: no token was shown
            await desk.adapter.fetch_document(outcome.certificate)


async def test_a_key_withdrawn_at_its_address_is_refused_within_five_minutes() -> None:
    now, kids, down = [0.0], ["k1"], [False]

    async def answer(_request: web.Request) -> web.Response:
        if down[0]:
            return web.Response(status=503)
        return web.json_response({"keys": [jwk(KEY.public_key(), kid) for kid in kids]})

    async with TestServer(_app(answer)) as server:
        ring = KeyRing(str(server.make_url("/jwks.json")), monotonic=lambda: now[0])
        signature = sign_detached(b"x", key=KEY, kid="k1")
        await ring.verify(signature, b"x")
        kids.clear()
        now[0] = 59.0
        await ring.verify(signature, b"x")
        now[0] = 61.0
        with pytest.raises(SignatureError):
            await ring.verify(signature, b"x")
        kids.append("k1")
        now[0] = 122.0
        await ring.verify(signature, b"x")
        down[0] = True
        now[0] = 300.0  # it cannot be asked: the key is believed a little longer, and not beyond
        await ring.verify(signature, b"x")
        for now[0] in (122.0 + 240.0, 10_000.0):
            with pytest.raises(RegistryUnavailableError):
                await ring.verify(signature, b"x")


async def test_a_key_withdrawn_from_a_file_is_refused_within_five_seconds(tmp_path: Path) -> None:
    path, now = tmp_path / "jwks.json", [0.0]
    path.write_text(json.dumps({"keys": [jwk(KEY.public_key(), "k1")]}))
    ring = KeyRing(str(path), monotonic=lambda: now[0])
    signature = sign_detached(b"x", key=KEY, kid="k1")
    await ring.verify(signature, b"x")
    path.write_text('{"keys": []}')
    now[0] = 4.9
    with pytest.raises(SignatureError):
        await ring.verify(signature, b"x")


async def test_a_key_set_that_is_too_large_or_no_key_set_is_none(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    for text in (b" " * 300_000, json.dumps({"keys": [jwk(KEY.public_key(), f"k{n}") for n in range(101)]}).encode()):
        path.write_bytes(text)
        with pytest.raises(SignatureError):
            await KeyRing(str(path)).verify(sign_detached(b"x", key=KEY, kid="k1"), b"x")
    async with canned(200, b"<html>maintenance</html>") as url:
        with pytest.raises(RegistryUnavailableError):
            await KeyRing(url).verify(sign_detached(b"x", key=KEY, kid="k1"), b"x")


async def test_our_client_certificate_is_shown_where_the_operator_sent_us_alone() -> None:
    url, check, files = "https://registry.example", "https://check.example", "https://files.example"
    settings = RegistrySettings(url=url, clock=Clock(), document_origins=(files,))
    ours, others = ssl.create_default_context(), ssl.create_default_context()
    client = Client(settings, check_url=check, tls=Tls(ours, others))
    assert [client._seen_by(f"{origin}/x") for origin in (url, check, files)] == [ours, ours, others]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_a_file_is_not_followed(status: int) -> None:
    async with mailbox() as elsewhere, canned(status, b"", {"Location": elsewhere.url}) as url:
        adapter = adapter_for(url)
        told = scripted_certificate(document_url=f"{url}/a.pdf")
        with pytest.raises(DocumentAddressError, match=str(status)):
            await adapter.fetch_document(told)
        await adapter.close()
        assert elsewhere.letters.empty()

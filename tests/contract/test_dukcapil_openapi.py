"""schemas/dukcapil/openapi.json is valid, and what adapter and sandbox really say fits it."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from adapters.dukcapil.adapter import Dukcapil
from adapters.dukcapil.codes import REFUSALS, STATUS
from gateway.contract.ports import TwinGroup
from gateway.contract.record import Event, PluralityKind, Stillbirth, Variant
from tests.simulators.records import birth_record, child, mother
from tests.simulators.registry import TOKEN, Bench, bench, mailbox

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contract.record import BirthRecord

SPEC: dict[str, Any] = json.loads(resources.files("schemas").joinpath("dukcapil/openapi.json").read_text("utf-8"))


def fits(schema: str, value: object) -> None:
    Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": SPEC["components"]}).validate(value)


def test_the_document_is_valid_openapi() -> None:
    assert SPEC["openapi"].startswith("3.1")
    validate(SPEC)


def test_the_tables_in_code_and_the_enumerations_in_the_contract_are_the_same() -> None:
    schemas = SPEC["components"]["schemas"]
    assert set(schemas["Status"]["enum"]) == set(STATUS)
    assert set(schemas["RefusalCode"]["enum"]) == REFUSALS


@pytest.mark.parametrize(
    "record",
    [
        birth_record(),
        birth_record(variant=Variant.MOTHER_ONLY),
        birth_record(variant=Variant.NO_PARENTS, mother=None, father=None),
        birth_record(mother=mother(nik=None, citizenship="WNA", travel_document="X90000001"), father=None),
        birth_record(event=Event.STILLBIRTH, stillbirth=Stillbirth(cause="ASFIKSIA", determined_by="DOKTER")),
        birth_record(marriage=None, reporter=None, witnesses=(), consent=None, variant=None, variant_reasons=()),
        birth_record(child=child(plurality=PluralityKind.TWIN, length_cm=48.55)),
    ],
)
async def test_every_kind_of_document_fits_the_contract(tmp_path: Path, record: BirthRecord) -> None:
    async with bench(tmp_path) as desk:
        for twins in (None, TwinGroup("g-1", 2)):
            fits("Submission", desk.adapter.document(record, birth_id="b-1", revision=1, twins=twins))


async def test_answers_to_submissions_and_questions_fit_the_contract(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        status, case = await post(desk, submission.payload, submission.idempotency_key, submission.signature)
        assert status == 202
        fits("Case", case)
        for path in (f"/{case['no_permohonan']}", f"?id_kasus={submission.birth_id}&revisi=1"):
            fits("Case", await get(desk, f"/api/v1/kelahiran{path}"))
        fits("Documents", await get(desk, f"/api/v1/kelahiran/{case['no_permohonan']}/dokumen"))
        fits("Problem", await get(desk, "/api/v1/kelahiran/P3510-99999999"))
        fits("Jwks", await get(desk, "/.well-known/jwks.json"))


@pytest.mark.parametrize("key", ["reject_next", "needs_data_next"])
async def test_unhappy_ends_fit_the_contract(tmp_path: Path, key: str) -> None:
    async with bench(tmp_path) as desk:
        desk.behave(**{key: "BERKAS_KURANG"})
        submission = desk.submission()
        _, case = await post(desk, submission.payload, submission.idempotency_key, submission.signature)
        assert case["kode"] == "BERKAS_KURANG"
        fits("Case", case)


async def test_refusals_fit_the_contract(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        good = desk.submission()
        nameless = desk.submission(birth_record(child=child(name="BAYI 1")))
        for submission, key, expected in (
            (good, "other:1", 400),
            (nameless, nameless.idempotency_key, 422),
        ):
            status, problem = await post(desk, submission.payload, key, submission.signature)
            assert status == expected
            fits("Problem", problem)
        status, problem = await post(desk, good.payload, good.idempotency_key, nameless.signature)
        assert (status, problem["kode"]) == (401, "TANDA_TANGAN_TIDAK_SAH")
        fits("Problem", problem)


async def test_a_callback_fits_the_contract(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, callbacks=True, callback_url=box.url) as desk:
        await desk.adapter.submit(desk.submission())
        headers, body = await box.next()
        assert {"X-Tanda-Tangan", "X-Waktu"} <= headers.keys()
        fits("Case", json.loads(body))


async def test_the_element_check_fits_the_contract(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        assert isinstance(desk.adapter, Dukcapil)
        for serial in ("9001", "9013", "9061", "1234"):
            request = desk.adapter._checks._request({"NIK": f"351016520395{serial}", "NAMA_LGKP": "SITI AMINAH"})
            fits("CheckRequest", request)
            url = f"{desk.url}/dukcapil/get_json/3510/CALL_VERIFY_BY_ELEMEN"
            async with desk.http.post(url, json=request) as response:
                fits("CheckAnswer", await response.json())


async def post(desk: Bench, payload: bytes, key: str, signature: str) -> tuple[int, dict[str, Any]]:
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
        "X-Tanda-Tangan": signature,
        "X-Waktu": desk.clock().isoformat(),
    }
    async with desk.http.post(f"{desk.url}/api/v1/kelahiran", data=payload, headers=headers) as response:
        return response.status, await response.json()


async def get(desk: Bench, path: str) -> Any:
    async with desk.http.get(f"{desk.url}{path}", headers={"Authorization": f"Bearer {TOKEN}"}) as response:
        return await response.json()

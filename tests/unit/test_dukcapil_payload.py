from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785

from adapters.dukcapil.payload import document
from gateway.contract.masked import MASK, Personal
from gateway.contract.ports import TwinGroup
from gateway.contract.record import BirthRecord, Consent, Event, PluralityKind, Stillbirth, Variant
from tests.simulators.records import FAMILY_CARD, FATHER_NIK, MOTHER_NIK, birth_record, child, father, mother


def made(record: BirthRecord, twins: TwinGroup | None = None) -> dict[str, Any]:
    return document(record, birth_id="b-1", revision=3, office="3510", twins=twins)


def test_a_whole_record_becomes_the_contract_s_body() -> None:
    body = made(birth_record())
    assert body["anak"] == {
        "nama": "AHMAD RIZKI PRATAMA",
        "jenis_kelamin": "L",
        "tempat_dilahirkan": 1,
        "tempat_kelahiran": "BANYUWANGI",
        "kode_kabkota": "3510",
        "tanggal_lahir": "2025-03-11",
        "pukul": "04:15",
        "zona": "WIB",
        "jenis_kelahiran": 1,
        "kelahiran_ke": 2,
        "urutan_kembar": 1,
        "penolong": 2,
        "berat_gram": 3150,
        "panjang_cm": 49.0,
        "usia_kandungan_minggu": 39,
    }
    assert (body["versi"], body["id_kasus"], body["revisi"], body["jenis"]) == ("1.0", "b-1", 3, "KELAHIRAN")
    assert body["faskes"]["kode"] == "3510999"
    assert (body["ibu"]["nik"], body["ayah"]["nik"], body["ibu"]["no_kk"]) == (MOTHER_NIK, FATHER_NIK, FAMILY_CARD)
    assert body["layanan"] == ["AKTA", "KK", "KIA"]
    assert "kembar" not in body


def test_nothing_in_the_document_is_masked_or_a_type_that_json_does_not_have() -> None:
    text = rfc8785.dumps(made(birth_record())).decode()
    assert MASK not in text
    assert json.loads(text) == json.loads(json.dumps(made(birth_record())))
    assert '"panjang_cm":49,' in text


@pytest.mark.parametrize(("length", "text"), [(49.25, "49.2"), (50.04, "50"), (48.5, "48.5")])
def test_length_has_at_most_one_decimal(length: float, text: str) -> None:
    body = made(birth_record(child=child(length_cm=length)))
    assert rfc8785.dumps(body["anak"]["panjang_cm"]).decode() == text


def test_absent_values_are_left_out_and_only_parents_are_null() -> None:
    record = birth_record(
        father=None, marriage=None, reporter=None, witnesses=(), consent=None, variant=None, variant_reasons=()
    )
    body = made(record)
    assert body["ayah"] is None
    assert not {"perkawinan", "pelapor", "saksi", "persetujuan", "usulan_varian", "alasan_varian"} & body.keys()
    assert all(value is not None for key, value in body.items() if key != "ayah")


@pytest.mark.parametrize(("offset", "zone"), [("+07:00", "WIB"), ("+08:00", "WITA"), ("+09:00", "WIT")])
def test_the_zone_is_written_by_its_indonesian_name(offset: str, zone: str) -> None:
    assert made(birth_record(child=child(utc_offset=offset)))["anak"]["zona"] == zone


def test_a_time_in_no_indonesian_zone_gets_no_zone() -> None:
    assert "zona" not in made(birth_record(child=child(utc_offset="+00:00")))["anak"]


def test_an_unmarried_mother_s_document_holds_no_father() -> None:
    body = made(birth_record(variant=Variant.MOTHER_ONLY))
    assert body["ayah"] is None
    assert body["perkawinan"] == {"status": "TIDAK"}
    assert "hubungan" not in body["pelapor"]
    assert body["ibu"]["nik"] == MOTHER_NIK


def test_a_foundling_s_document_holds_no_parents() -> None:
    body = made(birth_record(variant=Variant.NO_PARENTS))
    assert (body["ibu"], body["ayah"]) == (None, None)
    assert "perkawinan" not in body


def test_a_foreigner_is_named_by_travel_document() -> None:
    foreign = {"nik": None, "citizenship": "WNA", "travel_document": Personal("X90000001")}
    body = made(birth_record(mother=mother(**foreign), father=father(**foreign), family_card=None))
    assert body["ibu"]["dokumen_perjalanan"] == "X90000001"
    assert "nik" not in body["ibu"]
    assert body["layanan"] == ["AKTA"]


def test_twins_name_their_group_and_order() -> None:
    twin = birth_record(child=child(plurality=PluralityKind.TWIN, birth_order=2))
    body = made(twin, TwinGroup("g-1", 2))
    assert body["kembar"] == {"kelompok": "g-1", "jumlah": 2}
    assert (body["anak"]["jenis_kelahiran"], body["anak"]["urutan_kembar"]) == (2, 2)


def test_a_single_child_is_the_first_whatever_its_hospital_counts() -> None:
    body = made(birth_record(child=child(plurality=PluralityKind.SINGLE, birth_order=3)))
    assert (body["anak"]["jenis_kelahiran"], body["anak"]["urutan_kembar"]) == (1, 1)


def test_a_stillbirth_has_no_name_and_asks_for_its_letter_only() -> None:
    body = made(birth_record(event=Event.STILLBIRTH, stillbirth=Stillbirth(cause="ASFIKSIA")))
    assert body["jenis"] == "LAHIR_MATI"
    assert "nama" not in body["anak"]
    assert body["layanan"] == ["SKLM"]
    assert body["lahir_mati"] == {"sebab": "ASFIKSIA"}


def test_a_consent_not_given_is_not_told() -> None:
    assert "persetujuan" not in made(birth_record(consent=Consent(given=False)))

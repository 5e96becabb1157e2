"""Every field group of form F-2.01 (domain B.5) has its place in the record."""

from __future__ import annotations

import datetime as dt

import pytest
from pydantic import BaseModel, ValidationError

from gateway.contract.record import (
    Attendant,
    BirthRecord,
    Child,
    Event,
    Facility,
    PlaceKind,
    PluralityKind,
    Sex,
)

# (group of the form, field of the form) to path in the record
FORM = {
    ("kepala", "jenis laporan"): "event",
    ("kepala", "kode wilayah"): "facility.region",
    ("kepala", "faskes"): "facility.national_code",
    ("kepala", "desa/kelurahan"): "residence.village",
    ("pelapor", "nama"): "reporter.name",
    ("pelapor", "NIK"): "reporter.nik",
    ("pelapor", "nomor KK"): "reporter.family_card",
    ("pelapor", "kewarganegaraan"): "reporter.citizenship",
    ("pelapor", "hubungan"): "reporter.relation",
    ("pelapor", "HP"): "reporter.phone",
    ("saksi", "nama"): "witnesses.name",
    ("saksi", "NIK"): "witnesses.nik",
    ("saksi", "nomor KK"): "witnesses.family_card",
    ("saksi", "kewarganegaraan"): "witnesses.citizenship",
    **{
        (group, field): f"{parent}.{path}"
        for group, parent in (("ayah", "father"), ("ibu", "mother"))
        for field, path in (
            ("nama", "name"),
            ("NIK", "nik"),
            ("dokumen perjalanan", "travel_document"),
            ("nomor KK", "family_card"),
            ("tempat lahir", "born_in"),
            ("tanggal lahir", "born_on"),
            ("kewarganegaraan", "citizenship"),
        )
    },
    ("anak", "1 nama"): "child.name",
    ("anak", "2 jenis kelamin"): "child.sex",
    ("anak", "3 tempat dilahirkan"): "child.place_kind",
    ("anak", "4 tempat kelahiran"): "child.place_name",
    ("anak", "5 hari dan tanggal lahir"): "child.born_on",
    ("anak", "6 pukul"): "child.born_at",
    ("anak", "6 zona"): "child.utc_offset",
    ("anak", "7 jenis kelahiran"): "child.plurality",
    ("anak", "8 kelahiran ke"): "child.parity",
    ("anak", "9 penolong"): "child.attendant",
    ("anak", "10 berat bayi"): "child.weight_g",
    ("anak", "11 panjang bayi"): "child.length_cm",
    ("lahir mati", "lamanya dalam kandungan"): "child.gestation_weeks",
    ("lahir mati", "sebab lahir mati"): "stillbirth.cause",
    ("lahir mati", "yang menentukan"): "stillbirth.determined_by",
    ("lampiran", "surat keterangan kelahiran"): "facility.letter_number",
    ("lampiran", "tanggal surat"): "facility.letter_date",
    ("lampiran", "bukti nikah: nomor"): "marriage.number",
    ("lampiran", "bukti nikah: tanggal"): "marriage.date",
    ("lampiran", "bukti nikah: penerbit"): "marriage.issuer",
    ("lampiran", "SPTJM"): "marriage.status",
    ("lampiran", "KK"): "family_card",
    ("persetujuan", "diberikan"): "consent.given",
}


def model_at(path: str) -> tuple[type[BaseModel], str]:
    model: type[BaseModel] = BirthRecord
    *parents, leaf = path.split(".")
    for name in parents:
        annotation = model.model_fields[name].annotation
        parts = [annotation, *getattr(annotation, "__args__", ())]
        model = next(p for p in parts if isinstance(p, type) and issubclass(p, BaseModel))
    return model, leaf


@pytest.mark.parametrize(("item", "path"), sorted(FORM.items()), ids=lambda x: x if isinstance(x, str) else " ".join(x))
def test_the_form_has_a_place_in_the_record(item: tuple[str, str], path: str) -> None:
    model, leaf = model_at(path)
    assert leaf in model.model_fields


def test_code_lists_are_those_of_the_form() -> None:
    assert [s.value for s in Sex] == ["L", "P"]
    assert [p.value for p in PlaceKind] == [1, 2, 3, 4, 5]
    assert [p.value for p in PluralityKind] == [1, 2, 3, 4, 5]
    assert [a.value for a in Attendant] == [1, 2, 3, 4]
    assert [e.value for e in Event] == ["KELAHIRAN", "LAHIR_MATI"]


def test_a_record_is_frozen_and_strict() -> None:
    record = BirthRecord(
        facility=Facility(code="RS", name="RS", region="3510"),
        child=Child(medical_record="1", born_on=dt.date(2025, 3, 11)),
    )
    with pytest.raises(ValidationError):
        record.event = Event.STILLBIRTH  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Facility(code="RS", name="RS", region="35.10")
    with pytest.raises(ValidationError):
        Child(medical_record="1", born_at="4:15")
    assert BirthRecord.model_validate_json(record.model_dump_json()) == record

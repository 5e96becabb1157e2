"""Birth records for tests: one whole, ready one (the samples' invented family), changed by keyword."""

from __future__ import annotations

import datetime as dt
from typing import Any

from gateway.contract.masked import Nik, Personal
from gateway.contract.record import (
    Attendant,
    BirthRecord,
    Child,
    Consent,
    Facility,
    Marriage,
    Parent,
    Participant,
    PlaceKind,
    PluralityKind,
    Sex,
    Variant,
)

MOTHER_NIK = "3510165203959001"
FATHER_NIK = "3510160407929001"
FAMILY_CARD = "3510161405189001"


def child(**overrides: Any) -> Child:
    values: dict[str, Any] = {
        "medical_record": Personal("00450121"),
        "name": Personal("AHMAD RIZKI PRATAMA"),
        "sex": Sex.MALE,
        "place_kind": PlaceKind.HOSPITAL,
        "place_name": "BANYUWANGI",
        "place_region": "3510",
        "born_on": dt.date(2025, 3, 11),
        "born_at": "04:15",
        "utc_offset": "+07:00",
        "plurality": PluralityKind.SINGLE,
        "parity": 2,
        "birth_order": 1,
        "attendant": Attendant.MIDWIFE_OR_NURSE,
        "weight_g": 3150,
        "length_cm": 49.0,
        "gestation_weeks": 39,
    }
    return Child(**(values | overrides))


def mother(**overrides: Any) -> Parent:
    values: dict[str, Any] = {
        "name": Personal("SITI AMINAH"),
        "nik": Nik(MOTHER_NIK),
        "born_in": "BANYUWANGI",
        "born_on": dt.date(1995, 3, 12),
        "sex": Sex.FEMALE,
        "citizenship": "WNI",
    }
    return Parent(**(values | overrides))


def father(**overrides: Any) -> Parent:
    values: dict[str, Any] = {
        "name": Personal("BUDI SANTOSO"),
        "nik": Nik(FATHER_NIK),
        "born_on": dt.date(1992, 7, 4),
        "sex": Sex.MALE,
        "citizenship": "WNI",
    }
    return Parent(**(values | overrides))


def birth_record(**overrides: Any) -> BirthRecord:
    """Return a record that lacks nothing."""
    values: dict[str, Any] = {
        "facility": Facility(
            code="RSU CEMPAKA CONTOH",
            name="RSU CEMPAKA CONTOH",
            region="3510",
            national_code="3510999",
            letter_number="SKL/0311/RSC/2025",
            letter_date=dt.date(2025, 3, 11),
        ),
        "child": child(),
        "mother": mother(),
        "father": father(),
        "family_card": Personal(FAMILY_CARD),
        "marriage": Marriage(
            status="TERCATAT",
            number=Personal("0451/017/VI/2019"),
            date=dt.date(2019, 6, 16),
            issuer="KUA BANYUWANGI",
        ),
        "reporter": Participant(name=Personal("BUDI SANTOSO"), nik=Nik(FATHER_NIK), relation="AYAH"),
        "witnesses": (
            Participant(name=Personal("SLAMET RIYADI"), nik=Nik("3510161508709001")),
            Participant(name=Personal("ENDANG SULASTRI"), nik=Nik("3510165811759001")),
        ),
        "consent": Consent(given=True, at="2025-03-11T05:00:00+07:00", how="TERTULIS"),
        "variant": Variant.FATHER_AND_MOTHER,
        "variant_reasons": ("marriage recorded",),
        "provenance": {"mother.nik": "NK1^1^33", "mother.name": "NK1^1^2"},
    }
    return BirthRecord(**(values | overrides))

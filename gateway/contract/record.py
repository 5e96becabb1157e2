"""The birth record: every field of form F-2.01 (Permendagri 109/2019, domain B.5) and where each came from.

This is what rules judge, what revisions keep and what a registry adapter maps to its own document. Texts about people
are `Personal`. Dates and times are wall time at the place of birth, with the offset beside them: that is what the
akta says (domain B.12). Its JSON Schema is schemas/birth-record.v1.json, kept current by a test.
"""

from __future__ import annotations

import datetime as dt
from enum import Enum, IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.contract.masked import Nik, Personal

Region = Annotated[
    str, Field(pattern=r"^\d{4}(\d{2}(\d{4})?)?$", description="Kemendagri code, digits only: 4, 6 or 10")
]


class Part(BaseModel):
    """A frozen part of the record; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(Enum):
    """What is reported (F-2.01 header)."""

    LIVE_BIRTH = "KELAHIRAN"
    STILLBIRTH = "LAHIR_MATI"


class Sex(Enum):
    """F-2.01 Data anak 2; anything else is held (domain F 78)."""

    MALE = "L"
    FEMALE = "P"


class PlaceKind(IntEnum):
    """F-2.01 Data anak 3, tempat dilahirkan."""

    HOSPITAL = 1
    PUSKESMAS = 2
    POLINDES = 3
    HOME = 4
    OTHER = 5


class PluralityKind(IntEnum):
    """F-2.01 Data anak 7, jenis kelahiran: the size of the set, not the order within it."""

    SINGLE = 1
    TWIN = 2
    TRIPLET = 3
    QUADRUPLET = 4
    OTHER = 5


class Attendant(IntEnum):
    """F-2.01 Data anak 9, penolong."""

    DOCTOR = 1
    MIDWIFE_OR_NURSE = 2
    TRADITIONAL = 3
    OTHER = 4


class Variant(Enum):
    """The four kinds of birth akta (domain B.6). The gateway proposes, the office decides."""

    FATHER_AND_MOTHER = "AYAH_IBU"
    FATHER_AND_MOTHER_PHRASE = "AYAH_IBU_FRASA"
    MOTHER_ONLY = "ANAK_SEORANG_IBU"
    NO_PARENTS = "TANPA_ORANG_TUA"


class Facility(Part):
    """Who reports: faskes, and the letter of birth (surat keterangan kelahiran)."""

    code: str = Field(description="MSH-4.1")
    name: str
    region: Region
    national_code: str = ""
    letter_number: str | None = Field(default=None, description="no. surat keterangan kelahiran")
    letter_date: dt.date | None = None


class Address(Part):
    """Residence of the family, as sent."""

    street: Personal | None = None
    city: str | None = None
    postal_code: str | None = None
    village: str | None = Field(default=None, description="ten-digit Kemendagri village code")


class Child(Part):
    """F-2.01 Data anak, and what the hospital calls it."""

    medical_record: Personal = Field(description="PID-3 MR: with the facility it is the key of the birth")
    visit: Personal | None = Field(default=None, description="PV1-19")
    name: Personal | None = Field(default=None, description="1 nama: NFC, single spaces, capitals")
    name_as_sent: Personal | None = None
    sex: Sex | None = Field(default=None, description="2 jenis kelamin")
    place_kind: PlaceKind | None = Field(default=None, description="3 tempat dilahirkan")
    place_name: str | None = Field(
        default=None, description="4 tempat kelahiran: the city or regency, not the building"
    )
    place_region: Region | None = None
    born_on: dt.date | None = Field(default=None, description="5 hari dan tanggal lahir, at the place")
    born_at: str | None = Field(default=None, pattern=r"^\d{2}:\d{2}$", description="6 pukul, HH:MM at the place")
    utc_offset: str | None = Field(default=None, pattern=r"^[+-]\d{2}:\d{2}$")
    plurality: PluralityKind | None = Field(default=None, description="7 jenis kelahiran")
    parity: int | None = Field(default=None, ge=1, le=30, description="8 kelahiran ke, of the mother")
    birth_order: int | None = Field(default=None, ge=1, le=10, description="order within this delivery")
    attendant: Attendant | None = Field(default=None, description="9 penolong")
    weight_g: int | None = Field(default=None, ge=1, le=100_000, description="10 berat bayi, gram")
    length_cm: float | None = Field(default=None, gt=0, le=1000, description="11 panjang bayi, cm")
    gestation_weeks: int | None = Field(default=None, ge=1, le=60)
    apgar_1: int | None = Field(default=None, ge=0, le=10, description="not on the form: a sign of life (F 75)")
    apgar_5: int | None = Field(default=None, ge=0, le=10)
    apgar_10: int | None = Field(default=None, ge=0, le=10)
    nik: Nik | None = Field(default=None, description="only if the registry has given one already")
    died_at: str | None = Field(default=None, description="PID-29 as sent, or what else tells of death after birth")

    @property
    def moment_of_birth(self) -> dt.datetime | None:
        """Date, time and offset as one aware moment; None where one of them is not known."""
        if self.born_on is None or self.born_at is None or self.utc_offset is None:
            return None
        return dt.datetime.fromisoformat(f"{self.born_on.isoformat()}T{self.born_at}:00{self.utc_offset}")


class Parent(Part):
    """F-2.01 Data orang tua."""

    name: Personal | None = None
    nik: Nik | None = None
    travel_document: Personal | None = None
    family_card: Personal | None = Field(default=None, description="nomor KK")
    born_in: str | None = None
    born_on: dt.date | None = None
    sex: Sex | None = None
    citizenship: Literal["WNI", "WNA"] | None = None
    country: str | None = Field(default=None, description="as sent, for a foreigner")
    marital_status: str | None = Field(default=None, description="table 0002; a hint, never a proof")


class Participant(Part):
    """F-2.01 Data pelapor or Data saksi."""

    name: Personal | None = None
    nik: Nik | None = None
    family_card: Personal | None = None
    citizenship: Literal["WNI", "WNA"] | None = None
    relation: str | None = Field(default=None, description="of the reporter to the child: AYAH, IBU, ...")
    phone: Personal | None = None


class Marriage(Part):
    """Proof of the parents' marriage. TERCATAT needs the number; SPTJM is form F-2.04."""

    status: Literal["TERCATAT", "SPTJM", "TIDAK"]
    number: Personal | None = None
    date: dt.date | None = None
    issuer: str | None = None


class Stillbirth(Part):
    """F-2.01 Lahir mati."""

    cause: str | None = None
    determined_by: str | None = None


class Consent(Part):
    """Who agreed to the processing, when and how (UU 27/2022)."""

    given: bool
    at: str | None = None
    how: str | None = None


class BirthRecord(Part):
    """One birth as known at one revision."""

    version: Literal["1"] = "1"
    event: Event = Event.LIVE_BIRTH
    facility: Facility
    child: Child
    mother: Parent | None = None
    father: Parent | None = None
    residence: Address | None = None
    family_card: Personal | None = Field(default=None, description="nomor KK of the family")
    marriage: Marriage | None = None
    reporter: Participant | None = None
    witnesses: tuple[Participant, ...] = Field(default=(), max_length=2)
    stillbirth: Stillbirth | None = None
    consent: Consent | None = None
    variant: Variant | None = Field(default=None, description="proposed kind of akta")
    variant_reasons: tuple[str, ...] = ()
    provenance: dict[str, str] = Field(
        default_factory=dict, description="field path to its place in the message (ERL), for example child.name"
    )

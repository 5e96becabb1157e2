"""The body of POST /v1/births/{id}/form: what HL7 cannot bring (domain B.5, B.6, F 87, F 88).

Every part is optional: a form may come in pieces. What it is worth beside other sources says contract.precedence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.contract.masked import Nik, Personal
from gateway.contract.naming import normalise_name
from gateway.contract.record import Sex
from gateway.contract.strict_json import Day, Moment, Truth

if TYPE_CHECKING:
    import datetime as dt

_Restriction = Literal["adoption", "violence", "other"]
DocumentKind = Literal[
    "BIRTH_LETTER",  # surat keterangan kelahiran
    "MARRIAGE_PROOF",  # buku nikah or akta perkawinan
    "FAMILY_CARD",
    "IDENTITY_CARD",
    "SPTJM_BIRTH",  # F-2.03 [codes differ between offices, B.6]
    "SPTJM_MARRIAGE",  # F-2.04
    "POLICE_REPORT",
    "TRAVEL_DOCUMENT",
    "STAY_PERMIT",
    "LATE_REQUEST",  # permohonan persetujuan pencatatan terlambat
    "POWER_OF_ATTORNEY",  # F-1.07
    "CONSENT",
    "OTHER",
]


def _printable(value: str) -> str:
    text = " ".join(value.split())
    if not text or not text.isprintable():
        raise ValueError("is empty, or holds characters that cannot be printed")
    return text


Line = Annotated[str, Field(max_length=120), AfterValidator(_printable)]
Number = Annotated[str, Field(max_length=32), AfterValidator(_printable)]


class FormPart(BaseModel):
    """A frozen part of the form; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FormChild(FormPart):
    """What only fills a gap: the hospital's word about these counts more than the form's."""

    birth_time: str | None = Field(default=None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    sex: Sex | None = None


class FormParent(FormPart):
    """A parent, as KTP or KK have them."""

    name: Line | None = None
    nik: Number | None = None
    travel_document: Number | None = None
    kk_number: Number | None = None
    born_in: Line | None = None
    born_on: Day | None = None
    citizenship: Literal["WNI", "WNA"] | None = None


class FormPerson(FormPart):
    """Reporter or witness. Of a foreigner, who has no NIK, name and citizenship."""

    name: Line
    nik: Number | None = None
    kk_number: Number | None = None
    citizenship: Literal["WNI", "WNA"] | None = None


class FormReporter(FormPerson):
    """Who reports the birth."""

    relation: Line | None = None
    phone: Number | None = None


class FormMarriage(FormPart):
    """TERCATAT: proof with its number; SPTJM: form F-2.04; TIDAK: there is none."""

    status: Literal["TERCATAT", "SPTJM", "TIDAK"]
    number: Line | None = None
    date: Day | None = None
    issuer: Line | None = None


class FormConsent(FormPart):
    """Who agreed says the reporter; here that, when and how (UU 27/2022)."""

    given: Truth
    at: Moment | None = None
    how: Line | None = None


class FormDocument(FormPart):
    """A scan. What it is, its first bytes say; `mime`, where given, must say the same."""

    kind: DocumentKind
    content: str = Field(description="base64 (RFC 4648 section 4)", repr=False)
    mime: Literal["application/pdf", "image/jpeg", "image/png", "image/tiff"] | None = None


class Form(FormPart):
    """The whole form."""

    name: Line | None = Field(default=None, description="the child's name, as it is to stand on the akta")
    child: FormChild | None = None
    mother: FormParent | None = None
    father: FormParent | None = None
    kk_number: Number | None = Field(default=None, description="nomor KK of the family")
    reporter: FormReporter | None = None
    witnesses: tuple[FormPerson, ...] = Field(default=(), max_length=2)
    marriage: FormMarriage | None = None
    consent: FormConsent | None = None
    documents: tuple[FormDocument, ...] = Field(default=(), max_length=100)
    restricted: _Restriction | None = Field(default=None, description="fewer people may see this birth from now on")

    def values(self, *, now: dt.datetime, utc_offset: str) -> dict[str, tuple[str, Any]]:
        """Return the record's values by dotted path, each with its place in the form (JSON Pointer)."""
        found: dict[str, tuple[str, Any]] = {}
        if self.name:
            found["child.name"] = "/name", Personal(normalise_name(self.name))
            found["child.name_as_sent"] = "/name", Personal(self.name)
        if self.child and self.child.birth_time:
            found["child.born_at"] = "/child/birth_time", self.child.birth_time
            found["child.utc_offset"] = "/child/birth_time", utc_offset
        if self.child and self.child.sex:
            found["child.sex"] = "/child/sex", self.child.sex
        for role in ("mother", "father"):
            found |= _parent(role, getattr(self, role))
        if self.kk_number:
            found["family_card"] = "/kk_number", Personal(self.kk_number)
        if self.reporter:
            found |= _person("reporter", "/reporter", self.reporter)
        for index, witness in enumerate(self.witnesses):
            found |= _person(f"witnesses.{index}", f"/witnesses/{index}", witness)
        if self.marriage:
            found |= _filled(
                "marriage", "/marriage", self.marriage.model_dump(exclude_none=True) | _masked(self.marriage)
            )
        if self.consent:
            at = (self.consent.at or now).isoformat(timespec="seconds")
            told = {"given": self.consent.given, "at": at, "how": self.consent.how}
            found |= _filled("consent", "/consent", told)
        return found


def _masked(marriage: FormMarriage) -> dict[str, Any]:
    return {"number": Personal(marriage.number)} if marriage.number else {}


def _parent(role: str, parent: FormParent | None) -> dict[str, tuple[str, Any]]:
    if parent is None:
        return {}
    values = {
        "name": Personal(normalise_name(parent.name)) if parent.name else None,
        "nik": Nik(parent.nik) if parent.nik else None,
        "travel_document": Personal(parent.travel_document) if parent.travel_document else None,
        "family_card": Personal(parent.kk_number) if parent.kk_number else None,
        "born_in": parent.born_in,
        "born_on": parent.born_on,
        "citizenship": parent.citizenship,
    }
    return _filled(role, f"/{role}", values)


def _person(path: str, pointer: str, person: FormPerson) -> dict[str, tuple[str, Any]]:
    values: dict[str, Any] = {
        "name": Personal(normalise_name(person.name)),
        "nik": Nik(person.nik) if person.nik else None,
        "family_card": Personal(person.kk_number) if person.kk_number else None,
        "citizenship": person.citizenship,
    }
    if isinstance(person, FormReporter):
        values["relation"] = person.relation.upper() if person.relation else None
        values["phone"] = Personal(person.phone) if person.phone else None
    return _filled(path, pointer, values)


def _filled(path: str, pointer: str, values: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    names = {"family_card": "kk_number"}
    return {
        f"{path}.{name}": (f"{pointer}/{names.get(name, name)}", value)
        for name, value in values.items()
        if value is not None
    }

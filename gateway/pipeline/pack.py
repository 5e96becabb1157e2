"""The hand-over pack for an office that is not connected: what the family takes there, as PDF and JSON (domain F 61).

The JSON is the signed record, its signature and what belongs to it; the PDF is form F-2.01 in the order of its groups,
to be typed from. Core fonts know Latin-1 only: another character is printed "?" and stands whole in the JSON. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.contract.record import (
    Attendant,
    BirthRecord,
    Event,
    Parent,
    Participant,
    PlaceKind,
    PluralityKind,
    Sex,
    Variant,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

_PLACES = {
    PlaceKind.HOSPITAL: "1 RS/RB",
    PlaceKind.PUSKESMAS: "2 Puskesmas",
    PlaceKind.POLINDES: "3 Polindes",
    PlaceKind.HOME: "4 Rumah",
    PlaceKind.OTHER: "5 Lainnya",
}
_PLURALITIES = {
    PluralityKind.SINGLE: "1 Tunggal",
    PluralityKind.TWIN: "2 Kembar 2",
    PluralityKind.TRIPLET: "3 Kembar 3",
    PluralityKind.QUADRUPLET: "4 Kembar 4",
    PluralityKind.OTHER: "5 Lainnya",
}
_ATTENDANTS = {
    Attendant.DOCTOR: "1 Dokter",
    Attendant.MIDWIFE_OR_NURSE: "2 Bidan/Perawat",
    Attendant.TRADITIONAL: "3 Dukun",
    Attendant.OTHER: "4 Lainnya",
}
_SEXES = {Sex.MALE: "1 Laki-laki", Sex.FEMALE: "2 Perempuan"}
_VARIANTS = {
    Variant.FATHER_AND_MOTHER: "ayah dan ibu",
    Variant.FATHER_AND_MOTHER_PHRASE: "ayah dan ibu, perkawinan belum tercatat",
    Variant.MOTHER_ONLY: "anak seorang ibu",
    Variant.NO_PARENTS: "tanpa orang tua",
}
_ZONES = {"+07:00": "WIB", "+08:00": "WITA", "+09:00": "WIT"}
_NOTICE = (
    "Data kelahiran dari fasilitas kesehatan untuk pencatatan di kantor domisili. Bukan akta kelahiran. "
    "Kantor memeriksa dan menerbitkan akta; nomor akta disampaikan kembali ke fasilitas."
)
_LABEL_MM, _LINE_MM = 58, 5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """All that goes into a pack. `documents` are the birth's scans by kind and digest, not their bytes."""

    birth_id: str
    revision: int
    office: str
    office_name: str
    deadline: dt.date | None
    record: BirthRecord
    documents: Sequence[dict[str, Any]]
    payload: bytes
    signature: str
    made_at: dt.datetime


def as_json(pack: Pack) -> bytes:
    """Return the pack for a program: the exact signed text in `signed.payload`."""
    document = {
        "kind": "procot-handover",
        "version": "1",
        "birth_id": pack.birth_id,
        "revision": pack.revision,
        "idempotency_key": f"{pack.birth_id}:{pack.revision}",
        "office": {"code": pack.office, "name": pack.office_name},
        "deadline": pack.deadline.isoformat() if pack.deadline else None,
        "made_at": pack.made_at.isoformat(timespec="seconds"),
        "record": pack.record.model_dump(mode="json", exclude_none=True),
        "documents": [{k: d[k] for k in ("kind", "mime", "size", "sha256")} for d in pack.documents],
        "signed": {"payload": pack.payload.decode(), "signature": pack.signature},
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def as_pdf(pack: Pack) -> bytes:
    """Return the pack for people: A4, form F-2.01 in its order."""
    from fpdf import FPDF  # noqa: PLC0415 - heavy, and a gateway that hands nothing over needs none of it

    pdf = FPDF(format="A4")
    pdf.set_creation_date(pack.made_at)
    pdf.set_title(f"Berkas kelahiran {pack.birth_id}")
    pdf.set_auto_page_break(auto=True, margin=18)
    pdf.add_page()
    pdf.set_font("Helvetica", "B", 14)
    pdf.cell(0, 8, "BERKAS PENGANTAR KELAHIRAN (F-2.01)", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Helvetica", "", 9)
    pdf.multi_cell(0, 4.5, _NOTICE, new_x="LMARGIN", new_y="NEXT")
    for title, rows in _groups(pack):
        pdf.ln(2)
        pdf.set_font("Helvetica", "B", 10)
        pdf.cell(0, _LINE_MM, _latin(title), new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("Helvetica", "", 10)
        for label, value in rows:
            pdf.cell(_LABEL_MM, _LINE_MM, _latin(label))
            pdf.multi_cell(0, _LINE_MM, _latin(value or "-"), new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def _groups(pack: Pack) -> list[tuple[str, list[tuple[str, str]]]]:
    record = pack.record
    groups = [
        (
            "Tujuan",
            [
                ("Kantor", f"{pack.office_name} ({pack.office})"),
                ("Jenis laporan", "Lahir mati" if record.event is Event.STILLBIRTH else "Kelahiran"),
                ("Batas pelaporan", _day(pack.deadline)),
                ("Nomor berkas", f"{pack.birth_id}, revisi {pack.revision}"),
                ("Fasilitas", f"{record.facility.name} ({record.facility.national_code or record.facility.code})"),
                ("Surat keterangan kelahiran", record.facility.letter_number or ""),
            ],
        ),
        ("Data pelapor", _person(record.reporter)),
        ("Data anak", _child(record)),
        ("Data ibu", _parent(record.mother)),
        ("Data ayah", _parent(record.father)),
        *((f"Data saksi {'I' * (n + 1)}", _person(witness)) for n, witness in enumerate(record.witnesses)),
        ("Perkawinan dan akta", _marriage(record)),
        ("Dokumen", [(d["kind"], f"{d['mime']}, SHA-256 {d['sha256']}") for d in pack.documents] or [("-", "")]),
        ("Tanda tangan gateway", [("JWS (RFC 7515)", pack.signature)]),
    ]
    return [(title, rows) for title, rows in groups if rows]


def _child(record: BirthRecord) -> list[tuple[str, str]]:
    child = record.child
    zone = _ZONES.get(child.utc_offset or "", child.utc_offset or "")
    clock = f"{child.born_at.replace(':', '.')} {zone}".strip() if child.born_at else ""
    return [
        ("1 Nama", _shown(child.name)),
        ("2 Jenis kelamin", _SEXES[child.sex] if child.sex else ""),
        ("3 Tempat dilahirkan", _PLACES[child.place_kind] if child.place_kind else ""),
        ("4 Tempat kelahiran", child.place_name or ""),
        ("5 Tanggal lahir", _day(child.born_on)),
        ("6 Pukul", clock),
        ("7 Jenis kelahiran", _PLURALITIES[child.plurality] if child.plurality else ""),
        ("8 Kelahiran ke", str(child.parity or "")),
        ("9 Penolong", _ATTENDANTS[child.attendant] if child.attendant else ""),
        ("10 Berat bayi", f"{child.weight_g} gram" if child.weight_g else ""),
        ("11 Panjang bayi", f"{child.length_cm:g} cm" if child.length_cm else ""),
        ("Nomor KK keluarga", _shown(record.family_card)),
    ]


def _parent(parent: Parent | None) -> list[tuple[str, str]]:
    if parent is None:
        return []
    return [
        ("Nama", _shown(parent.name)),
        ("NIK / dokumen perjalanan", _shown(parent.nik) or _shown(parent.travel_document)),
        ("Nomor KK", _shown(parent.family_card)),
        ("Tempat, tanggal lahir", ", ".join(t for t in (parent.born_in or "", _day(parent.born_on)) if t)),
        ("Kewarganegaraan", parent.citizenship or ""),
    ]


def _person(person: Participant | None) -> list[tuple[str, str]]:
    if person is None:
        return []
    rows = [
        ("Nama", _shown(person.name)),
        ("NIK", _shown(person.nik)),
        ("Nomor KK", _shown(person.family_card)),
        ("Kewarganegaraan", person.citizenship or ""),
    ]
    return [*rows, ("Hubungan", person.relation)] if person.relation else rows


def _marriage(record: BirthRecord) -> list[tuple[str, str]]:
    proof = record.marriage
    return [
        ("Bukti perkawinan", proof.status if proof else ""),
        ("Nomor, tanggal, penerbit", _line(_shown(proof.number), _day(proof.date), proof.issuer) if proof else ""),
        ("Usulan jenis akta", _VARIANTS[record.variant] if record.variant else ""),
        ("Alasan usulan", ", ".join(record.variant_reasons)),
    ]


def _line(*texts: str | None) -> str:
    return ", ".join(text for text in texts if text)


def _shown(value: Any) -> str:  # noqa: ANN401 - Personal or nothing
    """Write out a person's data: the pack goes to the family and to no log."""
    return value.reveal() if value else ""


def _day(day: dt.date | None) -> str:
    return f"{day:%d-%m-%Y}" if day else ""

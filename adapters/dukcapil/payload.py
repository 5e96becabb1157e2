"""The birth record as the registry's document (domain C.4). Pure: the same record gives the same document.

Each `reveal()` here is the decision to give a person's datum to the registry. What the record does not hold is left
out; only `ibu` and `ayah` are null where there is none, as the contract writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.dukcapil.codes import ACTS, ZONES
from gateway.contract.ports import ActKind
from gateway.contract.record import BirthRecord, Event, Parent, Participant, PluralityKind, Variant

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.masked import Personal
    from gateway.contract.ports import Ask, TwinGroup
    from gateway.contract.record import Child, Consent, Facility, Marriage

VERSION = "1.0"
BASES = {"clerical": "KLERIKAL", "court": "PENETAPAN_PENGADILAN"}
_PARTS = {"child": "anak", "mother": "ibu", "father": "ayah"}
_PERSON_POINTERS = {
    "name": "nama",
    "nik": "nik",
    "travel_document": "dokumen_perjalanan",
    "born_on": "tanggal_lahir",
    "born_in": "tempat_lahir",
    "citizenship": "kewarganegaraan",
}
_POINTERS = {
    "born_at": "pukul",
    "utc_offset": "zona",
    "sex": "jenis_kelamin",
    "place_name": "tempat_kelahiran",
    "place_region": "kode_kabkota",
    "parity": "kelahiran_ke",
}
_NO_FATHER = frozenset({Variant.MOTHER_ONLY, Variant.NO_PARENTS})
# A relation that would name the father of a child that is registered without one (domain F 48).
_FATHERLY = frozenset({"AYAH", "SUAMI", "FTH", "FATHER"})


def document(
    record: BirthRecord, *, birth_id: str, revision: int, office: str, twins: TwinGroup | None
) -> dict[str, Any]:
    """Return the body of `POST /api/v1/kelahiran` (domain C.4): plain JSON data that RFC 8785 can hold."""
    father = None if record.variant in _NO_FATHER else record.father
    mother = None if record.variant is Variant.NO_PARENTS else record.mother
    return _without_absent(
        {
            "versi": VERSION,
            "id_kasus": birth_id,
            "revisi": revision,
            "jenis": record.event.value,
            "kode_kantor": office,
            "faskes": _facility(record.facility),
            "anak": _child(record.child, nameless=record.event is Event.STILLBIRTH),
            "perkawinan": _marriage(record),
            "pelapor": _reporter(record),
            "saksi": [_person(w) for w in record.witnesses] or None,
            "lahir_mati": _stillbirth(record),
            "usulan_varian": record.variant.value if record.variant else None,
            "alasan_varian": list(record.variant_reasons) or None,
            "layanan": _services(record),
            "kembar": {"kelompok": twins.group_id, "jumlah": twins.size} if twins else None,
            "persetujuan": _consent(record.consent),
        }
    ) | {"ibu": _parent(mother, record.family_card), "ayah": _parent(father, record.family_card)}


def act_document(ask: Ask, record: BirthRecord, *, office: str) -> dict[str, Any]:
    """Return the body of an act about a case (domain C.4): what is asked, of which revision, and why."""
    head: dict[str, Any] = {
        "versi": VERSION,
        "id_kasus": ask.birth_id,
        "revisi": ask.revision,
        "tindakan": ACTS[ask.kind].upper(),
        "alasan": ask.reason or None,
        "no_akta": ask.number or None,
    }
    if ask.kind is ActKind.CORRECT:
        head |= {
            "dasar": BASES[ask.basis],
            "no_penetapan": ask.order or None,
            "perubahan": [place for path in ask.paths if (place := pointer(path))],
            "dokumen": document(record, birth_id=ask.birth_id, revision=ask.revision, office=office, twins=None),
        }
    if ask.kind is ActKind.DOCUMENTS:
        head["berkas"] = [
            {"jenis": s.kind, "sha256": s.sha256, "mime": s.mime, "ukuran": len(s.content)} for s in ask.scans
        ]
    return _without_absent(head)


def pointer(path: str) -> str:
    """Return the JSON pointer into the document of a record path that the akta shows, "" for any other."""
    part, _, name = path.partition(".")
    place = _POINTERS.get(name) or _PERSON_POINTERS.get(name)
    return f"/{_PARTS[part]}/{place}" if part in _PARTS and place else ""


def zone(utc_offset: str | None) -> str | None:
    """Return WIB, WITA or WIT (domain B.12), or None: a time in no Indonesian zone is not given one."""
    return ZONES.get(utc_offset or "")


def _without_absent(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _shown(value: Personal | None) -> str | None:
    return value.reveal() if value else None


def _day(value: dt.date | None) -> str | None:
    return value.isoformat() if value else None


def _facility(facility: Facility) -> dict[str, Any]:
    return _without_absent(
        {
            "kode": facility.national_code or facility.code,
            "nama": facility.name,
            "no_skl": facility.letter_number,
            "tgl_skl": _day(facility.letter_date),
        }
    )


def _child(child: Child, *, nameless: bool) -> dict[str, Any]:
    """F-2.01 Data anak. A stillborn child bears no name in the register (domain F 73)."""
    return _without_absent(
        {
            "nama": None if nameless else _shown(child.name),
            "jenis_kelamin": child.sex.value if child.sex else None,
            "tempat_dilahirkan": _number(child.place_kind),
            "tempat_kelahiran": child.place_name,
            "kode_kabkota": child.place_region[:4] if child.place_region else None,
            "tanggal_lahir": _day(child.born_on),
            "pukul": child.born_at,
            "zona": zone(child.utc_offset),
            "jenis_kelahiran": _number(child.plurality),
            "kelahiran_ke": child.parity,
            "urutan_kembar": _order(child),
            "penolong": _number(child.attendant),
            "berat_gram": child.weight_g,
            "panjang_cm": None if child.length_cm is None else round(child.length_cm, 1),
            "usia_kandungan_minggu": child.gestation_weeks,
        }
    )


def _number(value: int | None) -> int | None:
    """Turn an IntEnum member into the plain int it stands for, so that no encoder meets an enum."""
    return None if value is None else int(value)


def _order(child: Child) -> int | None:
    """Return the order within the delivery; a single birth is the first of one, whatever a hospital counts there."""
    return 1 if child.plurality is PluralityKind.SINGLE else child.birth_order


def _parent(parent: Parent | None, family_card: Personal | None) -> dict[str, Any] | None:
    if parent is None:
        return None
    return _without_absent(
        {
            "nik": _shown(parent.nik),
            # C.4: one or the other; a NIK is the stronger one.
            "dokumen_perjalanan": None if parent.nik else _shown(parent.travel_document),
            "nama": _shown(parent.name),
            "tempat_lahir": parent.born_in,
            "tanggal_lahir": _day(parent.born_on),
            "kewarganegaraan": parent.citizenship,
            "no_kk": _shown(parent.family_card or family_card),
        }
    )


def _marriage(record: BirthRecord) -> dict[str, Any] | None:
    """Return the proof of marriage. Without a father on the akta only its absence is told (domain F 48)."""
    if record.variant is Variant.NO_PARENTS:
        return None
    if record.variant is Variant.MOTHER_ONLY:
        return {"status": "TIDAK"}
    return None if record.marriage is None else _proof(record.marriage)


def _proof(marriage: Marriage) -> dict[str, Any]:
    return _without_absent(
        {
            "status": marriage.status,
            "nomor": _shown(marriage.number),
            "tanggal": _day(marriage.date),
            "penerbit": marriage.issuer,
        }
    )


def _person(person: Participant) -> dict[str, Any]:
    return _without_absent({"nik": _shown(person.nik), "nama": _shown(person.name)})


def _reporter(record: BirthRecord) -> dict[str, Any] | None:
    """Return the reporter, in that role only: the relation is not told where it would name a father (domain F 48)."""
    reporter = record.reporter
    if reporter is None:
        return None
    relation = reporter.relation
    if record.variant in _NO_FATHER and (relation or "").upper() in _FATHERLY:
        relation = None
    return _without_absent({**_person(reporter), "hubungan": relation, "no_hp": _shown(reporter.phone)})


def _stillbirth(record: BirthRecord) -> dict[str, Any] | None:
    if record.stillbirth is None:
        return None
    return _without_absent({"sebab": record.stillbirth.cause, "yang_menentukan": record.stillbirth.determined_by})


def _services(record: BirthRecord) -> list[str]:
    """Three in one (domain B.9); a stillbirth gets its letter only, a child of two foreigners no KK (F 58, 73).

    Foreigners with a permanent permit have a KK, and their child goes into it.
    """
    if record.event is Event.STILLBIRTH:
        return ["SKLM"]
    parents = [p for p in (record.mother, record.father) if p]
    carded = record.family_card or any(p.family_card for p in parents)
    if parents and not carded and all(p.citizenship == "WNA" for p in parents):
        return ["AKTA"]
    return ["AKTA", "KK", "KIA"]


def _consent(consent: Consent | None) -> dict[str, Any] | None:
    """Return a consent that was given; its absence is no statement to make to the registry."""
    if consent is None or not consent.given:
        return None
    return _without_absent({"waktu": consent.at, "cara": consent.how})

"""What the sandbox writes: bodies of schemas/dukcapil/openapi.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.dukcapil.sandbox.records import Act, Case

_TEXTS = {
    "NIK_IBU_TIDAK_SESUAI": "NIK ibu tidak sesuai dengan data kependudukan",
    "KK_TIDAK_SESUAI": "Nomor KK tidak sesuai",
    "NAMA_TIDAK_SAH": "Nama tidak sesuai Permendagri 73/2022",
    "DUPLIKAT": "Kelahiran ini sudah mempunyai akta",
    "BERKAS_KURANG": "Data atau berkas belum lengkap",
    "BERKAS_TIDAK_TERBACA": "Berkas tidak terbaca",
    "WILAYAH_LAIN": "Bukan wilayah kantor ini",
    "PERLU_HADIR": "Pelapor perlu hadir di kantor",
    "KUNCI_DIPAKAI": "Idempotency-Key sudah dipakai untuk isi lain",
    "REVISI_LAMA": "Sudah ada revisi yang lebih baru",
    "SEDANG_DIPROSES": "Revisi lain sedang diproses",
    "TIDAK_DITEMUKAN": "Permohonan tidak ditemukan",
    "TOKEN_TIDAK_SAH": "Token tidak sah",
    "TANDA_TANGAN_TIDAK_SAH": "Tanda tangan tidak sah",
    "WAKTU_TIDAK_SAH": "X-Waktu lebih dari lima menit dari waktu kantor",
    "ISI_TIDAK_SAH": "Isi permintaan tidak sesuai kontrak",
    "SIBUK": "Layanan sedang tidak tersedia",
    "GALAT": "Kesalahan pada layanan",
    "TERLAMBAT": "Permohonan sudah disetujui dan tidak dapat diubah lagi",
    "SUDAH_TERBIT": "Akta sudah terbit",
    "SUDAH_BERAKHIR": "Permohonan sudah berakhir",
    "BELUM_TERBIT": "Akta belum terbit",
    "TINDAKAN_LAIN": "Tindakan lain atas permohonan ini sedang diproses",
    "TIDAK_TERSEDIA": "Kantor ini tidak menerima tindakan itu lewat layanan ini",
    "DASAR_TIDAK_CUKUP": "Pembetulan ini memerlukan penetapan pengadilan",
}


def reference(case: Case, office: str) -> str:
    """Return no_permohonan."""
    return f"P{office}-{case.no:08d}"


def number_of(reference_text: str, office: str) -> int | None:
    """Return the case number in a no_permohonan, or None where it is none of this office's."""
    head, _, tail = reference_text.partition("-")
    return int(tail) if head == f"P{office}" and tail.isascii() and tail.isdigit() and len(tail) <= 15 else None  # noqa: PLR2004 - below 2^63


def case_body(
    case: Case, office: str, *, acts: Sequence[Act] = (), spelling: str = "", under: str = "dokumen"
) -> dict[str, Any]:
    """Return where a case is: the same in the first answer, in polls and in callbacks."""
    body: dict[str, Any] = {
        "no_permohonan": reference(case, office),
        "id_kasus": case.case_id,
        "revisi": case.revision,
        "status": case.status,
        "diterima_pada": case.received_at,
    }
    if case.number:
        body["terbit"] = _issued(case, spelling, under)
    elif case.code and case.status in {"DITOLAK", "PERLU_PERBAIKAN"}:
        body |= {"kode": case.code, "pesan": case.text}
    if acts:
        body["tindakan"] = [
            {"kunci": act.key, "jenis": act.kind, "status": act.status, **({"kode": act.code} if act.code else {})}
            for act in acts
        ]
    return body


def documents(case: Case, under: str = "dokumen") -> list[dict[str, Any]]:
    """Return the files of an issued case; addresses are relative to the registry's own (RFC 3986)."""
    kind = "SKLM" if case.child_nik is None and case.body.get("jenis") == "LAHIR_MATI" else "AKTA"
    return [{"jenis": kind, "nomor": case.number, "url": f"/{under}/{case.number}.pdf", "sha256": case.sha256}]


def text_of(code: str) -> str:
    """Return the sentence of a code."""
    return _TEXTS.get(code, code)


def problem(status: int, code: str, *, faults: list[str] | None = None, **more: str) -> web.Response:
    """Return an error answer; `faults` are JSON pointers into the submitted body."""
    body: dict[str, Any] = {"kode": code, "pesan": text_of(code), **more}
    if faults:
        body["galat"] = [{"lokasi": pointer, "kode": code, "pesan": text_of(code)} for pointer in faults]
    return web.json_response(body, status=status)


def dumps(body: dict[str, Any]) -> str:
    """Return the text that is kept and sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _registered(case: Case, spelling: str) -> dict[str, Any]:
    """Return what the akta says of people, in the office's spelling where it has one of its own."""
    body = case.body
    child, told = body["anak"], {}
    wanted = {"nama": spelling or child.get("nama"), **{k: child.get(k) for k in ("tanggal_lahir", "jenis_kelamin")}}
    told["anak"] = {key: value for key, value in wanted.items() if isinstance(value, str)}
    for parent in ("ibu", "ayah"):
        name = (body.get(parent) or {}).get("nama")
        if isinstance(name, str):
            told[parent] = {"nama": name}
    return told


def _issued(case: Case, spelling: str, under: str) -> dict[str, Any]:
    issued = {
        "no_akta": case.number,
        "nik_anak": case.child_nik,
        "no_kk": case.family_card,
        "terbit_pada": case.issued_at,
        "dokumen": documents(case, under),
        "data": _registered(case, spelling),
    }
    return {key: value for key, value in issued.items() if value is not None}

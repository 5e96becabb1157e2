"""What the sandbox's counter clerk checks before taking a submission: shape, office, name, the mother's NIK."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from adapters.dukcapil.sandbox.people import Standing, standing

_NAME_MAX = 60  # domain B.8
_UNKNOWN = frozenset({Standing.NOT_FOUND, Standing.WRONG_FORMAT})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a submission is not taken: a code of domain C.4 and JSON pointers to the places."""

    code: str
    pointers: tuple[str, ...]


def refusal(body: dict[str, Any], *, office: str) -> Refusal | None:
    """Return why `body` is refused, or None. First what is missing, then what is wrong."""
    if missing := _missing(body):
        return Refusal("BERKAS_KURANG", missing)
    if body["kode_kantor"] != office:
        return Refusal("WILAYAH_LAIN", ("/kode_kantor",))
    child, mother = body["anak"], body.get("ibu")
    if body["jenis"] == "KELAHIRAN" and not _is_name(child["nama"]):
        return Refusal("NAMA_TIDAK_SAH", ("/anak/nama",))
    if isinstance(mother, dict) and mother.get("nik") and standing(str(mother["nik"])) in _UNKNOWN:
        return Refusal("NIK_IBU_TIDAK_SESUAI", ("/ibu/nik",))
    return None


def _missing(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the places where something is missing or of a kind nobody can work with."""
    child, kind = body.get("anak"), body.get("jenis")
    if not isinstance(child, dict):
        return ("/anak",)
    parentless = body.get("usulan_varian") == "TANPA_ORANG_TUA"
    mother, father = body.get("ibu"), body.get("ayah")
    right = {
        "/kode_kantor": isinstance(body.get("kode_kantor"), str),
        "/jenis": kind in {"KELAHIRAN", "LAHIR_MATI"},
        "/anak/jenis_kelamin": child.get("jenis_kelamin") in {"L", "P"},
        "/anak/tanggal_lahir": _is_day(child.get("tanggal_lahir")),
        "/anak/pukul": isinstance(child.get("pukul", ""), str),
        "/anak/nama": kind != "KELAHIRAN" or (isinstance(child.get("nama"), str) and bool(child["nama"])),
        "/ibu": isinstance(mother, dict) or (parentless and mother is None),
        "/ayah": father is None or isinstance(father, dict),
        "/layanan": isinstance(body.get("layanan", []), list),
    }
    return tuple(pointer for pointer, good in right.items() if not good)


def _is_day(value: object) -> bool:
    try:
        dt.date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_name(name: str) -> bool:
    """Tell whether a name may stand on an akta: at most 60 letters and spaces, no digits, no punctuation (B.8)."""
    return len(name) <= _NAME_MAX and all(c.isalpha() or c == " " for c in name)

"""What a birth may still need, and from whom: stable keys with their sentences, for form, lists and officer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Owner = Literal["parents", "hospital", "office"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is missing: who brings it, and what it is called."""

    owner: Owner
    text_id: str
    text_en: str


ITEMS: dict[str, Item] = {
    "name": Item("parents", "nama anak yang dapat dicatat di akta", "a name for the child that may stand on an akta"),
    "birth_date": Item("hospital", "tanggal lahir", "the date of birth"),
    "birth_time": Item("hospital", "jam lahir", "the time of birth"),
    "birth_place": Item("hospital", "tempat kelahiran (kabupaten/kota)", "the place of birth (kabupaten or kota)"),
    "sex": Item("hospital", "jenis kelamin bayi, L atau P", "the child's sex, male or female"),
    "birth_order": Item("hospital", "urutan lahir bayi kembar", "the order within the multiple birth"),
    "final_result": Item("hospital", "hasil pemeriksaan yang final", "the final result of an observation"),
    "mother": Item("hospital", "data ibu", "the mother"),
    "mother_name": Item("hospital", "nama ibu", "the mother's name"),
    "mother_nik": Item("parents", "NIK ibu yang benar", "the mother's NIK, the right one"),
    "father_nik": Item("parents", "NIK ayah yang benar", "the father's NIK, the right one"),
    "reporter": Item("parents", "pelapor: nama dan NIK", "the reporter: name and NIK"),
    "witness_1": Item("parents", "saksi I: nama dan NIK", "witness I: name and NIK"),
    "witness_2": Item("parents", "saksi II: nama dan NIK", "witness II: name and NIK"),
    "marriage": Item(
        "parents",
        "bukti nikah (nomor buku nikah atau akta), SPTJM F-2.04, atau pernyataan tidak ada",
        "proof of marriage (number of book or akta), SPTJM F-2.04, or that there is none",
    ),
    "consent": Item("parents", "persetujuan pemrosesan data", "the consent to process the data"),
    "hospital_data": Item("hospital", "data yang disebut pada temuan", "the data that the findings name"),
    "office_request": Item(
        "hospital", "jawaban atas permintaan Disdukcapil", "the answer to what the office asked for"
    ),
    "decision": Item("office", "keputusan petugas", "an officer's decision"),
}


def described(keys: Iterable[str]) -> list[dict[str, str]]:
    """Return the published form of missing items: key, from whom, and both sentences."""
    return [
        {"item": key, "from": ITEMS[key].owner, "message": ITEMS[key].text_en, "pesan": ITEMS[key].text_id}
        for key in keys
        if key in ITEMS
    ]

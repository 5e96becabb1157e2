"""The registry's words and what they mean to us: status words, refusal codes, codes of the element check.

Tables only. A word that is not in them is not guessed: the caller raises or leaves it to a person.
"""

from __future__ import annotations

from gateway.contract.ports import ActKind, ActStatus, RegistryStatus

# Domain C.4, statuses. DIBETULKAN still has a certificate, DICABUT has none any more.
STATUS: dict[str, RegistryStatus] = {
    "DITERIMA": RegistryStatus.IN_PROCESS,
    "VERIFIKASI": RegistryStatus.IN_PROCESS,
    "DISETUJUI": RegistryStatus.IN_PROCESS,
    "TANDA_TANGAN": RegistryStatus.IN_PROCESS,
    "PERLU_PERBAIKAN": RegistryStatus.NEEDS_DATA,
    "TERBIT": RegistryStatus.ISSUED,
    "DIBETULKAN": RegistryStatus.ISSUED,
    "DITOLAK": RegistryStatus.REFUSED,
    "DIBATALKAN": RegistryStatus.WITHDRAWN,
    "DICABUT": RegistryStatus.WITHDRAWN,
}

# Domain C.4, refusal codes.
REFUSALS = frozenset(
    {
        "NIK_IBU_TIDAK_SESUAI",
        "KK_TIDAK_SESUAI",
        "NAMA_TIDAK_SAH",
        "DUPLIKAT",
        "BERKAS_KURANG",
        "BERKAS_TIDAK_TERBACA",
        "WILAYAH_LAIN",
        "PERLU_HADIR",
    }
)
# Our additions to C.4: error codes that are no judgement of the birth (schemas/dukcapil/openapi.json).
# Our additions to C.4: an amendment or act that the case has outrun; it stands as it was.
TOO_LATE = frozenset({"TERLAMBAT", "SUDAH_TERBIT", "SUDAH_BERAKHIR", "REVISI_LAMA"})
# What became of an act (`tindakan` of a case).
ACT_STATUS: dict[str, ActStatus] = {
    "DITERIMA": ActStatus.ACCEPTED,
    "DIKABULKAN": ActStatus.GRANTED,
    "DITOLAK": ActStatus.REFUSED,
}
# Act: the last part of its path, and its word in documents.
ACTS: dict[ActKind, str] = {
    ActKind.WITHDRAW: "pembatalan",
    ActKind.REVOKE: "pembatalan",
    ActKind.CORRECT: "pembetulan",
    ActKind.DOCUMENTS: "berkas",
}
NOT_OFFERED = "TIDAK_TERSEDIA"
KEY_REUSED = "KUNCI_DIPAKAI"
DUPLICATE = "DUPLIKAT"
NOT_FOUND = "TIDAK_DITEMUKAN"
SIGNATURE_INVALID = "TANDA_TANGAN_TIDAK_SAH"
TIME_INVALID = "WAKTU_TIDAK_SAH"

# Domain C.2, RESPONSE_CODE of the element check to the second half of a finding code (MOTHER_..., FATHER_...).
# 08 is known only as "final": nothing is concluded from it but that a person must ask what it means.
CHECK_CODES: dict[str, str] = {
    "08": "CHECK_CODE_08",
    "11": "NIK_DECEASED",
    "12": "NIK_DUPLICATE",
    "13": "NIK_NOT_FOUND",
    "14": "NIK_INACTIVE",
    "15": "NIK_FORMAT",
}

# The same states where only a text comes (domain C.1 and C.2), searched for in this order, in lower case.
CHECK_TEXTS: tuple[tuple[str, str], ...] = (
    ("meninggal", "NIK_DECEASED"),
    ("ganda", "NIK_DUPLICATE"),
    ("format", "NIK_FORMAT"),
    ("tidak ditemukan", "NIK_NOT_FOUND"),
    ("inactive", "NIK_INACTIVE"),
    ("tidak aktif", "NIK_INACTIVE"),
)

# Operational texts: not about the person. Looked for before CHECK_TEXTS, since "user id tidak aktif" is of these.
QUOTA_TEXTS = ("kuota",)
LOGIN_TEXTS = ("login", "user", "password", "ip tidak sesuai", "instansi")

# Elements asked for, to the second half of the finding code of a disagreement.
ELEMENTS: dict[str, str] = {
    "NAMA_LGKP": "NAME_MISMATCH",
    "TGL_LHR": "DOB_MISMATCH",
    "JENIS_KLMIN": "SEX_MISMATCH",
    "NO_KK": "KK_MISMATCH",
    "STATUS_KAWIN": "MARITAL_MISMATCH",
}

# `terbit.data`, what the akta says, by record path (domain F 97).
REGISTERED: dict[str, str] = {
    "anak/nama": "child.name",
    "anak/tanggal_lahir": "child.born_on",
    "anak/jenis_kelamin": "child.sex",
    "ibu/nama": "mother.name",
    "ayah/nama": "father.name",
}

# Domain B.12: the zone written beside the time on the akta.
ZONES = {"+07:00": "WIB", "+08:00": "WITA", "+09:00": "WIT"}

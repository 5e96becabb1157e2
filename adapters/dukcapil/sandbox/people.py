"""The people the sandbox knows: none by name, all by the last four digits of the NIK (contract.md, Configuration).

9000-9009 exist and match whatever is asked; 9011-9015 give Dukcapil's codes 11-15 and 9018 its code 08; 9060-9069
match but for the name; any other is not found. Answers are written in Dukcapil's odd style (domain C.1, C.2): HTTP 200
for everything, capitals, words with scores, the reason inside `content[0]`.
"""

from __future__ import annotations

from enum import Enum

NAME_SCORE = 85
_QUOTA = 100_000
_CREDENTIALS = frozenset({"USER_ID", "PASSWORD", "IP_USER", "TRESHOLD", "TRANSACTIONID"})
_FUZZY = frozenset({"NAMA_LGKP", "TMPT_LHR", "ALAMAT", "NAMA_LGKP_IBU"})
_CODES = {
    "08": "Data tidak dapat ditampilkan",
    "11": "Data ditemukan, status meninggal dunia",
    "12": "Data ditemukan, status data ganda",
    "13": "Data tidak ditemukan dalam database kependudukan",
    "14": "Data ditemukan, status tidak aktif, silakan hubungi Dinas Dukcapil",
    "15": "Data tidak ditemukan, format NIK salah",
}
_NIK_DIGITS = 16


class Standing(Enum):
    """How a NIK stands in the population database; the value is Dukcapil's code."""

    KNOWN = ""
    FINAL = "08"
    OTHER_NAME = "name"
    DECEASED = "11"
    DUPLICATE = "12"
    NOT_FOUND = "13"
    INACTIVE = "14"
    WRONG_FORMAT = "15"


_BY_SERIAL = {
    **{f"90{n:02d}": Standing.KNOWN for n in range(10)},
    **{f"90{n:02d}": Standing.OTHER_NAME for n in range(60, 70)},
    **{f"90{code}": Standing(code) for code in _CODES if code != "08"},
    "9018": Standing.FINAL,
}


def standing(nik: str) -> Standing:
    """Return how `nik` stands, by its last four digits."""
    if not (len(nik) == _NIK_DIGITS and nik.isascii() and nik.isdigit()):
        return Standing.WRONG_FORMAT
    return _BY_SERIAL.get(nik[-4:], Standing.NOT_FOUND)


def answer_check(request: dict[str, str]) -> dict[str, object]:
    """Return the answer to an element check; `request` has its keys in capitals."""
    who = standing(request.get("NIK", ""))
    if who.value in _CODES:
        return reason(_CODES[who.value], code=who.value)
    threshold = int(request.get("TRESHOLD") or "100")
    content: dict[str, object] = {}
    for key in request.keys() - _CREDENTIALS:
        score = NAME_SCORE if key == "NAMA_LGKP" and who is Standing.OTHER_NAME else 100
        word = "Sesuai" if score >= threshold else "Tidak Sesuai"
        content[key] = f"{word} ({score})" if key in _FUZZY else word
    return _envelope(content)


def answer_look_up(request: dict[str, str], family_card: str) -> dict[str, object]:
    """Return the answer to a look-up by NIK: numbers as JSON numbers, and few elements, as an agreement grants."""
    nik = request.get("NIK", "")
    who = standing(nik)
    if who.value in _CODES:
        return reason(_CODES[who.value], code=who.value)
    day, month, year = int(nik[6:8]) % 40, nik[8:10], nik[10:12]
    born = f"{day:02d}.{month}.{'19' if year > '30' else '20'}{year}"
    return _envelope({"nik": int(nik), "No_KK": int(family_card), "TGL_LHR": born, "NO_RT": 3, "NAMA_LGKP": None})


def reason(text: str, *, code: str = "") -> dict[str, object]:
    """Return an answer that holds only why there are no verdicts."""
    return _envelope({"RESPONSE_CODE": code, "RESPONSE": text} if code else {"RESPON": text})


def _envelope(content: dict[str, object]) -> dict[str, object]:
    return {
        "content": [content],
        "lastPage": True,
        "numberOfElements": 1,
        "sort": None,
        "totalElements": 1,
        "firstPage": True,
        "number": 0,
        "size": 1,
        "quotaLimiter": _QUOTA,
    }

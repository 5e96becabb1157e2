"""Character sets that the transport names: the charset of an HTTP Content-Type wins over MSH-18 (domain A.8).

It wins where the bytes can be read by it; where they cannot, or are UTF-8 all the same, they are read as MLLP would.
"""

from __future__ import annotations

import codecs

from gateway.hl7.charset import Decoded, decode

_BOM = b"\xef\xbb\xbf"
_HEAD = 64  # a NUL this early: two or four bytes a character, which shows itself
_SINGLE = ("iso-8859-", "cp")
# Python's names of the sets that may be told. UTF-16 tells its byte order itself and needs no telling.
_CHARSETS = {
    **{f"iso8859-{n}": f"iso-8859-{n}" for n in (*range(1, 12), 13, 14, 15, 16)},
    **{name: name for name in ("utf-8", "cp1252", "gb18030", "euc_kr", "big5", "iso2022_jp")},
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ascii": "utf-8",
    "utf-8-sig": "utf-8",
    "utf-16": "",
    "utf-16-le": "",
    "utf-16-be": "",
}


def told_codec(name: str) -> str | None:
    """Return the codec for a name of the IANA registry, "" for one that the bytes tell, None for an unknown one."""
    try:
        return _CHARSETS.get(codecs.lookup(name).name)
    except (LookupError, ValueError):  # ValueError: a name with a NUL
        return None


def decode_told(raw: bytes, codec: str) -> Decoded:
    """Decode by the codec that the transport told; as `decode` where it told none, or wrongly."""
    if not codec or b"\0" in raw[:_HEAD]:
        return decode(raw)
    text = raw.removeprefix(_BOM)
    for tried in ("utf-8", codec) if codec.startswith(_SINGLE) else (codec,):
        try:
            return Decoded(text.decode(tried), tried, doubtful=tried != codec and not raw.isascii())
        except UnicodeDecodeError:
            continue
    return decode(raw)

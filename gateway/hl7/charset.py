"""Character sets by MSH-18 (table 0211, domain A.8): decode what a sender wrote, encode the answer in the same.

Where MSH-18 is empty: strict UTF-8, else the facility's habit (Windows-1252), and the finding is kept. Decoding is
total for the single-byte sets, so that every message gets an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Table 0211 to Python codecs. ASCII is read as UTF-8: ASCII senders that lie are then noticed, not corrupted.
CODECS = {
    "ASCII": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "ISO IR14": "iso2022_jp",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
    **{f"8859/{n}": f"iso-8859-{n}" for n in (*range(1, 10), 15)},
    **{f"ISO-8859-{n}": f"iso-8859-{n}" for n in (*range(1, 10), 15)},
}
_BOM = b"\xef\xbb\xbf"
_MOJIBAKE_BOM = b"\xc3\xaf\xc2\xbb\xc2\xbf"  # a UTF-8 BOM read as Latin-1 and written as UTF-8 again
_DECLARED = re.compile(rb"\x00?M\x00?S\x00?H")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, the codec it was read with, and whether that was a guess or a correction of what MSH-18 says."""

    text: str
    codec: str
    doubtful: bool


def declared(head: bytes) -> str:
    """Return MSH-18's first repetition from the raw first segment, upper case, "" where absent."""
    line = head.lstrip(b"\r\n \t\0").partition(b"\r")[0].partition(b"\n")[0]
    if len(line) < 4:  # noqa: PLR2004 - MSH and its separator
        return ""
    fields = line.split(line[3:4], 18)
    if len(fields) < 18:  # noqa: PLR2004 - MSH-18 is the eighteenth part
        return ""
    repetition = line[5:6] if len(fields[1]) > 1 else b"~"
    return fields[17].split(repetition)[0].strip().decode("latin-1").upper()


def decode(raw: bytes, *, fallback: str = "cp1252") -> Decoded:
    """Decode a message as its MSH-18 says, else as UTF-8, else by `fallback` with cp1252's holes as Latin-1."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or (_DECLARED.match(raw[:8]) and b"\0" in raw[:8]):
        return _utf16(raw)
    for mark in (_BOM, _MOJIBAKE_BOM):
        raw = raw.removeprefix(mark)
    named = declared(raw)
    codec = CODECS.get(named, "utf-8")
    contradicted = codec == "utf-16"  # MSH was read byte by byte: it is not in UTF-16, whatever it says
    if contradicted:
        codec = "utf-8"
    try:
        return Decoded(raw.decode(codec), codec, doubtful=contradicted or (bool(named) and named not in CODECS))
    except (UnicodeDecodeError, LookupError):
        return _single_byte(raw, fallback)


def _utf16(raw: bytes) -> Decoded:
    codec = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-16-be" if raw[:1] == b"\0" else "utf-16-le")
    return Decoded(raw.decode(codec, errors="replace"), codec, doubtful=False)


def _single_byte(raw: bytes, fallback: str) -> Decoded:
    try:
        return Decoded(raw.decode(fallback), fallback, doubtful=True)
    except UnicodeDecodeError:
        return Decoded(raw.decode("latin-1"), "latin-1", doubtful=True)


def encode(text: str, codec: str) -> bytes:
    """Encode an answer in the sender's set; what it cannot hold becomes `?` (our own texts are ASCII)."""
    return text.encode(codec, errors="replace")

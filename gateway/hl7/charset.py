r"""Character sets by MSH-18 (table 0211, domain A.8): decode what a sender wrote, encode the answer in the same.

Decoding is total: every message gets an answer, whatever its bytes are. What MSH-18 says is believed until the bytes
say otherwise:

- the byte width is seen, never believed: UTF-16 and UTF-32 show themselves by a mark or by the NULs in "MSH";
- a single-byte set whose bytes above 0x7F are one whole UTF-8 text is a lie (real text never looks so): UTF-8;
- 8859/1 with bytes from 0x80 to 0x9F is Windows-1252: the first has only control characters there;
- no set, an unknown one, or bytes the set does not have: strict UTF-8, else the facility's habit (Windows-1252).

The first repetition of MSH-18 is the default set. The others are reached by switches inside values (chapter 2.7.2,
table 0356): `\Cxxyy\` and `\Mxxyyzz\`, or the same designation of ISO 2022 after a real ESC. They are resolved here,
in the bytes, since what follows them is in another set; a switch that is not in `_SETS`, or whose run does not decode,
stays as it is.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

# Table 0211 to Python codecs. ASCII is read as UTF-8: ASCII senders that lie are then noticed, not corrupted.
CODECS = {
    "ASCII": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",  # the byte width is seen; what is left of it is UTF-8
    "UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "ISO IR6": "utf-8",
    "ISO IR14": "iso2022_jp",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
    "ISO IR100": "iso-8859-1",
    "ISO IR101": "iso-8859-2",
    "WINDOWS-1252": "cp1252",
    **{f"8859/{n}": f"iso-8859-{n}" for n in (*range(1, 12), 13, 14, 15, 16)},
}
_SPELLINGS = re.compile(r"[^A-Z0-9]|^ISO(?=[^A-Z]*8859)|^UNICODE(?=.*UTF)|^(?:WINDOWS|CP)(?=[^A-Z]*125)")
_BY_SPELLING: dict[str, str] = {}
_WIDE = ("utf-16", "utf-32")
_SINGLE = frozenset(codec for codec in CODECS.values() if codec.startswith(("iso-8859", "cp")))

_BOM = b"\xef\xbb\xbf"
_MOJIBAKE_BOM = b"\xc3\xaf\xc2\xbb\xc2\xbf"  # a UTF-8 BOM read as Latin-1 and written as UTF-8 again
# Byte order marks; UTF-32 first, since its little-endian one begins with that of UTF-16.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_WIDE_MSH = re.compile(
    rb"(?:[\s]\0)*(?P<le>M\0S\0H\0)|(?:\0[\s])*(?P<be>\0M\0S\0H)|(?P<le32>M\0\0\0S\0\0\0)|(?P<be32>\0\0\0M\0\0\0S)",
    re.IGNORECASE,
)
_WIDE_CODECS = {"le": "utf-16-le", "be": "utf-16-be", "le32": "utf-32-le", "be32": "utf-32-be"}
_WIDE_STARTS = (b"\xff", b"\xfe", b"\0")
_HEAD = 64  # how far MSH may be from the start: marks, blank lines, padding
# One character beyond the basic plane makes Python keep the whole text in four bytes a character. A message with a scan
# would take four times its size for an emoji in a note: such characters are read as U+FFFD there, and told of.
_LARGE = 1024 * 1024
_ASTRAL = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
_REPLACEMENT = "\ufffd".encode()
_CHARSET = 17  # MSH-18 among the parts of MSH, the separator being MSH-1
_LONGEST = 200  # bytes of MSH-18 that are looked at: a sender may write any
_C1 = re.compile(rb"[\x80-\x9f]")


class Decoded(NamedTuple):
    """Text, the codec it was read with, and whether that was a guess or a correction of what MSH-18 says."""

    text: str
    codec: str
    doubtful: bool


def codec_of(name: str) -> str | None:
    """Return Python's codec for a name of table 0211 in any spelling senders use (`ISO_8859-1`), None if unknown."""
    return _BY_SPELLING.get(_spelled(name))


def _spelled(name: str) -> str:
    return _SPELLINGS.sub("", name.upper())


_BY_SPELLING.update({_spelled(name): codec for name, codec in CODECS.items()})


def declared(head: bytes) -> str:
    """Return MSH-18's first repetition from the raw message, upper case, "" where absent."""
    sets = declared_sets(head)
    return sets[0] if sets else ""


def declared_sets(raw: bytes) -> tuple[str, ...]:
    """Return the repetitions of MSH-18, upper case, from a message whose bytes are not decoded yet."""
    return _declared(raw).sets


class _Declared(NamedTuple):
    """What MSH-18 says: its sets, and the codec of the first ("" for an unknown one)."""

    sets: tuple[str, ...]
    codec: str
    switches: bool  # whether switches to other sets have a meaning


_NOTHING = _Declared((), "utf-8", switches=False)


def _declared(raw: bytes) -> _Declared:
    msh = _header(raw)
    fields = msh.split(msh[3:4], _CHARSET + 1) if len(msh) > 3 else []  # noqa: PLR2004 - MSH and its separator
    if len(fields) <= _CHARSET or not fields[_CHARSET]:
        return _NOTHING
    return _named(fields[_CHARSET][:_LONGEST], fields[1][1:2] or b"~")


@lru_cache(maxsize=256)  # few names make up all traffic; bounded, since a sender may write any
def _named(field: bytes, repetition: bytes) -> _Declared:
    sets = tuple(name.strip().decode("latin-1").upper() for name in field.split(repetition))
    return _Declared(sets, codec_of(sets[0]) or "", switches=len(sets) > 1 or sets[0].startswith("ISO IR"))


def _header(raw: bytes) -> bytes:
    """Return the line of MSH without copying what follows it."""
    start = 0
    if not raw.startswith(b"MSH"):
        start = raw[:_HEAD].upper().find(b"MSH")
        if start < 0:
            return b""
    end = raw.find(b"\r", start)
    end = len(raw) if end < 0 else end
    line_feed = raw.find(b"\n", start, end)
    return raw[start : end if line_feed < 0 else line_feed]


def decode(raw: bytes, *, fallback: str = "cp1252") -> Decoded:
    """Decode a message as its bytes and its MSH-18 say, else by `fallback` with cp1252's holes as Latin-1."""
    if raw[:1] in _WIDE_STARTS or b"\0" in raw[:_HEAD]:
        wide = _wide(raw)
        if wide is not None:
            return wide
    for mark in (_BOM, _MOJIBAKE_BOM):
        raw = raw.removeprefix(mark)
    declared = _declared(raw)
    codec = declared.codec
    contradicted = codec in _WIDE or not codec  # MSH was read byte by byte: it is not wide, whatever it says
    if contradicted:
        codec = "utf-8"
    if declared.switches:
        switched = _switched(raw, codec, fallback)
        if switched is not None:
            return switched
    found = _plain(raw, codec, fallback)
    return found._replace(doubtful=True) if contradicted else found


def _wide(raw: bytes) -> Decoded | None:
    """Read a message of two or four bytes a character, seen by its mark or by the NULs in its MSH."""
    for mark, codec in _MARKS:
        if raw.startswith(mark):
            # With a mark the answer bears one too, except in the order that needs none (RFC 2781, 4.3).
            answer = codec[:6] if codec.endswith("-le") else codec
            return Decoded(raw[len(mark) :].decode(codec, errors="replace"), answer, doubtful=False)
    found = _WIDE_MSH.match(raw[:_HEAD])
    if not found:
        return None
    codec = _WIDE_CODECS[found.lastgroup or ""]
    return Decoded(raw.decode(codec, errors="replace"), codec, doubtful=False)


def _plain(raw: bytes, codec: str, fallback: str) -> Decoded:
    """Decode bytes in one set, which they may contradict."""
    if codec in _SINGLE and not raw.isascii():
        return _single(raw, codec)
    if codec == "utf-8" and len(raw) >= _LARGE and _ASTRAL.search(raw):
        with suppress(UnicodeDecodeError):
            return Decoded(_ASTRAL.sub(_REPLACEMENT, raw).decode(), codec, doubtful=True)
    for tried in (codec, "utf-8"):
        try:
            return Decoded(raw.decode(tried), tried, doubtful=tried != codec)
        except UnicodeDecodeError:
            continue
    return _by_habit(raw, fallback)


def _single(raw: bytes, codec: str) -> Decoded:
    """Decode bytes said to be of a single-byte set, looking for the two usual lies first."""
    try:
        return Decoded(raw.decode("utf-8"), "utf-8", doubtful=True)
    except UnicodeDecodeError:
        if codec == "iso-8859-1" and _C1.search(raw):
            return _by_habit(raw, "cp1252")
    try:
        return Decoded(raw.decode(codec), codec, doubtful=False)
    except UnicodeDecodeError:
        return Decoded(raw.decode("latin-1"), "latin-1", doubtful=True)


def _by_habit(raw: bytes, fallback: str) -> Decoded:
    try:
        return Decoded(raw.decode(fallback), fallback, doubtful=True)
    except (UnicodeDecodeError, LookupError):
        return Decoded(raw.decode("latin-1"), "latin-1", doubtful=True)


def encode(text: str, codec: str) -> bytes:
    """Encode an answer in the sender's set; what it cannot hold becomes `?` (our own texts are ASCII).

    What is echoed verbatim may hold the block characters of MLLP, which would end the answer early: they go.
    """
    if "\x1c" in text or "\x0b" in text:
        text = text.replace("\x1c", "").replace("\x0b", "")
    return text.encode(codec, errors="replace")


# Switches to other sets. Their caps keep a message made of nothing but switches from being walked for minutes.

_SWITCHES_PER_MESSAGE = 1000
_RUN_BYTES = 4096
_LINE_END = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class _Set:
    """A set that a switch designates, as ISO 2022 has it.

    `right` is used by bytes above 0x7F and leaves delimiters alone; `pairs` takes two bytes below 0x80 a character,
    among them delimiters, and therefore lasts until it is switched off; `kana` is one byte below 0x80 a character.
    """

    form: Literal["base", "right", "pairs", "kana"]
    codec: str = ""
    lead: bytes = b""  # what the codec wants before each pair


_LATIN = "ABCDLGFHMVTY_bf"  # final bytes of ESC - F (ISO-IR 100 and on)
_LATIN_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)
_SETS: dict[bytes, _Set] = {
    b"(B": _Set("base"),  # ISO-IR 6, ASCII
    b"(J": _Set("base"),  # ISO-IR 14, JIS X 0201 Roman: ASCII but for two signs, which senders mean as ASCII
    b"(I": _Set("kana", "kana"),  # ISO-IR 13, JIS X 0201 Katakana
    b")I": _Set("right", "kana"),
    b"$@": _Set("pairs", "euc_jp"),  # ISO-IR 42, JIS C 6226-1978
    b"$B": _Set("pairs", "euc_jp"),  # ISO-IR 87, JIS X 0208-1983
    b"$(D": _Set("pairs", "euc_jp", b"\x8f"),  # ISO-IR 159, JIS X 0212-1990
    b"$A": _Set("pairs", "gb2312"),  # ISO-IR 58
    b"$)A": _Set("right", "gb2312"),
    b"$(C": _Set("pairs", "euc_kr"),  # ISO-IR 149, KS X 1001
    b"$)C": _Set("right", "euc_kr"),
    b"$)B": _Set("right", "euc_jp"),
    **{
        b"-" + final.encode(): _Set("right", f"iso-8859-{number}")
        for final, number in zip(_LATIN, _LATIN_NUMBERS, strict=True)
    },
}
_KANA_END = 0xE0
_KANA = {byte: chr(0xFF61 + (byte | 0x80) - 0xA1) for part in (0x21, 0xA1) for byte in range(part, part + 63)}


@lru_cache(maxsize=8)
def _switches(escape: bytes) -> re.Pattern[bytes]:
    mark = re.escape(escape)
    return re.compile(
        mark + rb"[CM]((?:[0-9A-Fa-f]{2}){2,3})" + mark + rb"|\x1b([\x20-\x2f]{1,2}[\x30-\x7e]|\x24[\x40-\x42])"
    )


def _switched(raw: bytes, codec: str, fallback: str) -> Decoded | None:
    """Decode a message with its switches resolved, None where it has none."""
    msh = _header(raw)
    separator = msh[3:4]
    pattern = _switches(msh.split(separator, 2)[1][2:3] or b"\\")
    if not pattern.search(raw):
        return None
    for tried in (codec, fallback):
        try:
            return Decoded(_walk(raw, tried, pattern, separator), tried, doubtful=tried != codec)
        except (UnicodeDecodeError, LookupError):
            continue
    return Decoded(_walk(raw, "latin-1", pattern, separator), "latin-1", doubtful=True)


def _walk(raw: bytes, codec: str, pattern: re.Pattern[bytes], separator: bytes) -> str:
    """Decode piece by piece: what lies between runs in the default set, each run in its own."""
    out: list[str] = []
    at = 0
    for _ in range(_SWITCHES_PER_MESSAGE):
        found = pattern.search(raw, at)
        if not found:
            break
        out.append(raw[at : found.start()].decode(codec))
        at = found.end()
        designated = _SETS.get(bytes.fromhex(found[1].decode()) if found[1] else found[2])
        end = _run_end(raw, at, designated, pattern, separator) if designated else -1
        text = _read(raw[at:end], designated) if designated and end >= 0 else None
        if text is None:
            out.append(found[0].decode("latin-1"))
        else:
            out.append(text)
            at = end
    out.append(raw[at:].decode(codec))
    return "".join(out)


def _run_end(raw: bytes, start: int, designated: _Set, pattern: re.Pattern[bytes], separator: bytes) -> int:
    """Return where the run ends: at the next switch, or (`right` only) with its field; -1 where neither comes."""
    if designated.form == "base":
        return start
    limit = min(len(raw), start + _RUN_BYTES)
    line = _LINE_END.search(raw, start, limit)
    limit = line.start() if line else limit
    if designated.form != "pairs":  # among the bytes of pairs there may be one that looks like the separator
        field = raw.find(separator, start, limit)
        limit = field if field >= 0 else limit
    at = start
    while found := pattern.search(raw, at, limit):
        if designated.form != "pairs" or (found.start() - start) % 2 == 0:
            return found.start()
        at = found.start() + 1  # its mark is the second byte of a pair
    return limit if designated.form == "right" and limit - start < _RUN_BYTES else -1


def _read(run: bytes, designated: _Set) -> str | None:
    """Decode one run, None where its bytes are not in its set."""
    if designated.codec == "kana":
        return None if any(byte >= _KANA_END for byte in run) else "".join(_KANA.get(b, chr(b)) for b in run)
    try:
        if designated.form != "pairs":
            return run.decode(designated.codec or "ascii")
        pairs = (bytes(byte | 0x80 for byte in run[i : i + 2]) for i in range(0, len(run), 2))
        return b"".join(designated.lead + pair for pair in pairs).decode(designated.codec)
    except UnicodeDecodeError:
        return None

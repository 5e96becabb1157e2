"""Escape sequences of HL7 v2.5 chapter 2.7, resolved after splitting; unknown ones stay as they are (domain A.7)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.hl7.lexer import Delimiters

_DELETE = '""'
_WHITE_SPACE = 100  # a command asks for up to 999 lines; a text of white space is nobody's intention
_KEPT_DELIMITERS = 64  # sets of delimiters that are remembered; senders choose them, so their number has a cap


def unescape(text: str, delimiters: Delimiters) -> str:
    r"""Resolve \F\ \S\ \T\ \R\ \E\ \P\ \Xhh..\ and the formatting commands; drop highlighting.

    What is unknown, empty, unclosed or of an odd number of digits stays as it is, and never swallows what follows it.
    """
    if delimiters.escape not in text:
        return text
    pattern, plain = _reading(delimiters)
    return pattern.sub(lambda found: _resolve(found, plain), text)


@lru_cache(maxsize=_KEPT_DELIMITERS)
def _reading(delimiters: Delimiters) -> tuple[re.Pattern[str], dict[str, str]]:
    r"""Return the pattern of whole sequences, and what the fixed ones mean.

    Only what is a sequence may match: in `C:\DATA\T\X` the second mark begins \T\ and does not end a \DATA\. Local
    (\Z..\) and character set (\C..\, \M..\; gateway.hl7.charset) sequences match, so that they stay whole.
    """
    mark = re.escape(delimiters.escape)
    sign = "[+-]?" if delimiters.escape not in "+-" else ""  # a mark that is a sign ends the sequence
    codes = rf"[FSTREPHN]|\.[A-Za-z]{{2}}{sign}[0-9]{{0,3}}|X(?:[0-9A-Fa-f]{{2}})+|[CM][0-9A-Fa-f]{{4,6}}|Z[^{mark}\r]*"
    return re.compile(f"{mark}({codes}){mark}"), {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "P": delimiters.truncation or "#",
        "H": "",
        "N": "",
    }


def _resolve(found: re.Match[str], plain: dict[str, str]) -> str:
    code = found[1]
    known = plain.get(code)
    if known is not None:
        return known
    if code[0] == ".":
        known = _formatting(code[1:3].lower(), code[3:])
    elif code[0] == "X":
        known = _hexadecimal(code[1:])
    return found[0] if known is None else known


def _formatting(command: str, number: str) -> str | None:
    r"""Read a command of formatted text (chapter 2.7.6) as the plain text it comes to, None where it is none.

    Indents, fill and no-fill are about looks: nothing is left of them.
    """
    count = min(int(number), _WHITE_SPACE) if number.isdigit() else 1
    match command:
        case "br" | "ce":
            return "\n"
        case "sp":
            return "\n" * count
        case "sk":
            return " " * count
        case "in" | "ti" | "fi" | "nf":
            return ""
        case _:
            return None


def _hexadecimal(digits: str) -> str | None:
    r"""Read \Xhh..\: as UTF-8, else byte by byte. None for NUL, which no store would hold."""
    data = bytes.fromhex(digits)
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def escape(text: str, delimiters: Delimiters) -> str:
    r"""Write `text` so that it can stand in the smallest part of a message; line ends become \.br\."""
    return text.translate(_writing(delimiters))


@lru_cache(maxsize=_KEPT_DELIMITERS)
def _writing(delimiters: Delimiters) -> dict[int, str | int | None]:
    mark = delimiters.escape
    marks = delimiters.field + delimiters.encoding_characters
    table: dict[str, str | int | None] = {
        mark: f"{mark}E{mark}",
        delimiters.field: f"{mark}F{mark}",
        delimiters.component: f"{mark}S{mark}",
        delimiters.subcomponent: f"{mark}T{mark}",
        delimiters.repetition: f"{mark}R{mark}",
        "\r": f"{mark}X0D{mark}",
        "\n": f"{mark}X0A{mark}" if "." in marks else f"{mark}.br{mark}",
        # Block characters of MLLP cannot be escaped, and NUL cannot be stored.
        "\x0b": "",
        "\x1c": "",
        "\0": "",
    }
    if delimiters.truncation:
        table[delimiters.truncation] = f"{mark}P{mark}"
    return str.maketrans(table)


def is_delete(raw: str) -> bool:
    """Tell whether the sender asks to delete the value: two quotes, not an empty field (chapter 2.5.3)."""
    return raw == _DELETE

"""Escape sequences of HL7 v2.5 chapter 2.7, resolved after splitting; unknown ones stay as they are (domain A.7)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.hl7.lexer import Delimiters

_DELETE = '""'
_KEPT_DELIMITERS = 64  # sets of delimiters that are remembered; senders choose them, so their number has a cap


def unescape(text: str, delimiters: Delimiters) -> str:
    r"""Resolve \F\ \S\ \T\ \R\ \E\ \P\ \Xhh..\ and \.br\; drop highlighting; leave what is unknown or broken."""
    if delimiters.escape not in text:
        return text
    pattern, plain = _reading(delimiters)
    return pattern.sub(lambda found: _resolve(found, plain), text)


@lru_cache(maxsize=_KEPT_DELIMITERS)
def _reading(delimiters: Delimiters) -> tuple[re.Pattern[str], dict[str, str]]:
    mark = re.escape(delimiters.escape)
    return re.compile(f"{mark}([^{mark}\r]{{1,64}}){mark}"), {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "P": delimiters.truncation or "#",
        ".br": "\n",
        "H": "",
        "N": "",
    }


def _resolve(found: re.Match[str], plain: dict[str, str]) -> str:
    code = found[1]
    known = plain.get(code)
    if known is not None:
        return known
    return (_hexadecimal(code[1:]) if code[0] == "X" else None) or found[0]


def _hexadecimal(digits: str) -> str | None:
    r"""Read \Xhh..\: as UTF-8, else byte by byte. None for no hexadecimal, and for NUL, which no store would hold."""
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        return None
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

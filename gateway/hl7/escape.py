"""Escape sequences of HL7 v2.5 chapter 2.7, resolved after splitting; unknown ones stay as they are (domain A.7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.hl7.lexer import Delimiters

_DELETE = '""'


def unescape(text: str, delimiters: Delimiters) -> str:
    r"""Resolve \F\ \S\ \T\ \R\ \E\ \P\ \Xhh..\ and \.br\; drop highlighting; leave what is unknown or broken."""
    mark = delimiters.escape
    if mark not in text:
        return text
    pattern = re.compile(re.escape(mark) + r"([^" + re.escape(mark) + r"\r]{1,64})" + re.escape(mark))
    return pattern.sub(lambda found: _resolve(found, delimiters), text)


def _resolve(found: re.Match[str], delimiters: Delimiters) -> str:
    code = found[1]
    plain = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "P": delimiters.truncation or "#",
        ".br": "\n",
        "H": "",
        "N": "",
    }.get(code)
    if plain is not None:
        return plain
    if code[0] == "X":
        try:
            return bytes.fromhex(code[1:]).decode("latin-1")
        except ValueError:
            return found[0]
    return found[0]


def escape(text: str, delimiters: Delimiters) -> str:
    r"""Write `text` so that it can stand in the smallest part of a message; line ends become \.br\."""
    mark = delimiters.escape
    table: dict[str, str | int | None] = {
        mark: f"{mark}E{mark}",
        delimiters.field: f"{mark}F{mark}",
        delimiters.component: f"{mark}S{mark}",
        delimiters.subcomponent: f"{mark}T{mark}",
        delimiters.repetition: f"{mark}R{mark}",
        "\r": f"{mark}X0D{mark}",
        "\n": f"{mark}.br{mark}",
        "\x0b": "",
        "\x1c": "",
    }
    if delimiters.truncation:
        table[delimiters.truncation] = f"{mark}P{mark}"
    return text.translate(str.maketrans(table))


def is_delete(raw: str) -> bool:
    """Tell whether the sender asks to delete the value: two quotes, not an empty field (chapter 2.5.3)."""
    return raw == _DELETE

"""Strangers' text where a person looks at it: what a terminal would obey, or would hide, becomes a visible sign.

A control character moves the cursor, renames the window or clears the screen; a mark of writing direction shows digits
in another order than they stand. Neither belongs into an identifier (`commands`), and neither leaves for a terminal, a
log or a JSON line as it is.
"""

from __future__ import annotations

import json
import re

_C0, _DELETE, _PICTURES = 0x20, 0x7F, 0x2400  # U+2400 and on are the pictures of the control characters

# C0 and DEL, C1, bidirectional marks, embeddings, overrides and isolates (Unicode UAX #9), line separators.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# The same for texts of JSON bodies, as schemas/openapi.json tells it: nothing of the above.
VISIBLE = r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"


def commands(text: str) -> bool:
    """Tell whether a text holds a character that commands a terminal or turns the order in which it is read."""
    return not text.isprintable() and _COMMANDS.search(text) is not None


def printable(text: str) -> str:
    """Return text that a stranger wrote, on one line, with a visible sign for all that is not printable.

    C0 and DEL become their Unicode pictures (ESC is U+241B); whatever else becomes its number, `<U+202E>`: C1 controls,
    bidirectional marks, line separators, halves of surrogate pairs.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _sign(ord(c)) for c in text)


def _sign(code: int) -> str:
    if code < _C0:
        return chr(_PICTURES + code)
    return "\N{SYMBOL FOR DELETE}" if code == _DELETE else f"<U+{code:04X}>"


def escaped(text: str) -> str:
    r"""Return a JSON text with `\u009b` for what is not printable: the same JSON by the rules of RFC 8259."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return "\\u007f" if ord(character) == _DELETE else json.dumps(character)[1:-1]  # json lets DEL stand as it is

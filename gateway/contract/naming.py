"""Names as both sides of the contract must see them: the registry's spelling, and "no name yet" (domain A.4, B.8).

The hospital adapter needs the placeholder pattern to recognise a newborn, the rules need it to hold the name.
"""

from __future__ import annotations

import re
import unicodedata

REPLACEMENT = "\ufffd"

_BLANK = re.compile(r"\s+")
_DOTTING = re.compile(r"[.,;:_/\\()\-]+")
_HONORIFIC = r"(?:NY|NYONYA|NN|NONA|TN|TUAN|IBU|SDR|SDRI|SAUDARI)"
_BABY = r"(?:BY|BAYI|BBL|NEONATUS|NEONATE|BABY|INFANT|NEWBORN|BB)"
_PLACEHOLDERS = re.compile(
    "|".join(
        (
            # "BY NY", "BYNY", "BBL NY", also behind the mother's name: "SITI ROHMAH BY NY".
            rf"\b{_BABY} ?{_HONORIFIC}\b",
            rf"\b{_BABY} ?OF\b",
            # "BABYBOY OF", "BABY GIRL SITI"
            r"^(?:BABY|INFANT|NEWBORN) ?(?:BOY|GIRL|MALE|FEMALE)\b",
            # These words are nobody's first name; ANAK, AN and BABY can be: they need what follows.
            r"^(?:BY|BAYI|BBL|NEONATUS|NEONATE)\b",
            r"\b(?:BY|BAYI|BBL)$",
            rf"^(?:ANAK|AN) {_HONORIFIC}\b",
            r"^(?:ANAK|AN) OF\b",
            r"^(?:NY|NYONYA|SDRI)\b",
            # "TWIN B", "SITI RAHAYU TWIN 2", "BAYI KEMBAR II": which one, not who
            r"\b(?:TWIN|KEMBAR)(?: [A-D]| ?[1-4]| I{1,3})\b",
            r"\bBELUM (?:BERNAMA|ADA NAMA|DIBERI NAMA|PUNYA NAMA)\b",
            r"\bTANPA NAMA\b",
            r"\bNO NAME\b",
            r"\b(?:NN|X)\b",
        )
    )
)


def normalise_name(text: str) -> str:
    """Return a name as documents write it: NFC, single spaces, capitals (domain B.8).

    A control character cannot be read: it becomes U+FFFD, which holds the name.
    """
    if text.isascii() and text.isprintable():  # the only blank there is the space
        return " ".join(text.split()).upper()
    text = _BLANK.sub(" ", text).strip()
    text = "".join(REPLACEMENT if unicodedata.category(c) in ("Cc", "Cs", "Cn") else c for c in text)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).upper())


def is_placeholder(name: str) -> bool:
    """Tell whether a name only says whose baby it is (domain A.4): BY NY SITI, BAYI TN BUDI, BELUM BERNAMA.

    "ANAK AGUNG ..." and "AN NISA ..." are real names: ANAK and AN count only with an honorific behind them.
    """
    name = normalise_name(name)
    if not name.replace(" ", "").isalnum():
        name = _BLANK.sub(" ", _DOTTING.sub(" ", name)).strip()
    return _PLACEHOLDERS.search(name) is not None

"""Names as both sides of the contract must see them: the registry's spelling, and "no name yet" (domain A.4, B.8).

The hospital adapter needs the placeholder pattern to recognise a newborn, the rules need it to hold the name.
"""

from __future__ import annotations

import re
import unicodedata

REPLACEMENT = "\ufffd"

_BLANK = re.compile(r"\s+")
_DOTTING = re.compile(r"[.,;:_/\\()\-]+")
_HONORIFICS = ("NY", "NYONYA", "NN", "NONA", "TN", "TUAN", "IBU", "SDR", "SDRI", "SAUDARI")
_BABIES = ("BY", "BAYI", "BBL", "NEONATUS", "NEONATE", "BABY", "INFANT", "NEWBORN", "BB")
_HONORIFIC = f"(?:{'|'.join(_HONORIFICS)})"
_BABY = f"(?:{'|'.join(_BABIES)})"
_PLACEHOLDERS = re.compile(
    "|".join(
        (
            # "BY NY", "BYNY", "BBL NY", also behind the mother's name: "SITI ROHMAH BY NY".
            rf"\b{_BABY} ?{_HONORIFIC}\b",
            rf"\b{_BABY} ?OF\b",
            # "BABYBOY OF", "BABY GIRL SITI"
            r"^(?:BABY|INFANT|NEWBORN) ?(?:BOY|GIRL|MALE|FEMALE)\b",
            # These words are nobody's first name; ANAK, AN and BABY can be: they need what follows.
            r"^(?:BY|BAYI|BBL|BBLR|NEONATUS|NEONATE|NEWBORN|GEMELI|GEMELLI)\b",
            r"\b(?:BY|BAYI|BBL)$",
            rf"^(?:ANAK|AN) {_HONORIFIC}\b",
            r"^(?:ANAK|AN) OF\b",
            r"^(?:NY|NYONYA|SDRI)\b",
            # Whatever stands in front: "BBLR NY SITI", "PUTRA NY SITI". Behind a name it is a grown patient's title.
            r"\b(?:NY|NYONYA|SDRI) [A-Z]",
            # "TWIN B", "SITI RAHAYU TWIN 2", "BAYI KEMBAR II": which one, not who
            r"\b(?:TWIN|KEMBAR)(?: [A-D]| ?[1-4]| I{1,3})\b",
            r"\b(?:BELUM|BLM|TIDAK|TDK) (?:BERNAMA|ADA NAMA|DIBERI NAMA|PUNYA NAMA)\b",
            r"\bTANPA NAMA\b",
            r"\bNO NAME\b",
            r"\b(?:NN|X)\b",
        )
    )
)
# A name of words alone is none of these without one of these words; a test holds the two together.
_TELLING = frozenset(
    (
        *("ANAK", "AN", "NY", "NYONYA", "SDRI", "NN", "X", "TWIN", "KEMBAR", "BELUM", "TANPA", "NO"),
        *("BLM", "TIDAK", "TDK", "BBLR", "GEMELI", "GEMELLI"),
        *_BABIES,
        *(baby + word for baby in _BABIES for word in (*_HONORIFICS, "OF", "BOY", "GIRL", "MALE", "FEMALE")),
        *(word + order for word in ("TWIN", "KEMBAR") for order in "1234"),
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
    if name.isascii() and name.replace(" ", "").isalnum() and _TELLING.isdisjoint(name.upper().split()):
        return False
    name = normalise_name(name)
    if not name.replace(" ", "").isalnum():
        name = _BLANK.sub(" ", _DOTTING.sub(" ", name)).strip()
    return _PLACEHOLDERS.search(name) is not None

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
_ORDINALS = "SATU|DUA|TIGA|EMPAT|PERTAMA|KEDUA|KETIGA|KEEMPAT|ONE|TWO|THREE|FOUR"
# "Baby of", looked for while the stroke is there: B. O. may be initials, BO a name, S/O and D/O stand in Tamil names.
# BABY SITI stays a name too: A.4 wants OF or an honorific behind BABY, and BABY MARGARETHA is somebody.
_BABY_OF = re.compile(r"\bB ?/ ?O\b")
# A courtesy before a name: a ward's word for whose child it is, and of the grown a title only (verify.names).
_COURTESIES = (
    r"^(?:NY|NYONYA|SDRI)\b",
    # Whatever stands in front: "BBLR NY SITI", "PUTRA NY SITI". Behind a name it is a grown patient's title.
    # Behind I, NI and the words of a caste no lady is spoken of: I NY SUKARSA, I GST NY RAI are Nyoman.
    r"(?<!^I )(?<!^NI )(?<!\bGST )(?<!\bGUSTI )(?<!\bDEWA )(?<!\bAGUNG )(?<!^A A )(?<!^AA )\bNY [A-Z]",
    r"\b(?:NYONYA|SDRI) [A-Z]",
    r"\b(?:NN|X{1,9})\b",
)
_BABY_NAMES = re.compile(
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
            r"^(?:ANAK|AN|CHILD|SON|DAUGHTER|TWIN) OF\b",
            r"^ANAK DARI\b",
            # "her baby", "her child", a name to come; girl or boy, and whose: nobody is called so.
            r"\b(?:BAYINYA|ANAKNYA|CALON (?:NAMA|BAYI|ANAK))\b",
            rf"^(?:PEREMPUAN|LAKI LAKI|LAKI) {_HONORIFIC}\b",
            # "TWIN B", "SITI RAHAYU TWIN 2", "BAYI KEMBAR II", "KEMBAR DUA": which one, not who (I KEMBAR is a name)
            rf"\b(?:TWIN|KEMBAR)(?: [A-D]| ?[1-4]| I{{1,3}}| KE ?[1-4]| (?:{_ORDINALS}))\b",
            r"\b(?:BELUM|BLM|TIDAK|TDK) (?:BERNAMA|ADA NAMA|DIBERI NAMA|PUNYA NAMA)\b",
            r"\bTANPA NAMA\b",
            r"\bNO NAME\b",
            # A trial of the sending system. With another word TEST may be a foreigner's family name.
            r"^TEST(?:ING)?(?: (?:TEST|TESTING|[0-9]+))*$",
        )
    )
)
_PLACEHOLDERS = re.compile("|".join((_BABY_NAMES.pattern, *_COURTESIES)))
# A name of words alone is none of these without one of these words; a test holds the two together.
_TELLING = frozenset(
    (
        *("ANAK", "AN", "NY", "NYONYA", "SDRI", "NN", "X", "TWIN", "KEMBAR", "BELUM", "TANPA", "NO"),
        *(
            "BLM",
            "TIDAK",
            "TDK",
            "BBLR",
            "GEMELI",
            "GEMELLI",
            "CHILD",
            "SON",
            "DAUGHTER",
            "BAYINYA",
            "ANAKNYA",
            "CALON",
        ),
        *("PEREMPUAN", "LAKI", "TEST", "TESTING"),
        *("X" * length for length in range(2, 10)),
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

    "ANAK AGUNG ..." and "AN NISA ..." are real names: ANAK and AN count only with an honorific, OF or DARI behind them.
    """
    return _is_one_of(_PLACEHOLDERS, name)


def is_called_baby(name: str) -> bool:
    """Tell the same of a grown person's name, where a courtesy before it is a title: NY SITI is somebody."""
    return _is_one_of(_BABY_NAMES, name)


def _is_one_of(pattern: re.Pattern[str], name: str) -> bool:
    if name.isascii() and name.replace(" ", "").isalnum() and _TELLING.isdisjoint(name.upper().split()):
        return False
    name = normalise_name(name)
    if not name.replace(" ", "").isalnum():
        if _BABY_OF.search(name):
            return True
        name = _BLANK.sub(" ", _DOTTING.sub(" ", name)).strip()
    return pattern.search(name) is not None

"""Names on an akta (Permendagri 73/2022, domain B.8), the child's above all. Tells what is broken; edits nothing.

Whether a name is good, readable or ambiguous in meaning is not judged here, nor anywhere in the gateway.
"""

from __future__ import annotations

import re
import unicodedata

from gateway.contract.naming import REPLACEMENT, normalise_name
from gateway.contract.nobody import called_after, is_no_name, is_nobody

MAX_LENGTH = 60
_NO_NAME = 250  # characters: what is longer is nobody's name (XPN, HL7 v2.5), and nothing else is said of it

# What hospitals put before or behind the names of the grown, with or without a dot. Within a name NY is Nyoman.
_COURTESY = frozenset({"NY", "NYONYA", "TN", "SDR", "SDRI"})
# Degrees and religious titles, as the first words or the last (B.8: not on an akta).
_BEFORE = frozenset({"H", "HJ", "KH", "DR", "DRG", "DRS", "DRA", "IR", "PROF", "UST", "USTAD", "USTADZ", "USTADZAH"})
_BEHIND = frozenset({"SH", "SPD", "SKOM", "SSOS", "SKED", "SKEP", "SKM", "AMD", "AMDKEB", "MSI", "MPD", "MKES", "MKN"})
# Names too, where they bear no dot and no comma stands before them.
_BEHIND_DOTTED = _BEHIND | {"SE", "ST", "SAG", "SIP", "MM", "MH", "MT", "MA", "BA", "SPOG", "SPA", "LC", "PHD"}
# NYM and, behind I or NI, NY are Nyoman.
_ABBREVIATIONS = frozenset({"MUH", "MUHD", "MOH", "MOCH", "MOHD", "MHD", "MD", "ABD", "ABDL", "NYM", "NY"})
# I is a word: I GEDE, I KETUT (F 33).
_ONE_LETTER_WORDS = frozenset({"I"})
_PLAIN = re.compile(r"[A-Z]{2,}(?: [A-Z]{2,})+")
# Titles before the name of a grown person, beside those above. With a dot also those that are names without one.
_BEFORE_GROWN = (
    _BEFORE
    | _COURTESY
    | frozenset(
        {
            "NN",
            "IBU",
            "BU",
            "BUNDA",
            "BAPAK",
            "BPK",
            "SAUDARA",
            "SAUDARI",
            "MRS",
            "MR",
            "MS",
            "HAJI",
            "HAJJAH",
            "HJH",
            "BIDAN",
        }
    )
)
_BEFORE_GROWN_DOTTED = _BEFORE_GROWN | {"NONA", "TUAN", "PAK", "MBAK", "MAS", "MISS", "ALM", "ALMH", "BD", "NS"}
_GROWN_ODD = _BEFORE_GROWN | _BEHIND | {"NS", "BD"}
_CHILDS_COURTESY = "AN"  # anak; a name too, where it bears no dot: AN NISA
_ODD = {_CHILDS_COURTESY} | _COURTESY | _BEFORE | _BEHIND_DOTTED | _ABBREVIATIONS
# Letters that no accent can be taken from.
_WITHOUT_ACCENT = str.maketrans({"Æ": "AE", "Ø": "O", "Œ": "OE", "Ł": "L", "Đ": "D", "Ð": "D", "Þ": "TH", "ẞ": "SS"})
_BRACKETS = str.maketrans("()[]", "    ")
_UNFIT = frozenset(
    {"UNREADABLE", "MISSING", "PLACEHOLDER", "LENGTH", "NON_BASIC_LATIN", "DIGIT", "PUNCTUATION", "TITLE"}
)
# UTF-8 read as Windows-1252 or Latin-1: "Ã«" for "ë", "â€™" for an apostrophe (F 105), "Ãœ" for "Ü", "á»…" for "ễ".
# In capitals too: those of "µ", "ƒ", "œ" are "Μ", "Ƒ", "Œ".
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bfŒœŠšŽžŸƒƑΜ‚„…†‡ˆ‰‹‘’“”•–—˜™›]|[Ââ]€|[Áá][º»]")


def check_name(name: str, *, as_sent: str = "", mother: str = "", father: str = "") -> list[str]:
    """Return which rules a name breaks, by short code, e.g. PUNCTUATION, DIGIT, ONE_WORD.

    A placeholder or an unreadable name is that alone: what else is wrong with it will go with it. So is one that is
    longer than any name.
    """
    if len(name) > _NO_NAME:
        return ["LENGTH"]
    plain = _PLAIN.fullmatch(name) is not None  # so are most, and then in normal form
    if not plain:
        name = normalise_name(name)
        if not any(c.isalpha() for c in name):
            return ["UNREADABLE"] if REPLACEMENT in name else ["MISSING"]
    if is_unreadable(name) or is_unreadable(as_sent):
        return ["UNREADABLE"]
    if is_no_name(name):
        return ["PLACEHOLDER"]
    if (mother and (code := called_after(name, mother, mother=True))) or (
        father and (code := called_after(name, father, mother=False))
    ):
        return [code]
    # Words of Latin letters, none a title or an abbreviation: no rule below is theirs.
    harmless = plain and len(name) <= MAX_LENGTH and _ODD.isdisjoint(name.split())
    return [] if harmless else [code for code, broken in _rules(name) if broken]


def check_parent_name(name: str) -> str:
    """Return what is wrong with the name of a parent, by short code, "" where nothing is.

    UNREADABLE and PLACEHOLDER (it is nobody's) hold, DIGIT and TITLE warn. The rest of B.8 is for the child: a parent
    bears the name that the register has. One longer than any name was not read as one.
    """
    if len(name) > _NO_NAME:
        return "UNREADABLE"
    plain = name.isascii() and name.replace(" ", "").isalpha()
    if not plain and is_unreadable(name):
        return "UNREADABLE"
    if is_nobody(name if plain else normalise_name(name)):
        return "PLACEHOLDER"
    if plain and _GROWN_ODD.isdisjoint(name.split()):
        return ""
    if not plain and _has_digit(name):
        return "DIGIT"
    return "TITLE" if _has_title(name) else ""


def _has_title(name: str) -> bool:
    """Tell whether a grown person's name has a title in front, a courtesy in front or behind, or a degree."""
    words = name.translate(_BRACKETS).replace(",", ", ").split()
    if len(words) == 1 and "." not in name:
        return False
    before, dot, _ = words[0].partition(".")
    if before in (_BEFORE_GROWN_DOTTED if dot else _BEFORE_GROWN):
        return True
    for index, word in enumerate(words[1:], 1):
        after_comma = words[index - 1].endswith(",")
        if _is_title(word, first=False, last=index == len(words) - 1, after_comma=after_comma):
            return True
    return False


def spellings(name: str) -> tuple[str, ...]:
    """Return how a name could be written for an akta: marks left out, or blanks for them; letters without accents.

    For the parents to choose from (F 31); none where the name is in order, or where that does not put it in order.
    """
    name = normalise_name(name)
    plain = unicodedata.normalize("NFD", name.translate(_WITHOUT_ACCENT))
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn")
    found = []
    for blank in ("", " "):
        spelled = normalise_name("".join(blank if _is_mark(c) else c for c in plain))
        if spelled != name and spelled not in found and not _UNFIT & {*check_name(spelled)}:
            found.append(spelled)
    return tuple(found)


def without_titles(name: str) -> str:
    """Return a name's words without titles, dots and commas: by them alone, two spellings are one name (B.8)."""
    words = name.replace(",", ", ").split()
    last = len(words) - 1
    kept = [
        word
        for n, word in enumerate(words)
        if not _is_title(word, first=n == 0, last=n == last, after_comma=n > 0 and words[n - 1].endswith(","))
    ]
    return " ".join(word.strip(".,") for word in kept)


def is_unreadable(text: str) -> bool:
    """Tell whether letters of a text are lost (U+FFFD), or are what a wrong character set made of them (A.8, F 105)."""
    return not text.isascii() and (REPLACEMENT in text or _MOJIBAKE.search(text) is not None)


def _rules(name: str) -> list[tuple[str, bool]]:
    titles, abbreviations, rest = _sorted_words(name)
    return [
        ("LENGTH", len(name) > MAX_LENGTH),
        ("NON_BASIC_LATIN", any(_is_foreign(c) for c in name)),
        ("DIGIT", _has_digit(name)),
        ("PUNCTUATION", any(_is_mark(c) for c in rest)),
        ("TITLE", titles),
        ("ABBREV", abbreviations),
        ("ONE_WORD", len(name.split()) == 1),
    ]


def _has_digit(name: str) -> bool:
    return any(unicodedata.category(c)[0] == "N" for c in name)


def _sorted_words(name: str) -> tuple[bool, bool, str]:
    """Tell titles and abbreviations from the rest. A dot that belongs to one of them is told with it, not twice."""
    words = name.replace(",", ", ").split()
    titles, abbreviations, rest = False, False, list[str]()
    for index, word in enumerate(words):
        after_comma = index > 0 and words[index - 1].endswith(",")
        if _is_title(word, first=index == 0, last=index == len(words) - 1, after_comma=after_comma):
            titles = True
            if after_comma:
                rest[-1] = rest[-1].rstrip(",")
        elif _is_abbreviation(word) or (word == _CHILDS_COURTESY and 1 < index == len(words) - 1):
            abbreviations = True
        else:
            rest.append(word)
    return titles, abbreviations, " ".join(rest)


def _is_title(word: str, *, first: bool, last: bool, after_comma: bool) -> bool:
    plain = word.rstrip(",").replace(".", "")
    if (first and plain in _BEFORE) or ((first or last) and plain in _COURTESY):
        return True
    marked = after_comma or "." in word
    if plain == _CHILDS_COURTESY and marked and (first or last):
        return True
    return (last or marked) and plain in (_BEHIND_DOTTED if marked else _BEHIND)


def _is_abbreviation(word: str) -> bool:
    plain = word.removesuffix(".")
    if len(plain) == 1 and plain.isalpha():
        return plain not in _ONE_LETTER_WORDS or word.endswith(".")
    return plain in _ABBREVIATIONS


def _is_foreign(character: str) -> bool:
    """Tell a letter outside A to Z, or an accent: NFC leaves it by itself where no joined letter exists."""
    return unicodedata.category(character)[0] in "LM" and not ("A" <= character <= "Z")


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PSC"

"""Names that are nobody's: TIDAK ADA, UNKNOWN, PASIEN BARU, and a baby called after whose it is (domain A.4, F 26).

The words are data, schemas/hl7/no-names.toml. A name is looked up word by word, with single slips of longer words,
digits typed for letters, and blanks in the wrong places; what no listed word is in costs a look at one set.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from importlib import resources
from itertools import permutations

from gateway.contract.naming import is_called_baby, is_placeholder, normalise_name

_WEAK, _EMPTY, _NOBODY = 1, 2, 3
_KINDS = {"weak": _WEAK, "empty": _EMPTY, "nobody": _NOBODY}
# Letters a word must have to be known with a slip: by itself, and wherever it stands among others.
_SLIPPED, _SLIPPED_ANYWHERE = 5, 6
_PREFIX = 3
_LONGEST = 120  # characters: a longer name is none of these, and no sender makes us look for long
_SHORTEST_PART = 3  # letters of a word that is looked for where blanks are in the wrong places
_TYPED_FOR = str.maketrans("01345789", "OIEASTBG")
_NOT_LETTERS = re.compile(r"[^A-Z0-9]+")
_DIGITS = re.compile(r"[0-9]+")
_ONE_LETTER = re.compile(r"([A-Z])\1{2,}")
# Beside a key on the usual keyboard.
_ROWS = ("QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM")

# Before and behind a parent's name: whose child it is. The second ones are names too: they need her whole name.
_KIN = frozenset(
    [
        "ANAK",
        "ADIK",
        "ADEK",
        "DEDEK",
        "BAYI",
        "BY",
        "BBL",
        "BABY",
        "INFANT",
        "NEWBORN",
        "CHILD",
        "SON",
        "DAUGHTER",
        "CALON",
        "JANIN",
        "OROK",
        "JABANG",
    ]
)
_WEAK_KIN = frozenset(
    ["AN", "PUTRA", "PUTRI", "BOY", "GIRL", "LAKI", "PEREMPUAN", "KEMBAR", "TWIN", "SULUNG", "BUNGSU"]
)
_BETWEEN = frozenset(
    [
        "SI",
        "DARI",
        "OF",
        "IBU",
        "NY",
        "NYONYA",
        "NN",
        "NONA",
        "TN",
        "TUAN",
        "BPK",
        "BAPAK",
        "SDR",
        "SDRI",
        "SAUDARI",
        "KE",
    ]
)
_ORDERS = frozenset(
    [
        "I",
        "II",
        "III",
        "IV",
        "V",
        "1",
        "2",
        "3",
        "4",
        "5",
        "A",
        "B",
        "C",
        "D",
        "SATU",
        "DUA",
        "TIGA",
        "PERTAMA",
        "KEDUA",
        "KETIGA",
        "KEEMPAT",
    ]
)
_BALINESE = "AGUNG"  # behind ANAK, where it is no part of the parent's name only
_TITLES = frozenset(
    [
        "NY",
        "NYONYA",
        "NN",
        "NONA",
        "TN",
        "TUAN",
        "IBU",
        "BUNDA",
        "BPK",
        "BAPAK",
        "SDR",
        "SDRI",
        "SAUDARI",
        "SAUDARA",
        "H",
        "HJ",
        "DR",
        "MR",
        "MRS",
    ]
)
_CALLING = _KIN | _WEAK_KIN | _BETWEEN | _ORDERS | _TITLES


def is_nobody(name: str) -> bool:
    """Tell whether a grown person's name names nobody: a word for none, or a baby's call name."""
    return names_nobody(name) or is_called_baby(name)


def is_no_name(name: str) -> bool:
    """Tell whether a child's name is none yet: whose baby it is, or a word for none."""
    return is_placeholder(name) or names_nobody(name)


def names_nobody(name: str) -> bool:
    """Tell whether a name is made of words for no name, in any order and spelling."""
    if name.isascii() and name.isupper():
        joined = name.replace(" ", "")
        if joined.isalpha():
            words = name.split()
            if _TELLING.isdisjoint(words) and joined[:_PREFIX] not in _PREFIXES and joined not in _JOINED:
                return len(joined) == 1
            return len(joined) <= _LONGEST and _is_none(words, joined)
    return _dirty_names_nobody(name[: _LONGEST + 1])


def called_after(name: str, parent: str, *, mother: bool) -> str:
    """Return SAME_AS_PARENT or PLACEHOLDER where a child bears a parent's name, or is called by it; "" elsewhere.

    ANAK SITI, SITI AMINAH II, ADIK BAYI AMINAH; PUTRI SITI AMINAH for a mother of that whole name. ANAK AGUNG is a
    title of Bali. Titles, marks and the order of words make no difference.
    """
    child, hers = _words(name), _bare(_words(parent))
    if not hers or set(hers).isdisjoint(child):
        return ""
    if _CALLING.isdisjoint(child):
        return "SAME_AS_PARENT" if sorted(child) == sorted(hers) else ""
    return "PLACEHOLDER" if _is_call(child, hers, mother=mother) else ""


def _is_call(child: list[str], hers: list[str], *, mother: bool) -> bool:
    rest = [word for word in child if word in hers]
    others = [word for word in child if word not in hers]
    if not _CALLING.issuperset(others):
        return False
    kin = not _KIN.isdisjoint(others)
    if set(rest) == set(hers):
        return kin or _WEAK_KIN.isdisjoint(others) or (mother and len(hers) > 1)
    return kin and rest[0] != _BALINESE


def _bare(words: list[str]) -> list[str]:
    """Return a name without titles in front or behind, as far as something stays."""
    bare = [word for word in words if word not in _TITLES]
    return bare or words


def _words(text: str) -> list[str]:
    if text.isascii() and text.isupper() and text.replace(" ", "").isalpha():
        return text.split()
    return _NOT_LETTERS.sub(" ", _plain(text).replace("'", "")).split()


def _plain(text: str) -> str:
    """Return a text in capitals of A to Z as far as accents go."""
    return "".join(c for c in unicodedata.normalize("NFKD", normalise_name(text)) if not unicodedata.combining(c))


def _dirty_names_nobody(name: str) -> bool:
    """Look at a name with marks, digits or accents: as words, with digits for letters, and without any of them."""
    if len(name) > _LONGEST:
        return False
    words = _NOT_LETTERS.sub(" ", _plain(name)).split()
    if not any(c.isalpha() for c in name):
        return True
    if not words:
        return False  # another script: nobody here can read it, and it is somebody
    typed = [word if word.isdigit() else word.translate(_TYPED_FOR) for word in words]
    bare = [left for word in words if (left := _DIGITS.sub("", word))]
    return any(_is_none(found, "".join(found)) for found in (typed, bare) if found)


def _is_none(words: list[str], joined: str) -> bool:
    if len(joined) == 1 or joined in _JOINED or _RANKS.get(joined, 0) > _WEAK or _ONE_LETTER.fullmatch(joined):
        return True
    best, unknown = 0, False
    for word in words:
        rank = _WEAK if word.isdigit() else _RANKS.get(word, 0)
        best = max(best, rank)
        unknown = unknown or rank == 0
    if best == _NOBODY or (best == _EMPTY and not unknown):
        return True
    return words[0] == "JANIN" or _falls_into_words(joined)


def _falls_into_words(joined: str) -> bool:
    """Tell whether letters fall wholly into listed words, one of them not weak: TIDAKADA, B E L U M DI ISI."""
    size = len(joined)
    best = [0] * (size + 1)  # of the letters before each place, 0 where they don't fall into words
    best[0] = _WEAK
    reached = 0
    for begin in range(size):
        if begin > reached:
            return False
        before = best[begin]
        if before:
            for end in range(begin + _SHORTEST_PART, min(begin + _LONGEST_WORD, size) + 1):
                rank = _LISTED.get(joined[begin:end], 0)
                if rank:
                    best[end] = max(best[end], before, rank)
                    reached = max(reached, end)
    return best[size] > _WEAK


def _neighbours(letter: str) -> str:
    row = next(row for row in _ROWS if letter in row)
    at = row.index(letter)
    return row[max(0, at - 1) : at] + row[at + 1 : at + 2]


def _slips(word: str) -> set[str]:
    """Return a word with one letter left out (not the first), doubled, exchanged with the next, or beside its key.

    Of a short word only the first three: with another letter it is too often a name (TADHA, RADHA).
    """
    found = {word[:i] + word[i + 1 :] for i in range(1, len(word))}
    found |= {word[:i] + word[i] + word[i:] for i in range(len(word))}
    found |= {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
    if len(word) >= _SLIPPED_ANYWHERE:
        found |= {word[:i] + key + word[i + 1 :] for i in range(len(word)) for key in _neighbours(word[i])}
    return found


def _load() -> tuple[dict[str, int], dict[str, int], set[str]]:
    """Return words by rank, the same with their slips, and the letters of whole names in any order of their words."""
    text = resources.files("schemas").joinpath("hl7", "no-names.toml").read_text(encoding="utf-8")
    listed: dict[str, int] = {}
    joined: set[str] = set()
    raw = tomllib.loads(text)
    real = frozenset(raw.pop("real")["names"])
    for language in raw.values():
        for phrase in language.get("whole", []):
            joined |= {"".join(words) for words in permutations(phrase.split())}
        for kind, rank in _KINDS.items():
            for word in language.get(kind, []):
                listed[word] = max(listed.get(word, 0), rank)
    ranks = dict(listed)
    for word, rank in listed.items():
        if rank > _WEAK and len(word) >= _SLIPPED:
            slipped = rank if len(word) >= _SLIPPED_ANYWHERE else _EMPTY
            for slip in _slips(word) - real:
                ranks.setdefault(slip, slipped)
    return listed, ranks, joined


_LISTED, _RANKS, _JOINED = _load()
_LONGEST_WORD = max(map(len, _LISTED))
_TELLING = frozenset(word for word, rank in _RANKS.items() if rank > _WEAK)
_PREFIXES = frozenset(word[:_PREFIX] for word, rank in _LISTED.items() if rank > _WEAK) | {
    letter * _PREFIX for letter in "".join(_ROWS)
}

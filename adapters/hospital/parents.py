"""Mother and father out of NK1, with PID-21 and PID-6 behind them (domain A.3, F 45-46).

The NIK stays as it was typed, but for blanks and dots: what is wrong with it is for the rules to say.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from adapters.hospital.names import read_name
from adapters.hospital.sheet import Sheet, clean, deleted, meant
from gateway.contract.naming import normalise_name
from gateway.contract.record import Sex
from gateway.hl7.message import Message, Value, cells_of, place_of, text_of

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.lexer import Segment
    from gateway.hl7.location import Location

NIK_TYPES = frozenset({"NI", "NN", "NNIDN", "NIK", "KTP"})
PASSPORT_TYPES = ("PPN", "PP", "PASPOR", "PASSPORT", "KIT", "KITAS", "KITAP")
WELL_FORMED_NIK = re.compile(r"\d{6}(?:0[1-9]|[12]\d|3[01]|4[1-9]|[56]\d|7[01])(?:0[1-9]|1[0-2])\d{6}", re.ASCII)

_SEXES = {"M": Sex.MALE, "L": Sex.MALE, "F": Sex.FEMALE, "P": Sex.FEMALE}
_MOTHER_CODES = frozenset({"MTH", "MOT", "NMTH", "72705000"})
# Of two women the one who gave birth is the mother, with surrogacy too (domain A.2, F 47).
_BEARER = frozenset({"GESTM", "SURROGATE", "SURROGATE MOTHER", "GESTATIONAL MOTHER", "IBU PENGGANTI"})
_SURROGACY = _BEARER | {"GENETIC MOTHER", "INTENDED MOTHER", "IBU GENETIK", "IBU PEMESAN"}
_FATHER_CODES = frozenset({"FTH", "FAT", "NFTH", "66839005"})
_SPOUSE_WORDS = frozenset({"SPO", "SPOUSE", "SUAMI", "ISTRI", "HUSBAND", "WIFE"})
_PARENT_CODES = frozenset({"PAR", "PRN", "ORTU", "ORANG TUA", "ORANGTUA", "PARENT"})
# Whole texts, so that IBU TIRI (step), IBU ANGKAT (foster) and IBU MERTUA (in law) are nobody's mother here.
_MOTHER_TEXT = re.compile(r"(?:IBU|MAMA|BUNDA|UMI|MOTHER|NATURAL MOTHER)(?: KANDUNG| BAYI| ANAK)?")
_FATHER_TEXT = re.compile(r"(?:AYAH|BAPAK|BPK|BAPA|PAPA|ABI|FATHER|NATURAL FATHER)(?: KANDUNG| BAYI| ANAK)?")
_CARD_TYPES = ("KK",)
_NOISE = re.compile(r"[\s.]+")
_WORD = re.compile(r"[A-Z0-9]+")
_INDONESIA = frozenset({"IDN", "ID", "WNI", "INA", "INDONESIA", "360"})
_UNSTATED = frozenset({"U", "UN", "UNK", "UNKNOWN", "XX", "XXX"})
_COUNTRY_LENGTH = 3


def is_mother(nk1: Segment) -> bool:
    """Tell whether an NK1 is the mother: by code, by text, by role (NK1-7), or as a parent who is a woman (F 46)."""
    words = _words_of(nk1)
    return not _BEARER.isdisjoint(words) or _is(nk1, words, _MOTHER_CODES, _MOTHER_TEXT, Sex.FEMALE)


def is_father(nk1: Segment) -> bool:
    """Tell whether an NK1 is the father, in the same ways."""
    return _is(nk1, _words_of(nk1), _FATHER_CODES, _FATHER_TEXT, Sex.MALE)


def is_spouse(nk1: Segment) -> bool:
    """Tell whether an NK1 is the patient's husband or wife: no newborn has one."""
    return any(word in _SPOUSE_WORDS for field in (3, 7) for word in _relation(nk1, field))


def _is(nk1: Segment, words: list[str], codes: frozenset[str], text: re.Pattern[str], sex: Sex) -> bool:
    for word in words:
        if word in codes or text.fullmatch(word):
            return True
    return any(word in _PARENT_CODES for word in words) and read_sex(text_of(nk1, 15)) is sex


def _words_of(nk1: Segment) -> list[str]:
    """Return what NK1-3 calls somebody, else what NK1-7 does."""
    return _relation(nk1, 3) or _relation(nk1, 7)


def _relation(nk1: Segment, field: int) -> list[str]:
    """Return code, text and alternates of a relation (CE.1, 2, 4, 5), as words in capitals."""
    cells = cells_of(nk1, field)
    if not cells:
        return []
    cell = cells[0]
    return [words for value in (*cell[:2], *cell[3:5]) if value and (words := _words(value))]


@lru_cache(maxsize=512)  # few relations make up all traffic; bounded, since a sender may write any
def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.upper()))


def map_parents(sheet: Sheet, message: Message, facility: FacilityProfile, zone: dt.tzinfo) -> None:
    """Write mother and father."""
    mothers = _who_gave_birth(sheet, message)
    fathers = [nk1 for nk1 in message.all("NK1") if is_father(nk1)]
    pid = message.first("PID")
    own = _nik_in(pid, 21) if pid else None
    mother = _chosen(sheet, mothers, own, "MOTHER_AMBIGUOUS")
    father = _chosen(sheet, fathers, None, "FATHER_AMBIGUOUS")
    if mother:
        _map_parent(sheet, "mother", mother, facility, zone)
    if father:
        _map_parent(sheet, "father", father, facility, zone)
    if pid:
        _map_mother_of_pid(sheet, pid, own, facility)


def _who_gave_birth(sheet: Sheet, message: Message) -> list[Segment]:
    """Return the mothers; where surrogacy is told only the woman who gave birth, and a person looks (F 47)."""
    mothers: list[Segment] = []
    bearers: list[Segment] = []
    for nk1 in message.all("NK1"):
        words = _words_of(nk1)
        if not _SURROGACY.isdisjoint(words):
            sheet.find("SURROGACY", place_of(nk1, 3))
            bearers += [] if _BEARER.isdisjoint(words) else [nk1]
        elif _is(nk1, words, _MOTHER_CODES, _MOTHER_TEXT, Sex.FEMALE):
            mothers.append(nk1)
    return bearers or mothers


def _chosen(sheet: Sheet, found: list[Segment], own: Value | None, code: str) -> Segment | None:
    """Return the NK1 to use. Of several that differ, the one with the NIK of PID-21, else it is a finding (F 45)."""
    if own:
        same = [nk1 for nk1 in found if (nik := nik_of(nk1)) and clean_nik(nik) == clean_nik(own)]
        found = same or found
    if len(found) > 1 and len({_identity(nk1) for nk1 in found}) > 1:
        sheet.find(code, place_of(found[1], 2))
    return found[0] if found else None


def _identity(nk1: Segment) -> str:
    return clean_nik(nik_of(nk1) or "") or normalise_name(nk1.field(2))


def _map_parent(sheet: Sheet, role: str, nk1: Segment, facility: FacilityProfile, zone: dt.tzinfo) -> None:
    map_name(sheet, f"{role}.name", nk1, 2, facility)
    nik = nik_of(nk1)
    if nik:
        sheet.put(f"{role}.nik", clean_nik(nik), nik.place)
    elif deleted(nk1, 33):
        sheet.clear(f"{role}.nik", f"{role}.travel_document", f"{role}.family_card")
    for path, types in ((f"{role}.travel_document", PASSPORT_TYPES), (f"{role}.family_card", _CARD_TYPES)):
        found = identifier(nk1, 33, types)
        if found:
            sheet.put(path, clean(found), found.place)
    sex = read_sex(text_of(nk1, 15))
    if sex:
        sheet.put(f"{role}.sex", sex, place_of(nk1, 15))
    sheet.date(f"{role}.born_on", nk1, 16, zone)
    sheet.text(f"{role}.born_in", nk1, 38)
    sheet.text(f"{role}.marital_status", nk1, 14)
    _map_citizenship(sheet, role, nk1)


def _map_mother_of_pid(sheet: Sheet, pid: Segment, own: Value | None, facility: FacilityProfile) -> None:
    """PID-21 has the mother's NIK first. PID-6 is her maiden name by definition, her name by habit: the last resort."""
    if own:
        other = sheet.values.get("mother.nik")
        if other and other != clean_nik(own):
            sheet.find("MOTHER_NIK_CONFLICT", own.place)
        sheet.put("mother.nik", clean_nik(own), own.place)
    elif deleted(pid, 21):
        sheet.clear("mother.nik")
    listed = text_of(pid, 21)
    if "mother.name" not in sheet.values and meant(listed) and not any(c.isdigit() for c in listed):
        map_name(sheet, "mother.name", pid, 21, facility)  # dirt: a name among the identifiers
    if "mother.name" not in sheet.values:
        map_name(sheet, "mother.name", pid, 6, facility)


def map_name(sheet: Sheet, path: str, segment: Segment, field: int, facility: FacilityProfile) -> None:
    """Write a name in the form of documents."""
    name, _ = read_name(segment, field, facility.name_order)
    if name:
        sheet.put(path, normalise_name(clean(name)), name.place)
    elif deleted(segment, field):
        sheet.clear(path)


def nik_of(nk1: Segment) -> Value | None:
    """Return a parent's NIK: NK1-33, else NK1-12, an employee number some systems put it in, if it has the form."""
    found = _nik_in(nk1, 33)
    if found:
        return found
    other = text_of(nk1, 12)
    return Value(other, place_of(nk1, 12)) if other and WELL_FORMED_NIK.fullmatch(clean_nik(other)) else None


def _nik_in(segment: Segment, field: int) -> Value | None:
    """Return the identifier typed as a NIK, however it is written, else an untyped one with the form of a NIK."""
    typed = identifier(segment, field, NIK_TYPES)
    if typed and any(c.isdigit() for c in typed):
        return typed
    untyped = identifier(segment, field, ("",))
    return untyped if untyped and WELL_FORMED_NIK.fullmatch(clean_nik(untyped)) else None


def identifier(segment: Segment, field: int, types: frozenset[str] | tuple[str, ...]) -> Value | None:
    """Return the first identifier (CX.1) whose type (CX.5) is one of `types` and that says something."""
    for n, cell in enumerate(cells_of(segment, field), 1):
        kind = cell[4].upper() if len(cell) > 4 else ""  # noqa: PLR2004 - CX.5
        if kind in types and meant(cell[0]):
            return Value(cell[0], place_of(segment, field, 1, n))
    return None


def clean_nik(text: str) -> str:
    """Return a number as typed, without blanks and dots (domain B.1)."""
    return str(text) if text.isdecimal() else _NOISE.sub("", clean(text))


def read_sex(value: str) -> Sex | None:
    """Read table 0001, and the L and P of Indonesian systems."""
    return _SEXES.get(value.upper())


def _map_citizenship(sheet: Sheet, role: str, nk1: Segment) -> None:
    """NK1-19 citizenship and NK1-27 nationality; NK1-28 is the ethnic group, read only where it names a country code.

    Of several the Indonesian one counts: a parent of two nationalities has a NIK.
    """
    stated = [(f, n, cell[0]) for f in (19, 27) for n, cell in enumerate(cells_of(nk1, f), 1)]
    if text_of(nk1, 28, 3).upper().startswith("ISO3166"):
        stated.append((28, 1, text_of(nk1, 28)))
    stated = [found for found in stated if meant(found[2]) and found[2].upper() not in _UNSTATED]
    home = next((found for found in stated if found[2].upper() in _INDONESIA), None)
    if home:
        sheet.put(f"{role}.citizenship", "WNI", place_of(nk1, home[0], 1, home[1]))
    elif stated:
        field, n, country = stated[0]
        _put_foreign(sheet, role, country, place_of(nk1, field, 1, n))
    elif deleted(nk1, 19) or deleted(nk1, 27):
        sheet.clear(f"{role}.citizenship", f"{role}.country")
    else:
        _map_country_of_passport(sheet, role, nk1)


def _put_foreign(sheet: Sheet, role: str, country: str, place: Location) -> None:
    sheet.put(f"{role}.citizenship", "WNA", place)
    if country.upper() != "WNA":
        sheet.put(f"{role}.country", clean(country), place)


def _map_country_of_passport(sheet: Sheet, role: str, nk1: Segment) -> None:
    """Take a passport issued by another country as a sign of a foreigner, where nothing else is said and no NIK."""
    passport = identifier(nk1, 33, ("PPN",))
    if passport is None or nik_of(nk1):
        return
    repetition = passport.place.repetition
    country = text_of(nk1, 33, 4, repetition)
    if len(country) == _COUNTRY_LENGTH and country.isalpha() and country.upper() not in _INDONESIA:
        _put_foreign(sheet, role, country, place_of(nk1, 33, 4, repetition))

"""Mother and father out of NK1, with PID-21 and PID-6 behind them (domain A.3, F 45-46).

The NIK stays as it was typed, but for blanks and dots: what is wrong with it is for the rules to say.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from adapters.hospital.names import read_name
from adapters.hospital.sheet import LONGEST, Sheet, clean, deleted, meant
from gateway.contract.naming import normalise_name
from gateway.contract.record import Sex
from gateway.hl7.message import Message, cells_of, place_of, text_of

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.lexer import Segment
    from gateway.hl7.location import Location

NIK_TYPES = frozenset({"NI", "NN", "NNIDN", "NIK", "KTP"})
PASSPORT_TYPES = frozenset({"PPN", "PP", "PASPOR", "PASSPORT", "KIT", "KITAS", "KITAP"})
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
CARD_TYPES = frozenset({"KK"})
# Tables 0063 and 0131, and words: whom to call, not who it is. Then the role (NK1-7) may say more.
_CONTACT = frozenset(
    {*"CNOU", "CP", "EMC", "EP", "NOK", "NON", "OTH", "UNK"}
    | {"CONTACT", "CONTACT PERSON", "EMERGENCY CONTACT", "EMERGENCY CONTACT PERSON", "NEXT OF KIN", "NONE", "OTHER"}
    | {"UNKNOWN", "KELUARGA", "KONTAK", "KONTAK DARURAT", "LAINNYA", "LAIN LAIN", "PENANGGUNG JAWAB", "PJ"}
)
_LONGEST_RELATION = 100  # characters; no relation is called so
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
    """Tell whether an NK1 is the father: by code, by text, by role (NK1-7), or as a parent who is a man (F 46)."""
    return _is(nk1, _words_of(nk1), _FATHER_CODES, _FATHER_TEXT, Sex.MALE)


def is_spouse(nk1: Segment) -> bool:
    """Tell whether an NK1 is the patient's husband or wife: no newborn has one."""
    return not (_SPOUSE_WORDS.isdisjoint(_relation(nk1, 3)) and _SPOUSE_WORDS.isdisjoint(_relation(nk1, 7)))


def _is(nk1: Segment, words: list[str], codes: frozenset[str], text: re.Pattern[str], sex: Sex) -> bool:
    for word in words:
        if word in codes or text.fullmatch(word):
            return True
    return not _PARENT_CODES.isdisjoint(words) and read_sex(text_of(nk1, 15)) is sex


def _words_of(nk1: Segment) -> list[str]:
    """Return what NK1-3 calls somebody, else what NK1-7 does. A relation in NK1-3 is never overruled."""
    words = _relation(nk1, 3)
    if not words or (words[0] in _CONTACT and _CONTACT.issuperset(words)):
        return _relation(nk1, 7) or words
    return words


def _relation(nk1: Segment, field: int) -> list[str]:
    """Return code, text and alternates of a relation (CE.1, 2, 4, 5), as words in capitals."""
    cells = cells_of(nk1, field)
    if not cells:
        return []
    cell = cells[0]
    return [words for value in (*cell[:2], *cell[3:5]) if value and (words := _words(value[:_LONGEST_RELATION]))]


@lru_cache(maxsize=512)  # few relations make up all traffic; bounded, since a sender may write any
def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.upper()))


Identifier = tuple[str, int]  # CX.1, and the repetition (1-based) it stands in


class Relative:
    """An NK1, and what is asked of it more than once."""

    __slots__ = ("nik", "nik_place", "papers", "segment", "words")

    def __init__(self, nk1: Segment) -> None:
        self.segment = nk1
        self.words = _words_of(nk1)
        self.papers = identifiers(nk1, 33)
        self.nik, self.nik_place = "", (33, 1)  # cleaned, and field and repetition of it
        found = _nik_among(self.papers)
        if found:
            self.nik, self.nik_place = clean_nik(found[0]), (33, found[1])
        elif other := text_of(nk1, 12):  # an employee number: some systems put it there
            number = clean_nik(other)
            if WELL_FORMED_NIK.fullmatch(number):
                self.nik, self.nik_place = number, (12, 1)


def relatives_of(message: Message) -> list[Relative]:
    """Return every NK1, in order."""
    return [Relative(nk1) for nk1 in message.all("NK1")]


class _Paths:
    """The paths of a parent in the record."""

    __slots__ = (
        "born_in",
        "born_on",
        "citizenship",
        "country",
        "family_card",
        "marital_status",
        "name",
        "nik",
        "sex",
        "travel_document",
    )

    def __init__(self, role: str) -> None:
        self.name = f"{role}.name"
        self.nik = f"{role}.nik"
        self.travel_document = f"{role}.travel_document"
        self.family_card = f"{role}.family_card"
        self.sex = f"{role}.sex"
        self.born_on = f"{role}.born_on"
        self.born_in = f"{role}.born_in"
        self.marital_status = f"{role}.marital_status"
        self.citizenship = f"{role}.citizenship"
        self.country = f"{role}.country"


_MOTHER, _FATHER = _Paths("mother"), _Paths("father")


def map_parents(
    sheet: Sheet, message: Message, relatives: list[Relative], facility: FacilityProfile, zone: dt.tzinfo
) -> None:
    """Write mother and father."""
    mothers = _who_gave_birth(sheet, relatives)
    fathers = [r for r in relatives if _is(r.segment, r.words, _FATHER_CODES, _FATHER_TEXT, Sex.MALE)]
    pid = message.first("PID")
    own = _nik_among(identifiers(pid, 21)) if pid else None
    mother = _chosen(sheet, mothers, clean_nik(own[0]) if own else "", "MOTHER_AMBIGUOUS")
    father = _chosen(sheet, fathers, "", "FATHER_AMBIGUOUS")
    if mother:
        _map_parent(sheet, _MOTHER, mother, facility, zone)
    if father:
        _map_parent(sheet, _FATHER, father, facility, zone)
    if pid:
        _map_mother_of_pid(sheet, pid, own, facility)


def _who_gave_birth(sheet: Sheet, relatives: list[Relative]) -> list[Relative]:
    """Return the mothers; where surrogacy is told only the woman who gave birth, and a person looks (F 47)."""
    mothers: list[Relative] = []
    bearers: list[Relative] = []
    for relative in relatives:
        if not _SURROGACY.isdisjoint(relative.words):
            sheet.find("SURROGACY", place_of(relative.segment, 3))
            bearers += [] if _BEARER.isdisjoint(relative.words) else [relative]
        elif _is(relative.segment, relative.words, _MOTHER_CODES, _MOTHER_TEXT, Sex.FEMALE):
            mothers.append(relative)
    return bearers or mothers


def _chosen(sheet: Sheet, found: list[Relative], own: str, code: str) -> Relative | None:
    """Return the NK1 to use. Of several that differ, the one with the NIK of PID-21, else it is a finding (F 45)."""
    if len(found) > 1:
        if own:
            found = [relative for relative in found if relative.nik == own] or found
        if len({relative.nik or normalise_name(relative.segment.field(2)) for relative in found}) > 1:
            sheet.find(code, place_of(found[1].segment, 2))
    return found[0] if found else None


def _map_parent(sheet: Sheet, paths: _Paths, parent: Relative, facility: FacilityProfile, zone: dt.tzinfo) -> None:
    nk1 = parent.segment
    map_name(sheet, paths.name, nk1, 2, facility)
    if parent.nik:
        field, repetition = parent.nik_place
        sheet.write(paths.nik, parent.nik, nk1, field, 1, repetition)
    elif deleted(nk1, 33):
        sheet.clear(paths.nik, paths.travel_document, paths.family_card)
    if passport := first_of(parent.papers, PASSPORT_TYPES):
        sheet.write(paths.travel_document, clean(passport[0]), nk1, 33, 1, passport[1])
    if card := first_of(parent.papers, CARD_TYPES):
        sheet.write(paths.family_card, clean(card[0]), nk1, 33, 1, card[1])
    sex = read_sex(text_of(nk1, 15))
    if sex:
        sheet.write(paths.sex, sex, nk1, 15)
    sheet.date(paths.born_on, nk1, 16, zone)
    sheet.text(paths.born_in, nk1, 38)
    sheet.text(paths.marital_status, nk1, 14)
    _map_citizenship(sheet, paths, parent)


def _map_mother_of_pid(sheet: Sheet, pid: Segment, own: Identifier | None, facility: FacilityProfile) -> None:
    """PID-21 has the mother's NIK first. PID-6 is her maiden name by definition, her name by habit: the last resort."""
    if own:
        nik, repetition = clean_nik(own[0]), own[1]
        other = sheet.values.get("mother.nik")
        if other and other != nik:
            sheet.find("MOTHER_NIK_CONFLICT", place_of(pid, 21, 1, repetition))
        sheet.write("mother.nik", nik, pid, 21, 1, repetition)
    elif deleted(pid, 21):
        sheet.clear("mother.nik")
    if "mother.name" in sheet.values:
        return
    listed = text_of(pid, 21)
    if meant(listed) and not _has_digit(listed):
        map_name(sheet, "mother.name", pid, 21, facility)  # dirt: a name among the identifiers
    if "mother.name" not in sheet.values:
        map_name(sheet, "mother.name", pid, 6, facility)


def map_name(sheet: Sheet, path: str, segment: Segment, field: int, facility: FacilityProfile) -> None:
    """Write a name in the form of documents."""
    name, _, repetition = read_name(segment, field, facility.name_order)
    if name:
        sheet.write(path, normalise_name(clean(name)), segment, field, 1, repetition)
    elif deleted(segment, field):
        sheet.clear(path)


def _nik_among(papers: dict[str, Identifier]) -> Identifier | None:
    """Return the identifier typed as a NIK, however it is written, else an untyped one with the form of a NIK."""
    typed = first_of(papers, NIK_TYPES)
    if typed and _has_digit(typed[0]):
        return typed
    untyped = papers.get("")
    return untyped if untyped and WELL_FORMED_NIK.fullmatch(clean_nik(untyped[0])) else None


def _has_digit(text: str) -> bool:
    if text.isdigit():
        return True
    for character in text:  # noqa: SIM110 - a loop is cheaper than a generator, for so few
        if character.isdigit():
            return True
    return False


def identifiers(segment: Segment, field: int) -> dict[str, Identifier]:
    """Return by type (CX.5, in capitals) the first identifier that says something, in the order sent."""
    found: dict[str, Identifier] = {}
    for repetition, cell in enumerate(cells_of(segment, field), 1):
        kind = cell[4].upper() if len(cell) > 4 else ""  # noqa: PLR2004 - CX.5
        if kind not in found and meant(cell[0]):
            found[kind] = (cell[0], repetition)
    return found


def first_of(found: dict[str, Identifier], types: frozenset[str]) -> Identifier | None:
    """Return the first identifier of one of these types."""
    for kind, identifier in found.items():
        if kind in types:
            return identifier
    return None


def clean_nik(text: str) -> str:
    """Return a number as typed, without blanks and dots (domain B.1)."""
    text = text[:LONGEST]
    return text if text.isdecimal() else _NOISE.sub("", clean(text))


def read_sex(value: str) -> Sex | None:
    """Read table 0001, and the L and P of Indonesian systems."""
    return _SEXES.get(value.upper())


def _map_citizenship(sheet: Sheet, paths: _Paths, parent: Relative) -> None:
    """NK1-19 citizenship and NK1-27 nationality; NK1-28 is the ethnic group, read only where it names a country code.

    Of several the Indonesian one counts: a parent of two nationalities has a NIK.
    """
    nk1 = parent.segment
    foreign, place = "", (0, 0)
    for country, field, repetition in _nationalities(nk1):
        code = country.upper()
        if code in _INDONESIA:
            sheet.write(paths.citizenship, "WNI", nk1, field, 1, repetition)
            return
        if not foreign and code not in _UNSTATED and meant(country):
            foreign, place = country, (field, repetition)
    if foreign:
        _put_foreign(sheet, paths, foreign, place_of(nk1, place[0], 1, place[1]))
    elif deleted(nk1, 19) or deleted(nk1, 27):
        sheet.clear(paths.citizenship, paths.country)
    else:
        _map_country_of_passport(sheet, paths, parent)


def _nationalities(nk1: Segment) -> list[tuple[str, int, int]]:
    """Return what may tell a nationality, with field and repetition, in the order of trust."""
    found: list[tuple[str, int, int]] = []
    for field in (19, 27):
        for repetition, cell in enumerate(cells_of(nk1, field), 1):
            found.append((cell[0], field, repetition))
    if text_of(nk1, 28, 3).upper().startswith("ISO3166"):
        found.append((text_of(nk1, 28), 28, 1))
    return found


def _put_foreign(sheet: Sheet, paths: _Paths, country: str, place: Location) -> None:
    sheet.put(paths.citizenship, "WNA", place)
    if country.upper() != "WNA":
        sheet.put(paths.country, clean(country), place)


def _map_country_of_passport(sheet: Sheet, paths: _Paths, parent: Relative) -> None:
    """Take a passport issued by another country as a sign of a foreigner, where nothing else is said and no NIK."""
    passport = parent.papers.get("PPN")
    if passport is None or parent.nik:
        return
    country = text_of(parent.segment, 33, 4, passport[1])
    if len(country) == _COUNTRY_LENGTH and country.isalpha() and country.upper() not in _INDONESIA:
        _put_foreign(sheet, paths, country, place_of(parent.segment, 33, 4, passport[1]))

"""ZKL, our optional segment with the items of F-2.01 that no standard segment has (domain A.3).

What it says about the form wins over OBX. ZKL: 2 place kind, 3 plurality, 4 parity, 5 attendant, 6 weight, 7 length,
8 letter of birth, 9 marriage, 10 reporter, 11 and 12 witnesses, 13 consent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.hospital.codes import NO, PLURALITIES, PLURALITY_WORDS, YES
from adapters.hospital.observations import put_attendant, put_length, put_place_kind, put_plurality, put_weight
from adapters.hospital.parents import Relative, clean_nik
from adapters.hospital.sheet import DELETE, LONGEST, Sheet, clean, deleted, meant, read_number
from gateway.contract.naming import normalise_name
from gateway.hl7.message import Message, cells_of, place_of, text_of

if TYPE_CHECKING:
    import datetime as dt

    from gateway.hl7.lexer import Segment

_MAX_PARITY = 30
_DELETES = {
    2: "child.place_kind",
    3: "child.plurality",
    4: "child.parity",
    5: "child.attendant",
    6: "child.weight_g",
    7: "child.length_cm",
    8: "facility.letter_number",
    9: "marriage",
    10: "reporter",
    11: "witnesses.0",
    12: "witnesses.1",
    13: "consent",
}
# Field, and the paths of NIK, name and relation to the child (ZKL-10.3).
_PERSONS = (
    (10, "reporter.nik", "reporter.name", "reporter.relation"),
    (11, "witnesses.0.nik", "witnesses.0.name", ""),
    (12, "witnesses.1.nik", "witnesses.1.name", ""),
)
# ZKL-9.1 in words, for parents without a number: F-2.04 is the SPTJM of marriage (B.6).
_MARRIAGE_WORDS = {"SPTJM": "SPTJM", "F-2.04": "SPTJM", "TIDAK": "TIDAK", "TIDAK ADA": "TIDAK", "BELUM": "TIDAK"}
_CONSENTED = YES | {"SETUJU"}


def map_zkl(sheet: Sheet, message: Message, relatives: list[Relative], zone: dt.tzinfo) -> None:
    """Write the form items of the first ZKL."""
    zkl = message.first("ZKL")
    if zkl is None:
        return
    if DELETE in "".join(zkl.fields):  # few delete anything: one look at all
        sheet.clear(*(path for field, path in _DELETES.items() if deleted(zkl, field)))
    _map_birth(sheet, zkl)
    sheet.text("facility.letter_number", zkl, 8)
    _map_marriage(sheet, zkl, zone)
    for field, nik, name, relation in _PERSONS:
        _map_person(sheet, zkl, field, (nik, name, relation))
    _map_phone(sheet, relatives)
    _map_consent(sheet, zkl)


def _map_birth(sheet: Sheet, zkl: Segment) -> None:
    put_place_kind(sheet, zkl, 2)
    told, parity = text_of(zkl, 3), read_number(text_of(zkl, 4))
    plurality = read_number(told)
    kind = PLURALITIES.get(int(plurality[0])) if plurality else PLURALITY_WORDS.get(told.upper())
    if kind:
        put_plurality(sheet, kind, place_of(zkl, 3))
    if parity and 1 <= int(parity[0]) <= _MAX_PARITY:
        sheet.write("child.parity", int(parity[0]), zkl, 4)
    put_attendant(sheet, zkl, 5)
    weight, length = text_of(zkl, 6), text_of(zkl, 7)
    if meant(weight):
        put_weight(sheet, weight, place_of(zkl, 6), "")
    if meant(length):
        put_length(sheet, length, place_of(zkl, 7), "")


def _map_marriage(sheet: Sheet, zkl: Segment, zone: dt.tzinfo) -> None:
    number = text_of(zkl, 9)
    if not meant(number):
        return
    status = _MARRIAGE_WORDS.get(number.upper())
    sheet.write("marriage.status", status or "TERCATAT", zkl, 9)
    if status is None:
        sheet.told("marriage.number", number, zkl, 9)
    sheet.date("marriage.date", zkl, 9, zone, component=2)
    sheet.text("marriage.issuer", zkl, 9, 3)


def _map_person(sheet: Sheet, zkl: Segment, field: int, paths: tuple[str, str, str]) -> None:
    """NIK^name, and for the reporter the relation to the child."""
    for person in cells_of(zkl, field)[:1]:
        nik, name, relation = paths
        if meant(person[0]):
            sheet.write(nik, clean_nik(person[0]), zkl, field)
        if len(person) > 1 and meant(person[1]):
            sheet.write(name, normalise_name(clean(person[1][:LONGEST])), zkl, field, 2)
        if relation and len(person) > 2 and meant(person[2]):  # noqa: PLR2004 - the third component
            sheet.write(relation, clean(person[2]).upper(), zkl, field, 3)


def _map_phone(sheet: Sheet, relatives: list[Relative]) -> None:
    """NK1-5 of the reporter's own segment: by it the registry tells the family of the akta (domain F 102)."""
    reporter = sheet.values.get("reporter.nik")
    if not reporter:
        return
    for relative in relatives:
        if relative.nik == reporter:
            _put_phone(sheet, relative.segment)
            return


def _put_phone(sheet: Sheet, own: Segment) -> None:
    if not own.field(5):
        return
    parts = [meant(text_of(own, 5, component)) for component in (5, 6, 7)]  # country, area, number: XTN from 2.3.1 on
    whole = (f"+{''.join(parts)}" if parts[0] else "".join(parts)) if parts[2] else ""
    number = meant(text_of(own, 5)) or whole or meant(text_of(own, 5, 12))
    if number and number != DELETE:
        sheet.write("reporter.phone", clean(number), own, 5)


def _map_consent(sheet: Sheet, zkl: Segment) -> None:
    flag = text_of(zkl, 13).upper()
    if not flag or (flag not in _CONSENTED and flag not in NO):
        return
    sheet.write("consent.given", flag in _CONSENTED, zkl, 13)
    sheet.text("consent.at", zkl, 13, 2)
    sheet.text("consent.how", zkl, 13, 3)

"""ZKL, our optional segment with the items of F-2.01 that no standard segment has (domain A.3).

What it says about the form wins over OBX. ZKL: 2 place kind, 3 plurality, 4 parity, 5 attendant, 6 weight, 7 length,
8 letter of birth, 9 marriage, 10 reporter, 11 and 12 witnesses, 13 consent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.hospital.observations import put_attendant, put_length, put_place_kind, put_weight
from adapters.hospital.parents import clean_nik, nik_of
from adapters.hospital.sheet import DELETE, Sheet, clean, deleted, meant, read_number
from gateway.contract.naming import normalise_name
from gateway.contract.record import PluralityKind
from gateway.hl7.message import Message, place_of, text_of

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
# ZKL-9.1 in words, for parents without a number: F-2.04 is the SPTJM of marriage (B.6).
_MARRIAGE_WORDS = {"SPTJM": "SPTJM", "F-2.04": "SPTJM", "TIDAK": "TIDAK", "TIDAK ADA": "TIDAK", "BELUM": "TIDAK"}
_YES, _NO = frozenset({"Y", "YA", "1", "TRUE", "SETUJU"}), frozenset({"N", "T", "TIDAK", "0", "FALSE"})


def map_zkl(sheet: Sheet, message: Message, zone: dt.tzinfo) -> None:
    """Write the form items of the first ZKL."""
    zkl = message.first("ZKL")
    if zkl is None:
        return
    if any(DELETE in field for field in zkl.fields):
        sheet.clear(*(path for field, path in _DELETES.items() if deleted(zkl, field)))
    _map_birth(sheet, zkl)
    sheet.text("facility.letter_number", zkl, 8)
    _map_marriage(sheet, zkl, zone)
    for field, path in ((10, "reporter"), (11, "witnesses.0"), (12, "witnesses.1")):
        _map_person(sheet, path, zkl, field)
    _map_phone(sheet, message)
    _map_consent(sheet, zkl)


def _map_birth(sheet: Sheet, zkl: Segment) -> None:
    put_place_kind(sheet, zkl, 2)
    plurality, parity = read_number(text_of(zkl, 3)), read_number(text_of(zkl, 4))
    if plurality and 1 <= int(plurality[0]) <= PluralityKind.OTHER:
        sheet.put("child.plurality", PluralityKind(int(plurality[0])), place_of(zkl, 3))
    if parity and 1 <= int(parity[0]) <= _MAX_PARITY:
        sheet.put("child.parity", int(parity[0]), place_of(zkl, 4))
    put_attendant(sheet, zkl, 5)
    for field, put in ((6, put_weight), (7, put_length)):
        value = text_of(zkl, field)
        if meant(value):
            put(sheet, value, place_of(zkl, field), "")


def _map_marriage(sheet: Sheet, zkl: Segment, zone: dt.tzinfo) -> None:
    number = text_of(zkl, 9)
    if not meant(number):
        return
    status = _MARRIAGE_WORDS.get(number.upper())
    sheet.put("marriage.status", status or "TERCATAT", place_of(zkl, 9))
    if status is None:
        sheet.text("marriage.number", zkl, 9)
    sheet.date("marriage.date", zkl, 9, zone, component=2)
    sheet.text("marriage.issuer", zkl, 9, 3)


def _map_person(sheet: Sheet, path: str, zkl: Segment, field: int) -> None:
    """NIK^name, and for the reporter the relation to the child."""
    nik, name = text_of(zkl, field), text_of(zkl, field, 2)
    if meant(nik):
        sheet.put(f"{path}.nik", clean_nik(nik), place_of(zkl, field))
    if meant(name):
        sheet.put(f"{path}.name", normalise_name(clean(name)), place_of(zkl, field, 2))
    relation = text_of(zkl, field, 3)
    if path == "reporter" and meant(relation):
        sheet.put("reporter.relation", clean(relation).upper(), place_of(zkl, field, 3))


def _map_phone(sheet: Sheet, message: Message) -> None:
    """NK1-5 of the reporter's own segment: by it the registry tells the family of the akta (domain F 102)."""
    reporter = sheet.values.get("reporter.nik")
    own = next((nk1 for nk1 in message.all("NK1") if reporter and clean_nik(nik_of(nk1) or "") == reporter), None)
    if own is None:
        return
    parts = [meant(text_of(own, 5, component)) for component in (5, 6, 7)]  # country, area, number: XTN from 2.3.1 on
    whole = (f"+{''.join(parts)}" if parts[0] else "".join(parts)) if parts[2] else ""
    number = meant(text_of(own, 5)) or whole or meant(text_of(own, 5, 12))
    if number and number != DELETE:
        sheet.put("reporter.phone", clean(number), place_of(own, 5))


def _map_consent(sheet: Sheet, zkl: Segment) -> None:
    flag = text_of(zkl, 13).upper()
    if flag not in _YES and flag not in _NO:
        return
    sheet.put("consent.given", flag in _YES, place_of(zkl, 13))
    sheet.text("consent.at", zkl, 13, 2)
    sheet.text("consent.how", zkl, 13, 3)

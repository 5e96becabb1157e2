"""The numbers the sandbox gives: akta number (domain B.3), the child's NIK (B.1), KK number (B.2). Never one twice.

All invented ones have the serial 90xx, so that none can be a person's. A hundred serials a district and birth date are
soon used up; then other districts of the office lend theirs, then other regencies of the province.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

LATE_AFTER_DAYS = 60  # domain B.7
_FIRST_SERIAL = 9000
_SERIALS = 100
_WOMAN = 40
_DISTRICTS = range(1, 26)
_REGENCIES = range(1, 80)


def akta_number(office: str, *, born: dt.date, received: dt.date, registered: dt.date, serial: int) -> str:
    """Return RRRR-LU-DDMMYYYY-NNNN; LT where the report came more than 60 local days after the birth (domain B.7)."""
    kind = "LT" if (received - born).days > LATE_AFTER_DAYS else "LU"
    return f"{office}-{kind}-{registered:%d%m%Y}-{serial:04d}"


def stillbirth_number(office: str, *, registered: dt.date, serial: int) -> str:
    """Return the number of a letter of stillbirth: no akta, so letters of its own."""
    return f"{office}-LM-{registered:%d%m%Y}-{serial:04d}"


def new_nik(prefix: str, born: dt.date, *, woman: bool, office: str, count: Callable[[str], int]) -> str:
    """Return a NIK never given before: six digits of district, DDMMYY with +40 for a girl, serial 90xx."""
    day = born.day + (_WOMAN if woman else 0)
    return _numbered("nik", prefix, f"{day:02d}{born:%m%y}", office, count)


def new_family_card(prefix: str, issued: dt.date, *, office: str, count: Callable[[str], int]) -> str:
    """Return a KK number never given before: district, day of issue, serial 90xx (domain B.2)."""
    return _numbered("kk", prefix, f"{issued:%d%m%y}", office, count)


def _numbered(kind: str, prefix: str, date: str, office: str, count: Callable[[str], int]) -> str:
    for place in chain((prefix,), _overflow(kind, date, office, count)):
        serial = count(f"{kind}:{place}{date}")
        if serial < _SERIALS:
            return f"{place}{date}{_FIRST_SERIAL + serial}"
    raise RuntimeError("all invented numbers of this birth date are used up; start with an empty directory")


def _overflow(kind: str, date: str, office: str, count: Callable[[str], int]) -> Iterator[str]:
    """Give places to borrow from. A counter remembers how many are used up, so that none is walked through again."""
    places = [office, *(f"{office[:2]}{r:02d}" for r in _REGENCIES if f"{office[:2]}{r:02d}" != office)]
    total = len(places) * len(_DISTRICTS)
    while True:
        # One step for each number borrowed: a hundred steps are one place.
        index = count(f"{kind}-borrowed:{date}") // _SERIALS
        if index >= total:
            return
        yield f"{places[index // len(_DISTRICTS)]}{_DISTRICTS[index % len(_DISTRICTS)]:02d}"

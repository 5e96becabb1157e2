"""XPN to one name, by the hospital's habit (domain A.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.hospital.sheet import DELETE, LONGEST, meant
from gateway.hl7.message import cells_of, value_of

if TYPE_CHECKING:
    from gateway.contract.facility import NameOrder
    from gateway.hl7.lexer import Segment

# XPN.7, table 0200: legal first, then display and untyped; nicknames and pseudonyms are nobody's name on an akta.
_RANK = {"L": 0, "D": 1, "": 1, "B": 2, "C": 2, "A": 3, "M": 3}
_NEVER = frozenset({"N", "S", "BAD", "NOUSE"})
# Newer tables mark a name that will not stay: temporary, and the newborn's default.
TEMPORARY = frozenset({"TEMP", "NB"})
_SUBCOMPONENTS = range(2, 6)  # of FN, behind the surname


def read_name(segment: Segment, field: int, order: NameOrder) -> tuple[str, str, int]:
    """Return the full name of the best repetition, its type code, and the repetition (1-based). Empty where none is.

    Suffix, prefix and degree (XPN.4 to 6) are left off: titles do not go on an akta (B.8). What is longer than any name
    is cut, and held by the rules for its length.
    """
    cells = cells_of(segment, field)
    for n, kind in _usable(cells):
        text = _joined(segment, field, n, cells[n - 1], order)[:LONGEST]
        if meant(text):
            return text, kind, n
    return "", "", 1


def in_one_word(segment: Segment, field: int) -> bool:
    """Tell whether no repetition has a given name (XPN.2 and 3), so that the order of the two changes nothing."""
    for cell in cells_of(segment, field):  # noqa: SIM110 - a loop is cheaper than a generator, for so few
        if len(cell) > 1 and (cell[1] or (len(cell) > 2 and cell[2])):  # noqa: PLR2004 - XPN.3
            return False
    return True


def _usable(cells: list[list[str]]) -> list[tuple[int, str]]:
    """Return number and type of each repetition that may stand on an akta, the best first."""
    kinds = [(n, cell[6].upper() if len(cell) > 6 else "") for n, cell in enumerate(cells, 1)]  # noqa: PLR2004 - XPN.7
    if len(kinds) > 1:
        kinds.sort(key=_by_rank)
    return [(n, kind) for n, kind in kinds if kind not in _NEVER]


def _by_rank(found: tuple[int, str]) -> tuple[int, int]:
    return _RANK.get(found[1], 4), found[0]


def _joined(segment: Segment, field: int, repetition: int, cell: list[str], order: NameOrder) -> str:
    family = _family(segment, field, repetition, cell[0])
    given = [part for part in cell[1:3] if part and part != DELETE]
    if not given:
        return family
    if not family:
        return " ".join(given)
    if order == "full_in_family":
        return family
    # auto: an empty XPN.2 means that XPN.1 holds it all, and comes to the same as given_family
    return " ".join((family, *given) if order == "family_given" else (*given, family))


def _family(segment: Segment, field: int, repetition: int, first: str) -> str:
    """From 2.5 XPN.1 is FN: surname, own prefix, ... as sub-components. Mostly FN.1 is alone; FN.3 may repeat it."""
    if first == DELETE:
        first = ""
    if segment.plain or segment.delimiters.subcomponent not in segment.field(field):
        return first
    parts = [first] if first else []
    for n in _SUBCOMPONENTS:
        part = str(value_of(segment, field, repetition=repetition, component=1, subcomponent=n))
        if part and part != DELETE and part not in parts:
            parts.append(part)
    return " ".join(parts)

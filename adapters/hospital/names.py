"""XPN to one name, by the hospital's habit (domain A.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.hospital.sheet import DELETE, meant
from gateway.hl7.message import Value, cells_of, place_of, text_of, value_of

if TYPE_CHECKING:
    from gateway.contract.facility import NameOrder
    from gateway.hl7.lexer import Segment

# XPN.7, table 0200: legal first, then display and untyped; nicknames and pseudonyms are nobody's name on an akta.
_RANK = {"L": 0, "D": 1, "": 1, "B": 2, "C": 2, "A": 3, "M": 3}
_NEVER = frozenset({"N", "S", "BAD", "NOUSE"})
# Newer tables mark a name that will not stay: temporary, and the newborn's default.
TEMPORARY = frozenset({"TEMP", "NB"})


def read_name(segment: Segment, field: int, order: NameOrder) -> tuple[Value, str]:
    """Return the full name of the best repetition, with its place, and its type code. Empty where there is none.

    Suffix, prefix and degree (XPN.4 to 6) are left off: titles do not go on an akta (B.8).
    """
    for n, kind in _usable(segment, field):
        name = _joined(segment, field, n, order)
        if meant(name):
            return Value(name, place_of(segment, field, 1, n)), kind
    return Value("", place_of(segment, field)), ""


def _usable(segment: Segment, field: int) -> list[tuple[int, str]]:
    """Return number and type of each repetition that may stand on an akta, the best first."""
    kinds = [(n, cell[6].upper() if len(cell) > 6 else "") for n, cell in enumerate(cells_of(segment, field), 1)]  # noqa: PLR2004 - XPN.7
    if len(kinds) > 1:
        kinds.sort(key=lambda found: (_RANK.get(found[1], 4), found[0]))
    return [(n, kind) for n, kind in kinds if kind not in _NEVER]


def _joined(segment: Segment, field: int, repetition: int, order: NameOrder) -> str:
    cell = cells_of(segment, field)[repetition - 1]
    given = [part for part in cell[1:3] if part and part != DELETE]
    family = _family(segment, field, repetition)
    match order:
        case "full_in_family":
            words = [family] if family else given
        case "family_given":
            words = [family, *given]
        case "given_family" | "auto":  # auto: an empty XPN.2 means that XPN.1 holds it all, and comes to the same
            words = [*given, family]
    return " ".join(word for word in words if word)


def _family(segment: Segment, field: int, repetition: int) -> str:
    """From 2.5 XPN.1 is FN: surname, own prefix, ... as sub-components. Mostly FN.1 is alone; FN.3 may repeat it."""
    if segment.delimiters.subcomponent not in segment.field(field):
        first = text_of(segment, field, 1, repetition)
        return "" if first == DELETE else first
    parts: list[str] = []
    for n in range(1, 6):
        part = str(value_of(segment, field, repetition=repetition, component=1, subcomponent=n))
        if part and part != DELETE and part not in parts:
            parts.append(part)
    return " ".join(parts)

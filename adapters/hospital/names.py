"""XPN to one name, by the hospital's habit (domain A.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.hospital.sheet import DELETE, meant
from gateway.hl7.message import Value, repetitions_of, value_of

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
    kinds = [(n, value_of(segment, field, repetition=n, component=7).upper()) for n in repetitions_of(segment, field)]
    usable = sorted((_RANK.get(kind, 4), n, kind) for n, kind in kinds if kind not in _NEVER)
    for _, n, kind in usable:
        name = _joined(segment, field, n, order)
        if meant(name):
            return Value(name, value_of(segment, field, repetition=n).place), kind
    return Value("", value_of(segment, field).place), ""


def _joined(segment: Segment, field: int, repetition: int, order: NameOrder) -> str:
    family = _family(segment, field, repetition)
    given = [_part(value_of(segment, field, repetition=repetition, component=c)) for c in (2, 3)]
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
    parts: list[str] = []
    for n in range(1, 6):
        part = _part(value_of(segment, field, repetition=repetition, component=1, subcomponent=n))
        if part and part not in parts:
            parts.append(part)
    return " ".join(parts)


def _part(value: Value) -> str:
    return "" if value == DELETE else str(value)

"""What a message means for a birth: its effect by event, and whether it is about a newborn (domain A.1).

HL7 v2 has no birth event. A birth is inferred from ADT: any two of eight marks.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from adapters.hospital.names import TEMPORARY, read_name
from adapters.hospital.observations import BIRTH_WEIGHT_CODES
from adapters.hospital.parents import is_mother
from adapters.hospital.sheet import DELETE, read_moment
from gateway.contract.naming import is_placeholder
from gateway.contract.ports import Effect
from gateway.hl7.message import Message, value_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from gateway.contract.facility import FacilityProfile

_EFFECTS = {
    **dict.fromkeys(("A01", "A04", "A28"), Effect.OPEN),
    **dict.fromkeys(("A08", "A31", "A13"), Effect.AMEND),
    "A03": Effect.DISCHARGE,
    **dict.fromkeys(("A11", "A23", "A29"), Effect.CANCEL),
}
_ENOUGH = 2
_NEWBORN_DAYS = 30
# Past the first birthday a mother's id and an NK1 MTH are marks of any child; past the tenth nobody is a newborn.
_INFANT_DAYS = 366
_CHILD_DAYS = 10 * 366


def effect_of(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> Effect:
    """Return what a message means. `at` is when it was sent.

    Opening needs the marks of a newborn. An update, discharge or cancellation needs none: it may hold little more than
    a record number. But one about somebody who evidently is no baby is not about a birth.
    """
    if message.value("MSH", 9, 1).upper() != "ADT":
        return Effect.NONE
    event = (message.value("MSH", 9, 2) or message.value("EVN", 1)).upper()
    effect = _EFFECTS.get(event, Effect.NONE)
    if effect is Effect.NONE or is_newborn(message, facility, at=at, zone=zone):
        return effect
    age = _age_in_days(message, at, zone)
    grown = age is not None and age > _INFANT_DAYS
    return Effect.NONE if effect is Effect.OPEN or grown else effect


def is_newborn(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell whether any two of the eight marks are there."""
    age = _age_in_days(message, at, zone)
    if age is not None and age > _CHILD_DAYS:
        return False
    marks = filter(None, _marks(message, facility, age))
    return len(list(islice(marks, _ENOUGH))) == _ENOUGH


def _marks(message: Message, facility: FacilityProfile, age: int | None) -> Iterator[bool]:
    """Yield the marks, the cheap ones first: two that are there end the search."""
    yield message.value("PV1", 4).upper() == "N"  # table 0007, newborn
    yield message.value("PV2", 36).upper() == "Y"
    yield age is not None and -1 <= age <= _NEWBORN_DAYS
    yield message.first("ZKL") is not None
    if age is None or age <= _INFANT_DAYS:
        yield message.value("PID", 21) not in ("", DELETE)
        yield any(is_mother(nk1) for nk1 in message.all("NK1"))
    yield _has_birth_weight(message)
    yield _has_placeholder_name(message, facility)


def _age_in_days(message: Message, at: dt.datetime, zone: dt.tzinfo) -> int | None:
    born = read_moment(message.value("PID", 7), zone)
    return (at.date() - born.date).days if born else None


def _has_birth_weight(message: Message) -> bool:
    return any(value_of(obx, 3) in BIRTH_WEIGHT_CODES for obx in message.all("OBX"))


def _has_placeholder_name(message: Message, facility: FacilityProfile) -> bool:
    pid = message.first("PID")
    if pid is None:
        return False
    name, kind = read_name(pid, 5, facility.name_order)
    return kind in TEMPORARY or is_placeholder(name)

"""What a message means for a birth: its effect by event, and whether it is about a newborn (domain A.1).

HL7 v2 has no birth event. A birth is inferred from ADT: any two of eight marks. A birth date that is a parent's
tells nothing of the patient: the birth is opened and asked for its own. One of a grown person is told to be wrong.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from adapters.hospital.ages import rough_age
from adapters.hospital.codes import YES
from adapters.hospital.documents import has_documents
from adapters.hospital.misdated import has_parents_date
from adapters.hospital.names import TEMPORARY, in_one_word, read_name
from adapters.hospital.observations import BIRTH_WEIGHT_CODES, tells_of_birth
from adapters.hospital.parents import is_mother, is_spouse
from adapters.hospital.sheet import DELETE, read_moment
from gateway.contract.naming import is_placeholder
from gateway.contract.ports import Effect
from gateway.hl7.dates import Precision
from gateway.hl7.message import Message, place_of, text_of

if TYPE_CHECKING:
    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.lexer import Segment
    from gateway.hl7.location import Location

_ADT = {
    **dict.fromkeys(("A01", "A04", "A28"), Effect.OPEN),
    **dict.fromkeys(("A08", "A31"), Effect.AMEND),
    "A03": Effect.DISCHARGE,
    "A13": Effect.UNDO_DISCHARGE,
    **dict.fromkeys(("A11", "A23", "A29"), Effect.CANCEL),
    **dict.fromkeys(("A02", "A06", "A07", "A12"), Effect.MOVE),
    **dict.fromkeys(("A18", "A34", "A35", "A36", "A40"), Effect.MERGE),
    "A47": Effect.RENUMBER,
    "A24": Effect.LINK,
    "A37": Effect.UNLINK,
}  # A05, the mother's booking, is nobody's birth yet
# These name several patients; which of them are newborns is looked at one by one.
_OF_SEVERAL = frozenset({Effect.MERGE, Effect.RENUMBER, Effect.LINK, Effect.UNLINK})
# Of these one about a person past infancy is none of a birth, unless its number is one's: then its date is a slip.
_OF_ONE = frozenset({Effect.AMEND, Effect.DISCHARGE, Effect.CANCEL})
_BRINGS_DATA = frozenset({Effect.OPEN, Effect.AMEND})
_ENOUGH = 2
_NEWBORN_DAYS = 30
_LATE_DAYS = 60  # past the term of registration an unknown child is hardly one we were not told of (domain A.1, B.7)
_DAY = Precision.DAY
# Past the first birthday a mother's id and an NK1 MTH are marks of any child; past the tenth nobody is a newborn.
_INFANT_DAYS = 366
_CHILD_DAYS = 10 * 366
_NEWBORN_WORDS = frozenset({"NEWBORN", "NB", "BBL", "BAYI", "BAYI BARU LAHIR", "NEONATUS", "NEONATE"})
# Table 0002 without single, unmarried and unknown, and what Indonesian systems write there.
_MARRIED = frozenset({*"ACDEGIKMNPRW", "KAWIN", "MENIKAH", "NIKAH", "JANDA", "DUDA", "CERAI", "MARRIED"})


def effect_of(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> Effect:
    """Return what a message means. `at` is when it was sent.

    Opening needs the marks of a newborn. An update, discharge or cancellation needs none: it may hold little more than
    a record number. But one about somebody who evidently is no baby is not about a birth.
    """
    effect = _told(message)
    if effect is Effect.NONE or effect in _OF_SEVERAL or is_newborn(message, facility, at=at, zone=zone):
        return effect
    others = message.all("PID")[1:]
    if others and message.text("MSH", 9).upper() == "ADT" and not all(is_past_infancy(pid, at, zone) for pid in others):
        return effect  # the mother's PID stands before the baby's: the structure says what is wrong (F 109)
    return Effect.NONE if effect is Effect.OPEN or _is_grown(message, facility, at, zone) else effect


def _told(message: Message) -> Effect:
    """Return the meaning of the event alone. Before 2.3 ORU and MDM had one event each, and did not name it."""
    event = (message.text("MSH", 9, 2) or message.text("EVN", 1)).upper()
    match message.text("MSH", 9).upper():
        case "ADT":
            return _ADT.get(event, Effect.NONE)
        case "ORU" if event in ("R01", "") and tells_of_birth(message):
            return Effect.OBSERVE
        case "MDM" if event == "T02" and has_documents(message):
            return Effect.ATTACH
    return Effect.NONE


def is_newborn(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell whether any two of the eight marks are there, and nothing that only grown people have."""
    age = _own_age(message, facility, at, zone)
    if (age is not None and age > _CHILD_DAYS) or (age is None and _lives_as_grown(message)):
        return False
    return _marks(message, facility, age) >= _ENOUGH


def has_wrong_date(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell whether PID-7 is a parent's birth date, and so none of the patient's."""
    pid = message.first("PID")
    age = age_in_days(pid, at, zone) if pid else None
    if pid is None or age is None or age <= _INFANT_DAYS:
        return False
    return has_parents_date(message, pid, at.date() - dt.timedelta(days=age), facility)


def is_misdated(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell whether a notice or update of somebody past infancy says outright that it is about a newborn.

    It opens nothing, since a grown patient's birth is none to register; but one of the two is wrong. Class N also
    stands for "normal", and anybody has a mother: these two alone are no contradiction.
    """
    age = _own_age(message, facility, at, zone)
    if age is None or age <= _INFANT_DAYS or _told(message) not in _BRINGS_DATA or _lives_as_grown(message):
        return False
    certain = (message.text("PV2", 36).upper() in YES) + (message.first("ZKL") is not None)
    admitted = is_admitted_as_newborn(message)
    if not certain and not admitted:
        return False
    pid = message.first("PID")
    own = certain + admitted + _has_birth_weight(message) + (pid is not None and _is_called_baby(pid, facility))
    of_any_child = (message.text("PID", 21) not in ("", DELETE)) + _has_mother(message)
    return own >= _ENOUGH or own + of_any_child >= (_ENOUGH if certain else _ENOUGH + 1)


def unsure_birth(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> Location | None:
    """Return PID-7 where a notice or update that opens nothing has one mark of a newborn, or speaks of a delivery.

    Two marks are needed (domain A.1); but what may well be a birth must not be passed over in silence.
    """
    pid = message.first("PID")
    if pid is None or _told(message) not in _BRINGS_DATA or _lives_as_grown(message):
        return None
    age = _own_age(message, facility, at, zone)
    if age is not None and age > _INFANT_DAYS:
        return place_of(pid, 7) if _speaks_of_newborn(message, pid, facility) else None
    born = read_moment(text_of(pid, 7), zone)
    exact = born is not None and born.precision >= _DAY
    if age is not None and age > _NEWBORN_DAYS and exact:
        return None
    return place_of(pid, 7) if _marks(message, facility, age) or _tells_of_delivery(message) else None


def _speaks_of_newborn(message: Message, pid: Segment, facility: FacilityProfile) -> bool:
    """Tell whether a message about a grown patient has what hardly any grown patient has."""
    if message.text("PV2", 36).upper() in YES or message.first("ZKL") is not None:
        return True
    return tells_of_birth(message) and (is_admitted_as_newborn(message) or _is_called_baby(pid, facility))


def _tells_of_delivery(message: Message) -> bool:
    """Tell whether a message has what is measured at a birth, or the place among several: no mark, but a hint."""
    order = message.text("PID", 25)
    return (
        message.text("PID", 24).upper() in YES or (order.isdecimal() and int(order[:2]) > 0) or tells_of_birth(message)
    )


def unlinked_birth(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell whether an update is about a newborn that we should know of: two marks, and not long past the term."""
    if not is_newborn(message, facility, at=at, zone=zone):
        return False
    age = _own_age(message, facility, at, zone)
    return age is None or age <= _LATE_DAYS


def may_be_meant_for_one(message: Message, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell whether a message about somebody past infancy is meant for a newborn, if a birth is open under its number.

    A cancellation always: it may hold nothing but the number. Else one mark of a newborn must be there.
    """
    effect = _told(message)
    age = _own_age(message, facility, at, zone)
    if effect not in _OF_ONE or age is None or age <= _INFANT_DAYS or _lives_as_grown(message):
        return False
    return effect is Effect.CANCEL or _marks(message, facility, None) > 0


def _marks(message: Message, facility: FacilityProfile, age: int | None) -> int:
    """Count the marks. The cheap ones first: two that are there end the search."""
    marks = is_admitted_as_newborn(message) + (message.text("PV2", 36).upper() in YES)
    marks += age is not None and age <= _NEWBORN_DAYS  # a date ahead too: the rules say that it is (F 70)
    marks += message.first("ZKL") is not None
    if marks < _ENOUGH and (age is None or age <= _INFANT_DAYS):
        marks += message.text("PID", 21) not in ("", DELETE)
        marks += _has_mother(message)
    if marks < _ENOUGH:
        marks += _has_birth_weight(message)
    if marks < _ENOUGH:
        pid = message.first("PID")
        marks += pid is not None and _is_called_baby(pid, facility)
    return marks


def is_baby(pid: Segment, facility: FacilityProfile, *, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell by the PID alone whether one of several patients is a baby: young, or of unknown age and named as one."""
    age = age_in_days(pid, at, zone)
    if age is not None:
        return age <= _INFANT_DAYS
    return _is_called_baby(pid, facility) or text_of(pid, 21) not in ("", DELETE)


def age_in_days(pid: Segment, at: dt.datetime, zone: dt.tzinfo) -> int | None:
    """Return a patient's age when the message was sent, None where PID-7 does not tell, in no spelling.

    A date ahead is a negative age; one more than a year ahead says nothing.
    """
    text = text_of(pid, 7)
    if not text:
        return None
    born = read_moment(text, zone)
    age = (at.date() - born.date).days if born and born.precision >= _DAY else rough_age(text, at.date())
    return age if age is not None and age >= -_INFANT_DAYS else None


def is_past_infancy(pid: Segment, at: dt.datetime, zone: dt.tzinfo) -> bool:
    """Tell whether a patient is known to be older than a year."""
    age = age_in_days(pid, at, zone)
    return age is not None and age > _INFANT_DAYS


def _is_grown(message: Message, facility: FacilityProfile, at: dt.datetime, zone: dt.tzinfo) -> bool:
    age = _own_age(message, facility, at, zone)
    return _lives_as_grown(message) if age is None else age > _INFANT_DAYS


def _lives_as_grown(message: Message) -> bool:
    """Tell, without a birth date, whether the patient is married: a mother's own admission, with her baby's results.

    What calls the patient a newborn outright counts more: some systems copy the mother's PID-16.
    """
    if is_admitted_as_newborn(message) or message.text("PV2", 36).upper() in YES:
        return False
    return message.text("PID", 16).upper() in _MARRIED or any(is_spouse(nk1) for nk1 in message.all("NK1"))


def _has_mother(message: Message) -> bool:
    for nk1 in message.all("NK1"):  # noqa: SIM110 - a loop is cheaper than a generator, for so few
        if is_mother(nk1):
            return True
    return False


def _has_birth_weight(message: Message) -> bool:
    for obx in message.all("OBX"):
        if text_of(obx, 3) in BIRTH_WEIGHT_CODES or text_of(obx, 3, 4) in BIRTH_WEIGHT_CODES:
            return True
    return False


def is_admitted_as_newborn(message: Message) -> bool:
    """Tell it by PV1-4 N of table 0007, or the word; or the word in PV1-2, where N only means "not applicable"."""
    kind = message.text("PV1", 4).upper()
    return kind == "N" or kind in _NEWBORN_WORDS or message.text("PV1", 2).upper() in _NEWBORN_WORDS


def _own_age(message: Message, facility: FacilityProfile, at: dt.datetime, zone: dt.tzinfo) -> int | None:
    """Return the patient's age, None also where the date is a parent's."""
    if has_wrong_date(message, facility, at=at, zone=zone):
        return None
    pid = message.first("PID")
    return age_in_days(pid, at, zone) if pid else None


def _is_called_baby(pid: Segment, facility: FacilityProfile) -> bool:
    """Tell whether PID-5 is a placeholder, also with family and given name swapped (domain A.4)."""
    name, kind, _ = read_name(pid, 5, facility.name_order)
    if kind in TEMPORARY or is_placeholder(name):
        return True
    return not in_one_word(pid, 5) and is_placeholder(read_name(pid, 5, "family_given")[0])

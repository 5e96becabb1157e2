"""A birth date that stands in PID-7 and is a parent's: typed from the wrong card, or copied by the form.

No child is born on its mother's or father's birth date, so such a date tells nothing of the patient's age.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from adapters.hospital.names import read_name
from adapters.hospital.parents import WELL_FORMED_NIK, Relative, clean_nik, identifiers, is_father, is_mother
from adapters.hospital.sheet import read_moment
from gateway.contract.naming import normalise_name
from gateway.hl7.message import Message, text_of

if TYPE_CHECKING:
    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.lexer import Segment

_BORN = slice(6, 12)  # of a NIK: DDMMYY, a woman's day 40 higher (domain B.1)
_WOMEN = 40


def has_parents_date(message: Message, pid: Segment, day: dt.date, facility: FacilityProfile) -> bool:
    """Tell whether a patient's birth date is the mother's or father's, by NK1-16 or by the NIK of either.

    Not where the parent has the patient's own name: some systems write a grown patient into NK1 as well.
    """
    of_woman, of_man = (f"{day.day + more:02}{day:%m%y}" for more in (_WOMEN, 0))
    own = {clean_nik(number) for number, _ in identifiers(pid, 3).values()} | {clean_nik(text_of(pid, 19))}
    for number, _ in identifiers(pid, 21).values():  # the mother's
        if _tells(number, of_woman) and clean_nik(number) not in own:
            return True
    for nk1 in message.all("NK1"):
        mother = is_mother(nk1)
        if (mother or is_father(nk1)) and not _is_patient(nk1, pid, facility):
            born = read_moment(text_of(nk1, 16), dt.UTC)
            if (born is not None and born.date == day) or _tells(Relative(nk1).nik, of_woman if mother else of_man):
                return True
    return False


def _tells(number: str, born: str) -> bool:
    digits = clean_nik(number)
    return WELL_FORMED_NIK.fullmatch(digits) is not None and digits[_BORN] == born


def _is_patient(nk1: Segment, pid: Segment, facility: FacilityProfile) -> bool:
    one, other = (normalise_name(read_name(s, f, facility.name_order)[0]) for s, f in ((nk1, 2), (pid, 5)))
    return one == other != ""

"""Which texts the plain data types take (HL7 v2.5 chapter 2.A); what a composite one holds, is in hl7.reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.hl7.dates import is_moment, is_time

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_SEQUENCE = re.compile(r"\d{1,4}", re.ASCII)

PLAIN = frozenset({"ST", "ID", "IS", "NM", "SI", "DT", "DTM", "TM", "TX", "FT", "TN"})  # no components
MOMENTS = ("TS", "DTM", "DT", "TM")


def is_number(text: str) -> bool:
    """Tell whether this is an HL7 number (NM): digits with at most one point, a sign before them."""
    return _NUMBER.fullmatch(text) is not None


def is_sequence(text: str) -> bool:
    """Tell whether this is an HL7 sequence ID (SI): one to four digits."""
    return _SEQUENCE.fullmatch(text) is not None


# By data type. DT takes a whole moment too: a time beside the date hurts nobody (2.1 has PID-7 as DT).
VALID: dict[str, Callable[[str], bool]] = {
    "TS": is_moment,
    "DTM": is_moment,
    "DT": is_moment,
    "TM": is_time,
    "NM": is_number,
    "SI": is_sequence,
}

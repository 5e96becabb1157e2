"""A kept message read again: the draft it is mapped to, as it was at the door.

Drafts are not stored. The raw bytes are, and a draft follows from them; a message that an older gateway could not place
is understood as soon as the code that can is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.hl7.charset import decode
from gateway.hl7.location import Location
from gateway.hl7.message import parse_message
from gateway.hl7.told import decode_told

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.facility import FacilityProfile
    from gateway.contract.ports import Draft, HospitalAdapter
    from gateway.contract.record import BirthRecord
    from gateway.hl7.charset import Decoded


def read_again(
    raw: bytes,
    *,
    charset: str,
    facility: FacilityProfile,
    hospital: HospitalAdapter,
    received_at: dt.datetime,
    segment_limit: int,
) -> Draft:
    """Return the draft of a kept message. `charset` is what the transport said of its bytes, "" where it said nothing.

    Raises Hl7SyntaxError for what could not be read at the door either.
    """
    decoded = decoded_for(facility, raw, decode_told(raw, charset) if charset else decode(raw))
    message = parse_message(decoded.text.replace("\0", ""), limit=segment_limit)
    return hospital.draft(message, facility, now=received_at)


def decoded_for(facility: FacilityProfile, raw: bytes, decoded: Decoded) -> Decoded:
    """Return the text by the facility's habit, where neither the bytes nor MSH-18 tell the character set."""
    if decoded.doubtful and facility.charset != "cp1252":
        return decode(raw, fallback=facility.charset)
    return decoded


def places(record: BirthRecord | None) -> dict[str, Location]:
    """Return where each field of a record came from."""
    return {path: Location.parse(place) for path, place in record.provenance.items()} if record else {}

"""Is the sender who it says it is? MSH-4 names a configured facility; connection and application must fit it.

Absence is refusal: a facility that is not configured may not send. A certificate or address that belongs to another
hospital may not either (domain A.10, F 104).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config import peer_allowed
from gateway.contract.connection import TlsNames
from gateway.contract.finding import Finding
from gateway.hl7.location import Location

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.header import Header

_MSH_3 = Location("MSH", 1, 3)
_MSH_4 = Location("MSH", 1, 4)


def check_sender(
    header: Header, facility: FacilityProfile | None, *, peer: str, certificate_names: AbstractSet[str]
) -> list[Finding]:
    """Return why this sender may not send, [] where it may.

    On TLS (`certificate_names` are TlsNames) a facility that is bound to nothing may not: whoever has a certificate of
    another could say its name.
    """
    if facility is None:
        return [Finding("FACILITY_UNKNOWN", _MSH_4)]
    if facility.applications and header.application_code not in facility.applications:
        return [Finding("APPLICATION_NOT_ALLOWED", _MSH_3)]
    if facility.certificates and not certificate_names & set(facility.certificates):
        return [Finding("FACILITY_NOT_ALLOWED", _MSH_4)]
    if isinstance(certificate_names, TlsNames) and not facility.bound:
        return [Finding("FACILITY_NOT_ALLOWED", _MSH_4)]
    if not peer_allowed(facility, peer):
        return [Finding("FACILITY_NOT_ALLOWED", _MSH_4)]
    return []

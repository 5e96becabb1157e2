"""Which office issues, and how a record gets there (domain B.4, F 60, F 61). Pure.

By the family's registered address: family card, else village of residence; without either, by the place of birth. The
gateway's own office (`registry.office`) takes families registered elsewhere too where `registry.out_of_domicile` says
so. A record leaves the house one way only: what was submitted is never laid out for a lease, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.verify.nik import LENGTH, clean_nik

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.contract.record import BirthRecord

Way = Literal["push", "lease", "handover"]
_OFFICE = 4  # digits of a kabupaten or kota


@dataclass(frozen=True, slots=True)
class Route:
    """An office, the way to it, and what it was found by: for event rows and the officer."""

    office: str
    way: Way
    reason: str


def route(record: BirthRecord, config: Config) -> Route:
    """Return where a record goes."""
    home, reason = _home(record)
    own = config.registry.office
    if home != own and config.registry.out_of_domicile:
        return Route(own, config.registry.way, f"OUT_OF_DOMICILE ({home} by {reason})")
    if home == own:
        return Route(own, config.registry.way, reason)
    listed = {office.code: office.way for office in config.office}
    return Route(home, listed.get(home, "handover"), reason)


def office_name(office: str, config: Config) -> str:
    """Return what an office is called."""
    names = {o.code: o.name for o in config.office}
    return names.get(office) or f"Disdukcapil {office}"


def _home(record: BirthRecord) -> tuple[str, str]:
    """Return the office of the family's domicile, and what says so. A NIK's prefix is no address (domain 0.10)."""
    mother = record.mother
    for card in (mother.family_card if mother else None, record.family_card):
        number = clean_nik(card.reveal()) if card else ""
        if len(number) == LENGTH and number.isascii() and number.isdigit():
            return number[:_OFFICE], "FAMILY_CARD"
    if record.residence and record.residence.village:
        return record.residence.village[:_OFFICE], "RESIDENCE"
    if record.child.place_region:
        return record.child.place_region[:_OFFICE], "PLACE_OF_BIRTH"
    return record.facility.region[:_OFFICE], "FACILITY"

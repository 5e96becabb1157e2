"""Facilities of the samples, and the samples themselves, for tests of every layer."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.facility import FacilityProfile
from gateway.hl7.charset import decode
from gateway.hl7.message import Message, parse_message

if TYPE_CHECKING:
    from gateway.contract.ports import Draft

SAMPLES = Path(__file__).parent.parent / "vectors" / "samples"
MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text(encoding="utf-8"))
CLOCK = dt.datetime.fromisoformat(MANIFEST["clock"])
HOSPITAL = "RSU CEMPAKA CONTOH"
CLINIC = "PUSKESMAS MELATI CONTOH"


def facility(code: str = HOSPITAL, **changes: Any) -> FacilityProfile:
    """Return a facility of Banyuwangi."""
    return FacilityProfile(**{"code": code, "region": "3510", **changes})


def sample(name: str) -> bytes:
    """Return the bytes of the sample whose file name begins so."""
    found = sorted(SAMPLES.glob(f"{name}*.hl7"))
    assert len(found) == 1, name
    return found[0].read_bytes()


def message_of(raw: bytes) -> Message:
    """Lex a message's bytes."""
    return parse_message(decode(raw).text)


def draft_of(raw: bytes, profile: FacilityProfile | None = None, *, now: dt.datetime = CLOCK) -> Draft:
    """Map a message's bytes by the baseline adapter."""
    message = message_of(raw)
    return BaselineHospital().draft(message, profile or facility(message.value("MSH", 4)), now=now)

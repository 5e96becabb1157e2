"""A kept message is read again as it was read at the door; nothing on the way prints a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import Draft, Effect
from gateway.pipeline.draft import places, read_again
from tests.simulators.facilities import CLOCK, SAMPLES, draft_of, facility, message_of, sample
from tests.simulators.records import FATHER_NIK, MOTHER_NIK, birth_record

if TYPE_CHECKING:
    from gateway.contract.facility import FacilityProfile

NAMES = sorted(path.stem for path in SAMPLES.glob("*.hl7"))
PEOPLE = ("AHMAD", "SITI AMINAH", "BUDI SANTOSO", "SLAMET", MOTHER_NIK, FATHER_NIK)


def again(raw: bytes, *, charset: str = "", profile: FacilityProfile | None = None) -> Draft:
    return read_again(
        raw,
        charset=charset,
        facility=profile or facility(message_of(raw).value("MSH", 4)),
        hospital=BaselineHospital(),
        received_at=CLOCK,
        segment_limit=2000,
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_read_again_as_it_was(name: str) -> None:
    raw = (SAMPLES / f"{name}.hl7").read_bytes()
    assert again(raw) == draft_of(raw)
    assert again(raw).record == draft_of(raw).record


@pytest.mark.parametrize("name", NAMES)
def test_the_record_knows_the_places_of_its_draft(name: str) -> None:
    draft = draft_of((SAMPLES / f"{name}.hl7").read_bytes())
    if draft.record is not None:
        assert places(draft.record) == draft.places


def test_what_the_transport_said_of_the_bytes_counts_again() -> None:
    raw = sample("01").replace(b"UNICODE UTF-8", b"").replace(b"PRATAMA", "ANDR\u00c9".encode("cp1252"))
    draft = again(raw, charset="iso-8859-1")
    assert draft.values is not None
    assert "ANDR\u00c9" in draft.values["child.name"]


def test_a_draft_of_a_record_says_all_that_the_record_says() -> None:
    record = birth_record()
    back = Draft.of_record(Effect.OPEN, record, places(record)).record
    assert back is not None
    assert back.mother is not None
    assert isinstance(back.mother.nik, Nik)
    assert isinstance(back.child.name, Personal)
    assert back.child == record.child
    assert (back.mother, back.father, back.marriage) == (record.mother, record.father, record.marriage)


def test_a_draft_and_its_record_print_no_person() -> None:
    draft = draft_of(sample("01"))
    for printed in (repr(draft), str(draft), f"{draft.record}", f"{draft!r}", repr(draft.record)):
        assert not [person for person in PEOPLE if person in printed]

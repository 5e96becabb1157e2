"""A draft survives its storage whole; nothing on the way prints a person."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from gateway.contract.finding import Finding
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import Draft, Effect
from gateway.hl7.location import Location
from gateway.pipeline.draft import dump, load, places
from tests.simulators.facilities import SAMPLES, draft_of
from tests.simulators.records import FATHER_NIK, MOTHER_NIK, birth_record

NAMES = sorted(path.stem for path in SAMPLES.glob("*.hl7"))
PEOPLE = ("AHMAD", "SITI AMINAH", "BUDI SANTOSO", "SLAMET", MOTHER_NIK, FATHER_NIK)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_read_back_as_it_was(name: str) -> None:
    draft = draft_of((SAMPLES / f"{name}.hl7").read_bytes())
    back = load(json.loads(dump(draft)))
    assert back.record == draft.record
    assert (back.effect, back.medical_record) == (draft.effect, draft.medical_record)
    assert (back.cleared, back.findings, back.sent_at) == (draft.cleared, draft.findings, draft.sent_at)
    if draft.record is not None:
        assert back.places == places(draft.record)
        assert back.places.items() <= draft.places.items()


def test_personal_values_survive_as_what_they_are() -> None:
    draft = Draft(Effect.OPEN, "00450121", birth_record())
    back = load(json.loads(dump(draft)))
    assert back.record is not None
    assert back.record.mother is not None
    assert isinstance(back.record.mother.nik, Nik)
    assert isinstance(back.record.child.name, Personal)
    assert back.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"
    assert back.record.mother.nik.reveal() == MOTHER_NIK


def test_a_draft_and_its_record_print_no_person() -> None:
    draft = load(json.loads(dump(Draft(Effect.OPEN, "00450121", birth_record()))))
    for printed in (repr(draft), str(draft), f"{draft.record}", f"{draft!r}", repr(draft.record)):
        assert not [person for person in PEOPLE if person in printed]


def test_everything_beside_the_record_survives() -> None:
    findings = (
        Finding("NAME_PLACEHOLDER", Location("PID", 1, 5, 1, 1), {"count": "3", "é": '"\\'}),
        Finding("FORM_INCOMPLETE", None, {}, "I"),
        Finding("MOTHER_AMBIGUOUS", Location("NK1", 2)),
    )
    for sent_at in (None, dt.datetime.fromisoformat("2025-03-11T09:30:00.123456+07:00")):
        draft = Draft(
            Effect.AMEND,
            'a"b\\c é',
            None,
            cleared=frozenset({"child.name", "mother"}),
            findings=findings,
            sent_at=sent_at,
        )
        assert load(json.loads(dump(draft))) == draft


def test_a_draft_that_an_older_gateway_kept_is_read() -> None:
    stored = json.loads(dump(Draft(Effect.OPEN, "1", None, findings=(Finding("NAME_PLACEHOLDER"),))))
    del stored["findings"][0]["severity"]
    assert load(stored).findings == (Finding("NAME_PLACEHOLDER"),)


def test_no_record_has_no_places() -> None:
    assert places(None) == {}

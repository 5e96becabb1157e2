"""Revisions: what a draft changes in a birth (domain F 17-21)."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from gateway.contract.ports import Draft, Effect
from gateway.contract.record import (
    BirthRecord,
    Child,
    Event,
    Facility,
    Marriage,
    Parent,
    Participant,
    PluralityKind,
    Variant,
)
from gateway.contract.revision import LEGAL_PATHS, apply_draft, changed_paths, legal_changes, may_open, propose_variant
from gateway.hl7.location import Location
from tests.simulators.facilities import draft_of, sample

FACILITY = Facility(code="RS", name="RS", region="3510")


def first() -> BirthRecord:
    return apply_draft(None, draft_of(sample("01")))


def with_line(name: str, segment: str, line: str) -> bytes:
    """Return a sample with one of its segments replaced."""
    lines = sample(name).decode("latin-1").split("\r")
    return "\r".join(line if x.startswith(segment + "|") else x for x in lines).encode("latin-1")


def bare(**child: object) -> BirthRecord:
    return BirthRecord(facility=FACILITY, child=Child.model_validate({"medical_record": "1", **child}))


def test_the_first_draft_is_the_record() -> None:
    assert first() == draft_of(sample("01")).record


def test_sample_07_corrects_sample_01() -> None:
    before = first()
    after = apply_draft(before, draft_of(sample("07")))
    changes = changed_paths(before, after)
    assert changes == ("child.name", "child.name_as_sent", "child.weight_g")
    assert legal_changes(changes) == ("child.name",)
    assert after.child.name == "AHMAD RIZQI PRATAMA"
    assert after.witnesses == before.witnesses  # the A08 has no ZKL: what is empty stays
    assert after.marriage == before.marriage
    assert after.variant is Variant.FATHER_AND_MOTHER
    assert after.provenance["child.weight_g"] == "OBX^1^5^1^1"
    assert after.provenance["witnesses.1.nik"] == "ZKL^1^12^1^1"


def told(record: BirthRecord, **more: Any) -> Draft:
    """Return an update that says what a record says."""
    places = {path: Location.parse(place) for path, place in record.provenance.items()}
    return replace(Draft.of_record(Effect.AMEND, record, places), **more)


def test_the_same_again_changes_nothing() -> None:
    before = first()
    assert apply_draft(before, draft_of(sample("01"))) == before
    assert changed_paths(before, apply_draft(before, draft_of(sample("01")))) == ()


def test_two_quotes_delete_and_leave_no_provenance() -> None:
    draft = draft_of(with_line("01", "ZKL", 'ZKL|1|||||||""|""|""|3510161508709001^SLAMET RIYADI|""|'))
    after = apply_draft(first(), draft)
    assert after.marriage is None
    assert after.reporter is None
    assert len(after.witnesses) == 1
    assert after.facility.letter_number is None
    assert not [p for p in after.provenance if p.startswith(("marriage", "reporter", "witnesses.1"))]
    assert after.variant_reasons == ("FATHER_NAMED", "MARRIAGE_PROOF_PENDING")


def test_a_record_number_is_never_deleted() -> None:
    draft = told(bare(), cleared=frozenset({"child"}))
    assert apply_draft(first(), draft).child.medical_record == "1"


def test_another_proof_replaces_the_proof_whole() -> None:
    draft = draft_of(with_line("01", "ZKL", "ZKL|1||||||||99/2020^^KUA GENTENG"))
    after = apply_draft(first(), draft)
    assert after.marriage == Marriage(status="TERCATAT", number="99/2020", issuer="KUA GENTENG")
    assert "marriage.date" not in after.provenance


def test_another_witness_is_another_person() -> None:
    draft = draft_of(with_line("01", "ZKL", "ZKL|1||||||||||3510160101809003|^BUDI HARTONO"))
    after = apply_draft(first(), draft)
    assert after.witnesses[0] == Participant(nik="3510160101809003")
    # the same person's name, said anew
    assert after.witnesses[1] == Participant(nik="3510165811759001", name="BUDI HARTONO")


def test_a_second_witness_alone_keeps_the_gap() -> None:
    draft = draft_of(with_line("01", "ZKL", "ZKL|1|||||||||||3510165811759001^ENDANG SULASTRI"))
    assert draft.record
    assert draft.record.witnesses[0] == Participant()
    assert apply_draft(None, draft).witnesses[1].name == "ENDANG SULASTRI"
    assert len(apply_draft(first(), draft).witnesses) == 2


def test_an_update_that_does_not_say_so_revives_nobody() -> None:
    still = apply_draft(None, draft_of(sample("12")))
    silent = told(bare(weight_g=2000))
    assert apply_draft(still, silent).event is Event.STILLBIRTH
    assert silent.record is not None
    alive = silent.record.model_copy(update={"provenance": {"event": "OBX^1^5"}})
    assert apply_draft(still, told(alive)).event is Event.LIVE_BIRTH
    assert apply_draft(first(), draft_of(sample("12"))).event is Event.STILLBIRTH


def test_what_a_message_only_implies_yields_to_what_is_known() -> None:
    triplets = sample("02").replace(b"57722-1^Birth plurality of Pregnancy^LN||2|", b"57722-1^x^LN||3|")
    elsewhere = triplets.replace(b"||BANYUWANGI|Y|1", b"||DENPASAR|Y|1")
    before = apply_draft(None, draft_of(elsewhere))
    assert (before.child.plurality, before.child.place_region) == (PluralityKind.TRIPLET, "5171")
    brief = elsewhere.replace(b"57722-1", b"00000-0").replace(b"||DENPASAR|Y|1", b"|||Y|1")
    assert changed_paths(before, apply_draft(before, draft_of(brief))) == ()
    alone = apply_draft(None, draft_of(brief))
    assert (alone.child.plurality, alone.child.place_region) == (PluralityKind.TWIN, "3510")


def test_a_draft_without_a_record() -> None:
    empty = Draft(Effect.CANCEL, "1", None)
    assert apply_draft(first(), empty) == first()
    with pytest.raises(ValueError, match="neither"):
        apply_draft(None, empty)


def test_a_parent_whose_last_value_goes_is_gone() -> None:
    before = bare().model_copy(update={"father": Parent(name="BUDI"), "variant": Variant.FATHER_AND_MOTHER})
    after = apply_draft(before, told(bare(), cleared=frozenset({"father.name"})))
    assert after.father is None
    assert after.variant is Variant.MOTHER_ONLY


@pytest.mark.parametrize(
    ("father", "status", "expected"),
    [
        (None, None, Variant.MOTHER_ONLY),
        (None, "TERCATAT", Variant.MOTHER_ONLY),
        ("BUDI", None, Variant.FATHER_AND_MOTHER),
        ("BUDI", "TERCATAT", Variant.FATHER_AND_MOTHER),
        ("BUDI", "SPTJM", Variant.FATHER_AND_MOTHER_PHRASE),
        ("BUDI", "TIDAK", Variant.MOTHER_ONLY),
    ],
)
def test_the_proposed_variant(father: str | None, status: str | None, expected: Variant) -> None:
    record = bare().model_copy(
        update={
            "mother": Parent(name="SITI"),
            "father": Parent(name=father) if father else None,
            "marriage": Marriage.model_validate({"status": status}) if status else None,
        }
    )
    variant, reasons = propose_variant(record)
    assert variant is expected
    assert reasons


def test_a_foundling_stays_one_until_a_parent_is_known() -> None:
    found = bare().model_copy(update={"variant": Variant.NO_PARENTS})
    kept = apply_draft(found, told(bare(weight_g=3000)))
    assert kept.variant is Variant.NO_PARENTS
    mother = bare().model_copy(update={"mother": Parent(name="SITI")})
    assert apply_draft(kept, told(mother)).variant is Variant.MOTHER_ONLY


def test_legal_paths_are_paths_of_the_record() -> None:
    every = changed_paths(None, first())
    assert {"child.name", "child.born_on", "child.sex", "mother.nik", "father.name"} <= set(legal_changes(every))
    assert {"child.weight_g", "residence.street", "family_card", "child.visit"} & LEGAL_PATHS == set()


def test_paths_hold_no_values() -> None:
    assert not [p for p in changed_paths(None, first()) if any(c.isupper() for c in p) or "3510" in p]


def test_what_an_update_must_know_to_open_a_birth() -> None:
    assert may_open(draft_of(sample("07")))
    assert not may_open(told(bare(weight_g=3000)))
    sent = dt.datetime(2025, 3, 12, tzinfo=dt.UTC)
    born = bare(born_on="2025-03-11", weight_g=3000)
    assert may_open(told(born, sent_at=sent))
    assert not may_open(replace(told(born, sent_at=sent), medical_record=""))
    assert not may_open(told(bare(born_on="2024-03-11", weight_g=3000), sent_at=sent))
    assert not may_open(Draft(Effect.CANCEL, "1", None))

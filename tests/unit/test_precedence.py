"""Whose word counts: a weaker source never replaces a stronger one's, in whatever order they speak."""

from __future__ import annotations

import itertools

import pytest

from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import Draft, Effect
from gateway.contract.precedence import Source, keep_stronger, outranks, source_of
from gateway.contract.record import BirthRecord, Sex
from gateway.contract.revision import apply_draft, leaves_of
from gateway.hl7.location import Location
from tests.simulators.records import birth_record

PLACES = {
    Source.REGISTER: Location("registry", 0),
    Source.HL7: Location("PID", 1, 5),
    Source.FORM: Location("form", 0),
    Source.OFFICER: Location("officer", 0),
}


def say(record: BirthRecord, by: Source, **values: object) -> tuple[BirthRecord, tuple[str, ...]]:
    """Let a source say values of a record, by path with __ for dots."""
    told = {path.replace("__", "."): value for path, value in values.items()}
    base = {p: v for p, v in leaves_of(record).items() if p.startswith("facility.") or p == "child.medical_record"}
    draft = Draft(Effect.AMEND, "00450121", base | told, dict.fromkeys(told, PLACES[by]))
    return keep_stronger(record, apply_draft(record, draft), by=by)


def test_the_words_of_the_provenance_are_the_sources() -> None:
    assert source_of("form") is Source.FORM
    assert source_of("officer") is Source.OFFICER
    assert source_of("registry") is Source.REGISTER
    assert source_of("PID^1^5") is Source.HL7
    assert source_of(None) is Source.HL7
    assert str(PLACES[Source.FORM]) == "form"


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("child.name", (Source.REGISTER, Source.HL7, Source.FORM, Source.OFFICER)),
        ("child.name_as_sent", (Source.REGISTER, Source.HL7, Source.FORM, Source.OFFICER)),
        ("mother.nik", (Source.REGISTER, Source.HL7, Source.FORM, Source.OFFICER)),
        ("witnesses.0.nik", (Source.REGISTER, Source.HL7, Source.FORM, Source.OFFICER)),
        ("family_card", (Source.REGISTER, Source.HL7, Source.FORM, Source.OFFICER)),
        ("child.born_at", (Source.REGISTER, Source.FORM, Source.HL7, Source.OFFICER)),
        ("child.sex", (Source.REGISTER, Source.FORM, Source.HL7, Source.OFFICER)),
        ("child.weight_g", (Source.REGISTER, Source.FORM, Source.HL7, Source.OFFICER)),
    ],
)
def test_the_family_knows_its_facts_the_hospital_its_own_and_the_officer_decides(
    path: str, order: tuple[Source, ...]
) -> None:
    for weaker, stronger in itertools.combinations(order, 2):
        assert outranks(path, stronger, weaker)
        assert not outranks(path, weaker, stronger)


@pytest.mark.parametrize("order", list(itertools.permutations(Source)))
def test_the_sources_in_any_order_end_in_the_same_record(order: tuple[Source, ...]) -> None:
    record = birth_record(provenance={"child.name": "PID^1^5"})
    for source in order:
        word = source.name
        record, _ = say(
            record,
            source,
            child__name=Personal(f"NAMA {word}"),
            child__name_as_sent=Personal(word),
            child__sex=Sex.FEMALE if source is Source.OFFICER else Sex.MALE,
            mother__nik=Nik(f"35101652039590{len(word):02}"),
        )
    assert record.child.name == Personal("NAMA OFFICER")
    assert record.child.name_as_sent == Personal("OFFICER")
    assert record.child.sex is Sex.FEMALE
    assert record.mother is not None
    assert record.mother.nik == Nik("3510165203959007")
    assert {source_of(record.provenance[p]) for p in ("child.name", "child.sex", "mother.nik")} == {Source.OFFICER}


def test_of_one_source_the_newer_word_counts() -> None:
    record, _ = say(birth_record(), Source.FORM, child__name=Personal("SATU DUA"))
    record, stayed = say(record, Source.FORM, child__name=Personal("DUA TIGA"))
    assert (record.child.name, stayed) == (Personal("DUA TIGA"), ())


def test_a_whole_thing_is_never_put_together_from_two_sources() -> None:
    record, _ = say(birth_record(), Source.FORM, marriage__status="SPTJM")
    assert record.marriage is not None
    assert record.marriage.number is None
    record, stayed = say(record, Source.HL7, marriage__status="TERCATAT", marriage__number=Personal("1/2019"))
    assert record.marriage is not None
    assert (record.marriage.status, record.marriage.number, stayed) == ("SPTJM", None, ("marriage",))


def test_what_stays_is_named_and_the_rest_is_taken() -> None:
    record, _ = say(birth_record(), Source.FORM, child__name=Personal("SATU DUA"))
    record, stayed = say(record, Source.HL7, child__name=Personal("LAIN LAGI"), child__weight_g=3500)
    assert (record.child.name, record.child.weight_g, stayed) == (Personal("SATU DUA"), 3500, ("child.name",))
    assert record.provenance["child.name"] == "form"


def test_of_two_records_that_become_one_the_stronger_word_of_each_counts() -> None:
    one, _ = say(birth_record(), Source.FORM, child__name=Personal("DARI FORMULIR"))
    other = birth_record(provenance={"child.name": "PID^1^5", "child.weight_g": "OBX^1^5"})
    merged = other.model_copy(update={"child": other.child.model_copy(update={"weight_g": 3000})})
    record, stayed = keep_stronger(one, merged)
    assert (record.child.name, record.child.weight_g, stayed) == (Personal("DARI FORMULIR"), 3000, ("child.name",))
    by_officer, _ = say(merged, Source.OFFICER, child__name=Personal("DARI PETUGAS"))
    assert keep_stronger(one, by_officer)[0].child.name == Personal("DARI PETUGAS")


def test_a_record_of_one_source_is_returned_as_it_is() -> None:
    before = birth_record()
    after = birth_record(family_card=Personal("3510161405189009"))
    assert keep_stronger(before, after, by=Source.HL7) == (after, ())


def test_a_form_fills_what_the_hospital_left_open_and_changes_nothing_it_said() -> None:
    record = birth_record(provenance={"child.sex": "PID^1^8"})
    bare = record.model_copy(update={"child": record.child.model_copy(update={"born_at": None, "utc_offset": None})})
    told, stayed = say(bare, Source.FORM, child__born_at="04:15", child__utc_offset="+07:00", child__sex=Sex.FEMALE)
    assert (told.child.born_at, told.child.sex, stayed) == ("04:15", Sex.MALE, ("child.sex",))

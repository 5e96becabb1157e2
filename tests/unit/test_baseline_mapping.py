"""The baseline adapter: what a message says about a birth, in the samples and in what hospitals make of them."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hospital.baseline import BaselineHospital
from adapters.hospital.places import region_of
from gateway.contract.lifecycle import State
from gateway.contract.ports import AnswerKind, Draft, Effect
from gateway.contract.record import Attendant, BirthRecord, Event, PlaceKind, PluralityKind, Variant
from gateway.errors import Hl7SyntaxError
from tests.simulators.facilities import CLOCK, SAMPLES, draft_of, facility, message_of, sample

if TYPE_CHECKING:
    from gateway.contract.facility import FacilityProfile, NameOrder

NAMES = sorted(path.name for path in SAMPLES.glob("*.hl7"))


def changed(name: str, *pairs: tuple[str, str]) -> bytes:
    """Return a sample with texts replaced; each must be there."""
    text = sample(name).decode("latin-1")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode("latin-1")


def record_of(raw: bytes, profile: FacilityProfile | None = None) -> BirthRecord:
    record = draft_of(raw, profile).record
    assert record is not None
    return record


def shown(record: BirthRecord, path: str) -> object:
    value: object = record
    for name in path.split("."):
        value = value[int(name)] if isinstance(value, tuple) else getattr(value, name)
    return value


def with_field(raw: bytes, segment: str, field: int, value: str) -> bytes:
    """Return a message with one field of the first such segment set."""
    lines = raw.decode("latin-1").split("\r")
    for index, line in enumerate(lines):
        parts = line.split("|")
        if parts[0] == segment:
            parts += [""] * (field + 1 - len(parts))
            parts[field - (segment == "MSH")] = value
            lines[index] = "|".join(parts)
            break
    return "\r".join(lines).encode("latin-1")


EFFECTS = {"07": Effect.AMEND, "08": Effect.CANCEL}


@pytest.mark.parametrize("name", NAMES)
def test_effects_of_the_samples(name: str) -> None:
    draft = draft_of(sample(name[:2]))
    assert draft.effect is EFFECTS.get(name[:2], Effect.OPEN)
    assert draft.findings == ()
    assert draft.medical_record
    assert draft.sent_at
    assert draft.sent_at.utcoffset() == dt.timedelta(hours=7)


def test_when_a_message_was_sent_is_msh_7_else_evn_2_else_pid_33() -> None:
    raw = with_field(sample("07"), "PID", 33, "20250312070809+0700")
    times = [draft_of(raw).sent_at]
    for segment, field in (("MSH", 7), ("EVN", 2), ("PID", 33)):
        raw = with_field(raw, segment, field, "")
        times.append(draft_of(raw).sent_at)
    assert times[0] is not None
    assert times[2] == dt.datetime(2025, 3, 12, 0, 8, 9, tzinfo=dt.UTC)
    assert times[3] is None


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_its_place(name: str) -> None:
    draft = draft_of(sample(name[:2]))
    if draft.record is None:
        return
    message = message_of(sample(name[:2]))
    assert draft.record.provenance == {path: str(place) for path, place in draft.places.items()}
    for path, place in draft.places.items():
        shown(draft.record, path)
        assert message.all(place.segment)[place.sequence - 1].field(place.field) or path.startswith("facility.")


def test_the_whole_of_sample_01() -> None:
    record = record_of(sample("01"))
    expected = {
        "event": Event.LIVE_BIRTH,
        "facility.national_code": "3510999",
        "facility.letter_number": "SKL/0311/RSC/2025",
        "child.medical_record": "00450121",
        "child.visit": "V25031100077",
        "child.name": "AHMAD RIZKI PRATAMA",
        "child.place_kind": PlaceKind.HOSPITAL,
        "child.place_name": "BANYUWANGI",
        "child.place_region": "3510",
        "child.born_on": dt.date(2025, 3, 11),
        "child.born_at": "04:15",
        "child.utc_offset": "+07:00",
        "child.plurality": PluralityKind.SINGLE,
        "child.parity": 2,
        "child.attendant": Attendant.MIDWIFE_OR_NURSE,
        "child.weight_g": 3150,
        "child.length_cm": 49.0,
        "child.gestation_weeks": 39,
        "mother.nik": "3510165203959001",
        "mother.citizenship": "WNI",
        "father.name": "BUDI SANTOSO",
        "residence.village": "3510161004",
        "family_card": "3510161405189001",
        "marriage.status": "TERCATAT",
        "marriage.date": dt.date(2019, 6, 16),
        "marriage.issuer": "KUA BANYUWANGI",
        "reporter.relation": "AYAH",
        "witnesses.0.name": "SLAMET RIYADI",
        "witnesses.1.nik": "3510165811759001",
        "variant": Variant.FATHER_AND_MOTHER,
    }
    assert {path: shown(record, path) for path in expected} == expected


def test_the_stillbirth_the_foreigner_and_the_twins() -> None:
    assert record_of(sample("12")).event is Event.STILLBIRTH
    assert record_of(sample("12")).variant is None
    father = record_of(sample("06")).father
    assert father is not None
    assert (father.citizenship, father.country, father.travel_document, father.nik) == (
        "WNA",
        "AUS",
        "PX0000001",
        None,
    )
    one, two = record_of(sample("02")), record_of(sample("03"))
    assert (one.child.birth_order, two.child.birth_order) == (1, 2)
    assert one.child.plurality is two.child.plurality is PluralityKind.TWIN
    assert one.child.parity is None  # PID-25 is no parity
    assert one.child.name == "AISYAH NUR RAMADHANI"
    assert record_of(sample("11")).residence.street == "JL SEMERU NO 12 & 14"  # type: ignore[union-attr]
    assert record_of(sample("05")).variant is Variant.MOTHER_ONLY


# ------------------------------------------------------------------------------------------------ recognition


@pytest.mark.parametrize("event", ["A01", "A04", "A28"])
def test_an_admission_without_marks_opens_nothing(event: str) -> None:
    mother = (
        f"MSH|^~\\&|SIMRS|RSU CEMPAKA CONTOH|||20250311||ADT^{event}|1|P|2.5\rEVN||20250311\r"
        "PID|1||00331807^^^RS^MR||SITI AMINAH||19950312|F|||||||||||||77^^^RS^MR\r"
        "NK1|1|NENEK|MTH\rPV1|1|I\rOBX|1|NM|8339-4^x^LN||3150|g|||||F\r"
    )
    draft = draft_of(mother.encode())
    assert (draft.effect, draft.record) == (Effect.NONE, None)


@pytest.mark.parametrize("kind", ["ADT^A05", "ADT^A38", "ORU^R40", "MDM^T02", "DFT^P03", ""])
def test_other_events_are_not_about_a_birth(kind: str) -> None:
    assert draft_of(changed("01", ("ADT^A01^ADT_A01", kind))).effect is Effect.NONE


@pytest.mark.parametrize(
    ("event", "effect"),
    [("A03", Effect.DISCHARGE), ("A08", Effect.AMEND), ("A13", Effect.UNDO_DISCHARGE), ("A31", Effect.AMEND)]
    + [(event, Effect.CANCEL) for event in ("A11", "A23", "A29")],
)
def test_later_events_need_no_marks_but_not_an_adult(event: str, effect: Effect) -> None:
    bare = f"MSH|^~\\&|SIMRS|RS|||20250311||ADT^{event}|1|P|2.5\rEVN||20250311\rPID|1||4711||NAMA BARU"
    assert draft_of(bare.encode()).effect is effect
    assert draft_of(f"{bare}||20250311".encode()).effect is effect
    assert draft_of(f"{bare}||19950312".encode()).effect is Effect.NONE


def test_a_cancellation_tells_whom_it_is_about_and_judges_nothing() -> None:
    draft = draft_of(sample("08"))
    assert draft.record
    assert draft.record.child.born_on == dt.date(2025, 3, 10)
    assert draft_of(with_field(sample("08"), "PID", 7, "202503200900")).findings == ()  # in the future


def test_two_marks_are_enough_and_late_ones_count() -> None:
    base = "MSH|^~\\&|S|RS|||20250611||ADT^A28|1|P|2.5\rPID|1||4711||NAMA BARU||20250311|M"
    assert draft_of(base.encode()).effect is Effect.NONE
    assert draft_of(f"{base}\rNK1|1|IBU|MTH\rOBX|1|NM|8339-4||3000|g|||||F".encode()).effect is Effect.OPEN
    assert draft_of(f"{base}\rPV1|1|I||N\rZKL|1|1".encode()).effect is Effect.OPEN


def test_a_bulk_dump_of_children_opens_nothing() -> None:
    """Any child has a mother: after the first birthday that marks nobody as a newborn (F 72)."""
    child = (
        "MSH|^~\\&|S|RS|||20250611||ADT^A28|1|P|2.5\r"
        "PID|1||4711||NAMA ANAK||20200311|M|||||||||||||1^^^R^MR\rNK1|1|IBU|MTH"
    )
    assert draft_of(child.encode()).effect is Effect.NONE


# -------------------------------------------------------------------------------------------------- identifiers


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("99^^^RS^MR", "99"),
        ("KK1^^^D^KK~99^^^RS^MR", "99"),
        ("88^^^RS^XX~99", "99"),
        ("99", "99"),
        ("-^^^RS^MR~99^^^RS^PI", "99"),
        ("", "P2"),
    ],
)
def test_the_medical_record(field: str, expected: str) -> None:
    raw = with_field(with_field(sample("01"), "PID", 3, field), "PID", 2, "P2")
    assert draft_of(raw).medical_record == expected


def test_a_missing_medical_record_is_a_finding() -> None:
    draft = draft_of(with_field(sample("01"), "PID", 3, ""))
    assert [f.code for f in draft.findings] == ["MEDICAL_RECORD_MISSING"]
    assert [f.code for f in draft_of(with_field(sample("08"), "PID", 3, "")).findings] == ["MEDICAL_RECORD_MISSING"]


@pytest.mark.parametrize(
    ("pairs", "nik", "place", "codes"),
    [
        ([], "3510165203959001", "PID^1^21^2^1", []),
        ([("~3510165203959001^^^DUKCAPIL^NI||BANY", "||BANY")], "3510165203959001", "NK1^1^33^1^1", []),
        (
            [("~3510165203959001^^^DUKCAPIL^NI||BANY", "~3510165203959001||BANY")],
            "3510165203959001",
            "PID^1^21^2^1",
            [],
        ),
        (
            [("~3510165203959001^^^DUKCAPIL^NI||BANY", "~3510165203959002^^^D^NI||BANY")],
            "3510165203959002",
            "PID^1^21^2^1",
            ["MOTHER_NIK_CONFLICT"],
        ),
        ([("3510165203959001", "351016 520395.9001")], "3510165203959001", "PID^1^21^2^1", []),
        ([("3510165203959001", "-")], None, None, []),
    ],
)
def test_the_mothers_nik(pairs: list[tuple[str, str]], nik: str | None, place: str | None, codes: list[str]) -> None:
    draft = draft_of(changed("01", *pairs))
    assert draft.record is not None
    assert draft.record.mother is not None
    assert draft.record.mother.nik == nik
    assert draft.record.provenance.get("mother.nik") == place
    assert [f.code for f in draft.findings] == codes


def test_the_employee_number_is_a_last_resort() -> None:
    bare = with_field(with_field(sample("05"), "PID", 21, ""), "NK1", 33, "")
    for number, expected in (("3510096512019001", "3510096512019001"), ("EMP-17", None), ("3510099912019001", None)):
        assert record_of(with_field(bare, "NK1", 12, number)).mother.nik == expected  # type: ignore[union-attr]


def test_the_childs_nik_must_fit_the_birth() -> None:
    mother = "00450121^^^RS^MR~3510165203959001^^^D^NI"
    child = "00450121^^^RS^MR~3510161103259001^^^D^NI"
    assert record_of(with_field(sample("01"), "PID", 3, mother)).child.nik is None
    assert record_of(with_field(sample("01"), "PID", 3, child)).child.nik == "3510161103259001"


# ------------------------------------------------------------------------------------------------------ parents


def test_the_mother_may_come_second() -> None:
    lines = sample("01").decode().split("\r")
    lines[3], lines[4] = lines[4], lines[3]
    record = record_of("\r".join(lines).encode())
    assert record.mother
    assert record.father
    assert (record.mother.name, record.father.name) == ("SITI AMINAH", "BUDI SANTOSO")
    assert record.provenance["mother.name"] == "NK1^2^2^1^1"


@pytest.mark.parametrize(
    ("mother", "father"),
    [
        ("^Mother^HL70063", "^Father^HL70063"),
        ("IBU", "AYAH"),
        ("Ibu Kandung", "Ayah Kandung"),
        ("^ibu_kandung", "^Bpk."),
        ("99^Ibu", "98^BAPAK"),
        ("99^X^L^MTH^Mother^HL70063", "98^X^L^FTH^Father^HL70063"),
        ("PAR", "PAR"),
        ("ORTU", "Orang Tua"),
        ("^ORANG TUA", "^ORANG TUA"),
    ],
)
def test_relations_by_code_and_text(mother: str, father: str) -> None:
    record = record_of(changed("01", ("MTH^Mother^HL70063", mother), ("FTH^Father^HL70063", father)))
    assert record.mother
    assert record.father
    assert (record.mother.name, record.father.name) == ("SITI AMINAH", "BUDI SANTOSO")


def test_the_role_may_stand_in_nk1_7_only() -> None:
    raw = changed("01", ("MTH^Mother^HL70063", ""), ("62^812^0000101||||||||||F", "62^812^0000101||MTH||||||||F"))
    assert record_of(raw).mother.name == "SITI AMINAH"  # type: ignore[union-attr]


@pytest.mark.parametrize("relation", ["^IBU TIRI", "^IBU MERTUA", "GRD", "^NENEK", "SPO", "^IBU ANGKAT"])
def test_others_are_no_mother(relation: str) -> None:
    record = record_of(changed("01", ("MTH^Mother^HL70063", relation)))
    assert record.mother is not None
    assert (record.mother.name, record.mother.nik) == (None, "3510165203959001")  # of PID-21


def test_the_maiden_name_is_a_last_resort() -> None:
    raw = with_field(changed("01", ("MTH^Mother^HL70063", "GRD")), "PID", 6, "SITI AMINAH")
    assert record_of(raw).provenance["mother.name"] == "PID^1^6^1^1"
    assert record_of(with_field(sample("01"), "PID", 6, "OTHER")).provenance["mother.name"] == "NK1^1^2^1^1"


def test_of_two_mothers_the_one_in_pid_21() -> None:
    other = "\rNK1|3|ORANG LAIN|MTH||||||||||||F|||||||||||||||||||3510161203959007^^^D^NI"
    draft = draft_of(sample("01").replace(b"\rNK1|1|", other.encode() + b"\rNK1|1|"))
    assert draft.record
    assert draft.record.mother
    assert (draft.record.mother.name, draft.findings) == ("SITI AMINAH", ())
    unsure = draft_of(with_field(sample("01").replace(b"\rNK1|1|", other.encode() + b"\rNK1|1|"), "PID", 21, ""))
    assert [f.code for f in unsure.findings] == ["MOTHER_AMBIGUOUS"]


@pytest.mark.parametrize(
    ("pairs", "citizenship", "country"),
    [
        ([("AUS^Australia^ISO3166", "AUS~IDN")], "WNI", None),
        ([("AUS^Australia^ISO3166", "WNA")], "WNA", None),
        ([("AUS^Australia^ISO3166", "")], "WNA", "AUS"),  # the passport's authority
        ([("AUS^Australia^ISO3166", "UNK"), ("^^^AUS^PPN", "^^^X^PPN")], None, None),
    ],
)
def test_citizenship(pairs: list[tuple[str, str]], citizenship: str | None, country: str | None) -> None:
    father = record_of(changed("06", *pairs)).father
    assert father
    assert (father.citizenship, father.country) == (citizenship, country)


def test_a_foundling() -> None:
    raw = with_field(with_field(sample("10"), "PID", 31, "Y"), "NK1", 3, "GRD")
    draft = draft_of(raw)
    assert draft.record
    assert (draft.record.variant, draft.record.variant_reasons) == (Variant.NO_PARENTS, ("IDENTITY_UNKNOWN",))
    assert str(draft.places["variant"]) == "PID^1^31^1^1"


# -------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("order", "field", "expected"),
    [
        ("auto", "AHMAD RIZKI PRATAMA", "AHMAD RIZKI PRATAMA"),
        ("auto", "PRATAMA^AHMAD^RIZKI", "AHMAD RIZKI PRATAMA"),
        ("given_family", "PRATAMA^AHMAD RIZKI", "AHMAD RIZKI PRATAMA"),
        ("family_given", "AHMAD^RIZKI^PRATAMA", "AHMAD RIZKI PRATAMA"),
        ("full_in_family", "AHMAD RIZKI PRATAMA^AHMAD", "AHMAD RIZKI PRATAMA"),
        ("full_in_family", "^AHMAD RIZKI", "AHMAD RIZKI"),
        ("auto", "BERG&VAN DEN^ANNA", "ANNA BERG VAN DEN"),
        ("auto", "SANTOSO&&SANTOSO^ADI", "ADI SANTOSO"),
        ("auto", "ADI SANTOSO^^^JR^H.^S.H.", "ADI SANTOSO"),
        ("auto", "KIKI^^^^^^N~RIZKI PRATAMA^^^^^^L", "RIZKI PRATAMA"),
        ("auto", "RIZKI X^^^^^^D~RIZKI PRATAMA^^^^^^L", "RIZKI PRATAMA"),
        ("auto", "KIKI^^^^^^N", None),
        ("auto", "  ahmad   rizki  ", "AHMAD RIZKI"),
        ("auto", "-", None),
        ("auto", "", None),
    ],
)
def test_names_by_the_habit_of_the_facility(order: NameOrder, field: str, expected: str | None) -> None:
    raw = with_field(sample("01"), "PID", 5, field)
    assert record_of(raw, facility(name_order=order)).child.name == expected


def test_a_temporary_name_is_told() -> None:
    draft = draft_of(with_field(sample("01"), "PID", 5, "RIZKI PRATAMA^^^^^^TEMP"))
    assert [f.code for f in draft.findings] == ["NAME_PLACEHOLDER"]


# -------------------------------------------------------------------------------------------- time, place, weight


@pytest.mark.parametrize(
    ("value", "expected", "codes"),
    [
        ("20250311041500+0700", ("2025-03-11", "04:15", "+07:00"), []),
        ("20250311041500", ("2025-03-11", "04:15", "+07:00"), []),
        ("202503110415+0800", ("2025-03-11", "04:15", "+08:00"), []),
        ("202503110000", ("2025-03-11", "00:00", "+07:00"), []),
        ("202503102400", ("2025-03-11", "00:00", "+07:00"), ["BIRTH_TIME_MIDNIGHT"]),
        ("202503100415-0330", ("2025-03-10", "04:15", "-03:30"), []),
        ("20250311", ("2025-03-11", None, None), []),
        ("2025031104", ("2025-03-11", None, None), []),
        ("202503", (None, None, None), []),
        ("11-03-2025", (None, None, None), []),
        ("99991231", (None, None, None), []),
        ("20250311120000", ("2025-03-11", "12:00", "+07:00"), ["BIRTH_FUTURE"]),
    ],
)
def test_the_moment_of_birth(value: str, expected: tuple[str | None, ...], codes: list[str]) -> None:
    draft = draft_of(with_field(sample("01"), "PID", 7, value))
    assert draft.record
    child = draft.record.child
    assert (child.born_on.isoformat() if child.born_on else None, child.born_at, child.utc_offset) == expected
    assert [f.code for f in draft.findings] == codes


def test_the_zone_is_the_facilitys() -> None:
    record = record_of(with_field(sample("01"), "PID", 7, "202503110415"), facility(time_zone="WITA"))
    assert record.child.utc_offset == "+08:00"


def test_a_time_of_its_own() -> None:
    raw = with_field(sample("01"), "PID", 7, "20250311") + b"OBX|11|TM|57715-5^Birth time^LN||04:15||||||F\r"
    assert (record_of(raw).child.born_at, record_of(raw).child.utc_offset) == ("04:15", "+07:00")
    raw = sample("01") + b"OBX|11|TM|57715-5^Birth time^LN||0500||||||F\r"
    assert record_of(raw).child.born_at == "04:15"


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("BANYUWANGI", "3510"),
        ("Kab. Banyuwangi", "3510"),
        ("", "3510"),
        ("Kabupaten Jember", "3509"),
        ("DENPASAR", "5171"),
        ("KOTA BOGOR", "3271"),
        ("BOGOR", None),  # a kabupaten and a kota
        ("SINGAPORE", None),
    ],
)
def test_the_region_of_a_place(name: str, region: str | None) -> None:
    assert region_of(name, home="3510") == region
    assert record_of(with_field(sample("02"), "PID", 23, name)).child.place_region == region


def test_a_birth_elsewhere_without_a_place_has_no_region() -> None:
    raw = with_field(sample("02"), "PID", 23, "") + b"ZKL|1|4^Rumah\r"
    record = record_of(raw)
    assert (record.child.place_kind, record.child.place_region) == (PlaceKind.HOME, None)


@pytest.mark.parametrize(
    ("value", "unit", "grams"),
    [
        ("3150", "g", 3150),
        ("3.15", "kg", 3150),
        ("3,2 kg", "", 3200),
        ("3200 gr", "", 3200),
        ("3.150", "", 3150),
        ("3,2", "g", 3200),
        ("7.0", "[lb_av]", 3175),
        ("32000", "g", 32000),  # kept: the rules warn
    ],
)
def test_weights(value: str, unit: str, grams: int) -> None:
    raw = changed("05", ("||2890|g|", f"||{value}|{unit}|"))
    assert record_of(raw).child.weight_g == grams


@pytest.mark.parametrize("value", ["berat", "0", "9999999"])
def test_a_weight_that_is_none(value: str) -> None:
    draft = draft_of(changed("05", ("||2890|g|", f"||{value}|g|")))
    assert draft.record
    assert draft.record.child.weight_g is None
    assert [f.code for f in draft.findings] == ["WEIGHT_RANGE"]


# ------------------------------------------------------------------------------------------------- observations

WEIGHT = "OBX|{n}|NM|{code}^x^LN||{value}|g|||||{status}|||{at}\r"


def weighed(*results: tuple[str, str, str, str]) -> Draft:
    lines = [WEIGHT.format(n=n, code=c, value=v, status=s, at=at) for n, (c, v, s, at) in enumerate(results, 1)]
    raw = re.sub(rb"OBX\|1\|[^\r]*\r", b"", sample("05")) + "".join(lines).encode()
    return draft_of(raw)


@pytest.mark.parametrize(
    ("results", "grams"),
    [
        ([("8339-4", "3000", "F", "202503100600"), ("8339-4", "3100", "F", "202503100700")], 3100),
        ([("8339-4", "3000", "F", "202503100700"), ("8339-4", "3100", "F", "202503100600")], 3000),
        ([("8339-4", "3000", "F", ""), ("8339-4", "3100", "F", "")], 3100),
        ([("8339-4", "3000", "C", "202503100600"), ("8339-4", "3100", "F", "202503100700")], 3000),
        ([("3141-9", "3100", "F", "202503100700"), ("8339-4", "3000", "F", "202503100600")], 3000),
        ([("3141-9", "3100", "F", "202503100700")], 3100),
        ([("8339-4", "3000", "F", "202503100600"), ("8339-4", "", "W", "202503100700")], None),
        ([("8339-4", "", "X", "202503100600"), ("8339-4", "3000", "F", "202503100700")], 3000),
        ([("8339-4", "3000", "I", "202503100600")], None),
    ],
)
def test_which_result_counts(results: list[tuple[str, str, str, str]], grams: int | None) -> None:
    record = weighed(*results).record
    assert record
    assert record.child.weight_g == grams


def test_a_result_taken_back_is_deleted_and_a_preliminary_one_told() -> None:
    assert weighed(("8339-4", "", "D", "")).cleared == {"child.weight_g"}
    assert [f.code for f in weighed(("8339-4", "3000", "P", "")).findings] == ["OBSERVATION_PRELIMINARY"]


def test_what_is_not_on_the_list_never_reaches_the_record() -> None:
    secret = b"OBX|99|CE|75622-1^HIV 1 and 2 tests^LN||POSITIVE||||||F\rDG1|1||B20^HIV\r"
    assert record_of(sample("01") + secret) == record_of(sample("01"))


def test_zkl_wins_over_obx() -> None:
    record = record_of(sample("01") + b"OBX|11|NM|57722-1^x^LN||2||||||C\r")
    assert record.child.plurality is PluralityKind.SINGLE
    assert record_of(changed("01", ("|3150|49|SKL", "|3,3 kg|50|SKL"))).child.weight_g == 3300


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("112247003", Attendant.DOCTOR),
        ("445531000124104", Attendant.MIDWIFE_OR_NURSE),
        ("^Dukun bayi", Attendant.TRADITIONAL),
        ("9", None),
    ],
)
def test_attendants(value: str, expected: Attendant | None) -> None:
    assert record_of(changed("05", ("2^Bidan/Perawat^99F201PENOLONG", value))).child.attendant is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("22232009", PlaceKind.HOSPITAL),
        ("408839006", PlaceKind.HOME),
        ("2", PlaceKind.PUSKESMAS),
        ("^Rumah Sakit", PlaceKind.HOSPITAL),
        ("^Puskemas", PlaceKind.PUSKESMAS),
    ],
)
def test_place_kinds(value: str, expected: PlaceKind) -> None:
    raw = sample("05") + f"OBX|9|CE|73766-8^x^LN||{value}||||||F\r".encode()
    assert record_of(raw).child.place_kind is expected


def test_parity_from_the_children_before() -> None:
    before = b"OBX|8|NM|11638-4^x^LN||2||||||F\rOBX|9|NM|68496-9^x^LN||1||||||F\r"
    assert record_of(sample("02") + before).child.parity == 4
    assert record_of(sample("03") + before).child.parity == 5  # the second twin is one more
    assert record_of(sample("02") + before.split(b"\r")[0]).child.parity is None


def test_orders() -> None:
    assert [f.code for f in draft_of(changed("02", ("||1|{#}", "||2|{#}"))).findings] == ["BIRTH_ORDER"]
    assert record_of(with_field(sample("05"), "PID", 25, "3")).child.birth_order is None  # a parity in PID-25
    three = record_of(with_field(with_field(sample("05"), "PID", 24, "Y"), "PID", 25, "3"))
    assert three.child.plurality is PluralityKind.TRIPLET


# ----------------------------------------------------------------------------------- single or multiple, and yes or no

_SEVERAL = [
    # PID-24, PID-25, 57722-1, ZKL-3, and what stands: plurality, order, place of the finding
    ("Y", "2", "", "1^Tunggal", (1, 2, "ZKL^1^3")),
    ("Y", "2", "1", "", (1, 2, "OBX^1^5")),
    ("Y", "", "", "1", (1, None, "ZKL^1^3")),
    ("Y", "", "SINGLE", "", (1, None, "OBX^1^5")),
    ("N", "1", "2", "1^Tunggal", (1, 1, "ZKL^1^3")),
    ("N", "2", "2", "", (2, 2, "OBX^1^5")),
    ("", "2", "2", "1", (1, 2, "ZKL^1^3")),
    ("", "2", "TWIN", "Tunggal", (1, 2, "ZKL^1^3")),
    ("Y", "2", "3", "2", (2, 2, "ZKL^1^3")),
    ("YA", "2", "1", "1", (1, 2, "ZKL^1^3")),
    ("TIDAK", "1", "2", "", (2, 1, "OBX^1^5")),
]


def _in_a_set(multiple: str, order: str, observed: str, form: str) -> bytes:
    raw = with_field(with_field(sample("05"), "PID", 24, multiple), "PID", 25, order).decode()
    raw = "\r".join(line for line in raw.split("\r") if not line.startswith("OBX"))
    raw += f"OBX|1|NM|57722-1^^LN||{observed}||||||F\r" if observed else ""
    return (raw + (f"ZKL|1||{form}\r" if form else "")).encode()


@pytest.mark.parametrize(("multiple", "order", "observed", "form", "stands"), _SEVERAL)
def test_fields_that_contradict_each_other_on_a_multiple_birth_are_told_once_and_keep_the_order(
    multiple: str, order: str, observed: str, form: str, stands: tuple[int, int | None, str]
) -> None:
    draft = draft_of(_in_a_set(multiple, order, observed, form))
    assert draft.values is not None
    (finding,) = draft.findings
    assert (finding.code, finding.entry.hold) == ("PLURALITY_CONFLICT", State.REVIEW)
    kept = (int(draft.values["child.plurality"]), draft.values.get("child.birth_order"))
    assert (*kept, str(finding.place).removesuffix("^1^1")) == stands
    assert finding.place == draft.places["child.plurality"]  # so that an update's answer tells of it too


@pytest.mark.parametrize(
    ("told", "plurality", "order"),
    [
        (("Y", "3", "3", "3"), 3, 3),
        (("Y", "2", "3", ""), 3, 2),  # PID-24 does not say how many
        (("Y", "2", "2", "2^Kembar 2"), 2, 2),
        (("YA", "2", "", ""), 2, 2),
        (("N", "3", "1", "1"), 1, None),  # a parity in PID-25
        (("TIDAK", "3", "", ""), 1, None),
        (("T", "1", "1", ""), 1, 1),
        (("", "3", "", "1"), 1, None),
        (("", "", "", "KEMBAR 3"), 3, None),
        (("?", "2", "", ""), None, 2),
        (("1", "1", "", ""), None, 1),  # of F-2.01 a 1 is Tunggal
        (("1", "1", "", "1^Tunggal"), 1, 1),
    ],
)
def test_fields_that_agree_on_a_multiple_birth_are_no_finding(
    told: tuple[str, str, str, str], plurality: int | None, order: int | None
) -> None:
    draft = draft_of(_in_a_set(*told))
    assert draft.values is not None
    assert (draft.values.get("child.plurality"), draft.values.get("child.birth_order")) == (plurality, order)
    assert draft.findings == ()


@pytest.mark.parametrize("order", ["-1", "99", "2.5", "0", "x"])
def test_an_order_that_is_none_is_left_out(order: str) -> None:
    assert record_of(_in_a_set("Y", order, "2", "")).child.birth_order is None


def test_yes_and_no_of_a_death_are_read_in_indonesian_too() -> None:
    for yes in ("Y", "YA", "ya", "1"):
        assert record_of(with_field(sample("09"), "PID", 30, yes)).child.died_at == "Y"
    for no in ("N", "TIDAK", "T"):
        assert "child.died_at" in draft_of(with_field(sample("09"), "PID", 30, no)).cleared
    dead = draft_of(changed("12", ("N^No^HL70136", "TIDAK^Tidak"), ("73772-6", "00000-0")))
    assert (dead.record and dead.record.event, dead.findings) == (Event.STILLBIRTH, ())


# ---------------------------------------------------------------------------------------- what cannot be a measurement


@pytest.mark.parametrize(
    ("value", "codes"), [("11", ["APGAR_RANGE"]), ("-1", ["APGAR_RANGE"]), ("baik", ["APGAR_RANGE"])]
)
def test_an_apgar_that_is_none_is_left_out_and_told(value: str, codes: list[str]) -> None:
    draft = draft_of(changed("01", ("Apgar Score^LN||8|", f"Apgar Score^LN||{value}|")))
    assert draft.values is not None
    assert "child.apgar_1" not in draft.values
    assert (draft.values["child.apgar_5"], [f.code for f in draft.findings]) == (9, codes)


@pytest.mark.parametrize("unit", ["bulan", "bln", "mo"])
def test_months_are_never_taken_for_weeks_of_gestation(unit: str) -> None:
    draft = draft_of(changed("01", ("Estimated^LN||39|wk^wk^UCUM", f"Estimated^LN||9|{unit}")))
    assert draft.values is not None
    assert "child.gestation_weeks" not in draft.values
    assert [f.code for f in draft.findings] == ["GESTATION_RANGE"]
    assert record_of(changed("01", ("||39|wk^wk^UCUM", "||273|hari"))).child.gestation_weeks == 39


# --------------------------------------------------------------------------------------------------- the role in NK1-7


def _with_role(relation: str, role: str) -> bytes:
    at = ("62^812^0000101||||||||||F", f"62^812^0000101||{role}||||||||F")
    return changed("01", ("MTH^Mother^HL70063", relation), at)


@pytest.mark.parametrize(
    "relation",
    ["EMC", "EMC^Emergency Contact^HL70063", "O", "C", "N", "OTH^Lain-lain", "UNK", "^KELUARGA", "-", "N^Next of kin"],
)
def test_the_role_counts_where_the_relation_names_a_contact_only(relation: str) -> None:
    assert record_of(_with_role(relation, "MTH")).mother.name == "SITI AMINAH"  # type: ignore[union-attr]
    assert record_of(_with_role(relation, "N")).mother.name is None  # type: ignore[union-attr]


@pytest.mark.parametrize("relation", ["GRD", "AUN", "^IBU TIRI", "GRP", "EMC^Nenek", "SPO", "SIB^Other", "XYZ"])
def test_the_role_never_overrules_a_relation(relation: str) -> None:
    assert record_of(_with_role(relation, "MTH")).mother.name is None  # type: ignore[union-attr]


# -------------------------------------------------------------------------------------------------- stillbirth


@pytest.mark.parametrize(
    ("pairs", "event", "codes"),
    [
        ([], Event.STILLBIRTH, []),
        ([("73757-7", "00000-0")], Event.STILLBIRTH, []),
        ([("73757-7", "00000-0"), ("73772-6", "00000-0")], Event.STILLBIRTH, []),  # PID-30, Apgar 0, gestation
        ([("73757-7", "00000-0"), ("73772-6", "00000-0"), ("11884-4", "00000-0")], Event.LIVE_BIRTH, []),
        ([("||0|{score}", "||3|{score}")], Event.STILLBIRTH, ["STILLBIRTH_CONTRADICTION"]),
        ([("N^No^HL70136", "Y^Yes^HL70136")], Event.STILLBIRTH, ["STILLBIRTH_CONTRADICTION"]),
    ],
)
def test_stillbirths(pairs: list[tuple[str, str]], event: Event, codes: list[str]) -> None:
    draft = draft_of(changed("12", *pairs))
    assert draft.record
    assert draft.record.event is event
    assert [f.code for f in draft.findings] == codes


def test_the_living_twin_of_a_stillborn_lives() -> None:
    raw = sample("02") + b"OBX|8|NM|73772-6^x^LN||1||||||F\r"
    assert record_of(raw).event is Event.LIVE_BIRTH


def test_a_death_after_birth_is_a_live_birth() -> None:
    raw = with_field(with_field(sample("09"), "PID", 29, "202503161200"), "PID", 30, "Y")
    record = record_of(raw)
    assert (record.event, record.child.died_at) == (Event.LIVE_BIRTH, "202503161200")


# ---------------------------------------------------------------------------------------------------- deletion


@pytest.mark.parametrize(
    ("segment", "field", "cleared"),
    [
        ("PID", 5, {"child.name", "child.name_as_sent"}),
        ("PID", 7, {"child.born_on", "child.born_at", "child.utc_offset"}),
        ("PID", 8, {"child.sex"}),
        ("PID", 11, {"residence"}),
        ("PV1", 19, {"child.visit"}),
        ("NK1", 16, {"mother.born_on"}),
        ("NK1", 2, {"mother.name"}),
        ("ZKL", 9, {"marriage"}),
        ("ZKL", 8, {"facility.letter_number"}),
        ("ZKL", 12, {"witnesses.1"}),
    ],
)
def test_two_quotes_delete(segment: str, field: int, cleared: set[str]) -> None:
    assert draft_of(with_field(sample("01"), segment, field, '""')).cleared == cleared


def test_a_deleted_identifier_that_stands_elsewhere_stays() -> None:
    draft = draft_of(with_field(sample("01"), "PID", 21, '""'))
    assert draft.record
    assert draft.record.mother
    assert (draft.record.mother.nik, draft.cleared) == ("3510165203959001", frozenset())


# ---------------------------------------------------------------------------------------------------- never raises

DIRT = st.one_of(
    st.sampled_from(
        ['""', "", "-", "^^^", "~", "&", "99999999999", "\\X00\\", "0", "Y", "N", "\\F\\", "20259999", "A" * 300]
    ),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20),
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_mutation_raises(data: st.DataObject) -> None:
    raw = sample(data.draw(st.sampled_from(NAMES))[:2]).decode("latin-1")
    lines = [line for line in raw.split("\r") if line]
    for _ in range(data.draw(st.integers(1, 6))):
        index = data.draw(st.integers(1, len(lines) - 1))
        parts = lines[index].split("|")
        field = data.draw(st.integers(1, max(1, len(parts) - 1)))
        match data.draw(st.sampled_from(["drop", "double", "set", "component", "swap"])):
            case "drop":
                lines.pop(index)
            case "double":
                lines.insert(index, lines[index])
            case "set":
                parts[field : field + 1] = [data.draw(DIRT)]
                lines[index] = "|".join(parts)
            case "component":
                parts[field : field + 1] = ["^".join(data.draw(st.lists(DIRT, max_size=9)))]
                lines[index] = "|".join(parts)
            case "swap":
                lines[-1], lines[index] = lines[index], lines[-1]
        if len(lines) < 2:
            return
    try:
        message = message_of("\r".join(lines).encode())
    except Hl7SyntaxError:
        return
    draft = BaselineHospital().draft(message, facility(), now=CLOCK)
    assert "\0" not in draft.medical_record
    if draft.record:
        BirthRecord.model_validate_json(draft.record.model_dump_json())
        assert "\\u0000" not in draft.record.model_dump_json()


def test_the_answers_of_a_certificate_in_order() -> None:
    assert BaselineHospital().replacement_messages() == (AnswerKind.REPLACEMENT, AnswerKind.CHILD_IDENTITY)
    assert BaselineHospital().revocation_messages() == (AnswerKind.REVOCATION,)
    assert BaselineHospital().certificate_messages() == (AnswerKind.CERTIFICATE, AnswerKind.CHILD_IDENTITY)

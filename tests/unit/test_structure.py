from __future__ import annotations

import re
import string
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message as oracle_parse
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError, Hl7SyntaxError
from gateway.hl7.ack import table_0357_text
from gateway.hl7.charset import decode
from gateway.hl7.header import read_header
from gateway.hl7.message import parse_message
from gateway.hl7.reference import VERSIONS
from gateway.verify import plans, structure
from gateway.verify.policy import Policy, load_policy, read_policy
from gateway.verify.structure import check_structure, plan_for, prepare

if TYPE_CHECKING:
    from gateway.contract.finding import Finding

VECTORS = Path(__file__).parents[1] / "vectors"
SAMPLES = sorted((VECTORS / "samples").glob("*.hl7"))
LOAD = (VECTORS / "load_birth_a01_v25.hl7").read_text(encoding="utf-8").replace("\n", "\r")

WIRE = tomllib.loads(resources.files("schemas").joinpath("hl7/findings-wire.toml").read_text(encoding="utf-8"))

# All that hl7apy checks, as errors everywhere: the profile in which we must agree with it.
STRICT_CHECKS = (
    "required-segment",
    "repeated-segment",
    "order",
    "required",
    "single",
    "extra-fields",
    "extra-components",
    "required-component",
)

EMPTY_PROFILE = "[accept]\nversions = []\nproduction = []\ntest = []\ncontrol_id_length = 1\n[accept.events]\n"


def strict(*checks: str) -> Policy:
    rules = "".join(f'[[rule]]\ncheck = "{check}"\nplaces = ["*"]\nseverity = "E"\n' for check in checks)
    events = 'ADT = ["A01", "A08", "A11"]\n[structures]\nA08 = ["ADT_A01"]\nA11 = ["ADT_A09"]\n'
    return read_policy(f"{EMPTY_PROFILE}{events}{rules}")


STRICT = strict(*STRICT_CHECKS)


def check(text: str, policy: Policy | None = None) -> list[Finding]:
    message = parse_message(text)
    return check_structure(message, read_header(message), policy or load_policy())


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.code, finding.place.label if finding.place else "", finding.severity) for finding in findings]


def change(text: str, segment: str, number: int, value: str) -> str:
    lines = text.split("\r")
    for index, line in enumerate(lines):
        if line.startswith(f"{segment}|"):
            fields = line.split("|")
            at = number - 1 if segment == "MSH" else number
            fields += [""] * (at + 1 - len(fields))
            fields[at] = value
            lines[index] = "|".join(fields)
            break
    return "\r".join(lines)


def without(text: str, segment: str) -> str:
    return "\r".join(line for line in text.split("\r") if not line.startswith(f"{segment}|"))


# -------------------------------------------------------------------------------- what hospitals send is not noise


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_no_sample_draws_a_finding(path: Path) -> None:
    assert check(decode(path.read_bytes()).text) == []


def test_the_message_of_the_load_client_draws_no_finding() -> None:
    assert check(LOAD) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_birth_is_quiet_in_every_version(version: str) -> None:
    assert [finding for finding in check(change(LOAD, "MSH", 12, version)) if finding.severity == "E"] == []


@pytest.mark.parametrize(
    "text",
    [
        f"{LOAD}ZXY|anything^at~all",
        f"{LOAD}QQQ|unknown segment",
        change(LOAD, "PID", 45, "extra field"),
        change(LOAD, "PID", 3, "1^2^3^4^5^6^7^8^9^10^11^12^13"),
        change(LOAD, "PID", 21, "A~B~C"),
        change(LOAD, "PV1", 45, '""'),
        change(LOAD, "PID", 5, ""),
        change(LOAD, "MSH", 9, "ADT^A01^NONSENSE"),
        change(change(LOAD, "MSH", 9, "ADT^A28"), "EVN", 1, "A28").replace("PV1|", "ZV1|"),
    ],
    ids=[
        "z-segment",
        "unknown-segment",
        "fields",
        "components",
        "repetitions",
        "delete",
        "name",
        "structure",
        "no-visit",
    ],
)
def test_what_does_not_matter_for_a_birth_is_silence(text: str) -> None:
    assert check(text) == []


# --------------------------------------------------------------------------------------------- what does matter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (without(LOAD, "PID"), ("SEGMENT_MISSING", "PID", "E")),
        (without(LOAD, "EVN"), ("SEGMENT_MISSING", "EVN", "W")),
        (without(LOAD, "PV1"), ("SEGMENT_MISSING", "PV1", "W")),
        (f"{LOAD}PID|2||2||B||20250311", ("SEGMENT_EXTRA", "PID[2]", "E")),
        (change(LOAD, "PID", 3, ""), ("FIELD_REQUIRED", "PID-3", "E")),
        (change(LOAD, "PID", 7, ""), ("FIELD_REQUIRED", "PID-7", "E")),
        (change(LOAD, "PID", 7, "20261350"), ("FIELD_DATE", "PID-7", "E")),
        (change(LOAD, "PID", 7, "11-03-2025"), ("FIELD_DATE", "PID-7", "E")),
        (change(LOAD, "PID", 7, "20250311~20250312"), ("FIELD_REPEATED", "PID-7", "E")),
        (change(LOAD, "PID", 8, "L"), ("FIELD_TABLE", "PID-8", "W")),
        (change(LOAD, "PID", 8, "M~F"), ("FIELD_REPEATED", "PID-8", "E")),
        (change(LOAD, "PID", 24, "YA"), ("FIELD_TABLE", "PID-24", "W")),
        (change(LOAD, "PID", 25, "first"), ("FIELD_TYPE", "PID-25", "W")),
        (change(LOAD, "PID", 3, "9" * 1001), ("FIELD_LONG", "PID-3", "E")),
        (change(LOAD, "EVN", 2, ""), ("FIELD_REQUIRED", "EVN-2", "W")),
        (change(LOAD, "PV1", 2, ""), ("FIELD_REQUIRED", "PV1-2", "W")),
        (change(LOAD, "OBX", 11, ""), ("FIELD_REQUIRED", "OBX-11", "W")),
        (change(LOAD, "OBX", 5, "3,2 kg"), ("FIELD_TYPE", "OBX-5", "W")),
        (change(LOAD, "OBX", 14, "kemarin"), ("FIELD_DATE", "OBX-14", "W")),
        (change(LOAD, "NK1", 16, "12 Maret 1995"), ("FIELD_DATE", "NK1-16", "W")),
    ],
)
def test_what_matters_for_a_birth_is_told(text: str, expected: tuple[str, str, str]) -> None:
    assert told(check(text)) == [expected]


def test_an_old_number_field_will_do_for_the_record_number() -> None:
    assert check(change(change(LOAD, "PID", 3, ""), "PID", 2, "0042")) == []


def test_an_update_may_leave_fields_unchanged() -> None:
    update = change(change(change(LOAD, "MSH", 9, "ADT^A08"), "PID", 7, ""), "PID", 5, "")
    assert check(update) == []
    assert told(check(change(update, "PID", 7, "2025-03-11"))) == [("FIELD_DATE", "PID-7", "E")]


def test_a_cancellation_is_not_stopped_by_a_bad_date() -> None:
    cancel = change(change(LOAD, "MSH", 9, "ADT^A11"), "PID", 7, "?")
    assert told(check(cancel)) == [("FIELD_DATE", "PID-7", "W")]


def test_a_merge_must_name_the_old_number() -> None:
    merge = change(LOAD, "MSH", 9, "ADT^A40")
    assert told(check(merge)) == [("SEGMENT_MISSING", "MRG", "E")]
    assert told(check(f"{merge}MRG|")) == [("FIELD_REQUIRED", "MRG-1", "E")]
    assert check(f"{merge}MRG|||0042") == []
    assert check(f"{merge}MRG|0042\rPID|2||2\rMRG|0043") == []


def test_a_date_is_judged_in_each_version_by_its_type() -> None:
    for version in VERSIONS:
        text = change(change(LOAD, "MSH", 12, version), "PID", 7, "20250230")
        assert ("FIELD_DATE", "PID-7", "E") in told(check(text))


def test_places_name_segment_sequence_and_repetition() -> None:
    [finding] = check(LOAD.replace("NK1|2", "NK1|2", 1).replace("|19920704|", "|x|"))
    assert str(finding.place) == "NK1^2^16^1"


def test_findings_never_hold_a_value_of_the_message() -> None:
    [finding] = check(change(LOAD, "PID", 8, "RAHASIA"))
    assert "RAHASIA" not in repr(finding)
    assert finding.parameters == {"table": "0001", "values": "A F M N O U"}


# --------------------------------------------------------------------------------------------------- the profile


def test_senders_cannot_fill_the_cache_of_plans() -> None:
    policy = load_policy()
    message = parse_message(LOAD)
    made = set()
    for name in string.ascii_uppercase:
        odd = parse_message(change(change(LOAD, "MSH", 9, f"ADT^{name}99^ADT_{name}99"), "MSH", 12, f"2.5.{name}"))
        made.add(id(plan_for(read_header(odd), policy)))
    assert len(made) == 1
    assert plan_for(read_header(message), policy) is plan_for(read_header(parse_message(LOAD)), policy)


@pytest.mark.parametrize(("line", "reason"), [('check = "nonsense"', "no check"), ('check = "type"', "severity")])
def test_a_profile_with_an_unknown_word_is_refused(line: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read_policy(f'{EMPTY_PROFILE}[[rule]]\n{line}\nplaces = ["*"]\nseverity = "FATAL"\n')


def test_the_profile_names_only_what_the_gateway_knows() -> None:
    policy = load_policy()
    events = frozenset().union(*policy.events.values())
    assert set(policy.structures) <= events
    assert all(rule.events <= events for rule in policy.rules)
    assert {"A01", "A28", "A40", "R01", "T02"} <= events
    assert set(VERSIONS) <= policy.versions


@pytest.mark.parametrize("code", sorted(WIRE))
def test_catalogue_entries_are_whole(code: str) -> None:
    entry = WIRE[code]
    assert entry["severity"] in {"E", "W", "I"}
    assert table_0357_text(entry["condition"])
    assert entry["condition"] == 207 or table_0357_text(entry["condition"]) != table_0357_text(207)
    assert len(entry["id"]) <= 200
    assert entry["title"].isascii()
    assert entry["id"].isascii()  # the answer may be in any single-byte set
    placeholders = [set(re.findall(r"{(\w+)}", entry[language])) for language in ("id", "en")]
    assert placeholders[0] == placeholders[1]


def test_every_code_that_is_found_is_in_the_catalogue() -> None:
    verify = Path(__file__).parents[2] / "gateway" / "verify"
    for module in ("structure.py", "plans.py", "envelope.py"):
        codes = re.findall(r'"([A-Z]+_[A-Z_]+)"', (verify / module).read_text(encoding="utf-8"))
        assert set(codes) <= set(WIRE)


# --------------------------------------------------------------------------------- hl7apy's own parser as the oracle


def oracle(text: str) -> str:
    """Return what hl7apy says about a message in TOLERANT mode, "" where it is content."""
    try:
        oracle_parse(text, validation_level=VALIDATION_LEVEL.TOLERANT).validate()
    except HL7apyException as error:
        return type(error).__name__
    return ""


# Sample 08 is A11 in 2.3 without MSH-9.3: hl7apy has no structure for it and fails with AttributeError, where the
# profile maps the event to ADT_A09.
KNOWN_TO_THE_ORACLE = [path for path in SAMPLES if not path.stem.startswith("08")]


@pytest.mark.parametrize("path", KNOWN_TO_THE_ORACLE, ids=lambda path: path.stem)
def test_hl7apy_agrees_that_the_samples_are_valid(path: Path) -> None:
    text = decode(path.read_bytes()).text
    assert oracle(text) == ""
    assert check(text, STRICT) == []


# The mutations of performance.md, section 1: both find something, or neither does. More: test_conformance.py.
MUTATIONS = {
    "as is": LOAD,
    "PID-3 emptied": change(LOAD, "PID", 3, ""),
    "PID-5 emptied": change(LOAD, "PID", 5, ""),
    "PID-8 repeated": change(LOAD, "PID", 8, "M~F"),
    "PID-8 = X": change(LOAD, "PID", 8, "X"),
    "PID-23 300 long": change(LOAD, "PID", 23, "B" * 300),
    "PID-3 with 12 components": change(LOAD, "PID", 3, "1^2^3^4^5^6^7^8^9^10^11^12"),
    "PID with 45 fields": change(LOAD, "PID", 45, "x"),
    "PV1 missing": without(LOAD, "PV1"),
    "EVN missing": without(LOAD, "EVN"),
    "Z segment": f"{LOAD}ZZZ|1",
    "unknown segment": f"{LOAD}QQQ|1",
    "OBX-11 emptied": change(LOAD, "OBX", 11, ""),
    "OBX-5 = abc with NM": change(LOAD, "OBX", 5, "abc"),
    "EVN-2 emptied": change(LOAD, "EVN", 2, ""),
    "PV1-2 emptied": change(LOAD, "PV1", 2, ""),
    "NK1-1 emptied": change(LOAD, "NK1", 1, ""),
    "NK1-15 repeated": change(LOAD, "NK1", 15, "F~M"),
    "PID-11 with 20 components": change(LOAD, "PID", 11, "^".join("x" * 20)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_hl7apy_and_the_compiled_tables_agree(name: str) -> None:
    assert bool(oracle(MUTATIONS[name])) == bool(check(MUTATIONS[name], STRICT))


# Where we say more than hl7apy's TOLERANT mode, which looks at neither values nor tables.
STRICTER = {
    "PID-25 = first": (change(LOAD, "PID", 25, "first"), "FIELD_TYPE"),  # STRICT raises ValueError here
    "PID-7 = 20261350": (change(LOAD, "PID", 7, "20261350"), "FIELD_DATE"),  # as STRICT
    "PID-8 = X": (MUTATIONS["PID-8 = X"], "FIELD_TABLE"),  # even STRICT checks no table
    "OBX-5 = abc with NM": (MUTATIONS["OBX-5 = abc with NM"], "FIELD_TYPE"),  # even STRICT takes OBX-5 as it comes
}


@pytest.mark.parametrize("name", STRICTER)
def test_where_the_profile_is_stricter_than_hl7apy(name: str) -> None:
    text, code = STRICTER[name]
    assert oracle(text) == ""
    assert [finding.code for finding in check(text)] == [code]


def test_a_profile_may_ask_for_every_data_type() -> None:
    policy = strict("type")
    assert check(LOAD, policy) == []
    assert told(check(change(LOAD, "PID", 1, "satu"), policy)) == [("FIELD_TYPE", "PID-1", "E")]


def test_a_text_that_one_type_takes_is_judged_anew_by_another() -> None:
    text = change(change(LOAD, "PID", 7, "2026"), "PID", 25, "2026")  # a year, and a number
    assert told(check(text, strict("type"))) == []
    text = change(change(LOAD, "PID", 7, "20261124"), "PID", 29, "20261399")
    assert told(check(change(text, "PID", 33, "20261399"), strict("type"))) == [
        ("FIELD_DATE", "PID-29", "E"),
        ("FIELD_DATE", "PID-33", "E"),
    ]
    text = change(change(LOAD, "PID", 7, "20261124"), "PID", 33, "1.5")
    assert told(check(change(text, "PID", 25, "1.5"), strict("type"))) == [("FIELD_DATE", "PID-33", "E")]


def test_plans_can_be_made_before_the_first_message() -> None:
    policy = read_policy(resources.files("schemas").joinpath("hl7/profile.toml").read_text(encoding="utf-8"))
    prepare(policy, ["2.5"])
    before = plans._plan.cache_info().misses
    assert check(LOAD, policy) == []
    assert plans._plan.cache_info().misses == before


def test_a_layout_is_read_once_and_long_ones_are_not_kept() -> None:
    text = f"{LOAD}AL1|1\rDG1|1\r"
    assert check(text) == []
    before = structure._layout.cache_info()
    assert check(text) == []
    assert structure._layout.cache_info().hits == before.hits + 1
    assert check(LOAD + "OBX|9|NM|8339-4||3150||||||F\r" * 100) == []
    assert structure._layout.cache_info().misses == before.misses


def test_findings_of_a_kept_layout_are_not_shared_between_messages() -> None:
    first, second = (check(without(LOAD, "EVN")) for _ in range(2))
    first[0].parameters["segment"] = "changed"
    assert second[0].parameters == {"segment": "EVN"}


def test_what_a_group_wants_is_asked_for_once_it_has_begun() -> None:
    policy = strict("required-segment")
    assert told(check(f"{LOAD}IN2|1", policy)) == [("SEGMENT_MISSING", "IN1", "E")]
    assert check(f"{LOAD}IN1|1\rIN2|1", policy) == []


def test_a_structure_named_without_sense_or_end_is_read_by_the_event() -> None:
    long = change(LOAD, "MSH", 9, f"ADT^A01^{'X' * 5000}")
    plan = plan_for(read_header(parse_message(LOAD)), load_policy())
    assert plan_for(read_header(parse_message(long)), load_policy()).structure is plan.structure


def test_unknown_segments_can_be_told_where_a_profile_asks_for_it() -> None:
    policy = strict("unknown-segment")
    assert told(check(f"{LOAD}QQQ|1\rZZZ|1", policy)) == [("SEGMENT_UNKNOWN", "QQQ", "E")]


# ----------------------------------------------------------------------------------------------------- any input


@settings(deadline=None)
@given(st.data())
def test_no_message_makes_the_check_fail(data: st.DataObject) -> None:
    lines = LOAD.split("\r")[:-1]
    index = data.draw(st.integers(0, len(lines) - 1))
    fields = lines[index].split("|")
    at = data.draw(st.integers(1 if index else 2, len(fields) - 1))
    fields[at] = data.draw(st.text(max_size=40))
    lines[index] = "|".join(fields)
    try:
        message = parse_message("\r".join(lines))
    except Hl7SyntaxError:
        return
    for policy in (load_policy(), STRICT):
        for finding in check_structure(message, read_header(message), policy):
            assert finding.code in WIRE

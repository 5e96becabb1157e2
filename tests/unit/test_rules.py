"""Every rule of the domain page is a finding or a decision, and every finding has its place, origin and next step."""

from __future__ import annotations

import re

import pytest

from gateway.contract.finding import catalogue
from gateway.contract.rules import origins, rules

_CASES = 112  # of part F
_SOURCE = re.compile(r"[ABC]\.\d{1,2}|F \d{1,3}|HL7|ours")
_PLACE = re.compile(r"(\*|registry|office|form|[A-Z][A-Z0-9]{2}(-\d{1,2})?)(, (form|[A-Z][A-Z0-9]{2}(-\d{1,2})?))*")


def test_the_table_knows_each_finding_of_the_catalogue_and_no_other() -> None:
    assert origins().keys() ^ catalogue().keys() == set()


@pytest.mark.parametrize("code", sorted(catalogue()))
def test_a_finding_has_all_that_a_person_needs(code: str) -> None:
    entry, origin = catalogue()[code], origins()[code]
    assert entry.severity in ("E", "W", "I")
    assert entry.condition in {0, *range(100, 105), *range(200, 208)}
    assert _PLACE.fullmatch(origin.place), origin.place
    for language in ("id", "en"):
        assert entry.sentence(language).endswith(".")
        assert len(entry.remedy(language)) > 10, "a person must be told the next step"
    for source in origin.sources:
        assert _SOURCE.fullmatch(source), source
        assert not source.startswith("F ") or 1 <= int(source[2:]) <= _CASES


def test_every_section_of_rules_is_there_and_each_rule_is_enforced_or_decided() -> None:
    assert {rule.section for rule in rules()} == {"A.5", *(f"B.{number}" for number in range(1, 9))}
    for rule in rules():
        assert rule.findings or rule.decision, rule.text


@pytest.mark.parametrize("section", ["A.5", *(f"B.{number}" for number in range(1, 9))])
def test_what_cites_a_section_stands_in_its_rules_and_the_other_way_round(section: str) -> None:
    citing = {code for code, origin in origins().items() if section in origin.sources}
    named = {code for rule in rules() if rule.section == section for code in rule.findings}
    assert citing - named == set()
    if section != "A.5":  # its list of business codes names many by pattern
        assert named - citing == set()

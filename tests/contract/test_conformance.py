"""Our structural verdict and hl7apy's validator: where they differ, and that each difference has its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.hl7.header import read_header
from gateway.hl7.message import parse_message
from gateway.verify.policy import load_policy
from gateway.verify.structure import check_structure
from tests.contract.conformance import (
    COUNTS,
    DOCUMENT,
    MUTATIONS,
    Case,
    base,
    compare,
    corpus,
    document,
    kinds,
    measure,
    ours,
    reasons,
    theirs,
)

COUNTED: dict[str, Any] = json.loads(COUNTS.read_text(encoding="utf-8"))
# A part of the corpus, since hl7apy takes up to 45 ms for each reading. The step has no divisor in common with the
# number of mutations: all of them are in it.
SOME = [case for number, case in enumerate(corpus(len(MUTATIONS))) if number % 47 == 0]


def test_every_deviation_from_hl7apy_has_its_reason() -> None:
    tally = measure(SOME)
    told = [f"{d.case.version} {d.case.event} {d.case.mutation}: {d.side} {d.claim}" for d in tally.unexplained]
    assert told == []
    assert tally.agreed > tally.messages * 0.6


def test_the_part_that_is_compared_here_has_every_mutation_and_version() -> None:
    assert {case.mutation for case in SOME} == set(COUNTED["mutations"])
    assert {case.version for case in SOME} == {version for version, *_ in kinds(load_policy())}


def test_the_whole_corpus_was_compared_and_is_what_the_document_tells() -> None:
    assert COUNTED["messages"] == sum(COUNTED["mutations"].values()) >= 5000
    assert set(COUNTED["mutations"]) <= set(MUTATIONS)
    assert document(COUNTED) == DOCUMENT.read_text(encoding="utf-8"), "run python -m tests.contract.conformance --write"


def test_every_class_of_deviation_occurs_and_none_is_told_without_a_reason() -> None:
    assert {reason.name for reason in reasons()} == set(COUNTED["deviations"])
    assert all(reason.why.endswith(".") and len(reason.why) > 40 for reason in reasons())


def test_a_deviation_that_no_class_explains_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.contract.conformance.reasons", tuple)
    case = next(case for case in SOME if case.mutation == "unknown segment")
    assert [(d.side, d.claim.kind, d.name) for d in compare(case)[0]][:1] == [("ours", "unknown", "")]


@pytest.mark.parametrize(
    ("field", "text", "kind", "place"),
    [
        (8, "M~F", "repeated", "PID-8"),
        (3, "", "missing", "PID-3"),
        (40, "B", "extra", "PID"),
        (8, "QZ", "table", "PID-8"),
    ],
)
def test_both_sides_see_what_is_put_in(field: int, text: str, kind: str, place: str) -> None:
    lines = base("2.5", "ADT", "A01", "ADT_A01")
    [pid] = [line for line in lines if line[0] == "PID"]
    pid += [""] * (field + 1 - len(pid))
    pid[field] = text
    case = Case("2.5", "ADT^A01", "by hand", "\r".join("|".join(line) for line in lines))
    assert (kind, place) in ours(case)
    assert (kind, place) in theirs(case)


def test_the_valid_messages_of_the_corpus_pass_the_shipped_profile() -> None:
    for version, code, event, structure in kinds(load_policy()):
        text = "\r".join("|".join(line) for line in base(version, code, event, structure))
        message = parse_message(text)
        errors = [f for f in check_structure(message, read_header(message), load_policy()) if f.severity == "E"]
        assert [(version, event, f.code, str(f.place)) for f in errors] == []

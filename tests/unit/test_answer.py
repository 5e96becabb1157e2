"""Which acknowledgement a sender gets: original and enhanced mode, MSH-15 and MSH-16, and refusals of ours."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from gateway.contract.finding import Finding
from gateway.hl7.header import read_header
from gateway.hl7.location import Location
from gateway.hl7.message import parse_message
from gateway.pipeline.answer import Answerer, new_control_id, problem
from gateway.pipeline.verdict import Verdict
from tests.simulators.facilities import facility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.pipeline.answer import Answer

NOW = dt.datetime(2025, 3, 20, 2, 0, tzinfo=dt.UTC)
OURS = Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: NOW)
WARNING = Finding("NAME_PLACEHOLDER", Location("PID", 1, 5))
ERROR = Finding("BIRTH_DATE", Location("PID", 1, 7))
REJECTION = Finding("VERSION_UNSUPPORTED", Location("MSH", 1, 12), {"value": "9"})
FINDINGS: dict[str, tuple[Finding, ...]] = {"good": (), "warned": (WARNING,), "bad": (ERROR,), "rejected": (REJECTION,)}


def verdict(accept: str = "", application: str = "", *, here: bool = False) -> Verdict:
    text = f"MSH|^~\\&|SIMRS|RS|AKTAGW|D|20250311||ADT^A01|77|P|2.5|||{accept}|{application}"
    profile = facility(application_answer="same_connection" if here else "none")
    return Verdict(header=read_header(parse_message(text)), facility=profile)


def fields(frame: bytes, name: str) -> list[list[str]]:
    return [line.split("|") for line in frame.decode().split("\r") if line.startswith(name)]


def codes(answer: Answer) -> list[str]:
    for frame in answer.frames:
        assert fields(frame, "MSA")[0][2] == "77"
    return [fields(frame, "MSA")[0][1] for frame in answer.frames]


def answered(accept: str, application: str, kind: str, *, here: bool = False) -> list[str]:
    return codes(OURS.answer(verdict(accept, application, here=here), FINDINGS[kind]))


@pytest.mark.parametrize(("kind", "code"), [("good", "AA"), ("warned", "AA"), ("bad", "AE"), ("rejected", "AR")])
def test_original_mode_has_one_answer(kind: str, code: str) -> None:
    answer = OURS.answer(verdict(), FINDINGS[kind])
    assert codes(answer) == [code]
    assert answer.code == code
    assert [e[3].split("^")[0] for e in fields(answer.accept, "ERR")] == [
        str(f.entry.condition) for f in FINDINGS[kind]
    ]


@pytest.mark.parametrize(
    ("accept", "kept", "rejected"),
    [("AL", ["CA"], ["CR"]), ("ER", [], ["CR"]), ("SU", ["CA"], [])],
)
@pytest.mark.parametrize("application", ["", "AL", "NE", "ER", "SU"])
def test_the_accept_answer_follows_msh_15(accept: str, kept: list[str], rejected: list[str], application: str) -> None:
    for kind in ("good", "warned", "bad"):
        assert answered(accept, application, kind) == kept
    assert answered(accept, application, "rejected") == rejected
    assert answered(accept, application, "rejected", here=True) == rejected


@pytest.mark.parametrize(
    ("application", "good", "bad"),
    [("AL", ["AA"], ["AE"]), ("NE", [], []), ("ER", [], ["AE"]), ("SU", ["AA"], [])],
)
@pytest.mark.parametrize("accept", ["", "NE"])
def test_without_an_accept_answer_the_application_answer_is_the_answer(
    accept: str, application: str, good: list[str], bad: list[str]
) -> None:
    assert answered(accept, application, "good") == good
    assert answered(accept, application, "warned") == good
    assert answered(accept, application, "bad") == bad
    assert answered(accept, application, "rejected") == (["AR"] if bad else [])


@pytest.mark.parametrize("accept", ["AL", "NE", "ER", "SU"])
@pytest.mark.parametrize(
    ("application", "good", "bad"),
    [("AL", ["AA"], ["AE"]), ("NE", [], []), ("ER", [], ["AE"]), ("SU", ["AA"], []), ("", [], [])],
)
def test_both_answers_go_on_one_connection_where_the_sender_can_take_them(
    accept: str, application: str, good: list[str], bad: list[str]
) -> None:
    first = ["CA"] if accept in ("AL", "SU") else []
    assert answered(accept, application, "good", here=True) == first + good
    assert answered(accept, application, "bad", here=True) == first + bad


def test_problems_are_told_once_by_the_answer_the_sender_reads() -> None:
    alone = OURS.answer(verdict("AL", "AL"), (ERROR, WARNING))
    assert (alone.code, len(fields(alone.accept, "ERR"))) == ("AE", 2)
    both = OURS.answer(verdict("AL", "AL", here=True), (ERROR, WARNING))
    assert (fields(both.accept, "ERR"), len(fields(both.application, "ERR"))) == ([], 2)


def test_both_answers_have_control_ids_of_their_own() -> None:
    answer = OURS.answer(verdict("AL", "AL", here=True), ())
    ids = [fields(frame, "MSH")[0][9] for frame in answer.frames]
    assert len(set(ids)) == 2
    many = [new_control_id() for _ in range(1000)]
    assert len(set(many)) == 1000
    assert all(len(i) <= 20 and i.isalnum() for i in many)


@pytest.mark.parametrize(("accept", "mode"), [("", "A"), ("NE", "A"), ("AL", "C"), ("ER", "C"), ("SU", "C")])
@pytest.mark.parametrize(
    ("code", "letter"), [("STORE_UNAVAILABLE", "R"), ("OVERLOADED", "R"), ("CONTROL_ID_REUSED", "E")]
)
def test_what_was_not_kept_is_told_in_every_mode(accept: str, mode: str, code: str, letter: str) -> None:
    answer = OURS.refuse(verdict(accept, "NE"), Finding(code, Location("MSH")))
    assert codes(answer) == [mode + letter]
    assert answer.code == mode + letter


def test_a_message_without_a_header_is_refused_with_an_empty_msa_2() -> None:
    for answer in (
        OURS.answer(Verdict(), (Finding("MSH_UNREADABLE", Location("MSH")),)),
        OURS.refuse(Verdict(), Finding("STORE_UNAVAILABLE", Location("MSH"))),
    ):
        (msa,) = fields(answer.accept, "MSA")
        assert msa[:2] == ["MSA", "AR"]
        assert "".join(msa[2:3]) == ""


def test_a_test_message_is_called_so() -> None:
    answer = OURS.answer(verdict(), (Finding("TEST_MESSAGE", Location("MSH", 1, 11)),))
    assert fields(answer.accept, "MSA")[0][1:] == ["AA", "77", "TEST"]


def test_the_time_is_that_of_the_facility() -> None:
    assert fields(OURS.answer(verdict(), ()).accept, "MSH")[0][6].startswith("20250320090000")


def test_a_problem_has_the_words_of_the_wire() -> None:
    told = problem(REJECTION)
    assert (told.condition, told.severity, told.parameter) == (203, "E", "9")
    assert told.user_message
    assert told.user_message != told.diagnostic


def _all(texts: Sequence[bytes]) -> bytes:
    return b"".join(texts)


def test_an_answer_to_silence_is_no_frame() -> None:
    answer = OURS.answer(verdict("NE", "NE"), ())
    assert (answer.frames, _all(answer.frames)) == ((), b"")

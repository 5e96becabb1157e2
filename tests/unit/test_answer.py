"""Which acknowledgement a sender gets: original and enhanced mode, MSH-15 and MSH-16, and refusals of ours."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from gateway.contract.finding import Finding
from gateway.hl7.header import read_header
from gateway.hl7.location import Location
from gateway.hl7.message import parse_message
from gateway.pipeline.answer import Answerer, new_control_id, problem
from gateway.pipeline.verdict import Verdict
from tests.simulators.facilities import facility

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.contract.facility import ApplicationAnswer
    from gateway.pipeline.answer import Answer

NOW = dt.datetime(2025, 3, 20, 2, 0, tzinfo=dt.UTC)
OURS = Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: NOW)
WARNING = Finding("NAME_PLACEHOLDER", Location("PID", 1, 5))
ERROR = Finding("BIRTH_DATE", Location("PID", 1, 7))
REJECTION = Finding("VERSION_UNSUPPORTED", Location("MSH", 1, 12), {"value": "9"})
FINDINGS: dict[str, tuple[Finding, ...]] = {"good": (), "warned": (WARNING,), "bad": (ERROR,), "rejected": (REJECTION,)}


def verdict(
    accept: str = "",
    application: str = "",
    *,
    goes: ApplicationAnswer = "none",
    kind: str = "ADT^A01",
    control_id: str = "77",
) -> Verdict:
    text = f"MSH|^~\\&|SIMRS|RS|AKTAGW|D|20250311||{kind}|{control_id}|P|2.5|||{accept}|{application}"
    profile = facility(application_answer=goes, deliver_to="127.0.0.1:1" if goes == "listener" else "")
    return Verdict(header=read_header(parse_message(text)), facility=profile)


def fields(frame: bytes, name: str) -> list[list[str]]:
    return [line.split("|") for line in frame.decode().split("\r") if line.startswith(name)]


def codes(answer: Answer) -> list[str]:
    for frame in answer.frames:
        assert fields(frame, "MSA")[0][2] == "77"
    return [fields(frame, "MSA")[0][1] for frame in answer.frames]


@pytest.mark.parametrize(("kind", "code"), [("good", "AA"), ("warned", "AA"), ("bad", "AE"), ("rejected", "AR")])
def test_original_mode_has_one_answer(kind: str, code: str) -> None:
    answer = OURS.answer(verdict(), FINDINGS[kind])
    assert codes(answer) == [code]
    assert answer.code == code
    assert [e[3].split("^")[0] for e in fields(answer.accept, "ERR")] == [
        str(f.entry.condition) for f in FINDINGS[kind]
    ]


def documented() -> Iterator[tuple[str, str, dict[str, tuple[str, str]]]]:
    """Return each row of the integrators' table: MSH-15, MSH-16, and by verdict the accept and application answer."""
    text = (Path(__file__).parents[2] / "docs" / "integrators.md").read_text(encoding="utf-8")
    section = text[text.index("### Enhanced mode") : text.index("Any other value counts as empty.")]
    for line in re.findall(r"^\| (?!MSH)(.+) \|$", section, re.MULTILINE):
        accepts, applications, well, error, rejected = line.split(" | ")
        told = {"good": _told(well), "warned": _told(well), "bad": _told(error), "rejected": _told(rejected)}
        for accept in accepts.split(", "):
            for application in applications.split(", "):
                yield accept.replace("empty", ""), application.replace("empty", ""), told


def _told(cell: str) -> tuple[str, str]:
    first, _, then = cell.replace("nothing", "").replace("then ", ", ").partition(", ")
    return first.removesuffix(","), then.removeprefix(", ")


MATRIX = {(accept, application): told for accept, application, told in documented()}
VALUES = ("AL", "NE", "ER", "SU", "", "YES", '""')


@pytest.mark.parametrize("goes", ["none", "same_connection", "listener"])
@pytest.mark.parametrize("accept", VALUES)
@pytest.mark.parametrize("application", VALUES)
@pytest.mark.parametrize("kind", FINDINGS)
def test_every_mode_is_answered_as_the_integrators_guide_says(
    accept: str, application: str, kind: str, goes: ApplicationAnswer
) -> None:
    asked = tuple(value if value in ("AL", "NE", "ER", "SU") else "" for value in (accept, application))
    first, then = MATRIX[asked][kind]  # type: ignore[index]  # a tuple of two
    answer = OURS.answer(verdict(accept, application, goes=goes), FINDINGS[kind])
    here = goes == "same_connection" or (goes == "none" and asked[0] in ("", "NE"))
    assert codes(answer) == [code for code in (first, then if here else "") if code]
    later = [answer.deferred[1]] if answer.deferred else []
    assert [fields(frame, "MSA")[0][1:3] for frame in later] == ([[then, "77"]] if then and goes == "listener" else [])
    assert answer.code[0] == "A" or kind == "rejected"


@pytest.mark.parametrize("goes", ["none", "same_connection", "listener"])
@pytest.mark.parametrize("application", ["AL", "NE", "ER", "SU"])
def test_problems_are_told_by_one_answer_and_where_there_is_one_never_by_none(
    application: str, goes: ApplicationAnswer
) -> None:
    for kind in ("warned", "bad", "rejected"):
        answer = OURS.answer(verdict("AL", application, goes=goes), FINDINGS[kind])
        told = [*answer.frames, *([answer.deferred[1]] if answer.deferred else [])]
        assert [len(fields(frame, "ERR")) for frame in told] == [0] * (len(told) - 1) + [1]


def test_the_deferred_answer_is_a_message_of_its_own_that_asks_for_a_commit_only() -> None:
    answer = OURS.answer(verdict("AL", "AL", goes="listener"), (ERROR, WARNING))
    assert answer.deferred is not None
    control_id, letter = answer.deferred
    (msh,) = fields(letter, "MSH")
    assert msh[2:6] == ["AKTAGW", "D", "SIMRS", "RS"]
    assert (msh[8], msh[9], msh[14:]) == ("ACK^A01^ACK", control_id, ["AL", "NE"])
    assert len(control_id) == 20
    assert control_id != fields(answer.accept, "MSH")[0][9]
    assert [len(fields(frame, "ERR")) for frame in (answer.accept, letter)] == [0, 2]


@pytest.mark.parametrize("code", ["FACILITY_UNKNOWN", "FACILITY_NOT_ALLOWED", "APPLICATION_NOT_ALLOWED"])
@pytest.mark.parametrize("accept", ["NE", "AL"])
def test_who_speaks_in_anothers_name_reaches_nobodys_listener(code: str, accept: str) -> None:
    answer = OURS.answer(verdict(accept, "AL", goes="listener"), (Finding(code, Location("MSH", 1, 4)),))
    assert answer.deferred is None
    assert codes(answer) == ["CR" if accept == "AL" else "AR"]


def test_a_rejection_that_can_not_be_named_later_is_told_at_once() -> None:
    missing = Finding("CONTROL_ID_MISSING", Location("MSH", 1, 10))
    answer = OURS.answer(verdict("NE", "AL", goes="listener", control_id=""), (missing,))
    assert answer.deferred is None
    assert [fields(frame, "MSA")[0][1] for frame in answer.frames] == ["AR"]


@pytest.mark.parametrize("goes", ["none", "same_connection", "listener"])
@pytest.mark.parametrize(
    ("accept", "application", "expected"),
    [("", "", []), ("NE", "AL", []), ("", "AL", []), ("SU", "AL", []), ("AL", "AL", ["CR"]), ("ER", "", ["CR"])],
)
def test_an_acknowledgement_is_never_acknowledged_by_more_than_it_asks_for(
    accept: str, application: str, expected: list[str], goes: ApplicationAnswer
) -> None:
    asked = verdict(accept, application, goes=goes, kind="ACK^A01^ACK")
    unsupported = Finding("TYPE_UNSUPPORTED", Location("MSH", 1, 9), {"value": "ACK"})
    answer = OURS.answer(asked, (unsupported,))
    assert (codes(answer), answer.deferred) == (expected, None)
    assert codes(OURS.refuse(asked, Finding("STORE_UNAVAILABLE", Location("MSH")))) == expected


def test_answers_for_a_listener_need_one() -> None:
    with pytest.raises(ValidationError, match="needs deliver_to"):
        facility(application_answer="listener")


def test_problems_are_told_once_by_the_answer_the_sender_reads() -> None:
    alone = OURS.answer(verdict("AL", "AL"), (ERROR, WARNING))
    assert (alone.code, len(fields(alone.accept, "ERR"))) == ("AE", 2)
    both = OURS.answer(verdict("AL", "AL", goes="same_connection"), (ERROR, WARNING))
    assert (fields(both.accept, "ERR"), len(fields(both.application, "ERR"))) == ([], 2)


def test_both_answers_have_control_ids_of_their_own() -> None:
    answer = OURS.answer(verdict("AL", "AL", goes="same_connection"), ())
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


@pytest.mark.parametrize(
    ("accept", "application", "goes", "kind", "said"),
    [
        ("", "", "none", "good", "AA"),
        ("", "", "none", "bad", "AE"),
        ("AL", "AL", "none", "good", "CA"),
        ("AL", "AL", "listener", "bad", "CA"),
        ("AL", "NE", "none", "rejected", "CR"),
        ("NE", "AL", "none", "bad", "AE"),
        ("NE", "NE", "none", "good", "none"),
        ("ER", "AL", "same_connection", "good", "AA"),
    ],
)
def test_what_is_counted_is_what_the_sender_reads_first(
    accept: str, application: str, goes: ApplicationAnswer, kind: str, said: str
) -> None:
    answer = OURS.answer(verdict(accept, application, goes=goes), FINDINGS[kind])
    assert answer.said == (codes(answer)[0] if answer.frames else "none") == said

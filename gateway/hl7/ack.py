"""The answer to a message: MSH, MSA and what was wrong (HL7 v2.5 chapter 2.9 and 2.15, domain A.5).

Up to 2.4 there is one ERR segment whose ERR-1 repeats, and warnings only fit into MSA-3. From 2.5 every problem has an
ERR segment of its own. The sender's delimiters, character set and header parts go back as they came.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.hl7.charset import encode
from gateway.hl7.dates import format_moment
from gateway.hl7.escape import escape
from gateway.hl7.lexer import DEFAULT, Delimiters

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from gateway.hl7.header import Header
    from gateway.hl7.location import Location

OUR_CODES = "99AKTAGW"  # coding system of ERR-5
ERROR = "E"  # table 0516
_CONDITIONS = "HL70357"
_ACCEPTED = ("AA", "CA")
_ASKS, _ASKS_NOTHING = ("AL", "NE"), ("", "")  # MSH-15 and 16, table 0155

# Table 0357 as of 2.5 (domain A.5); 104 came with 2.7.
_TABLE_0357 = {
    0: "Message accepted",
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    104: "Value too long",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    206: "Application record locked",
    207: "Application internal error",
}
# Lengths of the fields that hold free text (2.5, chapter 2.15.5 and 2.15.8).
_MSA_3_LENGTH = 200
_ERR_7_LENGTH = 2048
_ERR_8_LENGTH = 250

_EVENT_LENGTH = 3  # a longer one is a sender's own and is not remembered

_DEFAULT_VERSION = "2.5"
_ERR_BY_PROBLEM = (2, 5)
_NAMES_EVENT = (2, 3, 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a message, in the words of the wire. Texts name fields, never a person's data."""

    place: Location | None
    condition: int  # table 0357
    condition_text: str
    severity: str  # table 0516: E, W, I
    error_code: str  # ERR-5.1
    error_title: str  # ERR-5.2
    detail_code: str = ""  # ERR-5.4, where the case is known more exactly than error_code says
    parameter: str = ""  # ERR-6
    diagnostic: str = ""  # ERR-7, for developers
    user_message: str = ""  # ERR-8, Indonesian, for the ward


def table_0357_text(code: int) -> str:
    """Return the standard's text of a message error condition code."""
    return _TABLE_0357.get(code, _TABLE_0357[207])


def build_acknowledgement(  # noqa: PLR0913 - each is a field of the answer
    header: Header | None,
    *,
    code: str,
    problems: Sequence[Problem],
    control_id: str,
    now: dt.datetime,
    our_application: str,
    our_facility: str,
    codec: str,
    text: str = "",
    deferred: bool = False,
) -> bytes:
    """Return the answer, each segment ended by CR. Without a header: default delimiters, 2.5, an empty MSA-2.

    A `deferred` one is a message of its own: it asks for an accept answer always and for an application answer never,
    since nobody may acknowledge an acknowledgement (chapter 2.9.3).
    """
    marks = header.delimiters if header else DEFAULT
    version = _version(header)
    ordered = sorted(problems, key=_errors_first) if problems else problems
    us = (_escaped(our_application, marks), _escaped(our_facility, marks))
    lines = [_msh(header, us, control_id, now, deferred=deferred), _msa(header, code, ordered, text)]
    if ordered:
        lines += _err_by_problem(ordered, marks) if version >= _ERR_BY_PROBLEM else _err_repeating(ordered, marks)
    lines.append("")
    return encode("\r".join(lines), codec)


_escaped = lru_cache(maxsize=256)(escape)  # for our names and usual events: the delimiters are the senders'


def _errors_first(problem: Problem) -> bool:
    return problem.severity != ERROR


def _version(header: Header | None) -> tuple[int, ...]:
    return _numbers(header.version if header else _DEFAULT_VERSION)


@lru_cache(maxsize=64)
def _numbers(version: str) -> tuple[int, ...]:
    """Return the version by which the answer is laid out; what is no version is answered as 2.5."""
    numbers = version.split(".")
    if not all(n.isascii() and n.isdigit() for n in numbers):
        return (2, 5)
    return tuple(int(n[:3]) for n in numbers)


def _msh(header: Header | None, us: tuple[str, str], control_id: str, now: dt.datetime, *, deferred: bool) -> str:
    if header is None:
        at = format_moment(now, offset=True)
        return f"MSH|{DEFAULT.encoding_characters}|{us[0]}|{us[1]}|||{at}||ACK|{control_id}|P|{_DEFAULT_VERSION}"
    tail = [header.country, header.charset]
    if _version(header) < _ERR_BY_PROBLEM and not header.charset:
        tail = []  # before 2.5 the country alone tells the sender nothing
    fields = [
        "MSH",
        header.encoding_characters,
        header.receiving_application or us[0],
        header.receiving_facility or us[1],
        header.sending_application,
        header.sending_facility,
        format_moment(now, offset=_has_offset(header.sent_at_raw)),
        "",
        _message_type(header),
        control_id,
        header.processing_id or "P",
        header.version or _DEFAULT_VERSION,
        *(["", "", *(_ASKS if deferred else _ASKS_NOTHING), *tail] if deferred or any(tail) else []),
    ]
    return header.delimiters.field.join(fields).rstrip(header.delimiters.field)


def _has_offset(sent_at: str) -> bool:
    return "+" in sent_at or "-" in sent_at


def _message_type(header: Header) -> str:
    """MSH-9 of the answer: `ACK^A01^ACK`; no structure id up to 2.4 (chapter 2.15.9.9), no event up to 2.3."""
    version = _version(header)
    if not header.event or version < _NAMES_EVENT:
        return "ACK"
    component = header.delimiters.component
    event = (_escaped if len(header.event) <= _EVENT_LENGTH else escape)(header.event, header.delimiters)
    return f"ACK{component}{event}{component}ACK" if version >= _ERR_BY_PROBLEM else f"ACK{component}{event}"


def _msa(header: Header | None, code: str, problems: Sequence[Problem], text: str) -> str:
    """MSA. Up to 2.4 MSA-3 says what is wrong, and from 2.3.1 MSA-6 bears the first error's condition."""
    marks = header.delimiters if header else DEFAULT
    fields = ["MSA", code, header.control_id if header else "", text]
    version = _version(header)
    if version < _ERR_BY_PROBLEM:
        fields[3] = _said(code, problems, text)
        errors = [problem for problem in problems if problem.severity == ERROR]
        if errors and version >= _NAMES_EVENT:
            fields += ["", "", _condition(errors[0], marks)]
    if fields[3]:
        fields[3] = escape(_cut(fields[3], _MSA_3_LENGTH), marks)
    return marks.field.join(fields).rstrip(marks.field)


def _said(code: str, problems: Sequence[Problem], text: str) -> str:
    """Put the sentences for the ward into one text, marked where the message was accepted all the same."""
    sentences = [problem.user_message for problem in problems if problem.user_message]
    if sentences and not text and code in _ACCEPTED:
        return f"DITERIMA - {' '.join(sentences)}"
    return " ".join(([text] if text else []) + sentences)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3].rstrip()}..."


def _condition(problem: Problem, marks: Delimiters, separator: str = "") -> str:
    parts = (str(problem.condition), escape(problem.condition_text, marks), _CONDITIONS)
    return (separator or marks.component).join(parts)


def _err_by_problem(problems: Sequence[Problem], marks: Delimiters) -> list[str]:
    """From 2.5: ERR-2 to ERR-8, one segment a problem (chapter 2.15.5)."""
    return [_err(problem, marks) for problem in problems]


def _err(problem: Problem, marks: Delimiters) -> str:
    named = [escape(problem.error_code, marks), escape(problem.error_title, marks), OUR_CODES]
    if problem.detail_code and problem.detail_code != problem.error_code:
        named += [escape(problem.detail_code, marks), "", OUR_CODES]
    fields = [
        "ERR",
        "",
        marks.component.join(problem.place.parts()) if problem.place else "",
        _condition(problem, marks),
        problem.severity,
        marks.component.join(named),
        escape(problem.parameter, marks),
        escape(_cut(problem.diagnostic, _ERR_7_LENGTH), marks),
        escape(_cut(problem.user_message, _ERR_8_LENGTH), marks),
    ]
    return marks.field.join(fields).rstrip(marks.field)


def _err_repeating(problems: Sequence[Problem], marks: Delimiters) -> list[str]:
    """Up to 2.4: one ERR with ERR-1 repeating, `PID^1^7^101&Required field missing&HL70357`, errors only."""
    repetitions = []
    for problem in problems:
        if problem.severity == ERROR:
            place = problem.place
            where = [place.segment, str(place.sequence), str(place.field or "")] if place else ["", "", ""]
            repetitions.append(marks.component.join([*where, _condition(problem, marks, marks.subcomponent)]))
    return [f"ERR{marks.field}{marks.repetition.join(repetitions)}"] if repetitions else []

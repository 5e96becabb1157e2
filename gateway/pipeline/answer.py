"""The answer to a verdict: which acknowledgement code, in which mode, with which problems (domain A.5).

Original mode has one answer. Enhanced mode has an accept answer now, by MSH-15, and an application answer by MSH-16:
behind it on the same connection, or later at the sender's own listener, only where the facility's profile says that
its sender can take it there. What is itself an acknowledgement gets no answer but the accept answer it asks for.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.hl7.ack import Problem, build_acknowledgement, table_0357_text
from gateway.store import outbound

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from gateway.contract.facility import ApplicationAnswer
    from gateway.contract.finding import Finding
    from gateway.hl7.header import Header
    from gateway.pipeline.verdict import Verdict

_SILENT = ("", "NE")  # MSH-15 values that want no accept answer
# Who speaks in another's name gets its answer where it is; that other's listener hears nothing of it.
NOT_THE_SENDER = frozenset({"FACILITY_UNKNOWN", "FACILITY_NOT_ALLOWED", "APPLICATION_NOT_ALLOWED"})
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_counter = itertools.count(int.from_bytes(os.urandom(2)))


def new_control_id() -> str:
    """Return a control id for an answer: time, process and counter in base 36, at most 20 characters."""
    number = time.time_ns() // 1000
    digits = _DIGITS[os.getpid() % 36] + _PAIRS[next(_counter) % 1296]
    while number:
        number, rest = divmod(number, 1296)
        digits = _PAIRS[rest] + digits
    return "GW" + digits.lstrip("0")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out, and the verdict it is about. Both byte strings may be empty: the sender asked for silence.

    `deferred` is the application answer that goes to the sender's own listener: its control id and bytes. `accepted` is
    the code of `accept` where it is another than the verdict's.
    """

    code: str
    accept: bytes
    application: bytes
    deferred: tuple[str, bytes] | None = None
    accepted: str = ""

    @property
    def said(self) -> str:
        """The code that the sender reads first, as metrics and log tell it; "none" where it wanted no answer."""
        if not self.frames:
            return "none"
        return (self.accepted or self.code) if self.accept else self.code

    @property
    def frames(self) -> tuple[bytes, ...]:
        """The messages to write on the sender's connection, in order."""
        return tuple(part for part in (self.accept, self.application) if part)


@dataclass(frozen=True, slots=True)
class Answerer:
    """Builds answers in our name."""

    application: str
    facility: str
    clock: Callable[[], dt.datetime]

    def answer(self, verdict: Verdict, findings: Sequence[Finding]) -> Answer:
        """Return the answer to a message that was understood, or could not be, as `findings` tell."""
        result = _result(findings) if findings else "A"
        header = verdict.header
        if header is None or not (header.enhanced or header.acknowledges):
            code = "A" + result
            return Answer(code, self._build(verdict, code, findings), b"")
        return self._enhanced(verdict, header, result, findings)

    def _enhanced(self, verdict: Verdict, header: Header, result: str, findings: Sequence[Finding]) -> Answer:
        kept, code = result != "R", "A" + result
        told = _wanted(header.accept_ack, success=kept)
        wanted = _wanted(header.application_ack, success=result == "A") and not header.acknowledges
        # The application answer to what was not kept is for a sender that no CR has told so.
        channel = _channel(verdict, header, findings) if wanted and (kept or not told) else "none"
        if not kept and channel == "none":
            code = "CR" if header.enhanced else code
            return Answer(code, self._build(verdict, code, findings) if told else b"", b"")
        # A sender without an application answer would never learn what to mend: then the accept answer tells it (ERR).
        errors = findings if channel == "none" else ()
        accept = self._build(verdict, "CA", errors) if told else b""
        if channel == "listener":
            control_id = outbound.new_control_id()
            letter = self._build(verdict, code, findings, control_id=control_id, deferred=True)
            return Answer(code, accept, b"", (control_id, letter), "CA")
        application = self._build(verdict, code, findings) if channel == "same_connection" else b""
        return Answer(code, accept, application, accepted="CA") if kept else Answer(code, application, b"")

    def refuse(self, verdict: Verdict, finding: Finding) -> Answer:
        """Return the answer to a message that was not kept for a reason of ours, or whose control id was reused."""
        header = verdict.header
        mode = "A" if header is None or header.accept_ack in _SILENT else "C"
        code = mode + ("R" if finding.entry.answer == "reject" else "E")
        if header is not None and header.acknowledges and not _wanted(header.accept_ack, success=False):
            return Answer(code, b"", b"")
        return Answer(code, self._build(verdict, code, [finding]), b"")

    def _build(
        self, verdict: Verdict, code: str, findings: Sequence[Finding], *, control_id: str = "", deferred: bool = False
    ) -> bytes:
        zone = verdict.facility.time_zone if verdict.facility else "Asia/Jakarta"
        return build_acknowledgement(
            verdict.header,
            code=code,
            problems=[problem(f) for f in findings] if findings else (),
            control_id=control_id or new_control_id(),
            now=self.clock().astimezone(ZoneInfo(zone)),
            our_application=self.application,
            our_facility=self.facility,
            codec=verdict.codec,
            text="TEST" if findings and any(f.code == "TEST_MESSAGE" for f in findings) else "",
            deferred=deferred,
        )


def _result(findings: Sequence[Finding]) -> str:
    """Return the second letter of the code: rejected, error, or accepted."""
    if any(f.entry.answer == "reject" for f in findings):
        return "R"
    return "E" if any(f.severity == "E" for f in findings) else "A"


def _channel(verdict: Verdict, header: Header, findings: Sequence[Finding]) -> ApplicationAnswer:
    """Return where a wanted application answer goes. Without an accept answer it is the only one and belongs here."""
    profile = verdict.facility.application_answer if verdict.facility else "none"
    nameable = bool(header.control_id.strip())  # later and elsewhere, only MSA-2 tells what it answers
    if profile == "listener" and nameable and not any(f.code in NOT_THE_SENDER for f in findings):
        return "listener"
    return "same_connection" if header.accept_ack in _SILENT or profile == "same_connection" else "none"


def _wanted(flag: str, *, success: bool) -> bool:
    """Read MSH-15 or MSH-16 (table 0155): AL always, NE never, ER on error, SU on success."""
    return flag == "AL" or (flag == "SU" and success) or (flag == "ER" and not success)


def problem(finding: Finding) -> Problem:
    """Return the words of the wire for a finding."""
    entry = finding.entry
    return Problem(
        place=finding.place,
        condition=entry.condition,
        condition_text=table_0357_text(entry.condition),
        severity=finding.severity,
        error_code=entry.error_code,
        error_title=entry.title,
        detail_code=finding.code,
        parameter=next(iter(finding.parameters.values()), ""),
        diagnostic=finding.text("en"),
        user_message=finding.text("id"),
    )

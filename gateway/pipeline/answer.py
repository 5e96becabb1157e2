"""The answer to a verdict: which acknowledgement code, in which mode, with which problems (domain A.5).

Original mode has one answer. Enhanced mode has an accept answer now, by MSH-15, and an application answer by MSH-16 on
the same connection only where the facility's profile says that its sender can take it.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.hl7.ack import Problem, build_acknowledgement, table_0357_text

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from gateway.contract.finding import Finding
    from gateway.pipeline.verdict import Verdict

_SILENT = ("", "NE")  # MSH-15 values that want no accept answer
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_counter = itertools.count(int.from_bytes(os.urandom(2)))


def new_control_id() -> str:
    """Return a control id for an answer: time, process and counter in base 36, at most 20 characters."""
    number = time.time_ns() // 1000 * 46656 + os.getpid() % 36 * 1296 + next(_counter) % 1296
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return "GW" + digits


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out now, and what the log calls it. Both byte strings may be empty: the sender asked for silence."""

    code: str
    accept: bytes
    application: bytes

    @property
    def frames(self) -> tuple[bytes, ...]:
        """The messages to write, in order."""
        return tuple(part for part in (self.accept, self.application) if part)


@dataclass(frozen=True, slots=True)
class Answerer:
    """Builds answers in our name."""

    application: str
    facility: str
    clock: Callable[[], dt.datetime]

    def answer(self, verdict: Verdict, findings: Sequence[Finding]) -> Answer:
        """Return the answer to a message that was understood, or could not be, as `findings` tell."""
        rejected = any(f.entry.answer == "reject" for f in findings)
        failed = any(f.severity == "E" for f in findings)
        result = "R" if rejected else "E" if failed else "A"
        header = verdict.header
        if header is None or not header.enhanced:
            code = "A" + result
            return Answer(code, self._build(verdict, code, findings), b"")
        if rejected:
            accept = self._build(verdict, "CR", findings) if _wanted(header.accept_ack, success=False) else b""
            if not accept and header.accept_ack in _SILENT and _wanted(header.application_ack, success=False):
                return Answer("AR", self._build(verdict, "AR", findings), b"")
            return Answer("CR", accept, b"")
        return self._enhanced(verdict, "A" + result, findings)

    def _enhanced(self, verdict: Verdict, code: str, findings: Sequence[Finding]) -> Answer:
        header, facility = verdict.header, verdict.facility
        assert header is not None  # noqa: S101 - enhanced mode was read from it
        # Where no accept answer will come, the application answer is the only one and belongs here.
        only_one = header.accept_ack in _SILENT
        here = only_one or (facility is not None and facility.application_answer == "same_connection")
        # A sender that takes one answer only would never learn what to mend: then the accept answer tells it (ERR).
        told = () if here else findings
        accept = self._build(verdict, "CA", told) if _wanted(header.accept_ack, success=True) else b""
        application = b""
        if here and _wanted(header.application_ack, success=code == "AA"):
            application = self._build(verdict, code, findings)
        return Answer(code, accept, application)

    def refuse(self, verdict: Verdict, finding: Finding) -> Answer:
        """Return the answer to a message that was not kept for a reason of ours, or whose control id was reused."""
        kept_back = finding.entry.answer == "reject"
        code = "R" if kept_back else "E"
        mode = "A" if verdict.header is None or verdict.header.accept_ack in _SILENT else "C"
        return Answer(mode + code, self._build(verdict, mode + code, [finding]), b"")

    def _build(self, verdict: Verdict, code: str, findings: Sequence[Finding]) -> bytes:
        zone = verdict.facility.time_zone if verdict.facility else "Asia/Jakarta"
        return build_acknowledgement(
            verdict.header,
            code=code,
            problems=[problem(f) for f in findings],
            control_id=new_control_id(),
            now=self.clock().astimezone(ZoneInfo(zone)),
            our_application=self.application,
            our_facility=self.facility,
            codec=verdict.codec,
            text="TEST" if any(f.code == "TEST_MESSAGE" for f in findings) else "",
        )


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

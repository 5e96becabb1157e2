"""What a hospital says and hears, for the tests of cases: messages in original mode, and answers in readable form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.lifecycle import State, judged_state
from gateway.hl7.charset import decode
from gateway.hl7.message import parse_message
from gateway.pipeline.answer import Answerer
from gateway.pipeline.rehearsal import Rehearsal
from gateway.pipeline.verdict import Judge
from gateway.store.queue import Kind
from tests.simulators.facilities import CLINIC, CLOCK, HOSPITAL, facility
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contract.finding import Finding
    from gateway.store.births import Birth
    from tests.simulators.journey import Journey

Changes = tuple[str, str]
LATER, LATEST = "20250312081500+0700", "20250313081500+0700"
# Sample 01 as its family: these texts are there to be changed.
NAME, MOTHER, FATHER = "AHMAD RIZKI PRATAMA", "SITI AMINAH", "BUDI SANTOSO"
MOTHER_NIK, FATHER_NIK, KK = "3510165203959001", "3510160407929001", "3510161405189001"
_ORIGINAL_MODE = ("|||AL|AL|IDN|", "|||||IDN|")
_FATHER_SEGMENT = "NK1|2|"


def message(event: str = "A01", *changes: Changes, version: str = "2.5", **options: Any) -> bytes:
    """Return sample 01 in original mode, one answer that says it all, with texts changed; see journey.notice."""
    told = notice(event, changes=(_ORIGINAL_MODE, *changes), **options)
    return told.replace(b"|P|2.5|", f"|P|{version}|".encode())


def without(raw: bytes, *beginnings: str) -> bytes:
    """Return a message without the segments that begin so."""
    lines = raw.decode().split("\r")
    return "\r".join(line for line in lines if not line.startswith(beginnings) or not line).encode()


def fatherless(raw: bytes) -> bytes:
    """Return a message that names no father and brings no marriage."""
    return without(raw, _FATHER_SEGMENT).replace(b"|0451/017/VI/2019^20190616^KUA BANYUWANGI|", b"||")


@dataclass(frozen=True)
class Answer:
    """What the hospital reads: MSA-1, MSA-3, and by the birth's finding code the words of each ERR."""

    code: str
    text: str
    warned: Mapping[str, str]  # finding code (ERR-5.4) to what the staff reads (ERR-8)
    severities: Mapping[str, str]
    raw: bytes

    @property
    def codes(self) -> set[str]:
        return set(self.warned)


def read_answer(raw: bytes) -> Answer:
    """Read an acknowledgement of version 2.5 or later."""
    told = parse_message(decode(raw).text)
    errors = {_finding(segment.components(5)): segment for segment in told.all("ERR") if segment.field(5)}
    return Answer(
        code=told.text("MSA", 1),
        text=told.text("MSA", 3),
        warned={code: s.field(8) for code, s in errors.items()},
        severities={code: s.field(4) for code, s in errors.items()},
        raw=raw,
    )


def _finding(error: list[str]) -> str:
    """ERR-5.4 bears the finding's code where it differs from the business code of ERR-5.1."""
    return error[3] if len(error) > 3 and error[3] else error[0]


async def tell(way: Journey, raw: bytes) -> Answer:
    """Send a message as a hospital does and return the last answer."""
    return read_answer((await way.intake.take(raw, peer="127.0.0.1"))[-1])


async def told(way: Journey, raw: bytes) -> Answer:
    """Send a message and let every due assignment be done; nothing goes to the registry."""
    answer = await tell(way, raw)
    await assigned(way)
    return answer


async def assigned(way: Journey) -> None:
    """Run every due assignment."""
    while await way.database.fetch("SELECT FROM tasks WHERE kind = 'assign' AND due_at <= now()"):
        await way.work(Kind.ASSIGN)


def codes_of(birth: Birth) -> set[str]:
    """Return what is found wrong with a birth."""
    return {f["code"] for f in birth.findings}


@dataclass(frozen=True)
class Judged:
    """What the rules make of one message, with nothing stored."""

    answer: Answer
    state: State
    findings: Mapping[str, Finding]
    values: Mapping[str, Any]
    effect: str

    @property
    def codes(self) -> set[str]:
        return set(self.findings)


def judged(raw: bytes, *, require_form: bool = False, clock: Any = CLOCK, **profile: Any) -> Judged:
    """Judge a message by the engine of the wire, as of a birth that is known where it is an update."""
    profiles = {code: facility(code, **profile) for code in (HOSPITAL, CLINIC)}
    judge = Judge(
        facilities=profiles,
        hospitals={"baseline": BaselineHospital()},
        clock=lambda: clock,
        test_messages="accept",
        require_form=require_form,
        segment_limit=1000,
    )
    report = Rehearsal(judge, Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: clock)).report(raw, peer="127.0.0.1")
    assert report.fault is None
    draft = report.verdict.draft
    return Judged(
        answer=read_answer(report.answer.frames[-1]),
        state=judged_state({f.entry.hold for f in report.findings if f.entry.hold}),
        findings={f.code: f for f in report.findings},
        values=dict(draft.values or {}) if draft else {},
        effect=report.effect.value,
    )

"""The verdict on one message: who sends, what it means, what is wrong with it. No I/O, nothing stored.

The order is fixed (docs/architecture, steps 2 and 3): charset, lexer, envelope, sender, structure, mapping, rules. The
first step that ends in a rejection ends the walk, since what follows would judge what was not understood.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, JUDGED, State
from gateway.contract.ports import PATIENT, Draft, Effect
from gateway.contract.revision import may_open
from gateway.errors import Hl7SyntaxError
from gateway.hl7.charset import decode
from gateway.hl7.header import Header, read_header, salvage_header
from gateway.hl7.location import Location
from gateway.hl7.message import REPETITION_LIMIT, TooManyRepetitionsError, parse_message
from gateway.hl7.told import decode_told
from gateway.pipeline.draft import decoded_for, read_again
from gateway.verify.content import judge
from gateway.verify.envelope import check_envelope
from gateway.verify.identifiers import check_header, check_identifiers
from gateway.verify.policy import load_policy
from gateway.verify.sender import check_sender
from gateway.verify.structure import check_structure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from gateway.contract.facility import FacilityProfile
    from gateway.contract.ports import HospitalAdapter
    from gateway.hl7.message import Message

# What a message may do to a birth that is there; for an unknown baby it depends on what the message is.
UPDATES = tuple(effect for effect in Effect if effect not in (Effect.NONE, Effect.OPEN))
_PID_3 = Location("PID", 1, 3)
_MSH_7, _MSH_18 = Location("MSH", 1, 7), Location("MSH", 1, 18)
_SKEW = dt.timedelta(minutes=10)  # a message from the future (domain A.3, F 110)
_OPEN = JUDGED | IN_FLIGHT | {State.RECEIVED, State.SEALED, State.AWAIT_OFFICE, State.DEAD_LETTER}
_OF_A_MESSAGE = ("MSH", "PID")  # a second one of these is a second message, or a second patient
# What the birth lacks once an update has deleted a field (domain F 21).
_DELETED = {
    "child.name": Finding("NAME_MISSING", Location("PID", 1, 5)),
    "child.sex": Finding("SEX_UNKNOWN", Location("PID", 1, 8)),
    "child.born_on": Finding("BIRTH_DATE", Location("PID", 1, 7)),
    "child.born_at": Finding("BIRTH_TIME", Location("PID", 1, 7)),
    "mother.name": Finding("MOTHER_NAME_MISSING", Location("NK1", 1, 2)),
    "mother.nik": Finding("MOTHER_NIK_MISSING", Location("PID", 1, 21)),
}
_ANY_CONTROL = "\x01"  # stands for a NUL, which lexing drops
_MOST_FINDINGS = 50  # an answer must not be many times its message
_YOUNG_DAYS = 60  # the term of registration (domain B.7)


@dataclass(slots=True)
class Verdict:
    """All that was found out about one message without asking the store."""

    codec: str = "utf-8"
    header: Header | None = None
    facility: FacilityProfile | None = None
    draft: Draft | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def rejected(self) -> bool:
        """Whether it cannot be processed at all: AR or CR."""
        return any(f.entry.answer == "reject" for f in self.findings)

    @property
    def effect(self) -> Effect:
        """What it means for a birth."""
        if self.draft is None or self.rejected or any(map(_opens_nothing, self.findings)):
            return Effect.NONE
        return self.draft.effect

    @property
    def event(self) -> str:
        """Type and trigger event, `ADT^A01`."""
        return f"{self.header.message_code}^{self.header.event}" if self.header else ""


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A clock that stands still."""

    now: dt.datetime

    def __call__(self) -> dt.datetime:
        return self.now


class Judge:
    """Makes verdicts with the configured facilities, adapters and clock."""

    def __init__(
        self,
        *,
        facilities: Mapping[str, FacilityProfile],
        hospitals: Mapping[str, HospitalAdapter],
        clock: Callable[[], dt.datetime],
        test_messages: Literal["accept", "reject"],
        require_form: bool,
        segment_limit: int,
    ) -> None:
        self._facilities = facilities
        self._hospitals = hospitals
        self._clock = clock
        self._test_messages = test_messages
        self._require_form = require_form
        self._segment_limit = segment_limit

    def as_of_now(self) -> Judge:
        """Return a judge for whom it stays this moment: it can be handed to another process (pipeline.helper)."""
        judge = copy.copy(self)
        judge._clock = _Stopped(self._clock())  # noqa: SLF001 - a copy of ourselves
        return judge

    def evaluate(
        self, raw: bytes, *, peer: str, certificate_names: AbstractSet[str] = frozenset(), charset: str = ""
    ) -> Verdict:
        """Return the verdict on the bytes of one message. `charset` is what the transport says of them, if it does."""
        decoded = decode_told(raw, charset) if charset else decode(raw)
        verdict = Verdict(codec=decoded.codec)
        try:
            message = self._lexed(decoded.text)
        except TooManyRepetitionsError as error:
            verdict.header = salvage_header(decoded.text)
            verdict.findings.append(Finding("FIELD_REPEATS_WITHOUT_END", error.place, {"limit": str(REPETITION_LIMIT)}))
            return verdict
        except Hl7SyntaxError:
            verdict.header = salvage_header(decoded.text)
            readable = verdict.header is not None and verdict.header.encoding_characters in decoded.text[:16]
            code = "MESSAGE_UNREADABLE" if readable else "MSH_UNREADABLE"
            verdict.findings.append(Finding(code, Location("MSH")))
            return verdict
        header = verdict.header = read_header(message)
        facility = verdict.facility = self._facilities.get(header.facility_code)
        if facility and decoded.doubtful and (other := decoded_for(facility, raw, decoded)) is not decoded:
            decoded = other
            message, verdict.codec = self._lexed(decoded.text), decoded.codec
        sent = self._as_sent(decoded.text, message)
        verdict.findings += check_envelope(header, test_messages=self._test_messages)
        verdict.findings += check_header(sent)
        verdict.findings += check_sender(header, facility, peer=peer, certificate_names=certificate_names)
        if facility is not None and not verdict.rejected and not _is_test(verdict.findings):
            self._understand(verdict, message, sent, facility)
            if verdict.draft is not None and (decoded.doubtful or "\0" in decoded.text):
                verdict.findings.append(Finding("CHARSET_DOUBTFUL", _MSH_18))
        return verdict

    def read_again(self, raw: bytes, charset: str, received_at: dt.datetime, facility: FacilityProfile) -> Draft:
        """Return the draft of a message that was kept. Raises Hl7SyntaxError for what could not be read either."""
        return read_again(
            raw,
            charset=charset,
            facility=facility,
            hospital=self._hospitals[facility.adapter],
            received_at=received_at,
            segment_limit=self._segment_limit,
        )

    def _lexed(self, text: str) -> Message:
        return parse_message(text.replace("\0", ""), limit=self._segment_limit)

    def _as_sent(self, text: str, message: Message) -> Message:
        """Return the message with the NUL characters that were dropped, but for padding: none belongs into a number."""
        if "\0" not in text:
            return message
        marks = re.escape(message.delimiters.field + message.delimiters.encoding_characters)
        kept = re.sub(f"(?:^|(?<=[\r\n]))\0+|\0+(?=[{marks}\r\n ]|$)", "", text)
        try:
            return parse_message(kept.replace("\0", _ANY_CONTROL), limit=self._segment_limit)
        except Hl7SyntaxError:
            return message  # they stand in the names of segments

    def _understand(self, verdict: Verdict, message: Message, sent: Message, facility: FacilityProfile) -> None:
        assert verdict.header is not None  # noqa: S101 - set by the caller
        now = self._clock()
        draft = self._hospitals[facility.adapter].draft(message, facility, now=now)
        if draft.effect is Effect.NONE:
            verdict.findings += draft.findings  # why it is taken for no birth, where that is in doubt
            verdict.draft = draft if draft.if_open else None
            return
        verdict.draft = draft
        verdict.findings += check_structure(message, verdict.header, load_policy(facility.policy))[:_MOST_FINDINGS]
        verdict.findings += check_identifiers(sent)
        if draft.sent_at is not None and draft.sent_at > now + _SKEW:
            verdict.findings.append(Finding("CLOCK_SKEW", _MSH_7))
        if any(map(_is_of_two, verdict.findings)):
            return  # what two patients' segments say together is said of neither (domain F 109)
        if not draft.medical_record:
            verdict.findings.append(Finding("MEDICAL_RECORD_MISSING", _PID_3))
        elif draft.values is not None and draft.effect is not Effect.CANCEL:
            judgement = judge(
                draft.values,
                draft.places,
                facility=facility,
                now=now,
                require_form=self._require_form,
                adapter_findings=draft.findings,
            )
            verdict.findings = _without_doubles(verdict.findings, judgement.findings)
        else:
            verdict.findings += draft.findings


def _without_doubles(structural: list[Finding], judged: Sequence[Finding]) -> list[Finding]:
    """Join both lists; where both speak of one field, the rule's finding says more than the structure's."""
    places = {_field(f) for f in judged}
    return [f for f in structural if _field(f) not in places or f.place is None] + list(judged)


def _field(finding: Finding) -> tuple[str, int, int] | None:
    place = finding.place
    return (place.segment, place.sequence, place.field) if place else None


def _is_of_two(finding: Finding) -> bool:
    """Whether two babies are in one message: which of them each segment is about is not said (domain F 109)."""
    return finding.code == "SEGMENT_EXTRA" and finding.place is not None and finding.place.segment in _OF_A_MESSAGE


def _opens_nothing(finding: Finding) -> bool:
    """Whether nobody can tell what birth this is about. A number that is cut off or marred may be another baby's."""
    return finding.code in ("RECORD_NUMBER_CUT", "IDENTIFIER_CONTROL") or _is_of_two(finding)


def _is_test(findings: list[Finding]) -> bool:
    return any(f.code == "TEST_MESSAGE" for f in findings)


def in_view_of(verdict: Verdict, state: State | None) -> tuple[Effect, list[Finding]]:
    """Return effect and findings, now that the store told whether this baby is known (None: it is not).

    An update brings only what it changes: what it does not mention is not missing. After issue, and while the
    registry has the case, the sender is told that a person decides (domain F 18, 19, 23, 24).
    """
    draft = verdict.draft
    effect = verdict.effect
    if draft is None or not draft.medical_record:
        return Effect.NONE, verdict.findings
    if effect not in UPDATES:
        return effect, [*verdict.findings, *draft.if_open] if state in _OPEN else verdict.findings
    if effect in (Effect.MERGE, Effect.RENUMBER):  # also of numbers nothing is known of yet (F 12)
        return effect if draft.prior else Effect.NONE, verdict.findings
    if effect is Effect.ATTACH:
        effect, said = _of_documents(draft, state)
        return effect, said + _withdrawn(effect, state)
    if state is None:
        return _unknown_baby(verdict, draft, verdict.facility)
    told = set(draft.places.values())
    said = [f for f in verdict.findings if f.place is None or f.place in told]
    if effect is Effect.AMEND:
        known = {f.code for f in said}
        said += [f for path, f in _DELETED.items() if path in draft.cleared and f.code not in known]
        said += draft.if_open if state in _OPEN else ()
    return effect, said + _late_change(effect, state) + _withdrawn(effect, state)


def _of_documents(draft: Draft, state: State | None) -> tuple[Effect, list[Finding]]:
    awaited = [Finding("BIRTH_AWAITED", _PID_3)] if state is None and draft.attachments else []
    return Effect.ATTACH if draft.attachments else Effect.NONE, [*draft.findings, *awaited]


def _unknown_baby(verdict: Verdict, draft: Draft, facility: FacilityProfile | None) -> tuple[Effect, list[Finding]]:
    """Judge an update for somebody we do not know: it opens a birth, or says so, or is not our business."""
    if draft.effect is Effect.AMEND and may_open(draft):
        if facility is not None and facility.update_creates:
            return Effect.OPEN, verdict.findings
        return Effect.NONE, [Finding("BIRTH_UNKNOWN", _PID_3)]
    if draft.effect in PATIENT:
        return draft.effect, [Finding("BIRTH_AWAITED", _PID_3)]
    if draft.effect is Effect.CANCEL and _is_young(draft):
        return Effect.NONE, [Finding("BIRTH_UNKNOWN", _PID_3)]
    return Effect.NONE, list(draft.if_unknown)


def _is_young(draft: Draft) -> bool:
    """Whether the patient was born so shortly before the message that it may be about a birth we should know."""
    born = draft.record.child.born_on if draft.record else None
    return born is not None and draft.sent_at is not None and 0 <= (draft.sent_at.date() - born).days <= _YOUNG_DAYS


def _withdrawn(effect: Effect, state: State | None) -> list[Finding]:
    """Say that a birth is withdrawn to whoever goes on telling of it: only a new notice brings it back (F 22)."""
    if state is not State.CANCELLED or effect in (Effect.NONE, Effect.CANCEL):
        return []
    return [Finding("BIRTH_WITHDRAWN", _PID_3)]


def _late_change(effect: Effect, state: State) -> list[Finding]:
    if effect not in (Effect.AMEND, Effect.CANCEL):
        return []
    if state in CERTIFIED:
        return [Finding("ALREADY_ISSUED" if effect is Effect.AMEND else "CANCEL_AFTER_ISSUE", _PID_3)]
    if state in IN_FLIGHT:
        return [Finding("IN_PROCESS_CHANGE", _PID_3)]
    return []

"""The door: a frame comes in, its verdict is made, the inbox keeps it, and only then it is answered (steps 1 to 4).

Whatever happens there is one answer: to a poisoned message AR, to a message that could not be kept AR/CR so that the
sender keeps it, to a repeated one the stored answer byte for byte.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import json
import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import State
from gateway.contract.ports import Effect
from gateway.errors import MessageNotKeptError, OverloadedError, RateLimitedError
from gateway.hl7.header import salvage_header
from gateway.hl7.location import Location
from gateway.mllp.commit import NotKept
from gateway.observe.logging import describe
from gateway.pipeline import door
from gateway.pipeline.answer import NOT_THE_SENDER
from gateway.pipeline.helper import HelperError
from gateway.pipeline.large import LARGE_BYTES
from gateway.pipeline.verdict import UPDATES, Verdict, in_view_of
from gateway.store.answers import Letter
from gateway.store.inbox import Kept, Quarantined, Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from gateway.contract.ports import Draft
    from gateway.observe.metrics import Metrics
    from gateway.pipeline.answer import Answer, Answerer
    from gateway.pipeline.helper import Helper
    from gateway.pipeline.large import LargeLane
    from gateway.pipeline.verdict import Judge
    from gateway.rates import Buckets
    from gateway.store.inbox import Inbox
    from gateway.store.known import Baby, Known

_log = structlog.get_logger()
_MSH_10 = Location("MSH", 1, 10)
_HEADER_BYTES = 4096
_ASKED = frozenset({*UPDATES, Effect.OPEN})  # what the answer to depends on what is known of the baby
_TOO_FAST = RateLimitedError("a facility sends too many messages a second")


def content_digest(raw: bytes) -> bytes:
    """Return the SHA-256 of a message without MSH-7: a sender's repeat may bear a new time (domain A.6).

    Nor do line ends count, or what lies around the message: an engine that sends again may write them another way.
    """
    raw = _plain_lines(raw)
    end = raw.find(b"\r")
    head, rest = (raw, b"") if end < 0 else (raw[:end], raw[end:])
    fields = head.split(head[3:4]) if len(head) > 3 else [head]  # noqa: PLR2004 - MSH and its separator
    if len(fields) > 6:  # noqa: PLR2004 - MSH-7 is the seventh part
        fields[6] = b""
    return hashlib.sha256(b"|".join(fields) + rest).digest()


def _plain_lines(raw: bytes) -> bytes:
    """Return a message with CR behind each segment, the last one too, and nothing before MSH."""
    if not raw.startswith(b"MSH"):
        raw = raw.removeprefix(codecs.BOM_UTF8).lstrip()
    if b"\n" in raw:
        raw = raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    return raw if raw[-1:] == b"\r" != raw[-2:-1] else raw.rstrip(b"\r") + b"\r"


def _digests(raw: bytes) -> tuple[bytes, bytes]:
    """Return the digest of the bytes as they came, and of their content."""
    return hashlib.sha256(raw).digest(), content_digest(raw)


def _judged_whole(
    judge: Judge, raw: bytes, *, peer: str, certificate_names: AbstractSet[str], charset: str
) -> tuple[Verdict, tuple[bytes, bytes]]:
    """Return the verdict on a large message and its digests: the helper's work."""
    verdict = judge.evaluate(raw, peer=peer, certificate_names=certificate_names, charset=charset)
    return verdict, _digests(raw)


def _told(draft: Draft, charset: str, *, refused: bool) -> str | None:
    """Return what the store itself must know of a message, as JSON; of most messages nothing."""
    told: dict[str, Any] = {}
    if draft.effect is Effect.OBSERVE and draft.sent_at:
        told["sent_at"] = draft.sent_at.isoformat()
    if concerns := draft.concerns:
        told["concerns"] = concerns
    if charset:
        told["charset"] = charset
    if refused:
        told["refused"] = True
    return json.dumps(told) if told else None


class _Incoming:
    """One message between verdict and commit."""

    __slots__ = (
        "_answerer", "_judge", "answer", "asks_about", "charset", "compares", "digests", "draft", "effect", "findings",
        "opens", "others", "peer", "raw", "size", "started", "verdict",
    )  # fmt: skip

    def __init__(self, raw: bytes, peer: str, verdict: Verdict, by: tuple[Judge, Answerer], charset: str) -> None:
        self.raw = raw
        self.charset = charset
        self.digests: tuple[bytes, bytes] | None = None  # made in advance for a large message
        self.size = len(raw)
        self.peer = peer
        self.verdict = verdict
        self.started = time.perf_counter()
        self.findings: Sequence[Finding] = verdict.findings
        self.effect = Effect.NONE
        self.answer: Answer | None = None
        self._judge, self._answerer = by
        draft = self.draft = verdict.draft
        self.asks_about: Baby | None = None
        self.others: tuple[Baby, ...] = ()
        self.opens = self.compares = False
        asks = draft is not None and (draft.effect in _ASKED or bool(draft.if_open))
        if draft and asks and draft.medical_record and verdict.facility:
            code = verdict.facility.code
            self.asks_about = (code, draft.medical_record)
            self.others = tuple((code, number) for number in draft.concerns) if draft.prior else ()
            self.opens, self.compares = draft.effect is Effect.OPEN, door.compares(draft)

    def row(self, known: Mapping[Baby, Known]) -> Row | Quarantined:
        """Decide with what the store knows of the baby, and build the answer that is kept beside the bytes."""
        verdict = self.verdict
        mine = known.get(self.asks_about) if self.asks_about else None
        self.effect, self.findings = in_view_of(verdict, State(mine.state) if mine else None)
        refused = self._object(known) if known and self.compares and self.effect is not Effect.NONE else False
        answer = self.answer = self._answerer.answer(verdict, self.findings)
        header, facility = verdict.header, verdict.facility
        findings = self.findings
        if header is None or facility is None or (findings and any(f.entry.answer == "reject" for f in findings)):
            reason = findings[0].code if findings else "MSH_UNREADABLE"
            return Quarantined(self.peer, reason, self.raw, answer.accept, self._letter(answer))
        draft = verdict.draft if self.effect is not Effect.NONE else None
        digest, content = self.digests or _digests(self.raw)
        return Row(
            facility=facility.code,
            application=header.application_code,
            control_id=facility.control_key(header.control_id, header.sent_at_raw, self._answerer.clock),
            event=verdict.event,
            peer=self.peer,
            raw=self.raw,
            digest=digest,
            content_digest=content,
            answer=answer.accept,
            application_answer=answer.application or None,
            answer_code=answer.code,
            effect=self.effect.value,
            medical_record=draft.medical_record if draft else "",
            told=_told(draft, self.charset, refused=refused) if draft else None,
            findings=json.dumps([f.as_dict() for f in findings]) if findings else "[]",
            deferred=self._letter(answer) if answer.deferred else None,
        )

    def _object(self, known: Mapping[Baby, Known]) -> bool:
        """Say in the answer what is known to be another baby's; True where nothing of the message is to be applied."""
        facility, draft = self.verdict.facility, self.draft
        assert facility is not None and draft is not None  # noqa: S101, PT018 - else nothing is compared
        objection = door.object_to(self._judge, facility, draft, known, now=self._answerer.clock())
        if objection is None:
            return False
        free = any(f.code == "MRN_REUSED_FREE" for f in objection.findings)
        self.findings = [*objection.findings, *self.findings] if free else objection.findings
        return objection.refused

    def _letter(self, answer: Answer) -> Letter | None:
        """Return the answer for the sender's listener. Of what is kept, the inbox makes the message id its subject."""
        header, facility = self.verdict.header, self.verdict.facility
        if answer.deferred is None or header is None or facility is None:
            return None
        said = f"{facility.code}|{header.application_code}|{header.control_id}"
        return Letter(facility.code, f"rejected {hashlib.sha256(said.encode()).hexdigest()}", *answer.deferred)


@dataclass(slots=True)
class _Aside:
    """A message that goes to quarantine for its control id."""

    raw: bytes
    peer: str
    answer: bytes
    asks_about: Baby | None = None
    opens: bool = False
    compares: bool = False
    others: tuple[Baby, ...] = ()
    draft: Draft | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.raw)

    def row(self, known: Mapping[Baby, Known]) -> Quarantined:  # noqa: ARG002 - as every submission
        return Quarantined(self.peer, "CONTROL_ID_REUSED", self.raw, self.answer)


def _is_reused(kept: Kept) -> bool:
    """Whether other content came under a control id that is used: neither the same bytes nor the same without MSH-7."""
    before, row = kept.before, kept.row
    if before is None or not isinstance(row, Row):
        return False
    return row.digest != before.digest and row.content_digest != before.content_digest


def _facility_of(incoming: _Incoming) -> str | None:
    facility = incoming.verdict.facility
    return facility.code if facility else None


def _control_id_of(incoming: _Incoming) -> str | None:
    header = incoming.verdict.header
    return header.control_id if header else None


def _answered(done: asyncio.Future[Kept], out: asyncio.Future[Sequence[bytes]], frames: Sequence[bytes]) -> None:
    """Answer a refusal whether or not its message could be set aside: nothing was promised."""
    if done.cancelled() or out.done():
        out.cancel()
        return
    if (error := done.exception()) is not None:
        _log.warning("message.not_set_aside", error=type(error).__name__)
    out.set_result(frames)


class Intake:
    """Takes frames from any transport."""

    def __init__(
        self,
        *,
        judge: Judge,
        answerer: Answerer,
        inbox: Inbox,
        metrics: Metrics,
        large: LargeLane | None = None,
        pace: Buckets | None = None,
    ) -> None:
        """Take from each facility what `pace` has room for; without one, and without a lane, there is no limit."""
        self._judge = judge
        self._answerer = answerer
        self._inbox = inbox
        self._metrics = metrics
        self._large = large
        self._pace = pace
        self._latest: asyncio.Future[Kept] | None = None  # what the inbox was given last

    @cached_property
    def _bound_log(self) -> Any:  # noqa: ANN401 - structlog's own type is of no more use
        """Our logger, put together once: the usual one is put together for every line."""
        return _log.bind()

    def take(
        self, raw: bytes, *, peer: str, certificate_names: AbstractSet[str] = frozenset(), transport: str = "mllp",
        charset: str = "",
    ) -> asyncio.Future[Sequence[bytes]]:  # fmt: skip
        """Return a future of the answers to one message. Submissions keep the order of the calls.

        A large message is kept behind all that came before it; what must stay behind it waits for its answer.
        """
        out: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()
        if self._large is not None and len(raw) >= LARGE_BYTES:
            judge = partial(self._judged_aside, self._large.helper, raw, peer, certificate_names, charset)
            work = partial(self._take_large, self._large.inbox, judge, self._latest, out, transport)
            if not self._large.enter(len(raw), work):
                self._turn_away(raw, peer, out, transport)
            return out
        incoming = self._judged(raw, peer, certificate_names, charset)
        if self._is_over_rate(incoming):
            out.set_result(self._not_kept(incoming, _TOO_FAST, transport))
            return out
        kept = self._latest = self._inbox.submit(incoming)
        kept.add_done_callback(lambda done: self._resolve(incoming, done, out, transport))
        return out

    def _is_over_rate(self, incoming: _Incoming) -> bool:
        """Count a message of a facility that may send it, and tell whether it is one too many."""
        verdict = incoming.verdict
        if self._pace is None or verdict.facility is None or verdict.rejected:
            return False
        return self._pace.take(verdict.facility.code, time.monotonic()) > 0

    def _judged(self, raw: bytes, peer: str, certificate_names: AbstractSet[str], charset: str) -> _Incoming:
        try:
            verdict = self._judge.evaluate(raw, peer=peer, certificate_names=certificate_names, charset=charset)
        except Exception:  # noqa: BLE001 - one poisoned message must not hurt the others, nor go unanswered
            _log.exception("message.poisoned", bytes=len(raw), peer=peer)
            verdict = Verdict(findings=[Finding("INTERNAL", Location("MSH"))])
        return _Incoming(raw, peer, verdict, (self._judge, self._answerer), charset)

    async def _judged_aside(
        self, helper: Helper, raw: bytes, peer: str, certificate_names: AbstractSet[str], charset: str
    ) -> _Incoming:
        """Judge in the helper's process; what breaks it is a poisoned message, as anywhere."""
        try:
            verdict, digests = await helper.run(
                _judged_whole, self._judge.as_of_now(), raw, peer=peer, certificate_names=certificate_names,
                charset=charset,
            )  # fmt: skip
        except HelperError as error:
            _log.error("message.poisoned", bytes=len(raw), peer=peer, **describe(error))
            verdict, digests = Verdict(findings=[Finding("INTERNAL", Location("MSH"))]), None
        incoming = _Incoming(raw, peer, verdict, (self._judge, self._answerer), charset)
        incoming.digests = digests
        return incoming

    async def _take_large(
        self,
        inbox: Inbox,
        judge: Callable[[], Awaitable[_Incoming]],
        before: asyncio.Future[Kept] | None,
        out: asyncio.Future[Sequence[bytes]],
        transport: str,
    ) -> None:
        started = time.perf_counter()
        try:
            incoming = await judge()
            incoming.started = started
            if before is not None and not before.done():  # a birth told in it is known to this message
                await asyncio.wait([before])
        except asyncio.CancelledError:  # the gateway stops
            out.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - the transport says so, and the sender keeps it
            if not out.done():
                out.set_exception(error)
            return
        if self._is_over_rate(incoming):
            if not out.done():
                out.set_result(self._not_kept(incoming, _TOO_FAST, transport))
            return
        kept = inbox.submit(incoming)
        kept.add_done_callback(lambda done: self._resolve(incoming, done, out, transport))
        await asyncio.wait([kept])

    def _turn_away(self, raw: bytes, peer: str, out: asyncio.Future[Sequence[bytes]], transport: str) -> None:
        """Answer a large message that there is no room for; of its text the header is enough."""
        verdict = Verdict(header=salvage_header(raw[:_HEADER_BYTES].decode("latin-1")))
        incoming = _Incoming(raw, peer, verdict, (self._judge, self._answerer), "")
        out.set_result(self._not_kept(incoming, OverloadedError("too many large messages wait"), transport))

    def _resolve(
        self, incoming: _Incoming, kept: asyncio.Future[Kept], out: asyncio.Future[Sequence[bytes]], transport: str
    ) -> None:
        if out.done() or kept.cancelled():
            out.cancel()
            return
        try:
            error = kept.exception()
            if error is not None:
                frames = self._not_kept(incoming, error, transport)
            elif _is_reused(kept.result()):
                self._refuse_reused(incoming, out, transport)
                return
            else:
                frames = self._answer(incoming, kept.result(), transport)
        except Exception:  # noqa: BLE001 - an answer that cannot be built must not leave the sender without one
            _log.exception("message.poisoned", bytes=incoming.size, peer=incoming.peer)
            frames = self._answerer.refuse(Verdict(), Finding("INTERNAL", Location("MSH"))).frames
        out.set_result(frames)

    def _refuse_reused(self, incoming: _Incoming, out: asyncio.Future[Sequence[bytes]], transport: str) -> None:
        """Answer AE 205 to other content under a used control id, once its bytes are set aside for a person (A.6)."""
        incoming.findings = [Finding("CONTROL_ID_REUSED", _MSH_10)]
        refusal = self._answerer.refuse(incoming.verdict, incoming.findings[0])
        self._log(incoming, refusal.said, transport, note="control id reused")
        self._metrics.quarantined.labels("CONTROL_ID_REUSED").inc()
        _log.warning("message.control_id_reused", facility=_facility_of(incoming), control_id=_control_id_of(incoming))
        aside = self._inbox.submit(_Aside(incoming.raw, incoming.peer, refusal.accept))
        aside.add_done_callback(lambda done: _answered(done, out, refusal.frames))

    def _not_kept(self, incoming: _Incoming, error: BaseException, transport: str) -> Sequence[bytes]:
        """Tell a sender to keep its message; one that PostgreSQL will never take must not come again for ever."""
        code = "STORE_UNAVAILABLE"
        if isinstance(error, MessageNotKeptError):
            code = "INTERNAL"
        elif isinstance(error, OverloadedError | RateLimitedError):
            code = error.code
        answer = self._answerer.refuse(incoming.verdict, Finding(code, Location("MSH")))
        self._log(incoming, answer.said, transport, note="not kept")
        return answer.frames if code == "INTERNAL" else NotKept(answer.frames)

    def _answer(self, incoming: _Incoming, kept: Kept, transport: str) -> Sequence[bytes]:
        answer = incoming.answer
        assert answer is not None  # noqa: S101 - row() was called before the commit
        before, row = kept.before, kept.row
        if before is None:
            note = "application answer deferred" if answer.deferred else None
            self._log(incoming, answer.said, transport, message_id=kept.message_id, note=note)
            if refused := [f.code for f in incoming.findings if f.code in NOT_THE_SENDER]:
                _log.warning("sender.refused", facility=_facility_of(incoming), peer=incoming.peer, code=refused[0])
            if isinstance(row, Quarantined):
                self._metrics.quarantined.labels(row.reason).inc()
            return answer.frames
        self._metrics.replays.inc()
        self._log(incoming, answer.said, transport, note="replay")
        return tuple(part for part in (before.answer, before.application_answer) if part)

    def _log(
        self, incoming: _Incoming, code: str, transport: str, *, note: str | None = None, message_id: int | None = None
    ) -> None:
        seconds = time.perf_counter() - incoming.started
        effect, findings = incoming.effect.value, incoming.findings
        self._metrics.message_answered(seconds, transport, code, effect)
        for finding in findings:
            self._metrics.findings.labels(finding.code).inc()
        log = self._bound_log
        log.info(
            "message.answered",
            message_id=message_id,
            facility=_facility_of(incoming),
            control_id=_control_id_of(incoming),
            message_type=incoming.verdict.event or None,
            effect=effect,
            code=code,
            findings=[f.code for f in findings] if findings else None,
            bytes=incoming.size,
            duration_ms=round(seconds * 1000, 2),
            note=note,
        )

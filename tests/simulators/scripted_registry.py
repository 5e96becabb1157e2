"""A registry in memory that fills the real port: scriptable answers, and a record of all that reached it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import (
    ActKind,
    ActOutcome,
    ActStatus,
    Certificate,
    Outcome,
    ParentCheck,
    RegistryStatus,
)
from gateway.errors import RegistryProtocolError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.contract.finding import Finding
    from gateway.contract.ports import Ask, SignedAct, Submission, TwinGroup
    from gateway.contract.record import BirthRecord

PDF = b"%PDF-1.7 SPECIMEN"


def certificate(number: str = "3510-LU-20032025-9001", **changes: Any) -> Certificate:
    """Return an invented certificate whose file is `PDF`."""
    issued = Certificate(
        number=number,
        child_nik=Nik("3510161103259001"),
        family_card=Personal("3510161405189001"),
        issued_at=dt.datetime(2025, 3, 20, 3, tzinfo=dt.UTC),
        sha256=hashlib.sha256(PDF).hexdigest(),
        document_url=f"https://registry.invalid/{number}",
    )
    return replace(issued, **changes)


@dataclass
class ScriptedRegistry:
    """What is not scripted is accepted: submissions come into process, parents agree, unknown cases are unknown.

    A script entry is an answer, or an error to raise.
    """

    name: str = "scripted"
    on_submit: deque[RegistryStatus | Outcome | Exception] = field(default_factory=deque)
    on_ask: deque[RegistryStatus | Outcome | Exception] = field(default_factory=deque)
    on_check: deque[tuple[ParentCheck, ...] | Exception] = field(default_factory=deque)
    on_fetch: deque[bytes | Exception] = field(default_factory=deque)
    on_file: Callable[[Certificate], Exception | None] | None = None  # what fetching a certificate's file meets
    during: Callable[[str], Awaitable[object]] | None = None  # awaited inside every call, with its name
    loses_answer: Exception | None = None  # the next submission is accepted, its answer lost

    cases: dict[str, Outcome] = field(default_factory=dict)  # by idempotency key: what the registry has
    submissions: list[Submission] = field(default_factory=list)
    asked: list[tuple[str, int, str]] = field(default_factory=list)
    checked: list[BirthRecord] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    closed: bool = False
    check_identity: str = "as anybody"
    reopened: list[dt.datetime] = field(default_factory=list)

    amends: bool = True
    acts: frozenset[ActKind] = frozenset(ActKind)
    on_act: deque[Outcome | ActStatus | Exception] = field(default_factory=deque)
    loses_act: Exception | None = None  # the next act is done, its answer lost
    acted: list[SignedAct] = field(default_factory=list)
    acts_done: dict[str, ActOutcome] = field(default_factory=dict)  # by key: what the registry has

    def act_document(self, ask: Ask, record: BirthRecord) -> dict[str, Any]:
        document = self.document(record, birth_id=ask.birth_id, revision=ask.revision, twins=None)
        told = {"reason": ask.reason, "basis": ask.basis, "order": ask.order, "number": ask.number}
        scans = [scan.sha256 for scan in ask.scans]
        return {**document, "tindakan": ask.kind.value, **told, "paths": list(ask.paths), "scans": scans}

    async def act(self, act: SignedAct) -> Outcome:
        self.acted.append(act)
        await self._meanwhile("act")
        answer = self.on_act.popleft() if self.on_act else ActStatus.ACCEPTED
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, ActStatus):
            self.acts_done.setdefault(act.key, ActOutcome(act.key, answer))
            status = (
                RegistryStatus.ISSUED if act.kind in (ActKind.CORRECT, ActKind.REVOKE) else RegistryStatus.IN_PROCESS
            )
            if act.kind in (ActKind.WITHDRAW, ActKind.REVOKE) and answer is ActStatus.GRANTED:
                status = RegistryStatus.WITHDRAWN
            answer = replace(_outcome(status, act.birth_id, act.revision), acts=tuple(self.acts_done.values()))
        if self.loses_act is not None:
            error, self.loses_act = self.loses_act, None
            raise error
        return answer

    def reopen_checks(self, since: dt.datetime) -> None:
        self.reopened.append(since)

    async def check_parents(self, record: BirthRecord) -> tuple[ParentCheck, ...]:
        self.checked.append(record)
        await self._meanwhile("check_parents")
        answer = self.on_check.popleft() if self.on_check else ()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def document(self, record: BirthRecord, *, birth_id: str, revision: int, twins: TwinGroup | None) -> dict[str, Any]:
        child = record.child
        return {
            "id_kasus": birth_id,
            "revisi": revision,
            "nama": child.name.reveal() if child.name else None,
            "berat": child.weight_g,
            "kembar": {"kelompok": twins.group_id, "jumlah": twins.size} if twins else None,
        }

    async def submit(self, submission: Submission) -> Outcome:
        self.submissions.append(submission)
        await self._meanwhile("submit")
        answer = self.on_submit.popleft() if self.on_submit else RegistryStatus.IN_PROCESS
        if isinstance(answer, Exception):
            raise answer
        outcome = _outcome(answer, submission.birth_id, submission.revision)
        self.cases.setdefault(submission.idempotency_key, outcome)
        if self.loses_answer is not None:
            error, self.loses_answer = self.loses_answer, None
            raise error
        return outcome

    async def ask(self, *, birth_id: str, revision: int, reference: str) -> Outcome:
        self.asked.append((birth_id, revision, reference))
        await self._meanwhile("ask")
        if self.on_ask:
            answer = self.on_ask.popleft()
            if isinstance(answer, Exception):
                raise answer
            return _outcome(answer, birth_id, revision)
        known = self.cases.get(f"{birth_id}:{revision}") or Outcome(birth_id, revision, RegistryStatus.UNKNOWN)
        return replace(known, acts=tuple(self.acts_done.values()))

    async def fetch_document(self, certificate: Certificate) -> bytes:
        self.fetched.append(certificate.number)
        await self._meanwhile("fetch_document")
        if self.on_file is not None and (met := self.on_file(certificate)) is not None:
            raise met
        answer = self.on_fetch.popleft() if self.on_fetch else PDF
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        if headers.get("signature") != "good":
            raise SignatureError("the callback is not signed")
        try:
            told = json.loads(body)
            return Outcome(told["birth_id"], told["revision"], RegistryStatus(told["status"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryProtocolError("the callback cannot be read") from error

    async def close(self) -> None:
        self.closed = True

    async def _meanwhile(self, call: str) -> None:
        if self.during is not None:
            during, self.during = self.during, None
            await during(call)


def _outcome(answer: RegistryStatus | Outcome, birth_id: str, revision: int) -> Outcome:
    if isinstance(answer, Outcome):
        return answer
    issued = certificate() if answer is RegistryStatus.ISSUED else None
    return Outcome(birth_id, revision, answer, reference=f"PRM-{birth_id[:8]}", certificate=issued)


def checks(*findings: Finding) -> tuple[ParentCheck, ...]:
    """Return the registry's opinion on a mother."""
    return (ParentCheck("mother", findings),)

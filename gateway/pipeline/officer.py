"""The registry back office's side of a birth: records taken under a lease, and what became of them (contract.md).

This is the way of an office without an interface of its own; a stillbirth goes it too, for its letter (domain F 73).
The record left the house when it was first taken: an attempt is written and the birth is IN_PROCESS, so that nothing
about it changes behind the office's back. An outcome names its lease, and goes on as an answer of a registry does:
settle, collect, deliver.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import CERTIFIED, State
from gateway.contract.masked import Nik, Personal
from gateway.contract.missing import described
from gateway.contract.ports import Certificate, Outcome, RegistryStatus
from gateway.errors import ProcotError
from gateway.pipeline import clocks
from gateway.pipeline.difference import changes, listed
from gateway.pipeline.likeness import begun_again
from gateway.pipeline.routing import office_name
from gateway.pipeline.seal import make_seal
from gateway.pipeline.settle import settle
from gateway.store import attachments, births, checks, leases, messages, revisions, submissions, views
from gateway.store.births import Why
from gateway.verify.akta import check_issued, document_kind, read_issued

if TYPE_CHECKING:
    import datetime as dt
    import uuid

    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.leases import Taken, Wanted

_log = structlog.get_logger()


class Decision(Enum):
    """What an office may say of a record."""

    ACCEPT = "accept"  # it is ours now; the lease stands until the outcome
    ISSUE = "issue"
    ASK = "ask"  # something is missing or unreadable
    REFUSE = "refuse"
    REVOKE = "revoke"  # withdraw before issue, take back after it


class Reason(Enum):
    """Why an office asks, refuses or revokes (domain C.4); a closed list, so that no person's data comes in by it."""

    NIK_IBU = "NIK_IBU_TIDAK_SESUAI"
    KK = "KK_TIDAK_SESUAI"
    NAME = "NAMA_TIDAK_SAH"
    DUPLICATE = "DUPLIKAT"
    DOCUMENTS_MISSING = "BERKAS_KURANG"
    DOCUMENTS_UNREADABLE = "BERKAS_TIDAK_TERBACA"
    OTHER_REGION = "WILAYAH_LAIN"
    COME_IN_PERSON = "PERLU_HADIR"
    COURT = "PUTUSAN_PENGADILAN"
    OTHER = "LAINNYA"


@dataclass(frozen=True, slots=True)
class Issue:
    """What was issued, as the officer typed it; `document` is the PDF, empty where the office keeps it."""

    number: str
    child_nik: str
    kk_number: str
    issued_at: dt.datetime
    document: bytes = b""


@dataclass(frozen=True, slots=True)
class Word:
    """One outcome: under which lease, by whom, and its digest, by which the same word is known again."""

    decision: Decision
    lease: uuid.UUID
    actor: str
    digest: bytes
    reason: Reason | None = None
    note: str = ""
    reference: str = ""
    issue: Issue | None = None


class IssueRefusedError(ProcotError):
    """The numbers cannot be those of this birth; nothing was changed. `problems` are (field, finding)."""

    code = "ISSUE_REFUSED"

    def __init__(self, problems: list[tuple[str, Finding]]) -> None:
        super().__init__(f"the certificate was not taken: {', '.join(sorted({f.code for _, f in problems}))}")
        self.problems = problems


class OutcomeOutOfPlaceError(ProcotError):
    """This outcome does not fit where the birth is; nothing was changed."""

    code = "OUTCOME_OUT_OF_PLACE"


# ------------------------------------------------------------------------------------------------------- taking


async def lease(context: Context, wanted: Wanted, *, actor: str, seconds: float) -> list[dict[str, Any]]:
    """Take records and return each complete, the most urgent first."""
    async with context.database.transaction() as connection:
        await _lay_out_stillbirths(context, connection, wanted)
        items = []
        for taken in await leases.take(connection, wanted, holder=actor, seconds=seconds):
            birth = await births.lock(connection, taken.birth_id)
            before = birth.submitted
            await _leave(context, connection, birth, taken, actor)
            items.append((birth, await _item(context, connection, birth, taken, before)))
    items.sort(key=lambda pair: _order(pair[0], pair[1]))
    for birth, item in items:
        again = "yes" if item["taken"] > 1 else "no"
        context.metrics.leases.labels(again).inc()
        _log.info("office.leased", birth_id=str(birth.id), facility=birth.facility, outcome=f"taken {item['taken']}")
    return [item for _, item in items]


async def _lay_out_stillbirths(context: Context, connection: Connection, wanted: Wanted) -> None:
    """Sign the stillbirths that wait for this office: they are judged, and nobody else has the next move."""
    config = context.config
    offices = [office.code for office in config.office if office.way == "lease"]
    offices += [config.registry.office] if config.registry.way == "lease" else []
    for birth_id in await leases.stillborn(connection, wanted, offices=offices):
        birth = await births.lock(connection, birth_id)
        await births.set_way(connection, birth, way="lease", office=birth.office)
        seal = make_seal(context, birth)
        await submissions.keep_seal(connection, birth.id, birth.revision, seal)
        detail = {"sha256": seal.sha256, "key_id": seal.key_id}
        why = Why("gateway", "seal", f"stillbirth: signed; waits for office {birth.office}", detail=detail)
        await births.move(connection, birth, State.AWAIT_OFFICE, why)
        context.metrics.moves.labels(State.AWAIT_OFFICE.value).inc()


def _order(birth: Birth, item: dict[str, Any]) -> tuple[Any, ...]:
    """Return the key of the order the records were chosen in: the statement that takes them does not keep it."""
    leaves = birth.leaves_at.timestamp() if birth.leaves_at else float("inf")
    return birth.priority, leaves, item["deadline"] or "9999", birth.received_at, birth.id.hex


async def _leave(context: Context, connection: Connection, birth: Birth, taken: Taken, actor: str) -> None:
    """Write down who has the record; the first time also that it left the house."""
    detail = {"office": birth.office, "taken": taken.taken, "until": taken.expires_at.isoformat(timespec="seconds")}
    why = Why(actor, "lease", f"taken by office {birth.office}", detail=detail)
    if birth.state is not State.AWAIT_OFFICE:
        await births.note(connection, birth, why)
        return
    await submissions.begin_attempt(connection, birth.id, birth.revision)
    birth.submitted = birth.revision
    await births.move(connection, birth, State.IN_PROCESS, why)
    context.metrics.moves.labels(State.IN_PROCESS.value).inc()


async def _item(context: Context, connection: Connection, birth: Birth, taken: Taken, before: int) -> dict[str, Any]:
    """Return all that an officer needs to decide without a telephone. `before` is the revision the office had."""
    revision = birth.submitted or birth.revision
    record = await revisions.record_of(connection, birth.id, revision)
    sealed = await submissions.sealed(connection, birth.id, revision)
    issued = await submissions.certificate(connection, birth.id)
    row = await views.office_columns(connection, birth.id)
    return {
        "id": str(birth.id),
        "lease": str(taken.lease),
        "lease_expires_at": taken.expires_at.isoformat(timespec="seconds"),
        "taken": taken.taken,
        "state": birth.state.value,
        "document_kind": document_kind(record),
        "revision": revision,
        "idempotency_key": f"{birth.id}:{revision}",
        "office": {"code": birth.office, "name": office_name(birth.office, context.config)},
        "facility": birth.facility,
        "mrn": birth.medical_record,
        "restricted": birth.restricted or None,
        **_urgency(context, birth, record, row["deadline"]),
        "record": record.model_dump(mode="json", exclude={"provenance"}),
        "provenance": record.provenance,
        "revisions": await listed(connection, birth.id),
        "findings": [{k: v for k, v in f.items() if k != "by"} for f in birth.findings],
        "accepted": sorted(birth.accepted),
        "missing": described(row["missing"]),
        "verdicts": await messages.verdicts(connection, birth.id),
        "checks": await checks.newest(connection, birth.id),
        "waiting_messages": len(await messages.waiting(connection, birth.facility, birth.medical_record)),
        "documents": [_scan(birth, d) for d in await attachments.of_birth(connection, birth.id)],
        "diff": await _difference(connection, birth, record, before if 0 < before < revision else revision - 1),
        "signed": {"payload": sealed.payload.decode(), "signature": sealed.signature},
        "certificate_number": issued.number if issued else None,
    }


def _urgency(context: Context, birth: Birth, record: BirthRecord, deadline: dt.date | None) -> dict[str, Any]:
    zone = ZoneInfo(context.facility(birth.facility).time_zone)
    day = clocks.day_of_term(birth, context.clock().astimezone(zone).date())
    term = clocks.term_of(record.event).days
    return {
        "priority": birth.priority,
        "leaves_at": birth.leaves_at.isoformat(timespec="seconds") if birth.leaves_at else None,
        "deadline": deadline.isoformat() if deadline else None,
        "days_left": term - day if day is not None else None,
        "late": day is not None and day > term,
    }


def _scan(birth: Birth, document: dict[str, Any]) -> dict[str, Any]:
    url = f"/v1/registry/records/{birth.id}/documents/{document['sha256']}" if document["here"] else None
    return {key: document[key] for key in ("kind", "mime", "size", "sha256", "actor")} | {"url": url}


async def _difference(connection: Connection, birth: Birth, record: BirthRecord, since: int) -> dict[str, Any]:
    """Return what changed since a revision: both sides, and who said the new one."""
    if since < 1:
        return {"since": 0, "changes": []}
    # Here a person's data are shown on purpose: the officer decides by them.
    earlier = await revisions.record_of(connection, birth.id, since)
    return {"since": since, "changes": changes(earlier, record, values=True)}


async def open_document(context: Context, birth_id: uuid.UUID, sha256: str, *, actor: str) -> tuple[str, bytes] | None:
    """Return type and bytes of a birth's scan, and write down who opened it; None where it is not there."""
    async with context.database.transaction() as connection:
        kept = await attachments.content(connection, birth_id, sha256)
        if kept is not None:
            birth = await births.lock(connection, birth_id)
            await births.note(connection, birth, Why(actor, "document", "scan opened", detail={"sha256": sha256}))
        return kept


# ------------------------------------------------------------------------------------------------------ deciding


async def decide(context: Context, birth_id: uuid.UUID, word: Word) -> dict[str, Any]:
    """Apply an office's word to the record it holds.

    Raises LookupError, LeaseLostError, IssueRefusedError, OutcomeOutOfPlaceError, RegistryProtocolError; each leaves
    everything as it was. The same word under the same lease again is answered as before.
    """

    async def work(connection: Connection) -> tuple[Birth, list[Finding] | None]:
        birth = await births.lock(connection, birth_id)
        held = await leases.read(connection, birth.id, word.lease)
        if held.digest is not None:
            if held.digest != word.digest:
                raise OutcomeOutOfPlaceError("this lease ended with another outcome; take the record again by its id")
            return birth, None
        warnings = await _apply(context, connection, birth, word)
        await _fence(connection, birth, word)
        return birth, warnings

    birth, warnings = await begun_again(context.database, work)
    if warnings is None:
        return _decided(birth, [], repeated=True)
    context.metrics.outcomes.labels(word.decision.value).inc()
    _log.info(
        "office.decided",
        birth_id=str(birth.id),
        facility=birth.facility,
        state=birth.state.value,
        outcome=word.decision.value,
        reason=word.reason.value if word.reason else None,
    )
    return _decided(birth, warnings, repeated=False)


async def _fence(connection: Connection, birth: Birth, word: Word) -> None:
    """End the lease (or let it stand, accepted) in the statement that checks it: a lost one undoes everything."""
    if word.decision is Decision.ACCEPT:
        await leases.accept(connection, birth.id, word.lease, note=word.note)
    else:
        await leases.end(connection, birth.id, word.lease, digest=word.digest, note=word.note)


async def _apply(context: Context, connection: Connection, birth: Birth, word: Word) -> list[Finding]:
    _in_place(birth, word)
    revision = birth.submitted
    match word.decision:
        case Decision.ACCEPT:
            detail = {"reference": word.reference} if word.reference else {}
            if word.reference:
                await births.set_reference(connection, birth, word.reference)
            await births.note(connection, birth, Why(word.actor, "outcome", "accepted by the office", detail=detail))
            return []
        case Decision.ISSUE:
            return await _issue(context, connection, birth, word)
        case Decision.ASK:
            status = RegistryStatus.NEEDS_DATA
        case Decision.REFUSE:
            status = RegistryStatus.REFUSED
        case Decision.REVOKE:
            status = RegistryStatus.WITHDRAWN
    certified = birth.state in CERTIFIED
    reason = word.reason.value if word.reason else ""
    outcome = Outcome(str(birth.id), revision, status, reference=word.reference, reason=reason)
    await settle(context, connection, birth, outcome, actor=word.actor, step="outcome")
    if word.decision in (Decision.REFUSE, Decision.REVOKE) and not certified:
        await births.came_back(connection, birth)
    return []


def _in_place(birth: Birth, word: Word) -> None:
    """Refuse what cannot be said of a birth in this state."""
    open_case = birth.state is State.IN_PROCESS
    if word.decision is Decision.REVOKE and birth.state in CERTIFIED:
        return
    if not open_case:
        raise OutcomeOutOfPlaceError(
            f"the birth is {birth.state.value}: {word.decision.value} is for a record in IN_PROCESS"
            + ("" if birth.state in CERTIFIED else "; take it again when it is AWAIT_OFFICE")
        )


async def _issue(context: Context, connection: Connection, birth: Birth, word: Word) -> list[Finding]:
    assert word.issue is not None  # noqa: S101 - the web part reads it with this decision
    record = await revisions.record_of(connection, birth.id, birth.submitted)
    zone = ZoneInfo(context.facility(birth.facility).time_zone)
    issued = read_issued(word.issue.number, word.issue.child_nik, word.issue.kk_number)
    left = await submissions.first_attempt_at(connection, birth.id)
    errors, warnings = check_issued(
        issued,
        record,
        reported_on=left.astimezone(zone).date(),
        today=context.clock().astimezone(zone).date(),
    )
    if errors:
        raise IssueRefusedError([(name, Finding(code)) for name, code in errors])
    document = word.issue.document
    certificate = Certificate(
        number=issued.number,
        child_nik=Nik(issued.child_nik),
        family_card=Personal(issued.family_card),
        issued_at=word.issue.issued_at,
        sha256=hashlib.sha256(document).hexdigest() if document else "",
        document_url="",
    )
    outcome = Outcome(
        str(birth.id), birth.submitted, RegistryStatus.ISSUED, reference=word.reference, certificate=certificate
    )
    await settle(context, connection, birth, outcome, actor=word.actor, step="outcome")
    if document:
        await submissions.keep_document(connection, birth.id, document)
    found = [Finding(code) for _, code in warnings]
    if found:
        codes = {"codes": [f.code for f in found]}
        await births.note(connection, birth, Why(word.actor, "outcome", "issued, with remarks", detail=codes))
    return found


def _decided(birth: Birth, warnings: list[Finding], *, repeated: bool) -> dict[str, Any]:
    return {
        "id": str(birth.id),
        "state": birth.state.value,
        "revision": birth.revision,
        "repeated": repeated,
        "warnings": [f.as_dict() for f in warnings],
    }

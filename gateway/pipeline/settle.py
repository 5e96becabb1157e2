"""Step 8: apply what the registry says, wherever it was said: submission, poll or callback (T3).

The same outcome twice changes nothing. Another certificate after the first is never applied: a person looks.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, MOVES, State
from gateway.contract.ports import Certificate, Outcome, RegistryStatus
from gateway.errors import RegistryProtocolError
from gateway.pipeline.rejudge import go
from gateway.store import births, messages, queue, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_log = structlog.get_logger()
ASKED_FOR_DATA = "REGISTRY_REFUSED"
# What takes back a certificate that was issued: an officer looks (architecture, step 8).
_UNDONE = (RegistryStatus.REFUSED, RegistryStatus.WITHDRAWN)
_ENDS = {
    RegistryStatus.REFUSED: (State.REFUSED, "SUBMISSION_REFUSED"),
    RegistryStatus.NEEDS_DATA: (State.HOLD_DATA, ASKED_FOR_DATA),
    RegistryStatus.WITHDRAWN: (State.CANCELLED, None),
}


async def settle(
    context: Context, connection: Connection, birth: Birth, outcome: Outcome, *, actor: str, step: str
) -> None:
    """Apply an outcome to a locked birth, in the caller's transaction.

    What an earlier revision was told comes late and decides nothing any more; a certificate always counts.
    Raises RegistryProtocolError for an outcome that cannot be about this birth.
    """
    await _believable(connection, birth, outcome)
    if outcome.status is not RegistryStatus.UNKNOWN:
        await submissions.resolve_unknown(connection, birth.id, outcome.revision, "answered")
    current = outcome.revision == birth.submitted
    if outcome.reference and outcome.reference != birth.reference and current:
        await births.set_reference(connection, birth, outcome.reference)
    if outcome.status is RegistryStatus.ISSUED and outcome.certificate is not None:
        await _issued(
            context, connection, birth, (outcome, outcome.certificate), Why(actor, step, "certificate issued")
        )
    elif outcome.status is RegistryStatus.IN_PROCESS and current:
        await _in_process(context, connection, birth, Why(actor, step, "the registry has the case"))
    elif outcome.status in _ENDS and current and await _awaits(connection, birth):
        await _ended(context, connection, birth, outcome, Why(actor, step))
    elif outcome.status in _UNDONE and current and birth.state in CERTIFIED:
        await _undone(context, connection, birth, outcome, Why(actor, step))
    elif birth.state not in CERTIFIED:
        _log.warning(
            "registry.outcome_ignored", birth_id=str(birth.id), status=outcome.status.value, state=birth.state.value
        )


async def _believable(connection: Connection, birth: Birth, outcome: Outcome) -> None:
    if uuid.UUID(outcome.birth_id) != birth.id:
        raise RegistryProtocolError("the registry's answer is about another birth")
    if outcome.status is not RegistryStatus.ISSUED:
        return
    if outcome.certificate is None:
        raise RegistryProtocolError("the registry says that it issued a certificate and does not give it")
    if await submissions.number_taken(connection, birth.id, outcome.certificate.number):
        raise RegistryProtocolError("the registry gave the certificate number of another birth")


async def _awaits(connection: Connection, birth: Birth) -> bool:
    """Whether the registry's decision is still open: also for a birth that was laid before a person meanwhile."""
    if birth.state is State.DEAD_LETTER:
        return await submissions.certificate(connection, birth.id) is None
    return birth.state in IN_FLIGHT or asked_for_data(birth)


def asked_for_data(birth: Birth) -> bool:
    """Whether the registry still has the case and waits for data: PERLU_PERBAIKAN goes both ways (domain C.4)."""
    return any(f["code"] == ASKED_FOR_DATA for f in birth.findings)


async def _in_process(context: Context, connection: Connection, birth: Birth, why: Why) -> None:
    if birth.state is not State.SUBMITTED and not asked_for_data(birth):
        return
    await births.set_findings(connection, birth, [f for f in birth.findings if f["code"] != ASKED_FOR_DATA])
    await births.move(connection, birth, State.IN_PROCESS, why)
    context.metrics.moves.labels(State.IN_PROCESS.value).inc()
    await queue.add(
        connection,
        Kind.POLL,
        birth_id=birth.id,
        priority=birth.priority,
        delay_s=context.config.registry.poll_first_s,
    )


async def _issued(
    context: Context, connection: Connection, birth: Birth, told: tuple[Outcome, Certificate], why: Why
) -> None:
    outcome, certificate = told
    if not await submissions.keep_certificate(connection, birth.id, outcome.revision, certificate):
        await _issued_before(context, connection, birth, certificate, why)
        return
    await queue.drop(connection, birth.id, Kind.POLL)
    detail: dict[str, Any] = {"certificate_number": certificate.number}
    if outcome.revision != birth.submitted:
        _log.error("registry.issued_for_earlier_revision", birth_id=str(birth.id), state=birth.state.value)
        detail["revision"] = outcome.revision
    numbered = Why(why.actor, why.step, why.reason, detail=detail)
    await births.set_findings(connection, birth, [f for f in birth.findings if f["code"] != ASKED_FOR_DATA])
    await _certified(context, connection, birth, numbered, current=outcome.revision == birth.revision)
    await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)
    await _let_waiting_messages_in(connection, birth)


async def _certified(context: Context, connection: Connection, birth: Birth, why: Why, *, current: bool) -> None:
    """Move a birth whose certificate came. It is valid whatever was decided here meanwhile: then a person looks."""
    if birth.state in IN_FLIGHT or birth.state is State.DEAD_LETTER:
        # No task is dropped: the submission that brought this on may be under way, and finds nothing left to do.
        await births.move(connection, birth, State.ISSUED, why)
        context.metrics.moves.labels(State.ISSUED.value).inc()
        return
    _log.error("registry.issued_unasked", birth_id=str(birth.id), state=birth.state.value)
    wanted = State.ISSUED if current else State.AMENDMENT_REVIEW
    if birth.state is State.CANCELLED:
        wanted = State.REVOCATION_REVIEW
    if wanted in MOVES[birth.state]:
        await go(context, connection, birth, wanted, why)
    else:
        await births.note(connection, birth, why)


async def _undone(context: Context, connection: Connection, birth: Birth, outcome: Outcome, why: Why) -> None:
    """Alarm once where the registry takes a certificate back; the hospital still has it."""
    if birth.state is State.REVOCATION_REVIEW:
        return
    _log.error("registry.certificate_taken_back", birth_id=str(birth.id), status=outcome.status.value)
    reason = f"the registry says {outcome.status.value} after issue: {outcome.reason or 'no reason given'}"
    await go(context, connection, birth, State.REVOCATION_REVIEW, Why(why.actor, why.step, reason))


async def _issued_before(
    context: Context, connection: Connection, birth: Birth, certificate: Certificate, why: Why
) -> None:
    before = await submissions.certificate(connection, birth.id)
    if before is None or _same(before, certificate):
        return
    _log.error("registry.second_certificate", birth_id=str(birth.id), state=birth.state.value)
    detail = {"certificate_number": certificate.number}
    what = "number" if before.number != certificate.number else "content under the same number"
    contradiction = Why(why.actor, why.step, f"a second certificate {what}: not applied", detail=detail)
    if birth.state in (State.ISSUED, State.DELIVERED):
        await go(context, connection, birth, State.AMENDMENT_REVIEW, contradiction)
    else:
        await births.note(connection, birth, contradiction)


def _same(one: Certificate, other: Certificate) -> bool:
    return (one.number, one.child_nik, one.sha256) == (other.number, other.child_nik, other.sha256)


async def _ended(context: Context, connection: Connection, birth: Birth, outcome: Outcome, why: Why) -> None:
    if outcome.status is RegistryStatus.NEEDS_DATA and asked_for_data(birth):
        return  # said before
    state, code = _ENDS[outcome.status]
    if outcome.status is not RegistryStatus.NEEDS_DATA:  # that case goes on there: it is asked about further on
        await queue.drop(connection, birth.id, Kind.POLL)
    if code:
        finding = Finding(code, parameters={"reason": outcome.reason})
        kept = [f for f in birth.findings if f["code"] not in ("SUBMISSION_REFUSED", ASKED_FOR_DATA)]
        await births.set_findings(connection, birth, [*kept, finding.as_dict()])
    reason = Why(why.actor, why.step, outcome.reason or outcome.status.value)
    await go(context, connection, birth, state, reason)
    await _let_waiting_messages_in(connection, birth)


async def _let_waiting_messages_in(connection: Connection, birth: Birth) -> None:
    """Hurry the assignment of what the hospital said while the registry had the case."""
    await queue.hurry_messages(connection, await messages.waiting(connection, birth.facility, birth.medical_record))

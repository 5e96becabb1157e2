"""Step 8: apply what the registry says, wherever it was said: submission, poll or callback (T3).

The same outcome twice changes nothing. Another certificate after the first is never applied: a person looks.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, State
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
_ENDS = {
    RegistryStatus.REFUSED: (State.REFUSED, "SUBMISSION_REFUSED"),
    RegistryStatus.NEEDS_DATA: (State.HOLD_DATA, "REGISTRY_REFUSED"),
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
    return birth.state in IN_FLIGHT


async def _in_process(context: Context, connection: Connection, birth: Birth, why: Why) -> None:
    if birth.state is not State.SUBMITTED:
        return
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
    if birth.state in IN_FLIGHT or birth.state is State.DEAD_LETTER:
        await births.move(connection, birth, State.ISSUED, numbered)
        context.metrics.moves.labels(State.ISSUED.value).inc()
    else:
        # It was asked for once and is valid, whatever was decided here meanwhile: a person has to look.
        _log.error("registry.issued_unasked", birth_id=str(birth.id), state=birth.state.value)
        await births.note(connection, birth, numbered)
    await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)
    await _let_waiting_messages_in(connection, birth)


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
    state, code = _ENDS[outcome.status]
    await queue.drop(connection, birth.id, Kind.POLL)
    if code:
        finding = Finding(code, parameters={"reason": outcome.reason, "text": outcome.text})
        kept = [f for f in birth.findings if f["code"] not in ("SUBMISSION_REFUSED", "REGISTRY_REFUSED")]
        await births.set_findings(connection, birth, [*kept, finding.as_dict()])
    reason = Why(why.actor, why.step, outcome.reason or outcome.status.value)
    await go(context, connection, birth, state, reason)
    await _let_waiting_messages_in(connection, birth)


async def _let_waiting_messages_in(connection: Connection, birth: Birth) -> None:
    """Hurry the assignment of what the hospital said while the registry had the case."""
    await queue.hurry_messages(connection, await messages.waiting(connection, birth.facility, birth.medical_record))

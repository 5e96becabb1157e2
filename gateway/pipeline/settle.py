"""Step 8: apply what the registry says, wherever it was said: submission, poll or callback (T3).

The same outcome twice changes nothing. Another certificate after the first is never applied: a person looks.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, MOVES, State
from gateway.contract.ports import ActKind, ActStatus, Certificate, Outcome, RegistryStatus
from gateway.contract.registered import as_registered, differing
from gateway.contract.revision import changed_paths, legal_changes
from gateway.errors import RegistryProtocolError
from gateway.pipeline.rejudge import OFFICE, go, keep_findings, keys_of, rejudge
from gateway.store import acts, births, events, messages, queue, revisions, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context, Rules
    from gateway.store.acts import Act
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_log = structlog.get_logger()
ASKED_FOR_DATA = "REGISTRY_REFUSED"
# What takes back a certificate that was issued: an officer looks (architecture, step 8).
_OPEN = (RegistryStatus.IN_PROCESS, RegistryStatus.NEEDS_DATA)
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
    await _acts_decided(context, connection, birth, outcome, Why(actor, step))
    current = outcome.revision == birth.submitted
    await _open_there(connection, birth, outcome, current=current)
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


async def _open_there(connection: Connection, birth: Birth, outcome: Outcome, *, current: bool) -> None:
    """Keep whether the registry has an open case, and of which revision: our own state may say other things."""
    if birth.way:
        return
    if outcome.status in _OPEN:
        if current and birth.state in IN_FLIGHT:  # later it may be old news
            await births.set_at_registry(connection, birth, outcome.revision)
    elif outcome.status is not RegistryStatus.UNKNOWN and (current or outcome.revision == birth.at_registry):
        await births.set_at_registry(connection, birth, 0)


async def _acts_decided(context: Context, connection: Connection, birth: Birth, outcome: Outcome, why: Why) -> None:
    """Write down what became of the act that is not decided yet. What it changes comes with the case's own status."""
    act = await acts.undecided(connection, birth.id)
    told = next((a for a in outcome.acts if act is not None and a.key == act.key), None)
    if act is None or told is None or not await acts.set_status(connection, act, told.status.value, told.reason):
        return
    context.metrics.acts.labels(act.kind.value, told.status.value).inc()
    _log.info(
        "registry.act", birth_id=str(birth.id), kind=act.kind.value, outcome=told.status.value, code=told.reason or None
    )
    detail = {"act": act.kind.value, "key": act.key, **({"code": told.reason} if told.reason else {})}
    said = f"{act.kind.value}: {told.status.value}" + (f" ({told.reason})" if told.reason else "")
    await births.note(connection, birth, Why(why.actor, why.step, said, detail=detail))
    if told.status is ActStatus.REFUSED:
        await _told_no(context, connection, birth, act, told.reason)


async def _told_no(context: Context, connection: Connection, birth: Birth, act: Act, reason: str) -> None:
    finding = Finding("ACT_REFUSED", parameters={"which": act.kind.value, "reason": reason or "?"})
    kept = [f for f in birth.findings if f["code"] != "ACT_REFUSED"]
    await keep_findings(context, connection, birth, [*kept, finding.as_dict()])
    if act.kind is ActKind.WITHDRAW:
        await _let_waiting_messages_in(connection, birth)


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
    if birth.way:
        return  # nobody to ask: the office brings the outcome (pipeline.officer)
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
        if await submissions.readdress(connection, birth.id, certificate):
            await queue.hurry(connection, birth.id, Kind.COLLECT)
        if not await _corrected(context, connection, birth, (outcome, certificate), why):
            await _issued_before(context, connection, birth, certificate, why)
        return
    await queue.drop(connection, birth.id, Kind.POLL)
    detail: dict[str, Any] = {"certificate_number": certificate.number}
    if outcome.revision != birth.submitted:
        _log.error("registry.issued_for_earlier_revision", birth_id=str(birth.id), state=birth.state.value)
        detail["revision"] = outcome.revision
    numbered = Why(why.actor, why.step, why.reason, detail=detail)
    await births.set_findings(connection, birth, [f for f in birth.findings if f["code"] != ASKED_FOR_DATA])
    submitted = await _asked_with(connection, birth, outcome.revision)
    current = not legal_changes(changed_paths(submitted, birth.record))
    await _certified(context, connection, birth, numbered, outcome.revision, current=current)
    await take_over(context, connection, birth, certificate, (submitted, current), numbered)
    await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)
    await _let_waiting_messages_in(connection, birth)


async def _certified(
    context: Context, connection: Connection, birth: Birth, why: Why, revision: int, *, current: bool
) -> None:
    """Move a birth whose certificate came. It is valid whatever was decided here meanwhile: then a person looks."""
    if birth.state in IN_FLIGHT or birth.state is State.DEAD_LETTER:
        # No task is dropped: the submission that brought this on may be under way, and finds nothing left to do.
        await births.move(connection, birth, State.ISSUED, why)
        context.metrics.moves.labels(State.ISSUED.value).inc()
        await _overtaken(context, connection, birth, why, revision, current=current)
        return
    _log.error("registry.issued_unasked", birth_id=str(birth.id), state=birth.state.value)
    wanted = State.ISSUED if current else State.AMENDMENT_REVIEW
    if birth.state is State.CANCELLED:
        wanted = State.REVOCATION_REVIEW
    if wanted in MOVES[birth.state]:
        await go(context, connection, birth, wanted, why)
    else:
        await births.note(connection, birth, why)


async def _overtaken(
    context: Context, connection: Connection, birth: Birth, why: Why, revision: int, *, current: bool
) -> None:
    """Lay before a person what the hospital had changed or withdrawn, and the office issued all the same (F 18, 23).

    A withdrawal that was granted ended its own case: the certificate of a later `revision` came of the notice told
    anew.
    """
    withdrawal = await acts.last(connection, birth.id, ActKind.WITHDRAW)
    if withdrawal is not None and not _is_over(withdrawal, revision):
        if withdrawal.status not in ("granted", "refused"):
            await acts.set_status(connection, withdrawal, "refused", "SUDAH_TERBIT")
        reason = "issued though the hospital had withdrawn the notice: the office decides"
        cause = {} if _is_a_persons(withdrawal) else {"cause": events.WITHDRAWN}
        await go(context, connection, birth, State.REVOCATION_REVIEW, Why(why.actor, why.step, reason, detail=cause))
    elif not current:
        reason = "issued without the hospital's last change: an officer decides"
        cause = {"cause": events.CHANGED}
        await go(context, connection, birth, State.AMENDMENT_REVIEW, Why(why.actor, why.step, reason, detail=cause))


def _is_over(withdrawal: Act, revision: int) -> bool:
    """Tell whether a withdrawal says nothing of the certificate of a revision."""
    return bool(withdrawal.detail.get("taken_back")) or (
        withdrawal.status == "granted" and withdrawal.revision < revision
    )


def _is_a_persons(withdrawal: Act) -> bool:
    return withdrawal.actor.startswith(("operator", "officer"))


async def take_over(
    context: Context,
    connection: Connection,
    birth: Birth,
    certificate: Certificate,
    submitted: tuple[BirthRecord, bool],
    why: Why,
) -> None:
    """Let the record say what the akta says, and tell the difference (domain F 97).

    `submitted` is the record the certificate was asked for with, and whether ours is still the same. Where the
    hospital has changed it since, the akta's words are kept with the certificate only: a person decides.
    """
    record, current = submitted
    paths = differing(record, certificate.registered)
    if not paths:
        return
    finding = Finding("CERTIFICATE_DIFFERS", parameters={"which": ", ".join(paths)})
    kept = [f for f in birth.findings if f["code"] != "CERTIFICATE_DIFFERS"]
    await births.set_findings(connection, birth, [*kept, finding.as_dict()])
    _log.warning("registry.issued_otherwise", birth_id=str(birth.id), findings=list(paths))
    said = Why(
        why.actor,
        why.step,
        "the akta differs from what was submitted: its words count",
        detail={"changed": list(paths)},
    )
    if current:
        changed = as_registered(birth.record, certificate.registered, paths)
        await revisions.revise(connection, birth, changed, keys=keys_of(context, changed), changed=paths, why=said)
    await births.note(connection, birth, said)


async def _asked_with(connection: Connection, birth: Birth, revision: int) -> BirthRecord:
    """Return the record a certificate was asked for with; ours, where a restore lost that revision."""
    try:
        return await revisions.record_of(connection, birth.id, revision)
    except LookupError:
        return birth.record


async def _corrected(
    context: Context, connection: Connection, birth: Birth, told: tuple[Outcome, Certificate], why: Why
) -> bool:
    """Apply the certificate of a correction that a person asked for and the office granted; False for any other."""
    outcome, certificate = told
    correction = await acts.last(connection, birth.id, ActKind.CORRECT)
    before = await submissions.certificate(connection, birth.id)
    if (
        before is None
        or correction is None
        or correction.status != "granted"
        or outcome.revision != correction.revision
    ):
        return await submissions.replaced_before(connection, birth.id, certificate.sha256, certificate.number)
    if correction.detail.get("applied") or _same(before, certificate):
        return _same(before, certificate)
    if certificate.child_nik != before.child_nik:
        return False  # another child's: a person looks
    await acts.applied(connection, correction)
    await submissions.replace_certificate(connection, birth.id, outcome.revision, certificate)
    await births.set_submitted(connection, birth, outcome.revision)
    detail = {"certificate_number": certificate.number, "replaces": before.number}
    done = Why(why.actor, why.step, "corrected certificate issued", detail=detail)
    submitted = await _asked_with(connection, birth, outcome.revision)
    current = not legal_changes(changed_paths(submitted, birth.record))
    if birth.state is State.AMENDMENT_REVIEW and current:
        await go(context, connection, birth, State.ISSUED, done)
    else:
        await births.note(connection, birth, done)
    await take_over(context, connection, birth, certificate, (submitted, current), done)
    await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)
    return True


async def _undone(context: Context, connection: Connection, birth: Birth, outcome: Outcome, why: Why) -> None:
    """Alarm once where the registry takes a certificate back; the hospital still has it."""
    asked = await acts.last(connection, birth.id, ActKind.REVOKE)
    if outcome.status is RegistryStatus.WITHDRAWN:
        known = await submissions.revoked(connection, birth.id)
        await submissions.revoked(connection, birth.id, now_revoked=True)
        if asked is not None:
            if asked.status not in ("granted", "refused"):
                await acts.set_status(connection, asked, "granted")
            await end_revoked(context, connection, birth, Why(why.actor, why.step, "revoked, as was asked"))
            return
        if known:
            return
    if birth.state is State.REVOCATION_REVIEW and outcome.status is not RegistryStatus.WITHDRAWN:
        return
    _log.error("registry.certificate_taken_back", birth_id=str(birth.id), status=outcome.status.value)
    reason = f"the registry says {outcome.status.value} after issue: {outcome.reason or 'no reason given'}"
    await go(context, connection, birth, State.REVOCATION_REVIEW, Why(why.actor, why.step, reason))


async def end_revoked(context: Rules, connection: Connection, birth: Birth, why: Why) -> None:
    """End a birth whose certificate is revoked; the hospital is told by the collect step (MDM^T11)."""
    if birth.state is not State.REVOCATION_REVIEW:
        await go(context, connection, birth, State.REVOCATION_REVIEW, why)
    await go(context, connection, birth, State.CANCELLED, why)
    await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)


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
        asked = {"by": OFFICE} if code == ASKED_FOR_DATA and birth.way else {}
        await keep_findings(context, connection, birth, [*kept, finding.as_dict() | asked])
    withdrawal = await acts.undecided(connection, birth.id)
    if state is State.CANCELLED and withdrawal is not None and withdrawal.kind is ActKind.WITHDRAW:
        await acts.set_status(connection, withdrawal, "granted")
    reason = Why(why.actor, why.step, outcome.reason or outcome.status.value)
    await go(context, connection, birth, state, reason)
    if state is State.REFUSED and birth.revision > birth.submitted and await _changed_since(connection, birth):
        # The hospital had changed it meanwhile: what was refused is not what it says now.
        await rejudge(
            context, connection, birth, Why(why.actor, why.step, "changed since it was submitted: judged anew")
        )
    await _let_waiting_messages_in(connection, birth)


async def _changed_since(connection: Connection, birth: Birth) -> bool:
    submitted = await revisions.record_of(connection, birth.id, birth.submitted)
    return bool(legal_changes(changed_paths(submitted, birth.record)))


async def _let_waiting_messages_in(connection: Connection, birth: Birth) -> None:
    """Hurry the assignment of what the hospital said while the registry had the case."""
    await queue.hurry_messages(connection, await messages.waiting(connection, birth.facility, birth.medical_record))

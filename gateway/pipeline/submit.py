"""Step 7: the sealed bytes go to the registry. The attempt is written before they leave.

An attempt without an end means that the registry may have them. Then it is asked by our own id first, and only what it
does not know is sent again: with the same bytes and the same idempotency key, never with a new one (domain F 96).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import structlog

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import IN_FLIGHT, State
from gateway.contract.ports import Outcome, RegistryStatus, Submission
from gateway.errors import (
    RegistryProtocolError,
    RegistryRefusedError,
    RegistryTooLateError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from gateway.pipeline.rejudge import go
from gateway.pipeline.settle import settle
from gateway.store import births, queue, submissions
from gateway.store.births import Why

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.queue import Task

_log = structlog.get_logger()


async def run(context: Context, task: Task) -> None:
    """Submit a sealed birth and apply the registry's first answer."""
    assert task.birth_id is not None  # noqa: S101 - a submit task is made with its birth
    prepared = await _prepare(context, task)
    if prepared is None:
        return
    submission, must_ask, attempt_id = prepared
    try:
        outcome = await _outcome(context, submission, must_ask=must_ask, attempt_id=attempt_id)
    except RegistryTooLateError as late:
        await _not_taken(context, task, submission, late.reason)
        return
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.finish(connection, task)
        await settle(context, connection, birth, outcome, actor="registry", step="submit")
        if birth.state is State.SUBMITTED:
            # Without this task nobody would ask again: it stays, and a person looks.
            raise RegistryProtocolError("the registry's answer to a submission decides nothing")


async def _prepare(context: Context, task: Task) -> tuple[Submission, bool, int] | None:
    """Write down that the bytes are about to leave; None where there is nothing to send any more."""
    assert task.birth_id is not None  # noqa: S101 - as above
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        # An office has it that no adapter serves: nothing may be registered twice.
        if birth.way or (birth.state is not State.SEALED and birth.state not in IN_FLIGHT):
            await queue.finish(connection, task)
            return None
        if await submissions.certificate(connection, birth.id) is not None:
            await queue.finish(connection, task)
            why = Why("gateway", "submit", "a certificate was issued already: nothing is sent again")
            await go(context, connection, birth, State.DEAD_LETTER, why)
            return None
        await queue.holds(connection, task)
        revision = birth.revision if birth.state is State.SEALED else birth.submitted
        if birth.at_registry == revision and birth.state is State.IN_PROCESS:
            await queue.finish(connection, task)  # its answer came by another way meanwhile
            return None
        must_ask = await submissions.must_ask(connection, birth.id, revision)
        amends = birth.reference if birth.at_registry and context.registry.amends else ""
        submission = await submissions.sealed(connection, birth.id, revision, amends=amends)
        attempt_id = await submissions.begin_attempt(connection, birth.id, revision)
        if birth.state is State.SEALED:
            await births.move(connection, birth, State.SUBMITTED, Why("gateway", "submit", "sent to the registry"))
            context.metrics.moves.labels(State.SUBMITTED.value).inc()
        return submission, must_ask, attempt_id


async def _not_taken(context: Context, task: Task, submission: Submission, reason: str) -> None:
    """Go back to the case as it stands where the office does not take a change of it (domain F 18).

    The change stays in our record: it goes as a new application where the case ends without a certificate, and before
    an officer where one is issued.
    """
    before = await _stands(context, submission)
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, uuid.UUID(submission.birth_id))
        await queue.finish(connection, task)
        if birth.state is not State.SUBMITTED or birth.submitted != submission.revision:
            return  # something newer was decided
        finding = Finding("AMENDMENT_NOT_TAKEN", parameters={"reason": reason})
        kept = [f for f in birth.findings if f["code"] != finding.code]
        await births.set_findings(connection, birth, [*kept, finding.as_dict()])
        why = Why("registry", "submit", f"the change is not taken: {reason}", detail={"revision": submission.revision})
        await births.note(connection, birth, why)
        await births.set_submitted(connection, birth, before.revision)
        _log.warning("registry.amendment_not_taken", birth_id=str(birth.id), code=reason)
        await settle(context, connection, birth, before, actor="registry", step="submit")
        if birth.state is State.SUBMITTED:
            raise RegistryProtocolError("the registry took no change of a case that it does not know either")


async def _stands(context: Context, submission: Submission) -> Outcome:
    """Return how the case stands that was to be amended."""
    outcome = await context.registry.ask(
        birth_id=submission.birth_id, revision=submission.revision, reference=submission.amends
    )
    if outcome.status is RegistryStatus.UNKNOWN:
        raise RegistryProtocolError("the registry does not know a case that it had accepted")
    return outcome


async def _outcome(context: Context, submission: Submission, *, must_ask: bool, attempt_id: int) -> Outcome:
    result = "unknown"
    try:
        if must_ask:
            found = await context.registry.ask(birth_id=submission.birth_id, revision=submission.revision, reference="")
            if found.status is not RegistryStatus.UNKNOWN:
                result = "found"
                return found
        outcome = await context.registry.submit(submission)
        result = "answered"
    except RegistryTooLateError:
        result = "refused"
        raise
    except RegistryRefusedError as refusal:
        result = "refused"
        return Outcome(
            submission.birth_id, submission.revision, RegistryStatus.REFUSED, reason=refusal.reason, text=str(refusal)
        )
    except RegistryUnavailableError:
        result = "unknown" if must_ask else "unavailable"
        raise
    except RegistryUnknownOutcomeError:
        raise
    else:
        return outcome
    finally:
        if result != "answered":
            async with context.database.connection() as connection:
                await submissions.end_attempt(connection, attempt_id, result)

"""Step 9: the way back. The same bytes and control id until the hospital's listener accepts them (T4).

Only an answer with our control id in MSA-2 counts. AE, AR, CE and CR end the tries: the same bytes would be refused
again, so a person decides (domain F 100, 101). A listener that cannot be connected to is left alone for a while, and
all its letters with it; a letter that it leaves unanswered waits by itself, and with it the later ones of its birth.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.errors import DeliveryRefusedError, DeliveryUnansweredError, DeliveryUnavailableError, Hl7SyntaxError
from gateway.mllp.client import acknowledgement
from gateway.pipeline.breaker import NotTriedError
from gateway.pipeline.lanes import listener_at
from gateway.store import births, outbound, queue
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from gateway.mllp.client import Target
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.outbound import Outbound
    from gateway.store.queue import Task

ANSWER_S = 20.0
ACCEPTED = ("AA", "CA")


async def run(context: Context, task: Task) -> None:
    """Send one outbound message and write down that the hospital has it."""
    assert task.outbound_id is not None  # noqa: S101 - a deliver task is made with its message
    async with context.database.connection() as connection:
        letter = await outbound.read(connection, task.outbound_id)
        before = await queue.seconds_to_earlier(connection, task)
    if before is not None:
        raise NotTriedError("an earlier letter of this birth waits; they keep their order", after=before)
    code = await _send(context, letter) if letter else ""
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id) if task.birth_id else None
        await queue.finish(connection, task)
        if letter is None:
            return
        await outbound.accepted(connection, letter.id, code)
        if birth is not None:
            await _note(context, connection, birth, letter, code)
            await queue.hurry(connection, birth.id, Kind.DELIVER)


def listener_of(context: Context, facility: str) -> Target:
    """Return where a facility listens. Raises DeliveryRefusedError where it does no more, LookupError."""
    target = listener_at(context.facilities, context.facility(facility).code)
    if target is None:
        raise DeliveryRefusedError("the facility has no listener (deliver_to) any more")
    return target


async def _send(context: Context, letter: Outbound) -> str:
    target = listener_of(context, letter.facility)
    answer = await context.turns.send(target, partial(_exchange, context, target, letter), answer_s=ANSWER_S)
    try:
        code, _ = acknowledgement(answer)
    except Hl7SyntaxError as error:
        raise DeliveryUnansweredError("the listener's answer is no acknowledgement") from error
    if code not in ACCEPTED:
        async with context.database.connection() as connection:
            await outbound.refused(connection, letter.id, code[:2])
        raise DeliveryRefusedError(f"the hospital's listener answered {code[:2]} to {letter.kind} {letter.control_id}")
    return code


async def _exchange(context: Context, target: Target, letter: Outbound, seconds: float) -> bytes:
    """Send one letter and note what it tells of the listener."""
    breaker, incidents = context.breaker, context.incidents
    breaker.check(target)
    try:
        answer = await context.listeners.exchange(target, letter.message, control_id=letter.control_id, timeout=seconds)
    except DeliveryUnansweredError as error:
        breaker.answered(target)  # it took the connection
        error.outage = not breaker.serves(target)
        if error.outage:  # nobody is answered: else this letter is special, and `queue list` shows it
            incidents.seen(error.code, letter.facility)
        raise
    except DeliveryUnavailableError as error:
        breaker.failed(target)
        error.outage = breaker.outage(target) or not breaker.serves(target)
        incidents.seen(error.code, letter.facility)
        raise
    breaker.answered(target)
    breaker.served(target)
    incidents.works(letter.facility)
    return answer


async def _note(context: Context, connection: Connection, birth: Birth, letter: Outbound, code: str) -> None:
    why = Why("hospital", "deliver", f"{letter.kind} accepted", detail={"code": code, "control_id": letter.control_id})
    told = not await outbound.waiting(connection, birth.id)
    if birth.state is State.ISSUED and told and not await queue.is_open(connection, birth.id, Kind.COLLECT):
        await births.move(connection, birth, State.DELIVERED, why)
        context.metrics.moves.labels(State.DELIVERED.value).inc()
        context.metrics.journey.observe((context.clock() - birth.received_at).total_seconds())
    else:
        await births.note(connection, birth, why)

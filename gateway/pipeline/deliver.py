"""Step 9: the way back. The same bytes and control id until the hospital's listener accepts them (T4).

Only an answer with our control id in MSA-2 counts. AE, AR, CE and CR end the tries: the same bytes would be refused
again, so a person decides (domain F 100, 101).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.errors import DeliveryRefusedError, DeliveryUnavailableError, Hl7SyntaxError
from gateway.mllp.client import Target, acknowledgement
from gateway.store import births, outbound, queue
from gateway.store.births import Why

if TYPE_CHECKING:
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
    code = await _send(context, letter) if letter else ""
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id) if task.birth_id else None
        await queue.finish(connection, task)
        if letter is None:
            return
        await outbound.accepted(connection, letter.id, code)
        if birth is not None:
            await _note(context, connection, birth, letter, code)


def listener_of(context: Context, facility: str) -> Target:
    """Return where a facility listens. Raises DeliveryRefusedError where it does no more, LookupError."""
    host, _, port = context.facility(facility).deliver_to.rpartition(":")
    if not host:
        raise DeliveryRefusedError("the facility has no listener (deliver_to) any more")
    return Target(host, int(port))


async def _send(context: Context, letter: Outbound) -> str:
    target = listener_of(context, letter.facility)
    context.breaker.check(target)
    try:
        answer = await context.listeners.exchange(
            target, letter.message, control_id=letter.control_id, timeout=ANSWER_S
        )
    except DeliveryUnavailableError as error:
        context.breaker.failed(target)
        error.outage = context.breaker.outage(target)
        context.incidents.seen(error.code, letter.facility)
        raise
    context.breaker.answered(target)
    context.incidents.works(letter.facility)
    try:
        code, _ = acknowledgement(answer)
    except Hl7SyntaxError as error:
        raise DeliveryUnavailableError("the listener's answer is no acknowledgement") from error
    if code not in ACCEPTED:
        async with context.database.connection() as connection:
            await outbound.refused(connection, letter.id, code[:2])
        raise DeliveryRefusedError(f"the hospital's listener answered {code[:2]} to {letter.kind} {letter.control_id}")
    return code


async def _note(context: Context, connection: Connection, birth: Birth, letter: Outbound, code: str) -> None:
    why = Why("hospital", "deliver", f"{letter.kind} accepted", detail={"code": code, "control_id": letter.control_id})
    if birth.state is State.ISSUED and not await outbound.waiting(connection, birth.id):
        await births.move(connection, birth, State.DELIVERED, why)
        context.metrics.moves.labels(State.DELIVERED.value).inc()
        context.metrics.journey.observe((context.clock() - birth.received_at).total_seconds())
    else:
        await births.note(connection, birth, why)

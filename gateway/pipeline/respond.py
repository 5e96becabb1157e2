"""The deferred answer: a facility's application answers go to its own listener, in order, until it has taken them.

What each says was decided with its message and committed with it. A turn sends what waits, oldest first, and writes
down each acceptance before the next one leaves; a kill in between sends one of them again with the same bytes. A
listener that is away holds up this facility's answers and nothing else: they have workers and a pace of their own, and
the certificates' pause (pipeline.breaker) does not hear of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.errors import DeliveryUnansweredError, DeliveryUnavailableError, LeaseLostError
from gateway.mllp.client import acknowledgement
from gateway.observe.logging import describe
from gateway.pipeline.deliver import ACCEPTED, ANSWER_S, listener_of
from gateway.pipeline.turns import PROBE_S
from gateway.store import answers, outbound, queue

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.outbound import Outbound
    from gateway.store.queue import Task

TURN_S = 2.0  # then others get the worker
_WHOLE = 3  # of so many turns in a row that failed one waits the whole time
_AT_ONCE = 50  # read together; each is sent and written down by itself
_SET_ASIDE = 5  # tries that nobody answered, after which an answer lets the next one pass
_UNANSWERED = "NONE"  # instead of the code that a listener would have refused it with
_PAUSE_S = 1.0  # after a listener went away in the middle of a turn

_log = structlog.get_logger()


async def run(context: Context, task: Task) -> None:
    """Send a facility's waiting answers for one turn. Raises where not even the first arrived."""
    assert task.facility is not None  # noqa: S101 - an answer task is made with its facility
    clock = asyncio.get_running_loop().time
    ends = clock() + min(TURN_S, context.config.gateway.lease_s / 4)
    sent = 0
    while not sent or clock() < ends:
        async with context.database.connection() as connection:
            letters = await answers.waiting(connection, task.facility, limit=_AT_ONCE)
        if not letters and await _finished(context, task):
            return
        for letter, behind in zip(letters, [*letters[1:], None], strict=True):
            try:
                passed = await _send_or_pass(context, task, letter, None if sent else behind)
            except DeliveryUnavailableError as error:
                _log.warning("answers.not_taken", facility=task.facility, messages=sent, **describe(error))
                if not sent:
                    raise
                await _go_on(context, task, delay_s=_PAUSE_S)
                return
            sent += 1
            if passed or clock() >= ends:
                break
    await _go_on(context, task, delay_s=0)


async def _send_or_pass(context: Context, task: Task, letter: Outbound, behind: Outbound | None) -> bool:
    """Send an answer; one that stayed unanswered too often is set aside where the one `behind` it is taken.

    True where that one was sent in its place. So one that a listener cannot read holds up no other, and a listener that
    takes nothing loses none.
    """
    seconds = ANSWER_S if task.failures % _WHOLE == 0 else min(PROBE_S, ANSWER_S)
    try:
        await _send(context, task, letter, seconds)
    except DeliveryUnansweredError:
        if behind is None or task.failures + 1 < _SET_ASIDE:
            raise
    else:
        return False
    await _send(context, task, behind, seconds)
    async with context.database.connection() as connection:
        await outbound.refused(connection, letter.id, _UNANSWERED)
    context.metrics.application_answers.labels("refused").inc()
    _log.warning("answers.refused", facility=letter.facility, control_id=letter.control_id, code=_UNANSWERED)
    return True


async def _send(context: Context, task: Task, letter: Outbound, seconds: float) -> None:
    """Send one answer and write down what the listener says. A refusal ends the tries: the bytes stay the same."""
    target = listener_of(context, letter.facility)
    answer = await context.listeners.exchange(target, letter.message, control_id=letter.control_id, timeout=seconds)
    code = acknowledgement(answer)[0][:2]
    accepted = code in ACCEPTED
    context.metrics.application_answers.labels("accepted" if accepted else "refused").inc()
    if not accepted:
        _log.warning("answers.refused", facility=letter.facility, control_id=letter.control_id, code=code)
    async with context.database.connection() as connection:
        await (outbound.accepted if accepted else outbound.refused)(connection, letter.id, code)
        if not await queue.still_open(connection, task):
            raise LeaseLostError(f"task {task.id} ({task.kind.value}) was taken over by another worker")


async def _finished(context: Context, task: Task) -> bool:
    """End the task unless an answer was added meanwhile."""
    async with context.database.transaction() as connection:
        await queue.holds(connection, task)
        return await answers.finish(connection, task)


async def _go_on(context: Context, task: Task, *, delay_s: float) -> None:
    async with context.database.transaction() as connection:
        await queue.go_on(connection, task, delay_s=delay_s)

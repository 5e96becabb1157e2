"""Ask the registry how a case stands: callbacks may be lost, a poll finds the same truth (domain C.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import IN_FLIGHT, JUDGED, State
from gateway.contract.ports import RegistryStatus
from gateway.errors import RegistryProtocolError
from gateway.pipeline.retry import Pace
from gateway.pipeline.settle import asked_for_data, settle
from gateway.store import births, queue

if TYPE_CHECKING:
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.queue import Task


async def run(context: Context, task: Task) -> None:
    """Ask once; come back later while the registry is still at it."""
    assert task.birth_id is not None  # noqa: S101 - a poll task is made with its birth
    async with context.database.connection() as connection:
        asked = await births.read(connection, task.birth_id)
    outcome = None
    if _is_there(asked):
        outcome = await context.registry.ask(
            birth_id=str(asked.id), revision=asked.at_registry or asked.submitted, reference=asked.reference
        )
        if outcome.status is RegistryStatus.UNKNOWN:
            raise RegistryProtocolError("the registry does not know a case that it had accepted")
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.holds(connection, task)
        if outcome is not None:
            await settle(context, connection, birth, outcome, actor="registry", step="poll")
        if _is_there(birth):
            settings = context.config.registry
            pace = Pace(settings.poll_first_s, settings.poll_max_s)
            await queue.postpone(
                connection, task, delay_s=pace.delay(task.attempts + 1, context.rng), code="IN_PROCESS"
            )
        elif outcome is None or await queue.still_open(connection, task):
            await queue.finish(connection, task)


def _is_there(birth: Birth) -> bool:
    """Whether the registry has the case and has not ended it."""
    if birth.way:
        return False  # an office took it under a lease: no registry could be asked
    return birth.state in IN_FLIGHT or asked_for_data(birth) or _is_changed_here(birth)


def _is_changed_here(birth: Birth) -> bool:
    """Whether the registry goes on with a case that we are about to amend."""
    return birth.at_registry > 0 and birth.state in JUDGED | {State.SEALED}

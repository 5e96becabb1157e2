"""What a person does to many entries of the queue at once. Each is a transaction of its own, and each may be repeated.

Done twice is done once: an entry that is already as wanted is left alone and said to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import State
from gateway.errors import IllegalMoveError
from gateway.pipeline import operate
from gateway.pipeline.likeness import begun_again
from gateway.pipeline.rejudge import go
from gateway.store import backlog, births, queue, submissions
from gateway.store.queue import Kind

if TYPE_CHECKING:
    import uuid

    from gateway.pipeline.operate import Desk
    from gateway.store.database import Connection


class Act(Enum):
    """What may be done, and to which entries."""

    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    DISCARD = "discard"


# Entries an act is about; the others are not touched, and not shown in its preview.
STATUSES: dict[Act, tuple[str, ...]] = {
    Act.RETRY: ("dead", "waiting"),
    Act.HOLD: ("dead", "due", "waiting"),
    Act.RELEASE: ("held",),
    Act.DISCARD: ("dead", "waiting"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one entry: done, nothing (it was so already), or refused with the reason."""

    outcome: str
    text: str = ""


async def perform(desk: Desk, act: Act, entry: dict[str, Any]) -> Result:
    """Do one thing to one entry. A refusal changes nothing and says why."""
    try:
        match act:
            case Act.RETRY:
                return await _retry(desk, entry)
            case Act.HOLD:
                return await _hold(desk, entry)
            case Act.RELEASE:
                return await _release(desk, entry)
            case Act.DISCARD:
                return await _discard(desk, entry)
    except (IllegalMoveError, LookupError) as refusal:
        return Result("refused", str(refusal))


async def _retry(desk: Desk, entry: dict[str, Any]) -> Result:
    if entry["task_id"] is not None:
        async with desk.database.transaction() as connection:
            hurried = await backlog.hurry(connection, [entry["task_id"]])
            if hurried:
                await _write(desk, connection, Act.RETRY, f"task {entry['task_id']} ({entry['step']})")
        return Result("done") if hurried else Result("nothing", "it is due, done or being worked on")
    if await _state(desk, entry["birth_id"]) is not State.DEAD_LETTER:
        return Result("nothing", "it is no dead letter any more")
    return Result("done", (await operate.retry(desk, entry["birth_id"])).value)


async def _hold(desk: Desk, entry: dict[str, Any]) -> Result:
    if entry["birth_id"] is None:
        return Result("refused", "it is about no birth yet; only births can be held")
    async with desk.database.connection() as connection:
        held = (await births.read(connection, entry["birth_id"])).held
    if held:
        return Result("nothing", "it is held")
    return Result("done", (await operate.hold(desk, entry["birth_id"])).value)


async def _release(desk: Desk, entry: dict[str, Any]) -> Result:
    async with desk.database.connection() as connection:
        held = (await births.read(connection, entry["birth_id"])).held
    if not held:
        return Result("nothing", "it is not held")
    return Result("done", (await operate.release(desk, entry["birth_id"])).value)


async def _discard(desk: Desk, entry: dict[str, Any]) -> Result:
    if entry["birth_id"] is not None:
        if entry["status"] != "dead":
            return Result("refused", "it goes on by itself; hold it, or cancel the birth (births cancel)")
        return await _discard_birth(desk, entry["birth_id"])
    if entry["message_id"] is None or entry["code"] is None:
        return Result("refused", "it goes on by itself; only what failed can be discarded")
    async with desk.database.transaction() as connection:
        gone = await backlog.discard_message(connection, entry["task_id"])
        if gone:
            await _write(desk, connection, Act.DISCARD, f"message {entry['message_id']}")
    return Result("done") if gone else Result("nothing", "it is done or being worked on")


async def _discard_birth(desk: Desk, birth_id: uuid.UUID) -> Result:
    """Give a dead letter up: without a certificate the birth is cancelled, with one its letters need not arrive.

    What the registry may have is never given up here: somebody would wait for a certificate that we forgot.
    """

    async def work(connection: Connection) -> Result:
        birth = await births.lock(connection, birth_id)
        if birth.state is not State.DEAD_LETTER:
            return Result("nothing", f"it is {birth.state.value}")
        if await submissions.certificate(connection, birth.id) is None:
            if birth.submitted:
                raise IllegalMoveError(
                    "the registry may have this birth: retry asks it by our id; to withdraw it, ask the office"
                )
            await go(desk, connection, birth, State.CANCELLED, desk.why("discard"))
            return Result("done", birth.state.value)
        letters = await backlog.discard_letters(connection, birth.id)
        await queue.drop(connection, birth.id, Kind.COLLECT)
        await connection.execute("DELETE FROM tasks WHERE birth_id = $1 AND kind = $2", birth.id, Kind.DELIVER.value)
        why = desk.why("discard", {"letters": letters})
        await births.move(connection, birth, State.DELIVERED, why)
        desk.metrics.moves.labels(State.DELIVERED.value).inc()
        return Result("done", birth.state.value)

    return await begun_again(desk.database, work)


async def _state(desk: Desk, birth_id: uuid.UUID) -> State:
    async with desk.database.connection() as connection:
        return (await births.read(connection, birth_id)).state


async def _write(desk: Desk, connection: Any, act: Act, subject: str) -> None:  # noqa: ANN401 - a Connection
    await backlog.act(connection, actor=desk.actor, act=act.value, subject=subject, reason=desk.reason)


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a step's backlog is worked off, in seconds; None where nothing moves or nothing waits."""

    step: backlog.Step
    urgent_s: float | None
    all_s: float | None


def forecast(steps: list[backlog.Step]) -> list[Forecast]:
    """Return when each step is through: what waits before it comes to it too, and the urgent goes first."""
    result, urgent, everything = [], 0, 0
    for step in steps:
        urgent, everything = urgent + step.urgent, everything + step.due
        a_second = step.per_minute / 60
        result.append(
            Forecast(
                step,
                round(urgent / a_second, 1) if a_second and urgent else None,
                round(everything / a_second, 1) if a_second and everything else None,
            )
        )
    return result

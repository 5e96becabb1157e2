"""The workers: claim what is due, run its step, write down how it ended.

A step either finishes its task in the transaction that holds its results, or raises; then `retry` decides. A worker
that lost its lease has written nothing. Everything a step logs bears the ids bound here.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from gateway.contract.lifecycle import MOVES, State
from gateway.errors import LeaseLostError, ProcotError
from gateway.observe.logging import describe
from gateway.pipeline import assign, check, collect, deliver, poll, seal, submit
from gateway.pipeline.retry import Again, GiveUp, code_of, decide
from gateway.store import births, queue
from gateway.store.births import Why
from gateway.store.queue import Kind, Task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pipeline.context import Context
    from gateway.store.database import Connection

_log = structlog.get_logger()
_STEPS: dict[Kind, Callable[[Context, Task], Awaitable[None]]] = {
    Kind.ASSIGN: assign.run,
    Kind.CHECK: check.run,
    Kind.SEAL: seal.run,
    Kind.SUBMIT: submit.run,
    Kind.POLL: poll.run,
    Kind.COLLECT: collect.run,
    Kind.DELIVER: deliver.run,
}
# Steps that wait for the registry or a hospital have a share of the workers each: one dead listener, or a registry that
# times out, must not keep the others from being assigned and sealed.
_REGISTRY = (Kind.CHECK, Kind.SUBMIT, Kind.POLL, Kind.COLLECT)
_HOSPITAL = (Kind.DELIVER,)
_OURS = tuple(kind for kind in Kind if kind not in (*_REGISTRY, *_HOSPITAL))
_GROUPS = (_OURS, _REGISTRY, _HOSPITAL)
_LOOK_S = 5.0  # how often to look without being woken
_STUCK_S = 3600.0  # a message nobody can assign is looked at again this often, until a person mends the cause


class Workers:
    """So many tasks at once, in one event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], Kind] = {}
        self._stopping = False

    def wake(self) -> None:
        """Look for due tasks now."""
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`, then return once what is in hand is done."""
        while not self._stopping:
            pause = await self._start_due()
            if pause:
                await self._sleep(pause)
        if self._running:
            await asyncio.wait(self._running)

    async def stop(self, *, within_s: float) -> None:
        """Take nothing new; give what is in hand `within_s` seconds, then leave it to its lease."""
        self._stopping = True
        self.wake()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _start_due(self) -> float:
        """Start what is due and fits; return how long to sleep, 0 to look again at once."""
        self._wake.clear()
        try:
            for kinds in _GROUPS:
                if room := self._room(kinds):
                    await self._claim(kinds, room)
            waiting = [kind for kinds in _GROUPS if self._room(kinds) for kind in kinds]
            if self._stopping or not waiting:
                return _LOOK_S  # a finished one wakes us
            upcoming = await queue.seconds_to_next(self._context.database, waiting)
        except Exception as error:  # noqa: BLE001 - whatever PostgreSQL says, work goes on when it says it no more
            _log.warning("workers.store_unavailable", **describe(error))
            return 1.0
        return _LOOK_S if upcoming is None else min(_LOOK_S, upcoming + 0.005)

    async def _claim(self, kinds: tuple[Kind, ...], room: int) -> None:
        lease_s = self._context.config.gateway.lease_s
        tasks = await queue.claim(self._context.database, limit=room, lease_s=lease_s, kinds=kinds)
        if self._stopping:
            await queue.give_back(self._context.database, tasks)
            return
        for task in tasks:
            self._start(task)

    def _room(self, kinds: tuple[Kind, ...]) -> int:
        """Return how many tasks of a group may start: those that wait for others never take every worker."""
        workers = self._context.config.gateway.workers
        share = workers if kinds is _OURS else max(min(1, workers), workers * 3 // 8)
        running = sum(kind in kinds for kind in self._running.values())
        return max(0, min(workers - len(self._running), share - running))

    def _start(self, task: Task) -> None:
        running = asyncio.create_task(self._work(task), name=f"{task.kind.value}-{task.id}")
        self._running[running] = task.kind
        running.add_done_callback(self._done)

    def _done(self, running: asyncio.Task[None]) -> None:
        self._running.pop(running, None)
        self.wake()
        if not running.cancelled() and (error := running.exception()) is not None:
            _log.error("task.crashed", **describe(error))

    async def _work(self, task: Task) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(
            task_id=task.id,
            step=task.kind.value,
            birth_id=str(task.birth_id) if task.birth_id else None,
            message_id=task.message_id,
            attempt=task.attempts,
        )
        started = time.perf_counter()
        try:
            await _STEPS[task.kind](self._context, task)
            outcome = "done"
        except LeaseLostError:
            outcome = "lease_lost"
            _log.warning("task.lease_lost")
        except Exception as error:  # noqa: BLE001 - what it means is decided below, for every kind
            outcome = await self._failed(task, error)
        seconds = time.perf_counter() - started
        self._context.metrics.steps.labels(task.kind.value, outcome).inc()
        self._context.metrics.step_seconds.labels(task.kind.value).observe(seconds)
        _log.info("task.worked", outcome=outcome, duration_ms=round(seconds * 1000, 2))

    async def _failed(self, task: Task, error: Exception) -> str:
        decision = decide(error, attempt=task.attempts, rng=self._context.rng, before=task.last_error)
        try:
            async with self._context.database.transaction() as connection:
                match decision:
                    case Again(after_s):
                        await queue.postpone(connection, task, delay_s=after_s, code=code_of(error))
                        _log.warning("task.postponed", due_in_s=round(after_s, 1), **describe(error))
                        return "postponed"
                    case GiveUp(code):
                        await _give_up(self._context, connection, task, code, error)
                        _log.error("task.given_up", code=code, **describe(error))
                        return "given_up"
        except Exception as trouble:  # noqa: BLE001 - whatever it is, the lease brings the task back
            _log.warning("task.left_to_its_lease", **describe(trouble))
            return "left"


async def _give_up(context: Context, connection: Connection, task: Task, code: str, error: Exception) -> None:
    """Lay the case before a person: DEAD_LETTER for a birth, a slow look for a message without one."""
    if task.birth_id is None:
        await queue.postpone(connection, task, delay_s=_STUCK_S, code=code)
        return
    birth = await births.lock(connection, task.birth_id)
    await queue.finish(connection, task)
    # Our own texts name the thing and the reason, and nobody; of others only the kind may be kept.
    reason = f"{code}: {error}" if isinstance(error, ProcotError) else code
    why = Why("gateway", task.kind.value, reason, detail={"attempts": task.attempts})
    if State.DEAD_LETTER in MOVES[birth.state]:
        await births.move(connection, birth, State.DEAD_LETTER, why)
        context.metrics.moves.labels(State.DEAD_LETTER.value).inc()
    else:
        await births.note(connection, birth, why)

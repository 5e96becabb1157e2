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
from gateway.errors import KeyMissingError, LeaseLostError, ProcotError
from gateway.observe.logging import describe
from gateway.pipeline import act, assign, check, collect, deliver, poll, respond, seal, submit
from gateway.pipeline.breaker import DOUBLE_S, NotTriedError, Service
from gateway.pipeline.incident import DATABASE, KEYS
from gateway.pipeline.retry import MOST_ATTEMPTS, Again, Fault, GiveUp, advice, code_of, decide, fault_of
from gateway.store import births, queue
from gateway.store.births import Why
from gateway.store.incidents import DEAD_LETTER
from gateway.store.queue import Kind, Task, Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gateway.pipeline.context import Context
    from gateway.store.database import Connection

_log = structlog.get_logger()
_STEPS: dict[Kind, Callable[[Context, Task], Awaitable[None]]] = {
    Kind.ASSIGN: assign.run,
    Kind.CHECK: check.run,
    Kind.SEAL: seal.run,
    Kind.SUBMIT: submit.run,
    Kind.POLL: poll.run,
    Kind.ACT: act.run,
    Kind.COLLECT: collect.run,
    Kind.DELIVER: deliver.run,
    Kind.ANSWER: respond.run,
}
# Steps that wait for the registry or a hospital have a share of the workers each: one dead listener, or a registry that
# times out, must not keep the others from being assigned and sealed.
_REGISTRY = (Kind.CHECK, Kind.SUBMIT, Kind.POLL, Kind.ACT, Kind.COLLECT)
_HOSPITAL = (Kind.DELIVER,)
_ANSWERS = (Kind.ANSWER,)  # apart: no certificate waits behind a listener that takes no acknowledgements
_OURS = tuple(kind for kind in Kind if kind not in (*_REGISTRY, *_HOSPITAL, *_ANSWERS))
_GROUPS = (_OURS, _REGISTRY, _HOSPITAL, _ANSWERS)
_SERVICES = {
    Kind.CHECK: Service.CHECK,
    Kind.SUBMIT: Service.CASES,
    Kind.POLL: Service.CASES,
    Kind.ACT: Service.CASES,
    Kind.COLLECT: Service.DOCUMENTS,
}
_LOOK_S = 5.0  # how often to look without being woken
_STUCK_S = 3600.0  # a message nobody can assign is looked at again this often, until a person mends the cause


class Workers:
    """So many tasks at once, in one event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], Kind] = {}
        self._stopping = False
        self._store_away = False

    def wake(self) -> None:
        """Look for due tasks now; if all workers are busy, as soon as one of them is not."""
        if self._stopping or len(self._running) < self._context.config.gateway.workers:
            self._wake.set()

    async def run(self) -> None:
        """Work until `stop`, then return once what is in hand is done."""
        while not self._stopping:
            pause = await self._start_due()
            if pause:
                await self._sleep(pause)
        if self._running:
            await asyncio.wait(self._running)

    def take_nothing_new(self) -> None:
        """Leave what is due to other gateways from now on; what is in hand goes on."""
        self._stopping = True
        self.wake()

    async def stop(self, *, within_s: float) -> None:
        """Take nothing new; give what is in hand `within_s` seconds, then leave it to its lease."""
        self.take_nothing_new()
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
            await self._claim()
            waiting, pause = self._worth_waiting_for()
            if self._stopping or not waiting:
                return pause  # a finished one wakes us
            upcoming = await queue.seconds_to_next(self._context.database, waiting)
        except Exception as error:  # noqa: BLE001 - whatever PostgreSQL says, work goes on when it says it no more
            self._store_is_away(error)
            return 1.0
        self._store_away = False
        self._context.incidents.works(DATABASE)
        return pause if upcoming is None else min(pause, upcoming + 0.005)

    def _store_is_away(self, error: Exception) -> None:
        """Say it once an outage, not once a look."""
        self._context.incidents.seen(code_of(error), DATABASE)
        if not self._store_away:
            _log.warning("workers.store_unavailable", **describe(error))
        self._store_away = True

    def _wishes(self) -> Iterator[tuple[Wish, Service | None]]:
        """Say what may start; of a service that is down or came back only what it takes (then with the service)."""
        services = self._context.services
        for number, kinds in enumerate(_GROUPS):
            room = self._room(kinds)
            limits = {kind: services.room(_SERVICES[kind], room) if kind in _SERVICES else room for kind in kinds}
            free = tuple(kind for kind, limit in limits.items() if limit == room)
            if free and room:
                yield Wish(free, room, number, room), None
            for service in Service:
                narrow = tuple(kind for kind in limits if kind not in free and _SERVICES.get(kind) is service)
                if narrow and limits[narrow[0]]:
                    yield Wish(narrow, limits[narrow[0]], number, room), service

    def _worth_waiting_for(self) -> tuple[list[Kind], float]:
        """Return the kinds for which there is room, and how long to sleep at most."""
        services = self._context.services
        waiting, pause = [], _LOOK_S
        for kind in (kind for kinds in _GROUPS if self._room(kinds) for kind in kinds):
            wait = services.wait(_SERVICES[kind]) if kind in _SERVICES else 0.0
            if wait:
                pause = min(pause, wait + 0.005)
            else:
                waiting.append(kind)
        return waiting, pause

    async def _claim(self) -> None:
        """Claim what may start, most urgent first, whatever its kind."""
        settings = self._context.config.gateway
        wishes = list(self._wishes())
        if not wishes:
            return
        tasks = await queue.claim_each(
            self._context.database,
            [wish for wish, _ in wishes],
            limit=settings.workers - len(self._running),
            lease_s=settings.lease_s,
        )
        if self._stopping:
            await queue.give_back(self._context.database, tasks)
            return
        for wish, service in wishes:
            if service is not None:
                self._context.services.took(service, sum(task.kind in wish.kinds for task in tasks))
        for task in tasks:
            self._start(task)

    def _room(self, kinds: tuple[Kind, ...]) -> int:
        """Return how many tasks of a group may start: those that wait for others never take every worker."""
        workers = self._context.config.gateway.workers
        eighths = 1 if kinds is _ANSWERS else 3
        share = workers if kinds is _OURS else max(min(1, workers), workers * eighths // 8)
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
            if task.kind is Kind.SEAL:
                self._context.incidents.works(KEYS)
        except LeaseLostError:
            outcome = "lease_lost"
            _log.warning("task.lease_lost")
        except Exception as error:  # noqa: BLE001 - what it means is decided below, for every kind
            outcome = await self._failed(task, error)
        seconds = time.perf_counter() - started
        self._context.metrics.steps.labels(task.kind.value, outcome).inc()
        self._context.metrics.step_seconds.labels(task.kind.value).observe(seconds)
        if outcome != "not_tried":
            milliseconds = round(seconds * 1000, 2)
            if outcome == "postponed":  # an outage is told by its incident
                _log.debug("task.worked", outcome=outcome, duration_ms=milliseconds)
            else:
                _log.info("task.worked", outcome=outcome, duration_ms=milliseconds)

    async def _failed(self, task: Task, error: Exception) -> str:
        try:
            if isinstance(error, NotTriedError):
                return await self._put_back(task, error)
            decision = decide(error, attempt=task.failures + 1, rng=self._context.rng, before=task.last_error)
            async with self._context.database.transaction() as connection:
                match decision:
                    case Again(after_s):
                        failures = _counted(task, error)
                        await queue.postpone(connection, task, delay_s=after_s, code=code_of(error), failures=failures)
                    case GiveUp(code):
                        await _give_up(self._context, connection, task, code, error)
        except Exception as trouble:  # noqa: BLE001 - whatever it is, the lease brings the task back
            _log.warning("task.left_to_its_lease", **describe(trouble))
            return "left"
        match decision:
            case Again(after_s):
                self._postponed(error, after_s)
                return "postponed"
            case GiveUp(code):
                if task.birth_id is not None:
                    self._context.incidents.seen(code, DEAD_LETTER)
                _log.error("task.given_up", code=code, **describe(error))
                return "given_up"

    def _postponed(self, error: Exception, after_s: float) -> None:
        """Tell of one attempt. An outage has its incident: its single attempts are for who looks closely."""
        if isinstance(error, KeyMissingError):
            self._context.incidents.seen(error.code, KEYS)
        if fault_of(error) in (Fault.UNAVAILABLE, Fault.UNKNOWN) or isinstance(error, KeyMissingError):
            _log.debug("task.postponed", due_in_s=round(after_s, 1), **describe(error))
        else:
            _log.warning("task.postponed", due_in_s=round(after_s, 1), **describe(error))

    async def _put_back(self, task: Task, error: NotTriedError) -> str:
        delay_s = error.after + self._context.rng.random() * DOUBLE_S
        async with self._context.database.transaction() as connection:
            await queue.put_back(connection, task, delay_s=delay_s)
        return "not_tried"


def _counted(task: Task, error: Exception) -> int:
    """Return how many failures in a row count against a task: not what met everybody, and no ward's answers."""
    if isinstance(error, ProcotError) and error.outage:
        return task.failures
    failures = task.failures + 1
    return min(failures, MOST_ATTEMPTS - 2) if task.kind is Kind.ANSWER else failures


async def _give_up(context: Context, connection: Connection, task: Task, code: str, error: Exception) -> None:
    """Lay the case before a person: DEAD_LETTER for a birth, a slow look for a message without one."""
    if task.birth_id is None:
        await queue.postpone(connection, task, delay_s=_STUCK_S, code=code)
        return
    birth = await births.lock(connection, task.birth_id)
    await queue.finish(connection, task)
    # Our own texts name the thing and the reason, and nobody; of others only the kind may be kept.
    reason = f"{code}: {error}" if isinstance(error, ProcotError) else code
    why = Why("gateway", task.kind.value, reason, detail=_needed_to_decide(task, code, error))
    if State.DEAD_LETTER in MOVES[birth.state]:
        await births.move(connection, birth, State.DEAD_LETTER, why)
        context.metrics.moves.labels(State.DEAD_LETTER.value).inc()
    else:
        await births.note(connection, birth, why)


def _needed_to_decide(task: Task, code: str, error: Exception) -> dict[str, object]:
    """Return what a person must know of a dead letter: what failed, how often, whose turn it is, what to do."""
    return {
        "code": code,
        "fault": fault_of(error).value,
        "attempts": task.attempts,
        "failures": task.failures + 1,
        "outbound_id": task.outbound_id,
        "do": advice(code),
    }

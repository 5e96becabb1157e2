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
from gateway.errors import (
    KeyMissingError,
    LeaseLostError,
    ProcotError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from gateway.observe.logging import describe
from gateway.pipeline import act, assign, check, collect, deliver, poll, respond, seal, submit
from gateway.pipeline.breaker import DOUBLE_S, NotTriedError, Service
from gateway.pipeline.incident import DATABASE, KEYS
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.retry import (
    BY_ITSELF,
    MOST_ATTEMPTS,
    OLD_S,
    Again,
    Fault,
    GiveUp,
    advice,
    code_of,
    decide,
    fault_of,
)
from gateway.store import births, lanes, queue
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
# Steps that wait for the registry have a share of the workers: one that times out must not keep the others from being
# assigned and sealed. Those that wait for one of many counterparts have lanes and no worker (gateway.pipeline.lanes).
_REGISTRY = (Kind.CHECK, Kind.SUBMIT, Kind.POLL, Kind.ACT)
_OURS = tuple(kind for kind in Kind if kind not in (*_REGISTRY, *lanes.KINDS))
_GROUPS = (_OURS, _REGISTRY)
_AGAIN = 1  # of a group's tasks at once that failed before, so that they leave room for what never failed
_SERVICES = {
    Kind.CHECK: Service.CHECK,
    Kind.SUBMIT: Service.CASES,
    Kind.POLL: Service.CASES,
    Kind.ACT: Service.CASES,
}
_LOOK_S = 5.0  # how often to look without being woken
_STUCK_S = 3600.0  # a message nobody can assign is looked at again this often, until a person mends the cause


class Workers:
    """So many tasks at once, in one event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], Kind] = {}
        self._again: set[asyncio.Task[None]] = set()  # those of them that failed before
        self._lanes = Lanes(context)
        self._stopping = False
        self._store_away = False

    def wake(self) -> None:
        """Look for due tasks now; if all workers are busy, as soon as one of them is not."""
        if self._stopping or self._hands() > 0:
            self._wake.set()

    def _hands(self) -> int:
        """Return how many workers are free; what has a lane needs none."""
        busy = sum(kind not in lanes.KINDS for kind in self._running.values())
        return self._context.config.gateway.workers - busy

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
            lanes_pause = await self._to_lanes()
            await self._claim()
            waiting, pause = self._worth_waiting_for()
            pause = min(pause, lanes_pause)
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

    async def _to_lanes(self) -> float:
        """Start what the lanes have room for; return how long to sleep at most, until one of them may have more."""
        settings = self._context.config.gateway
        if self._hands() <= 0 or self._stopping:
            return _LOOK_S  # a finished one wakes us
        found = await self._lanes.claim(lease_s=settings.lease_s)
        if self._stopping:
            await queue.give_back(self._context.database, [task for task, _ in found])
            return _LOOK_S
        for task, lane in found:
            self._start(task, lane)
        upcoming = await lanes.seconds_to_next(self._context.database)
        waits = [wait + 0.005 for wait in (upcoming, self._lanes.pause()) if wait is not None]
        return min([_LOOK_S, *waits])

    def _wishes(self) -> Iterator[tuple[Wish, Service | None]]:
        """Say what may start; of a service that came back only what it takes (then with the service)."""
        services = self._context.services
        for number, kinds in enumerate(_GROUPS):
            room = self._room(kinds)
            limits = {kind: services.room(_SERVICES[kind], room) if kind in _SERVICES else room for kind in kinds}
            free = tuple(kind for kind, limit in limits.items() if limit == room)
            if free and room:
                yield from self._free(number, free, room)
            for service in Service:
                narrow = tuple(kind for kind in limits if kind not in free and _SERVICES.get(kind) is service)
                if narrow and limits[narrow[0]] and services.open(service):
                    yield Wish(narrow, limits[narrow[0]], number, room), service

    def _free(self, number: int, kinds: tuple[Kind, ...], room: int) -> Iterator[tuple[Wish, Service | None]]:
        """Say what may start of kinds that nothing holds back; of the registry's the fresh ones first."""
        if kinds[0] not in _REGISTRY:
            yield Wish(kinds, room, number, room), None
            return
        yield Wish(kinds, room, number, room, failed=False), None
        again = sum(self._running[task] in _REGISTRY for task in self._again)
        if again < _AGAIN:
            yield Wish(kinds, _AGAIN - again, number, room, failed=True), None

    async def _probes(self) -> list[Task]:
        """Claim one task for each service whose pause is over, and each time another one: see pipeline.breaker."""
        services, found = self._context.services, list[Task]()
        for service in (Service.CHECK, Service.CASES):
            if services.open(service) or not (self._room(_REGISTRY) and services.room(service, 1)):
                continue
            kinds = [kind for kind, needs in _SERVICES.items() if needs is service]
            tasks = await queue.claim_another(
                self._context.database,
                kinds,
                services.suspects(service),
                lease_s=self._context.config.gateway.lease_s,
            )
            services.took(service, len(tasks))
            found += tasks
        return found

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
        tasks = await self._probes()
        if wishes:
            tasks += await queue.claim_each(
                self._context.database,
                [wish for wish, _ in wishes],
                limit=max(0, self._hands() - len(tasks)),
                lease_s=settings.lease_s,
            )
        if self._stopping:
            await queue.give_back(self._context.database, tasks)
            return
        for wish, service in wishes:
            if service is not None:
                self._context.services.took(service, sum(task.kind in wish.kinds for task in tasks))  # tokens
        for task in tasks:
            self._start(task)

    def _room(self, kinds: tuple[Kind, ...]) -> int:
        """Return how many tasks of a group may start: those that wait for others never take every worker."""
        workers = self._context.config.gateway.workers
        share = workers if kinds is _OURS else max(min(1, workers), workers * 3 // 8)
        running = sum(kind in kinds for kind in self._running.values())
        return max(0, min(self._hands(), share - running))

    def _start(self, task: Task, lane: str = "") -> None:
        running = asyncio.create_task(self._work(task), name=f"{task.kind.value}-{task.id}")
        self._running[running] = task.kind
        if task.failures:
            self._again.add(running)
        if lane:
            self._lanes.started(task, lane)
            running.add_done_callback(lambda _: self._lanes.ended(task.kind, lane))
        running.add_done_callback(self._done)

    def _done(self, running: asyncio.Task[None]) -> None:
        self._running.pop(running, None)
        self._again.discard(running)
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
            self._suspect(task, error)
            decision = decide(error, attempt=_attempt(task, error), rng=self._context.rng, before=task.last_error)
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

    def _suspect(self, task: Task, error: Exception) -> None:
        """Remember which task a service of the registry failed with: the next try there is another one's."""
        service = _SERVICES.get(task.kind)
        if service and isinstance(error, (RegistryUnavailableError, RegistryUnknownOutcomeError)):
            self._context.services.suspect(service, task.id)

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


def _attempt(task: Task, error: Exception) -> int:
    """Return which failure in a row this is, by which the next try is paced.

    Where nobody is served no failure counts, and the breaker paces: but not what each meets by itself.
    """
    if isinstance(error, BY_ITSELF) and error.outage:
        return max(task.failures + 1, min(task.attempts, MOST_ATTEMPTS - 1))
    return task.failures + 1


def _counted(task: Task, error: Exception) -> int:
    """Return how many failures in a row count against a task: not what met everybody, and no ward's answers.

    An old task's count all the same, but for a refusal of quota or login (domain F 93, 94), which is nobody's.
    """
    if isinstance(error, ProcotError) and error.outage and (task.age_s < OLD_S or type(error).outage):
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

"""How much may be under way with each counterpart at once: letters to listeners, answers to them, files to fetch.

These tasks wait for others and need no worker of ours: they are counted by lane (gateway.store.lanes), not among the
workers. A counterpart that never answered, or did not answer last, gets one task at a time; one that serves gets more.
What failed before goes beside the fresh ones, one at a time. So a counterpart that is silent, slow or gone keeps its
own tasks, and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from gateway.contract.origin import origin_of
from gateway.mllp.client import Target
from gateway.pipeline.breaker import Service
from gateway.store import lanes
from gateway.store.lanes import Room
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from gateway.contract.facility import FacilityProfile
    from gateway.pipeline.breaker import Breaker
    from gateway.pipeline.context import Context
    from gateway.store.queue import Task

MOST = {Kind.DELIVER: 32, Kind.COLLECT: 16, Kind.ANSWER: 16}  # at once, of all lanes
_IN_LINE = 4  # letters claimed for a listener that answers; one is sent at a time
_UNSURE = 2  # files of an origin that did not give out any lately
_SLOW_LOOK_S, _REST = 0.5, 4.0  # after a look that took longer, nobody looks for so many times as long
_LONGEST_REST_S = 2.0
_REMEMBERED = 10_000


def listener_at(facilities: Mapping[str, FacilityProfile], code: str) -> Target | None:
    """Return where a facility listens, None where it does not, or is not configured any more."""
    profile = facilities.get(code)
    host, _, port = profile.deliver_to.rpartition(":") if profile else ("", "", "")
    return Target(host, int(port)) if host else None


class Lanes:
    """What one process has under way, by lane."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._running: Counter[str] = Counter()
        self._by_kind: Counter[Kind] = Counter()
        self._known: dict[tuple[Kind, str], None] = {}  # kind and whom, the longest ago first
        self._not_before = 0.0
        self._skipped = False

    async def claim(self, *, lease_s: float) -> list[tuple[Task, str]]:
        """Claim what may start now; nothing for a moment after a look that took long."""
        clock = asyncio.get_running_loop().time
        began = clock()
        self._skipped = began < self._not_before
        if self._skipped:
            return []
        found = await lanes.claim(self._context.database, self._rooms(), lease_s=lease_s)
        took = clock() - began
        if took > _SLOW_LOOK_S:
            self._not_before = clock() + min(_LONGEST_REST_S, took * _REST)
        return found

    def started(self, task: Task, lane: str) -> None:
        """Count a task that begins."""
        self._running[lane] += 1
        self._by_kind[task.kind] += 1
        whom = lane.split(" ", 2)[2]
        self._known.pop((task.kind, whom), None)
        self._known[task.kind, whom] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def ended(self, kind: Kind, lane: str) -> None:
        """Count a task that is done, however it ended."""
        self._running[lane] -= 1
        self._by_kind[kind] -= 1
        if not self._running[lane]:
            del self._running[lane]

    def pause(self) -> float | None:
        """Return after how many seconds it pays to look again without being woken, None where nothing tells."""
        waits = [wait for known in self._known if (wait := self._breaker(known[0]).wait(self._target(*known))) > 0]
        if self._skipped:
            waits.append(max(0.0, self._not_before - asyncio.get_running_loop().time()))
        return min(waits, default=None)

    def _rooms(self) -> Room:
        """Say what may start: by kind, and of each lane of which something is known."""
        rooms: dict[str, int] = {}
        suspects: list[int] = []
        for kind, whom in self._known:
            fresh, again = self._of(kind, whom)
            for name, room in ((lanes.lane(kind, whom), fresh), (lanes.lane(kind, whom, again=True), again)):
                rooms[name] = room - self._running[name]
            if kind is Kind.COLLECT:
                suspects += self._context.services.suspects(self._target(kind, whom))
        left = {kind: most - self._by_kind[kind] for kind, most in MOST.items()}
        return Room(left, rooms, suspects)

    def _of(self, kind: Kind, whom: str) -> tuple[int, int]:
        """Return how many fresh tasks, and how many that failed before, may be under way with one counterpart."""
        if kind is Kind.ANSWER:
            return 1, 1
        target, breaker = self._target(kind, whom), self._breaker(kind)
        serves = breaker.open(target) and breaker.serves(target)
        if kind is Kind.DELIVER:
            room = breaker.room(target, _IN_LINE if serves else 1)
            return room, min(1, room)
        # A fresh one is let in though its origin is down: its hospital gets the numbers without the file.
        again = 1 if breaker.moved(target) else breaker.room(target, _UNSURE)
        return MOST[kind] if serves else _UNSURE, again

    def _breaker(self, kind: Kind) -> Breaker:
        return self._context.services if kind is Kind.COLLECT else self._context.breaker

    def _target(self, kind: Kind, whom: str) -> Hashable:
        if kind is Kind.COLLECT:
            return Service.DOCUMENTS, origin_of(whom)
        return listener_at(self._context.facilities, whom)

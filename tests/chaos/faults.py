"""The faults: a schedule made from the seed alone before anything starts, and the hand that carries it out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.chaos.town import LEASE_S, clock_file

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from tests.chaos.proxy import Proxy
    from tests.chaos.town import Town
    from tests.chaos.victims import Program

GAP_S = 1.2  # between two faults, on average
# What happens, how often. Gateways first: the promise is theirs.
WEIGHTS = {
    "kill gateway": 36,
    "pause gateway": 22,
    "kill postgres": 8,
    "kill registry": 8,
    "kill hospital": 8,
    "pause registry": 3,
    "pause hospital": 3,
    "registry misbehaves": 13,
    "lost answers": 5,
    "out of order": 8,
    "hospital refuses": 2,
    "cut": 6,
    "delay": 4,
    "half-open": 5,
}
# Beside them, at a pace of their own: what changes no process and no wire, or all of them for a while.
RARE_WEIGHTS = {
    "old callback": 4,
    "wrong clock": 3,
    "full gateway": 2,
    "full registry": 2,
    "full hospital": 2,
    "full postgres": 1,
    "read-only postgres": 2,
}
RARE_GAP_S = 5.0
KINDS = {**WEIGHTS, **RARE_WEIGHTS}
LOST_ANSWERS: tuple[dict[str, object], ...] = (
    {"lose_answer_rate": 0.7, "duplicate_callbacks": True},
    {"lose_answer_rate": 0.7, "drop_callbacks": True},  # nothing but asking tells what became of it
    {"lose_answer_rate": 0.5, "drop_callbacks": True, "work_seconds": 1.5},
    {"lose_answer_rate": 0.4, "drop_callbacks": True},
)
MISBEHAVIOURS: tuple[dict[str, object], ...] = (
    {"error_rate": 0.5, "duplicate_callbacks": True},
    {"garbage_rate": 0.4, "drop_callbacks": True},
    {"outage": True},
    {"throttle_s": 1},
    {"latency_ms": 1000},
    {"latency_ms": 2200, "work_seconds": 0.0, "drop_callbacks": True},  # done, answered after the gateway's patience
    {"duplicate_callbacks": True},
    {"drop_callbacks": True},
    {"work_seconds": 0.0, "duplicate_callbacks": True},
    {"work_seconds": 2.0, "duplicate_callbacks": True},
    {"refuse_next": "NAMA_TIDAK_SAH"},
    {"reject_next": "DATA_TIDAK_SESUAI"},
    {"check_outage": True, "duplicate_callbacks": True},
)
# What the registry says comes in another order than it happened, twice, or from a copy that lags: callback and question
# disagree, and an older outcome comes after a newer one.
OUT_OF_ORDER: tuple[dict[str, object], ...] = (
    {"tell_steps": True, "late_callback_rate": 0.5, "duplicate_callbacks": True, "work_seconds": 1.0},
    {"tell_steps": True, "late_callback_rate": 0.5, "duplicate_callbacks": True, "lose_answer_rate": 0.5},
    {"stale_rate": 0.6, "duplicate_callbacks": True},
    {"stale_rate": 0.6, "lose_answer_rate": 0.6, "drop_callbacks": True},
    {"stale_rate": 0.4, "tell_steps": True, "late_callback_rate": 0.5, "duplicate_callbacks": True},
)
_PROPER: dict[str, object] = {
    "tell_steps": False, "late_callback_rate": 0.0, "stale_rate": 0.0,
    "lose_answer_rate": 0.0, "error_rate": 0.0, "garbage_rate": 0.0, "outage": False, "throttle_s": 0,
    "latency_ms": 0, "duplicate_callbacks": False, "drop_callbacks": False, "work_seconds": None,
    "refuse_next": "", "reject_next": "", "check_outage": False,
}  # fmt: skip
_HOSPITAL_ANSWERS = (["--answer", "AE"], ["--answer", "AR"], ["--silent"], ["--wrong-control-id"])


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when (seconds from the start), what, to whom of them, for how long, and how."""

    at_s: float
    what: str
    number: int
    seconds: float
    rest_s: float
    choice: int


def schedule(rng: random.Random, duration_s: float, *, only: str = "", gap_s: float = GAP_S) -> list[Fault]:
    """Return the faults of a run, `gap_s` apart on average; the same arguments give the same.

    `only` names the kinds there are, commas between them; "" means all.
    """
    if only:
        return _series(rng, duration_s, {kind: KINDS[kind] for kind in only.split(",")}, gap_s)
    both = _series(rng, duration_s, WEIGHTS, gap_s) + _series(rng, duration_s, RARE_WEIGHTS, RARE_GAP_S)
    return sorted(both, key=lambda fault: fault.at_s)


def _series(rng: random.Random, duration_s: float, kinds: dict[str, int], gap_s: float) -> list[Fault]:
    faults, at_s = [], 1.0
    names, weights = list(kinds), list(kinds.values())
    while (at_s := at_s + rng.expovariate(1 / gap_s)) < duration_s:
        (what,) = rng.choices(names, weights)
        faults.append(
            Fault(
                round(at_s, 3),
                what,
                number=rng.randrange(1000),
                seconds=round(rng.uniform(1, 6), 2),
                rest_s=round(rng.choice((0.0, 0.3, 1.0, 2.0)), 2),
                choice=rng.randrange(1000),
            )
        )
    return faults


class Hand:
    """Carries the schedule out; each fault lasts beside those that come after it."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._under_way: set[asyncio.Task[None]] = set()
        self.done: Counter[str] = Counter()
        self.episodes: list[tuple[str, float, float]] = []  # what, its begin and end on the monotonic clock
        self._acts: dict[str, Callable[[Fault], Awaitable[bool]]] = {
            "kill gateway": self._kill_gateway,
            "pause gateway": self._pause_gateway,
            "kill postgres": lambda f: town.postgres.kill(f.rest_s),
            "kill registry": self._kill_registry,
            "kill hospital": self._kill_hospital,
            "pause registry": lambda f: town.registry.pause(f.seconds),
            "pause hospital": lambda f: town.hospital.pause(f.seconds),
            "registry misbehaves": lambda f: self._misbehave(f, MISBEHAVIOURS),
            "lost answers": lambda f: self._misbehave(f, LOST_ANSWERS),
            "out of order": lambda f: self._misbehave(f, OUT_OF_ORDER),
            "hospital refuses": self._refuse,
            "cut": self._cut,
            "delay": self._delay,
            "half-open": self._half_open,
            "old callback": self._old_callback,
            "wrong clock": self._wrong_clock,
            "full gateway": lambda f: self._of(f, town.gateways).fill(f.seconds),
            "full registry": lambda f: town.registry.fill(f.seconds),
            "full hospital": lambda f: town.hospital.fill(f.seconds),
            "full postgres": lambda f: town.postgres.fill(f.seconds / 2, f.rest_s),
            "read-only postgres": lambda f: town.postgres.read_only(f.seconds),
        }

    async def run(self, faults: list[Fault]) -> None:
        """Do each fault at its time; return when the last has passed."""
        began = time.monotonic()
        for fault in faults:
            await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
            task = asyncio.create_task(self._do(fault))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        if self._under_way:
            await asyncio.gather(*self._under_way)

    async def _do(self, fault: Fault) -> None:
        began = time.monotonic()
        if await self._acts[fault.what](fault):
            self.done[fault.what] += 1
            self.episodes.append((fault.what, began, time.monotonic()))

    async def _kill_gateway(self, fault: Fault) -> bool:
        return self._kill(fault, self._of(fault, self._town.gateways))

    async def _pause_gateway(self, fault: Fault) -> bool:
        """Pause it for longer than a lease: its tasks are somebody else's when it wakes."""
        gateway: Program = self._of(fault, self._town.gateways)
        return not _spared(fault, gateway) and await gateway.pause(LEASE_S + fault.seconds / 2)

    async def _kill_registry(self, fault: Fault) -> bool:
        return self._kill(fault, self._town.registry)

    async def _kill_hospital(self, fault: Fault) -> bool:
        return self._kill(fault, self._town.hospital)

    @staticmethod
    def _kill(fault: Fault, program: Program) -> bool:
        return not _spared(fault, program) and program.kill(fault.rest_s)

    async def _misbehave(self, fault: Fault, ways: tuple[dict[str, object], ...]) -> bool:
        done = await self.behave(ways[fault.choice % len(ways)])
        await asyncio.sleep(fault.seconds)
        await self.behave(_PROPER)
        return done

    async def behave(self, values: dict[str, object] | None = None) -> bool:
        """Set the registry's behaviour (None: proper); False where it is down: it comes back with proper behaviour."""
        url = self._town.registry.ready.get("registry")
        if not url:
            return False
        try:
            timeout = aiohttp.ClientTimeout(total=2)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.put(f"{url}/sandbox/behaviour", json=_PROPER if values is None else values) as response,
            ):
                return bool(response.status == 200)
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _refuse(self, fault: Fault) -> bool:
        extra = _HOSPITAL_ANSWERS[fault.choice % len(_HOSPITAL_ANSWERS)]
        if not self._town.hospital.kill(0.1, extra):
            return False
        await asyncio.sleep(fault.seconds)
        self._town.hospital.kill(0.1)
        return True

    async def _cut(self, fault: Fault) -> bool:
        self._of(fault, self._town.wires).cut()
        return True

    async def _delay(self, fault: Fault) -> bool:
        wire: Proxy = self._of(fault, self._town.wires)
        wire.delay_s = 0.2 + fault.choice % 10 / 10
        await asyncio.sleep(fault.seconds)
        wire.delay_s = 0.0
        return True

    async def _half_open(self, fault: Fault) -> bool:
        self._of(fault, self._town.wires).half_open()
        return True

    async def _old_callback(self, fault: Fault) -> bool:
        """Say again what the registry said once: after what it said later, and whatever was found by asking."""
        gateway = self._of(fault, self._town.gateways).ready.get("http")
        return bool(gateway) and await self._town.post.send_again(fault.choice, str(gateway).removeprefix("http://"))

    async def _wrong_clock(self, fault: Fault) -> bool:
        """Put the gateways' clocks ahead or back by up to 20 minutes; another jump sets them right."""
        file = clock_file(self._town.directory)
        file.write_text(str((fault.choice - 500) * 2.4), encoding="ascii")
        await asyncio.sleep(fault.seconds)
        file.write_text("0", encoding="ascii")
        return True

    @staticmethod
    def _of(fault: Fault, several: list[Any]) -> Any:
        return several[fault.number % len(several)]


def _spared(fault: Fault, program: Program) -> bool:
    """Whether one that still starts is left alone, three times of four: else nothing ever runs on a slow machine."""
    return not program.ready and fault.choice % 4 != 0

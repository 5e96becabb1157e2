"""A registry that is away while births go on coming: how the backlog drains once it is back, and what new births wait.

Ten minutes at five births a second leave 3,000 waiting. The same number is offered faster by default, so that a run is
short; `--outage 600` takes the ten minutes. The breaker's pause has reached its longest by then either way.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from journey import Hospital
from throughput import WARM_UP, WORKERS, Ward, certified, spread, warm_up

from gateway.cli.demo_births import demo_births

if TYPE_CHECKING:
    from servers import Workshop

AFTER_S = 5.0  # births a second, before, meanwhile (by number) and after
DRAIN_S = 1800.0
_LOOK_S = 1.0
_MOST_AFTER = 9_000


@dataclass(slots=True)
class _Curve:
    """How many births wait for their certificate, once a second from the start of the outage."""

    hospital: Hospital
    wards: list[Ward]
    points: list[tuple[float, int]] = field(default_factory=list)

    async def run(self) -> None:
        began = time.perf_counter()
        while True:
            waiting = sum(len(ward.acknowledged.keys() - self.hospital.arrived.keys()) for ward in self.wards)
            self.points.append((round(time.perf_counter() - began, 1), waiting))
            await asyncio.sleep(_LOOK_S)


async def measure(shop: Workshop, *, births: int, outage_s: float) -> dict[str, Any]:
    """Offer `births` while the registry is away for `outage_s`, then AFTER_S a second until all have certificates."""
    hospital = Hospital()
    listener = await hospital.start()
    async with (
        shop.registry() as url,
        shop.gateway(1, workers=WORKERS, registry=url, hospital=listener) as running,
    ):
        supply = iter(demo_births(WARM_UP + births + _MOST_AFTER))
        await warm_up(Ward(running.address, supply), hospital)
        await _outage(url, away=True)
        waiting, fresh = Ward(running.address, supply), Ward(running.address, supply)
        curve = _Curve(hospital, [waiting, fresh])
        watcher = asyncio.create_task(curve.run())
        await waiting.offer(births / outage_s, births)
        await _outage(url, away=False)
        back = time.perf_counter()
        drained = asyncio.Event()
        going_on = asyncio.create_task(fresh.offer(AFTER_S, _MOST_AFTER, until=drained))
        await certified(hospital, waiting, within_s=DRAIN_S)
        drained.set()
        await going_on
        await certified(hospital, fresh)
        watcher.cancel()
        cases = await _cases(url)
    await hospital.stop()
    return {
        "outage_s": outage_s,
        "births": births,
        "doubled": cases - WARM_UP - len(waiting.acknowledged) - len(fresh.acknowledged),
        **_drain(waiting, hospital, back),
        "ack_ms": spread(waiting.ack_ms),
        "fresh": {
            "births": len(fresh.acknowledged),
            "ack_ms": spread(fresh.ack_ms),
            "certificate_ms": _latency(fresh, hospital),
        },
        "curve": curve.points[:: max(1, len(curve.points) // 200)],
    }


def _drain(ward: Ward, hospital: Hospital, back: float) -> dict[str, Any]:
    """Return when the backlog's certificates came, in seconds from the registry's return."""
    there = sorted(hospital.arrived[record] - back for record in ward.acknowledged if record in hospital.arrived)
    if not there:
        return {"certificates": 0}
    return {
        "certificates": len(there),
        "first_s": round(there[0], 1),
        "half_s": round(there[len(there) // 2], 1),
        "all_s": round(there[-1], 1),
        "certificates_s": round(len(there) / max(there[-1] - there[0], 0.1), 1),
    }


def _latency(ward: Ward, hospital: Hospital) -> dict[str, float]:
    known = ward.acknowledged.keys() & hospital.arrived.keys()
    return spread([(hospital.arrived[record] - ward.acknowledged[record]) * 1e3 for record in known])


async def _outage(url: str, *, away: bool) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"{url}/sandbox/behaviour", json={"outage": away}) as response,
    ):
        response.raise_for_status()


async def _cases(url: str) -> int:
    """Return how many cases the registry has."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/sandbox/records") as response:
        return len((await response.json())["items"])

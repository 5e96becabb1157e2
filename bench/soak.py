"""Memory at full load: resident memory of each process once a second, and whether it is flat.

Flat means: over the last two thirds of the run the straight line through the samples rises by less than 2 percent of
the median, or by less than 2 MiB. The first third is left out: caches of bounded size fill then.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import processes
from servers import ROOT

if TYPE_CHECKING:
    from servers import Workshop

CONNECTIONS = 64
RISE = 0.02
RISE_MB = 2.0
POINTS = 120  # of the curve that is kept


async def measure(shop: Workshop, *, seconds: float, count: int) -> dict[str, Any]:
    """Load so many gateway processes for so long."""
    async with shop.gateway(count, workers=0) as running:
        client = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "bench" / "mllp_load.py"), running.address,
            "--conns", str(CONNECTIONS), "--secs", str(seconds), stdout=subprocess.PIPE,
        )  # fmt: skip
        output = asyncio.create_task(client.communicate())
        samples: list[tuple[float, list[float], float]] = []
        began = time.monotonic()
        while not output.done():
            gateways = [processes.memory_mb(pid) for pid in running.pids]
            postgres = sum(processes.own_memory_mb(pid) for pid in shop.postgres())
            samples.append((time.monotonic() - began, gateways, postgres))
            await asyncio.wait([output], timeout=1)
        said = json.loads((await output)[0])
    curves = [[(at, sizes[n]) for at, sizes, _ in samples] for n in range(count)]
    curves.append([(at, size) for at, _, size in samples])
    names = [f"gateway {n + 1}" for n in range(count)] + ["PostgreSQL, all processes"]
    return {
        "seconds": seconds,
        "connections": CONNECTIONS,
        "births": said["acks"],
        "births_s": said["acks_s"],
        "p99_ms": said["p99_ms"],
        "bad": said["bad"],
        "lost": said["lost"],
        "processes": [_verdict(name, curve) for name, curve in zip(names, curves, strict=True)],
    }


def _verdict(name: str, curve: list[tuple[float, float]]) -> dict[str, Any]:
    later = curve[len(curve) // 3 :]
    slope = _slope(later)
    rise = slope * (later[-1][0] - later[0][0])
    middle = statistics.median(size for _, size in later)
    step = max(1, len(curve) // POINTS)
    return {
        "process": name,
        "max_mb": round(max(size for _, size in curve), 1),
        "median_mb": round(middle, 1),
        "rise_mb": round(rise, 2),
        "mb_an_hour": round(slope * 3600, 1),
        "flat": rise < max(RISE_MB, RISE * middle),
        "curve": [(round(at), round(size, 1)) for at, size in curve[::step]],
    }


def _slope(points: list[tuple[float, float]]) -> float:
    """Return MiB a second of the straight line through the points, by least squares."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two
        return 0.0
    return statistics.linear_regression([at for at, _ in points], [size for _, size in points]).slope

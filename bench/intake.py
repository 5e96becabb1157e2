"""How many births a second are acknowledged, and how fast, beside rivals and floors. Rounds interleaved."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from servers import ROOT, Running, Workshop, rivals

if TYPE_CHECKING:
    from collections.abc import Callable

NODE_PATH = {"NODE_PATH": str(ROOT / "bench" / "node_modules")}


async def measure(shop: Workshop, *, connections: list[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return one row a server and number of connections: medians and ranges over the rounds."""
    samples: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for name, start in _servers(shop).items():
            async with AsyncExitStack() as stack:
                running = await stack.enter_async_context(start())
                for count in connections:
                    samples.setdefault((name, count), []).append(await _load(running, count, seconds))
    return [_row(name, count, found) for (name, count), found in samples.items()]


def _servers(shop: Workshop) -> dict[str, Callable[[], Any]]:
    servers: dict[str, Callable[[], Any]] = {
        "procot, 1 process": lambda: shop.gateway(1, workers=0),
        "procot, 2 processes": lambda: shop.gateway(2, workers=0),
    }
    for name, command in rivals(shop.dsn).items():
        servers[name] = lambda name=name, command=command: shop.program(name, command, **NODE_PATH)
    return servers


async def _load(running: Running, connections: int, seconds: float) -> dict[str, Any]:
    before = running.cpu_s()
    load = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "bench" / "mllp_load.py"), running.address,
        "--conns", str(connections), "--secs", str(seconds), stdout=subprocess.PIPE,
    )  # fmt: skip
    output, _ = await load.communicate()
    result: dict[str, Any] = json.loads(output)
    result["cpu_us"] = round((running.cpu_s() - before) * 1e6 / max(1, result["acks"] * (seconds + 1) / seconds), 1)
    result["memory_mb"] = running.memory_mb()
    return result


def _row(name: str, connections: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [f["acks_s"] for f in found]
    return {
        "server": name,
        "connections": connections,
        "rounds": len(found),
        "births_s": statistics.median(rates),
        "births_s_min": min(rates),
        "births_s_max": max(rates),
        "p50_ms": _median(found, "p50_ms"),
        "p99_ms": _median(found, "p99_ms"),
        "cpu_us": _median(found, "cpu_us"),
        "memory_mb": max(f["memory_mb"] for f in found),
        "bad": sum(f["bad"] for f in found),
        "lost": sum(f["lost"] for f in found),
    }


def _median(found: list[dict[str, Any]], key: str) -> float | None:
    values = [f[key] for f in found if f[key] is not None]
    return round(statistics.median(values), 2) if values else None

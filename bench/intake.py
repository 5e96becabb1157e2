"""How many births a second are acknowledged, and how fast, beside rivals and floors. Rounds interleaved.

CPU a message is what the processes used in the middle of a round, divided by the acknowledgements of that time: the
server's own (all its processes), PostgreSQL's, and the load client's, which shares the machine.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from processes import Watch
from servers import COMPILED, ROOT, Running, Workshop, rivals

if TYPE_CHECKING:
    from collections.abc import Callable

NODE_PATH = {"NODE_PATH": str(ROOT / "bench" / "node_modules")}
WARM_UP_S = 1.0
STARTING_S = 0.4  # the load client imports and makes its first message


async def measure(shop: Workshop, *, connections: list[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return one row a server and number of connections: medians and ranges over the rounds."""
    samples: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for name, start in _servers(shop).items():
            async with AsyncExitStack() as stack:
                running = await stack.enter_async_context(start())
                for count in connections:
                    samples.setdefault((name, count), []).append(await load(shop, running, count, seconds))
    return [row(name, count, found) for (name, count), found in samples.items()]


def _servers(shop: Workshop) -> dict[str, Callable[[], Any]]:
    servers: dict[str, Callable[[], Any]] = {
        "procot, 1 process": lambda: shop.gateway(1, workers=0),
        "procot, 2 processes": lambda: shop.gateway(2, workers=0),
    }
    if COMPILED.exists():
        servers["procot compiled, 1 process"] = lambda: shop.gateway(1, workers=0, compiled=True)
        servers["procot compiled, 2 processes"] = lambda: shop.gateway(2, workers=0, compiled=True)
    for name, command in rivals(shop.dsn).items():
        servers[name] = lambda name=name, command=command: shop.program(name, command, **NODE_PATH)
    return servers


async def load(shop: Workshop, running: Running, connections: int, seconds: float) -> dict[str, Any]:
    """Let the neutral client load a server; return what it says, with CPU a message and memory."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "bench" / "mllp_load.py"), running.address,
        "--conns", str(connections), "--secs", str(seconds), "--warm", str(WARM_UP_S), stdout=subprocess.PIPE,
    )  # fmt: skip
    groups: dict[str, Callable[[], list[int]]] = {"server": lambda: running.pids, "client": lambda: [client.pid]}
    if running.stores:
        groups["postgres"] = shop.postgres
    async with Watch(groups) as watch:
        output, _ = await client.communicate()
    result: dict[str, Any] = json.loads(output)
    cores = watch.cores(skip_first_s=WARM_UP_S + STARTING_S, skip_last_s=0.2)
    for name, used in cores.items():
        result[f"{name}_us"] = round(used * 1e6 / max(1.0, result["acks_s"]), 1)
    result["memory_mb"] = running.memory_mb()
    return result


def row(name: str, connections: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Join the rounds of one server and number of connections."""
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
        "server_us": _median(found, "server_us"),
        "postgres_us": _median(found, "postgres_us"),
        "client_us": _median(found, "client_us"),
        "memory_mb": max(f["memory_mb"] for f in found),
        "bad": sum(f["bad"] for f in found),
        "lost": sum(f["lost"] for f in found),
    }


def _median(found: list[dict[str, Any]], key: str) -> float | None:
    values = [f[key] for f in found if f.get(key) is not None]
    return round(statistics.median(values), 2) if values else None

"""Manners under load: how long polite senders wait beside 2,000 idle connections, 200 slow ones and one that floods.

    make bench ARGS="--only flood"      the same among the other figures
    python bench/manners.py [--rounds 3] [--seconds 5] [--idle 2000] [--slow 200] [--others 8] [--pause-ms 100]

Polite senders send births one after the other with a pause, so that undisturbed they wait for the commit and not for
each other. The crowd is a process of its own; gateway, crowd, polite senders and PostgreSQL share the machine. Phases
are interleaved; p50 and p99 are medians over the rounds. Table on the terminal, JSON in bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mllp_load
from rich.console import Console
from rich.table import Table
from servers import ROOT, Running, Workshop, workshop

from gateway.cli import loop
from gateway.files import allow_files
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.mllp.framing import frame
from gateway.observe.logging import configure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

RESULTS = ROOT / "bench" / "results"
PER_ADDRESS = 900  # the gateway's default is 1,000 connections a peer; 127.0.0.0/8 is all ours
SLOW_BYTE_S = 0.1
OTHER_FILES = 256
PHASES = {
    "undisturbed": (),
    "idle": ("idle",),
    "slow": ("slow",),
    "flood": ("flood",),
    "all three": ("idle", "slow", "flood"),
}


# ------------------------------------------------------------------------------------------------ the crowd


async def _crowd(chosen: argparse.Namespace) -> None:
    """Hold the connections of one phase until this process is ended; say "ready" when they are there."""
    allow_files(chosen.idle + chosen.slow + OTHER_FILES)
    host, port = chosen.crowd.split(":")
    opened = [await _open(host, int(port), n) for n in range(chosen.idle + chosen.slow + chosen.flood)]
    births = mllp_load.births(f"S{os.getpid()}")  # its first takes the client many milliseconds: before "ready"
    slowly = [next(births)[1] for _ in range(chosen.slow)]
    floods = [_dozens(f"F{os.getpid()}{n}") for n in range(chosen.flood)]
    for dozens in floods:
        next(dozens)
    tasks = [asyncio.ensure_future(_trickle(*opened.pop(), message, n)) for n, message in enumerate(slowly)]
    tasks += [asyncio.ensure_future(_flood(*opened.pop(), dozens)) for dozens in floods]
    print("ready", flush=True)
    await asyncio.gather(*tasks, asyncio.Event().wait())


async def _open(host: str, port: int, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    source = f"127.0.0.{2 + number // PER_ADDRESS}"
    return await asyncio.open_connection(host, port, local_addr=(source, 0))


async def _trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes, number: int) -> None:
    """Send a birth a byte at a time; it will not end before the gateway's patience does."""
    await asyncio.sleep(number % 10 * SLOW_BYTE_S / 10)
    for byte in message:
        if writer.transport.is_closing():
            return
        writer.write(bytes([byte]))
        await asyncio.sleep(SLOW_BYTE_S)


async def _flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dozens: Iterator[bytes]) -> None:
    """Send births as fast as the gateway reads them, and read every answer."""
    reading = asyncio.ensure_future(_read(reader))
    for few in dozens:
        writer.write(few)
        await writer.drain()
    await reading


async def _read(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def _dozens(run_id: str) -> Iterator[bytes]:
    births = mllp_load.births(run_id)
    while True:
        yield b"".join(message for _, message in itertools.islice(births, 12))


# ------------------------------------------------------------------------------------------------ the others


async def others(address: str, chosen: argparse.Namespace, run_id: str) -> list[float]:
    """Return the milliseconds each polite sender waited for each answer; of `chosen`: others, seconds, pause_ms."""
    host, port = address.split(":")
    births = [mllp_load.births(f"{run_id}{n:02}") for n in range(chosen.others)]
    for each in births:  # the first one takes the client many milliseconds, which are not the gateway's
        next(each)
    end = time.perf_counter() + chosen.seconds
    senders = [_polite(host, int(port), each, n, end, chosen) for n, each in enumerate(births)]
    return [took for each in await asyncio.gather(*senders) for took in each]


async def _polite(
    host: str, port: int, births: Iterator[tuple[str, bytes]], number: int, end: float, chosen: argparse.Namespace
) -> list[float]:
    await asyncio.sleep(number * chosen.pause_ms / 1000 / chosen.others)  # not all in step
    client = await MllpClient(host, port).connect()
    took: list[float] = []
    for control_id, framed in births:
        message = framed[1:-2]
        assert frame(message) == framed  # noqa: S101 - the load client's bytes, without framing
        started = time.perf_counter()
        answer = await client.exchange(message, control_id=control_id, timeout=30)
        took.append((time.perf_counter() - started) * 1000)
        if acknowledgement(answer)[0] not in {"AA", "CA"}:
            raise SystemExit(f"a polite sender was refused: {answer!r}")
        if time.perf_counter() > end:
            break
        await asyncio.sleep(chosen.pause_ms / 1000)
    await client.aclose()
    return took


# ------------------------------------------------------------------------------------------------ the measurement


async def _phase(running: Running, name: str, chosen: argparse.Namespace, run_id: str) -> dict[str, Any]:
    async with _with_crowd(running.address, PHASES[name], chosen):
        took = sorted(await others(running.address, chosen, run_id))
        return {
            "answers": len(took),
            "p50_ms": took[len(took) // 2],
            "p99_ms": took[int(len(took) * 0.99)],
            "max_ms": took[-1],
            "memory_mb": running.memory_mb(),
        }


@contextlib.asynccontextmanager
async def _with_crowd(address: str, kinds: tuple[str, ...], chosen: argparse.Namespace) -> AsyncIterator[None]:
    if not kinds:
        yield
        return
    counts = {kind: getattr(chosen, kind) if kind in kinds else 0 for kind in ("idle", "slow", "flood")}
    arguments = [word for kind, count in counts.items() for word in (f"--{kind}", str(count))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--crowd", address, *arguments, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        if await asyncio.wait_for(process.stdout.readline(), 60) != b"ready\n":
            raise SystemExit("the crowd did not come together")
        await asyncio.sleep(0.5)
        yield
        if process.returncode is not None:
            raise SystemExit("the crowd went away")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await asyncio.sleep(1)  # let the gateway see them go


async def measure(shop: Workshop, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row a phase; `chosen` are the options of this program."""
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in PHASES}
    async with shop.gateway(1, workers=chosen.workers) as running:
        await _phase(running, "undisturbed", chosen, f"W{os.getpid()}")  # warm
        for number in range(chosen.rounds):
            for place, name in enumerate(PHASES):
                samples[name].append(await _phase(running, name, chosen, f"P{os.getpid()}{number}{place}"))
    return [_row(name, found, samples["undisturbed"]) for name, found in samples.items()]


def _row(name: str, found: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, Any]:
    def median(key: str, rows: list[dict[str, Any]]) -> float:
        return statistics.median(row[key] for row in rows)

    return {
        "beside": name,
        "rounds": len(found),
        "answers": sum(row["answers"] for row in found),
        "p50_ms": round(median("p50_ms", found), 2),
        "p99_ms": round(median("p99_ms", found), 2),
        "p99_ms_min": round(min(row["p99_ms"] for row in found), 2),
        "p99_ms_max": round(max(row["p99_ms"] for row in found), 2),
        "max_ms": round(max(row["max_ms"] for row in found), 1),
        "p99_times": round(median("p99_ms", found) / median("p99_ms", base), 2),
        "memory_mb": max(row["memory_mb"] for row in found),
    }


async def _main(chosen: argparse.Namespace) -> None:
    at = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H%M%SZ")
    before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="procot-manners-") as name:
        async with workshop(Path(name)) as shop:
            rows = await measure(shop, chosen)
    settings = {key: value for key, value in vars(chosen).items() if key != "crowd"}
    result = {"at": at, "load_before": before, "load_after": os.getloadavg(), "cores": os.cpu_count(),
              "settings": settings, "manners": rows}  # fmt: skip
    table = Table(*rows[0], title=f"load before {before[0]:.1f}, {os.cpu_count()} cores", box=None)
    for row in rows:
        table.add_row(*(str(cell) for cell in row.values()))
    Console(width=140).print(table)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"manners-{at}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"kept in {path.relative_to(ROOT)}")


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read this program's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--flood", type=int, default=1)
    parser.add_argument("--others", type=int, default=8)
    parser.add_argument("--pause-ms", type=float, default=100)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--crowd", metavar="HOST:PORT", default="", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    chosen_here = options()
    configure(level="error")
    loop.run(_crowd(chosen_here) if chosen_here.crowd else _main(chosen_here))

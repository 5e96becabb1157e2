"""`make bench`: every figure of docs/performance.md, measured on this machine and written there.

    make bench                           one birth, births to certificates, a backlog, start, intake beside rivals and
                                         floors, CPU by step, manners, large messages
    make bench ARGS=--all                the same, ten minutes of full load, and 1, 5 and 10 million messages stored
    make bench ARGS=--quick              a short run of each, for trying; writes nothing into docs/
    make bench ARGS="--soak 600"         full load for so many seconds: is memory flat?
    make bench ARGS="--stored 1000000"   births a second with so many messages stored (commas for several)
    make bench ARGS="--only steps"       any of the parts; commas for several

Everything is on: verdict, commit with fsync, answers, logs to a file. Tables on the terminal, JSON in bench/results/,
tables and plots in docs/performance.md. Figures depend on the machine, which is named beside them: compare within one
run only, since client, servers and PostgreSQL share its cores.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attacks
import backlog
import intake
import journey
import large
import manners
import poison
import report
import soak
import start
import steps
import stored
import throughput
from servers import ROOT, Workshop, workshop

from gateway.cli import loop
from gateway.observe.logging import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

RESULTS = ROOT / "bench" / "results"
USUAL = ("journey", "throughput", "backlog", "start", "steps", "intake", "flood", "large", "attacks")
PARTS = (*USUAL, "poison", "soak", "stored")
ALL_SOAK_S = 600.0
ALL_STORED = "1000000,5000000,10000000"

_QUICK = {
    "births": 20, "rounds": 1, "seconds": 1.5, "connections": "1,64", "rates": "10,50",
    "outage": 8.0, "waiting": 80, "tasks": 10_000,
}  # fmt: skip
_LONG = {
    "births": 100, "rounds": 3, "seconds": 4.0, "connections": "1,16,64,256", "rates": "1,10,50,200",
    "outage": 60.0, "waiting": 3000, "tasks": 100_000,
}  # fmt: skip


async def _main(chosen: argparse.Namespace) -> None:
    at = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H%M%SZ")
    result: dict[str, Any] = {"at": at, "machine": _machine(), "quick": chosen.quick}
    with tempfile.TemporaryDirectory(prefix="procot-bench-", dir=chosen.directory) as name:
        for part in _parts(chosen):
            began = time.monotonic()
            directory = Path(name) / part
            directory.mkdir()
            async with workshop(directory) as shop:  # a fresh PostgreSQL each: no part pays for another's rows
                result[part] = await _measure(shop, part, chosen)
            print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)
    result["machine"]["load_after"] = os.getloadavg()[0]
    _keep(result, chosen)


async def _measure(shop: Workshop, part: str, chosen: argparse.Namespace) -> Any:  # noqa: ANN401 - rows or a dictionary
    rounds, seconds = chosen.rounds, chosen.seconds
    measures: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "journey": lambda: journey.measure(shop, chosen.births),
        "throughput": lambda: throughput.measure(shop, rates=_numbers(chosen.rates), seconds=seconds * 5),
        "backlog": lambda: backlog.measure(shop, births=chosen.waiting, outage_s=chosen.outage),
        "start": lambda: start.measure(shop, tasks=chosen.tasks, rounds=rounds + 2),
        "steps": lambda: steps.measure(shop, batches=20 if chosen.quick else 100),
        "intake": lambda: intake.measure(
            shop, connections=_numbers(chosen.connections), rounds=rounds, seconds=seconds
        ),
        "flood": lambda: manners.measure(shop, manners.options(["--rounds", str(rounds), "--seconds", str(seconds)])),
        "large": lambda: large.measure(shop, rounds=rounds),
        "poison": lambda: poison.measure(shop, births=100 if chosen.quick else 1000),
        "attacks": lambda: attacks.measure(shop, rounds=rounds, seconds=seconds),
        "soak": lambda: soak.measure(shop, seconds=chosen.soak, count=2),
        "stored": lambda: stored.measure(shop, sizes=_numbers(chosen.stored), rounds=rounds, seconds=seconds),
    }
    return await measures[part]()


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def _parts(chosen: argparse.Namespace) -> list[str]:
    """Return what to measure; soak and stored take long and only run when asked for."""
    if chosen.only:
        wanted = chosen.only.split(",")
        if unknown := set(wanted) - set(PARTS):
            raise SystemExit(f"--only: there is no {', '.join(sorted(unknown))}; choose among {', '.join(PARTS)}")
    elif chosen.all:
        wanted = list(PARTS)
    elif chosen.soak or chosen.stored:
        wanted = [part for part in ("soak", "stored") if getattr(chosen, part)]
    else:
        wanted = list(USUAL)
    chosen.soak = chosen.soak or (20.0 if chosen.quick else ALL_SOAK_S)
    chosen.stored = chosen.stored or ("100000" if chosen.quick else ALL_STORED)
    return [part for part in PARTS if part in wanted]


def _machine() -> dict[str, Any]:
    model = ""
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else ""
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def _keep(result: dict[str, Any], chosen: argparse.Namespace) -> None:
    """Show the tables; keep JSON and, of a run that is not a quick one, the document."""
    for name, make in report.PARTS.items():
        if name in result:
            print(f"\n{make(result)}")
    print(f"\n{report.goals(result)}")
    if chosen.quick and not chosen.write:
        print("\na quick run: nothing is written (--write does)")
        return
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['at']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    report.write(result, kept_in=path)
    print(f"\nkept in {path.relative_to(ROOT)} and {report.DOCUMENT.relative_to(ROOT)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="soak and stored too")
    parser.add_argument("--quick", action="store_true", help="short rounds")
    parser.add_argument("--write", action="store_true", help="write the results of a quick run too")
    parser.add_argument("--only", default="", metavar="PART,PART", help=", ".join(PARTS))
    parser.add_argument("--soak", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--stored", default="", metavar="N,N")
    parser.add_argument("--births", type=int, help="of the journey")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of a round")
    parser.add_argument("--connections", metavar="N,N")
    parser.add_argument("--rates", metavar="N,N", help="births a second of throughput")
    parser.add_argument("--outage", type=float, metavar="SECONDS", help="of the registry, in backlog")
    parser.add_argument("--waiting", type=int, metavar="BIRTHS", help="offered during the outage")
    parser.add_argument("--tasks", type=int, help="open tasks at a start")
    parser.add_argument("--directory", help="where data lies meanwhile; a disk with room for --stored")
    chosen = parser.parse_args()
    usual = _QUICK if chosen.quick else _LONG
    for name, value in usual.items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


if __name__ == "__main__":
    configure(level="error")
    loop.run(_main(_options()))

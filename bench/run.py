"""`make bench`: how long a birth takes, and how many the intake acknowledges, beside rivals and floors.

    python bench/run.py [--births 100] [--rounds 3] [--seconds 4] [--connections 1,16,64,256] [--only journey|intake]

A table on the terminal, JSON in bench/results/. Figures depend on the machine, which is named beside them: compare
within one run only, since client, server and PostgreSQL share its cores.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import intake
import journey
from rich.console import Console
from rich.table import Table
from servers import ROOT, workshop

from gateway.cli import loop
from gateway.observe.logging import configure

RESULTS = ROOT / "bench" / "results"


async def _main(chosen: argparse.Namespace) -> None:
    result: dict[str, Any] = {"at": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H%M%SZ"), "machine": _machine()}
    with tempfile.TemporaryDirectory(prefix="procot-bench-") as name:
        async with workshop(Path(name)) as shop:
            if chosen.only in ("", "journey"):
                result["journey"] = await journey.measure(shop, chosen.births)
            if chosen.only in ("", "intake"):
                connections = [int(n) for n in chosen.connections.split(",")]
                result["intake"] = await intake.measure(
                    shop, connections=connections, rounds=chosen.rounds, seconds=chosen.seconds
                )
    result["machine"]["load_after"] = os.getloadavg()[0]
    _show(result)
    path = RESULTS / f"{result['at']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"kept in {path.relative_to(ROOT)}")


def _machine() -> dict[str, Any]:
    model = ""
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else ""
    return {
        "cpu": model, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }  # fmt: skip


def _show(result: dict[str, Any]) -> None:
    console = Console()
    machine = result["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"load before {machine['load_before']:.1f}"
    )
    if found := result.get("journey"):
        _table(
            console,
            f"{found['births']} births, one at a time",
            ("ms", "p50", "p99", "min", "max"),
            [
                [label, *(found[key][k] for k in ("p50", "p99", "min", "max"))]
                for key, label in (("ack_ms", "MLLP in to AA"), ("certificate_ms", "MLLP in to MDM^T02"))
            ],
        )
    if rows := result.get("intake"):
        keys = ("server", "connections", "births_s", "births_s_min", "births_s_max", "p50_ms", "p99_ms", "cpu_us",
                "memory_mb", "bad", "lost")  # fmt: skip
        heads = ("server", "conns", "births/s", "min", "max", "p50 ms", "p99 ms", "cpu µs", "MB", "bad", "lost")
        _table(console, f"intake, medians of {rows[0]['rounds']} rounds", heads, [[r[k] for k in keys] for r in rows])


def _table(console: Console, title: str, heads: tuple[str, ...], rows: list[list[Any]]) -> None:
    table = Table(*heads, title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--births", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", default="1,16,64,256")
    parser.add_argument("--only", choices=["journey", "intake"], default="")
    configure(level="error")
    loop.run(_main(parser.parse_args()))

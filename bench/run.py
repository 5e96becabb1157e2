"""`make bench`: how long a birth takes, and how many the intake acknowledges. Table on the terminal, JSON in results/.

    python bench/run.py [--births 100] [--seconds 5] [--only journey|intake]

Gateway and registry sandbox are processes of their own; this process is the hospital: it sends, and it takes the time
when the MDM^T02 arrives. Figures depend on the machine, which is named beside them; compare within one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from gateway.app import split_address, write_private
from gateway.cli import loop
from gateway.cli.demo_births import demo_births
from gateway.config import Limits
from gateway.evidence.keys import Keyring
from gateway.hl7.ack import build_acknowledgement
from gateway.hl7.charset import decode
from gateway.hl7.header import read_header
from gateway.hl7.message import parse_message
from gateway.mllp.client import MllpClient
from gateway.mllp.server import MllpServer, Peer, as_future
from gateway.observe.logging import configure
from gateway.observe.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
WARM_UP = 10
PATIENCE_S = 60.0


class Hospital:
    """A listener that answers AA at once and notes when each baby's MDM^T02 came."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.news = asyncio.Event()
        self._server = MllpServer(self._handle, limits=Limits(), observer=Metrics())

    async def start(self) -> str:
        """Listen on a free port; returns the address."""
        host, port = await self._server.start("127.0.0.1", 0)
        return f"{host}:{port}"

    def _handle(self, frame: bytes, _peer: Peer) -> asyncio.Future[Sequence[bytes]]:
        return as_future(self._answer(frame))

    async def _answer(self, frame: bytes) -> Sequence[bytes]:
        now = time.perf_counter()
        decoded = decode(frame)
        message = parse_message(decoded.text)
        header = read_header(message)
        if header.message_code == "MDM":
            self.arrived[message.value("PID", 3)] = now
            self.news.set()
        answer = build_acknowledgement(
            header, code="AA", problems=(), control_id=f"H{time.time_ns() % 10**15}", now=dt.datetime.now(dt.UTC),
            our_application="BENCH", our_facility="BENCH", codec=decoded.codec,
        )  # fmt: skip
        return (answer,)

    async def wait_for(self, record_number: str) -> float:
        """Return when that baby's certificate came."""
        while record_number not in self.arrived:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), PATIENCE_S)
        return self.arrived[record_number]

    async def stop(self) -> None:
        """Close."""
        await self._server.drain(1)


@asynccontextmanager
async def gateway(directory: Path, hospital: str) -> AsyncIterator[str]:
    """Run registry sandbox and gateway as a user starts them; lends the MLLP address."""
    keyring = Keyring(directory / "keys")
    keyring.open()
    write_private(directory / "jwks.json", json.dumps(keyring.jwks()))
    write_private(directory / "token", "a-token-of-the-benchmark")
    processes = []
    try:
        registry = await _spawn(processes, directory, "registry", [
            "sandbox", "registry", "--listen", "127.0.0.1:0", "--data", str(directory / "registry"),
            "--gateway-jwks", str(directory / "jwks.json"), "--token-file", str(directory / "token"),
            "--work-seconds", "0",
        ])  # fmt: skip
        (directory / "procot.toml").write_text(_configuration(directory, registry["registry"], hospital))
        ready = await _spawn(processes, directory, "gateway", ["serve", "--config", str(directory / "procot.toml")])
        yield str(ready["mllp"])
    finally:
        for process in reversed(processes):
            process.terminate()
            await asyncio.to_thread(process.wait)


async def _spawn(
    processes: list[subprocess.Popen[bytes]], directory: Path, name: str, arguments: list[str]
) -> dict[str, Any]:
    ready = directory / f"{name}.json"
    log = (directory / f"{name}.log").open("wb")
    command = [sys.executable, "-m", "gateway.cli", *arguments, "--ready-file", str(ready)]
    processes.append(subprocess.Popen(command, stderr=log, stdout=log, cwd=ROOT))  # noqa: ASYNC220 - a fork, no wait
    end = time.monotonic() + PATIENCE_S
    while not ready.exists():
        if processes[-1].poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{name} did not start; see {directory}/{name}.log")
        await asyncio.sleep(0.05)
    found: dict[str, Any] = json.loads(ready.read_text())
    return found


def _configuration(directory: Path, registry: str, hospital: str) -> str:
    return f"""
        [database]
        directory = "{directory}"
        [mllp]
        listen = "127.0.0.1:0"
        [http]
        listen = "127.0.0.1:0"
        [registry]
        url = "{registry}"
        token_file = "{directory}/token"
        check_user = "BENCH"
        check_password_file = "{directory}/token"
        check_ip = "127.0.0.1"
        [[facility]]
        code = "RSU CEMPAKA CONTOH"
        region = "3510"
        deliver_to = "{hospital}"
    """


async def journey(count: int) -> dict[str, Any]:
    """One birth after the other on an idle gateway: MLLP in to AA, and to MDM^T02 at the hospital."""
    hospital = Hospital()
    with tempfile.TemporaryDirectory(prefix="procot-bench-") as name:
        async with gateway(Path(name), await hospital.start()) as address:
            client = await MllpClient(*split_address(address)).connect()
            acknowledged, delivered = [], []
            for birth in demo_births(count + WARM_UP):
                record_number = parse_message(birth.message.decode()).value("PID", 3)
                started = time.perf_counter()
                await client.exchange(birth.message, control_id=birth.control_id, timeout=PATIENCE_S)
                acknowledged.append((time.perf_counter() - started) * 1e3)
                delivered.append((await hospital.wait_for(record_number) - started) * 1e3)
            await client.aclose()
        await hospital.stop()
    return {
        "births": count,
        "ack_ms": _spread(acknowledged[WARM_UP:]),
        "certificate_ms": _spread(delivered[WARM_UP:]),
    }


async def intake(seconds: float) -> list[dict[str, Any]]:
    """Acknowledged births a second, everything on: verdict, commit, log to a file; the pipeline works beside it."""
    hospital = Hospital()
    rows = []
    with tempfile.TemporaryDirectory(prefix="procot-bench-") as name:
        async with gateway(Path(name), await hospital.start()) as address:
            for connections in (1, 16, 64):
                load = await asyncio.create_subprocess_exec(
                    sys.executable, str(ROOT / "bench" / "mllp_load.py"), address,
                    "--conns", str(connections), "--secs", str(seconds), stdout=subprocess.PIPE,
                )  # fmt: skip
                output, _ = await load.communicate()
                rows.append(json.loads(output))
        await hospital.stop()
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "min": round(ordered[0], 1),
        "max": round(ordered[-1], 1),
    }


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
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, load {machine['load_before']:.1f}"
    )
    if found := result.get("journey"):
        table = Table(
            "one birth at a time", "p50 ms", "p99 ms", "min", "max", title=f"{found['births']} births", box=None
        )
        for key, label in (("ack_ms", "MLLP in to AA"), ("certificate_ms", "MLLP in to MDM^T02 at the hospital")):
            table.add_row(label, *(str(found[key][k]) for k in ("p50", "p99", "min", "max")))
        console.print(table)
    if rows := result.get("intake"):
        table = Table("connections", "births/s", "p50 ms", "p99 ms", "bad", "lost", title="intake, all on", box=None)
        for row in rows:
            table.add_row(*(str(row[k]) for k in ("conns", "acks_s", "p50_ms", "p99_ms", "bad", "lost")))
        console.print(table)


async def _main(births: int, seconds: float, only: str) -> None:
    result: dict[str, Any] = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "machine": _machine()}
    if only in ("", "journey"):
        result["journey"] = await journey(births)
    if only in ("", "intake"):
        result["intake"] = await intake(seconds)
    _show(result)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['at'].replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"kept in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--births", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", choices=["journey", "intake"], default="")
    chosen = parser.parse_args()
    configure(level="error")
    loop.run(_main(chosen.births, chosen.seconds, chosen.only))

"""From kill -9 of a gateway to the first AA of the next one, with many open tasks in the store.

The tasks are of births that are not there, a seventh of them due at once: the workers are busy from the first moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import asyncpg
from servers import PATIENCE_S, ROOT

from gateway.app import split_address
from gateway.cli.demo_births import demo_births
from gateway.errors import DeliveryUnavailableError
from gateway.mllp.client import MllpClient, acknowledgement

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Workshop

_BACKLOG = """
    INSERT INTO tasks (kind, birth_id, priority, due_at)
    SELECT (ARRAY['check', 'submit', 'poll'])[1 + n % 3], gen_random_uuid(), 5 * (n % 2), now() + n % 7 * interval '1 h'
    FROM generate_series(1, $1::int) AS n
"""
_CONFIG = """
    [database]
    dsn = "{dsn}"
    directory = "{directory}"
    [mllp]
    listen = "127.0.0.1:0"
    [http]
    listen = "127.0.0.1:0"
    [registry]
    url = "http://127.0.0.1:9"
    token_file = "{directory}/token"
    [[facility]]
    code = "RSU CEMPAKA CONTOH"
    region = "3510"
    insecure = "msh-4"
"""
_AGAIN_S = 0.005


async def measure(shop: Workshop, *, tasks: int, rounds: int) -> dict[str, Any]:
    """Kill and start a gateway so many times; return the seconds of each, from the kill to the AA."""
    directory = shop.directory
    (directory / "start.toml").write_text(_CONFIG.format(dsn=shop.dsn, directory=directory))
    process = _spawn(directory)
    seconds = []
    try:
        await _first_aa(directory, process)
        await _fill(shop.dsn, tasks)
        for _ in range(rounds):
            began = time.monotonic()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process = _spawn(directory)
            await _first_aa(directory, process)
            seconds.append(round(time.monotonic() - began, 2))
    finally:
        process.kill()
        process.wait()
    return {"tasks": tasks, "seconds": seconds, "median_s": statistics.median(seconds), "max_s": max(seconds)}


async def _fill(dsn: str, tasks: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_BACKLOG, tasks)
    finally:
        await connection.close()


def _spawn(directory: Path) -> subprocess.Popen[bytes]:
    """Start a gateway process; it writes its addresses to `start.json`."""
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(directory / "start.toml")]
    with (directory / "start.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--ready-file", str(directory / "start.json")], stdout=log, stderr=log, cwd=ROOT
        )


async def _first_aa(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """Send a birth as a hospital does, until it is accepted."""
    (birth,) = demo_births(1)
    ready = directory / "start.json"
    while True:
        if process.poll() is not None:
            raise SystemExit(f"the gateway ended; see {directory / 'start.log'}")
        try:
            found = json.loads(ready.read_text())
            if found["pid"] != process.pid:
                raise ValueError("of the one before")  # noqa: TRY301 - the same as none
            client = await MllpClient(*split_address(found["mllp"])).connect()
            answer = await client.exchange(birth.message, control_id=birth.control_id, timeout=PATIENCE_S)
            await client.aclose()
            if acknowledgement(answer)[0] == "AA":
                return
        except (OSError, ValueError, DeliveryUnavailableError):
            await asyncio.sleep(_AGAIN_S)

"""From kill -9 of a gateway to the first AA of the next one, with 100,000 open tasks: python bench/start.py [TASKS]."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from gateway.app import split_address
from gateway.cli.demo_births import demo_births
from gateway.errors import DeliveryUnavailableError
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.store.embedded import EmbeddedPostgres

ROUNDS = 5
BACKLOG = """
    INSERT INTO tasks (kind, birth_id, priority, due_at)
    SELECT (ARRAY['check', 'submit', 'poll'])[1 + n % 3], gen_random_uuid(), 5 * (n % 2), now() + n % 7 * interval '1 h'
    FROM generate_series(1, $1::int) AS n
"""
CONFIG = """
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
"""


def spawn(directory: Path) -> subprocess.Popen[bytes]:
    """Start a gateway process; it writes its addresses to `ready.json`."""
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(directory / "procot.toml")]
    with (directory / "log").open("ab") as log:
        return subprocess.Popen([*command, "--ready-file", str(directory / "ready.json")], stdout=log, stderr=log)


async def first_aa(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """Send a birth as a hospital does, until it is accepted."""
    (birth,) = demo_births(1)
    ready = directory / "ready.json"
    while True:
        if process.poll() is not None:
            raise SystemExit(f"the gateway ended; see {directory / 'log'}")
        try:
            found = json.loads(ready.read_text())
            if found["pid"] != process.pid:
                raise ValueError("of the one before")  # noqa: TRY301 - the same as none
            client = await MllpClient(*split_address(found["mllp"])).connect()
            answer = await client.exchange(birth.message, control_id=birth.control_id, timeout=10)
            await client.aclose()
            if acknowledgement(answer)[0] == "AA":
                return
        except (OSError, ValueError, DeliveryUnavailableError):
            await asyncio.sleep(0.005)


async def measure(tasks: int) -> dict[str, object]:
    """Return seconds from the kill to the first AA, over ROUNDS."""
    with tempfile.TemporaryDirectory(prefix="procot-start-") as name:
        directory = Path(name)
        server = EmbeddedPostgres(directory / "postgres")
        dsn = await server.start()
        (directory / "token").write_text("bench")
        (directory / "procot.toml").write_text(CONFIG.format(dsn=dsn, directory=directory))
        process = spawn(directory)
        try:
            await first_aa(directory, process)
            connection = await asyncpg.connect(dsn)
            await connection.execute(BACKLOG, tasks)
            await connection.close()
            seconds = []
            for _ in range(ROUNDS):
                began = time.monotonic()
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                process = spawn(directory)
                await first_aa(directory, process)
                seconds.append(round(time.monotonic() - began, 2))
        finally:
            process.kill()
            process.wait()
            await server.stop()
    return {"tasks": tasks, "seconds": seconds, "median_s": statistics.median(seconds)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))))

"""After the faults: wait until nothing is left to do. An operator makes due what still waits for its back-off."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import asyncpg

from tests.chaos.victims import ROOT

if TYPE_CHECKING:
    from tests.chaos.town import Town

MOVING = ("RECEIVED", "READY", "SEALED", "SUBMITTED", "IN_PROCESS", "ISSUED", "DEAD_LETTER")
_OPERATOR_S = 6.0
_LEFT = """
SELECT (SELECT count(*) FROM messages WHERE assigned_at IS NULL AND effect <> 'none') AS messages,
       (SELECT count(*) FROM births WHERE state = ANY($1)) AS births,
       (SELECT count(*) FROM outbound WHERE accepted_at IS NULL AND discarded_at IS NULL) AS letters,
       (SELECT count(*) FROM tasks t LEFT JOIN births b ON b.id = t.birth_id
        WHERE NOT (t.kind = 'poll' AND b.state LIKE 'HOLD%')) AS tasks
"""


async def until_quiet(town: Town, *, within_s: float) -> str:
    """Return "" once nothing is left, or what is left after `within_s` seconds in which it did not get less."""
    end = time.monotonic() + within_s
    operator_at, least = 0.0, sys.maxsize
    left = ""
    connection = await asyncpg.connect(town.dsn)
    try:
        while time.monotonic() < end:
            row = await connection.fetchrow(_LEFT, list(MOVING))
            left = ", ".join(f"{n} {what}" for what, n in dict(row or {}).items() if n)
            if not left:
                return ""
            if (now := sum(dict(row or {}).values())) < least:
                least, end = now, time.monotonic() + within_s
            if time.monotonic() > operator_at:
                await _retry(town)
                operator_at = time.monotonic() + _OPERATOR_S
            await asyncio.sleep(0.2)
    finally:
        await connection.close()
    return left


async def _retry(town: Town) -> None:
    """Run `procot queue retry --all`, as an operator does when the outage is over."""
    command = [sys.executable, "-m", "gateway.cli", "queue", "retry", "--all", "--yes", "--json"]
    command += ["--reason", "the faults are over", "--config", str(town.config)]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False, capture_output=True, timeout=60)

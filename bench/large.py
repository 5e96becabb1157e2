"""What a 5 MiB message costs a gateway in memory, and whether others notice.

Memory is the highest resident memory (VmHWM, set back before each message) less what was resident before, divided by
the message's size: from the socket to the commit, nothing left out. Polite senders send births meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import manners
import mllp_load
import processes

from gateway.mllp.client import MllpClient, acknowledgement

if TYPE_CHECKING:
    from servers import Running, Workshop

SIZE = 5 * 1024 * 1024 - 4096  # below limits.message_bytes
_DOCUMENT = base64.b64encode(random.Random(1).randbytes(SIZE))  # noqa: S311 - like a scan: it does not compress
_LETTER = b"OBX|9|ED|PDF^Surat||^application^pdf^Base64^%b||||||F\r"
_NOTE = "NTE|1||Ibu sehat, {}\r"
_SMILE = "\N{BABY}"
VARIANTS = {
    "a scanned letter (base64)": (b"", b""),
    "the same, typographic quotes in a note": (_NOTE.format("“sehat”").encode(), b""),
    "the same, an emoji in a note": (_NOTE.format(_SMILE).encode(), b""),
    "an emoji in the very field": (b"", _SMILE.encode()),
}


async def measure(shop: Workshop, *, rounds: int) -> list[dict[str, Any]]:
    """Return a row a kind of message: times its size in memory, and its own answer's time."""
    rows = []
    async with shop.gateway(1, workers=0) as running:
        births = mllp_load.births(f"G{os.getpid()}")
        await _others(running, seconds=1.0)
        for label, (note, within) in VARIANTS.items():
            found = [await _one(running, births, note, within) for _ in range(rounds)]
            rows.append(
                {
                    "message": label,
                    "bytes": SIZE,
                    "rounds": rounds,
                    "times": round(max(each["times"] for each in found), 2),
                    "answer_ms": round(statistics.median(each["answer_ms"] for each in found)),
                    "others_p99_ms": round(statistics.median(each["others_p99_ms"] for each in found), 2),
                    "others_max_ms": round(max(each["others_max_ms"] for each in found), 1),
                    "before_p99_ms": round(statistics.median(each["before_p99_ms"] for each in found), 2),
                }
            )
    return rows


async def _one(running: Running, births: Any, note: bytes, within: bytes) -> dict[str, float]:  # noqa: ANN401
    control_id, framed = next(births)
    text = _DOCUMENT[: (SIZE - len(framed) - len(note)) // 8 * 8]
    message = framed[1:-2] + note + _LETTER % (text[: len(text) // 2] + within + text[len(text) // 2 :])
    before = await _others(running, seconds=1.0)
    (pid,) = running.pids
    resident = processes.memory_mb(pid)
    processes.forget_highest(pid)
    meanwhile = asyncio.create_task(_others(running, seconds=1.5))
    await asyncio.sleep(0.5)
    host, port = running.address.split(":")
    client = await MllpClient(host, int(port)).connect()
    started = time.perf_counter()
    answer = await client.exchange(message, control_id=control_id, timeout=30)
    took = time.perf_counter() - started
    if acknowledgement(answer)[0] not in {"AA", "CA"}:
        raise SystemExit(f"a large message was refused: {answer!r}")
    await client.aclose()
    beside = await meanwhile
    used = processes.highest_memory_mb(pid) - resident
    return {
        "times": used * 2**20 / len(message),
        "answer_ms": took * 1000,
        "before_p99_ms": before[int(len(before) * 0.99)],
        "others_p99_ms": beside[int(len(beside) * 0.99)],
        "others_max_ms": beside[-1],
    }


async def _others(running: Running, *, seconds: float) -> list[float]:
    options = manners.options(["--seconds", str(seconds), "--pause-ms", "20"])
    return sorted(await manners.others(running.address, options, f"O{time.time_ns() // 1000 % 10**9}"))

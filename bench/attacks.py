"""Attacks on availability: how long polite MLLP senders wait beside each, and what the attacker gets (issue 10 D).

    make bench ARGS="--only attacks"

The attacker is a process of its own with a stranger's or a facility's means; gateway (with workers), attacker, polite
senders and PostgreSQL share the machine. Each attack is measured between two undisturbed phases of its own round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import itertools
import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import manners
import mllp_load
import processes

from gateway.cli import loop
from gateway.files import allow_files
from gateway.mllp.client import MllpClient
from gateway.store import tokens
from gateway.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from servers import Running, Workshop

FACILITY = "RSU CEMPAKA CONTOH"
IDLE = 3000
_MIB = 1024 * 1024
_SLOW = 200
_GARBAGE = 64 * 1024


# ------------------------------------------------------------------------------------------------ the attackers


async def _request(chosen: argparse.Namespace, head: str, body: bytes = b"") -> tuple[int, int]:
    """Send one request as it is; return status and bytes of the answer, 0 where there was none."""
    host, port = chosen.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{head}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode() + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 120)
    except ConnectionError:
        return 0, 0
    finally:
        writer.close()
    return int(answer[9:12] or 0), len(answer)


async def _gzip(chosen: argparse.Namespace) -> None:
    """Ten times a second: 1 MB that unpacks to 1 GB, without a token."""
    body = gzip.compress(bytes(1024 * _MIB), 9)[:_MIB]
    head = f"POST /v1/hl7 HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}"
    for _ in itertools.count():
        _tell(await _request(chosen, head, body))
        await asyncio.sleep(0.1)


async def _form(chosen: argparse.Namespace) -> None:
    body = b'{"documents":[' + b"{}," * (5 * _MIB - 6) + b"{}]}"
    await _post(chosen, f"/v1/births/{chosen.birth}/form", "application/json", itertools.repeat(body))


async def _dry_run(chosen: argparse.Namespace) -> None:
    await _post(chosen, "/v1/hl7/validate", "application/hl7-v2", _hostile(4 * _MIB))


async def _over_http(chosen: argparse.Namespace) -> None:
    await _post(chosen, "/v1/hl7", "application/hl7-v2", _hostile(4 * _MIB))


async def _post(chosen: argparse.Namespace, path: str, kind: str, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        head = f"POST {path} HTTP/1.1\r\nAuthorization: Bearer {chosen.token}\r\nContent-Type: {kind}"
        _tell(await _request(chosen, f"{head}\r\nContent-Length: {len(body)}", body))


async def _idle(chosen: argparse.Namespace) -> None:
    """Open 3,000 sockets from one address, and again whatever is closed."""
    allow_files(2 * IDLE)
    host, port = chosen.http.split(":")
    held = []
    for _ in range(IDLE):
        with contextlib.suppress(OSError):
            held.append(await asyncio.open_connection(host, int(port), local_addr=("127.0.0.9", 0)))
    _tell((sum(not reader.at_eof() for reader, _ in held), 0))
    await asyncio.Event().wait()


async def _slow(chosen: argparse.Namespace) -> None:
    """Write headers a byte at a time on many connections."""
    host, port = chosen.http.split(":")

    async def trickle(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port), local_addr=(f"127.0.1.{1 + number % 4}", 0))
                for byte in itertools.cycle(b"X-Slow: 1\r\n"):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.1)

    await asyncio.gather(*(trickle(number) for number in range(_SLOW)))


async def _bad_tokens(chosen: argparse.Namespace) -> None:
    for number in itertools.count():
        _tell(await _request(chosen, f"GET /v1/births HTTP/1.1\r\nAuthorization: Bearer procot_{number}"))


async def _hostile_mllp(chosen: argparse.Namespace) -> None:
    await _send(chosen, _hostile(2 * _MIB))


async def _largest_mllp(chosen: argparse.Namespace) -> None:
    await _send(chosen, _hostile(5 * _MIB - 8192))


async def _garbage(chosen: argparse.Namespace) -> None:
    await _send(chosen, (b"MSH|^~\\&|X|NOBODY\rZZZ|" + str(n).encode() * (_GARBAGE // 8) for n in itertools.count()))


async def _send(chosen: argparse.Namespace, messages: Iterator[bytes]) -> None:
    host, port = chosen.mllp.split(":")
    client = await MllpClient(host, int(port)).connect()
    for message in messages:
        await client.exchange(message, control_id=_control_id(message), timeout=120)
        _tell((0, 0))


def _control_id(message: bytes) -> str:
    fields = message.split(b"\r", 1)[0].split(b"|")
    return fields[9].decode() if len(fields) > 9 else ""  # noqa: PLR2004 - MSH-10


def _hostile(size: int) -> Iterator[bytes]:
    """Yield births of so many bytes that are accepted and slow to read: names, escapes, fields, blank lines."""
    births = mllp_load.births(f"H{os.getpid()}")
    fills: tuple[Callable[[bytes], bytes], ...] = (
        lambda m: m.replace(b"|AHMAD RIZKI PRATAMA^", b"|" + b"DR. " * (size // 4) + b"^"),
        lambda m: m.replace(b"|SITI AMINAH^", b"|" + "É".encode() * (size // 2) + b"^"),
        lambda m: m + b"OBX|9|TX|1^x||" + b"\\F\\" * (size // 3) + b"\r",
        lambda m: m + b"".join(b"NK1|%d" % n + b"|A^B" * (size // 1900 // 4) + b"\r" for n in range(3, 1900)),
        lambda m: m + b"\r" * size,
    )
    for fill in itertools.cycle(fills):
        yield fill(next(births)[1][1:-2])


ATTACKS: dict[str, Callable[[argparse.Namespace], Awaitable[None]]] = {
    "1 MB gzip without a token, 10 a second": _gzip,
    "a form of 15 MB, a list of empty objects": _form,
    "3,000 idle HTTP sockets of one address": _idle,
    "200 HTTP sockets, a byte each 0.1 s": _slow,
    "wrong tokens, one after another": _bad_tokens,
    "2 MB over MLLP, accepted and assigned": _hostile_mllp,
    "5 MiB over MLLP, accepted and assigned": _largest_mllp,
    "4 MB by POST /v1/hl7/validate": _dry_run,
    "4 MB by POST /v1/hl7": _over_http,
    "unreadable messages, 64 KB each": _garbage,
}


def _tell(got: tuple[int, int]) -> None:
    print(json.dumps(got), flush=True)


# ------------------------------------------------------------------------------------------------ the measurement


async def measure(shop: Workshop, *, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return a row an attack."""
    polite = manners.options(["--seconds", str(seconds), "--pause-ms", "50"])
    rows = []
    async with shop.gateway(1, workers=4) as running:
        token, birth = await _means(shop, running)
        await manners.others(running.address, polite, f"W{os.getpid()}")
        for place, name in enumerate(ATTACKS):
            found = [await _one(running, name, (token, birth), polite, f"{place}{n}") for n in range(rounds)]
            rows.append(_row(name, found))
    return rows


async def _means(shop: Workshop, running: Running) -> tuple[str, str]:
    """Return a facility's token and a birth of it."""
    host, port = running.address.split(":")
    client = await MllpClient(host, int(port)).connect()
    control_id, framed = next(mllp_load.births(f"B{os.getpid()}"))
    await client.exchange(framed[1:-2], control_id=control_id, timeout=30)
    await client.aclose()
    database = Database(shop.dsn, size=2, timeout_s=10)
    await database.open()
    try:
        _, token = await tokens.new(database, label="bench", role="facility", facility=FACILITY)
        async with asyncio.timeout(60):
            while (row := await database.fetchrow("SELECT id FROM births LIMIT 1")) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        await database.close()
    return token, str(row["id"])


async def _one(
    running: Running, name: str, means: tuple[str, str], polite: argparse.Namespace, run_id: str
) -> dict[str, Any]:
    before = sorted(await manners.others(running.address, polite, f"U{os.getpid()}{run_id}"))
    (pid,) = running.pids
    resident = processes.memory_mb(pid)
    processes.forget_highest(pid)
    async with _attacker(running, name, means) as got:
        beside = sorted(await manners.others(running.address, polite, f"A{os.getpid()}{run_id}"))
    return {
        "before_p99_ms": before[int(len(before) * 0.99)],
        "p50_ms": beside[len(beside) // 2],
        "p99_ms": beside[int(len(beside) * 0.99)],
        "max_ms": beside[-1],
        "memory_mb": processes.highest_memory_mb(pid) - resident,
        "got": got,
    }


@contextlib.asynccontextmanager
async def _attacker(running: Running, name: str, means: tuple[str, str]) -> AsyncIterator[list[list[int]]]:
    """Attack meanwhile; lends the list of what the attacker got, whole at the end."""
    command = [sys.executable, __file__, name, "--http", running.http, "--mllp", running.address]
    process = await asyncio.create_subprocess_exec(
        *command, "--token", means[0], "--birth", means[1], stdout=subprocess.PIPE
    )
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    if await asyncio.wait_for(process.stdout.readline(), 60) != b"ready\n":
        raise SystemExit(f"{name}: the attacker did not come")
    got: list[list[int]] = []

    async def listen() -> None:
        got.extend([json.loads(line) async for line in process.stdout or ()])

    listening = asyncio.ensure_future(listen())
    try:
        await asyncio.sleep(1)
        yield got
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening
        await asyncio.sleep(1)  # let the gateway see it go


def _row(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    got = [each for one in found for each in one["got"]]
    statuses = sorted({status for status, _ in got if status >= 100}) if name not in _COUNTED else []  # noqa: PLR2004
    return {
        "attack": name,
        "rounds": len(found),
        "tries": len(got),
        "statuses": statuses,
        "answer_bytes": max((size for _, size in got), default=0),
        "let_in": max((count for count, _ in got), default=0) if name in _COUNTED else None,
        "before_p99_ms": round(statistics.median(one["before_p99_ms"] for one in found), 2),
        "p50_ms": round(statistics.median(one["p50_ms"] for one in found), 2),
        "p99_ms": round(statistics.median(one["p99_ms"] for one in found), 2),
        "max_ms": round(max(one["max_ms"] for one in found), 1),
        "memory_mb": round(max(one["memory_mb"] for one in found), 1),
    }


_COUNTED = frozenset({"3,000 idle HTTP sockets of one address"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", choices=list(ATTACKS))
    for option in ("http", "mllp", "token", "birth"):
        parser.add_argument(f"--{option}", default="")
    chosen_here = parser.parse_args()
    print("ready", flush=True)
    loop.run(ATTACKS[chosen_here.attack](chosen_here))  # type: ignore[arg-type]

"""How long one birth takes on an idle gateway: MLLP in to AA, and to MDM^T02 at the hospital."""

from __future__ import annotations

import asyncio
import datetime as dt
import statistics
import time
from typing import TYPE_CHECKING, Any

from servers import PATIENCE_S, Workshop

from gateway.app import split_address
from gateway.cli.demo_births import demo_births
from gateway.config import Limits
from gateway.hl7.ack import build_acknowledgement
from gateway.hl7.charset import decode
from gateway.hl7.header import read_header
from gateway.hl7.message import parse_message
from gateway.mllp.client import MllpClient
from gateway.mllp.server import MllpServer, Peer, as_future
from gateway.observe.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 10


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


async def measure(shop: Workshop, count: int) -> dict[str, Any]:
    """Send one birth after the other; each waits for the certificate of the one before."""
    hospital = Hospital()
    listener = await hospital.start()
    acknowledged, delivered = [], []
    async with shop.registry() as url, shop.gateway(1, registry=url, hospital=listener) as running:
        client = await MllpClient(*split_address(running.address)).connect()
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


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "min": round(ordered[0], 1),
        "max": round(ordered[-1], 1),
    }

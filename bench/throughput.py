"""Births offered at a steady pace: how many reach their certificate, and how long from AA to MDM^T02 at the hospital.

Open loop: a birth is due at its time whether or not the one before was answered, as wards do not wait for one another.
Latencies are counted from the AA at the sender. The registry decides at once, so what is measured is ours; all of it,
client, registry sandbox and PostgreSQL, shares the machine.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import processes
from journey import Hospital
from servers import PATIENCE_S, Workshop

from gateway.app import split_address
from gateway.cli.demo_births import demo_births
from gateway.hl7.message import parse_message
from gateway.mllp.client import MllpClient, acknowledgement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servers import Running

    from gateway.cli.demo_births import DemoBirth

LEAST_BIRTHS, LEAST_A_SECOND = 60, 10  # fewer in a short round
WORKERS = 8  # as `procot serve` has them
DRAIN_S = 300.0  # the longest wait for certificates after the last birth
_CONNECTIONS = 16
_LOOK_S = 0.1
WARM_UP = 20


@dataclass(slots=True)
class Ward:
    """Sends births at a pace over several connections and notes when each got its AA, by record number."""

    address: str
    births: Iterator[DemoBirth]  # no two wards have the same mothers: they would be taken for suspected duplicates
    acknowledged: dict[str, float] = field(default_factory=dict)
    ack_ms: list[float] = field(default_factory=list)
    bad: int = 0

    async def offer(self, rate: float, count: int, *, until: asyncio.Event | None = None) -> None:
        """Offer `count` births (fewer where `until` is set before), `rate` a second; return when all are answered."""
        due: asyncio.Queue[tuple[float, DemoBirth] | None] = asyncio.Queue()
        senders = [asyncio.create_task(self._send(due)) for _ in range(min(_CONNECTIONS, count))]
        began = time.perf_counter()
        for n, birth in enumerate(islice(self.births, count)):
            at = began + n / rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            if until is not None and until.is_set():
                break
            due.put_nowait((at, birth))
        for _ in senders:
            due.put_nowait(None)
        await asyncio.gather(*senders)

    async def _send(self, due: asyncio.Queue[tuple[float, DemoBirth] | None]) -> None:
        client = await MllpClient(*split_address(self.address)).connect()
        try:
            while (found := await due.get()) is not None:
                at, birth = found
                answer = await client.exchange(birth.message, control_id=birth.control_id, timeout=PATIENCE_S)
                now = time.perf_counter()
                self.ack_ms.append((now - at) * 1e3)  # from when it was due, not from when its turn came
                if acknowledgement(answer)[0] == "AA":
                    self.acknowledged[parse_message(birth.message.decode()).value("PID", 3)] = now
                else:
                    self.bad += 1
        finally:
            await client.aclose()


async def measure(shop: Workshop, *, rates: Sequence[float], seconds: float) -> list[dict[str, Any]]:
    """Return one row for each number of processes and pace."""
    counts = {rate: _count(rate, seconds) for rate in rates}
    births = iter(demo_births(2 * (WARM_UP + sum(counts.values()))))
    rows: list[dict[str, Any]] = []
    for number in (1, 2):
        hospital = Hospital()
        listener = await hospital.start()
        async with (
            shop.registry() as url,
            shop.gateway(number, workers=WORKERS, registry=url, hospital=listener) as running,
        ):
            await warm_up(Ward(running.address, births), hospital)
            for rate, count in counts.items():
                ward = Ward(running.address, births)
                rows.append({"processes": number, **await _measured(shop, running, hospital, ward, (rate, count))})
        await hospital.stop()
    return rows


def _count(rate: float, seconds: float) -> int:
    return max(round(rate * seconds), min(LEAST_BIRTHS, round(seconds * LEAST_A_SECOND)))


async def warm_up(ward: Ward, hospital: Hospital) -> None:
    """Take some births all the way."""
    await ward.offer(20.0, WARM_UP)
    await certified(hospital, ward)


async def _measured(
    shop: Workshop, running: Running, hospital: Hospital, ward: Ward, offered: tuple[float, int]
) -> dict[str, Any]:
    rate, count = offered
    before, began = _cpu_s(shop, running), time.perf_counter()
    await ward.offer(rate, count)
    offered_s = time.perf_counter() - began
    waiting = sum(record not in hospital.arrived for record in ward.acknowledged)
    await certified(hospital, ward)
    used = {name: seconds - before[name] for name, seconds in _cpu_s(shop, running).items()}
    there = {record: hospital.arrived[record] for record in ward.acknowledged if record in hospital.arrived}
    last = max(there.values(), default=began)
    return {
        "offered_s": rate,
        "births": count,
        "certificates_s": round(len(there) / (last - began), 1),
        "acknowledged": len(ward.acknowledged),
        "certificates": len(there),
        "bad": ward.bad,
        "waiting_at_end": waiting,
        "drained_after_s": round(last - began - offered_s, 1),
        "ack_ms": spread(ward.ack_ms),
        "certificate_ms": spread([(at - ward.acknowledged[record]) * 1e3 for record, at in there.items()]),
        "cpu_ms": {name: round(seconds * 1e3 / max(1, len(there)), 1) for name, seconds in used.items()},
    }


def _cpu_s(shop: Workshop, running: Running) -> dict[str, float]:
    """Return the CPU seconds that each part has used so far; PostgreSQL's sessions last as long as the gateway."""
    pids = {"gateway": running.pids, "postgres": shop.postgres(), "registry": [shop.registry_pid]}
    return {name: sum(processes.cpu_s(pid) for pid in each) for name, each in pids.items()}


async def certified(hospital: Hospital, ward: Ward, *, within_s: float = DRAIN_S) -> None:
    """Wait until the hospital has a certificate for every birth that was acknowledged, or the time is over."""
    end = time.perf_counter() + within_s
    while time.perf_counter() < end and not ward.acknowledged.keys() <= hospital.arrived.keys():  # noqa: ASYNC110 - a look a while is cheapest
        await asyncio.sleep(_LOOK_S)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and the highest, 0 of nothing."""
    ordered = sorted(values) or [0.0]
    at = {"p50": len(ordered) // 2, "p99": min(len(ordered) - 1, int(len(ordered) * 0.99)), "max": len(ordered) - 1}
    return {name: round(ordered[n], 1) for name, n in at.items()}

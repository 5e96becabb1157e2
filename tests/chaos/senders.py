"""Senders that behave as hospitals do, and what they were promised.

The same bytes under the same control id go again on silence, reset and AR, to whichever gateway answers; some that were
acknowledged go once more, as after an acknowledgement that got lost. What they were told is written here and nowhere
else: this is the one side of the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.errors import DeliveryUnavailableError
from gateway.mllp.client import MllpClient, acknowledgement

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from gateway.cli.demo_births import DemoBirth
    from tests.chaos.proxy import Proxy

PATIENCE_S = 2.5
_AGAIN_RATE = 0.2
_REUSE_RATE = 0.03
_KEPT = ("AA", "CA")


@dataclass(slots=True)
class Promises:
    """What was sent and what was answered, by control id."""

    sent: dict[str, DemoBirth] = field(default_factory=dict)
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[float, str]] = field(default_factory=list)  # time and gateway of each AA
    differing: list[str] = field(default_factory=list)  # the same bytes were answered otherwise
    resends: int = 0
    reused: int = 0  # control ids of messages with other content, refused
    repeats: int = 0  # of acknowledged messages


def _renumbered(message: bytes, control_id: str) -> bytes:
    fields = message.split(b"|", 10)
    fields[9] = control_id.encode()
    return b"|".join(fields)


class Sender:
    """One sending application: one message at a time."""

    def __init__(
        self, births: Iterator[DemoBirth], doors: Callable[[], list[Proxy]], promises: Promises, rng: random.Random
    ) -> None:
        self._births = births
        self._doors = doors
        self._promises = promises
        self._rng = rng
        self._client: MllpClient | None = None
        self._gateway = ""
        self._again: deque[DemoBirth] = deque(maxlen=50)

    async def run(self, until: float, pause_s: float) -> None:
        """Send births until the time `until`; the last one is sent until it is answered."""
        while time.monotonic() < until:
            birth = next(self._births)
            self._promises.sent[birth.control_id] = birth
            await self._insist(birth)
            if self._again and self._rng.random() < _REUSE_RATE:
                await self._reuse(next(self._births))
            if self._again and self._rng.random() < _AGAIN_RATE:
                self._promises.repeats += 1
                await self._insist(self._again.popleft())
            await asyncio.sleep(self._rng.expovariate(1 / pause_s))
        await self._drop()

    async def _reuse(self, birth: DemoBirth) -> None:
        """Send a birth under a control id that was used: it must be refused, then goes under its own."""
        used = self._again[-1].control_id
        wrong = replace(birth, control_id=used, message=_renumbered(birth.message, used))
        while not (answer := await self._try(wrong)) or (code := acknowledgement(answer)[0]) == "AR":  # noqa: ASYNC110
            await asyncio.sleep(self._rng.uniform(0.05, 0.4))
        self._promises.reused += 1
        if code in _KEPT:
            self._promises.differing.append(used)
        self._promises.sent[birth.control_id] = birth
        await self._insist(birth)

    async def _insist(self, birth: DemoBirth) -> None:
        while True:
            answer = await self._try(birth)
            code = acknowledgement(answer)[0] if answer else ""
            if answer and code in _KEPT:
                self._promised(birth, answer)
                return
            if code in ("AE", "CE"):
                self._promises.refused[birth.control_id] = code
                return
            self._promises.resends += 1
            await asyncio.sleep(self._rng.uniform(0.05, 0.4))

    def _promised(self, birth: DemoBirth, answer: bytes) -> None:
        self._promises.answers.append((time.monotonic(), self._gateway))
        if self._promises.acknowledged.setdefault(birth.control_id, answer) != answer:
            self._promises.differing.append(birth.control_id)
        self._again.append(birth)

    async def _try(self, birth: DemoBirth) -> bytes | None:
        try:
            client = self._client or await self._connect()
            return await client.exchange(birth.message, control_id=birth.control_id, timeout=PATIENCE_S)
        except DeliveryUnavailableError:
            await self._drop()
            return None

    async def _connect(self) -> MllpClient:
        door = self._rng.choice(self._doors())
        host, _, port = door.address.rpartition(":")
        self._client = await MllpClient(host, int(port), connect_s=PATIENCE_S).connect()
        self._gateway = door.name
        return self._client

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

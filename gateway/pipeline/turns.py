"""Whose turn it is with a hospital's listener: one letter under way at a time, and none that stays silent holds it.

A letter has the turn until it is answered. Where the listener answers others, one that is not answered soon steps
aside: it waits on by itself, on its own connection, and the next letter takes the turn. Where nothing is answered at
all, one letter at a time is tried, and not for long.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gateway.errors import DeliveryUnansweredError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.mllp.client import Target

T = TypeVar("T")
PROBE_S = 5.0  # where it left the letters before unanswered
PATIENCE_S = 0.5  # after which a letter steps aside
_ASIDE = 4  # letters of a listener that may have stepped aside; the next one then waits for one of them
_WHOLE = 3  # of so many tries in a row that nobody answers one has the whole time: it may only be slow


@dataclass(slots=True)
class Turn:
    """One listener's."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    aside: int = 0
    unanswered: int = 0  # letters in a row, since the last answer

    def seconds(self, whole: float) -> float:
        """Return how long to wait for an answer now: the `whole` time where the last letter was answered."""
        return whole if self.unanswered % _WHOLE == 0 else min(PROBE_S, whole)


class Turns:
    """Of all listeners that this process sends to."""

    def __init__(self) -> None:
        self._of: dict[Target, Turn] = {}

    def of(self, target: Target) -> Turn:
        """Return a listener's turn."""
        return self._of.setdefault(target, Turn())

    async def send(
        self, target: Target, exchange: Callable[[float], Coroutine[object, object, T]], *, answer_s: float
    ) -> T:
        """Wait for the turn, run `exchange` with the seconds that it has, and return what it returns or raises.

        They are `answer_s` at most.
        """
        turn = self.of(target)
        async with turn.lock:
            sending = asyncio.ensure_future(_counted(turn, exchange, turn.seconds(answer_s)))
            try:
                patience = PATIENCE_S if not turn.unanswered and turn.aside < _ASIDE else None
                await asyncio.wait({sending}, timeout=patience)
            except asyncio.CancelledError:
                await _cancelled(sending)
                raise
        turn.aside += 1
        try:
            return await sending
        finally:
            turn.aside -= 1


async def _counted(turn: Turn, exchange: Callable[[float], Coroutine[object, object, T]], seconds: float) -> T:
    try:
        answer = await exchange(seconds)
    except DeliveryUnansweredError:
        turn.unanswered += 1
        raise
    turn.unanswered = 0
    return answer


async def _cancelled(sending: asyncio.Future[T]) -> None:
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending

"""One listener that does not answer must not hold the workers that others need.

After a failure its other letters are put off at once, without a connection; when the pause is over one of them tries.
Known to this process only: it saves time, and decides nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.errors import DeliveryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class _Down:
    until: float
    pause_s: float


@dataclass(slots=True)
class Breaker:
    """Which targets are down, and until when nobody tries them."""

    clock: Callable[[], float] = time.monotonic
    _down: dict[Hashable, _Down] = field(default_factory=dict)

    def check(self, target: Hashable) -> None:
        """Let one try through where the pause is over. Raises DeliveryUnavailableError while it lasts."""
        down = self._down.get(target)
        if down is None:
            return
        now = self.clock()
        if now < down.until:
            raise DeliveryUnavailableError("the listener did not answer a moment ago; it is tried again soon")
        down.until = now + down.pause_s  # this one tries; the others wait for what it finds

    def failed(self, target: Hashable) -> None:
        """Note that a target did not answer; the pause doubles up to its longest."""
        before = self._down.get(target)
        pause = min(LONGEST_PAUSE_S, before.pause_s * 2) if before else FIRST_PAUSE_S
        self._down[target] = _Down(self.clock() + pause, pause)

    def answered(self, target: Hashable) -> None:
        """Note that a target is there."""
        self._down.pop(target, None)

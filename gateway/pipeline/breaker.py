"""One counterpart that does not answer must not hold the workers that others need, nor be run over when it is back.

A target is a registry's service (`Service`), the origin of a certificate's file, or a facility's listener. After a few
failures in a row its work is left alone for a pause that doubles up to a cap; then one tries, and each time another one
(`suspects`): what failed may be at fault itself. When it answers again its backlog is let in by a token bucket whose
rate doubles while all goes well, until nothing is held back any more.
Known to this process only: it saves time and courtesy, and decides nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from gateway.errors import DeliveryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
FIRST_RATE = 5.0  # tokens a second right after an outage
DOUBLE_S = 5.0  # after so long without a failure the rate doubles
FREE_RATE = 500.0  # from here on nobody is held back
BURST = 5.0
SERVES_S = 600.0  # longer than the pace of any retry: who served somebody so recently is not down for everybody
MOST_SUSPECTS = 64


class Service(Enum):
    """The registry's services; each may be down while the others work."""

    CHECK = "check"
    CASES = "registry"
    DOCUMENTS = "document"


class NotTriedError(DeliveryUnavailableError):
    """The target is left alone for now: nothing was tried, and nothing counts as an attempt."""

    def __init__(self, text: str, *, after: float) -> None:
        super().__init__(text)
        self.after = after


@dataclass(slots=True)
class Bucket:
    """Tokens for a target that came back: `rate` a second, at most BURST saved up, doubling while all goes well."""

    clock: Callable[[], float]
    rate: float = FIRST_RATE
    tokens: float = 1.0
    _filled: float = field(init=False)
    _doubled: float = field(init=False)

    def __post_init__(self) -> None:
        self._filled = self._doubled = self.clock()

    @property
    def free(self) -> bool:
        """Tell whether pacing is over."""
        self._fill()
        return self.rate >= FREE_RATE

    def take(self) -> float:
        """Take a token, or return after how many seconds there is one."""
        self._fill()
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) / self.rate

    def whole(self) -> int:
        """Return how many tokens could be taken now."""
        self._fill()
        return int(self.tokens)

    def _fill(self) -> None:
        now = self.clock()
        self.tokens = min(BURST, self.tokens + max(0.0, now - self._filled) * self.rate)
        self._filled = now
        while now - self._doubled >= DOUBLE_S and self.rate < FREE_RATE:
            self.rate *= 2
            self._doubled += DOUBLE_S


@dataclass(slots=True)
class _Down:
    until: float
    pause_s: float


@dataclass(slots=True)
class Breaker:
    """Which targets are down, until when nobody tries them, and which ones came back a moment ago."""

    clock: Callable[[], float] = time.monotonic
    threshold: int = 1  # failures in a row that open it
    _down: dict[Hashable, _Down] = field(default_factory=dict)
    _failures: dict[Hashable, int] = field(default_factory=dict)
    _buckets: dict[Hashable, Bucket] = field(default_factory=dict)
    _served: dict[Hashable, float] = field(default_factory=dict)
    _suspects: dict[Hashable, dict[int, None]] = field(default_factory=dict)
    _moved: set[Hashable] = field(default_factory=set)

    def check(self, target: Hashable) -> None:
        """Let one try through where the pause is over. Raises NotTriedError while it lasts, or a token is missing."""
        down = self._down.get(target)
        if down is None:
            if wait := self._pace(target):
                raise NotTriedError("it came back a moment ago; its backlog goes step by step", after=wait)
            return
        now = self.clock()
        if now < down.until:
            left = down.until - now
            raise NotTriedError("it did not answer a moment ago; it is tried again soon", after=left)
        down.until = now + down.pause_s  # this one tries; the others wait for what it finds

    def room(self, target: Hashable, wanted: int) -> int:
        """Return how many of `wanted` tries a target takes now: none in a pause, one when it is over."""
        down = self._down.get(target)
        if down is not None:
            return 0 if self.clock() < down.until else min(wanted, 1)
        bucket = self._bucket(target)
        return wanted if bucket is None else min(wanted, bucket.whole())

    def took(self, target: Hashable, tries: int) -> None:
        """Note that so many tries of `room` were begun: the others of an open target wait for what this one finds."""
        down = self._down.get(target)
        if down is not None and tries:
            down.until = self.clock() + down.pause_s
        bucket = self._bucket(target)
        if bucket is not None:
            for _ in range(tries):
                bucket.take()

    def wait(self, target: Hashable) -> float:
        """Return after how many seconds it pays to look at a target again, 0 where it is open to all."""
        down = self._down.get(target)
        if down is not None:
            return max(0.0, down.until - self.clock())
        bucket = self._bucket(target)
        return 0.0 if bucket is None or bucket.whole() else 1.0 / bucket.rate

    def open(self, target: Hashable) -> bool:
        """Tell whether a target answered last, or was never tried: nothing holds its work back but the pace."""
        return target not in self._down

    def outage(self, target: Hashable) -> bool:
        """Tell whether a target failed again after it had been left alone: no single task's fault."""
        down = self._down.get(target)
        return down is not None and down.pause_s > FIRST_PAUSE_S

    def serves(self, target: Hashable) -> bool:
        """Tell whether a target gave somebody what was asked for, not long ago: what fails now is special."""
        at = self._served.get(target)
        return at is not None and self.clock() - at <= SERVES_S

    def served(self, target: Hashable) -> None:
        """Note that a target gave somebody what was asked for."""
        self._served[target] = self.clock()
        self._suspects.pop(target, None)

    def moved(self, target: Hashable, *, now_moved: bool = False) -> bool:
        """Tell whether what was asked of a target is elsewhere since it went down; `now_moved` notes it first."""
        if now_moved and target in self._down:
            self._moved.add(target)
        return target in self._moved

    def suspect(self, target: Hashable, item: int) -> None:
        """Note which task failed there: the next try is another one's."""
        suspects = self._suspects.setdefault(target, {})
        suspects.pop(item, None)
        suspects[item] = None
        if len(suspects) > MOST_SUSPECTS:
            del suspects[next(iter(suspects))]

    def suspects(self, target: Hashable) -> list[int]:
        """Return the tasks that failed since the target last served somebody, the longest ago first."""
        return list(self._suspects.get(target, ()))

    def failed(self, target: Hashable, after: float | None = None) -> bool:
        """Note that a target did not answer; True where it is left alone from now on.

        The pause doubles up to its longest; `after` is the target's own wish, in seconds, where it has one.
        """
        failures = self._failures[target] = self._failures.get(target, 0) + 1
        before = self._down.get(target)
        if before is None and failures < self.threshold:
            return False
        pause = min(LONGEST_PAUSE_S, before.pause_s * 2) if before else FIRST_PAUSE_S
        self._down[target] = _Down(self.clock() + max(pause, after or 0.0), pause)
        self._buckets.pop(target, None)
        return True

    def answered(self, target: Hashable) -> bool:
        """Note that a target is there; True where it had been left alone."""
        self._failures.pop(target, None)
        self._moved.discard(target)
        if self._down.pop(target, None) is None:
            return False
        self._buckets[target] = Bucket(self.clock)
        return True

    def _pace(self, target: Hashable) -> float:
        bucket = self._bucket(target)
        return bucket.take() if bucket else 0.0

    def _bucket(self, target: Hashable) -> Bucket | None:
        bucket = self._buckets.get(target)
        if bucket is not None and bucket.free:
            del self._buckets[target]
            return None
        return bucket

"""How much one peer, token or facility may ask for: token buckets, and a log line that is told seldom.

A bucket holds so many seconds' worth and fills again at its rate: a hospital that was cut off catches up at once, one
that never stops is held to the rate. No I/O and no clock of its own: the caller says what time it is (monotonic s).
"""

from __future__ import annotations

import ipaddress

_MOST_KEYS = 10_000  # buckets remembered; above this the full ones are forgotten, then the oldest
_V6_PREFIX = 64  # one household or machine has a whole /64 of addresses


class Buckets:
    """A bucket a key, all of one size."""

    def __init__(self, per_s: float, *, burst_s: float, most_keys: int = _MOST_KEYS) -> None:
        """Let each key have `per_s` a second, and `burst_s` seconds' worth at once. 0 a second: no limit."""
        self._per_s = per_s
        self._size = max(1.0, per_s * burst_s)
        self._most_keys = most_keys
        self._left: dict[str, tuple[float, float]] = {}  # what was left, and when that was

    def wait_s(self, key: str, now: float) -> float:
        """Return after how many seconds `key` may take one more, 0 for now; nothing is taken."""
        if not self._per_s:
            return 0.0
        return max(0.0, (1.0 - self._level(key, now)) / self._per_s)

    def take(self, key: str, now: float) -> float:
        """Take one for `key` and return 0; where there is none, take nothing and return the seconds to wait."""
        if not self._per_s:
            return 0.0
        level = self._level(key, now)
        if level < 1.0:
            return (1.0 - level) / self._per_s
        if key not in self._left and len(self._left) >= self._most_keys:
            self._forget(now)
        self._left[key] = (level - 1.0, now)
        return 0.0

    def _level(self, key: str, now: float) -> float:
        left, since = self._left.get(key, (self._size, now))
        return min(self._size, left + (now - since) * self._per_s)

    def _forget(self, now: float) -> None:
        """Make room: the full ones tell nothing; where none is full, those that were noted first."""
        self._left = {key: kept for key, kept in self._left.items() if self._level(key, now) < self._size}
        for key in list(self._left)[: max(0, len(self._left) - self._most_keys // 2)]:
            del self._left[key]


class Seldom:
    """Tells of a thing at most once in so many seconds a key, and how often it was left untold."""

    def __init__(self, every_s: float, *, most_keys: int = _MOST_KEYS) -> None:
        self._every_s = every_s
        self._most_keys = most_keys
        self._told: dict[str, tuple[float, int]] = {}  # when it was told, and how often not since

    def due(self, key: str, now: float) -> int:
        """Return how many times it happened since it was told, this time included; 0: it was told a moment ago."""
        told = self._told.get(key)
        if told is not None and now - told[0] < self._every_s:
            self._told[key] = (told[0], told[1] + 1)
            return 0
        if len(self._told) >= self._most_keys:
            self._told.clear()
        self._told[key] = (now, 0)
        return 1 + (told[1] if told else 0)


def peer_key(host: str) -> str:
    """Return what stands for a peer: its address, of IPv6 the /64 it lies in, an IPv4 address in IPv6 as IPv4."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _V6_PREFIX), strict=False))

"""Which callbacks were told: a `jti` (RFC 7519 section 4.1.7) stands for one of them and for no other.

The same callback again is a resend and changes nothing; another body under a used `jti` is a replay.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from gateway.errors import SignatureError

MOST_KEPT = 10_000


class Told:
    """The `jti` of callbacks for as long as their signed time is believed. Of this process; no content is kept."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._told: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def check(self, token_id: str | None, body: bytes, now: float) -> None:
        """Remember a callback that has a `jti`. Raises SignatureError where that was another callback's."""
        self._forget(now)
        if token_id is None:
            return
        digest = hashlib.sha256(body).digest()
        if self._told.setdefault(token_id, (now, digest))[1] != digest:
            raise SignatureError("the callback bears the id (jti) of another one")

    def _forget(self, now: float) -> None:
        while self._told:
            at = next(iter(self._told.values()))[0]
            if now - at <= self._kept_s and len(self._told) < MOST_KEPT:
                return
            self._told.popitem(last=False)

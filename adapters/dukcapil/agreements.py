"""Whose data agreed with the population register a while ago: keyed hashes in memory, no names (domain C.2).

It saves the day's quota where the same parents are asked about again: twins, a mended field of the child, a retry.
Only whole agreements are kept, never a disagreement, and never longer than a day. The key is made at start and kept
nowhere, so that what is left of it in a memory image tells nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import os
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST = 20_000  # hashes; the oldest goes first


class Agreements:
    """What was asked and agreed within the last `seconds`, at most a day."""

    def __init__(self, *, seconds: float, clock: Callable[[], dt.datetime]) -> None:
        self._life = dt.timedelta(seconds=seconds)
        self._clock = clock
        self._key = os.urandom(32)
        self._until: OrderedDict[bytes, dt.datetime] = OrderedDict()

    def knows(self, elements: Mapping[str, str]) -> bool:
        """Tell whether exactly these elements agreed a while ago."""
        until = self._until.get(self._hash(elements))
        return until is not None and self._clock() < until

    def keep(self, elements: Mapping[str, str]) -> None:
        """Remember that these elements agreed."""
        if not self._life:
            return
        digest = self._hash(elements)
        self._until[digest] = self._clock() + self._life
        self._until.move_to_end(digest)
        while len(self._until) > _MOST:
            self._until.popitem(last=False)

    def _hash(self, elements: Mapping[str, str]) -> bytes:
        return hmac.new(self._key, json.dumps(elements, sort_keys=True).encode(), hashlib.sha256).digest()

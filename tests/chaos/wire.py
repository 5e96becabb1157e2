"""What went over the wire to the registry: which submission left again without a question before it (domain F 96).

The registry's records cannot show this: under the same key a second submission is the first one's repeat. It is seen
where the requests pass. A request is read from its first chunk; the client sends one at a time on a connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_SUBMIT = re.compile(rb"^POST /api/v1/kelahiran HTTP/1\.1\r\n(?:.*\r\n)*?Idempotency-Key: ([^\r]+)\r\n", re.IGNORECASE)
_ASK = re.compile(rb"^GET /api/v1/kelahiran\?id_kasus=([^&\s]+)&revisi=(\d+) ")
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ")
# Answers after which nothing can have been done there: they may be sent again at once.
_NOTHING_DONE = range(400, 500)
_BUSY = 503


@dataclass(slots=True)
class RegistryWire:
    """Keys that left and whether the next one of them has to be asked about first."""

    submissions: int = 0
    again: int = 0  # submissions of a key that had left before
    asked: int = 0
    unasked: list[str] = field(default_factory=list)
    _open: dict[str, bool] = field(default_factory=dict)  # key: it may have been done, and nobody asked since
    _under_way: dict[int, str] = field(default_factory=dict)

    def __call__(self, connection: int, data: bytes, *, from_client: bool) -> None:
        """Look at a chunk."""
        if not from_client:
            self._answered(connection, data)
        elif found := _SUBMIT.match(data):
            self._submitted(connection, found[1].decode())
        elif found := _ASK.match(data):
            self.asked += 1
            self._open[f"{unquote(found[1].decode())}:{int(found[2])}"] = False

    def _submitted(self, connection: int, key: str) -> None:
        self.submissions += 1
        self.again += key in self._open
        if self._open.get(key):
            self.unasked.append(key)
        self._open[key] = True
        self._under_way[connection] = key

    def _answered(self, connection: int, data: bytes) -> None:
        found = _STATUS.match(data)
        key = self._under_way.pop(connection, None) if found else None
        if found and key and (int(found[1]) in _NOTHING_DONE or int(found[1]) == _BUSY):
            self._open[key] = False

"""Who asks too often: a bucket an address, a token and a facility; and addresses that bring no good token.

429 with Retry-After before a body is read or a token looked up. An address that tried too many bad tokens is not asked
about any more for a while, but tokens that were good a moment ago go on: behind a proxy all have one address.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from gateway.rates import Buckets, Seldom, peer_key
from gateway.web.problems import problem

if TYPE_CHECKING:
    from gateway.config import Limits
    from gateway.observe.metrics import Metrics
    from gateway.store.tokens import Identity

_log = structlog.get_logger()
_TELL_S = 10.0
_MOST_KNOWN = 10_000
_UNCOUNTED = ("/healthz", "/readyz", "/metrics")  # an operator's eyes are never shut


class Rates:
    """The buckets of one process."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._metrics = metrics
        self._peers = Buckets(limits.requests_per_s_per_peer, burst_s=limits.burst_s)
        self._tokens = Buckets(limits.requests_per_s_per_token, burst_s=limits.burst_s)
        self._facilities = Buckets(limits.requests_per_s_per_token, burst_s=limits.burst_s)
        self._unauthorized = Buckets(limits.unauthorized_per_s_per_peer, burst_s=limits.burst_s)
        self._good: dict[bytes, None] = {}  # digests of tokens that were good: they may be looked up
        self._seldom = Seldom(_TELL_S)

    def of_peer(self, request: web.Request) -> float:
        """Count a request of an address; return the seconds it must wait, 0 for none."""
        return 0.0 if request.path in _UNCOUNTED else self._peers.take(_peer(request), _now())

    def may_try(self, request: web.Request, token: str) -> float:
        """Return 0 where a token may be looked up, else the seconds its address must wait."""
        wait = self._unauthorized.wait_s(_peer(request), _now())
        return 0.0 if _digest(token) in self._good else wait

    def of_identity(self, token: str, identity: Identity) -> float:
        """Count a request of a good token and its facility; return the seconds it must wait."""
        digest, now = _digest(token), _now()
        if digest not in self._good:
            if len(self._good) >= _MOST_KNOWN:
                self._good.clear()
            self._good[digest] = None
        if wait := self._tokens.take(str(identity.id), now):
            return wait
        return self._facilities.take(identity.facility, now) if identity.facility else 0.0

    def unauthorized(self, request: web.Request, token: str, reason: str) -> None:
        """Count and log a request without a good token: its address and why, never the token."""
        self._good.pop(_digest(token), None)
        peer, now = _peer(request), _now()
        self._unauthorized.take(peer, now)
        self._metrics.auth_refused.labels(reason).inc()
        if times := self._seldom.due(f"{peer} {reason}", now):
            _log.warning("auth.refused", peer=peer, reason=reason, attempt=times)

    def refuse(self, request: web.Request, wait_s: float, reason: str) -> web.Response:
        """Return the answer for somebody who must wait."""
        self._metrics.http_refused.labels(reason).inc()
        if times := self._seldom.due(f"{_peer(request)} {reason}", _now()):
            _log.warning("http.over_rate", peer=_peer(request), reason=reason, attempt=times)
        return problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "more requests than are taken in so short a time; come again after Retry-After seconds",
            code="TOO_MANY_REQUESTS",
            headers={"Retry-After": str(math.ceil(wait_s))},
            pesan="Terlalu banyak permintaan dalam waktu singkat; coba lagi setelah Retry-After detik.",
        )


RATES: web.AppKey[Rates] = web.AppKey("rates")


def over_rate(request: web.Request) -> web.Response | None:
    """Return the refusal of an address that asks too often, None where it does not."""
    rates = request.app[RATES]
    wait = rates.of_peer(request)
    return rates.refuse(request, wait, "requests_per_peer") if wait else None


def _peer(request: web.Request) -> str:
    return peer_key(request.remote or "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _now() -> float:
    return asyncio.get_running_loop().time()

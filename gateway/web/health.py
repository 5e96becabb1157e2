"""/healthz, /readyz, /metrics and our public keys: what operators and machines ask without a token."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.errors import KeyMissingError, StoreUnavailableError
from gateway.store import queue
from gateway.web.auth import DATABASE
from gateway.web.births import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

READY: web.AppKey[Callable[[], str]] = web.AppKey("ready")  # returns why not, "" where ready


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [
        web.get("/healthz", _healthz),
        web.get("/readyz", _readyz),
        web.get("/metrics", _metrics),
        web.get("/.well-known/jwks.json", _jwks),
    ]


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _readyz(request: web.Request) -> web.Response:
    """Able to accept a birth right now: the store takes writes and a key can sign."""
    reasons = [reason for reason in (request.app[READY](),) if reason]
    if not await request.app[DATABASE].writable():
        reasons.append("PostgreSQL does not take writes")
    try:
        _ = request.app[CONTEXT].keyring.signing
    except KeyMissingError as error:
        reasons.append(str(error))
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return web.json_response({"status": "not ready" if reasons else "ready", "reasons": reasons}, status=status.value)


async def _metrics(request: web.Request) -> web.Response:
    metrics = request.app[CONTEXT].metrics
    try:
        counts = await queue.open_counts(request.app[DATABASE])
    except StoreUnavailableError:
        counts = {}
    for kind in queue.Kind:
        metrics.open_tasks.labels(kind.value).set(counts.get(kind.value, 0))
    return web.Response(body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _jwks(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTEXT].keyring.jwks(), headers={"Cache-Control": "max-age=60"})

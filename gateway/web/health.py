"""/healthz, /readyz, /metrics and our public keys: what operators and machines ask without a token."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.errors import KeyMissingError, RegistryLoginError, RegistryQuotaError, StoreUnavailableError
from gateway.pipeline.journal import altered_entries
from gateway.pipeline.pause import describe
from gateway.store import answers, incidents, pauses, queue
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
    told = {"status": "not ready" if reasons else "ready", "reasons": reasons, "notices": await _notices(request)}
    return web.json_response(told, status=status.value)


async def _notices(request: web.Request) -> list[str]:
    """Return what an operator must do though births are accepted, with the next step.

    A registry that refuses us; a journal that its signer cannot go on from; certificates that wait.
    """
    context = request.app[CONTEXT]
    signer = [str(said) for said in (context.signer.refusal, altered_entries(context.signer)) if said]
    try:
        found = await pauses.listing(request.app[DATABASE], context.clock())
        async with request.app[DATABASE].connection() as connection:
            births, since = await incidents.certificates(connection)
    except StoreUnavailableError:
        return signer
    notices = [*signer, *(describe(pause) for pause in found)]
    if since is not None:
        notices.append(
            f"certificates: {births} wait for their hospitals since {since.isoformat(timespec='seconds')}; "
            "procot queue incidents says why"
        )
    return notices


async def _metrics(request: web.Request) -> web.Response:
    metrics = request.app[CONTEXT].metrics
    paused: list[pauses.Pause] = []
    try:
        paused = await pauses.listing(request.app[DATABASE], request.app[CONTEXT].clock())
        counts = await queue.open_counts(request.app[DATABASE])
        waiting = await answers.waiting_counts(request.app[DATABASE])
        async with request.app[DATABASE].connection() as connection:
            births, since = await incidents.certificates(connection)
    except StoreUnavailableError:
        counts, waiting, births, since = {}, {}, 0, None
    metrics.certificates_waiting.set(births)
    metrics.certificates_waiting_since.set(since.timestamp() if since else 0)
    for cause in (RegistryQuotaError.code, RegistryLoginError.code):
        metrics.paused.labels(cause).set(sum(pause.cause == cause for pause in paused))
    for kind in queue.Kind:
        metrics.open_tasks.labels(kind.value).set(counts.get(kind.value, 0))
    for facility in request.app[CONTEXT].facilities.values():
        if facility.application_answer == "listener":
            metrics.answers_waiting.labels(facility.code).set(waiting.get(facility.code, 0))
    return web.Response(body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _jwks(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTEXT].keyring.jwks(), headers={"Cache-Control": "max-age=60"})

"""POST /v1/registry/callbacks/{registry}: late answers. The signature is the authentication; the same twice is fine."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from gateway.errors import NonsenseError, RegistryProtocolError, RegistryUnavailableError, SignatureError
from gateway.observe.logging import describe
from gateway.pipeline.likeness import begun_again
from gateway.pipeline.settle import settle
from gateway.store import births
from gateway.web.births import CONTEXT
from gateway.web.body import read_body
from gateway.web.problems import problem

if TYPE_CHECKING:
    from gateway.contract.ports import Outcome
    from gateway.errors import ProcotError
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_log = structlog.get_logger()
_BODY_BYTES = 1024 * 1024  # nobody is known yet who sends this


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [web.post("/v1/registry/callbacks/{registry}", _callback)]


async def _callback(request: web.Request) -> web.StreamResponse:
    context = request.app[CONTEXT]
    if request.match_info["registry"] != context.registry.name:
        return problem(HTTPStatus.NOT_FOUND, "no such registry is configured here", code="NOT_FOUND")
    limits = context.config.limits
    body = await read_body(request, limits, most=min(_BODY_BYTES, limits.http_body_bytes))
    try:
        outcome = await context.registry.read_callback(request.headers, body)
        applied = await _apply(context, outcome)
    except (SignatureError, RegistryProtocolError, RegistryUnavailableError) as error:
        return _refused(context, _status(error), error)
    if not applied:
        context.metrics.callbacks.labels("unknown_birth").inc()
        return problem(HTTPStatus.NOT_FOUND, "there is no such birth", code="NOT_FOUND")
    context.metrics.callbacks.labels("applied").inc()
    return web.Response(status=HTTPStatus.NO_CONTENT.value)


def _status(error: ProcotError) -> HTTPStatus:
    match error:
        case NonsenseError():  # first: of a signature, too, it says that the signature is right
            return HTTPStatus.BAD_REQUEST
        case SignatureError():
            return HTTPStatus.UNAUTHORIZED
        case RegistryUnavailableError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.UNPROCESSABLE_ENTITY


def _refused(context: Context, status: HTTPStatus, error: ProcotError) -> web.Response:
    context.metrics.callbacks.labels(error.code).inc()
    _log.warning("registry.callback_refused", status=status.value, **describe(error))
    again = {"Retry-After": "5"} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(status, str(error), code=error.code, headers=again)


async def _apply(context: Context, outcome: Outcome) -> bool:
    """Settle the outcome; False where there is no such birth."""
    try:
        birth_id = uuid.UUID(outcome.birth_id)
    except ValueError:
        return False

    async def work(connection: Connection) -> Birth:
        birth = await births.lock(connection, birth_id)
        await settle(context, connection, birth, outcome, actor="registry", step="callback")
        return birth

    try:
        birth = await begun_again(context.database, work)
    except LookupError:
        return False
    _log.info("registry.callback", birth_id=outcome.birth_id, status=outcome.status.value, state=birth.state.value)
    return True

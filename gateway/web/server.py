"""The HTTP application: routes, error texts, one log line a request, and its life on a socket."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from gateway.errors import ConfigError, StoreUnavailableError
from gateway.files import http_share
from gateway.web import births, callbacks, evidence, forms, health, hl7, office, pairs, revisions, search, stream
from gateway.web.auth import DATABASE
from gateway.web.births import CONTEXT
from gateway.web.body import leave_expectation, packed
from gateway.web.door import Door
from gateway.web.health import READY
from gateway.web.hl7 import INTAKE, REHEARSAL
from gateway.web.problems import problem
from gateway.web.rates import RATES, Rates, over_rate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pipeline.context import Context
    from gateway.pipeline.intake import Intake
    from gateway.pipeline.rehearsal import Rehearsal

_log = structlog.get_logger()
DOOR: web.AppKey[Door] = web.AppKey("door")
# What aiohttp itself has to say is about requests nobody can read: a stranger could fill the log with its tracebacks.
_quiet = logging.getLogger("gateway.web.unreadable")
_quiet.setLevel(logging.CRITICAL)
_LINGER_S = 1.0
_BACKLOG = 128  # connections taken in one turn of the loop, each a file until it is looked at


@web.middleware
async def _observed(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Count and log each request by its route, never by its full path or query."""
    structlog.contextvars.clear_contextvars()
    started = time.perf_counter()
    door = request.app[DOOR]
    door.begin(request)
    response = packed(request) or over_rate(request) or await _answered(request, handler)
    if not response.prepared and not request.content.is_eof():
        response.force_close()  # what was not read is not read any more
    door.end(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "unknown"
    request.app[CONTEXT].metrics.http.labels(route, str(response.status)).inc()
    seconds = round((time.perf_counter() - started) * 1000, 2)
    _log.info("http.answered", path=route, status=response.status, duration_ms=seconds)
    return response


async def _answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        status = HTTPStatus(error.status)
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        detail = _DETAILS.get(status, status.description or status.phrase)
        return problem(status, detail, code=status.name, headers=allowed)
    except StoreUnavailableError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), code=error.code, headers={"Retry-After": "5"})
    except Exception:  # noqa: BLE001 - whatever it was, the caller gets a problem and the log gets its place
        _log.exception("http.failed")
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this is our fault; it was logged", code="INTERNAL")


_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing here; the paths are in schemas/openapi.json",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take that method",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "the body is larger than limits.http_body_bytes (a form: limits.form_documents_bytes), or holds more lists and "
        "fields than any request has"
    ),
    HTTPStatus.REQUEST_TIMEOUT: "the body did not end within limits.read_s; nothing was kept",
}


def application(context: Context, *, intake: Intake, rehearsal: Rehearsal, ready: Callable[[], str]) -> web.Application:
    """Return the application. `ready` says why the gateway can't accept now, "" where it can."""
    app = web.Application(middlewares=[_observed], client_max_size=context.config.limits.http_body_bytes)
    app[CONTEXT] = context
    app[DATABASE] = context.database
    app[READY] = ready
    app[INTAKE] = intake
    app[REHEARSAL] = rehearsal
    app[RATES] = Rates(context.config.limits, context.metrics)
    for part in (stream, births, pairs, search, revisions, forms, hl7, office, callbacks, evidence, health):
        for route in part.routes():
            route.kwargs["expect_handler"] = leave_expectation
            app.router.add_routes([route])
    return app


class WebServer:
    """The application on a socket, behind its door (gateway.web.door)."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._listener: asyncio.Server | None = None
        # Nothing is unpacked, and of a body that nobody wants little is waited for.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_quiet,
            shutdown_timeout=5,
            auto_decompress=False,
            lingering_time=_LINGER_S,
        )

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the bound address. Raises ConfigError where that cannot be."""
        limits, metrics = self._app[CONTEXT].config.limits, self._app[CONTEXT].metrics
        most = http_share(limits.http_connections, limits.connections)
        if most < limits.http_connections:
            _log.warning("http.few_files", connections=most, reason="the system allows no more open files")
        door = self._app[DOOR] = Door(self._protocol, limits=limits, most=most, metrics=metrics)
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                door.protocol, host, port, reuse_address=True, backlog=_BACKLOG
            )
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or str(error)
            raise ConfigError(f"HTTP {host}:{port}: cannot listen there ({reason}); see http.listen") from error
        bound = self._listener.sockets[0].getsockname()
        _log.info("http.listening", address=f"{bound[0]}:{bound[1]}")
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Finish what is asked, then close."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.Protocol:
        assert self._runner.server is not None  # noqa: S101 - set up before it listens
        return self._runner.server()

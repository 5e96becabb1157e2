"""GET /v1/births/stream: state changes as server-sent events, each reader within its scope.

An event's id is its place: a reader that comes back with Last-Event-ID goes on there. What was told twice around a
break bears the same id. Without that header it begins with what happens from now on.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.errors import StoreUnavailableError
from gateway.store import stream
from gateway.store.stream import Scope
from gateway.web.auth import DATABASE, authenticated
from gateway.web.births import CONTEXT
from gateway.web.health import READY
from gateway.web.problems import problem

if TYPE_CHECKING:
    from gateway.store.stream import Follower
    from gateway.store.tokens import Identity

LOOK_S = 1.0
_BEATS = 15  # looks between two signs of life, so that nothing on the way takes the connection for dead
_AGAIN_MS = 3000


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [web.get("/v1/births/stream", authenticated(_stream), allow_head=False)]


async def _stream(request: web.Request, identity: Identity) -> web.StreamResponse:
    context = request.app[CONTEXT]
    told = request.headers.get("Last-Event-ID", "")
    if told and not (told.isascii() and told.isdigit() and len(told) < 19):  # noqa: PLR2004 - a bigint has 19 digits
        return problem(HTTPStatus.BAD_REQUEST, "Last-Event-ID: not the id of an event of this stream", code="QUERY")
    if context.metrics.readers >= context.config.limits.streams:
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{context.config.limits.streams} readers follow already (limits.streams); come again later",
            code="TOO_MANY_STREAMS",
            headers={"Retry-After": "30"},
        )
    office = None if identity.office == "all" else identity.office
    scope = Scope(identity.facility, office, identity.restricted)
    follower = await stream.begin(request.app[DATABASE], scope, after=int(told) if told else None)
    with context.metrics.reader():
        return await _follow(request, follower)


async def _follow(request: web.Request, follower: Follower) -> web.StreamResponse:
    """Write until the reader goes, or the gateway stops; then the reader comes back by itself."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    with suppress(ConnectionError):  # a reader that went away is nobody's mistake
        await response.write(f"retry: {_AGAIN_MS}\n\n".encode())
        await _write(request, follower, response)
        await response.write_eof()
    return response


async def _write(request: web.Request, follower: Follower, response: web.StreamResponse) -> None:
    looks = 0
    while not request.app[READY]():
        looks += 1
        try:
            events = await follower.next(request.app[DATABASE])
        except StoreUnavailableError:
            break
        for event in events:
            await response.write(f"id: {event['id']}\nevent: state\ndata: {json.dumps(event)}\n\n".encode())
        if not events and looks % _BEATS == 0:
            await response.write(b": alive\n\n")
        await asyncio.sleep(LOOK_S)

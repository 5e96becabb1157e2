"""A request's body: read whole within its cap and time, as JSON."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.web.problems import problem

if TYPE_CHECKING:
    from gateway.config import Limits


async def read_body(request: web.Request, limits: Limits, *, most: int) -> bytes:
    """Return the body. Raises HTTPRequestTimeout, and HTTPRequestEntityTooLarge before it was all read."""
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=request.content_length or 0)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.read_s):
            while part := await request.content.readany():
                size += len(part)
                if size > most:
                    raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=size)
                parts.append(part)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return b"".join(parts)


def no_json(request: web.Request) -> web.Response | None:
    """Return the refusal of a body that is not said to be JSON, None where it is."""
    if request.content_type == "application/json":
        return None
    return problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "send the body as application/json",
        code="UNSUPPORTED_MEDIA_TYPE",
        pesan="Kirim isi permintaan sebagai application/json.",
    )


def parsed(raw: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the JSON of a body. Raises ValueError."""
    return json.loads(raw)

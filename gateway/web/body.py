"""A request's body: refused before a byte of it is read where that can be told, read whole within its cap and time.

Nothing is unpacked: a body with a Content-Encoding is refused by its header, and aiohttp's parser leaves it packed.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from gateway.contract.pointer import pointer
from gateway.web.problems import problem

if TYPE_CHECKING:
    from pydantic import ValidationError

    from gateway.config import Limits

MOST_ERRORS = 20  # places that one answer names: it must not be many times its request


def packed(request: web.Request) -> web.Response | None:
    """Return the refusal of a body that is packed (Content-Encoding), None where it is plain."""
    encodings = ",".join(request.headers.getall("Content-Encoding", ())).split(",")
    if all(encoding.strip().lower() in ("", "identity") for encoding in encodings):
        return None
    return problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "send the body as it is, without Content-Encoding: nothing is unpacked here",
        code="CONTENT_ENCODING",
        headers={"Accept-Encoding": "identity"},
        pesan="Kirim isi permintaan apa adanya, tanpa Content-Encoding.",
    )


async def read_body(request: web.Request, limits: Limits, *, most: int, items: int | None = None) -> bytes:
    """Return the body. Raises HTTPRequestTimeout, and HTTPRequestEntityTooLarge before it was all read.

    With `items`, JSON of more objects, arrays and commas than that is too large as well: what a list of a million
    empty objects would become is never made. Texts count too; only long ones hold so many.
    """
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=request.content_length or 0)
    await _ask_for_body(request)
    parts, size, found = [], 0, 0
    try:
        async with asyncio.timeout(limits.read_s):
            while part := await request.content.readany():
                size += len(part)
                if items is not None:
                    found += _items_in(part)
                if size > most or (items is not None and found > items):
                    raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=size)
                parts.append(part)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return b"".join(parts)


async def leave_expectation(request: web.Request) -> None:
    """Answer `Expect: 100-continue` later (read_body): who is refused by the headers keeps the body."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def _ask_for_body(request: web.Request) -> None:
    if request.version == HttpVersion11 and "Expect" in request.headers:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def _items_in(part: bytes) -> int:
    return part.count(b"{") + part.count(b"[") + part.count(b",")


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


def wrong_places(error: ValidationError) -> list[dict[str, str]]:
    """Return the first places of a body that are wrong. The words name what is expected, never what was sent."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        {
            "pointer": pointer(e["loc"]),
            "code": "WRONG_FORM",
            "message": f"{e['msg'].removeprefix('Value error, ')}.",
            "pesan": "Isi bidang ini tidak sesuai bentuk yang diminta.",
        }
        for e in found[:MOST_ERRORS]
    ]

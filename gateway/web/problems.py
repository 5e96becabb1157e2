"""Errors as RFC 9457 problems: what is wrong, with what, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http import HTTPStatus

CONTENT_TYPE = "application/problem+json"


def problem(
    status: HTTPStatus, detail: str, *, code: str, headers: Mapping[str, str] | None = None, **members: object
) -> web.Response:
    """Return a problem response. `detail` is for a person and holds no personal data, `code` is for programs.

    `members` are extensions (RFC 9457 section 3.2): `pesan`, the detail in Indonesian, and `errors`, a list of places.
    """
    body: dict[str, object] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
    }
    body |= members
    return web.json_response(body, status=status.value, content_type=CONTENT_TYPE, headers=headers)

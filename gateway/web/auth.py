"""Who asks: a bearer token, looked up by its hash. No token, no scope: no answer.

A facility's token sees that facility's births only; what lies outside of a token's scope does not exist for it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.store import tokens
from gateway.web.problems import problem
from gateway.web.rates import RATES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.store.database import Database
    from gateway.store.tokens import Held, Identity

IDENTITY: web.AppKey[Identity] = web.AppKey("identity")
DATABASE: web.AppKey[Database] = web.AppKey("database")


def authenticated(
    handler: Callable[[web.Request, Identity], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Let only requests with a valid token reach `handler`, which is told whose it is."""

    async def checked(request: web.Request) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        rates, token = request.app[RATES], token.strip()
        if wait := rates.may_try(request, token):
            return rates.refuse(request, wait, "unauthorized_per_peer")
        if scheme.lower() != "bearer" or not token:
            rates.unauthorized(request, token, "no token")
            return _unauthorized("send the token as `Authorization: Bearer …`")
        held = await tokens.held(request.app[DATABASE], token)
        if held is None or not held.good:
            rates.unauthorized(request, token, "no good token")
            return _unauthorized(_why(held))
        if wait := rates.of_identity(token, held.identity):
            return rates.refuse(request, wait, "requests_per_token")
        response = await handler(request, held.identity)
        response.headers.setdefault("Cache-Control", "no-store")  # a child's number is in most of them
        return response

    return checked


def _why(held: Held | None) -> str:
    """Return why a token does not count. Whoever holds one that ended knows that it was one."""
    if held is None:
        return "the token is unknown; ask the operator for one"
    what = "was revoked" if held.revoked else "has expired"
    return f"the token {what}; ask the operator for a new one (procot tokens new)"


def sees(identity: Identity, birth: Mapping[str, Any]) -> bool:
    """Tell whether a birth (its facility, office and restriction) lies within a token's scope."""
    if identity.facility is not None and birth["facility"] != identity.facility:
        return False
    if identity.office not in (None, "all") and birth["office"] != identity.office:
        return False
    return identity.restricted or not birth["restricted"]


def _unauthorized(detail: str) -> web.Response:
    return problem(HTTPStatus.UNAUTHORIZED, detail, code="UNAUTHORIZED", headers={"WWW-Authenticate": "Bearer"})

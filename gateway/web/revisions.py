"""GET /v1/births/{id}/revisions and …/diff: what each revision changed, and what differs between two of them.

Names of fields are for everybody who may see the birth. Values are for an officer of its office alone, and that they
were read stands in the birth's history.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.pipeline import difference
from gateway.pipeline.difference import NoSuchRevisionError
from gateway.store import births
from gateway.store.births import Why
from gateway.web.auth import DATABASE, authenticated
from gateway.web.births import in_scope, not_found
from gateway.web.problems import problem

if TYPE_CHECKING:
    from multidict import MultiMapping

    from gateway.store.tokens import Identity

_QUERY = ("revision", "since")
_DIGITS = 9


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [
        web.get("/v1/births/{id}/revisions", authenticated(_list)),
        web.get("/v1/births/{id}/diff", authenticated(_diff), allow_head=False),
    ]


async def _list(request: web.Request, identity: Identity) -> web.StreamResponse:
    found = await in_scope(request, identity)
    if found is None:
        return not_found()
    async with request.app[DATABASE].connection() as connection:
        items = await difference.listed(connection, uuid.UUID(found["id"]))
    return web.json_response({"items": items, "next": None})


async def _diff(request: web.Request, identity: Identity) -> web.StreamResponse:
    found = await in_scope(request, identity)
    if found is None:
        return not_found()
    birth_id = uuid.UUID(found["id"])
    values = identity.role == "officer" and identity.office is not None
    try:
        revision, since = _numbers(request.query)
        async with request.app[DATABASE].transaction() as connection:
            told = await difference.between(connection, birth_id, revision=revision, since=since, values=values)
            if values:
                detail = {"since": told["since"], "revision": told["revision"]}
                birth = await births.lock(connection, birth_id)
                await births.note(
                    connection, birth, Why(identity.actor, "diff", "values of revisions read", None, detail)
                )
    except (ValueError, NoSuchRevisionError) as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), code="QUERY")
    return web.json_response(told)


def _numbers(query: MultiMapping[str]) -> tuple[int | None, int | None]:
    """Read `revision` and `since`. Raises ValueError naming the parameter and what it takes."""
    for name in query:
        if name not in _QUERY:
            raise ValueError(f"{name[:40]}: no such parameter; there are {', '.join(_QUERY)}")
        text = query[name]
        if len(query.getall(name)) > 1 or not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise ValueError(f"{name}: one whole number")
    first, last = (int(query[name]) if name in query else None for name in _QUERY)
    return first, last

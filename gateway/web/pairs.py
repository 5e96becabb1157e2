"""/v1/births/{id}/merge, …/split and …/compare/{other}: one baby or two, decided by an officer or an operator.

Both births must lie within the token's scope. A hospital decides by HL7 (A40, A08): its token is refused here.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.contract.strict_json import validated
from gateway.contract.visible import VISIBLE
from gateway.errors import IllegalMoveError
from gateway.pipeline import decide_pair
from gateway.pipeline.operate import Desk
from gateway.store import births, views
from gateway.store.births import Why
from gateway.web.auth import DATABASE, authenticated, sees
from gateway.web.births import CONTEXT, in_scope, not_found, resembling
from gateway.web.body import no_json, read_body, wrong_places
from gateway.web.problems import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.store.tokens import Identity

_BODY_BYTES = 4 * 1024
_Reason = Annotated[str, Field(min_length=1, max_length=200, pattern=VISIBLE)]


class _Decision(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: _Reason


class MergeRequest(_Decision):
    """One baby: the birth of the path is merged into this one."""

    into: uuid.UUID


class SplitRequest(_Decision):
    """Different babies: the birth of the path, and this one; without it all that it resembles."""

    other: uuid.UUID | None = None


_R = TypeVar("_R", bound=_Decision)


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [
        web.post("/v1/births/{id}/merge", authenticated(_deciding(_merge))),
        web.post("/v1/births/{id}/split", authenticated(_deciding(_split))),
        web.get("/v1/births/{id}/compare/{other}", authenticated(_deciding(_compare)), allow_head=False),
    ]


def _deciding(
    handler: Callable[[web.Request, Identity, uuid.UUID], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request, Identity], Awaitable[web.StreamResponse]]:
    """Let only those decide who may, about what they may see."""

    async def checked(request: web.Request, identity: Identity) -> web.StreamResponse:
        found = await in_scope(request, identity)
        if found is None:
            return not_found()
        if identity.role == "facility" or (identity.role == "officer" and identity.office is None):
            return problem(
                HTTPStatus.FORBIDDEN,
                "an officer of an office, or an operator, decides this; a hospital tells it by A40 or A08",
                code="FORBIDDEN",
                pesan="Keputusan ini dari petugas kantor atau operator; rumah sakit memakai A40 atau A08.",
            )
        try:
            return await handler(request, identity, uuid.UUID(found["id"]))
        except IllegalMoveError as error:
            pesan = "Keputusan ini tidak sesuai keadaan kedua kelahiran; tidak ada yang diubah."
            return problem(HTTPStatus.CONFLICT, str(error), code=error.code, pesan=pesan)

    return checked


async def _merge(request: web.Request, identity: Identity, birth_id: uuid.UUID) -> web.StreamResponse:
    said = await _read(request, MergeRequest)
    if isinstance(said, web.Response):
        return said
    if not await _sees(request, identity, said.into):
        return not_found()
    kept = await decide_pair.merge(_desk(request, identity, said.reason), birth_id, said.into)
    return await _birth(request, identity, kept)


async def _split(request: web.Request, identity: Identity, birth_id: uuid.UUID) -> web.StreamResponse:
    said = await _read(request, SplitRequest)
    if isinstance(said, web.Response):
        return said
    if said.other is not None and not await _sees(request, identity, said.other):
        return not_found()
    waiting = [like for like in await resembling(request, identity, birth_id) if like["decision"] is None]
    if said.other is None and any(like["birth"] is None and like["verdict"] != "twin" for like in waiting):
        return problem(
            HTTPStatus.FORBIDDEN,
            "one of the births it resembles lies outside of this token's scope; name the one you decide in `other`",
            code="FORBIDDEN",
            pesan="Salah satu kelahiran yang mirip di luar lingkup token ini; sebut pada `other` yang Anda putuskan.",
        )
    await decide_pair.split(_desk(request, identity, said.reason), birth_id, said.other)
    return await _birth(request, identity, birth_id)


async def _compare(request: web.Request, identity: Identity, birth_id: uuid.UUID) -> web.StreamResponse:
    try:
        other = uuid.UUID(request.match_info["other"])
    except ValueError:
        return not_found()
    if not await _sees(request, identity, other):
        return not_found()
    told = (await decide_pair.preview(_desk(request, identity, ""), birth_id, other)).as_dict()
    async with request.app[DATABASE].transaction() as connection:
        birth = await births.lock(connection, birth_id)
        await births.note(connection, birth, Why(identity.actor, "compare", "laid beside another birth",
                                                 detail={"with": str(other)}))  # fmt: skip
    return web.json_response(told)


async def _sees(request: web.Request, identity: Identity, birth_id: uuid.UUID) -> bool:
    found = await views.birth(request.app[DATABASE], birth_id)
    return found is not None and sees(identity, found)


def _desk(request: web.Request, identity: Identity, reason: str) -> Desk:
    context = request.app[CONTEXT]
    return Desk(context.database, context.config, identity.actor, reason, metrics=context.metrics, clock=context.clock)


async def _birth(request: web.Request, identity: Identity, birth_id: uuid.UUID) -> web.Response:
    found: dict[str, Any] = await views.birth(request.app[DATABASE], birth_id) or {}
    return web.json_response(found | {"likenesses": await resembling(request, identity, birth_id)})


async def _read(request: web.Request, shape: type[_R]) -> _R | web.Response:
    if refusal := no_json(request):
        return refusal
    raw = await read_body(request, request.app[CONTEXT].config.limits, most=_BODY_BYTES)
    try:
        return validated(shape, raw)
    except ValidationError as error:
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "nothing was changed; mend what `errors` names and send it again",
            code="UNPROCESSABLE",
            pesan="Tidak ada yang diubah; perbaiki yang disebut pada `errors`, lalu kirim lagi.",
            errors=wrong_places(error),
        )

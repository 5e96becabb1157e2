"""GET /v1/births and below: where births stand, for hospital, officer and operator, each within its scope."""

from __future__ import annotations

import base64
import datetime as dt
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.contract.lifecycle import State
from gateway.contract.missing import ITEMS
from gateway.pipeline import handover
from gateway.store import likenesses, submissions, views
from gateway.store.views import Filter
from gateway.web.auth import DATABASE, authenticated, sees
from gateway.web.problems import problem

if TYPE_CHECKING:
    from multidict import MultiMapping

    from gateway.contract.ports import Certificate
    from gateway.pipeline.context import Context
    from gateway.store.tokens import Identity

CONTEXT: web.AppKey[Context] = web.AppKey("context")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")  # in a file name
_FIRST_YEAR, _LAST_YEAR = 2000, 2200
_QUERY = frozenset({
    "facility", "control_id", "mrn", "state", "since", "cursor", "limit", "office", "missing", "deadline_before",
    "order", "urgency",
})  # fmt: skip
_ORDERS = ("updated", "urgency")


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [
        web.get("/v1/births", authenticated(_list)),
        web.get("/v1/births/{id:(?!(?:search|stream)$)[^{}/]+}", authenticated(_show)),  # those two are no ids
        web.get("/v1/births/{id}/history", authenticated(_history)),
        # No HEAD: a facility's request for the document is its delivery, and HEAD would deliver nothing.
        web.get("/v1/births/{id}/document", authenticated(_document), allow_head=False),
    ]


async def _list(request: web.Request, identity: Identity) -> web.StreamResponse:
    try:
        wanted = read_filter(request.query, identity)
        limit = _limit(request.query.get("limit"), request.app[CONTEXT].config.limits.page_items)
        items, following = await views.births(
            request.app[DATABASE], wanted, cursor=request.query.get("cursor"), limit=limit
        )
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), code="QUERY")
    return web.json_response({"items": items, "next": following})


def read_filter(query: MultiMapping[str], identity: Identity) -> Filter:
    """Read the query of GET /v1/births. Raises ValueError naming the parameter and what it takes."""
    for name in query:
        if name not in _QUERY:
            raise ValueError(f"{name[:40]}: no such parameter; there are {', '.join(sorted(_QUERY))}")
        if len(query.getall(name)) > 1:
            raise ValueError(f"{name}: given more than once")
        if "\0" in query[name]:
            raise ValueError(f"{name}: holds a NUL character, which no stored value does")
    state = query.get("state")
    if state is not None and state not in {s.value for s in State}:
        raise ValueError(f"state: no such state; one of {', '.join(s.value for s in State)}")
    missing = query.get("missing")
    if missing is not None and missing not in ITEMS:
        raise ValueError(f"missing: no such item; one of {', '.join(ITEMS)}")
    order = query.get("order", _ORDERS[0])
    if order not in _ORDERS:
        raise ValueError(f"order: one of {', '.join(_ORDERS)}")
    return Filter(
        facility=query.get("facility"),
        control_id=query.get("control_id"),
        medical_record=query.get("mrn"),
        state=state,
        since=_since(query.get("since")),
        scope=identity.facility,
        office=query.get("office"),
        office_scope=None if identity.office == "all" else identity.office,
        missing=missing,
        before=_day(query.get("deadline_before")),
        urgency=_urgency(query.get("urgency")),
        urgent=order == "urgency",
        restricted=identity.restricted,
    )


def _day(text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text is not None else None
    except ValueError:
        raise ValueError("deadline_before: not a day such as 2026-11-24") from None


def _urgency(text: str | None) -> int | None:
    if text is None:
        return None
    if text not in set("0123456789"):
        raise ValueError("urgency: a digit, 0 the most urgent; births of this priority and before it")
    return int(text)


def _since(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        at = dt.datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise ValueError("since: not an RFC 3339 time such as 2026-11-24T09:00:00+07:00") from None
    if at.tzinfo is None:
        raise ValueError("since: has no UTC offset; write for example 2026-11-24T09:00:00+07:00")
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:  # near the ends of time an offset leads out of it
        raise ValueError(f"since: the year lies between {_FIRST_YEAR} and {_LAST_YEAR}")
    return at


def _limit(text: str | None, most: int) -> int:
    if text is None:
        return most
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise ValueError(f"limit: a whole number from 1 to {most}")
    return int(text)


async def in_scope(request: web.Request, identity: Identity) -> dict[str, Any] | None:
    """Return the birth of the path if this identity may see it."""
    try:
        birth_id = uuid.UUID(request.match_info["id"])
    except ValueError:
        return None
    found = await views.birth(request.app[DATABASE], birth_id)
    return found if found and sees(identity, found) else None


def not_found() -> web.Response:
    """Return the answer for what does not exist, or not for this token: nothing tells the two apart."""
    return problem(HTTPStatus.NOT_FOUND, "there is no such birth within the scope of this token", code="NOT_FOUND")


async def _show(request: web.Request, identity: Identity) -> web.StreamResponse:
    found = await in_scope(request, identity)
    if found is None:
        return not_found()
    if identity.role == "facility" and found["state"] == State.ISSUED.value and not found["certificate"]["sha256"]:
        # The office told the numbers and no file: with them the facility has all there is.
        await handover.picked_up(request.app[CONTEXT], uuid.UUID(found["id"]), actor=identity.actor)
        found = await in_scope(request, identity) or found
    return web.json_response(found | {"likenesses": await resembling(request, identity, uuid.UUID(found["id"]))})


async def resembling(request: web.Request, identity: Identity, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return what a birth is to others; of one that this token may not see only that it is there."""
    found = await likenesses.view(request.app[DATABASE], birth_id)
    for like in found:
        if not sees(identity, like):
            like |= {"birth": None, "facility": None, "state": None, "reason": None}
        del like["office"], like["restricted"]
    return found


async def _history(request: web.Request, identity: Identity) -> web.StreamResponse:
    found = await in_scope(request, identity)
    if found is None:
        return not_found()
    events = await views.history(request.app[DATABASE], uuid.UUID(found["id"]))
    return web.json_response({"items": events, "next": None})


async def _document(request: web.Request, identity: Identity) -> web.StreamResponse:
    """Return the certificate's file. A hospital without a listener has it from here: that is its delivery."""
    found = await in_scope(request, identity)
    if found is None:
        return not_found()
    birth_id = uuid.UUID(found["id"])
    if found["certificate"] and (revoked_at := found["certificate"]["revoked_at"]):
        detail = f"the registry revoked this certificate ({revoked_at}); its file is not handed out any more"
        return problem(HTTPStatus.GONE, detail, code="CERTIFICATE_REVOKED")
    async with request.app[DATABASE].connection() as connection:
        certificate = await submissions.certificate(connection, birth_id)
    if certificate is None or not certificate.document:
        detail = f"there is no certificate yet; the birth is {found['state']}"
        if certificate is not None and not certificate.sha256:
            detail = "the office keeps the certificate's file; its numbers stand with the birth"
        return problem(HTTPStatus.CONFLICT, detail, code="NO_CERTIFICATE")
    response = await _sent(request, certificate)
    if identity.role == "facility":  # only now: a connection that was cut has delivered nothing
        await handover.picked_up(request.app[CONTEXT], birth_id, actor=identity.actor)
    return response


async def _sent(request: web.Request, certificate: Certificate) -> web.StreamResponse:
    """Write the file to its end. Raises ConnectionError where the reader went away."""
    digest = base64.b64encode(bytes.fromhex(certificate.sha256)).decode()
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/pdf",
            "Content-Disposition": f'attachment; filename="{_UNSAFE.sub("_", certificate.number)}.pdf"',
            "Digest": f"sha-256={digest}",  # RFC 3230, what most clients know
            "Repr-Digest": f"sha-256=:{digest}:",  # RFC 9530, what replaced it
            "Cache-Control": "no-store",
        }
    )
    response.content_length = len(certificate.document)
    await response.prepare(request)
    await response.write(certificate.document)
    await response.write_eof()
    return response

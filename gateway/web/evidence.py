"""/v1/receipts and /v1/journal: what was kept and promised, shown so that it can be checked without us.

Entries are digests and ids. A token reads those of its scope; of all others it gets the leaf's hash, which tells
nothing and lets everybody compute the root.
"""

from __future__ import annotations

import json
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.pipeline import journal
from gateway.store import journal as store
from gateway.web.auth import DATABASE, authenticated, sees
from gateway.web.births import CONTEXT
from gateway.web.problems import problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.database import Connection
    from gateway.store.journal import Found
    from gateway.store.tokens import Identity

KINDS = ("message", "sealed", "submitted", "issued", "delivered")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BIRTH = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_NO_RECEIPT = (
    "there is no receipt for this digest within the scope of this token. It is the SHA-256, in hex, of the message's "
    "exact bytes without MLLP framing, or of a sealed record or document; rejected messages (AR, CR) have none, "
    "nor has what was kept before the journal began; an officer of one office names a message's birth (`birth`)"
)
_NOT_SEALED = "it is kept, and under no checkpoint yet; ask again in a second or two"
_NO_JOURNAL = "there is no journal yet; the operator brings the database to this version by `procot migrate`"
_NO_CHECKPOINT = "nothing was sealed yet; ask again a second or two after the first message"


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [
        web.get("/v1/receipts/{digest}", authenticated(_receipt)),
        web.get("/v1/journal/checkpoint", authenticated(_checkpoint)),
        web.get("/v1/journal/entries", authenticated(_entries)),
    ]


async def _receipt(request: web.Request, identity: Identity) -> web.StreamResponse:
    if refusal := _off(request):
        return refusal
    try:
        digest, kind, birth_id = _asked(request)
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), code="QUERY")
    async with request.app[DATABASE].connection() as connection:
        about = await store.about(connection, digest, facility=identity.facility)
        about = [e for e in about if kind in (None, json.loads(e.entry)["kind"])]
        if birth_id is None:
            seen = await _in_scope(connection, identity, about)
        else:
            seen = await _about_birth(connection, identity, about, digest, birth_id)
        if seen:
            return web.json_response(await journal.receipt(connection, seen[0]))
        if await store.on_its_way(connection, digest, facility=identity.facility):
            later = {"Retry-After": "1"}
            return problem(HTTPStatus.NOT_FOUND, _NOT_SEALED, code="NOT_SEALED", headers=later)
    return problem(HTTPStatus.NOT_FOUND, _NO_RECEIPT, code="NO_RECEIPT")


async def _about_birth(
    connection: Connection, identity: Identity, found: Sequence[Found], digest: bytes, birth_id: uuid.UUID
) -> list[Found]:
    """Return the entries about one birth, of its messages too, where the token may read of that birth."""
    birth = (await store.scopes(connection, [str(birth_id)])).get(str(birth_id))
    if birth is None or not sees(identity, dict(birth)):
        return []
    senders = await store.senders(connection, digest, birth_id)
    told = [(entry, json.loads(entry.entry)) for entry in found]
    return [
        entry
        for entry, said in told
        if said.get("birth") == str(birth_id) or (said["kind"] == "message" and entry.facility in senders)
    ]


def _asked(request: web.Request) -> tuple[bytes, str | None, uuid.UUID | None]:
    """Return digest, kind and birth that a receipt is asked for. Raises ValueError."""
    query = _query(request, "kind", "birth")
    kind, birth = query.get("kind"), query.get("birth")
    if birth is not None and not _BIRTH.fullmatch(birth):
        raise ValueError("birth: the id of a birth, a UUID")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind: one of {', '.join(KINDS)}")
    digest = request.match_info["digest"].lower()
    if not _SHA256.fullmatch(digest):
        raise ValueError("digest: a SHA-256 in hex, 64 digits")
    return bytes.fromhex(digest), kind, uuid.UUID(birth) if birth else None


async def _checkpoint(request: web.Request, _identity: Identity) -> web.StreamResponse:
    if refusal := _off(request):
        return refusal
    proof = None
    try:
        since = _whole(_query(request, "since").get("since"), "since")
        async with request.app[DATABASE].connection() as connection:
            newest = await store.newest(connection)
            if newest is None:
                return problem(HTTPStatus.NOT_FOUND, _NO_CHECKPOINT, code="NO_CHECKPOINT", headers={"Retry-After": "1"})
            if since is not None:
                proof = [hashed.hex() for hashed in await journal.consistency(connection, since, newest.size)]
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), code="QUERY")
    told = {"size": newest.size, "root": newest.root.hex(), "time": newest.at.isoformat(), "key_id": newest.key_id}
    return web.json_response({**told, "checkpoint": newest.jws, "since": since, "consistency": proof})


async def _entries(request: web.Request, identity: Identity) -> web.StreamResponse:
    if refusal := _off(request):
        return refusal
    most = request.app[CONTEXT].config.limits.page_items
    try:
        first, limit = _page(request, most)
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), code="QUERY")
    async with request.app[DATABASE].connection() as connection:
        found = await store.page(connection, first, limit)
        hashes = await journal.leaves(connection, first, len(found)) if found else []
        seen = {e.position for e in await _in_scope(connection, identity, found)}
        newest = await store.newest(connection)
    items = [
        {"position": e.position, "leaf": leaf.hex(), "entry": e.entry if e.position in seen else None}
        for e, leaf in zip(found, hashes, strict=True)
    ]
    following = first + len(found)
    more = bool(found) and newest is not None and following < newest.size
    return web.json_response({"items": items, "next": str(following) if more else None})


def _page(request: web.Request, most: int) -> tuple[int, int]:
    """Return the first position and how many entries are asked for. Raises ValueError."""
    query = _query(request, "from", "limit")
    limit = _whole(query.get("limit"), "limit")
    if limit is not None and not 1 <= limit <= most:
        raise ValueError(f"limit: a whole number from 1 to {most}")
    return _whole(query.get("from"), "from") or 0, limit or most


async def _in_scope(connection: Connection, identity: Identity, found: Sequence[Found]) -> list[Found]:
    """Return the entries that a token may read: its facility's, its office's, and restricted cases where it has them.

    A message's entry names no birth: an officer of one office does not see it here, and says whose it is to get its
    receipt (`birth`).
    """
    births: dict[int, Any] = {e.position: json.loads(e.entry).get("birth") for e in found}
    known = await store.scopes(connection, {birth for birth in births.values() if birth})
    seen = []
    for entry in found:
        birth = births[entry.position]
        alone: dict[str, Any] = {"facility": entry.facility, "office": None, "restricted": None}
        if sees(identity, dict(known[birth]) if birth in known else alone):
            seen.append(entry)
    return seen


def _off(request: web.Request) -> web.Response | None:
    """Return the refusal of a database whose schema has no journal, None where it has one."""
    if request.app[CONTEXT].schema_level >= store.LEVEL:
        return None
    return problem(HTTPStatus.NOT_FOUND, _NO_JOURNAL, code="NO_JOURNAL")


def _query(request: web.Request, *names: str) -> dict[str, str]:
    """Return the query's parameters. Raises ValueError for one that is unknown or given twice."""
    for name in request.query:
        if name not in names:
            raise ValueError(f"{name[:40]}: no such parameter; there are {', '.join(names)}")
        if len(request.query.getall(name)) > 1:
            raise ValueError(f"{name}: given more than once")
    return dict(request.query)


def _whole(text: str | None, name: str) -> int | None:
    if text is not None and not _NUMBER.fullmatch(text):
        raise ValueError(f"{name}: a whole number")
    return int(text) if text is not None else None

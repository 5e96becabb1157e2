"""POST /v1/births/{id}/form: for the ward's system or page with its facility's token, and for an officer."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.contract.precedence import Source
from gateway.pipeline import form
from gateway.pipeline.form import FormRefusedError, FormTooLateError, KeyReusedError, Teller
from gateway.web.auth import authenticated
from gateway.web.births import CONTEXT, in_scope, not_found
from gateway.web.body import no_json, read_body
from gateway.web.problems import problem

if TYPE_CHECKING:
    from gateway.config import Limits
    from gateway.store.tokens import Identity

_KEY_LENGTH = 255
_TEXT_BYTES = 256 * 1024  # of a form besides its documents
_ITEMS = 2000  # objects, lists and commas of a form; a full one with 100 documents has some 500


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [web.post("/v1/births/{id}/form", authenticated(_take))]


async def _take(request: web.Request, identity: Identity) -> web.StreamResponse:
    found = await in_scope(request, identity)
    if found is None:
        return not_found()
    if identity.role != "facility" and identity.office is None:
        return problem(
            HTTPStatus.FORBIDDEN,
            "a form is taken from the birth's facility and from an officer of its office; this token is neither",
            code="FORBIDDEN",
            pesan="Formulir diterima dari fasilitas kelahiran dan petugas kantornya; token ini bukan keduanya.",
        )
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > _KEY_LENGTH or not (key.isascii() and key.isprintable()):
        detail = f"Idempotency-Key: up to {_KEY_LENGTH} printable ASCII characters"
        return problem(HTTPStatus.BAD_REQUEST, detail, code="IDEMPOTENCY_KEY", pesan="Idempotency-Key tidak sah.")
    if refusal := no_json(request):
        return refusal
    context = request.app[CONTEXT]
    raw = await read_body(request, context.config.limits, most=_most(context.config.limits), items=_ITEMS)
    source = Source.FORM if identity.role == "facility" else Source.OFFICER
    try:
        told = await context.helper.run_if_large(len(raw), form.read, raw, context.config.limits)
        answer = await form.take(context, uuid.UUID(found["id"]), told, Teller(identity.actor, source, key))
    except (FormRefusedError, FormTooLateError, KeyReusedError) as error:
        context.metrics.forms.labels(error.code.lower()).inc()
        return _refused(error)
    return web.json_response(answer | {"spellings": await form.spellings_of(context, uuid.UUID(found["id"]))})


def _most(limits: Limits) -> int:
    """Return the cap on a body: base64 makes four characters of three bytes."""
    return limits.form_documents_bytes * 4 // 3 + _TEXT_BYTES


def _refused(error: FormRefusedError | FormTooLateError | KeyReusedError) -> web.Response:
    if isinstance(error, FormRefusedError):
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "nothing was changed; mend what `errors` names and send the form again",
            code=error.code,
            pesan="Tidak ada yang diubah; perbaiki yang disebut pada `errors`, lalu kirim lagi.",
            errors=[p.as_dict() for p in error.problems],
        )
    pesan = "Kelahiran ini tidak dapat diubah lewat formulir lagi; hubungi Disdukcapil."
    if isinstance(error, KeyReusedError):
        pesan = "Idempotency-Key ini sudah dipakai untuk formulir lain; pakai kunci baru."
    return problem(HTTPStatus.CONFLICT, str(error), code=error.code, pesan=pesan)

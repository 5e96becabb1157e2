"""/v1/registry/leases and /v1/registry/records: the back office takes records, opens their scans, tells outcomes.

An officer's token with an office (`procot tokens new --role officer --office CODE`) and nobody else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.contract.strict_json import Moment, Whole, validated
from gateway.contract.visible import VISIBLE
from gateway.errors import LeaseLostError, RegistryProtocolError
from gateway.pipeline import officer
from gateway.pipeline.officer import Decision, Issue, IssueRefusedError, OutcomeOutOfPlaceError, Reason, Word
from gateway.store.leases import Wanted
from gateway.web.auth import authenticated
from gateway.web.births import CONTEXT, in_scope, not_found
from gateway.web.body import no_json, read_body, wrong_places
from gateway.web.problems import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pipeline.context import Context
    from gateway.store.tokens import Identity

_BODY_BYTES = 64 * 1024
_ITEMS = 1000  # objects, lists and commas of a body; the longest list has 50
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PDF = b"%PDF-"
_Short = Annotated[str, Field(max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LeaseRequest(_Part):
    """What to take. A dead consumer's records come back after `seconds`."""

    count: Whole = Field(default=10, ge=1, le=50)
    seconds: Whole = Field(default=900, ge=30, le=86_400)
    records: tuple[uuid.UUID, ...] = Field(default=(), max_length=50)


class IssuedCertificate(_Part):
    """What was issued; `document` is the PDF in base64, where the office hands it out.

    A letter of stillbirth has a number only; a child of foreigners may have neither NIK nor KK.
    """

    number: _Short
    child_nik: _Short = ""
    kk_number: _Short = ""
    issued_at: Moment
    document: str = Field(default="", repr=False)


class OutcomeRequest(_Part):
    """An office's word about a record."""

    lease: uuid.UUID
    outcome: Decision
    reason: Reason | None = None
    note: str = Field(default="", max_length=300, pattern=VISIBLE)
    reference: str = Field(default="", max_length=40, pattern=r"^[A-Za-z0-9._/-]*$")
    certificate: IssuedCertificate | None = None

    @model_validator(mode="after")
    def _whole(self) -> OutcomeRequest:
        if (self.outcome is Decision.ISSUE) != (self.certificate is not None):
            raise ValueError("`certificate` goes with outcome issue, and only with it")
        if (self.outcome in (Decision.ASK, Decision.REFUSE, Decision.REVOKE)) != (self.reason is not None):
            raise ValueError("`reason` goes with outcomes ask, refuse and revoke, and only with them")
        if self.certificate and self.certificate.issued_at.tzinfo is None:
            raise ValueError("`issued_at` has no UTC offset")
        return self


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [
        web.post("/v1/registry/leases", authenticated(_for_officers(_lease))),
        web.post("/v1/registry/records/{id}/outcome", authenticated(_for_officers(_outcome))),
        web.get(
            "/v1/registry/records/{id}/documents/{sha256}",
            authenticated(_for_officers(_document)),
            allow_head=False,
        ),
    ]


def _for_officers(
    handler: Callable[[web.Request, Identity], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request, Identity], Awaitable[web.StreamResponse]]:
    async def checked(request: web.Request, identity: Identity) -> web.StreamResponse:
        if identity.role != "officer" or identity.office is None:
            detail = "records are for officers of an office; make a token with --role officer --office CODE"
            pesan = "Berkas hanya untuk petugas sebuah kantor; buat token dengan --role officer --office KODE."
            return problem(HTTPStatus.FORBIDDEN, detail, code="FORBIDDEN", pesan=pesan)
        return await handler(request, identity)

    return checked


async def _lease(request: web.Request, identity: Identity) -> web.StreamResponse:
    if request.can_read_body and (refusal := no_json(request)):
        return refusal
    context = request.app[CONTEXT]
    try:
        raw = await read_body(request, context.config.limits, most=_BODY_BYTES, items=_ITEMS)
        wish = validated(LeaseRequest, raw or b"{}")
    except ValidationError as error:
        return _unprocessable(wrong_places(error))
    wanted = Wanted(
        office=identity.office or "",
        restricted=identity.restricted,
        count=len(wish.records) or wish.count,
        records=wish.records,
    )
    items = await officer.lease(context, wanted, actor=identity.actor, seconds=wish.seconds)
    return web.json_response({"items": items, "next": None})


async def _outcome(request: web.Request, identity: Identity) -> web.StreamResponse:
    found = await in_scope(request, identity)
    if found is None:
        return not_found()
    if refusal := no_json(request):
        return refusal
    context = request.app[CONTEXT]
    largest = context.config.limits.document_bytes
    raw = await read_body(request, context.config.limits, most=largest * 4 // 3 + _BODY_BYTES, items=_ITEMS)
    told = await context.helper.run_if_large(len(raw), _read, raw, largest)
    if isinstance(told, list):
        return _unprocessable(told)
    said, document, digest = told
    return await _decided(context, uuid.UUID(found["id"]), _word(said, document, digest, identity))


def _read(raw: bytes, largest: int) -> tuple[OutcomeRequest, bytes, bytes] | list[dict[str, str]]:
    """Return what an office said, its file, and the digest of both; or what is wrong with it."""
    try:
        said = validated(OutcomeRequest, raw)
        document = _file(said.certificate, largest)
    except ValidationError as error:
        return wrong_places(error)
    except ValueError as error:
        pesan = "Dokumen bukan PDF dalam base64, atau terlalu besar."
        return [{"pointer": "/certificate/document", "code": "DOCUMENT", "message": f"{error}.", "pesan": pesan}]
    return said, document, hashlib.sha256(said.model_dump_json().encode()).digest()


async def _decided(context: Context, birth_id: uuid.UUID, word: Word) -> web.Response:
    try:
        return web.json_response(await officer.decide(context, birth_id, word))
    except IssueRefusedError as error:
        return _unprocessable(
            [
                {"pointer": f"/certificate/{name}", "code": f.code, "message": f.text("en"), "pesan": f.text("id")}
                for name, f in error.problems
            ]
        )
    except LeaseLostError as error:
        pesan = "Peminjaman berkas sudah berakhir dan tidak ada yang diubah; ambil lagi berkas ini."
        return problem(HTTPStatus.CONFLICT, str(error), code=error.code, pesan=pesan)
    except (OutcomeOutOfPlaceError, RegistryProtocolError) as error:
        pesan = "Keputusan ini tidak sesuai keadaan berkas; tidak ada yang diubah."
        return problem(HTTPStatus.CONFLICT, str(error), code=error.code, pesan=pesan)


def _word(said: OutcomeRequest, document: bytes, digest: bytes, identity: Identity) -> Word:
    issue = None
    if said.certificate is not None:
        told = said.certificate
        issue = Issue(told.number, told.child_nik, told.kk_number, told.issued_at, document)
    return Word(
        decision=said.outcome,
        lease=said.lease,
        actor=identity.actor,
        digest=digest,
        reason=said.reason,
        note=said.note,
        reference=said.reference,
        issue=issue,
    )


def _file(certificate: IssuedCertificate | None, most: int) -> bytes:
    """Return the certificate's file, b"" where there is none. Raises ValueError."""
    if certificate is None or not certificate.document:
        return b""
    try:
        content = base64.b64decode(certificate.document, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the document is no base64") from None
    if not content.startswith(_PDF) or len(content) > most:
        raise ValueError(f"the document is no PDF, or larger than {most} bytes (limits.document_bytes)")
    return content


def _unprocessable(errors: list[dict[str, str]]) -> web.Response:
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "nothing was changed; mend what `errors` names and send it again",
        code="UNPROCESSABLE",
        pesan="Tidak ada yang diubah; perbaiki yang disebut pada `errors`, lalu kirim lagi.",
        errors=errors,
    )


async def _document(request: web.Request, identity: Identity) -> web.StreamResponse:
    """Return a scan as it came. Who opened it stands in the birth's history."""
    found = await in_scope(request, identity)
    digest = request.match_info["sha256"]
    if found is None or not _SHA256.fullmatch(digest):
        return not_found()
    kept = await officer.open_document(request.app[CONTEXT], uuid.UUID(found["id"]), digest, actor=identity.actor)
    if kept is None:
        return not_found()
    mime, content = kept
    disposition = f'attachment; filename="{digest[:16]}.{mime.partition("/")[2]}"'
    headers = {"Content-Type": mime, "Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
    return web.Response(body=content, headers=headers)

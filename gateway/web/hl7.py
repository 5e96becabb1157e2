"""POST /v1/hl7 and its dry run: HL7 over HTTP (domain A.9). The same engine and inbox as MLLP; the path is the port.

Owns the envelope: token, content type, length, status. What is said about the message is said by the intake, in an
HL7 answer, whatever the status: a client reads MSA-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import web

from gateway.hl7.batch import cut
from gateway.hl7.charset import decode
from gateway.hl7.told import told_codec
from gateway.mllp.client import acknowledgement
from gateway.observe.logging import describe
from gateway.pipeline.helper import HELPED_BYTES
from gateway.pipeline.rehearsal import Language, Rehearsal, Report, senders
from gateway.web.auth import authenticated
from gateway.web.births import CONTEXT
from gateway.web.body import read_body
from gateway.web.health import READY
from gateway.web.problems import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pipeline.intake import Intake
    from gateway.store.tokens import Identity

INTAKE: web.AppKey[Intake] = web.AppKey("intake")
REHEARSAL: web.AppKey[Rehearsal] = web.AppKey("rehearsal")

_log = structlog.get_logger()
_TYPES = ("application/hl7-v2", "application/hl7-v2+er7", "x-application/hl7-v2+er7", "text/plain")
_HAPI = {"A": HTTPStatus.OK, "R": HTTPStatus.BAD_REQUEST, "E": HTTPStatus.INTERNAL_SERVER_ERROR}
_FOREIGN = "FACILITY_NOT_ALLOWED"


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [
        web.post("/v1/hl7", authenticated(_with_message(_take))),
        web.post("/v1/hl7/validate", authenticated(_with_message(_validate))),
    ]


class _Message:
    """One message and what its request says about it."""

    def __init__(
        self, raw: bytes, charset: str, request: web.Request, identity: Identity, named: frozenset[str]
    ) -> None:
        facilities = request.app[CONTEXT].facilities
        self.raw = raw
        self.charset = charset
        self.peer = request.remote or ""
        # A facility's token tells who sends, as the certificate does on MLLP over TLS: it stands for its own.
        # An operator's stands for nobody: it sends what anybody may.
        own = facilities.get(identity.facility) if identity.facility else None
        self.certificates = frozenset(own.certificates if own else ())
        # Nobody named: the judge refuses it, and it lies in quarantine.
        self.foreign = identity.facility is not None and bool(named - {"", identity.facility})


def _with_message(
    handler: Callable[[web.Request, Identity, _Message], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request, Identity], Awaitable[web.StreamResponse]]:
    """Let only requests that bring a message, by somebody who may, reach `handler`."""

    async def checked(request: web.Request, identity: Identity) -> web.StreamResponse:
        if identity.role == "officer":
            return problem(HTTPStatus.FORBIDDEN, "an officer's token does not send messages", code="FORBIDDEN")
        refusal = _not_ready(request) or _wrong_type(request) or _wrong_length(request)
        if refusal is not None:
            return refusal
        limits = request.app[CONTEXT].config.limits
        raw = await read_body(request, limits, most=limits.http_body_bytes)
        charset = _codec(request) or ""
        looked = await request.app[CONTEXT].helper.run_if_large(
            len(raw), _looked_at, raw, charset, limits.messages_per_block
        )
        if looked.problem:
            return problem(HTTPStatus.BAD_REQUEST, looked.problem, code=looked.code)
        return await handler(request, identity, _Message(raw, charset, request, identity, looked.senders))

    return checked


@dataclass(frozen=True, slots=True)
class _Look:
    """What a body shows before it is judged: who it says it is from, or why it is not one message."""

    senders: frozenset[str] = frozenset()
    code: str = ""
    problem: str = ""


def _looked_at(raw: bytes, charset: str, most: int) -> _Look:
    if not raw.strip():
        return _Look(code="EMPTY", problem="the body is empty; send one HL7 message")
    found = cut(raw, limit=most)
    if len(found.parts) > 1 or found.enveloped:
        detail = "one message a request (HL7 over HTTP); batches are for MLLP, `procot send` sends their messages"
        return _Look(code="SEVERAL_MESSAGES", problem=detail)
    return _Look(senders(raw, charset=charset))


# ----------------------------------------------------------------------------------------------------- the envelope


def _not_ready(request: web.Request) -> web.Response | None:
    reason = request.app[READY]()
    if not reason:
        return None
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, reason, code="NOT_READY", headers={"Retry-After": "5"})


def _wrong_type(request: web.Request) -> web.Response | None:
    if request.content_type.endswith("xml"):
        detail = "HL7 as XML is not taken here; send ER7 (segments and bars) as application/hl7-v2"
    elif request.content_type not in _TYPES:
        detail = f"not a content type of HL7 v2; send one of {', '.join(_TYPES)}"
    elif _codec(request) is None:
        detail = "the charset of Content-Type is not known here; send UTF-8, or leave it to MSH-18"
    else:
        return None
    return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, code="UNSUPPORTED_MEDIA_TYPE")


def _codec(request: web.Request) -> str | None:
    """Return the codec that the request names, "" where it leaves that to the message, None for an unknown one."""
    return told_codec(request.charset) if request.charset is not None else ""


def _wrong_length(request: web.Request) -> web.Response | None:
    if request.content_length is None and request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        detail = "say how long the body is: Content-Length, or Transfer-Encoding: chunked"
        return problem(HTTPStatus.LENGTH_REQUIRED, detail, code="LENGTH_REQUIRED")
    if (request.content_length or 0) > request.app[CONTEXT].config.limits.http_body_bytes:
        raise web.HTTPRequestEntityTooLarge(0, 0)  # before reading it; the middleware has the words
    return None


# ------------------------------------------------------------------------------------------------------- the message


async def _take(request: web.Request, identity: Identity, message: _Message) -> web.StreamResponse:
    """Judge, keep and answer one message, as the MLLP listener would."""
    if message.foreign:
        return _hl7(request, HTTPStatus.FORBIDDEN, _turn_away(request, identity, message))
    sender = {"peer": message.peer, "certificate_names": message.certificates, "charset": message.charset}
    frames = await request.app[INTAKE].take(message.raw, transport="http", **sender)  # type: ignore[arg-type]
    # MLLP is silent for a sender that wants no answer; HTTP is not (domain A.5, rule 4).
    answers = tuple(frames) or (request.app[REHEARSAL].receipt((await _report(request, message)).verdict),)
    return _hl7(request, _status(request, answers[-1]), b"".join(answers))


def _turn_away(request: web.Request, identity: Identity, message: _Message) -> bytes:
    """Return AR or CR for a facility's token in another's name. Nothing is kept: the intake never saw it."""
    report = request.app[REHEARSAL].turned_away(message.raw[:HELPED_BYTES], _FOREIGN, charset=message.charset)
    metrics = request.app[CONTEXT].metrics
    metrics.messages.labels("http", report.result, report.effect.value).inc()
    metrics.findings.labels(_FOREIGN).inc()
    _log.warning("http.sender_refused", facility=identity.facility, peer=message.peer, code=_FOREIGN)
    return b"".join(report.answer.frames)


def _status(request: web.Request, answer: bytes) -> HTTPStatus:
    if request.app[CONTEXT].config.http.ack_status == "always200":
        return HTTPStatus.OK
    code, _ = acknowledgement(decode(answer).text.encode())
    return _HAPI[code[1]]


def _hl7(request: web.Request, status: HTTPStatus, body: bytes) -> web.Response:
    """Return an HL7 answer in the request's own content type."""
    kind = request.content_type + (f"; charset={request.charset}" if request.charset else "")
    return web.Response(status=status.value, body=body, headers={"Content-Type": kind})


async def _report(request: web.Request, message: _Message) -> Report:
    """Return what would happen to a message that nothing is kept of."""
    rehearsal, helper = request.app[REHEARSAL], request.app[CONTEXT].helper
    told = {"peer": message.peer, "certificate_names": message.certificates, "charset": message.charset}
    try:
        judge = rehearsal.judge.as_of_now()
        verdict = await helper.run_if_large(len(message.raw), judge.evaluate, message.raw, **told)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - on the wire it would be answered, so it is here (intake)
        return rehearsal.fault(error)
    return rehearsal.report_on(verdict)


async def _validate(request: web.Request, identity: Identity, message: _Message) -> web.StreamResponse:
    """Say what would be answered. Nothing is kept, and no birth changes."""
    language = request.query.get("lang", "id")
    if language not in ("id", "en") or len(request.query) > 1 or set(request.query) - {"lang"}:
        return problem(HTTPStatus.BAD_REQUEST, "the one parameter is lang, id or en", code="QUERY")
    if message.foreign:
        detail = f"this token may try messages of {identity.facility} only (MSH-4)"
        return problem(HTTPStatus.FORBIDDEN, detail, code=_FOREIGN)
    report = await _report(request, message)
    if report.fault is not None:
        _log.error("message.poisoned", bytes=len(message.raw), peer=message.peer, **describe(report.fault))
    return web.json_response(report.as_dict(cast("Language", language)))

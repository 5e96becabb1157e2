"""HTTP with the registry: one session, time-outs, caps, and one exact meaning for everything that can go wrong.

| what happens | submission | asking, checking, fetching |
|---|---|---|
| no connection (DNS, refused, TLS, connect time-out), 429, 503 | Unavailable (after = Retry-After) | the same |
| sent, then time-out, connection lost, other 5xx, unreadable or overlong 2xx | UnknownOutcome | Unavailable |
| 400, 422, 409 DUPLIKAT | Refused (reason = the registry's code) | Protocol |
| 409 for a key that was used with another body, other 4xx, 3xx | Protocol | Protocol |
| 423 | the case is in process; an amendment or act: Unavailable | Protocol |
| 409 TERLAMBAT, SUDAH_TERBIT, SUDAH_BERAKHIR, or 400, 422, to an amendment | TooLate: the case stands | – |
| 401, 403 | Unavailable after a long pause, see `ACCESS_PAUSE_S`; for a wrong clock after a short one | the same |
| 404, 405 | Unavailable after that pause: a wrong address | the same; 404 with the registry's own code: no such case |
| 401, 403, 404, 410 for a certificate's file | – | Document: this one file, and nothing else |

401 and 403 are not the hospital's fault and not for ever, so births wait. 401 refuses our token: nothing is asked of
that origin until the pause is over, because repeated failures lock accounts (domain F 94). 403 forbids one thing: it
waits by itself, and where everything is forbidden the gateway's breaker closes the service. Bodies are never logged,
nor put into errors.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import quote

import aiohttp
import structlog
from yarl import URL

from adapters.dukcapil import codes, replies
from adapters.dukcapil.addresses import DocumentAddresses, Origin, origin_of
from adapters.dukcapil.multipart import parts
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import (
    DocumentAddressError,
    RegistryDocumentError,
    RegistryProtocolError,
    RegistryRefusedError,
    RegistryTooLateError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from gateway.contract.ports import RegistrySettings, SignedAct, Submission

MAX_ANSWER_BYTES = 1024 * 1024
MAX_DOCUMENT_BYTES = 10 * 1024 * 1024
ACCESS_PAUSE_S = 300.0
MAX_RETRY_AFTER_S = 86_400.0
_CONNECT_S = 5.0
_CONNECTIONS = 64

_OK = range(200, 300)
_REDIRECT = range(300, 400)
_SERVER_FAULT = range(500, 600)
_REFUSED = frozenset({400, 422})
_BUSY = frozenset({408, 425, 429, 503})  # 408 and 425: the server says itself that it did not take the request
_WRONG_ADDRESS = frozenset({404, 405})
_NO_ACCESS = frozenset({401, 403})
_NO_SUCH_FILE = frozenset({401, 403, 404, 410})
_NO_TOKEN = 401
_NOT_FOUND, _CONFLICT, _LOCKED = 404, 409, 423

_T = TypeVar("_T")

log = structlog.get_logger("procot.registry")


class _LostError(Exception):
    """The request left and no whole answer came. Never seen outside this module."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    url: str
    status: int
    body: bytes
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS with the registry, which sees our client certificate, and with whoever else keeps its files."""

    ours: ssl.SSLContext | None = None
    others: ssl.SSLContext | None = None


class Client:
    """The registry's HTTP interface (schemas/dukcapil/openapi.json)."""

    def __init__(self, settings: RegistrySettings, *, check_url: str, tls: Tls | None = None) -> None:
        self._settings = settings
        self._base = settings.url.rstrip("/")
        self._check_url = check_url
        self._tls = tls or Tls()
        self._addresses = DocumentAddresses(self._base, settings.document_origins)
        self._ours = frozenset(map(origin_of, (self._base, check_url)))  # named by the operator, not by an answer
        self._session: aiohttp.ClientSession | None = None
        self._closed_until: dict[Origin, dt.datetime] = {}

    # -------------------------------------------------------------------------------------------- calls

    async def submit(self, submission: Submission) -> Outcome:
        """POST the exact signed bytes under the key of case and revision (domain F 96)."""
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": submission.idempotency_key,
            "X-Tanda-Tangan": submission.signature,
        }
        path = f"/{quote(submission.amends, safe='')}/perbaikan" if submission.amends else ""
        try:
            reply = await self._call("POST", f"{self._base}/api/v1/kelahiran{path}", headers, submission.payload)
        except _LostError as error:
            raise RegistryUnknownOutcomeError(
                f"the submission left and no answer came ({error}); ask by our id before sending again"
            ) from error
        return self._amended(reply, submission) if submission.amends else self._submitted(reply, submission)

    async def act(self, act: SignedAct) -> Outcome:
        """POST a withdrawal, correction, revocation or documents under the act's own key (domain C.4)."""
        url = f"{self._base}/api/v1/kelahiran/{quote(act.reference, safe='')}/{codes.ACTS[act.kind]}"
        headers = {"Idempotency-Key": act.key, "X-Tanda-Tangan": act.signature}
        body, kind = (act.payload, "application/json") if not act.scans else parts(act.payload, act.scans)
        try:
            reply = await self._call("POST", url, headers | {"Content-Type": kind}, body)
        except _LostError as error:
            raise RegistryUnknownOutcomeError(f"the {act.kind.value} left and no answer came ({error})") from error
        self._refuse_if_busy(reply)
        if reply.status in _OK:
            return self._accepted(reply, act.birth_id, act.revision)
        refusal = replies.parse_refusal(reply.body)
        if reply.status == _LOCKED:
            raise RegistryUnavailableError("the registry works on another act of this case", after=reply.retry_after)
        if reply.status in _REFUSED or (reply.status == _CONFLICT and refusal.code != codes.KEY_REUSED):
            raise RegistryRefusedError(
                f"the registry refuses the {act.kind.value}", reason=refusal.code or "TANPA_KODE"
            )
        return self._lost_or_off(reply, refusal.code)

    async def ask(self, *, birth_id: str, revision: int, reference: str) -> Outcome:
        """GET a case by the registry's reference or by our id; one it does not have is UNKNOWN, not an error."""
        path = (
            f"/{quote(reference, safe='')}" if reference else f"?id_kasus={quote(birth_id, safe='')}&revisi={revision}"
        )
        reply = await self._get(f"{self._base}/api/v1/kelahiran{path}")
        if reply.status == _NOT_FOUND and replies.parse_refusal(reply.body).code == codes.NOT_FOUND:
            return Outcome(birth_id, revision, RegistryStatus.UNKNOWN, reference=reference)
        self._only_ok(reply)
        outcome = _safe_to_repeat(lambda: replies.parse_case(reply.body, birth_id=birth_id, revision=revision))
        if outcome.birth_id != birth_id:
            raise RegistryProtocolError("the registry answered about another case than the one asked for")
        return self._located(outcome)

    async def check(self, method_path: str, request: Mapping[str, str]) -> replies.CheckAnswer:
        """POST an element check (domain C.2): it changes nothing there, so anything lost is merely unavailable."""
        body = json.dumps(request, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        reply = await self._repeatable("POST", f"{self._check_url}{method_path}", headers, body)
        self._only_ok(reply)
        return _safe_to_repeat(lambda: replies.parse_check(reply.body))

    async def look_up(self, method_path: str, request: Mapping[str, str]) -> replies.Looked:
        """POST a look-up by NIK (domain C.1), which changes nothing there either."""
        body = json.dumps(request, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        reply = await self._repeatable("POST", f"{self._check_url}{method_path}", headers, body)
        self._only_ok(reply)
        return _safe_to_repeat(lambda: replies.parse_look_up(reply.body))

    async def download(self, url: str) -> bytes:
        """GET a certificate file from an allowed origin. Token and client certificate are for the registry's alone.

        Raises DocumentAddressError for any other address, and for a redirect: nothing leaves for it.
        """
        reply = await self._repeatable("GET", str(self._addresses.checked(url)), {}, b"", cap=MAX_DOCUMENT_BYTES)
        if reply.status in _REDIRECT:
            raise DocumentAddressError(f"the certificate's address points elsewhere ({reply.status}); not followed")
        if reply.status in _NO_SUCH_FILE:
            raise RegistryDocumentError(f"the certificate's file is not to be had at its address ({reply.status})")
        self._only_ok(reply)
        return reply.body

    def read_case(self, body: bytes) -> Outcome:
        """Read the body of a callback, with the certificate's address made whole. Raises RegistryProtocolError."""
        return self._located(replies.parse_case(body))

    async def close(self) -> None:
        """Release the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ----------------------------------------------------------------------------- answers to meanings

    def _submitted(self, reply: Reply, submission: Submission) -> Outcome:
        self._refuse_if_busy(reply)
        if reply.status in _OK:
            return self._accepted(reply, submission.birth_id, submission.revision)
        refusal = replies.parse_refusal(reply.body)
        if reply.status == _LOCKED:
            # The office works on this birth already; the reference tells on what.
            return Outcome(
                submission.birth_id, submission.revision, RegistryStatus.IN_PROCESS, reference=refusal.reference
            )
        if reply.status in _REFUSED or (reply.status == _CONFLICT and refusal.code == codes.DUPLICATE):
            reason = refusal.code or f"HTTP_{reply.status}"
            where = f" at {', '.join(refusal.pointers)}" if refusal.pointers else ""
            raise RegistryRefusedError(f"the registry refuses the submission: {reason}{where}", reason=reason)
        return self._lost_or_off(reply, refusal.code)

    def _amended(self, reply: Reply, submission: Submission) -> Outcome:
        """Read the answer to a perbaikan: where it is not taken, the case goes on as it was."""
        self._refuse_if_busy(reply)
        if reply.status in _OK:
            return self._accepted(reply, submission.birth_id, submission.revision)
        refusal = replies.parse_refusal(reply.body)
        if reply.status in _REFUSED or (reply.status == _CONFLICT and refusal.code in codes.TOO_LATE):
            reason = refusal.code or f"HTTP_{reply.status}"
            raise RegistryTooLateError(f"the registry does not take the amendment: {reason}", reason=reason)
        if reply.status == _LOCKED:
            raise RegistryUnavailableError("the registry works on another act of this case", after=reply.retry_after)
        return self._lost_or_off(reply, refusal.code)

    def _lost_or_off(self, reply: Reply, code: str) -> NoReturn:
        if reply.status in _SERVER_FAULT:
            raise RegistryUnknownOutcomeError(
                f"the registry failed ({reply.status}) on what was sent; ask by our id before sending again"
            )
        if reply.status in _WRONG_ADDRESS and code != codes.NOT_FOUND:
            self._pause(reply, code)
        raise _off_contract(reply, code)

    def _accepted(self, reply: Reply, birth_id: str, revision: int) -> Outcome:
        try:
            outcome = replies.parse_case(reply.body, birth_id=birth_id, revision=revision)
        except RegistryProtocolError as error:
            raise RegistryUnknownOutcomeError(
                f"the registry took the submission ({reply.status}) and its answer cannot be read; ask by our id"
            ) from error
        if (outcome.birth_id, outcome.revision) != (birth_id, revision):
            raise RegistryProtocolError("the registry answered about another case than the one submitted")
        return self._located(outcome)

    def _only_ok(self, reply: Reply) -> None:
        self._refuse_if_busy(reply)
        if reply.status in _SERVER_FAULT:
            raise RegistryUnavailableError(f"the registry failed ({reply.status})")
        if reply.status not in _OK:
            code = replies.parse_refusal(reply.body).code
            if reply.status in _WRONG_ADDRESS:
                self._pause(reply, code)
            raise _off_contract(reply, code)

    def _refuse_if_busy(self, reply: Reply) -> None:
        if reply.status in _BUSY:
            raise RegistryUnavailableError(f"the registry is busy ({reply.status})", after=reply.retry_after)
        if reply.status in _NO_ACCESS:
            self._pause(reply, replies.parse_refusal(reply.body).code)

    def _pause(self, reply: Reply, code: str) -> NoReturn:
        """Leave the registry alone for a while: for this call, or for all where our token is refused (401)."""
        log.error("registry.access_refused", code=code or f"HTTP_{reply.status}", step="registry")
        if reply.status == _NO_TOKEN and code not in {codes.SIGNATURE_INVALID, codes.TIME_INVALID}:
            self._closed_until[origin_of(reply.url)] = self._settings.clock() + dt.timedelta(seconds=ACCESS_PAUSE_S)
        if code == codes.TIME_INVALID:  # a clock is set right in a moment, and a wrong one locks no account
            raise RegistryUnavailableError(f"the registry refuses the time of our request ({code}); check the clock")
        raise RegistryUnavailableError(
            f"the registry does not let us in ({code or reply.status}); check registry.url, token and keys",
            after=ACCESS_PAUSE_S,
        )

    def _located(self, outcome: Outcome) -> Outcome:
        """Make the certificate's address whole: the registry may write it relative to its own (RFC 3986)."""
        if outcome.certificate is None:
            return outcome
        url = self._addresses.whole(outcome.certificate.document_url)
        return replace(outcome, certificate=replace(outcome.certificate, document_url=url))

    # ------------------------------------------------------------------------------------------- transport

    async def _get(self, url: str) -> Reply:
        return await self._repeatable("GET", url, {}, b"")

    async def _repeatable(
        self, method: str, url: str, headers: dict[str, str], body: bytes, *, cap: int = MAX_ANSWER_BYTES
    ) -> Reply:
        try:
            return await self._call(method, url, headers, body, cap=cap)
        except _LostError as error:
            raise RegistryUnavailableError(f"the registry's answer was lost ({error})") from error

    async def _call(
        self, method: str, url: str, headers: dict[str, str], body: bytes, *, cap: int = MAX_ANSWER_BYTES
    ) -> Reply:
        self._stay_away_if_closed(url)
        headers = {"Accept-Encoding": "identity", **self._identity(url), **headers}
        try:
            async with self._opened().request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=body or None,
                allow_redirects=False,
                ssl=self._seen_by(url),
            ) as response:
                return Reply(url, response.status, await _capped(response, cap), self._retry_after(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            # Nothing was sent: these are raised before a connection exists.
            raise RegistryUnavailableError(f"the registry cannot be reached ({type(error).__name__})") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _LostError(type(error).__name__) from error

    def _identity(self, url: str) -> dict[str, str]:
        if origin_of(url) != origin_of(self._base):
            return {}
        now = self._settings.clock().astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        headers = {"X-Waktu": now}
        if self._settings.token:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        return headers

    def _seen_by(self, url: str) -> ssl.SSLContext | bool:
        """Return the TLS context for an address: our client certificate is shown where the operator sent us alone."""
        return (self._tls.ours if origin_of(url) in self._ours else self._tls.others) or True

    def _stay_away_if_closed(self, url: str) -> None:
        until = self._closed_until.get(origin_of(url))
        # More than the whole pause is left where the clock was put back since: then it says nothing.
        if until is not None and 0 < (left := (until - self._settings.clock()).total_seconds()) <= ACCESS_PAUSE_S:
            raise RegistryUnavailableError(
                "the registry refused our access a moment ago; not asked again yet", after=left
            )

    def _opened(self) -> aiohttp.ClientSession:
        """Return the one session; made here because it belongs to the running loop."""
        if self._session is None:
            connect = min(_CONNECT_S, self._settings.timeout_s / 2)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(
                    total=self._settings.timeout_s, connect=self._settings.timeout_s / 2, sock_connect=connect
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "procot", "Accept": "application/json, application/pdf"},
            )
        return self._session

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        """Read Retry-After, seconds or a date (RFC 9110 section 10.2.3), at most a day."""
        text = response.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text[:9]), MAX_RETRY_AFTER_S)
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment.astimezone(dt.UTC) - self._settings.clock()).total_seconds()
        return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


async def _capped(response: aiohttp.ClientResponse, cap: int) -> bytes:
    parts = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        parts += chunk
        if len(parts) > cap:
            raise _LostError(f"answer longer than {cap} bytes")
    return bytes(parts)


def _safe_to_repeat(read: Callable[[], _T]) -> _T:
    """Take an unreadable answer to a question for none: it is asked again."""
    try:
        return read()
    except RegistryProtocolError as error:
        raise RegistryUnavailableError("the registry's answer cannot be read") from error


def _off_contract(reply: Reply, code: str) -> RegistryProtocolError:
    return RegistryProtocolError(
        f"the registry answered {reply.status} {code or 'without a code'}: not in its contract"
    )

"""The registry sandbox as an HTTP server: routes, access, misbehaviour at the door, start and stop.

It speaks schemas/dukcapil/openapi.json and can run in the gateway's process or alone. `/sandbox/...` steers it and
shows its records without anything about people; that part has no password, so the sandbox belongs on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hmac
import json
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import BodyPartReader, web

from adapters.dukcapil.keyring import KeyRing
from adapters.dukcapil.multipart import MANIFEST
from adapters.dukcapil.sandbox import answers, people
from adapters.dukcapil.sandbox.behaviour import Behaviour, Conduct
from adapters.dukcapil.sandbox.desk import Desk
from adapters.dukcapil.sandbox.keys import own_key, thumbprint
from adapters.dukcapil.sandbox.messenger import Messenger
from adapters.dukcapil.sandbox.records import Records
from adapters.dukcapil.signature import jwk
from gateway.errors import ConfigError, RegistryUnavailableError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from adapters.dukcapil.sandbox.records import Case

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY_BYTES = 1024 * 1024
MAX_FILES_BYTES = 32 * 1024 * 1024
WINDOW_S = 300  # X-Waktu, domain C.4
_MAX_REVISION = 1_000_000
_RECORDS_PAUSE_S = 0.5
log = structlog.get_logger("procot.sandbox")
_GARBAGE = "<html><body>502 Bad Gateway (not really)</body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySandboxSettings:
    """How a sandbox is opened. An empty `token` or `gateway_jwks` lets nobody in: absence is refusal."""

    directory: Path
    gateway_jwks: str  # file or http(s) URL of the gateway's public keys
    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    office: str = "3510"
    work_seconds: float = 0.0  # to work a case through all its steps; 0: issued with the answer
    callbacks: bool = True
    callback_url: str = ""  # may be set later by RegistrySandbox.send_callbacks_to
    check_user: str = ""  # with check_password, what the element check wants; both empty: anything that is there
    check_password: str = field(default="", repr=False)
    behaviour: Behaviour = field(default_factory=Behaviour)
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)


async def open_sandbox(settings: RegistrySandboxSettings | None = None, **values: Any) -> RegistrySandbox:  # noqa: ANN401
    """Return a sandbox with its records and keys at hand, not listening yet.

    A caller that knows us by the entry point only gives the settings' fields as `values`; `behaviour` may then be a
    mapping. Raises ConfigError, KeyMissingError.
    """
    return RegistrySandbox(settings or _settings(values))


def _settings(values: dict[str, Any]) -> RegistrySandboxSettings:
    behaviour = values.get("behaviour")
    if isinstance(behaviour, Mapping):
        values = values | {"behaviour": Behaviour().changed(behaviour)}
    try:
        return RegistrySandboxSettings(**values)
    except TypeError as error:  # names the unknown or missing field
        raise ConfigError(f"registry sandbox: {error}") from error


class RegistrySandbox:
    """A registry one can run."""

    def __init__(self, settings: RegistrySandboxSettings) -> None:
        self._settings = settings
        self.conduct = Conduct(settings.behaviour)
        self.logins = 0  # calls of the element check and the look-up that were looked at
        self._records = Records(settings.directory / "registry.sqlite3")
        self._key = own_key(settings.directory / "registry-key.pem")
        self._kid = thumbprint(self._key.public_key())
        self._gateway_keys = KeyRing(settings.gateway_jwks)
        self._messenger = Messenger(
            self._records,
            self.conduct,
            url=settings.callback_url,
            key=self._key,
            kid=self._kid,
            office=settings.office,
            clock=settings.clock,
        )
        self._desk = Desk(
            self._records,
            self.conduct,
            office=settings.office,
            work_seconds=settings.work_seconds,
            callbacks=settings.callbacks,
            clock=settings.clock,
            told=self._messenger.wake,
        )
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # -------------------------------------------------------------------------------------- start and stop

    async def start(self) -> str:
        """Listen, work, and return the base URL."""
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, self._settings.host, self._settings.port).start()
        self._tasks = [self._spawn(self._desk.run), self._spawn(self._messenger.run)]
        host, port = runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening and working; everything is in the records. A second call does nothing."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._records.close()

    def cases(self) -> list[dict[str, Any]]:
        """Return every case's ids, status and akta number: what GET /sandbox/records shows, without people."""
        return self._records.overview()

    def send_callbacks_to(self, url: str) -> None:
        """Set the gateway's callback address; what waited for it is sent now."""
        self._messenger.send_to(url)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(_insist(work))
        task.add_done_callback(_mourn)
        return task

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._misbehave, self._authorise], client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/api/v1/kelahiran", self._submit),
                web.get("/api/v1/kelahiran", self._ask_by_key),
                web.get("/api/v1/kelahiran/{no}", self._ask),
                web.get("/api/v1/kelahiran/{no}/dokumen", self._documents),
                web.post("/api/v1/kelahiran/{no}/perbaikan", self._amend),
                web.post("/api/v1/kelahiran/{no}/pembatalan", self._act),
                web.post("/api/v1/kelahiran/{no}/pembetulan", self._act),
                web.post("/api/v1/kelahiran/{no}/berkas", self._attach),
                web.get("/{under}/{number}.pdf", self._document),
                web.post("/dukcapil/get_json/{institution}/CALL_VERIFY_BY_ELEMEN", self._check),
                web.post("/dukcapil/get_json/{institution}/CALL_NIK", self._look_up),
                web.get("/.well-known/jwks.json", self._jwks),
                web.get("/sandbox/behaviour", self._show_behaviour),
                web.put("/sandbox/behaviour", self._set_behaviour),
                web.get("/sandbox/records", self._show_records),
            ]
        )
        return app

    # ---------------------------------------------------------------------------------------- at the door

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(("/sandbox/", "/.well-known/")):
            return await handler(request)
        now, dice = self.conduct.now, self.conduct.dice
        if now.latency_ms:
            await asyncio.sleep(now.latency_ms / 1000)
        if failure := self._failure(now, check=request.path.startswith("/dukcapil/")):
            return failure
        response = await handler(request)
        if dice.falls(now.garbage_rate):
            response = web.Response(status=response.status, text=_GARBAGE, content_type="text/html")
        if dice.falls(now.lose_answer_rate) and request.transport is not None:
            request.transport.abort()  # the work is done and committed; the caller cannot know
        return response

    def _failure(self, now: Behaviour, *, check: bool) -> web.Response | None:
        if now.outage or (check and now.check_outage):
            return answers.problem(503, "SIBUK")
        if now.throttle_s:
            response = answers.problem(429, "SIBUK")
            response.headers["Retry-After"] = str(now.throttle_s)
            return response
        return answers.problem(500, "GALAT") if self.conduct.dice.falls(now.error_rate) else None

    @web.middleware
    async def _authorise(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/api/") or "under" in request.match_info:
            given = request.headers.get("Authorization", "").encode()
            wanted = f"Bearer {self._settings.token}".encode()
            if not self._settings.token or not hmac.compare_digest(given, wanted):
                return answers.problem(401, "TOKEN_TIDAK_SAH")
        return await handler(request)

    async def _unproven(self, request: web.Request, raw: bytes) -> web.Response | None:
        """Return why the sender of `raw` is not believed, or None (domain C.4, request signature)."""
        try:
            sent = dt.datetime.fromisoformat(request.headers.get("X-Waktu", ""))
            off = abs((self._settings.clock() - sent).total_seconds())
        except (ValueError, TypeError):  # no time, or one without a zone
            return answers.problem(401, "WAKTU_TIDAK_SAH")
        if off > WINDOW_S:
            return answers.problem(401, "WAKTU_TIDAK_SAH")
        try:
            await self._gateway_keys.verify(request.headers.get("X-Tanda-Tangan", ""), raw)
        except SignatureError:
            return answers.problem(401, "TANDA_TANGAN_TIDAK_SAH")
        except RegistryUnavailableError:
            return answers.problem(503, "SIBUK")
        return None

    # ----------------------------------------------------------------------------------------------- births

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if unproven := await self._unproven(request, raw):
            return unproven
        body = _json_object(raw)
        if body is None or not _is_key(body, request.headers.get("Idempotency-Key", "")):
            return answers.problem(400, "ISI_TIDAK_SAH")
        status, text = self._desk.take(raw, body)
        return web.Response(status=status, text=text, content_type="application/json")

    async def _ask_by_key(self, request: web.Request) -> web.StreamResponse:
        revision = request.query.get("revisi", "")
        if not (revision.isascii() and revision.isdigit() and int(revision[:9]) <= _MAX_REVISION):
            return answers.problem(400, "ISI_TIDAK_SAH")
        case = self._records.find_by_key(request.query.get("id_kasus", ""), int(revision))
        stale = self._is_stale()
        return self._shown(None if case and stale and self._desk.is_young(case) else case, stale=stale)

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        return self._shown(self._case(request), stale=self._is_stale())

    async def _documents(self, request: web.Request) -> web.StreamResponse:
        case = self._case(request)
        if case is None or not case.number:
            return answers.problem(404, "TIDAK_DITEMUKAN")
        return web.json_response(answers.documents(case, self.conduct.now.files_under))

    async def _amend(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if unproven := await self._unproven(request, raw):
            return unproven
        body = _json_object(raw)
        if body is None or not _is_key(body, request.headers.get("Idempotency-Key", "")):
            return answers.problem(400, "ISI_TIDAK_SAH")
        return self._on_case(request, lambda case: self._desk.amend(case, raw, body))

    async def _act(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if unproven := await self._unproven(request, raw):
            return unproven
        return self._acted(request, raw, None)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        """Take documents: the signed list first, then one part a file, named by its SHA-256."""
        try:
            found = await _parts(request)
        except ValueError:  # not multipart, or no list in it
            return answers.problem(400, "ISI_TIDAK_SAH")
        raw = found.pop(MANIFEST, b"")
        if unproven := await self._unproven(request, raw):
            return unproven
        return self._acted(request, raw, found)

    def _acted(self, request: web.Request, raw: bytes, files: dict[str, bytes] | None) -> web.Response:
        key, kind = request.headers.get("Idempotency-Key", ""), request.path.rpartition("/")[2].upper()
        body = _json_object(raw)
        if body is None or not key or body.get("tindakan") != kind or not isinstance(body.get("revisi"), int):
            return answers.problem(400, "ISI_TIDAK_SAH")
        return self._on_case(request, lambda case: self._desk.act(case, kind, key, raw, files))

    def _on_case(self, request: web.Request, work: Callable[[Case], tuple[int, str]]) -> web.Response:
        if self.conduct.now.no_acts:
            return answers.problem(501, "TIDAK_TERSEDIA")
        case = self._case(request)
        if case is None:
            return answers.problem(404, "TIDAK_DITEMUKAN")
        status, text = work(case)
        return web.Response(status=status, text=text, content_type="application/json")

    async def _document(self, request: web.Request) -> web.StreamResponse:
        number, now = request.match_info["number"], self.conduct.now
        pdf = self._records.document(number)
        if pdf is None or request.match_info["under"] != now.files_under:
            return answers.problem(404, "TIDAK_DITEMUKAN")
        if zlib.crc32(number.encode()) % 1000 < now.dead_file_rate * 1000:
            return answers.problem(now.dead_file_status or 404, "TIDAK_DITEMUKAN")
        return web.Response(body=pdf, content_type="application/pdf")

    def _case(self, request: web.Request) -> Case | None:
        number = answers.number_of(request.match_info["no"], self._settings.office)
        return None if number is None else self._records.find(number)

    def _is_stale(self) -> bool:
        return self.conduct.dice.falls(self.conduct.now.stale_rate)

    def _shown(self, case: Case | None, *, stale: bool) -> web.Response:
        if case is None:
            return answers.problem(404, "TIDAK_DITEMUKAN")
        text = answers.dumps(self._desk.stale(case) if stale else self._desk.shown(case))
        return web.Response(text=text, content_type="application/json")

    # ---------------------------------------------------------------------------------------- element check

    async def _check(self, request: web.Request) -> web.StreamResponse:
        """Answer as Dukcapil does: always 200, the reason inside (domain 0.14)."""
        query = _query(await request.read())
        return web.json_response(self._check_refused(query) or people.answer_check(query))

    async def _look_up(self, request: web.Request) -> web.StreamResponse:
        """Answer a look-up by NIK in the same style (domain C.1)."""
        query = _query(await request.read())
        card = f"{query.get('NIK', '')[:6]}1405189001"
        return web.json_response(self._check_refused(query) or people.answer_look_up(query, card))

    def _check_refused(self, query: dict[str, str]) -> dict[str, object] | None:
        self.logins += 1
        user, password = query.get("USER_ID", ""), query.get("PASSWORD", "")
        wanted = (self._settings.check_user, self._settings.check_password)
        if not (user and password and "IP_USER" in query):
            return people.reason("user, password dan IP tidak boleh kosong")
        if self.conduct.now.login_refused or (any(wanted) and (user, password) != wanted):
            return people.reason("Login gagal")
        if self.conduct.now.quota_exhausted:
            return people.reason("Kuota akses hari ini telah habis")
        if not query.get("TRESHOLD", "100").isdecimal():
            return people.reason("Parameter tidak valid")
        return None

    # --------------------------------------------------------------------------------------------- steering

    async def _jwks(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"keys": [jwk(self._key.public_key(), self._kid)]})

    async def _show_behaviour(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self.conduct.now.as_dict())

    async def _set_behaviour(self, request: web.Request) -> web.StreamResponse:
        values = _json_object(await request.read())
        try:
            self.conduct.change({} if values is None else values)
        except ConfigError as error:
            return web.json_response({"kode": "ISI_TIDAK_SAH", "pesan": str(error)}, status=400)
        if values is None:
            return answers.problem(400, "ISI_TIDAK_SAH")
        return web.json_response(self.conduct.now.as_dict())

    async def _show_records(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"items": self._records.overview()})


async def _insist(work: Callable[[], Awaitable[None]]) -> None:
    """Work for ever. Records that can't be written, as on a full disk, can be once there is room."""
    while True:
        try:
            await work()
        except sqlite3.Error as error:
            log.warning("sandbox.records_unavailable", code=type(error).__name__)
            await asyncio.sleep(_RECORDS_PAUSE_S)


def _mourn(task: asyncio.Task[None]) -> None:
    """Say that a part of the sandbox died; it would otherwise only be silent until `stop`."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("sandbox.stopped_working", code=type(error).__name__)


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw.decode())  # UTF-8 only, though json would take more
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def _parts(request: web.Request) -> dict[str, bytes]:
    """Return the parts of a multipart body by name. Raises ValueError."""
    found: dict[str, bytes] = {}
    reader = await request.multipart()
    total = 0
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader) or not part.name:
            raise ValueError("a part without a name")
        found[part.name] = bytes(await part.read())
        total += len(found[part.name])
        if total > MAX_FILES_BYTES:
            raise ValueError("too many bytes")
    return found


def _query(raw: bytes) -> dict[str, str]:
    """Return a request of the check with its keys in capitals; the right spelling of TRESHOLD is taken too."""
    body = _json_object(raw) or {}
    query = {key.upper(): value.strip() for key, value in body.items() if isinstance(value, str)}
    if "THRESHOLD" in query:
        query.setdefault("TRESHOLD", query.pop("THRESHOLD"))
    return query


def _is_key(body: dict[str, Any], key: str) -> bool:
    """Tell whether the document names its case and revision, and the key says the same (domain F 96)."""
    case_id, revision = body.get("id_kasus"), body.get("revisi")
    if not isinstance(case_id, str) or not case_id or type(revision) is not int or not 1 <= revision <= _MAX_REVISION:
        return False
    return key == f"{case_id}:{revision}"

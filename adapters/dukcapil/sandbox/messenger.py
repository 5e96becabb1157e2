"""Callbacks to the gateway: signed when they leave, at least once, with back-off until accepted or given up."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from typing import TYPE_CHECKING

import aiohttp
import structlog

from adapters.dukcapil.signature import sign_detached

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from adapters.dukcapil.sandbox.behaviour import Conduct
    from adapters.dukcapil.sandbox.records import Callback, Records

MAX_TRIES = 50
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 60.0
_AT_ONCE = 32
_TIMEOUT_S = 10.0
_OK = range(200, 300)

log = structlog.get_logger("procot.sandbox")


class Messenger:
    """Sends what the records hold for the gateway. `url` may be set later: until then all waits."""

    def __init__(  # noqa: PLR0913 - what it reads, and as whom it signs
        self,
        records: Records,
        conduct: Conduct,
        *,
        url: str,
        key: Ed25519PrivateKey,
        kid: str,
        office: str,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._records = records
        self._conduct = conduct
        self._url = url
        self._key = key
        self._kid = kid
        self._office = office
        self._clock = clock
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look at the records now."""
        self._wake.set()

    def send_to(self, url: str) -> None:
        """Set the address callbacks go to."""
        self._url = url
        self.wake()

    async def run(self) -> None:
        """Send for ever. What is under way when this is cancelled is sent again by the next process."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            try:
                while True:
                    self._wake.clear()
                    self._start_due(session)
                    await self._rest()
            finally:
                sending = list(self._sending)
                for task in sending:
                    task.cancel()
                await asyncio.gather(*sending, return_exceptions=True)

    def _start_due(self, session: aiohttp.ClientSession) -> None:
        free = _AT_ONCE - len(self._sending)
        if not self._url or free <= 0:
            return
        now = time.time()
        for callback in self._records.due_callbacks(now, free):
            self._records.callback_taken(callback.id, until=now + 2 * _TIMEOUT_S)
            task = asyncio.create_task(self._deliver(session, callback))
            self._sending.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._wake.set()

    async def _rest(self) -> None:
        _, due = self._records.next_due()
        wait = None
        if due is not None and self._url and len(self._sending) < _AT_ONCE:
            wait = max(due - time.time(), 0.0)
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            return  # something is due

    async def _deliver(self, session: aiohttp.ClientSession, callback: Callback) -> None:
        accepted = await self._post(session, callback.body)
        if self._conduct.now.duplicate_callbacks:
            accepted = await self._post(session, callback.body) or accepted
        due = None
        if not accepted and callback.tries + 1 < MAX_TRIES:
            due = time.time() + min(_FIRST_WAIT_S * 2**callback.tries, _LONGEST_WAIT_S)
        elif not accepted:
            log.warning("sandbox.callback_given_up", code=str(callback.id))
        self._records.callback_tried(callback.id, due=due)

    def _signature(self, body: bytes, now: dt.datetime) -> str:
        at, token_id = int(now.timestamp()), str(uuid.uuid4())
        return sign_detached(body, key=self._key, kid=self._kid, issued_at=at, audience=self._office, token_id=token_id)

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        now = self._clock().astimezone(dt.UTC)
        headers = {
            "Content-Type": "application/json",
            # X-Waktu is outside of the signature; iat inside of it says the same second.
            "X-Waktu": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "X-Tanda-Tangan": self._signature(body, now),
        }
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status in _OK
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("sandbox.callback_failed", code=type(error).__name__)
            return False

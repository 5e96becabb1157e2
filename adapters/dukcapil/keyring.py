"""Public keys by kid from a JWKS file or URL. A key that is withdrawn there is believed no longer than `BELIEVED_S`.

A file is read again after `FILE_S`; a URL when its keys are a minute old or a kid is new, never more often than once a
minute, so that forged kids cannot make us hammer it. Keys that cannot be renewed are used on, but not beyond
`BELIEVED_S`: then nothing can be believed, and the registry sends again later.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from adapters.dukcapil.signature import UnknownKeyError, Verified, parse_jwks, verify_detached
from gateway.errors import RegistryUnavailableError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_BYTES = 256 * 1024
REFETCH_S = 60.0
BELIEVED_S = 240.0  # with a fetch's time it stays below the five minutes after which no withdrawn key may count
FILE_S = 2.0
RETRY_S = 1.0  # after a fetch that failed while there are no keys at all
_RETRY_OLD_S = 15.0  # the same while there are: who waits for it has a key already
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class KeyRing:
    """The keys of one signer. `source` is a path or an http(s) URL; an empty one holds no keys: all is refused."""

    def __init__(self, source: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._read_at = float("-inf")  # when the keys were last seen where they are published
        self._not_before = float("-inf")
        self._failed = False
        self._lock = asyncio.Lock()

    async def verify(self, signature: str, body: bytes) -> Verified:
        """Check a detached signature with the keys there are, reading them anew for a kid not seen yet.

        Raises SignatureError; RegistryUnavailableError where the keys cannot be had just now.
        """
        if not self._source:
            raise SignatureError("no key set is configured: no signature can be believed")
        async with self._lock:  # one fetch for all that wait for the same keys
            await self._look_again()
        try:
            return verify_detached(signature, body, self._keys)
        except UnknownKeyError:
            async with self._lock:
                await self._renew()
        return verify_detached(signature, body, self._keys)

    @property
    def _age_s(self) -> float:
        return self._monotonic() - self._read_at

    async def _look_again(self) -> None:
        """Read keys anew that may have been withdrawn since; use old ones on for a while where that fails."""
        if not self._keys or self._age_s < (REFETCH_S if self._remote else FILE_S):
            return
        try:
            await self._renew()
        except RegistryUnavailableError:
            if self._age_s >= (BELIEVED_S if self._remote else FILE_S):
                raise

    @property
    def _remote(self) -> bool:
        return self._source.startswith(("http://", "https://"))

    async def _renew(self) -> None:
        if self._remote:
            await self._renew_from_url()
        else:
            self._renew_from_file(Path(self._source))

    def _renew_from_file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise RegistryUnavailableError(f"the key set {path} cannot be read ({error.strerror})") from error
        if len(text) > MAX_BYTES:
            raise SignatureError(f"the key set {path} is longer than {MAX_BYTES} bytes")
        self._keys, self._read_at = parse_jwks(text), self._monotonic()

    async def _renew_from_url(self) -> None:
        now = self._monotonic()
        if now < self._not_before and self._failed:
            raise RegistryUnavailableError(f"the key set at {self._source} could not be fetched a moment ago")
        if now < self._not_before:
            return
        self._not_before, self._failed = now + (_RETRY_OLD_S if self._keys else RETRY_S), True
        try:
            self._keys, self._read_at = parse_jwks(await self._fetch()), now
        except SignatureError as error:  # a page of its web server, perhaps: no proof that a callback is forged
            raise RegistryUnavailableError(f"the key set at {self._source} cannot be read ({error})") from error
        self._not_before, self._failed = now + REFETCH_S, False

    async def _fetch(self) -> bytes:
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(self._source, allow_redirects=False) as response,
            ):
                response.raise_for_status()
                body = await response.content.read(MAX_BYTES)
                while chunk := await response.content.read(MAX_BYTES):
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise SignatureError(f"the key set at {self._source} is longer than {MAX_BYTES} bytes")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RegistryUnavailableError(
                f"the key set at {self._source} cannot be fetched ({type(error).__name__})"
            ) from error
        return body

"""Public keys by kid from a JWKS file or URL, read when first needed and again when a new kid appears.

A file is read again when it changed; a URL at most once a minute, so that forged kids cannot make us hammer it.
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
RETRY_S = 1.0  # after a fetch that failed
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class KeyRing:
    """The keys of one signer. `source` is a path or an http(s) URL; an empty one holds no keys: all is refused."""

    def __init__(self, source: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._not_before = float("-inf")
        self._failed = False
        self._lock = asyncio.Lock()

    async def verify(self, signature: str, body: bytes) -> Verified:
        """Check a detached signature with the keys there are, reading them anew for a kid not seen yet.

        Raises SignatureError; RegistryUnavailableError where the keys cannot be had just now.
        """
        try:
            return verify_detached(signature, body, self._keys)
        except UnknownKeyError:
            async with self._lock:  # one fetch for all that wait for the same new key
                await self._renew()
        return verify_detached(signature, body, self._keys)

    async def _renew(self) -> None:
        if not self._source:
            raise SignatureError("no key set is configured: no signature can be believed")
        if self._source.startswith(("http://", "https://")):
            await self._renew_from_url()
        else:
            self._renew_from_file(Path(self._source))

    def _renew_from_file(self, path: Path) -> None:
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self._stamp:
                self._keys, self._stamp = parse_jwks(path.read_bytes()[: MAX_BYTES + 1]), stamp
        except OSError as error:
            raise RegistryUnavailableError(f"the key set {path} cannot be read ({error.strerror})") from error

    async def _renew_from_url(self) -> None:
        now = self._monotonic()
        if now < self._not_before and self._failed:
            raise RegistryUnavailableError(f"the key set at {self._source} could not be fetched a moment ago")
        if now < self._not_before:
            return
        self._not_before, self._failed = now + RETRY_S, True
        self._keys = parse_jwks(await self._fetch())
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

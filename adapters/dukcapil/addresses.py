"""Which addresses a certificate may be fetched from: the registry's own origin, and those that the operator named.

The address comes from outside with the outcome, so it is a stranger's word: whoever could write one would have the
gateway call any machine of its network. What is not plainly an allowed origin (RFC 6454: scheme, host and port) is
refused before a name is looked up, and what two readers of URLs read differently is no address.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from yarl import URL

from gateway.errors import ConfigError, DocumentAddressError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CHARACTERS = 2048
_PLAIN = re.compile(r"[!-;=?-~]+")  # visible ASCII without < and >; a backslash is looked for apart
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\]")  # no trailing dot, no zone, no percent sign
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]  # scheme, host, port


@dataclass(frozen=True, slots=True)
class DocumentAddresses:
    """The origins that files are fetched from. The registry's own is always one."""

    base: str
    more: Iterable[str] = ()
    _allowed: frozenset[Origin] = field(init=False)

    def __post_init__(self) -> None:
        """Read the origins. Raises ConfigError naming the one that is none."""
        named = frozenset(map(_named, self.more))
        object.__setattr__(self, "_allowed", named | {origin_of(self.base)})

    def whole(self, url: str) -> str:
        """Return the address as the registry means it: a path is relative to its own (RFC 3986), the rest as it came.

        Nothing is mended: `https:/x` and `///x` are no addresses, and are refused when they are to be fetched.
        """
        if _SCHEME.match(url):
            return url
        return f"{urlsplit(self.base).scheme}:{url}" if url.startswith("//") else urljoin(f"{self.base}/", url)

    def checked(self, url: str) -> URL:
        """Return the address to fetch. Raises DocumentAddressError where it lies outside of what is allowed."""
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise DocumentAddressError(f"the certificate's address is refused: {error}; nothing was fetched") from None
        if origin not in self._allowed:
            raise DocumentAddressError(
                "the certificate's address is neither the registry's own nor in registry.document_origins; nothing "
                "was fetched"
            )
        return URL(url, encoded=True).with_fragment(None)


def origin_of(url: str) -> Origin:
    """Return scheme, host and port. Raises ValueError saying why this is no plain http(s) address."""
    if len(url) > MOST_CHARACTERS or not _PLAIN.fullmatch(url) or "\\" in url:
        raise ValueError("it is too long, or has blanks, control or non-ASCII characters in it")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not url.lower().startswith(f"{parts.scheme}://"):
        raise ValueError("it is no http or https address")
    if "@" in parts.netloc:
        raise ValueError("it names a user")
    host = parts.netloc.lower()
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    name = name if colon else host
    if not _HOST.fullmatch(name) or (colon and not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535)):  # noqa: PLR2004 - the highest TCP port
        raise ValueError("its host or port cannot be read")
    read = URL(url, encoded=True)
    if (read.scheme, (read.raw_host or "").lower(), read.port) != (
        parts.scheme,
        parts.hostname,
        parts.port or _PORTS[parts.scheme],
    ):
        raise ValueError("its host or port can be read in two ways")
    return parts.scheme, name, int(port) if colon else _PORTS[parts.scheme]


def _named(text: str) -> Origin:
    """Read an origin of the configuration: `https://files.example:8443`, over plain http on this machine alone."""
    key = f"registry.document_origins = {text!r}"
    try:
        origin = origin_of(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}; write https://HOST or https://HOST:PORT") from None
    parts = urlsplit(text)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{key}: write https://HOST or https://HOST:PORT, without a path")
    if origin[0] != "https" and not is_loopback(origin[1]):
        raise ConfigError(f"{key}: certificates are fetched over https; http is for this machine alone")
    return origin


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its address; a name other than localhost may be any."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

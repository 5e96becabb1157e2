"""Our keys: Ed25519 signing keys and the index key, as files made on first use with mode 0600.

A key file is named by its key id, the RFC 7638 thumbprint of its public half, so a name never lies. The newest key
signs; all of them stay in the JWKS, so that old signatures can be checked. When a key was made stands in its file,
since file times are coarse and a restored backup loses them. Private halves never leave this module.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gateway.errors import KeyMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_INDEX_KEY_BYTES = 32
_MADE_AT = re.compile(rb"^made-at: (\d{1,19})$", re.MULTILINE)  # RFC 7468 section 5.2 allows text before the key


def b64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One Ed25519 key. `public` is its 32 raw bytes, `made_at` nanoseconds since the epoch."""

    key_id: str
    public: bytes
    made_at: int
    _private: Ed25519PrivateKey

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id}>"


class Keyring:
    """The keys in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: list[SigningKey] = []
        self._index_key = b""

    def open(self) -> None:
        """Read the keys, making the first ones where there are none. Raises KeyMissingError."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(self._directory):
                self._keys = sorted(map(_read, self._directory.glob("sign-*.pem")), key=lambda k: (k.made_at, k.key_id))
                if not self._keys:
                    self.new()
                self._index_key = self._read_index_key()
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise KeyMissingError(
                f"the keys in {self._directory} cannot be read ({type(error).__name__}); restore them from the backup"
            ) from error

    def new(self) -> SigningKey:
        """Make a key that signs from now on; the older ones stay for checking."""
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        path = self._directory / f"sign-{thumbprint(public)}.pem"
        made_at = max(time.time_ns(), *(key.made_at + 1 for key in self._keys), 0)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(path, b"made-at: %d\n%b" % (made_at, pem))
        key = _read(path)
        self._keys.append(key)
        return key

    @property
    def signing(self) -> SigningKey:
        """The key that signs. Raises KeyMissingError where the ring was not opened."""
        if not self._keys:
            raise KeyMissingError("no signing key is loaded; run `procot keys new`")
        return self._keys[-1]

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """Every key, oldest first."""
        return tuple(self._keys)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public halves as a JWK set (RFC 7517, RFC 8037)."""
        return {"keys": [{**jwk(k.public), "kid": k.key_id, "use": "sig", "alg": "EdDSA"} for k in self._keys]}

    def index(self, value: str) -> bytes:
        """Return the keyed hash under which `value` can be looked up without being readable (domain A.10)."""
        return hmac.digest(self._index_key, value.encode(), hashlib.sha256)

    def _read_index_key(self) -> bytes:
        path = self._directory / "index.key"
        if not path.exists():
            _write(path, secrets.token_bytes(_INDEX_KEY_BYTES))
        key = path.read_bytes()
        if len(key) != _INDEX_KEY_BYTES:
            raise ValueError("index.key is not 32 bytes")
        return key


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process at a time make the first keys: two that start together must sign with the same one."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def jwk(public: bytes) -> dict[str, str]:
    """Return the required members of the JWK of an Ed25519 public key (RFC 8037 section 2)."""
    return {"crv": "Ed25519", "kty": "OKP", "x": b64url(public)}


def thumbprint(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of an Ed25519 public key."""
    return b64url(hashlib.sha256(rfc8785.dumps(jwk(public))).digest())


def _read(path: Path) -> SigningKey:
    content = path.read_bytes()
    private = load_pem_private_key(content, password=None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004 - a wrong file content, reported like the others
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    made_at = _MADE_AT.search(content)
    return SigningKey(thumbprint(public), public, int(made_at[1]) if made_at else path.stat().st_mtime_ns, private)


def _write(path: Path, data: bytes) -> None:
    """Write a secret whole or not at all, never readable by others, never over another one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, path)  # fails where another process was first: its key stays
    except FileExistsError:
        return
    finally:
        temporary.unlink()

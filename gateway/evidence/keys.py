"""Our keys: Ed25519 signing keys and the index key, as files made on first use with mode 0600.

A key file is named by its key id, the RFC 7638 thumbprint of its public half, so a name never lies. The newest key
signs whose time has come; all of them stay in the JWKS, so that old signatures can be checked. Of a retired key the
public half stays and the private one is destroyed. When a key was made stands in its file, since file times are coarse
and a restored backup loses them. Private halves never leave this module.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.errors import ConfigError, KeyMissingError
from gateway.evidence.files import alone, close_directory, create

if TYPE_CHECKING:
    from pathlib import Path

_INDEX_KEY_BYTES = 32
_NUMBER_KEY, _NUMBER_KEY_ID = "procot journal number 1", b"procot journal number key id"
_TIMES = re.compile(rb"^(made-at|signs-from|retired-at): (\d{1,19})$", re.MULTILINE)  # RFC 7468 section 5.2 allows it


def b64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One Ed25519 key. `public` is its 32 raw bytes; times are nanoseconds since the epoch, `signs_from` 0: at once."""

    key_id: str
    public: bytes
    made_at: int
    _private: Ed25519PrivateKey
    signs_from: int = 0

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id}>"


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """The public half of a key that signs no more: what it signed stays good."""

    key_id: str
    public: bytes
    made_at: int
    retired_at: int


class Keyring:
    """The keys in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: list[SigningKey] = []
        self._retired: list[RetiredKey] = []
        self._names: frozenset[str] = frozenset()
        self._index_key = b""

    @property
    def directory(self) -> Path:
        """Where the keys lie."""
        return self._directory

    def open(self) -> None:
        """Read the keys, making the first ones where there are none. Raises KeyMissingError."""
        try:
            close_directory(self._directory)
            with alone(self._directory):
                self._read_keys()
                if not self._keys:
                    self.new()
                self._index_key = self._read_index_key()
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise self._unreadable(error) from error

    def refresh(self) -> bool:
        """Notice keys that were made or retired since, and tell whether there were any.

        Raises KeyMissingError; then the keys stay as they were.
        """
        try:
            if _names(self._directory) == self._names:
                return False
            with alone(self._directory):
                self._read_keys()
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise self._unreadable(error) from error
        return True

    def new(self, *, signs_in_s: float = 0) -> SigningKey:
        """Make a key that signs from now on, or in a while; the older ones stay for checking."""
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        path = self._directory / f"sign-{thumbprint(public)}.pem"
        made_at = max(time.time_ns(), *(key.made_at + 1 for key in self._keys), 0)
        later = b"signs-from: %d\n" % (made_at + int(signs_in_s * 1e9)) if signs_in_s else b""
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        create(path, b"made-at: %d\n%b%b" % (made_at, later, pem))
        key = _read(path)
        self._keys.append(key)
        self._names |= {path.name}
        return key

    def retire(self, key_id: str) -> RetiredKey:
        """Destroy a key's private half; its public half stays published. Raises ConfigError where it may not go."""
        key = next((k for k in self._keys if k.key_id == key_id), None)
        if key is None:
            known = "was retired before" if any(k.key_id == key_id for k in self._retired) else "is not there"
            raise ConfigError(f"key {key_id}: {known}; `procot keys list` shows the keys")
        if not any(k is not key and k.signs_from <= time.time_ns() for k in self._keys):
            raise ConfigError(f"key {key_id}: no other key could sign now; make one with `procot keys rotate` first")
        public = Ed25519PublicKey.from_public_bytes(key.public)
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with alone(self._directory):
            path = self._directory / f"retired-{key_id}.pem"
            create(path, b"made-at: %d\nretired-at: %d\n%b" % (key.made_at, time.time_ns(), pem))
            (self._directory / f"sign-{key_id}.pem").unlink(missing_ok=True)  # killed before: done at the next reading
            self._read_keys()
        return next(k for k in self._retired if k.key_id == key_id)

    @property
    def signing(self) -> SigningKey:
        """The key that signs now: the newest one whose time has come. Raises KeyMissingError where none is loaded."""
        if not self._keys:
            raise KeyMissingError("no signing key is loaded; run `procot keys new`")
        now = time.time_ns()
        return next((key for key in reversed(self._keys) if key.signs_from <= now), self._keys[0])

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """Every key that can sign, oldest first."""
        return tuple(self._keys)

    @property
    def retired(self) -> tuple[RetiredKey, ...]:
        """Every key that signs no more, oldest first."""
        return tuple(self._retired)

    @property
    def public(self) -> dict[str, bytes]:
        """The public half of every key there ever was, by key id."""
        return {k.key_id: k.public for k in self._retired} | {k.key_id: k.public for k in self._keys}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public halves as a JWK set (RFC 7517, RFC 8037), those of retired keys first."""
        return {
            "keys": [
                {**jwk(public), "kid": key_id, "use": "sig", "alg": "EdDSA"} for key_id, public in self.public.items()
            ]
        }

    def index(self, value: str) -> bytes:
        """Return the keyed hash under which `value` can be looked up without being readable (domain A.10).

        Raises KeyMissingError where the keys were not read: a hash under no key would never be found again.
        """
        if not self._index_key:
            raise KeyMissingError(f"the index key of {self._directory} is not loaded; restore it from the backup")
        return hmac.digest(self._index_key, value.encode(), hashlib.sha256)

    def number(self, digest: bytes) -> bytes:
        """Return the keyed hash under which an akta's number stands in the journal, by the SHA-256 of the number.

        Its key is derived from the index key, so that it is in every backup. Raises KeyMissingError.
        """
        return hmac.digest(self._number_key(), digest, hashlib.sha256)

    @property
    def number_key_id(self) -> str:
        """Say under which key numbers stand in the journal, without telling it. Raises KeyMissingError."""
        return hashlib.sha256(_NUMBER_KEY_ID + self._number_key()).hexdigest()[:16]

    def _number_key(self) -> bytes:
        return self.index(_NUMBER_KEY)

    def _read_keys(self) -> None:
        names = _names(self._directory)
        retired = [_read_retired(self._directory / name) for name in names if name.startswith("retired-")]
        gone = {key.key_id for key in retired}
        for key_id in gone:  # retiring was cut short between its two steps
            (self._directory / f"sign-{key_id}.pem").unlink(missing_ok=True)
        keys = [_read(self._directory / name) for name in names if name.startswith("sign-") and name[5:-4] not in gone]
        if self._keys and not keys:
            raise ValueError("all keys are gone")  # a directory that is away for now: what is loaded goes on signing
        self._retired = sorted(retired, key=lambda k: (k.made_at, k.key_id))
        self._keys = sorted(keys, key=lambda k: (k.made_at, k.key_id))
        self._names = _names(self._directory)

    def _unreadable(self, error: Exception) -> KeyMissingError:
        return KeyMissingError(
            f"the keys in {self._directory} cannot be read ({type(error).__name__}); restore them from the backup"
        )

    def _read_index_key(self) -> bytes:
        path = self._directory / "index.key"
        if not path.exists():
            create(path, secrets.token_bytes(_INDEX_KEY_BYTES))
        key = path.read_bytes()
        if len(key) != _INDEX_KEY_BYTES:
            raise ValueError("index.key is not 32 bytes")
        return key


def jwk(public: bytes) -> dict[str, str]:
    """Return the required members of the JWK of an Ed25519 public key (RFC 8037 section 2)."""
    return {"crv": "Ed25519", "kty": "OKP", "x": b64url(public)}


def thumbprint(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of an Ed25519 public key."""
    return b64url(hashlib.sha256(rfc8785.dumps(jwk(public))).digest())


def public_halves(directory: Path) -> dict[str, bytes]:
    """Return the public halves of the keys in a directory, by key id; makes nothing. Raises KeyMissingError."""
    ring = Keyring(directory)
    ring.refresh()
    if not ring.public:
        raise KeyMissingError(f"{directory}: there are no keys")
    return ring.public


def public_half(content: bytes) -> bytes:
    """Return the public half of a key file's content, retired or not. Raises ValueError."""
    try:
        if b"PRIVATE KEY" in content:
            private = load_pem_private_key(content, password=None)
            key: object = private.public_key() if isinstance(private, Ed25519PrivateKey) else None
        else:
            key = load_pem_public_key(content)
    except (UnsupportedAlgorithm, TypeError) as error:
        raise ValueError("not a key of ours") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004 - a wrong file content, reported like the others
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _names(directory: Path) -> frozenset[str]:
    return frozenset(path.name for kind in ("sign-*.pem", "retired-*.pem") for path in directory.glob(kind))


def _read(path: Path) -> SigningKey:
    content = path.read_bytes()
    private = load_pem_private_key(content, password=None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004 - a wrong file content, reported like the others
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    times = _times(content)
    made_at = times.get("made-at", path.stat().st_mtime_ns)
    return SigningKey(thumbprint(public), public, made_at, private, times.get("signs-from", 0))


def _read_retired(path: Path) -> RetiredKey:
    content = path.read_bytes()
    key = load_pem_public_key(content)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004 - as above
    public = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    times = _times(content)
    return RetiredKey(thumbprint(public), public, times.get("made-at", 0), times.get("retired-at", 0))


def _times(content: bytes) -> dict[str, int]:
    return {name.decode(): int(at) for name, at in _TIMES.findall(content)}

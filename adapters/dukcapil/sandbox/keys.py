"""The sandbox's own signing key: one Ed25519 key, made on first use with mode 0600 in its directory."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from adapters.dukcapil.signature import encode, jwk
from gateway.errors import KeyMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def own_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in `path`, making it where there is none. Raises KeyMissingError."""
    if not path.exists():
        _make(path)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise KeyMissingError(f"the sandbox's key {path} cannot be read ({type(error).__name__})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMissingError(f"the sandbox's key {path} is not an Ed25519 key")
    return key


def thumbprint(key: Ed25519PublicKey) -> str:
    """Return the RFC 7638 thumbprint, which serves as kid."""
    members = {name: jwk(key, "")[name] for name in ("crv", "kty", "x")}
    return encode(hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest())


def _make(path: Path) -> None:
    """Write a new key whole or not at all, and never over one that another process made meanwhile."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, pem)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()

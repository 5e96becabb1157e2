"""Detached JWS over exact bytes: RFC 7515 appendix F, Ed25519 by RFC 8037. Nothing is serialised anew to be checked.

Strict where the RFC leaves room: one algorithm, a known key, no critical extensions, one spelling of each part. Used
for callbacks by the adapter, and by the sandbox on both sides.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import NonsenseError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "EdDSA"
MAX_SIGNATURE_CHARACTERS = 4096
_SIGNATURE_BYTES = 64
_KEY_BYTES = 32
_LAST_SECOND = 2**40  # far beyond any certificate, and a float holds it exactly
_LONGEST_WORD = 200
_MOST_KEYS = 100
_CLAIMS = {"issued_at": "iat", "audience": "aud", "token_id": "jti", "not_before": "nbf", "expires_at": "exp"}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class UnknownKeyError(SignatureError):
    """The signature names a key that the set does not hold; a newer set may."""


class ClaimError(NonsenseError, SignatureError):
    """A right signature says something that is no time and no word."""

    code = NonsenseError.code


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good signature says about itself."""

    kid: str
    issued_at: int | None  # `iat`, seconds since the epoch
    audience: str | None = None  # `aud`: whom it is for
    token_id: str | None = None  # `jti`: which one it is
    not_before: int | None = None  # `nbf`
    expires_at: int | None = None  # `exp`


def sign_detached(body: bytes, *, key: Ed25519PrivateKey, kid: str, **claims: str | int | None) -> str:
    """Return `header..signature` over `body`; the claims are signed too, by their names in `Verified`, but for None."""
    header: dict[str, Any] = {"alg": ALGORITHM, "kid": kid}
    header |= {_CLAIMS[name]: value for name, value in claims.items() if value is not None}
    protected = encode(json.dumps(header, separators=(",", ":")).encode())
    return f"{protected}..{encode(key.sign(_signing_input(protected, body)))}"


def verify_detached(signature: str, body: bytes, keys: Mapping[str, Ed25519PublicKey]) -> Verified:
    """Check `signature` over exactly `body` and return what it says. Raises SignatureError, UnknownKeyError."""
    protected, raw = _split(signature)
    header = _header(protected)
    kid = header["kid"]
    if (key := keys.get(kid)) is None:
        raise UnknownKeyError("the signature names a key that is not in the key set")
    try:
        key.verify(raw, _signing_input(protected, body))
    except InvalidSignature as error:
        raise SignatureError("the signature does not fit the body and the key it names") from error
    texts = (_text(header, "aud"), _text(header, "jti"))
    return Verified(kid, _time(header, "iat"), *texts, _time(header, "nbf"), _time(header, "exp"))


def _time(header: dict[str, Any], name: str) -> int | None:
    """Return a signed time in whole seconds, None where there is none. Raises ClaimError for what is no time."""
    value = header.get(name)
    if name in header and (type(value) is not int or not 0 <= value <= _LAST_SECOND):
        raise ClaimError(f"the signature's {name} is not a whole number of seconds since 1970")
    return value


def _text(header: dict[str, Any], name: str) -> str | None:
    """Return a signed word, None where there is none. Raises ClaimError for what is no word."""
    value = header.get(name)
    if name in header and not (isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD and value.isprintable()):
        raise ClaimError(f"the signature's {name} is not a text of at most {_LONGEST_WORD} visible characters")
    return value


def parse_jwks(text: bytes) -> dict[str, Ed25519PublicKey]:
    """Return the Ed25519 signing keys of a JWK set (RFC 7517 section 5) by kid. Raises SignatureError.

    Keys of other kinds are passed over, as the RFC asks; one kid for two different keys is refused.
    """
    try:
        entries = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureError("the key set is not a JWK set (RFC 7517)") from error
    if isinstance(entries, list) and len(entries) > _MOST_KEYS:
        raise SignatureError(f"the key set has more than {_MOST_KEYS} keys")
    keys: dict[str, Ed25519PublicKey] = {}
    for entry in entries if isinstance(entries, list) else []:
        if not _is_ours(entry):
            continue
        key = _public(entry)
        if entry["kid"] in keys and _raw(keys[entry["kid"]]) != _raw(key):
            raise SignatureError("the key set gives one kid to two keys")
        keys[entry["kid"]] = key
    return keys


def jwk(key: Ed25519PublicKey, kid: str) -> dict[str, str]:
    """Return the public key as a JWK (RFC 8037 section 2)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": encode(_raw(key)), "kid": kid, "use": "sig", "alg": ALGORITHM}


def encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _signing_input(protected: str, body: bytes) -> bytes:
    return f"{protected}.{encode(body)}".encode("ascii")


def _split(signature: str) -> tuple[str, bytes]:
    if len(signature) > MAX_SIGNATURE_CHARACTERS:
        raise SignatureError("the signature is longer than any of ours")
    match signature.split("."):
        case [protected, "", tail]:
            raw = _decode(tail)
        case _:
            raise SignatureError("the signature is not header..signature (RFC 7515 appendix F)")
    if len(raw) != _SIGNATURE_BYTES:
        raise SignatureError("the signature is not 64 bytes (RFC 8032)")
    return protected, raw


def _decode(text: str) -> bytes:
    """Decode base64url in its one canonical spelling: two texts for one signature would be two signatures."""
    if not _BASE64URL.fullmatch(text):
        raise SignatureError("a part of the signature is not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise SignatureError("a part of the signature is not base64url") from error
    if encode(data) != text:
        raise SignatureError("a part of the signature is not in canonical base64url")
    return data


def _header(protected: str) -> dict[str, Any]:
    try:
        header = json.loads(_decode(protected), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise SignatureError("the signature's header is not JSON with distinct names (RFC 7515 section 4)") from error
    if not isinstance(header, dict) or header.get("alg") != ALGORITHM:
        raise SignatureError("the signature's alg is not EdDSA")
    if not isinstance(header.get("kid"), str):
        raise SignatureError("the signature names no key (kid)")
    if "crit" in header or "b64" in header:
        raise SignatureError("the signature has critical extensions, and we understand none (RFC 7515 section 4.1.11)")
    return header


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name is given twice")
    return values


def _is_ours(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("kty") == "OKP"
        and entry.get("crv") == "Ed25519"
        and isinstance(entry.get("kid"), str)
        and isinstance(entry.get("x"), str)
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", ALGORITHM) in (ALGORITHM, "Ed25519")  # RFC 9864 renames the algorithm for keys
    )


def _public(entry: dict[str, Any]) -> Ed25519PublicKey:
    raw = _decode(entry["x"])
    if len(raw) != _KEY_BYTES:
        raise SignatureError("a key of the key set is not 32 bytes (RFC 8032)")
    return Ed25519PublicKey.from_public_bytes(raw)

"""The signature envelope: JWS (RFC 7515) with Ed25519 (RFC 8037) over exact bytes; detached (appendix F) for records.

The payload travels and is stored beside the signature, or inside of it, unchanged; nothing is ever serialised anew to
be compared.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.errors import SignatureError
from gateway.evidence.keys import b64url, jwk, thumbprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.evidence.keys import SigningKey

_PARTS, _KEY_BYTES = 3, 32


def sign_detached(payload: bytes, key: SigningKey) -> str:
    """Return `header..signature` over `payload`, naming the key."""
    header, _, signature = _signed(payload, key, {})
    return f"{header}..{signature}"


def sign_compact(payload: bytes, key: SigningKey, *, typ: str) -> str:
    """Return `header.payload.signature`; `typ` says of what kind, so that one signature never passes for another."""
    return ".".join(_signed(payload, key, {"typ": typ}))


def _signed(payload: bytes, key: SigningKey, more: dict[str, str]) -> tuple[str, str, str]:
    header = b64url(json.dumps({"alg": "EdDSA", "kid": key.key_id, **more}, separators=(",", ":")).encode())
    body = b64url(payload)
    return header, body, b64url(key.sign(f"{header}.{body}".encode()))


def verify_detached(payload: bytes, jws: str, keys: Mapping[str, bytes]) -> str:
    """Check `header..signature` over `payload` and return the id of the key. Raises SignatureError."""
    header, body, signature = _parts(jws)
    if body:
        raise SignatureError("the signature is not detached: it brings a payload of its own")
    return _checked(header, b64url(payload), signature, keys, typ=None)


def open_compact(jws: str, keys: Mapping[str, bytes], *, typ: str | None) -> tuple[bytes, str]:
    """Check `header.payload.signature` and return payload and key id. Raises SignatureError.

    `typ` is what the header must say, None where it must say nothing.
    """
    header, body, signature = _parts(jws)
    key_id = _checked(header, body, signature, keys, typ=typ)
    return _decoded(body, "payload"), key_id


def key_named(jws: str) -> str:
    """Return the id of the key that a JWS names, without a look at its signature. Raises SignatureError."""
    try:
        said = json.loads(_decoded(_parts(jws)[0], "header"))
    except (ValueError, RecursionError) as error:
        raise SignatureError("the JWS header is not JSON") from error
    return str(said.get("kid")) if isinstance(said, dict) else ""


def public_keys(jwks: Any) -> dict[str, bytes]:  # noqa: ANN401 - whatever a JWK set's file holds
    """Return the Ed25519 keys of a JWK set by key id, which must be their RFC 7638 thumbprint. Raises SignatureError.

    Keys of other kinds are passed by (RFC 7517 section 5).
    """
    listed = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(listed, list):
        raise SignatureError("not a JWK set: there is no list `keys`")
    found = {}
    for key in listed:
        if not isinstance(key, dict) or (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519"):
            continue
        public = _decoded(str(key.get("x")), "x of a key")
        if len(public) != _KEY_BYTES or jwk(public)["x"] != key.get("x"):
            raise SignatureError("a key of the JWK set is not 32 bytes of Ed25519")
        if key.get("kid") != thumbprint(public):
            raise SignatureError("a key's id is not its RFC 7638 thumbprint: the JWK set was changed or is another's")
        found[thumbprint(public)] = public
    if not found:
        raise SignatureError("the JWK set holds no Ed25519 key")
    return found


def _parts(jws: str) -> tuple[str, str, str]:
    parts = jws.strip().split(".")
    if len(parts) != _PARTS:
        raise SignatureError("not a JWS: it has not three parts between dots")
    return parts[0], parts[1], parts[2]


def _checked(header: str, body: str, signature: str, keys: Mapping[str, bytes], *, typ: str | None) -> str:
    try:
        said = json.loads(_decoded(header, "header"))
    except (ValueError, RecursionError) as error:
        raise SignatureError("the JWS header is not JSON") from error
    if not isinstance(said, dict) or said.get("alg") != "EdDSA" or "crit" in said:
        raise SignatureError("the JWS header does not say alg EdDSA, or asks for what is not understood (crit)")
    if said.get("typ") != typ:
        raise SignatureError(f"the JWS is of typ {said.get('typ')!r}, not {typ!r}: it was signed for something else")
    key_id = said.get("kid")
    public = keys.get(key_id) if isinstance(key_id, str) else None
    if public is None:
        raise SignatureError(f"signed by key {key_id!r}, which is not among the {len(keys)} keys given")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(_decoded(signature, "signature"), f"{header}.{body}".encode())
    except InvalidSignature as error:
        raise SignatureError(
            f"the signature by key {key_id} does not fit the bytes: one of them was changed"
        ) from error
    return str(key_id)


def _decoded(text: str, what: str) -> bytes:
    """Return the bytes of base64url without padding, in its one right spelling."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError(f"the {what} is not base64url") from error
    if b64url(data) != text:
        raise SignatureError(f"the {what} is not base64url without padding")
    return data

"""The signature envelope: detached JWS (RFC 7515 appendix F) with Ed25519 (RFC 8037) over exact bytes.

The payload travels and is stored beside the signature, unchanged; nothing is ever serialised anew to be compared.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.evidence.keys import b64url

if TYPE_CHECKING:
    from gateway.evidence.keys import SigningKey


def sign_detached(payload: bytes, key: SigningKey) -> str:
    """Return `header..signature` over `payload`, naming the key."""
    header = b64url(json.dumps({"alg": "EdDSA", "kid": key.key_id}, separators=(",", ":")).encode())
    signature = key.sign(f"{header}.{b64url(payload)}".encode())
    return f"{header}..{b64url(signature)}"

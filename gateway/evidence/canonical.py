"""Canonical bytes: RFC 8785 JSON, so that anybody can make the same bytes from the same record."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785


def canonical(document: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the RFC 8785 form of plain JSON data. Raises rfc8785.CanonicalizationError for what JSON can't hold."""
    return rfc8785.dumps(document)


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()

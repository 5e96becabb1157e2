"""Documents for the registry as multipart/form-data (RFC 7578): the signed list, then one part a file by its SHA-256.

The same act gives the same bytes: the boundary comes from the signed list, which names every file's digest.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contract.ports import Scan

MANIFEST = "keterangan"


def parts(manifest: bytes, scans: Sequence[Scan]) -> tuple[bytes, str]:
    """Return the body and its Content-Type."""
    boundary = f"procot-{hashlib.sha256(manifest).hexdigest()[:48]}"  # at most 70 characters (RFC 2046 section 5.1.1)
    lines = [_part(boundary, MANIFEST, "application/json", manifest)]
    lines += [_part(boundary, scan.sha256, scan.mime, scan.content, filename=scan.sha256) for scan in scans]
    return b"".join(lines) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _part(boundary: str, name: str, mime: str, content: bytes, *, filename: str = "") -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\nContent-Type: {mime}\r\n\r\n'
    return head.encode() + content + b"\r\n"

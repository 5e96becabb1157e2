"""Who made a backup: a signature by one of our keys over the SHA-256 of all that is in it.

A passphrase or a recipient's key says who can read a backup. This says who made it: whoever restores one trusts the
public keys of the gateway, and no stranger's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import SignatureError
from gateway.evidence.canonical import canonical
from gateway.evidence.envelope import key_named, open_compact, sign_compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.evidence.keys import SigningKey

BACKUP_TYP = "procot-backup+jws"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is signed of a backup: its bytes, when it was made, and how far its journal reaches."""

    sha256: str
    made_at: str
    entries: int


def sign_manifest(manifest: Manifest, key: SigningKey) -> str:
    """Return the compact JWS of a manifest."""
    said = {"sha256": manifest.sha256, "made_at": manifest.made_at, "entries": manifest.entries}
    return sign_compact(canonical(said), key, typ=BACKUP_TYP)


def signer_of(jws: str) -> str:
    """Return the id of the key that a manifest says it was signed by; nothing is checked. Raises SignatureError."""
    return key_named(jws)


def open_manifest(jws: str, keys: Mapping[str, bytes], *, sha256: str) -> Manifest:
    """Check a manifest's signature and that it is of these bytes. Raises SignatureError."""
    payload, _ = open_compact(jws, keys, typ=BACKUP_TYP)
    try:
        said = json.loads(payload)
        found = Manifest(str(said["sha256"]), str(said["made_at"]), int(said["entries"]))
    except (ValueError, KeyError, TypeError) as error:
        raise SignatureError("signed, but not in the form of a backup's manifest") from error
    if found.sha256 != sha256:
        raise SignatureError("what was signed is another backup's content: this one was changed")
    return found

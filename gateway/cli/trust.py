"""Whose backups `procot restore` takes: those signed by keys that lie here already, or that the operator names."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ConfigError, KeyMissingError, SignatureError
from gateway.evidence.envelope import public_keys
from gateway.evidence.head import Memory
from gateway.evidence.keys import public_half, public_halves, thumbprint
from gateway.evidence.manifest import open_manifest, signer_of
from gateway.pipeline.signer import remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.backup import Summary

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{43}")  # an RFC 7638 thumbprint
_STAMP = re.compile(r"procot-(\d{8}T\d{6}Z)\.")
_MOST_JWKS = 1024 * 1024
_LATE = dt.timedelta(hours=1)  # a file is named when it is begun, and its snapshot is taken at once


@dataclass(frozen=True, slots=True)
class Trusted:
    """The public keys that a backup may be signed by, by key id, and where the head of a journal may be kept."""

    keys: dict[str, bytes]
    directory: Path

    @classmethod
    def of(cls, directory: Path, named: Sequence[str], inside: dict[str, bytes]) -> Trusted:
        """Return the keys in a directory and those that are named.

        A key named by its id may come from the backup itself (`inside`): the id is its hash, so that there is no other
        key of that id. Raises ConfigError.
        """
        try:
            found = public_halves(directory)
        except KeyMissingError:
            found = {}
        for one in named:
            found |= _from_backup(one, inside) if _KEY_ID.fullmatch(one) else _from_file(Path(one))
        return cls(found, directory)

    def judge(self, path: Path, summary: Summary, *, unsigned: bool, only_look: bool) -> str:
        """Return who signed a backup, for people. Raises ConfigError where it is nobody whom we trust.

        `only_look`: where no key is trusted yet, a look is not refused, and says that it was not compared.
        """
        if not summary.signature:
            if unsigned:
                return "not signed"
            raise ConfigError(
                f"{path}: is not signed, so that it may be a stranger's; take one that `procot backup` made since this "
                "version, or say --unsigned if you know who made it"
            )
        try:
            key_id = signer_of(summary.signature)
            if not self.keys and only_look:
                return f"signed by {key_id}, which was not compared with a key of yours (--trust)"
            if key_id not in self.keys:
                raise ConfigError(self._stranger(path, key_id))
            open_manifest(summary.signature, self.keys, sha256=summary.sha256)
        except SignatureError as error:
            raise ConfigError(f"{path}: its signature is not right: {error}; it is not restored") from error
        return f"signed by {key_id}"

    def _stranger(self, path: Path, key_id: str) -> str:
        where = f"is none of the {len(self.keys)} we trust" if self.keys else f"is not known here ({self.directory})"
        return (
            f"{path}: is signed by key {key_id!r}, which {where}: it may be a stranger's, and is not restored. On a "
            "new machine name your own key by --trust: its id as `procot backup` told it, or your saved jwks.json"
        )

    def warnings(self, path: Path, summary: Summary) -> list[str]:
        """Return what whoever restores should know: that the backup is older than it seems, or than what was here."""
        found = []
        named = _STAMP.search(path.name)
        if named is not None:
            stamp = dt.datetime.strptime(named[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
            if abs(stamp - dt.datetime.fromisoformat(summary.made_at)) > _LATE:
                found.append(f"{path.name} was made at {summary.made_at}, not when its name says: it was renamed")
        kept = remembered(Memory(self.directory), self.keys)
        if summary.signature and kept > (had := self._entries(summary)):
            found.append(
                f"this backup's journal ends with {had} entries, and this machine signed {kept}: what came since is "
                "lost here, and its receipts are of another branch"
            )
        return found

    def _entries(self, summary: Summary) -> int:
        return open_manifest(summary.signature, self.keys, sha256=summary.sha256).entries


def _from_backup(key_id: str, inside: dict[str, bytes]) -> dict[str, bytes]:
    for name, content in inside.items():
        if name.endswith(".pem"):
            try:
                public = public_half(content)
            except ValueError:
                continue
            if thumbprint(public) == key_id:
                return {key_id: public}
    return {}


def _from_file(path: Path) -> dict[str, bytes]:
    try:
        with path.open("rb") as file:
            return public_keys(json.loads(file.read(_MOST_JWKS)))
    except OSError as error:
        raise ConfigError(f"--trust {path}: neither a key id nor a file ({error.strerror})") from error
    except (ValueError, SignatureError) as error:
        reason = str(error) if isinstance(error, SignatureError) else "not JSON"
        raise ConfigError(f"--trust {path}: {reason}; save /.well-known/jwks.json of the gateway") from error

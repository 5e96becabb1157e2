"""Backups as somebody with the passphrase may make them: taken apart, changed, and encrypted again."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.evidence.vault import CHUNK, Passphrase, VaultWriter, read_vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Part:
    """An entry of the archive: its line and its blocks."""

    about: dict[str, Any]
    blocks: list[bytes]

    @property
    def packed(self) -> bytes:
        """The entry as it lies in the archive."""
        line = json.dumps(self.about, separators=(",", ":")).encode() + b"\n"
        return line + b"".join(len(b).to_bytes(4) + b for b in self.blocks) + bytes(4)


def taken_apart(path: Path, passphrase: str) -> list[Part]:
    """Return the entries of a backup."""
    with path.open("rb") as file:
        stream = zlib.decompress(b"".join(read_vault(file, Passphrase(passphrase))))
    return list(_parts(stream))


def _parts(stream: bytes) -> Iterator[Part]:
    here = 0
    while here < len(stream):
        end = stream.index(b"\n", here)
        part, here = Part(json.loads(stream[here:end]), []), end + 1
        while size := int.from_bytes(stream[here : here + 4]):
            part.blocks.append(stream[here + 4 : here + 4 + size])
            here += 4 + size
        here += 4
        yield part


def put_together(path: Path, parts: list[Part], passphrase: str) -> None:
    """Write a backup of these entries, as well encrypted as any."""
    written(path, zlib.compress(b"".join(part.packed for part in parts)), passphrase)


def written(path: Path, archive: bytes, passphrase: str) -> None:
    """Write a backup of any bytes, as well encrypted as any."""
    with path.open("wb") as file:
        vault = VaultWriter(file, Passphrase(passphrase))
        for first in range(0, len(archive), CHUNK):
            vault.write(archive[first : first + CHUNK])
        vault.close()


def as_before_signatures(parts: list[Part]) -> list[Part]:
    """Return the entries of a backup as the version before wrote it."""
    kept = [part for part in parts if part.about["entry"] != "signature"]
    kept[0].about["format"] = 1
    return kept

"""What the journal shows to others: checkpoints, receipts, exports; and their checks, with public keys alone.

    entry       one line of RFC 8785 JSON, digests and ids only
    checkpoint  compact JWS: size and root of the tree over all entries so far, and those of the checkpoint before
    receipt     JSON: an entry, its place, the inclusion proof (RFC 9162 section 2.1.3), a checkpoint
    export      JSON lines: a head, then {"position", "entry"} and {"checkpoint"} in the order in which they were made

Pure: no I/O, no database.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.errors import EvidenceError, SignatureError
from gateway.evidence.canonical import canonical
from gateway.evidence.envelope import open_compact, sign_compact
from gateway.evidence.merkle import HASH_BYTES, Peaks, leaf_hash, root_by_inclusion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway.evidence.keys import SigningKey

CHECKPOINT_TYP = "procot-checkpoint+jws"
RECEIPT, EXPORT, VERSION = "procot-receipt", "procot-journal", "1"
MOST_RECEIPT_BYTES = 64 * 1024
MOST_LINE_BYTES = 16 * 1024
_DEEPEST_PROOF = 64


@dataclass(frozen=True, slots=True)
class Head:
    """Size and root of a tree."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed head. `before` is the head of the checkpoint before it, None for the first one.

    `joined` is set since signers keep their head beside their keys: this one was joined to the one before it.
    """

    log: str
    head: Head
    time: str  # RFC 3339, of the database
    before: Head | None
    key_id: str = ""
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt proves: this entry stands at this place under that checkpoint."""

    position: int
    entry: dict[str, Any]
    checkpoint: Checkpoint


# ------------------------------------------------------------------------------------------------------- checkpoints


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return the compact JWS of a checkpoint."""
    document = {
        "log": checkpoint.log,
        "size": checkpoint.head.size,
        "root": checkpoint.head.root.hex(),
        "time": checkpoint.time,
        "joined": checkpoint.joined,
        "previous": (
            {"size": checkpoint.before.size, "root": checkpoint.before.root.hex()} if checkpoint.before else None
        ),
    }
    return sign_compact(canonical(document), key, typ=CHECKPOINT_TYP)


def open_checkpoint(jws: str, keys: Mapping[str, bytes]) -> Checkpoint:
    """Check a checkpoint's signature and read it. Raises EvidenceError."""
    try:
        payload, key_id = open_compact(jws, keys, typ=CHECKPOINT_TYP)
    except SignatureError as error:
        raise EvidenceError(f"checkpoint: {error}") from error
    try:
        said = json.loads(payload)
        before = _head(said["previous"]) if said["previous"] is not None else None
        joined = said.get("joined") is True
        found = Checkpoint(str(uuid.UUID(said["log"])), _head(said), str(said["time"]), before, key_id, joined)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError("checkpoint: signed, but not in the form of one") from error
    return found


def _head(said: dict[str, Any]) -> Head:
    size, root = said["size"], bytes.fromhex(said["root"])
    if not isinstance(size, int) or size < 1 or len(root) != HASH_BYTES:
        raise ValueError("no head")
    return Head(size, root)


# ---------------------------------------------------------------------------------------------------------- receipts


def make_receipt(position: int, entry: str, proof: Sequence[bytes], checkpoint: str) -> dict[str, Any]:
    """Return a receipt: all it takes to check, with the public keys, that an entry stands in the journal."""
    return {
        "kind": RECEIPT,
        "version": VERSION,
        "position": position,
        "entry": entry,
        "proof": [hashed.hex() for hashed in proof],
        "checkpoint": checkpoint,
    }


def verify_receipt(receipt: Mapping[str, Any], keys: Mapping[str, bytes], *, log: str = "") -> Receipt:
    """Check a receipt. Raises EvidenceError naming the part that does not fit."""
    if receipt.get("version") != VERSION:
        raise EvidenceError(f"version: {receipt.get('version')!r} is not known to this Procot")
    text, position, proof = receipt.get("entry"), receipt.get("position"), receipt.get("proof")
    if not isinstance(text, str) or type(position) is not int or not isinstance(proof, list):
        raise EvidenceError("receipt: `entry`, `position` or `proof` is missing or of another kind")
    checkpoint = open_checkpoint(str(receipt.get("checkpoint")), keys)
    if log and checkpoint.log != log:
        raise EvidenceError(f"checkpoint: of log {checkpoint.log}, not of {log}")
    size = checkpoint.head.size
    if not 0 <= position < size:
        raise EvidenceError(f"position: {position} is not among the {size} entries of the checkpoint")
    root = root_by_inclusion(_leaf(position, text), position, size, _hashes(proof))
    if root is None:
        raise EvidenceError(f"proof: {len(proof)} hashes do not lead from entry {position} to the root of {size}")
    if root != checkpoint.head.root:
        raise EvidenceError(
            f"entry {position} is not the one in the journal: with its proof it leads to root {root.hex()}, "
            f"the checkpoint of {size} has {checkpoint.head.root.hex()}; entry, position or proof was changed"
        )
    return Receipt(position, read_entry(text, position), checkpoint)


def read_entry(text: str, position: int) -> dict[str, Any]:
    """Return an entry's members. Raises EvidenceError."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise EvidenceError(f"entry {position}: not in the form of one")
    return entry


def _leaf(position: int, text: str) -> bytes:
    try:
        return leaf_hash(text.encode())
    except UnicodeEncodeError as error:
        raise EvidenceError(f"entry {position}: is no text in UTF-8") from error


def _hashes(proof: list[Any]) -> list[bytes]:
    try:
        hashes = [bytes.fromhex(hashed) for hashed in proof]
    except (ValueError, TypeError):
        hashes = [b""]
    if len(hashes) > _DEEPEST_PROOF or any(len(hashed) != HASH_BYTES for hashed in hashes):
        raise EvidenceError("proof: not a list of SHA-256 hashes in hex")
    return hashes


# --------------------------------------------------------------------------------------------------------- the chain


class Chain:
    """Entries and checkpoints in their order, each checked against all before: the journal as a whole."""

    def __init__(self, log: str, keys: Mapping[str, bytes]) -> None:
        self.log = log
        self.checkpoints = 0
        self.last: Checkpoint | None = None
        self._keys = keys
        self._peaks = Peaks()

    @property
    def size(self) -> int:
        """How many entries there were."""
        return self._peaks.size

    @property
    def uncovered(self) -> int:
        """How many entries came after the last checkpoint."""
        return self.size - (self.last.head.size if self.last else 0)

    def entry(self, position: int, text: str) -> bytes:
        """Take the next entry and return its leaf's hash. Raises EvidenceError where it is not the next one."""
        if position != self.size:
            raise EvidenceError(f"entry {self.size} is missing: entry {position} stands in its place")
        leaf = _leaf(position, text)
        self._peaks.append(leaf)
        return leaf

    def checkpoint(self, jws: str) -> Checkpoint:
        """Take the next checkpoint. Raises EvidenceError naming what does not fit."""
        found = open_checkpoint(jws, self._keys)
        here = f"checkpoint of {found.head.size} entries ({found.time})"
        if found.log != self.log:
            raise EvidenceError(f"{here}: of log {found.log}, not of {self.log}")
        if found.head.size != self.size:
            raise EvidenceError(f"{here}: {self.size} entries stand before it; some are missing or too many")
        if found.head.root != self._peaks.root():
            since = self.last.head.size if self.last else 0
            raise EvidenceError(
                f"{here}: its root is {found.head.root.hex()}, the entries have {self._peaks.root().hex()}; "
                f"one of the entries {since} to {self.size - 1} was changed"
            )
        if found.before != (self.last.head if self.last else None):
            raise EvidenceError(f"{here}: it does not follow the checkpoint before it; one between them is missing")
        self.last, self.checkpoints = found, self.checkpoints + 1
        return found


def export_head(log: str) -> dict[str, Any]:
    """Return the first line of an export."""
    return {"kind": EXPORT, "version": VERSION, "log": log}


def verify_export(head: Mapping[str, Any], lines: Iterable[bytes], keys: Mapping[str, bytes]) -> Iterator[Chain]:
    """Check an export behind its first line, and yield what was checked after each line. Raises EvidenceError."""
    if head.get("version") != VERSION:
        raise EvidenceError(f"line 1: version {head.get('version')!r} is not known to this Procot")
    chain = Chain(str(head.get("log")), keys)
    for number, line in enumerate(lines, 2):
        try:
            _take(chain, line)
        except EvidenceError as error:
            raise EvidenceError(f"line {number}: {error}") from error
        yield chain
    if chain.last is None:
        raise EvidenceError("the export ends before its first checkpoint: nothing in it is signed")
    if chain.uncovered:
        raise EvidenceError(f"the export was cut: its last {chain.uncovered} entries are under no checkpoint")


def _take(chain: Chain, line: bytes) -> None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EvidenceError("not a line of JSON") from error
    match said:
        case {"position": int(position), "entry": str(text)}:
            chain.entry(position, text)
        case {"checkpoint": str(jws)}:
            chain.checkpoint(jws)
        case _:
            raise EvidenceError("neither an entry nor a checkpoint")

"""The signer never signs a rewritten history: a head is signed only where it goes on from the one kept beside the keys.

Whoever administers the database can change every row in it, and cannot change that file (gateway.evidence.head). Joined
means: the newest checkpoint is one of ours and of this log, the stored tree has its root, the last leaves are those of
the entries, and a consistency proof (RFC 9162 section 2.1.4) leads to it from the head that was kept. What cannot be
joined is told and waits for a person; births go on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from gateway.errors import ConfigError, EvidenceError, HeadNotKeptError, JournalRewrittenError
from gateway.evidence.head import Memory, unsigned_head
from gateway.evidence.journal import Head, open_checkpoint
from gateway.evidence.merkle import TILE, Range, Tiles, consistency_ranges, consistent, leaf_hash, proved, tiles_of
from gateway.store import journal as store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.evidence.head import KeptHead
    from gateway.evidence.journal import Checkpoint
    from gateway.evidence.keys import Keyring
    from gateway.store.database import Connection
    from gateway.store.journal import Signed

_NEXT = (
    "nothing is signed and receipts wait, births go on. `procot evidence check` names what differs; put the right "
    "database back, or let a person say `procot evidence accept` for this one"
)
_log = structlog.get_logger()


@dataclass(slots=True)
class Signer:
    """What one process knows of its sealing: the head it remembers, and why it signs nothing now ("" where it does)."""

    memory: Memory | None = None
    refusal: str = ""
    altered: str = ""  # entries that are not those that were sealed, found by the patrol
    patrolled: int = field(default=0)  # the next tile that the patrol reads

    def remembers(self, keyring: Keyring) -> Memory:
        """Return the file beside these keys."""
        if self.memory is None or self.memory.path.parent != keyring.directory:
            self.memory = Memory(keyring.directory)
        return self.memory


async def join(connection: Connection, memory: Memory, keys: Mapping[str, bytes]) -> Signed | None:
    """Return the newest checkpoint, joined to the head that was kept, which follows it; None before the first one.

    The caller is the only sealer. Raises JournalRewrittenError, HeadNotKeptError, StoreUnavailableError.
    """
    kept = await asyncio.to_thread(memory.read, keys)
    newest = await joined(connection, kept, keys, path=memory.path)
    if newest is not None and (kept is None or kept.jws != newest.jws):
        if kept is None:
            _log.warning("journal.head_taken_up", size=newest.size, key_id=newest.key_id)
        await asyncio.to_thread(memory.write, newest.jws, committed=True)
    return newest


async def joined(
    connection: Connection, kept: KeptHead | None, keys: Mapping[str, bytes], *, path: Path
) -> Signed | None:
    """Return the newest checkpoint, which goes on from the head that was kept in `path`; writes nothing.

    Where a gateway seals meanwhile the head must be read before the snapshot is taken, which is never behind it then.
    Raises JournalRewrittenError, StoreUnavailableError.
    """
    log = await store.log_id(connection)
    newest = await store.newest(connection)
    size = newest.size if newest else 0
    if (end := await store.end(connection)) != size:
        raise _rewritten(
            f"{end - size} entries stand behind its last checkpoint of {size}, where no gateway of ours put them"
            if end > size
            else f"the entries {end} to {size - 1} under its last checkpoint are gone"
        )
    if kept is not None and kept.checkpoint is not None and kept.checkpoint.log != log:
        raise _rewritten(f"this database has the log {log}, and we signed the log {kept.checkpoint.log}")
    if newest is None:
        _may_begin(kept)
        return None
    theirs = ours(newest, log, keys)
    await whole(connection, theirs.head)
    if kept is None:
        _may_be_taken_up(theirs, path)
    elif kept.jws != newest.jws:
        await _must_go_on(connection, kept, theirs.head)
    return newest


def _may_begin(kept: KeptHead | None) -> None:
    """Allow a first checkpoint where none was signed before, or where its commit never came about."""
    if kept is None or kept.checkpoint is None:
        return
    if kept.committed or kept.checkpoint.before is not None:
        raise _rewritten(f"it has no checkpoint at all, and we signed one of {kept.checkpoint.head.size} entries")


def _may_be_taken_up(theirs: Checkpoint, path: Path) -> None:
    """Take up the head of a journal from before heads were kept; a head that was kept and is gone is another matter."""
    if theirs.joined:
        raise _rewritten(
            f"{path} is missing, though who signed the last checkpoint of {theirs.head.size} entries kept its head "
            "there, so that nothing here shows whether the database was changed; put the file back"
        )


def ours(newest: Signed, log: str, keys: Mapping[str, bytes]) -> Checkpoint:
    """Read a stored checkpoint. Raises JournalRewrittenError where no key of ours signed it for this log."""
    try:
        found = open_checkpoint(newest.jws, keys)
    except EvidenceError as error:
        raise _rewritten(f"its last checkpoint of {newest.size} entries is not ours ({error})") from error
    if found.head != Head(newest.size, newest.root) or found.log != log:
        raise _rewritten(f"its last checkpoint of {newest.size} entries is not what was signed")
    return found


async def whole(connection: Connection, head: Head) -> None:
    """Look whether the stored tree has this root and its last leaves are those of the entries.

    Raises JournalRewrittenError.
    """
    ranges = [Range(0, head.size)]
    try:
        root = Tiles(head.size, await store.tiles(connection, tiles_of(ranges))).root()
    except LookupError:
        root = b""
    if root != head.root:
        raise _rewritten(f"its tree of {head.size} entries does not have the root that was signed")
    if said := await altered(connection, (head.size - 1) // TILE, head.size):
        raise _rewritten(said)


async def altered(connection: Connection, tile: int, size: int) -> str:
    """Compare the entries of a leaf tile with their hashes in the tree; return what is wrong, "" where nothing is."""
    first = tile * TILE
    count = min(TILE, size - first)
    entries = await store.page(connection, first, count)
    hashes = b"".join(leaf_hash(entry.entry.encode()) for entry in entries)
    stored = (await store.tiles(connection, [(0, tile)])).get((0, tile), b"")
    # Leaves beyond the size may be those of a sealing that was cut short: the next one writes over them.
    if len(entries) == count and stored.startswith(hashes):
        return ""
    return f"one of its entries {first} to {first + count - 1} was changed or taken away"


async def _must_go_on(connection: Connection, kept: KeptHead, head: Head) -> None:
    """Raise JournalRewrittenError unless a proof leads from the head that was kept to this one.

    A head whose commit is not known may not have come about: then what goes on from the head before it is right, too.
    """
    if kept.checkpoint is None:
        return
    signed = kept.checkpoint.head
    if await _goes_on(connection, signed, head):
        return
    if not kept.committed and await _goes_on(connection, kept.checkpoint.before, head):
        return
    if head.size < signed.size:
        raise _rewritten(
            f"it ends with {head.size} entries, and we signed {signed.size}: it is older, or was cut short"
        )
    raise _rewritten(f"its {head.size} entries do not begin with the {signed.size} that we signed")


async def _goes_on(connection: Connection, old: Head | None, new: Head) -> bool:
    if old is None:
        return True
    if not old.size < new.size:
        return old == new
    stored = await store.checkpoint(connection, old.size)
    if stored is None or stored.root != old.root:
        return False  # what came after it must have it as the one before
    ranges = consistency_ranges(old.size, new.size)
    try:
        proof = proved(ranges, Tiles(new.size, await store.tiles(connection, tiles_of(ranges))).node)
    except LookupError:
        return False
    return consistent(old.size, old.root, new.size, new.root, proof)


async def patrol(connection: Connection, signer: Signer) -> str:
    """Read the next full tile of entries again and return what is wrong with it, "" where nothing is.

    A tile a second: in the end every entry is looked at, a million in two hours. What was found is looked at again
    first, so that a mended journal is noticed.
    """
    newest = await store.newest(connection)
    if newest is None:
        return ""
    tiles = -(-newest.size // TILE)
    tile = signer.patrolled % tiles
    said = await altered(connection, tile, newest.size)
    signer.patrolled = tile if said else tile + 1
    return said


async def accept(connection: Connection, keyring: Keyring, *, size: int) -> str:
    """Look whether a person may go on from this database's head of `size` entries, and return its checkpoint.

    The caller is the only sealer, has checked the entries, and writes the head when the rest is committed. Raises
    ConfigError, JournalRewrittenError.
    """
    newest = await store.newest(connection)
    there = newest.size if newest else 0
    if there != size:
        raise ConfigError(f"--branch {size}: the journal in this database has {there} entries; say --branch {there}")
    if (end := await store.end(connection)) != there:
        raise ConfigError(
            f"the journal in this database has entries up to {end}, and its last checkpoint is of {there}: no gateway "
            "made that, and it cannot be gone on from; restore a backup"
        )
    if newest is None:
        return ""
    await whole(connection, ours(newest, await store.log_id(connection), keyring.public).head)
    return newest.jws


def remembered(memory: Memory, keys: Mapping[str, bytes]) -> int:
    """Return how many entries the head that was kept is of, 0 where there is none or it cannot be read."""
    try:
        kept = memory.read(keys)
    except HeadNotKeptError:
        return 0
    return unsigned_head(kept.jws)[0] if kept else 0


def _rewritten(what: str) -> JournalRewrittenError:
    return JournalRewrittenError(f"the evidence journal in this database was rewritten: {what}; {_NEXT}")

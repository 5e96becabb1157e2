"""The evidence journal at work: sealing, receipts, proofs, exports, and the check of the whole.

Sealing is a chore of any one gateway, about once a second: it gives what was committed since its positions, grows the
tree and signs its head once. So a message costs no signature, and the inbox knows nothing of all this.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from gateway.errors import EvidenceError, HeadNotKeptError, JournalRewrittenError
from gateway.evidence.head import Memory
from gateway.evidence.journal import Chain, Checkpoint, Head, export_head, make_receipt, sign_checkpoint
from gateway.evidence.merkle import (
    HASH_BYTES,
    TILE,
    Tiles,
    consistency_ranges,
    growing_tiles,
    inclusion_ranges,
    proved,
    tiles_of,
)
from gateway.observe.logging import describe
from gateway.pipeline.bodies import Bodies, compare
from gateway.pipeline.incident import JOURNAL
from gateway.pipeline.signer import join, joined, patrol
from gateway.store import journal as store
from gateway.store.journal import Found, Signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from gateway.evidence.head import KeptHead
    from gateway.evidence.keys import Keyring
    from gateway.evidence.merkle import Range
    from gateway.observe.metrics import Metrics
    from gateway.pipeline.context import Context
    from gateway.pipeline.signer import Signer
    from gateway.store.database import Connection, Database

SEAL_S = 1.0
ENTRIES = 1024  # in one sealing: a few milliseconds of this process
_SLICE = 256  # leaves hashed in one go, before others get their turn
_LATE_S = 30.0
_AGAIN_S = 300.0  # between two lines about one trouble
_log = structlog.get_logger()


async def run(context: Context) -> None:
    """Seal what was committed, again and again, until cancelled. Off while the schema has no journal."""
    quiet_until = 0.0
    while True:
        await asyncio.sleep(SEAL_S)
        if context.schema_level < store.LEVEL:
            continue
        late, error = 0.0, None
        try:
            await _seal_all(context)
            late = await _observe(context.database, context.metrics)
        except Exception as failed:  # noqa: BLE001 - what is not sealed now is sealed later; births go on meanwhile
            error = failed
        _note(context, error)
        if error is None and late < _LATE_S and not context.signer.altered:
            quiet_until = 0.0
        elif time.monotonic() >= quiet_until:
            quiet_until = time.monotonic() + _AGAIN_S
            _tell(late, error or altered_entries(context.signer))


async def _seal_all(context: Context) -> None:
    memory = context.signer.remembers(context.keyring)
    more = True
    while more:
        more = await seal(context.database, context.keyring, memory) >= ENTRIES
    async with context.database.connection() as connection:
        context.signer.altered = await patrol(connection, context.signer)


def _note(context: Context, error: Exception | None) -> None:
    """Keep for /readyz, incidents and metrics why nothing is signed, or what was found altered."""
    refused = error if isinstance(error, JournalRewrittenError | HeadNotKeptError) else None
    context.signer.refusal = str(refused) if refused else ""
    said = refused or altered_entries(context.signer)
    context.metrics.journal_rewritten.set(isinstance(said, JournalRewrittenError))
    if said is not None:
        context.incidents.seen(said.code, JOURNAL)
    elif error is None:
        context.incidents.works(JOURNAL)


def altered_entries(signer: Signer) -> JournalRewrittenError | None:
    """Return what the patrol found, as the error it is. The tree is as it was: what is signed on it is right."""
    if not signer.altered:
        return None
    return JournalRewrittenError(
        f"the evidence journal in this database was rewritten: {signer.altered}; the tree is as it was signed, and "
        "receipts of these entries cannot be checked. `procot evidence check` names them; restore them from a backup"
    )


def _tell(late: float, error: Exception | None) -> None:
    """Say that sealing does not work; not a line an attempt."""
    if isinstance(error, JournalRewrittenError):
        _log.error("journal.rewritten", code=error.code, **describe(error))
    elif error is not None:
        _log.warning("journal.not_sealed", **describe(error))
    else:
        _log.warning("journal.late", seconds=round(late))


async def seal(database: Database, keyring: Keyring, memory: Memory | None = None) -> int:
    """Seal the oldest of what waits, in one transaction, and return how many entries they are.

    0 where nothing waits or another process is at it; `ENTRIES` or more where more may wait. The new head is written
    beside the keys (`memory`) before its commit, and confirmed after it.

    Raises KeyMissingError, JournalRewrittenError, HeadNotKeptError, StoreUnavailableError; then everything waits as
    before.
    """
    started = time.perf_counter()
    memory = memory or Memory(keyring.directory)
    async with database.transaction() as connection:
        if not await store.alone(connection):
            return 0
        before = await join(connection, memory, keyring.public)
        size = before.size if before else 0
        hashes = await _take(connection, keyring, size)
        if not hashes:
            return 0
        tree = Tiles(size, await store.tiles(connection, growing_tiles(size)))
        await _grow(tree, hashes)
        signed = await _signed(connection, keyring, tree, before)
        await asyncio.to_thread(memory.write, signed.jws, committed=False)
        await store.keep_tiles(connection, {key: tree.content(key) for key in tree.changed})
        await store.keep_checkpoint(connection, signed)
    await asyncio.to_thread(memory.confirm, signed.jws)
    spent = round((time.perf_counter() - started) * 1000, 2)
    _log.info("journal.checkpoint", entries=len(hashes), size=signed.size, key_id=signed.key_id, duration_ms=spent)
    return len(hashes)


async def _take(connection: Connection, keyring: Keyring, size: int) -> list[bytes]:
    """Give what waits its positions; numbers of certificates get their keyed hash here, by a key no database knows."""
    keyed = {number: keyring.number(number) for number in await store.numbers(connection, entries=ENTRIES)}
    key_id = keyring.number_key_id if keyed else ""
    return await store.seal(connection, size, entries=ENTRIES, keyed=keyed, key_id=key_id)


async def _signed(connection: Connection, keyring: Keyring, tree: Tiles, before: Signed | None) -> Signed:
    """Sign a tree's head, behind the checkpoint before it."""
    at, key = await store.now(connection), keyring.signing
    head = Head(tree.size, tree.root())
    behind = Head(before.size, before.root) if before else None
    jws = sign_checkpoint(Checkpoint(await store.log_id(connection), head, _rfc3339(at), behind), key)
    return Signed(head.size, head.root, at, key.key_id, jws)


async def _grow(tree: Tiles, hashes: list[bytes]) -> None:
    for number, leaf in enumerate(hashes, 1):
        tree.append(leaf)
        if number % _SLICE == 0:
            await asyncio.sleep(0)


async def _observe(database: Database, metrics: Metrics) -> float:
    """Keep the gauges and return the age of the oldest entry that is not sealed."""
    entries, oldest_s, size, checkpoint_s = await store.waiting(database)
    metrics.journal_unsealed.set(entries)
    metrics.journal_unsealed_seconds.set(oldest_s)
    metrics.journal_entries.set(size)
    metrics.journal_checkpoint_seconds.set(checkpoint_s)
    return oldest_s


def _rfc3339(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# ------------------------------------------------------------------------------------------------------------ proofs


async def receipt(connection: Connection, found: Found) -> dict[str, Any]:
    """Return the receipt of a sealed entry, under the newest checkpoint."""
    newest = await _newest(connection)
    proof = await _proof(connection, inclusion_ranges(found.position, newest.size), newest.size)
    return make_receipt(found.position, found.entry, proof, newest.jws)


async def consistency(connection: Connection, old: int, new: int) -> list[bytes]:
    """Return the proof that the journal of size `new` begins with the one of size `old`. Raises ValueError."""
    return await _proof(connection, consistency_ranges(old, new), new)


async def leaves(connection: Connection, first: int, count: int) -> list[bytes]:
    """Return the hashes of `count` leaves from `first` on, which must be there."""
    numbers = range(first // TILE, (first + count - 1) // TILE + 1)
    tiles = await store.tiles(connection, [(0, number) for number in numbers])
    hashes = b"".join(tiles.get((0, number), b"") for number in numbers)
    skipped = first % TILE
    return [hashes[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(skipped, skipped + count)]


async def _newest(connection: Connection) -> Signed:
    newest = await store.newest(connection)
    if newest is None:
        raise EvidenceError("the journal has no checkpoint yet")
    return newest


async def _proof(connection: Connection, ranges: list[Range], size: int) -> list[bytes]:
    tree = Tiles(size, await store.tiles(connection, tiles_of(ranges)))
    return proved(ranges, tree.node)


# ------------------------------------------------------------------------------------------------- export and check


async def export(connection: Connection, progress: Callable[[int, int], None]) -> AsyncIterator[dict[str, Any]]:
    """Yield the lines of an export of the whole journal. `progress` is told entries done and entries there are."""
    newest = await _newest(connection)
    yield export_head(await store.log_id(connection))
    async for item in store.everything(connection, upto=newest.size):
        if isinstance(item, Found):
            yield {"position": item.position, "entry": item.entry}
        else:
            progress(item.size, newest.size)
            yield {"checkpoint": item.jws}


@dataclass(slots=True)
class Checked:
    """What a check of the whole found; `problems` in sentences, without personal data."""

    entries: int = 0
    checkpoints: int = 0
    unsealed: int = 0
    time: str = ""  # of the last checkpoint
    chain: str = ""  # what is wrong with entries and checkpoints by themselves, "" where nothing is
    problems: list[str] = field(default_factory=list)
    bodies: Bodies = field(default_factory=Bodies)


async def check(
    database: Database,
    keys: Mapping[str, bytes],
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
    *,
    keyring: Keyring | None = None,
) -> Checked:
    """Check journal and tables against each other, in one snapshot; nothing is written and nobody is held up.

    1. Every entry and every checkpoint, in order: places, roots, signatures by `keys` (public halves by key id), each
       checkpoint behind the one before. 2. The stored tree has the entries' hashes, so that receipts can be proved.
    3. Every body is hashed again and compared with its entry, and every entry has its body (pipeline.bodies). 4. Where
       `keyring` is given: the journal goes on from the head kept beside those keys, and akta numbers are those that
       were issued. Raises StoreUnavailableError.
    """
    found = Checked(unsealed=(await store.waiting(database))[0])
    kept, problems = _kept(keyring)  # before the snapshot, which is never behind it then
    found.problems += problems
    async with database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        newest = await store.newest(connection)
        chain = Chain(await store.log_id(connection), keys)
        try:
            if newest is not None:
                await _follow(connection, chain, newest.size, progress)
        except EvidenceError as error:
            found.chain = str(error)
            found.problems.append(found.chain)
        try:
            if keyring is not None and not problems:
                await joined(connection, kept, keyring.public, path=Memory(keyring.directory).path)
        except JournalRewrittenError as error:
            found.problems.append(str(error))
        found.entries, found.checkpoints = chain.size, chain.checkpoints
        found.time = chain.last.time if chain.last else ""
        found.bodies = await compare(connection, keyring, progress)
        found.problems += found.bodies.problems
    return found


def _kept(keyring: Keyring | None) -> tuple[KeptHead | None, list[str]]:
    """Return the head kept beside the keys, or why it cannot be had."""
    try:
        return (Memory(keyring.directory).read(keyring.public), []) if keyring else (None, [])
    except HeadNotKeptError as error:
        return None, [str(error)]


async def _follow(connection: Connection, chain: Chain, size: int, progress: Callable[[str, int, int], None]) -> None:
    told: list[bytes] = []
    async for item in store.everything(connection, upto=size):
        if isinstance(item, Signed):
            checkpoint = chain.checkpoint(item.jws)
            if checkpoint.head != Head(item.size, item.root):
                raise EvidenceError(f"checkpoint of {item.size} entries: its columns are not what was signed")
            progress("journal", item.size, size)
            continue
        told.append(chain.entry(item.position, item.entry))
        if len(told) == TILE or item.position == size - 1:
            first = item.position + 1 - len(told)
            if await leaves(connection, first, len(told)) != told:
                raise EvidenceError(f"tree: its leaves {first} to {item.position} are not those of the entries")
            told.clear()
    if chain.size != size or chain.uncovered:
        raise EvidenceError(f"entries {chain.size} to {size - 1} are missing, or their checkpoint is")

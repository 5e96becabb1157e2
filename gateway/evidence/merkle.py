"""The Merkle tree of RFC 9162 (RFC 6962): leaf and node hashes, inclusion and consistency proofs. Plain functions.

A leaf is SHA-256(0x00 || entry), a node SHA-256(0x01 || left || right), so that no entry passes for a node (section
2.1.1). Whoever stores a tree stores its perfect subtrees (`Node`) only: they never change once they are there, and
every proof for every size of the tree is made of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
TILE_BITS = 7
TILE = 1 << TILE_BITS  # hashes in a stored tile, 4 KiB


class Node(NamedTuple):
    """The perfect subtree over leaves `number << height` to `(number + 1) << height`."""

    height: int
    number: int


class Range(NamedTuple):
    """Leaves `low` to `high`, without `high`: what one hash of a proof stands for."""

    low: int
    high: int


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def empty_root() -> bytes:
    """Return the root of the tree without leaves."""
    return hashlib.sha256().digest()


# ---------------------------------------------------------------------------------------------------- what a proof is


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return what the inclusion proof of leaf `index` in the tree of `size` is made of, in its order (2.1.3.1).

    Raises ValueError where there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} has no leaf {index}")
    path: list[Range] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(Range(middle, high))
            high = middle
        else:
            path.append(Range(low, middle))
            low = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return what the proof that the tree of `new` begins with the tree of `old` is made of (2.1.4.1).

    Raises ValueError unless 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ValueError(f"no proof leads from a tree of {old} to one of {new}; name a size from 1 to {new}")
    path: list[Range] = []
    low, high, whole = 0, new, True  # whole: what is left of the old tree is the old tree itself
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(Range(middle, high))
            high = middle
        else:
            path.append(Range(low, middle))
            low, whole = middle, False
    if not whole:
        path.append(Range(low, high))
    return path[::-1]


def nodes_of(leaves: Range) -> list[Node]:
    """Return the perfect subtrees that a proof's range is made of, left to right."""
    low, high = leaves
    nodes = []
    while low < high:
        height = (high - low).bit_length() - 1
        nodes.append(Node(height, low >> height))
        low += 1 << height
    return nodes


def folded(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over neighbouring perfect subtrees of falling height, left to right."""
    if not hashes:
        return empty_root()
    found = hashes[-1]
    for left in hashes[-2::-1]:
        found = node_hash(left, found)
    return found


def proved(ranges: Iterable[Range], node: Callable[[Node], bytes]) -> list[bytes]:
    """Return the hashes of a proof, by a way to have those of perfect subtrees."""
    return [folded([node(part) for part in nodes_of(leaves)]) for leaves in ranges]


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


# -------------------------------------------------------------------------------------------------------- the checks


def root_by_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that a proof leads to (2.1.3.2), None where its length does not fit: then nothing is proved."""
    if not 0 <= index < size:
        return None
    first, last, found = index, size - 1, leaf
    for hashed in proof:
        if last == 0:
            return None
        if first & 1 or first == last:
            found = node_hash(hashed, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node_hash(found, hashed)
        first, last = first >> 1, last >> 1
    return found if last == 0 else None


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that the tree of `new` begins with the tree of `old` (2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if not 0 < old < new or not proof:
        return False
    hashes = list(proof) if old & (old - 1) else [old_root, *proof]
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    found_old = found_new = hashes[0]
    for hashed in hashes[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            found_old, found_new = node_hash(hashed, found_old), node_hash(hashed, found_new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found_new = node_hash(found_new, hashed)
        first, last = first >> 1, last >> 1
    return last == 0 and found_old == old_root and found_new == new_root


# --------------------------------------------------------------------------------------------------------- the trees


class Peaks:
    """A tree that is only ever read to its end: what it takes to know the root, and no more."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        found, full = leaf, self.size
        while full & 1:
            found = node_hash(self._peaks.pop(), found)
            full >>= 1
        self._peaks.append(found)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        return folded(self._peaks)


class Tiles:
    """A stored tree: rows of up to 128 hashes, at level n those of the perfect subtrees of 128^n leaves."""

    def __init__(self, size: int, tiles: dict[tuple[int, int], bytes]) -> None:
        self.size = size
        self._tiles = {key: bytearray(hashes) for key, hashes in tiles.items()}
        self.changed: set[tuple[int, int]] = set()

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash, and to the levels above what it completes."""
        level, number, hashed = 0, self.size, leaf
        self.size += 1
        while True:
            key = (level, number >> TILE_BITS)
            tile = self._tiles.setdefault(key, bytearray())
            del tile[(number & TILE - 1) * HASH_BYTES :]
            tile += hashed
            self.changed.add(key)
            number += 1
            if number & TILE - 1:
                return
            hashed = _perfect(tile, TILE_BITS, 0)
            level, number = level + 1, (number >> TILE_BITS) - 1

    def node(self, node: Node) -> bytes:
        """Return the hash of a perfect subtree. Raises LookupError where its tile is not at hand, or too short."""
        level, above = divmod(node.height, TILE_BITS)
        first = node.number << above
        tile = self._tiles[level, first >> TILE_BITS]
        within = first & TILE - 1
        if len(tile) < (within + (1 << above)) * HASH_BYTES:
            raise LookupError(f"tile {level}/{first >> TILE_BITS} of the tree is incomplete")
        return _perfect(tile, above, within)

    def root(self) -> bytes:
        """Return the root over all leaves."""
        return folded([self.node(part) for part in nodes_of(Range(0, self.size))])

    def content(self, key: tuple[int, int]) -> bytes:
        """Return the hashes of a tile."""
        return bytes(self._tiles[key])


def tile_of(node: Node) -> tuple[int, int]:
    """Return level and number of the tile that holds a perfect subtree."""
    level, above = divmod(node.height, TILE_BITS)
    return level, node.number << above >> TILE_BITS


def tiles_of(ranges: Iterable[Range]) -> set[tuple[int, int]]:
    """Return the tiles that a proof needs."""
    return {tile_of(node) for leaves in ranges for node in nodes_of(leaves)}


def growing_tiles(size: int) -> set[tuple[int, int]]:
    """Return the tiles that the next leaves of a tree go to, and those its root needs."""
    return tiles_of([Range(0, size)])


def _perfect(tile: bytes | bytearray, height: int, first: int) -> bytes:
    """Return the root over `1 << height` hashes of a tile, from the `first` one on."""
    row = [bytes(tile[i * HASH_BYTES : (i + 1) * HASH_BYTES]) for i in range(first, first + (1 << height))]
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]

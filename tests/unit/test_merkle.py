"""The Merkle tree: RFC 9162's definition is the oracle; any size, any leaf, any two sizes, and any altered byte."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.merkle import (
    TILE,
    Peaks,
    Range,
    Tiles,
    consistency_ranges,
    consistent,
    empty_root,
    growing_tiles,
    inclusion_ranges,
    leaf_hash,
    proved,
    root_by_inclusion,
    tiles_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = st.integers(1, 300)


def entries(size: int) -> list[bytes]:
    return [b"entry %d" % n for n in range(size)]


def by_definition(leaves: Sequence[bytes]) -> bytes:
    """Return MTH of RFC 9162 section 2.1.1, written as it stands there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


def stored(size: int) -> Tiles:
    tree = Tiles(0, {})
    for entry in entries(size):
        tree.append(leaf_hash(entry))
    return tree


def changed(proof: list[bytes], bit: int) -> list[bytes]:
    number, within = divmod(bit % (len(proof) * 256), 256)
    broken = bytearray(proof[number])
    broken[within // 8] ^= 1 << within % 8
    return [*proof[:number], bytes(broken), *proof[number + 1 :]]


def test_hashes_are_those_of_the_published_test_vectors() -> None:
    # Of Certificate Transparency's reference implementation: the empty tree, and one and two leaves of it.
    assert empty_root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    tree = Peaks()
    tree.append(leaf_hash(b""))
    tree.append(leaf_hash(b"\x00"))
    assert tree.root().hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"


@given(st.integers(0, 300))
def test_both_trees_have_the_root_of_the_definition(size: int) -> None:
    peaks, tiles = Peaks(), stored(size)
    for entry in entries(size):
        peaks.append(leaf_hash(entry))
    assert peaks.root() == tiles.root() == by_definition(entries(size))


@given(SIZES, st.data())
def test_every_leaf_is_proved_and_no_other_one(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    tree, all_entries = stored(size), entries(size)
    proof = proved(inclusion_ranges(index, size), tree.node)
    root = tree.root()
    leaf = leaf_hash(all_entries[index])
    assert root_by_inclusion(leaf, index, size, proof) == root
    assert root_by_inclusion(leaf_hash(b"another"), index, size, proof) != root
    other = data.draw(st.integers(-1, size + 1).filter(lambda n: n != index))
    assert root_by_inclusion(leaf, other, size, proof) != root
    assert root_by_inclusion(leaf, index, size, [*proof, leaf]) is None
    if proof:
        assert root_by_inclusion(leaf, index, size, proof[:-1]) is None
        assert root_by_inclusion(leaf, index, size, changed(proof, data.draw(st.integers(0, 10_000)))) != root


@given(SIZES, SIZES, st.data())
def test_every_later_tree_is_consistent_with_every_earlier_one_and_with_no_other(
    one: int, other: int, data: st.DataObject
) -> None:
    old, new = sorted((one, other))
    old_root, new_root = stored(old).root(), stored(new).root()
    proof = proved(consistency_ranges(old, new), stored(new).node)
    assert consistent(old, old_root, new, new_root, proof)
    assert not consistent(old, leaf_hash(b"another"), new, new_root, proof)
    assert not consistent(old, old_root, new, leaf_hash(b"another"), proof)
    assert not consistent(old, old_root, new, new_root, [*proof, old_root])
    if proof:
        assert not consistent(old, old_root, new, new_root, proof[:-1])
        assert not consistent(old, old_root, new, new_root, changed(proof, data.draw(st.integers(0, 10_000))))
    if old < new:
        assert not consistent(old, old_root, new, new_root, [])


@given(st.integers(0, 3 * TILE), st.integers(1, 2 * TILE))
def test_a_stored_tree_goes_on_from_the_few_tiles_that_grow(size: int, more: int) -> None:
    before, whole = stored(size), stored(size + more)
    tree = Tiles(size, {key: before.content(key) for key in growing_tiles(size)})
    for entry in entries(size + more)[size:]:
        tree.append(leaf_hash(entry))
    assert tree.root() == whole.root()
    assert all(tree.content(key) == whole.content(key) for key in tree.changed)


def test_a_tile_that_holds_more_than_the_size_says_is_cut_where_the_tree_goes_on() -> None:
    tree = Tiles(3, {(0, 0): stored(5).content((0, 0))})
    tree.append(leaf_hash(b"entry 3"))
    assert tree.root() == stored(4).root()


@given(st.integers(1, 3 * TILE), st.data())
def test_a_proof_of_an_older_size_is_made_from_a_tree_that_has_grown(size: int, data: st.DataObject) -> None:
    grown = stored(size + data.draw(st.integers(0, 2 * TILE)))
    index = data.draw(st.integers(0, size - 1))
    ranges = inclusion_ranges(index, size)
    few = Tiles(size, {key: grown.content(key) for key in tiles_of(ranges)})
    proof = proved(ranges, few.node)
    assert root_by_inclusion(leaf_hash(entries(size)[index]), index, size, proof) == stored(size).root()


def test_three_levels_of_tiles_hold_together() -> None:
    size = TILE * TILE + TILE + 1
    tree, peaks = stored(size), Peaks()
    for entry in entries(size):
        peaks.append(leaf_hash(entry))
    assert tree.root() == peaks.root()
    proof = proved(inclusion_ranges(77, size), tree.node)
    assert root_by_inclusion(leaf_hash(b"entry 77"), 77, size, proof) == peaks.root()


def test_a_tile_that_is_missing_or_short_is_an_error_and_no_wrong_proof() -> None:
    tree = Tiles(4, {(0, 0): stored(2).content((0, 0))})
    with pytest.raises(LookupError, match="incomplete"):
        tree.root()
    with pytest.raises(LookupError):
        Tiles(4, {}).root()


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 5)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_ranges(index, size)
    assert root_by_inclusion(leaf_hash(b""), index, size, []) is None


@pytest.mark.parametrize(("old", "new"), [(0, 1), (2, 1), (-1, 1)])
def test_there_is_no_proof_from_a_larger_or_empty_tree(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="no proof leads"):
        consistency_ranges(old, new)
    assert not consistent(old, empty_root(), new, empty_root(), [])


def test_ranges_are_the_ones_of_the_example_in_the_standard() -> None:
    # RFC 9162 section 2.1.5: proofs in the tree of seven leaves, of d0, and from three, four and six.
    assert inclusion_ranges(0, 7) == [Range(1, 2), Range(2, 4), Range(4, 7)]
    assert consistency_ranges(3, 7) == [Range(2, 3), Range(3, 4), Range(0, 2), Range(4, 7)]
    assert consistency_ranges(4, 7) == [Range(4, 7)]
    assert consistency_ranges(6, 7) == [Range(4, 6), Range(6, 7), Range(0, 4)]

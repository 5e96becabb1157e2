"""Receipts and exports: what is good stays good, and no altered byte changes what is proved."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EvidenceError
from gateway.evidence.journal import (
    Checkpoint,
    Head,
    Receipt,
    export_head,
    make_receipt,
    open_checkpoint,
    sign_checkpoint,
    verify_export,
    verify_receipt,
)
from gateway.evidence.keys import Keyring
from gateway.evidence.merkle import Tiles, inclusion_ranges, leaf_hash, proved

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG = str(uuid.UUID(int=1))


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    made = Keyring(tmp_path_factory.mktemp("keys"))
    made.open()
    return made


def text(number: int) -> str:
    return json.dumps({"at": f"2026-11-24T00:00:00.{number:06}Z", "kind": "message"}, separators=(",", ":"))


def journal(ring: Keyring, sizes: Sequence[int]) -> tuple[Tiles, list[dict[str, Any]]]:
    """Return a journal's tree and the lines of its export, with a checkpoint at each of some sizes."""
    tree, lines, before = Tiles(0, {}), [export_head(LOG)], None
    for number in range(sizes[-1]):
        tree.append(leaf_hash(text(number).encode()))
        lines.append({"position": number, "entry": text(number)})
        if tree.size in sizes:
            head = Head(tree.size, tree.root())
            jws = sign_checkpoint(Checkpoint(LOG, head, "2026-11-24T00:00:01Z", before), ring.signing)
            lines.append({"checkpoint": jws})
            before = head
    return tree, lines


def receipt(ring: Keyring, position: int, size: int) -> dict[str, Any]:
    tree, lines = journal(ring, [size])
    return make_receipt(
        position, text(position), proved(inclusion_ranges(position, size), tree.node), lines[-1]["checkpoint"]
    )


def verified(content: bytes, ring: Keyring) -> Receipt | None:
    """Return what a receipt's bytes prove, None where they prove nothing."""
    try:
        return verify_receipt(json.loads(content), ring.public)
    except (ValueError, EvidenceError, AttributeError):
        return None


@given(st.integers(1, 40), st.data())
def test_a_receipt_with_an_altered_byte_proves_nothing_else_than_it_did(
    ring: Keyring, size: int, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, size - 1))
    content = bytearray(json.dumps(receipt(ring, position, size)).encode())
    good = verified(bytes(content), ring)
    assert good is not None
    assert (good.position, good.entry, good.checkpoint.head.size) == (position, json.loads(text(position)), size)
    place, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    content[place] ^= 1 << bit
    found = verified(bytes(content), ring)
    assert found is None or found == good  # a letter of hex in the other case, a space for a tab


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True).map(sorted), st.data())
def test_an_export_without_any_one_of_its_lines_or_with_two_exchanged_is_not_good(
    ring: Keyring, sizes: list[int], data: st.DataObject
) -> None:
    _, made = journal(ring, sizes)
    lines = [json.dumps(line).encode() for line in made]
    chain = list(verify_export(json.loads(lines[0]), lines[1:], ring.public))[-1]
    assert (chain.size, chain.checkpoints) == (sizes[-1], len(sizes))
    gone = data.draw(st.integers(1, len(lines) - 1))
    shorter = [line for number, line in enumerate(lines) if number != gone]
    with pytest.raises(EvidenceError):
        list(verify_export(json.loads(shorter[0]), shorter[1:], ring.public))
    if len(lines) > 2:
        one = data.draw(st.integers(1, len(lines) - 2))
        lines[one], lines[one + 1] = lines[one + 1], lines[one]
        with pytest.raises(EvidenceError):
            list(verify_export(json.loads(lines[0]), lines[1:], ring.public))


@pytest.mark.parametrize("entry", ["\ud800", "[" * 100_000, ""])
def test_an_entry_that_is_no_text_or_no_json_is_refused_and_breaks_nothing(ring: Keyring, entry: str) -> None:
    with pytest.raises(EvidenceError, match="entry 0"):
        verify_receipt(receipt(ring, 0, 1) | {"entry": entry}, ring.public)
    line = json.dumps({"position": 0, "entry": entry}).encode()
    with pytest.raises(EvidenceError):
        list(verify_export(export_head(LOG), [line], ring.public))


def test_a_checkpoint_of_another_log_is_refused(ring: Keyring) -> None:
    with pytest.raises(EvidenceError, match="of log"):
        verify_receipt(receipt(ring, 0, 1), ring.public, log=str(uuid.UUID(int=2)))


@pytest.mark.parametrize(
    "change", [{"size": 0}, {"size": "1"}, {"root": "00"}, {"log": "x"}, {"previous": {}}, {"root": None}, {"log": 1}]
)
def test_what_is_signed_and_no_checkpoint_is_refused(ring: Keyring, change: dict[str, Any]) -> None:
    from gateway.evidence.envelope import sign_compact  # noqa: PLC0415 - to sign what the product never would

    good = {"log": LOG, "size": 1, "root": "00" * 32, "time": "x", "previous": None}
    signed = sign_compact(json.dumps(good).encode(), ring.signing, typ="procot-checkpoint+jws")
    assert open_checkpoint(signed, ring.public).head.size == 1
    bad = sign_compact(json.dumps(good | change).encode(), ring.signing, typ="procot-checkpoint+jws")
    with pytest.raises(EvidenceError, match="not in the form of one"):
        open_checkpoint(bad, ring.public)

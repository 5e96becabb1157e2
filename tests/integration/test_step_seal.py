"""The step seal: the signed bytes are canonical, kept and verifiable, and a missing key is tried again."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from gateway.contract.lifecycle import State
from gateway.errors import KeyMissingError
from gateway.evidence.canonical import canonical
from gateway.evidence.keys import Keyring
from gateway.store import births
from gateway.store.queue import Kind
from tests.simulators.journey import Journey, notice

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc: RFC 9864 renames it, its meaning stays
async def test_the_signed_bytes_are_kept_canonical_and_verifiable(way: Journey) -> None:
    await way.tell(notice())
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)
    birth = await way.birth()
    row = await way.database.fetchrow("SELECT * FROM seals")
    assert row is not None
    document = way.registry.document(birth.record, birth_id=str(birth.id), revision=1, twins=None)
    assert row["payload"] == canonical(document)
    assert row["sha256"] == hashlib.sha256(row["payload"]).hexdigest()
    published = next(k for k in way.context.keyring.jwks()["keys"] if k["kid"] == row["key_id"])
    key = OKPKey.import_key({**published})
    header, _, signature = row["signature"].split(".")
    attached = f"{header}.{_b64(row['payload'])}.{signature}"
    assert jws.deserialize_compact(attached, key, algorithms=["EdDSA"]).payload == row["payload"]
    await way.step(Kind.SUBMIT)
    assert (way.registry.submissions[0].payload, way.registry.submissions[0].signature) == (
        row["payload"],
        row["signature"],
    )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_a_missing_key_leaves_the_birth_ready_and_is_tried_again(
    way: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.step(Kind.CHECK)
    monkeypatch.setattr(way.context.keyring, "_keys", [])
    with pytest.raises(KeyMissingError):
        await way.step(Kind.SEAL)
    await way.hurry()
    await way.work(Kind.SEAL)
    assert await way.state() is State.READY
    assert (await way.task(Kind.SEAL))["last_error"] == "KEY_MISSING"
    monkeypatch.setattr(way.context.keyring, "_keys", _opened(tmp_path / "keys"))
    await way.hurry()
    await way.work(Kind.SEAL)
    assert await way.state() is State.SEALED


def _opened(directory: Path) -> list[object]:
    keyring = Keyring(directory)
    keyring.open()
    return list(keyring.keys)


async def test_a_birth_that_left_ready_is_not_sealed(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.step(Kind.CHECK)
    async with way.database.transaction() as connection:
        await births.move(connection, await way.birth(), State.REVIEW, births.Why("officer", "test"))
    await way.step(Kind.SEAL)
    assert await way.count("seals") == 0

"""The step collect: the certificate's file by its digest, and the two letters, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.errors import RegistryProtocolError
from gateway.pipeline import handover, operate
from gateway.store import queue
from gateway.store.queue import Kind
from tests.simulators.journey import Journey, control_id_of, journey
from tests.simulators.scripted_registry import PDF

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_file_is_collected_and_both_letters_are_written_once(way: Journey) -> None:
    birth = await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    assert await way.open_kinds() == ["deliver", "deliver"]
    rows = await way.database.fetch("SELECT kind, subject, control_id, message FROM outbound ORDER BY id")
    assert [(r["kind"], r["subject"]) for r in rows] == [
        ("MDM^T02", "3510-LU-20032025-9001"),
        ("ADT^A31", "3510-LU-20032025-9001"),
    ]
    assert all(control_id_of(r["message"]) == r["control_id"] for r in rows)
    assert f"https://gateway.invalid/v1/births/{birth.id}/document".encode() in rows[0]["message"].replace(
        b"\\T\\", b"&"
    )
    async with way.database.transaction() as connection:
        await queue.add(connection, Kind.COLLECT, birth_id=birth.id)
    await way.step(Kind.COLLECT)
    assert await way.count("outbound") == 2
    assert len(way.registry.fetched) == 1  # the kept file is used


async def test_a_file_with_another_digest_is_never_delivered(way: Journey) -> None:
    await way.reach(State.ISSUED)
    way.registry.on_fetch.append(PDF + b" tampered")
    await way.work()
    assert await way.state() is State.DEAD_LETTER
    assert way.hospital.received == []
    row = await way.database.fetchrow("SELECT document FROM certificates")
    assert row is not None
    assert row["document"] is None
    assert await operate.retry(way.desk(), (await way.birth()).id) is State.ISSUED
    await way.work()
    assert await way.state() is State.DELIVERED


async def test_a_birth_without_a_certificate_has_none_to_collect(way: Journey) -> None:
    birth = await way.reach(State.IN_PROCESS)
    async with way.database.transaction() as connection:
        await queue.add(connection, Kind.COLLECT, birth_id=birth.id)
    with pytest.raises(RegistryProtocolError, match="no certificate"):
        await way.step(Kind.COLLECT)


async def test_without_a_listener_the_certificate_waits_for_pick_up(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path, listener=False) as way:
        birth = await way.reach(State.ISSUED)
        await way.step(Kind.COLLECT)
        assert await way.open_kinds() == []
        assert await way.state() is State.ISSUED
        await handover.picked_up(way.context, birth.id, actor="facility:token")
        assert await way.state() is State.DELIVERED
        before = await way.snapshot()
        await handover.picked_up(way.context, birth.id, actor="facility:token")
        assert await way.snapshot() == before

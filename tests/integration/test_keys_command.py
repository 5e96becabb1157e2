"""`procot keys`: what it says is what running gateways do within seconds, and what was signed stays good."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

from gateway import app
from gateway.evidence.envelope import public_keys
from gateway.evidence.keys import Keyring
from gateway.pipeline.journal import check
from tests.simulators.command import procot
from tests.simulators.facilities import sample
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_a_key_signs_is_joined_by_another_and_retires_as_the_list_says(tmp_path: Path) -> None:
    place = ("--data", tmp_path)
    none = await procot("keys", "rotate", *place)
    assert (none.status, "there are no keys yet" in none.err) == (1, True)
    assert not (tmp_path / "keys").exists()
    await procot("keys", "new", *place)
    (first,) = (await procot("keys", "list", *place, "--json")).lines
    rotated = await procot("keys", "rotate", *place, "--after", "3600")
    assert "signs from" in rotated.out
    old, new = (await procot("keys", "list", *place, "--json")).lines
    assert (old["signs"], new["signs"]) == (True, False)
    assert dt.datetime.fromisoformat(new["signs_from"]) > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=59)
    early = await procot("keys", "retire", first["key_id"], *place, "--yes")
    assert (early.status, "no other key could sign now" in early.err) == (1, True)
    assert "within 10 seconds" in (await procot("keys", "new", *place)).out
    asked = await procot("keys", "retire", first["key_id"], *place)
    assert (asked.status, "--yes" in asked.err) == (1, True)
    done = await procot("keys", "retire", first["key_id"], *place, "--yes")
    assert done.status == 0, done.err
    rows = (await procot("keys", "list", *place, "--json")).lines
    assert [(row["signs"], bool(row["retired_at"])) for row in rows] == [(False, True), (False, False), (True, False)]
    shown = await procot("keys", "list", *place)
    assert "retired 20" in shown.out
    again = await procot("keys", "retire", first["key_id"], *place, "--yes")
    assert (again.status, "was retired before" in again.err) == (1, True)


async def test_a_running_gateway_takes_a_new_key_without_a_restart_and_the_registry_believes_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_KEYS_LOOK_S", 0.01)
    async with system(database, tmp_path) as running:
        await running.send(sample("01"))
        await running.until(control_id_of(sample("01")), "DELIVERED")
        ring, context = running.gateway.keyring, running.gateway.context
        old = ring.signing.key_id
        published: list[str] = []
        running.gateway.on_keys = lambda: published.append(ring.signing.key_id)
        beside = Keyring(ring._directory)
        beside.open()
        new = beside.new().key_id
        beside.retire(old)
        async with asyncio.timeout(60):
            while ring.signing.key_id != new or old not in [key.key_id for key in ring.retired]:  # noqa: ASYNC110 - another task or process does it
                await asyncio.sleep(0.01)
        assert published
        async with running.request("/.well-known/jwks.json") as response:
            assert set(public_keys(await response.json())) == {old, new}
        async with asyncio.timeout(60):
            while (await check(context.database, ring.public)).unsealed:  # noqa: ASYNC110 - another task or process does it
                await asyncio.sleep(0.05)
        assert (await check(context.database, ring.public)).problems == []

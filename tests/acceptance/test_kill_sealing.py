"""kill -9 of the gateway while it seals the evidence journal: the next one seals the same, once, and all of it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cli.demo_births import demo_births
from gateway.evidence.keys import Keyring
from gateway.pipeline.journal import check
from gateway.store.database import Database
from tests.acceptance.test_kill import PATIENCE_S, Counterparts, counterparts, delivered, send_until_answered

__all__ = ["counterparts"]  # a fixture of this module too
POINTS = [
    "after:gateway.store.journal.alone",
    "after:gateway.store.journal.seal",  # positions given, not committed
    "after:gateway.store.journal.keep_tiles",
    "after:gateway.store.journal.keep_checkpoint",  # signed, not committed
    "after:gateway.pipeline.journal.seal",  # committed
]


@pytest.mark.parametrize("point", POINTS)
async def test_the_journal_survives_kill_9_of_its_sealer(point: str, counterparts: Counterparts) -> None:
    (birth,) = demo_births(1)
    async with counterparts.gateway(point) as (process, address):
        await send_until_answered(address, birth)
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(process.wait) == -9, "it must have died at the point"
    keyring = Keyring(counterparts.directory / "keys")
    keyring.open()
    async with counterparts.gateway() as (_, address):
        await send_until_answered(address, birth)
        await delivered(counterparts.dsn)
        database = Database(counterparts.dsn, size=2, timeout_s=60)
        await database.open()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := await check(database, keyring.public)).unsealed:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        finally:
            await database.close()
    assert found.problems == []
    assert found.entries >= 5  # message, sealed, submitted (once an attempt), issued, delivered

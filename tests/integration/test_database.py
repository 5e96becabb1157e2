"""What the pool makes of PostgreSQL's own decisions."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import StoreUnavailableError
from gateway.store.database import Database


async def test_of_two_that_wait_for_each_other_one_is_told_to_do_it_again(database: str) -> None:
    store = Database(database, size=2, timeout_s=60)
    await store.open()
    both = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with store.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", first)
            await both.wait()
            await connection.execute("SELECT pg_advisory_xact_lock($1)", second)

    ends = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    await store.close()
    (error,) = [end for end in ends if end is not None]
    assert isinstance(error, StoreUnavailableError)
    with pytest.raises(StoreUnavailableError, match="do it again"):
        raise error

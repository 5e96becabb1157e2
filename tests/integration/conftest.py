"""What the tests of the steps share: a gateway's parts on a database of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.simulators.journey import Journey, journey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway's parts on a database of this test's own."""
    async with journey(database, tmp_path) as parts:
        yield parts

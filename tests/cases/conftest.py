"""What the cases share: a gateway's parts on a database of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.simulators.journey import Journey, journey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway whose registry and hospital do as a test says; step by step, nothing runs by itself."""
    async with journey(database, tmp_path) as parts:
        yield parts

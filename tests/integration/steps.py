"""What the tests of the steps have in common: later times, a birth as far as its seal, how its attempts ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.queue import Kind
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from tests.simulators.journey import Journey

LATER = "20250312081500+0700"
LATEST = "20250313081500+0700"


async def sealed(way: Journey) -> None:
    await way.tell(notice())
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)


async def results(way: Journey) -> list[str | None]:
    return [r["result"] for r in await way.database.fetch("SELECT result FROM attempts ORDER BY id")]

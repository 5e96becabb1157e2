"""Three gateways on one PostgreSQL are restarted in turn under load: one repetition covers whatever a sender meets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from gateway.cli.demo_births import demo_births
from gateway.config import Gateway
from tests.simulators.processes import Sender, house

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.cli.demo_births import DemoBirth
    from tests.simulators.processes import House, Node

GATEWAYS, SENDERS = 3, 4
BETWEEN_S = 0.1  # of one sender, between two births: load, not a flood
DRAIN_S = float(Gateway.model_fields["drain_s"].default)


class Row:
    """Gateways behind fixed places: whoever stands in a place may be another process later."""

    def __init__(self, house: House, stack: AsyncExitStack) -> None:
        self.house = house
        self.stack = stack
        self.nodes: list[Node] = []

    async def fill(self) -> None:
        self.nodes = [await self.stack.enter_async_context(self.house.node()) for _ in range(GATEWAYS)]

    async def restart(self, place: int) -> float:
        """Stop the process in a place, then start another there; the seconds that stopping took."""
        seconds = await self.nodes[place].stop()
        self.nodes[place] = await self.stack.enter_async_context(self.house.node())
        return seconds


async def test_a_rolling_restart_under_load_costs_a_sender_one_repetition_at_most(
    database: str, tmp_path: Path, log_directory: Path, record_property: Callable[[str, object], None]
) -> None:
    births = demo_births(2000)
    stop = asyncio.Event()
    async with house(database, tmp_path, log_directory) as home, AsyncExitStack() as stack:
        row = Row(home, stack)
        await row.fill()
        doors = [lambda place=place: row.nodes[place].mllp for place in range(GATEWAYS)]
        senders = [Sender(doors, turn=number) for number in range(SENDERS)]
        work = [asyncio.create_task(_send(s, births[n::SENDERS], stop)) for n, s in enumerate(senders)]
        drains = [await row.restart(place) for place in range(GATEWAYS)]
        stop.set()
        await asyncio.gather(*work)
        told = {control_id: code for sender in senders for control_id, code in sender.answered.items()}
        await home.until_delivered(len(told))
        open_tasks = await home.fetch("SELECT kind FROM tasks WHERE kind NOT IN ('poll')")
        attempts = await home.fetch("SELECT birth_id FROM attempts GROUP BY birth_id HAVING count(*) > 1")
        certified = home.certified()
        silences = [b - a for s in senders for a, b in zip(s.times, s.times[1:], strict=False)]
    record_property("births", len(told))
    record_property("repeated", sum(tries > 1 for sender in senders for tries in sender.tries.values()))
    record_property("longest_seconds_of_a_sender_without_aa", round(max(silences), 2))
    record_property("drain_seconds", [round(seconds, 2) for seconds in drains])
    assert set(told.values()) == {"AA"}, "a message failed twice"
    assert max(drains) < DRAIN_S
    assert [tuple(row) for row in (*open_tasks, *attempts)] == [], "something was left half done, or done twice"
    assert len(certified) == len(told)
    assert {len(letters) for letters in certified.values()} == {1}, "each certificate is told once"


async def _send(sender: Sender, births: list[DemoBirth], stop: asyncio.Event) -> None:
    for birth in births:
        if stop.is_set():
            break
        await sender.send(birth)
        await asyncio.sleep(BETWEEN_S)
    await sender.aclose()

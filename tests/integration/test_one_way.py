"""Whatever happens in whatever order, a record is never at the registry and at an office at the same time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.lifecycle import IN_FLIGHT, State
from gateway.contract.ports import RegistryStatus
from gateway.errors import LeaseLostError
from gateway.pipeline.form import FormTooLateError
from gateway.pipeline.officer import Decision, OutcomeOutOfPlaceError, Reason
from tests.integration.test_form import tell as tell_form
from tests.integration.test_office import ISSUE, at_office, expire, say, take
from tests.simulators.journey import HEAVIER, RENAMED, journey, notice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

_OUTCOMES: tuple[tuple[Decision, dict[str, Any]], ...] = (
    (Decision.ACCEPT, {}),
    (Decision.ASK, {"reason": Reason.NAME}),
    (Decision.REFUSE, {"reason": Reason.OTHER_REGION}),
    (Decision.ISSUE, {"issue": ISSUE}),
)


class Story:
    """Random steps about one birth, and what must hold after each."""

    def __init__(self, way: Journey, seed: int) -> None:
        self.way = way
        self.chance = random.Random(seed)
        self.minute = 0
        self.leases: list[dict[str, Any]] = []
        self.office_has_it = False
        self.sent = 0

    async def step(self) -> None:
        await self.chance.choice(
            (self.message, self.form, self.take, self.take, self.outcome, self.time, self.setting, self.registry)
        )()
        await self.way.hurry()
        await self.way.work()
        await self.hold()

    async def hold(self) -> None:
        sent = len(self.way.registry.submissions)
        assert not (sent > self.sent and self.office_has_it), "submitted while an office has it"
        self.sent = sent
        assert await self.way.count("certificates") <= 1
        keys = [s.idempotency_key for s in self.way.registry.submissions]
        assert len(keys) == len(set(keys)), "one revision submitted twice"

    async def message(self) -> None:
        self.minute += 1
        changes = self.chance.choice((RENAMED, HEAVIER, ()))
        await self.way.tell(notice("A08", sent=f"2025031209{self.minute:02}00+0700", changes=changes))

    async def form(self) -> None:
        try:
            await tell_form(self.way, {"name": self.chance.choice(("Ahmad Rizki Pratama", "Ahmad Riski Pratama"))})
        except FormTooLateError:
            birth = await self.way.birth()
            assert birth.state in IN_FLIGHT or birth.state in (State.ISSUED, State.DELIVERED, State.AMENDMENT_REVIEW)

    async def take(self) -> None:
        for item in await take(self.way):
            assert (await self.way.birth()).way == "lease"
            assert not self.way.registry.submissions, "taken while the registry has it"
            self.leases.append(item)
            self.office_has_it = True

    async def outcome(self) -> None:
        if not self.leases:
            return
        item, (decision, told) = self.chance.choice(self.leases), self.chance.choice(_OUTCOMES)
        newest = item is self.leases[-1]
        try:
            done = await say(self.way, item, decision, **told)
        except LeaseLostError:
            assert not newest
        except OutcomeOutOfPlaceError:
            return
        else:
            assert newest
            if decision is Decision.REFUSE and not done["repeated"]:
                self.office_has_it = False

    async def time(self) -> None:
        await expire(self.way)

    async def setting(self) -> None:
        at_office(self.way, way=self.chance.choice(("push", "lease")))

    async def registry(self) -> None:
        birth = await self.way.birth()
        if birth.state is State.IN_PROCESS and not birth.way and birth.submitted:
            await self.way.settle(self.chance.choice((RegistryStatus.NEEDS_DATA, RegistryStatus.IN_PROCESS)))


@pytest.mark.parametrize("seed", range(12))
async def test_no_order_of_events_sends_a_record_two_ways(database: str, tmp_path: Path, seed: int) -> None:
    async with journey(database, tmp_path) as way:
        story = Story(way, seed)
        await story.setting()
        await way.tell(notice())
        await way.work()
        for _ in range(30):
            await story.step()

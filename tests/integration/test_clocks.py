"""The legal term and the discharge: they order the queue, and each day of the term is told once."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from gateway.contract.lifecycle import State
from gateway.pipeline import clocks
from tests.simulators.journey import journey, notice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

BORN = dt.date(2025, 3, 11)
NAMELESS = (("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),)
WIB = dt.timezone(dt.timedelta(hours=7))


def on(way: Journey, day: int, *, hour: int = 9) -> Journey:
    """Let it be so many days after the birth, at the place."""
    moment = dt.datetime.combine(BORN + dt.timedelta(days=day), dt.time(hour), WIB).astimezone(dt.UTC)
    way.context = replace(way.context, clock=lambda: moment)
    return way


async def nameless(way: Journey) -> None:
    await way.tell(notice(changes=NAMELESS))
    await way.work()
    assert await way.state() is State.HOLD_NAME


async def told(way: Journey) -> list[int]:
    return [e["detail"]["day"] for e in await way.events() if e["step"] == "clock"]


@pytest.mark.parametrize(
    ("day", "expected"),
    [(6, []), (7, [7]), (29, [7]), (30, [30]), (50, [50]), (57, [50]), (58, [58]), (60, [58]), (61, [61]), (400, [61])],
)
async def test_the_last_day_reached_is_told(database: str, tmp_path: Path, day: int, expected: list[int]) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        await clocks.escalate(on(way, day).context)
        assert await told(way) == expected


async def test_each_day_is_told_once_whoever_looks(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        with structlog.testing.capture_logs() as logs:
            for day in (7, 7, 8, 30, 31, 50, 58, 58, 61, 90):
                on(way, day)
                await asyncio.gather(*(clocks.escalate(way.context) for _ in range(3)))
        assert await told(way) == [7, 30, 50, 58, 61]
        said = [line["code"] for line in logs if line["event"] == "birth.escalated"]
        assert said == ["DAY_7", "DAY_30", "DAY_50", "DAY_58", "DAY_61"]
        assert way.context.metrics.escalations.labels("7")._value.get() == 1


async def test_the_day_is_that_of_the_place_of_birth(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        late_evening_before = on(way, 7, hour=0)  # 17:00 UTC of the day before
        await clocks.escalate(late_evening_before.context)
        assert await told(way) == [7]


async def test_the_last_days_are_worked_on_first(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        for day, priority in ((30, 5), (50, 3), (58, 1)):
            await clocks.escalate(on(way, day).context)
            assert (await way.birth()).priority == priority


async def test_past_the_term_it_is_a_late_registration_and_goes_on(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        await clocks.escalate(on(way, 60).context)
        assert "BIRTH_LATE" not in {f["code"] for f in (await way.birth()).findings}
        await clocks.escalate(on(way, 61).context)
        birth = await way.birth()
        assert "BIRTH_LATE" in {f["code"] for f in birth.findings}
        assert birth.state is State.HOLD_NAME
        await way.tell(notice("A08", sent="20250512093000+0700"))
        await way.work()
        assert await way.state() is State.IN_PROCESS


async def test_what_is_issued_or_withdrawn_is_told_of_no_more(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.reach(State.DELIVERED)
        assert await clocks.escalate(on(way, 58).context) == 0
        assert await told(way) == []


async def test_a_stillbirth_has_thirty_days(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        await way.database.fetch(
            """UPDATE births SET record = jsonb_set(record, '{event}', '"LAHIR_MATI"'), deadline = '2025-04-10'"""
        )
        for day in (7, 20, 27, 28, 31):
            await clocks.escalate(on(way, day).context)
        assert await told(way) == [7, 20, 28, 31]


async def test_an_expected_discharge_is_read_from_the_message(database: str, tmp_path: Path) -> None:
    line = next(x for x in notice().split(b"\r") if x.startswith(b"PV2"))
    fields = line.split(b"|")
    fields[9] = b"20250321100000+0700"
    async with journey(database, tmp_path) as way:
        await way.tell(notice(changes=NAMELESS).replace(line, b"|".join(fields)))
        await way.work()
        birth = await way.birth()
        assert birth.leaves_at == dt.datetime(2025, 3, 21, 3, tzinfo=dt.UTC)
        assert birth.priority == clocks.USUAL  # more than a day away


async def test_a_discharge_expected_within_a_day_comes_before_others(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        await way.database.fetch("UPDATE births SET leaves_at = '2025-03-15T03:00Z'")
        await clocks.escalate(on(way, 2).context)
        assert (await way.birth()).priority == 5
        await clocks.escalate(on(way, 3, hour=11).context)
        assert (await way.birth()).priority == 2


async def test_a_discharge_is_kept_and_its_undoing_takes_it_back(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await nameless(way)
        values: dict[str, Any] = {"segments": ("PV1",)}
        await way.tell(notice("A03", sent="20250312093000+0700", **values))
        await way.work()
        birth = await way.birth()
        assert birth.leaves_at is not None
        assert birth.priority == clocks.LEAVING
        undo = notice("A03", sent="20250312103000+0700", **values).replace(b"A03", b"A13")
        await way.tell(undo)
        await way.work()
        birth = await way.birth()
        assert (birth.leaves_at, birth.priority) == (None, clocks.USUAL)

"""`procot births` on births that went their way: who did what, what is for few, and when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.pipeline import operate
from gateway.store import tokens
from tests.simulators.command import Done, configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey, journey, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")


class Desk:
    """A journey, and the command line beside it."""

    def __init__(self, way: Journey, config: Path) -> None:
        self.way = way
        self._config = config

    async def __call__(self, *arguments: object, json: bool = False) -> Done:
        return await procot(*arguments, "--config", self._config, *(["--json"] if json else []))


@pytest_asyncio.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with journey(database, tmp_path) as way:
        yield Desk(way, configuration(tmp_path, database, facility=HOSPITAL))


async def test_history_names_a_token_by_its_label(desk: Desk) -> None:
    birth = await desk.way.reach(State.SEALED)
    identity, _ = await tokens.new(desk.way.database, label="loket 2", role="officer", office="3510")
    other = operate.Desk(desk.way.database, desk.way.context.config, actor=identity.actor, reason="a test")
    await operate.hold(other, birth.id)
    told = await desk("births", "history", birth.id)
    assert "officer loket 2" in told.out
    assert str(identity.id) not in told.out
    held = (await desk("births", "history", birth.id, json=True)).lines[-1]
    assert (held["actor"], held["label"]) == (identity.actor, "loket 2")
    assert all(line["label"] is None for line in (await desk("births", "history", birth.id, json=True)).lines[:-1])


async def test_a_restricted_birth_is_marked_in_lists(desk: Desk) -> None:
    birth = await desk.way.reach(State.SEALED)
    await operate.restrict(desk.way.desk("a test"), birth.id, "adoption")
    assert "SEALED (restricted)" in (await desk("births", "list")).out
    assert "(restricted)" in (await desk("births", "show", birth.id)).out


async def test_tables_show_every_moment_the_same_way(desk: Desk) -> None:
    birth = await desk.way.reach(State.SEALED)
    await desk.way.tell(b"MSH|^~\\&|SIMRS|NOBODY|A|B|20250311||ADT^A01|X1|P|2.5\rPID|1||7\r")
    await desk.way.database.fetch("INSERT INTO reconcile_cases (kind, birth_id) VALUES ('NO_TASK', $1)", birth.id)
    for command in (
        ("births", "list"), ("births", "show", birth.id), ("births", "history", birth.id), ("queue", "list"),
        ("quarantine", "list"), ("quarantine", "show", 1), ("reconcile", "cases"),
    ):  # fmt: skip
        shown = (await desk(*command)).out
        assert _MOMENT.search(shown), (command, shown)
        assert not re.search(r"\d\dT\d\d:\d\d", shown), (command, shown)


async def test_metrics_and_log_count_what_the_sender_was_told(desk: Desk) -> None:
    metrics = desk.way.context.metrics
    assert await desk.way.tell(notice()) == "CA"
    assert await desk.way.tell(notice(record_number="00450122").replace(b"|||AL|AL|", b"|||||")) == "AA"
    for code, count in (("CA", 1.0), ("AA", 1.0)):
        labels = {"transport": "mllp", "code": code, "effect": "open"}
        assert metrics.registry.get_sample_value("procot_messages_total", labels) == count

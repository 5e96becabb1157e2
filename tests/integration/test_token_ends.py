"""Tokens end: after 90 days unless said otherwise, told of before, and refused with the reason afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.observe.metrics import Metrics
from gateway.pipeline.endings import Endings
from gateway.store import tokens
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import journey

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey


async def _age(way: Journey, days: float) -> None:
    await way.database.fetch("UPDATE tokens SET expires_at = expires_at - $1 * interval '1 day'", days)


async def test_a_token_is_good_for_ninety_days_and_its_end_has_a_name(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        identity, token = await tokens.new(way.database, label="simrs", role="operator")
        await _age(way, 89.9)
        assert await tokens.identify(way.database, token) == identity
        await _age(way, 0.2)
        held = await tokens.held(way.database, token)
        assert held is not None
        assert (held.expired, held.revoked, await tokens.identify(way.database, token)) == (True, False, None)
        await tokens.revoke(way.database, identity.id)
        again = await tokens.held(way.database, token)
        assert again is not None
        assert again.revoked
        assert await tokens.held(way.database, token + "x") is None


async def test_the_command_makes_tokens_that_end_and_shows_when(database: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, database, facility=HOSPITAL)
    async with journey(database, tmp_path) as way:
        for more in ((), ("--days", 7)):
            done = await procot("tokens", "new", "--role", "operator", "--label", "x", *more, "--config", config)
            assert done.status == 0, done.err
        rows = await way.database.fetch("SELECT expires_at - made_at AS good FROM tokens ORDER BY made_at")
        assert [row["good"].days for row in rows] == [90, 7]
        assert (await procot("tokens", "list", "--config", config)).out.count("to 20") == 2
        assert (await procot("tokens", "new", "--role", "operator", "--label", "x", "--days", 0)).status == 2


async def test_what_ends_soon_is_told_once_a_step_and_has_its_figure(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        identity, _ = await tokens.new(way.database, label="simrs", role="operator")
        endings, metrics = Endings(), Metrics()
        told = []
        for days in (0, 70, 7, 0, 7, 0, 6):  # 90, 20, 13, 13, 6, 6 days and the end
            await _age(way, days)
            with structlog.testing.capture_logs() as lines:
                await endings.look(way.database, metrics)
            told.append([line["token_id"] for line in lines if line["event"] == "token.ends_soon"])
            if days == 70:
                labels = {"token": str(identity.id), "role": "operator"}
                left = metrics.registry.get_sample_value("procot_token_expires_seconds", labels)
                assert left is not None
                assert 19.9 < left / 86_400 <= 20
        mine = [str(identity.id)]
        assert told == [[], [], mine, [], mine, [], []]

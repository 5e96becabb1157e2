"""A registry that refuses quota or login: left alone by every process, told to operators, births go on coming in."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.masked import Personal
from gateway.contract.ports import ParentCheck
from gateway.errors import RegistryLoginError, RegistryQuotaError
from gateway.store import pauses
from gateway.store.queue import Kind
from tests.simulators.journey import journey, notice
from tests.simulators.system import system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

NUMBERS = itertools.count(1)
LOGIN, QUOTA = RegistryLoginError, RegistryQuotaError
AFTER = {LOGIN: 300, QUOTA: 7200}


async def refused(j: Journey, kind: type[RegistryLoginError | RegistryQuotaError]) -> None:
    await j.tell(notice())
    await j.step(Kind.ASSIGN)
    j.registry.on_check.append(kind("refused", after=AFTER[kind]))
    with pytest.raises(kind):
        await j.step(Kind.CHECK)


async def paused(j: Journey, now: dt.datetime | None = None) -> list[str]:
    return [p.cause for p in await pauses.listing(j.database, now or j.context.clock())]


@pytest.mark.parametrize("kind", [LOGIN, QUOTA])
async def test_a_refusal_is_written_down_and_no_other_process_calls(
    database: str, tmp_path: Path, kind: type[RegistryLoginError | RegistryQuotaError]
) -> None:
    async with journey(database, tmp_path) as j:
        await refused(j, kind)
        assert await paused(j) == [kind.code]
    async with journey(database, tmp_path) as restarted:
        await restarted.hurry()
        with pytest.raises(kind):
            await restarted.step(Kind.CHECK)
        assert restarted.registry.checked == []  # not even one more call
        assert await restarted.state() is State.READY  # the birth waits, nobody is blamed


async def test_births_are_accepted_while_the_check_is_paused(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as j:
        await refused(j, QUOTA)
        assert await j.tell(notice(record_number="00450999")) == "CA"


async def test_a_quota_pause_ends_by_itself_and_a_refused_login_does_not(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as j:
        later = j.context.clock() + dt.timedelta(hours=2)
        await refused(j, QUOTA)
        assert await paused(j, later) == []
        async with j.database.transaction() as connection:
            await connection.execute("DELETE FROM registry_pauses")
        j.registry.on_check.append(LOGIN("refused", after=300))
        await j.hurry()
        with pytest.raises(RegistryLoginError):
            await j.step(Kind.CHECK)
        assert await paused(j, later + dt.timedelta(days=365)) == [LOGIN.code]


async def test_other_credentials_are_tried_at_once(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as j:
        await refused(j, LOGIN)
        j.registry.check_identity = "mended"
        await j.hurry()
        await j.step(Kind.CHECK)
        assert Kind.SEAL.value in await j.open_kinds()


async def test_an_operator_lifts_the_pause_and_the_waiting_births_go_on(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as j:
        await refused(j, LOGIN)
        async with j.database.transaction() as connection:
            assert await pauses.lift(connection, "check", by="operator:tester", now=j.context.clock())
            assert not await pauses.lift(connection, "check", by="operator:tester", now=j.context.clock())
        await j.hurry()
        await j.step(Kind.CHECK)
        assert j.registry.reopened == [j.context.clock()]
        assert Kind.SEAL.value in await j.open_kinds()


async def test_what_was_looked_up_fills_what_is_missing_and_replaces_nothing(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as j:
        await j.tell(notice())
        await j.step(Kind.ASSIGN)
        before = (await j.birth()).record
        assert before.mother is not None
        assert before.mother.family_card is None
        learned = {"mother.family_card": Personal("3510161405189009"), "mother.name": Personal("LAIN")}
        j.registry.on_check.append((ParentCheck("mother", (), learned),))
        await j.step(Kind.CHECK)
        after = await j.birth()
        assert after.revision == 2
        assert after.record.mother is not None
        assert after.record.mother.family_card == Personal("3510161405189009")
        assert after.record.mother.name == before.mother.name
        assert after.record.provenance["mother.family_card"] == "registry"
        assert Kind.SEAL.value in await j.open_kinds()


async def test_a_refused_login_is_tried_once_by_a_running_gateway_and_told_with_the_next_step(
    database: str, tmp_path: Path
) -> None:
    async with system(database, tmp_path, require_form=False) as running:
        running.behave(login_refused=True)
        for _ in range(3):
            await running.send(notice(record_number=f"0045{next(NUMBERS):04}"))

        async def told() -> bool:
            return bool((await running.get("/readyz"))["notices"])

        await running.until_true(told, "a notice in /readyz")
        ready = await running.get("/readyz")
        assert ready["status"] == "ready"  # births are accepted
        assert "procot registry resume" in ready["notices"][0]
        async with running.request("/metrics") as response:
            assert 'procot_registry_paused{cause="REGISTRY_LOGIN"} 1.0' in await response.text()
        assert running.registry.logins == 1


async def test_a_quota_used_up_is_no_outage_of_the_gateway(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, require_form=False) as running:
        running.behave(quota_exhausted=True)
        await running.send(notice(record_number=f"0045{next(NUMBERS):04}"))

        async def told() -> bool:
            return "midnight WIB" in "".join((await running.get("/readyz"))["notices"])

        await running.until_true(told, "a notice in /readyz")
        assert running.registry.logins == 1

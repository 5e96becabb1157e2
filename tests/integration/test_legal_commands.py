"""`procot births amend` and `withdraw`, `procot registry`: previews, what they do, what they say instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import ActStatus
from gateway.errors import RegistryLoginError
from gateway.store.queue import Kind
from tests.simulators.command import Done, configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import RENAMED, Journey, journey, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LATER = "20250312093000+0700"


@pytest.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(database, tmp_path) as running:
        yield running


@pytest.fixture
def config(database: str, tmp_path: Path) -> Path:
    return configuration(tmp_path, database, facility=HOSPITAL)


async def births(way: Journey, config: Path, command: str, *options: str) -> Done:
    birth = str((await way.birth()).id)
    return await procot("births", command, birth, "--reason", "surat ward", *options, "--config", config)


async def changed_after_issue(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.step(Kind.ASSIGN)


async def test_a_correction_is_previewed_in_names_of_fields_and_done_only_when_told(way: Journey, config: Path) -> None:
    await changed_after_issue(way)
    preview = await births(way, config, "amend")
    assert preview.status == 0, preview.err
    assert "would ask the registry to correct the akta" in preview.out
    assert "changes child.name" in preview.out
    assert "RIZ" not in preview.out + preview.err
    assert await way.count("acts") == 0
    done = await births(way, config, "amend", "--send")
    assert "asked: ask the registry to correct" in done.out
    await way.step(Kind.ACT)
    assert [b'"basis":"clerical"' in act.payload for act in way.registry.acted] == [True]


async def test_a_court_s_order_is_named_by_its_number_and_only_with_that_basis(way: Journey, config: Path) -> None:
    await changed_after_issue(way)
    for options in (("--basis", "court"), ("--order", "12/Pdt.P/2025")):
        refused = await births(way, config, "amend", *options)
        assert refused.status == 1
        assert "--order" in refused.err


async def test_a_review_is_closed_without_asking_anybody(way: Journey, config: Path) -> None:
    await changed_after_issue(way)
    done = await births(way, config, "amend", "--keep")
    assert "DELIVERED: the akta stays as it is" in done.out
    assert await way.state() is State.DELIVERED
    assert await way.count("acts") == 0


async def test_an_open_case_is_withdrawn_by_a_person_too(way: Journey, config: Path) -> None:
    await way.reach(State.IN_PROCESS)
    assert "withdraw its open case" in (await births(way, config, "withdraw")).out
    assert (await births(way, config, "withdraw", "--send")).status == 0
    way.registry.on_act.append(ActStatus.GRANTED)
    await way.step(Kind.ACT)
    assert await way.state() is State.CANCELLED


async def test_an_akta_is_revoked_only_by_the_registry(way: Journey, config: Path) -> None:
    await way.reach(State.DELIVERED)
    done = await births(way, config, "withdraw", "--send")
    assert "it stays valid until the office or a court decides" in done.out
    assert await way.state() is State.REVOCATION_REVIEW


@pytest.mark.parametrize(
    ("command", "state", "instead"),
    [
        ("withdraw", State.READY, "procot births cancel"),
        ("amend", State.IN_PROCESS, "goes to the registry by itself"),
        ("amend", State.DELIVERED, "AMENDMENT_REVIEW"),
    ],
)
async def test_what_cannot_be_asked_says_what_to_do_instead(
    way: Journey, config: Path, command: str, state: State, instead: str
) -> None:
    await way.reach(state)
    refused = await births(way, config, command)
    assert refused.status == 1
    assert instead in refused.err.replace("\n", " ")


async def test_a_refused_login_is_shown_with_its_remedy_and_lifted_with_a_reason(way: Journey, config: Path) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    assert "nothing refuses us" in (await procot("registry", "status", "--config", config)).out
    way.registry.on_check.append(RegistryLoginError("refused", after=300))
    with pytest.raises(RegistryLoginError):
        await way.step(Kind.CHECK)
    shown = await procot("registry", "status", "--config", config)
    assert "procot registry resume" in shown.out
    (line,) = (await procot("registry", "status", "--json", "--config", config)).lines
    assert (line["service"], line["cause"], line["until"]) == ("check", "REGISTRY_LOGIN", None)
    done = await procot("registry", "resume", "--reason", "sandi baru", "--config", config)
    assert done.status == 0, done.err
    again = await procot("registry", "resume", "--reason", "sandi baru", "--config", config)
    assert again.status == 1
    acts = await way.database.fetch("SELECT act, reason FROM operator_acts")
    assert [tuple(act) for act in acts] == [("registry.resume", "sandi baru")]

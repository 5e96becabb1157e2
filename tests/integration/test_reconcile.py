"""Gateway, registry and hospital compared: what agrees, what is learnt, and what becomes a person's case, once."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from gateway.config import Reconcile
from gateway.contract.lifecycle import State
from gateway.contract.masked import Nik
from gateway.contract.ports import ActKind, Outcome, RegistryStatus
from gateway.errors import RegistryProtocolError, RegistryUnavailableError
from gateway.pipeline.reconcile import KINDS, Report, difference, reconcile
from gateway.store import acts
from gateway.store import reconcile as store
from gateway.store.queue import Kind
from gateway.store.reconcile import Known
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey, journey, notice
from tests.simulators.scripted_registry import certificate
from tests.simulators.system import TOKEN, system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(database, tmp_path) as parts:
        config = parts.context.config.model_copy(update={"reconcile": Reconcile(page=2, per_s=10_000)})
        parts.context = replace(parts.context, config=config)
        yield parts


async def compared(way: Journey) -> Report:
    return await reconcile(way.context)


def kinds(report: Report) -> list[str]:
    return [found.kind for found in report.differences]


async def registry_says(way: Journey, status: RegistryStatus, **changes: Any) -> None:
    """Let the registry have the birth's case so."""
    birth = await way.birth()
    revision = changes.pop("revision", birth.submitted or birth.revision)
    way.registry.cases[f"{birth.id}:{revision}"] = Outcome(
        str(birth.id), revision, status, reference=birth.reference, **changes
    )


async def delivered(way: Journey) -> None:
    await way.reach(State.DELIVERED)
    await registry_says(way, RegistryStatus.ISSUED, certificate=certificate())


async def test_what_agrees_is_counted_and_changes_nothing(way: Journey) -> None:
    await delivered(way)
    before = await way.snapshot()
    report = await compared(way)
    assert (report.compared, report.agree, report.complete, kinds(report)) == (1, 1, True, [])
    assert await way.snapshot() == before


async def test_every_page_is_read(way: Journey) -> None:
    for number in range(5):
        await way.tell(notice(record_number=f"0045{number:04}"))
    await way.work()
    pages: list[int] = []
    report = await reconcile(way.context, told=lambda r: pages.append(r.compared))
    assert (report.compared, pages) == (5, [2, 4, 5])


async def test_a_certificate_that_no_callback_brought_is_learnt_and_delivered(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await registry_says(way, RegistryStatus.ISSUED, certificate=certificate())
    report = await compared(way)
    assert (report.caught_up, kinds(report)) == (1, [])
    await way.work()
    assert await way.state() is State.DELIVERED
    assert (await compared(way)).agree == 1


async def test_another_certificate_is_one_case_however_often_it_is_found_and_closes_when_it_agrees(
    way: Journey,
) -> None:
    await delivered(way)
    await registry_says(way, RegistryStatus.ISSUED, certificate=certificate("3510-LU-20032025-9002"))
    first, second = await compared(way), await compared(way)
    assert (kinds(first), first.opened, kinds(second), second.opened) == (
        ["CERTIFICATE_DIFFERS"], 1, ["CERTIFICATE_DIFFERS"], 0,
    )  # fmt: skip
    assert await way.state() is State.DELIVERED
    (case,) = await store.cases(way.database, closed=False, limit=10)
    assert case["detail"] == {"state": "DELIVERED", "registry": "issued", "revision": 1}
    await registry_says(way, RegistryStatus.ISSUED, certificate=certificate())
    assert (await compared(way)).closed == 1
    (case,) = await store.cases(way.database, closed=True, limit=10)
    assert (case["closed_by"], case["resolution"]) == ("gateway", "agrees now")


async def test_what_a_person_decided_stays_decided_until_it_becomes_another_difference(way: Journey) -> None:
    await delivered(way)
    await registry_says(way, RegistryStatus.ISSUED, certificate=certificate("3510-LU-20032025-9002"))
    await compared(way)
    (case,) = await store.cases(way.database, closed=False, limit=10)
    async with way.database.transaction() as connection:
        assert await store.close(connection, case["id"], by="operator:x", resolution="a test at the office")
        assert not await store.close(connection, case["id"], by="operator:x", resolution="again")
    assert (await compared(way)).opened == 0
    await registry_says(way, RegistryStatus.IN_PROCESS)
    report = await compared(way)
    assert (kinds(report), report.opened) == (["REGISTRY_BEHIND"], 1)


async def test_a_certificate_taken_back_is_for_an_officer_and_a_case(way: Journey) -> None:
    await delivered(way)
    await registry_says(way, RegistryStatus.WITHDRAWN)
    report = await compared(way)
    assert report.caught_up == 1
    assert await way.state() is State.REVOCATION_REVIEW
    assert kinds(await compared(way)) == ["CERTIFICATE_TAKEN_BACK"]


async def test_a_revocation_that_we_asked_for_and_the_registry_granted_is_no_difference(way: Journey) -> None:
    await delivered(way)
    birth = await way.birth()
    async with way.database.transaction() as connection:
        await acts.ask(
            connection, birth.id, ActKind.REVOKE, revision=birth.submitted, actor="operator:x", reason="a test"
        )
    await registry_says(way, RegistryStatus.WITHDRAWN)
    assert (await compared(way)).caught_up == 1
    assert await way.state() is State.CANCELLED
    report = await compared(way)
    assert (report.agree, kinds(report)) == (1, [])


async def test_a_case_the_registry_does_not_know_is_a_case_for_us(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    way.registry.cases.clear()
    assert kinds(await compared(way)) == ["REGISTRY_UNKNOWN"]
    assert await way.state() is State.IN_PROCESS


async def test_after_a_restore_a_revision_that_we_do_not_know_of_is_found(way: Journey) -> None:
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.database.fetch("UPDATE births SET ask_first = true")
    assert kinds(await compared(way)) == []  # the registry knows nothing of it either
    await registry_says(way, RegistryStatus.IN_PROCESS, revision=2)
    assert kinds(await compared(way)) == ["REGISTRY_AHEAD"]
    assert way.registry.submissions == []


async def test_an_answer_off_the_contract_stops_nobody_elses_comparison(way: Journey) -> None:
    for number in ("00450121", "00450122"):
        await way.tell(notice(record_number=number))
    await way.work()
    way.registry.on_ask.append(RegistryProtocolError("odd"))
    report = await compared(way)
    assert (report.compared, kinds(report), report.complete) == (2, ["ANSWER_UNREADABLE"], True)


async def test_a_registry_that_goes_away_ends_the_run_and_closes_nothing(way: Journey) -> None:
    await delivered(way)
    await registry_says(way, RegistryStatus.ISSUED, certificate=certificate("3510-LU-20032025-9002"))
    await compared(way)
    way.registry.on_ask.append(RegistryUnavailableError("down"))
    with pytest.raises(RegistryUnavailableError):
        await compared(way)
    assert len(await store.cases(way.database, closed=False, limit=10)) == 1
    row = await way.database.fetchrow("SELECT report FROM chores WHERE name = 'reconcile'")
    assert row is not None
    assert row["report"]["complete"] is False


async def test_a_case_that_the_registry_never_answers_about_keeps_no_other_from_being_compared(way: Journey) -> None:
    await delivered(way)
    await way.tell(notice(record_number="00450999"))
    await way.work()
    way.registry.on_ask.append(RegistryUnavailableError("always, for this one"))
    report = await compared(way)
    assert (report.compared, report.skipped, report.complete) == (2, 1, False)


async def test_a_hospital_that_has_not_its_certificate_is_a_case_and_one_that_refused_it_another(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await registry_says(way, RegistryStatus.ISSUED, certificate=certificate())
    await way.step(Kind.COLLECT)
    assert kinds(await compared(way)) == []  # it is on its way
    await way.database.fetch("UPDATE certificates SET settled_at = now() - interval '5 hours'")
    assert kinds(await compared(way)) == ["HOSPITAL_NOT_TOLD"]
    way.hospital.script = ["AE"]
    await way.work()
    assert kinds(await compared(way)) == ["HOSPITAL_REFUSED"]


async def test_a_birth_without_a_task_gets_one_and_is_told(way: Journey) -> None:
    await way.reach(State.SEALED)
    await way.database.fetch("DELETE FROM tasks")
    await way.database.fetch("UPDATE births SET updated_at = now() - interval '2 minutes'")
    assert kinds(await compared(way)) == ["NO_TASK"]
    assert await way.open_kinds() == ["submit"]
    await way.work()
    assert await way.state() is State.IN_PROCESS


async def test_an_accepted_message_without_a_birth_is_a_case(way: Journey) -> None:
    await way.tell(notice())
    await way.database.fetch("UPDATE messages SET received_at = now() - interval '2 hours'")
    report = await compared(way)
    assert kinds(report) == ["MESSAGE_WITHOUT_BIRTH"]
    await way.work()
    assert (await compared(way)).closed == 1


async def test_finished_births_are_compared_for_a_while_and_those_with_a_case_until_it_is_closed(way: Journey) -> None:
    await delivered(way)
    await way.database.fetch("UPDATE births SET updated_at = now() - interval '31 days'")
    assert (await compared(way)).compared == 0
    async with way.database.transaction() as connection:
        await store.open_case(connection, store.Difference("REGISTRY_BEHIND", (await way.birth()).id))
    assert (await compared(way)).compared == 1


KNOWN = Known(
    id=uuid.UUID(int=1), state="IN_PROCESS", revision=1, submitted=1, reference="", ask_first=False, number=None,
    child_nik=None, sha256=None,
)  # fmt: skip
HAS = replace(
    KNOWN, state="DELIVERED", number=certificate().number, child_nik="3510161103259001",
    sha256=certificate().sha256,
)  # fmt: skip


@pytest.mark.parametrize(
    ("known", "status", "revision", "issued", "kind"),
    [
        (KNOWN, RegistryStatus.IN_PROCESS, 1, None, None),
        (KNOWN, RegistryStatus.UNKNOWN, 1, None, "REGISTRY_UNKNOWN"),
        (replace(KNOWN, state="SUBMITTED"), RegistryStatus.UNKNOWN, 1, None, None),
        (replace(KNOWN, state="CANCELLED"), RegistryStatus.UNKNOWN, 1, None, None),
        (KNOWN, RegistryStatus.IN_PROCESS, 2, None, "REGISTRY_AHEAD"),
        (replace(KNOWN, submitted=0, state="HOLD_DATA"), RegistryStatus.IN_PROCESS, 1, None, "REGISTRY_AHEAD"),
        (replace(KNOWN, submitted=0, state="READY"), RegistryStatus.IN_PROCESS, 1, None, None),
        (HAS, RegistryStatus.ISSUED, 1, certificate(), None),
        (HAS, RegistryStatus.ISSUED, 1, certificate(child_nik=Nik("3510161103259002")), "CERTIFICATE_DIFFERS"),
        (HAS, RegistryStatus.ISSUED, 1, certificate(sha256=hashlib.sha256(b"x").hexdigest()), "CERTIFICATE_DIFFERS"),
        (HAS, RegistryStatus.UNKNOWN, 1, None, "CERTIFICATE_UNKNOWN"),
        (HAS, RegistryStatus.NEEDS_DATA, 1, None, "REGISTRY_BEHIND"),
        (HAS, RegistryStatus.REFUSED, 1, None, "CERTIFICATE_TAKEN_BACK"),
        (HAS, RegistryStatus.WITHDRAWN, 1, None, "CERTIFICATE_TAKEN_BACK"),
        (replace(HAS, state="REVOCATION_REVIEW"), RegistryStatus.WITHDRAWN, 1, None, "CERTIFICATE_TAKEN_BACK"),
        (replace(HAS, state="CANCELLED"), RegistryStatus.WITHDRAWN, 1, None, None),
        (replace(HAS, state="CANCELLED"), RegistryStatus.REFUSED, 1, None, "CERTIFICATE_TAKEN_BACK"),
        (replace(HAS, state="CANCELLED"), RegistryStatus.ISSUED, 1, certificate(), "CERTIFICATE_STANDS"),
    ],
)
def test_what_differs(known: Known, status: RegistryStatus, revision: int, issued: Any, kind: str | None) -> None:
    assert difference(known, Outcome("x", revision, status, certificate=issued)) == kind
    assert kind is None or kind in KINDS


async def test_the_command_compares_with_a_real_registry_and_lists_what_it_found(database: str, tmp_path: Path) -> None:
    from gateway.cli.demo_births import demo_births  # noqa: PLC0415 - births of today, as the real clock wants them

    async with system(database, tmp_path) as running:
        (birth,) = demo_births(1)
        await running.send(birth.message)
        await running.until_count("DELIVERED", 1)
        config = configuration(tmp_path, database, facility=HOSPITAL, registry=running.registry_url)
        (tmp_path / "registry-token").write_text(TOKEN)
        done = await procot("reconcile", "run", "--config", config, "--json")
        assert (done.status, done.lines[-1]["agree"]) == (0, 1), done.err
        await running.fetch("UPDATE certificates SET number = '3510-LU-20032025-9999'")
        done = await procot("reconcile", "run", "--config", config)
        assert (done.status, "CERTIFICATE_DIFFERS" in done.out) == (1, True), done.err
        listed = await procot("reconcile", "cases", "--config", config)
        assert "call the office at once" in listed.out
        (case,) = (await procot("reconcile", "cases", "--config", config, "--json")).lines
        closed = await procot("reconcile", "close", case["id"], "--reason", "a test", "--config", config)
        assert closed.status == 0
        assert (await procot("reconcile", "close", case["id"], "--reason", "x", "--config", config)).status == 1
    away = await procot("reconcile", "run", "--config", config)
    assert (away.status, "interrupted" in away.err) == (1, True)

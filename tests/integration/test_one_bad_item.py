"""One bad item blocks nobody: for each step a few poisoned ones among healthy ones, which all go on."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.contract.masked import Nik
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import DocumentAddressError, RegistryDocumentError, RegistryUnavailableError
from gateway.mllp.client import Target
from gateway.pipeline import respond
from gateway.pipeline.retry import OLD_S
from gateway.pipeline.settle import settle
from gateway.store import births, incidents, lanes
from gateway.store.lanes import Room
from gateway.store.queue import Kind
from tests.integration.watched import Watched
from tests.simulators.journey import Hospital, Journey, journey, notice
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.contract.ports import Certificate
    from gateway.store.births import Birth

OLD, NEW = "https://old.invalid", "https://new.invalid:8443"


@pytest_asyncio.fixture
async def watched(database: str, tmp_path: Path) -> AsyncIterator[Watched]:
    async with journey(database, tmp_path) as way:
        yield Watched(way)


async def issued(way: Journey, count: int, *, at: str = OLD) -> list[Birth]:
    """Let so many births be issued, their files lying at one address, and leave what comes then undone."""
    found = []
    for _ in range(count):
        number = f"{await way.count('births') + 1:08}"
        await way.tell(notice(record_number=number))
        for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL, Kind.SUBMIT):
            await way.step(kind)
        akta = f"3510-LU-20032025-{int(number):04}"
        told = certificate(akta, child_nik=Nik(f"35101611032590{int(number):02}"), document_url=f"{at}/{akta}.pdf")
        birth = await way.birth(number)
        outcome = Outcome(str(birth.id), birth.submitted, RegistryStatus.ISSUED, certificate=told, reference="P1")
        way.registry.cases[f"{birth.id}:{birth.submitted}"] = outcome
        async with way.database.transaction() as connection:
            locked = await births.lock(connection, birth.id)
            await settle(way.context, connection, locked, outcome, actor="registry", step="callback")
        found.append(await way.birth(number))
    return found


async def rest(watched: Watched, turns: int = 40) -> None:
    """Let the workers do all that is due."""
    for _ in range(turns):
        await watched.turn()


async def states(way: Journey) -> dict[str, int]:
    rows = await way.database.fetch("SELECT state, count(*) AS n FROM births GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


def dead_link(numbers: set[str]) -> Callable[[Certificate], Exception | None]:
    return lambda told: RegistryDocumentError("gone") if told.number in numbers else None


# ------------------------------------------------------------------------------------------------------ documents


async def test_dead_links_keep_no_healthy_certificate_and_their_hospitals_have_the_numbers(watched: Watched) -> None:
    way = watched.way
    await issued(way, 12)
    dead = {row["number"] for row in await way.database.fetch("SELECT number FROM certificates")}
    await issued(way, 3)
    way.registry.on_file = dead_link(dead)
    await rest(watched)
    assert await states(way) == {"ISSUED": 12, "DELIVERED": 3}
    assert len(way.hospital.received) == 2 * 15  # the numbers of the twelve went ahead
    await watched.write()
    (incident,) = await incidents.listing(way.database, closed=False, limit=9)
    assert (incident["cause"], incident["subject"], incident["births"]) == (
        "DOCUMENT_UNAVAILABLE", "certificate_file", 12,
    )  # fmt: skip
    assert incident["since"] is not None
    assert len(incident["examples"]) == 3


async def test_of_a_file_at_a_forbidden_address_the_hospital_has_the_numbers_and_the_operator_the_cause(
    watched: Watched,
) -> None:
    way = watched.way
    await issued(way, 2)
    wrong = "3510-LU-20032025-0001"
    way.registry.on_file = lambda told: DocumentAddressError("not the registry's") if told.number == wrong else None
    await rest(watched)
    assert await states(way) == {"ISSUED": 1, "DELIVERED": 1}
    assert len(way.hospital.received) == 2 * 2
    await watched.write()
    (incident,) = await incidents.listing(way.database, closed=False, limit=9)
    assert (incident["cause"], incident["births"]) == ("DOCUMENT_ADDRESS", 1)


async def test_when_the_files_are_there_they_come_and_the_incident_closes(watched: Watched) -> None:
    way = watched.way
    (birth,) = await issued(way, 1)
    way.registry.on_file = dead_link({"3510-LU-20032025-0001"})
    await rest(watched, 8)
    await watched.write()
    assert (await way.birth(birth.medical_record)).state is State.ISSUED
    way.registry.on_file = None
    await way.hurry()
    await rest(watched, 8)
    assert (await way.birth(birth.medical_record)).state is State.DELIVERED
    assert [m.split(b"|")[8][:7] for m in way.hospital.received] == [b"MDM^T02", b"ADT^A31", b"MDM^T10"]
    assert await watched.write() == ["incident.closed"]


async def test_an_address_that_is_away_concerns_what_lies_there_only(watched: Watched) -> None:
    way = watched.way
    await issued(way, 6, at=OLD)
    await issued(way, 4, at=NEW)
    way.registry.on_file = lambda told: RegistryUnavailableError("away") if told.document_url.startswith(OLD) else None
    await rest(watched)
    assert await states(way) == {"ISSUED": 6, "DELIVERED": 4}
    tried = [number for number in way.registry.fetched if number <= "3510-LU-20032025-0006"]
    assert len(tried) == 3  # then nobody asked there any more
    assert len(way.hospital.received) == 2 * 10


async def test_each_probe_of_an_address_takes_another_certificate(watched: Watched) -> None:
    way = watched.way
    await issued(way, 6)
    way.registry.on_file = lambda _told: RegistryUnavailableError("away")
    await rest(watched)
    way.registry.fetched.clear()
    for _ in range(6):
        watched.clock.now += 61
        await way.hurry()
        await watched.turn()
    assert len(set(way.registry.fetched)) == len(way.registry.fetched) == 6


async def test_certificates_behind_an_address_that_moved_are_asked_for_by_case(watched: Watched) -> None:
    way = watched.way
    await issued(way, 8)
    way.registry.on_file = lambda told: RegistryUnavailableError("away") if told.document_url.startswith(OLD) else None
    for key, outcome in way.registry.cases.items():
        assert outcome.certificate is not None
        moved = replace(outcome.certificate, document_url=outcome.certificate.document_url.replace(OLD, NEW))
        way.registry.cases[key] = replace(outcome, certificate=moved)
    for _ in range(4):
        await rest(watched, 8)
        await way.hurry()
    assert await states(way) == {"DELIVERED": 8}
    rows = await way.database.fetch("SELECT document_url FROM certificates")
    assert all(row["document_url"].startswith(NEW) for row in rows)


async def test_a_file_is_asked_for_by_case_after_a_few_failures(watched: Watched) -> None:
    way = watched.way
    await issued(way, 1)
    way.registry.on_file = lambda told: RegistryDocumentError("gone") if told.document_url.startswith(OLD) else None
    ((key, outcome),) = [(k, o) for k, o in way.registry.cases.items() if o.certificate]
    assert outcome.certificate is not None
    elsewhere = replace(outcome.certificate, document_url=f"{OLD.replace('old', 'old2')}/x.pdf")
    way.registry.cases[key] = replace(outcome, certificate=elsewhere)
    await watched.turn()
    assert way.registry.asked == []
    for _ in range(2):
        await way.hurry()
        await rest(watched, 4)
    assert len(way.registry.asked) == 1
    assert await states(way) == {"DELIVERED": 1}


async def test_a_certificate_told_again_with_another_address_is_fetched_there(watched: Watched) -> None:
    way = watched.way
    (birth,) = await issued(way, 1)
    way.registry.on_file = lambda told: RegistryDocumentError("gone") if told.document_url.startswith(OLD) else None
    await rest(watched, 6)
    outcome = way.registry.cases[f"{birth.id}:{birth.submitted}"]
    assert outcome.certificate is not None
    told = replace(outcome, certificate=replace(outcome.certificate, document_url=f"{NEW}/x.pdf"))
    async with way.database.transaction() as connection:
        locked = await births.lock(connection, birth.id)
        await settle(way.context, connection, locked, told, actor="registry", step="callback")
    await rest(watched, 6)  # nobody hurried it: the callback did
    assert await states(way) == {"DELIVERED": 1}


@pytest.mark.parametrize(("age_s", "others"), [(0.0, True), (OLD_S + 60, False)])
async def test_a_dead_link_is_a_dead_letter_once_others_are_served_or_it_is_old(
    watched: Watched, age_s: float, *, others: bool
) -> None:
    way = watched.way
    (birth,) = await issued(way, 1)
    way.registry.on_file = dead_link({"3510-LU-20032025-0001"})
    if others:
        await issued(way, 1)
    await rest(watched, 8)
    for _ in range(60):
        await way.database.fetch(
            "UPDATE tasks SET due_at = now(), made_at = now() - $1 * interval '1 second' WHERE kind = 'collect'", age_s
        )
        await watched.turn()
    last = await way.birth(birth.medical_record)
    assert last.state is State.DEAD_LETTER


async def test_a_dead_link_alone_waits(watched: Watched) -> None:
    way = watched.way
    (birth,) = await issued(way, 1)
    way.registry.on_file = dead_link({"3510-LU-20032025-0001"})
    for _ in range(65):
        await way.hurry()
        await watched.turn()
    assert (await way.birth(birth.medical_record)).state is State.ISSUED


# ------------------------------------------------------------------------------------------------------ hospitals


@contextlib.asynccontextmanager
async def listening(hospital: Hospital) -> AsyncIterator[str]:
    server = await asyncio.start_server(hospital.serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


class Mute(Hospital):
    """Takes whatever comes, and answers none, or none of what has a word in it."""

    def __init__(self, word: bytes = b"MSH") -> None:
        super().__init__()
        self.word = word

    def _answer(self, content: bytes, writer: asyncio.StreamWriter) -> None:
        if self.word not in content:
            super()._answer(content, writer)


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await check():  # noqa: ASYNC110 - a worker makes it so
            await asyncio.sleep(0.02)


async def letters(way: Journey, count: int) -> None:
    await issued(way, count)
    for _ in range(count):
        await way.step(Kind.COLLECT)


async def test_a_silent_listener_keeps_its_own_letters_only_and_has_one_at_a_time(
    database: str, tmp_path: Path
) -> None:
    mute = Mute()
    async with listening(mute) as address:
        others = [{"code": "RS LAIN CONTOH", "deliver_to": address}]
        async with journey(database, tmp_path, settings={"facility": others}) as way:
            await letters(way, 6)
            await way.database.fetch("UPDATE outbound SET facility = 'RS LAIN CONTOH' WHERE id % 4 IN (1, 2)")
            watched = Watched(way)
            running = asyncio.create_task(watched.workers.run())

            async def told() -> bool:
                return len(way.hospital.received) >= 6

            await until(told)
            assert len(mute.received) == 1
            await watched.workers.stop(within_s=0)
            await running


async def test_a_letter_that_a_listener_cannot_read_keeps_no_other(database: str, tmp_path: Path) -> None:
    bad = Mute(b"|00000002^")
    async with listening(bad) as address, journey(database, tmp_path, deliver_to=address) as way:
        await letters(way, 5)
        watched = Watched(way)
        running = asyncio.create_task(watched.workers.run())

        async def told() -> bool:
            return await states(way) == {"DELIVERED": 4, "ISSUED": 1}

        await until(told)
        assert watched.way.context.breaker.open(lanes_target(address))
        await watched.workers.stop(within_s=0)
        await running


def lanes_target(address: str) -> Target:
    host, _, port = address.rpartition(":")
    return Target(host, int(port))


async def test_no_lane_s_backlog_hides_another_s_letter(watched: Watched) -> None:
    way = watched.way
    await letters(way, 12)
    await way.database.fetch("UPDATE outbound SET facility = 'LAST' WHERE id = (SELECT max(id) - 1 FROM outbound)")
    room = Room({Kind.DELIVER: 8}, {})
    found = await lanes.claim(way.database, room, lease_s=60)
    assert sorted(lane for _, lane in found) == ["deliver fresh LAST", "deliver fresh RSU CEMPAKA CONTOH"]
    full = Room({Kind.DELIVER: 8}, dict.fromkeys((lane for _, lane in found), 0))
    assert await lanes.claim(way.database, full, lease_s=60) == []


async def test_the_letters_of_one_birth_are_claimed_in_their_order(watched: Watched) -> None:
    way = watched.way
    await letters(way, 2)
    room = Room({Kind.DELIVER: 8}, {"deliver fresh RSU CEMPAKA CONTOH": 8})
    found = await lanes.claim(way.database, room, lease_s=60)
    assert len({task.birth_id for task, _ in found}) == len(found) == 2


async def test_an_answer_that_a_listener_cannot_read_lets_the_next_one_pass(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(respond, "ANSWER_S", 0.1)
    bad = Mute(b"|MSG1")
    async with (
        listening(bad) as address,
        journey(database, tmp_path, deliver_to=address, application_answer="listener") as way,
    ):
        for number in (1, 2, 3):
            await way.tell(notice(control_id=f"MSG{number}", record_number=f"0000000{number}"))
        for _ in range(6):
            await way.hurry()
            rows = await way.database.fetch("SELECT 1 FROM tasks WHERE kind = 'answer'")
            if rows:
                await way.work(Kind.ANSWER)
        rows = await way.database.fetch("SELECT accepted_at IS NOT NULL AS ok, answer_code FROM outbound ORDER BY id")
        assert [(row["ok"], row["answer_code"]) for row in rows] == [(False, "NONE"), (True, "AA"), (True, "AA")]


# ------------------------------------------------------------------------------------------------- steps of ours


class Poisoned:
    """Raises in one call of the registry for one birth, however often; serves all others."""

    def __init__(self, way: Journey, call: str, error: Exception, number: str) -> None:
        self.number, self.error = number, error
        self._call = getattr(way.registry, call)
        setattr(way.registry, call, self)

    def __call__(self, *args: Any, **values: Any) -> Any:
        if self.number in f"{args} {values}":
            raise self.error
        return self._call(*args, **values)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("submit", RegistryUnavailableError("down, says it, for this one")),
        ("submit", ValueError("odd")),
        ("document", ValueError("no canonical form")),
        ("ask", RegistryUnavailableError("down, says it, for this one")),
        ("ask", ValueError("odd")),
    ],
)
async def test_a_birth_that_fails_a_step_for_ever_keeps_no_other(watched: Watched, call: str, error: Exception) -> None:
    way = watched.way
    for n in range(6):
        await way.tell(notice(record_number=f"{n:08}"))
    for _ in range(6):
        await way.step(Kind.ASSIGN)
    bad = await way.birth("00000000")
    Poisoned(way, call, error, str(bad.id))
    answered = RegistryStatus.IN_PROCESS
    for _ in range(40):
        await way.database.fetch("UPDATE tasks SET due_at = now() WHERE lease IS NULL AND kind <> 'poll'")
        watched.clock.now += 61
        await watched.turn()
    if call == "ask":  # polls: those of the others are answered
        before = len(way.registry.asked)
        for _ in range(6):
            await way.hurry()
            for _ in range(4):
                watched.clock.now += 61
                await watched.turn()
        assert len({birth_id for birth_id, _, _ in way.registry.asked[before:]}) == 5
    found = await states(way)
    assert found.get(answered.value.upper(), 0) >= 5
    healthy = [await way.birth(f"{n:08}") for n in range(1, 6)]
    assert {birth.state for birth in healthy} == {State.IN_PROCESS}

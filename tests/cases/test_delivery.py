"""Cases 100 to 102: the way back, when the hospital does not answer, refuses, or the mother has gone home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.dukcapil import payload
from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.pipeline import clocks, operate
from gateway.store import submissions
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.seen import born, seen
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import journey, notice
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

CLOSED = "127.0.0.1:9"  # discard: nobody listens
LATER = "20250312093000+0700"


@case(100)
async def test_f100_a_listener_that_is_down_gets_the_same_letters_when_it_is_back(
    database: str, tmp_path: Path
) -> None:
    """The listener is down: stored and tried again with growing pauses; ISSUED is not DELIVERED until it answered."""
    async with journey(database, tmp_path, deliver_to=CLOSED) as way:
        await way.reach(State.ISSUED)
        await way.work()
        assert await way.state() is State.ISSUED
        waiting = await way.database.fetch("SELECT kind, last_error, due_at > now() AS later FROM tasks")
        assert {(r["kind"], r["last_error"], r["later"]) for r in waiting} >= {
            ("deliver", "DELIVERY_UNAVAILABLE", True)
        }
        kept = [r["message"] for r in await way.database.fetch("SELECT message FROM outbound ORDER BY id")]
        back = way.context.facility(HOSPITAL).model_copy(update={"deliver_to": way.hospital.address})
        way.context.facilities[HOSPITAL] = back  # type: ignore[index] # a dictionary behind the mapping
        await way.hurry()
        way.forget_pauses()
        await way.work()
        assert await way.state() is State.DELIVERED
        assert sorted(way.hospital.received) == sorted(kept)


@case(100)
async def test_f100_meanwhile_the_akta_can_be_fetched_for_the_ward_to_print(database: str, tmp_path: Path) -> None:
    """While it is down the file lies ready under the birth's address, for the ward to print."""
    async with journey(database, tmp_path, deliver_to=CLOSED) as way:
        birth = await way.reach(State.ISSUED)
        await way.work()
        async with way.database.connection() as connection:
            issued = await submissions.certificate(connection, birth.id)
        assert issued is not None
        assert issued.document.startswith(b"%PDF")


@case(101)
@pytest.mark.parametrize("code", ["AE", "AR"])
async def test_f101_a_refused_letter_is_not_sent_again_by_itself(way: Journey, code: str) -> None:
    """AE or AR to the MDM ends the tries of those bytes: a dead letter for a person; the file can be fetched."""
    await way.reach(State.ISSUED)
    await way.step(Kind.COLLECT)
    way.hospital.script = [code]
    await way.work()
    birth = await way.birth()
    assert birth.state is State.DEAD_LETTER
    await way.hurry()
    await way.work()
    certificates = [m for m in way.hospital.received if b"MDM^T02" in m]
    assert len(certificates) == 1
    async with way.database.connection() as connection:
        issued = await submissions.certificate(connection, birth.id)
    assert issued is not None
    assert issued.document.startswith(b"%PDF")  # GET /v1/births/{id}/document: the other channel
    await operate.retry(way.desk("their listener is mended"), birth.id)
    await way.work()
    assert await way.state() is State.DELIVERED


@case(
    102,
    decision="No link with a PIN of our own: SIAK sends the family its link, PDF and PIN (domain B.9), by the "
    "reporter's telephone, which goes with the application. A second channel of ours would hand a child's akta to "
    "whoever has the number that a message named.",
)
def test_f102_the_reporters_telephone_goes_with_the_application() -> None:
    """The reporter's telephone (NK1-5 of the same NIK, or the form) goes to the registry, which tells the family."""
    told = seen(born({"NK1#2-5": "^PRN^CP^^62^812^0000202"}))
    asked = payload.document(told.record, birth_id="b-1", revision=1, office="3510", twins=None)
    assert asked["pelapor"]["no_hp"] == "+628120000202"
    without_one = payload.document(seen(notice()).record, birth_id="b-1", revision=1, office="3510", twins=None)
    assert "no_hp" not in without_one["pelapor"]  # another person's number is not taken for the reporter's


@case(102)
async def test_f102_a_discharge_makes_it_urgent_and_the_ward_is_told_all_the_same(way: Journey) -> None:
    """Discharged before issue: every step of this birth goes first from then on, and the ward gets the akta as ever."""
    await way.reach(State.IN_PROCESS)
    await way.tell(notice("A03", sent=LATER))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert birth.priority == clocks.LEAVING
    assert birth.leaves_at is not None
    rows = await way.database.fetch("SELECT DISTINCT priority FROM tasks WHERE birth_id = $1", birth.id)
    assert [r["priority"] for r in rows] == [clocks.LEAVING]
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    await way.work()
    assert await way.state() is State.DELIVERED
    assert len(way.hospital.received) == 2

"""Case 62: a baby that is moved to another hospital before it is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.pipeline import decide_pair
from gateway.store import likenesses
from tests.cases.case import case
from tests.cases.seen import edited, without
from tests.simulators.facilities import CLINIC, HOSPITAL
from tests.simulators.journey import Journey, journey, notice
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator
    from pathlib import Path

BORN_HERE, MOVED = "00450121", "P-77"
BY_TRANSFER = {"MSH-4": CLINIC, "PV1-14": "4", "PV1-44": "20250311150000+0700"}  # admitted from a hospital


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway of two facilities with one listener, which tells them apart by MSH-6."""
    clinic = {"code": CLINIC, "region": "3510"}
    async with journey(database, tmp_path, settings={"facility": [clinic]}) as parts:
        facilities = dict(parts.context.facilities)
        listening = facilities[CLINIC].model_copy(update={"deliver_to": parts.hospital.address})
        parts.context.facilities[CLINIC] = listening  # type: ignore[index] # a dictionary behind the mapping
        yield parts


def admission() -> bytes:
    """Return what the second hospital tells: no letter of birth, attendant or Apgar, which only the first one has."""
    told = edited(notice(record_number=MOVED, same_mother=True), BY_TRANSFER)
    return without(told, "OBX|4|", "OBX|5|", "OBX|9|", "ZKL")


async def moved(way: Journey) -> uuid.UUID:
    """Tell of a birth, its transfer, and its admission elsewhere; return the second hospital's birth."""
    await way.tell(notice())
    await way.tell(edited(notice("A03", sent="20250311120000+0700"), {"PV1-36": "02"}))
    await way.tell(admission())
    await way.work()
    (row,) = await way.database.fetch("SELECT id FROM births WHERE facility = $1", CLINIC)
    found: uuid.UUID = row["id"]
    return found


def addressees(way: Journey, kind: bytes) -> list[str]:
    """Return to which facility letters of a kind went (MSH-6)."""
    return sorted(m.split(b"|")[5].split(b"^")[0].decode() for m in way.hospital.received if kind in m)


@case(
    62,
    decision="Both sides wait until a person says that they are one baby: who owns it is that person's word, with "
    "the hospital of birth proposed by the letter, attendant and Apgar that only it writes.",
)
async def test_f062_a_transferred_baby_is_suspected_and_both_hospitals_get_the_akta(way: Journey) -> None:
    """Told by a second hospital: suspected by its mother, nothing is submitted twice; both hospitals get the MDM."""
    second = await moved(way)
    first = await way.birth(BORN_HERE)
    assert way.registry.submissions == []
    (seen,) = await likenesses.view(way.database, second)
    assert (seen["birth"], seen["hospital_of_birth"]) == (str(first.id), True)
    (row,) = await way.database.fetch("SELECT state, findings FROM births WHERE id = $1", second)
    assert row["state"] == "REVIEW"
    assert "DUP_SUSPECT" in {f["code"] for f in row["findings"]}
    assert await decide_pair.merge(way.desk("one baby, by telephone"), second, first.id) == first.id
    await way.work()
    assert await way.state(BORN_HERE) is State.IN_PROCESS
    assert len(way.registry.submissions) == 1
    await way.settle(RegistryStatus.ISSUED, certificate=certificate())
    await way.work()
    assert await way.state(BORN_HERE) is State.DELIVERED
    assert addressees(way, b"MDM^T02") == sorted([HOSPITAL, CLINIC])
    (there,) = [m for m in way.hospital.received if b"MDM^T02" in m and CLINIC.encode() in m.split(b"\r")[0]]
    assert f"|{MOVED}^".encode() in there  # under the number the baby has there
    assert b"3510-LU-20032025-9001" in there


@case(62)
async def test_f062_found_after_issue_the_second_hospital_is_told_then(way: Journey) -> None:
    """Merged after the akta is out: the second hospital gets it then, the first one not again."""
    await way.reach(State.DELIVERED)
    await way.tell(admission())
    await way.work()
    (row,) = await way.database.fetch("SELECT id, state FROM births WHERE facility = $1", CLINIC)
    assert row["state"] == "REVIEW"
    await decide_pair.merge(way.desk("one baby, by telephone"), row["id"], (await way.birth(BORN_HERE)).id)
    await way.work()
    assert addressees(way, b"MDM^T02") == sorted([HOSPITAL, CLINIC])
    assert len(way.registry.submissions) == 1
    assert await way.count("certificates") == 1

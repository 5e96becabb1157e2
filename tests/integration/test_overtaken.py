"""A message that comes behind newer ones tells what they left open, and takes back nothing they said (domain F 16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.pipeline import operate
from gateway.store.queue import Kind
from tests.simulators.journey import Journey, journey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NUMBER = "00470001"
MOTHER = "NK1|1|SITI AMINAH|MTH"
FATHER = "NK1|2|BUDI SANTOSO|FTH" + "|" * 30 + "3510160407929001^^^^NI"
LIAM = "NK1|2|LIAM CONTOH|FTH" + "|" * 24 + "AUS" + "|" * 6 + "PX0000001^^^^PPN"
NOAH = "NK1|2|NOAH CONTOH|FTH" + "|" * 24 + "AUS" + "|" * 6 + "PX0000002^^^^PPN"


@pytest.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(database, tmp_path) as running:
        yield running


def message(kind: str, minute: int, *segments: str, name: str = "", whole: bool = False) -> bytes:
    """Return a message of 09:`minute`; a whole one says of the baby what a notice says."""
    at = f"2025031109{minute:02}00"
    told = "|202503110415|M|||||||||||||3510165203959001^^^^NI||BANYUWANGI|N|1" if whole else ""
    lines = [
        f"MSH|^~\\&|SIMRS|RSU CEMPAKA CONTOH|AKTAGW|DISDUKCAPIL 3510|{at}||{kind}|O{minute}|P|2.5",
        *([f"EVN||{at}"] if kind.startswith("ADT") else []),
        f"PID|1||{NUMBER}^^^^MR||{name}|{told}",
        *(s for s in segments if s.startswith("NK1")),
        "PV1|1|I||N" if kind.startswith("ADT") else "OBR|1|||55107-7^Birth^LN",
        *(s for s in segments if not s.startswith("NK1")),
    ]
    return "\r".join([*lines, ""]).encode()


def weight(value: str, status: str = "F") -> str:
    return f"OBX|1|NM|8339-4^^LN||{value}|g|||||{status}"


async def hear(way: Journey, *messages: bytes) -> None:
    for raw in messages:
        assert await way.tell(raw) in ("AA", "AE")
        await way.step(Kind.ASSIGN)


async def findings(way: Journey) -> set[str]:
    return {f["code"] for f in (await way.birth(NUMBER)).findings}


async def test_an_overtaken_update_tells_what_nothing_newer_spoke_of(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, name="BY NY SITI AMINAH", whole=True),
        message("ADT^A08", 30, weight("3510")),
        message("ADT^A08", 20, FATHER, weight("3150"), name="AHMAD RIZKI PRATAMA"),
    )
    birth = await way.birth(NUMBER)
    assert birth.record.father is not None
    assert birth.record.child.name is not None
    assert birth.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"
    assert (birth.record.child.weight_g, birth.state) == (3510, State.READY)
    assert "only what nothing newer speaks of" in (await way.reasons())[-1]


async def test_a_notice_behind_the_update_that_opened_the_birth_completes_it(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A08", 20, MOTHER, weight("3510"), name="AHMAD RIZQI PRATAMA", whole=True),
        message("ADT^A01", 10, MOTHER, FATHER, weight("3150"), name="BY NY SITI AMINAH", whole=True),
    )
    birth = await way.birth(NUMBER)
    assert (birth.record.child.weight_g, birth.state, birth.revision) == (3510, State.READY, 2)
    assert birth.record.father is not None


async def test_a_result_counts_by_when_it_was_sent_and_not_by_when_an_update_without_it_was(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, weight("3150"), name="AHMAD RIZKI", whole=True),
        message("ADT^A08", 30, name="AHMAD RIZQI"),
        message("ORU^R01", 20, weight("3200")),
    )
    assert (await way.birth(NUMBER)).record.child.weight_g == 3200


async def test_an_overtaken_deletion_deletes_what_was_older_than_it(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, weight("3150"), name="AHMAD RIZKI", whole=True),
        message("ADT^A08", 30, name="AHMAD RIZQI"),
        message("ADT^A08", 20, weight('""'), name="AHMAD"),
    )
    birth = await way.birth(NUMBER)
    assert birth.record.child.weight_g is None
    assert birth.record.child.name is not None
    assert birth.record.child.name.reveal() == "AHMAD RIZQI"


async def test_what_was_withdrawn_since_counts_no_more(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, name="BY NY SITI AMINAH", whole=True),
        message("ADT^A11", 30),
        message("ADT^A01", 40, MOTHER, name="BY NY SITI AMINAH", whole=True),
        message("ADT^A08", 20, FATHER),
    )
    assert (await way.birth(NUMBER)).record.father is None
    assert "older than what is known" in (await way.reasons())[-1]


async def test_an_overtaken_notice_does_not_reopen_what_was_withdrawn(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, name="BY NY SITI AMINAH", whole=True),
        message("ADT^A11", 30),
        message("ADT^A01", 20, MOTHER, name="AHMAD RIZKI", whole=True),
    )
    assert await way.state(NUMBER) is State.CANCELLED


async def test_an_overtaken_notice_does_not_reopen_what_an_operator_cancelled(way: Journey) -> None:
    await hear(way, message("ADT^A01", 20, MOTHER, name="BY NY SITI AMINAH", whole=True))
    await operate.cancel(way.desk(), (await way.birth(NUMBER)).id)
    await hear(way, message("ADT^A01", 10, MOTHER, FATHER, name="AHMAD RIZKI", whole=True))
    assert await way.state(NUMBER) is State.CANCELLED


async def test_an_overtaken_update_only_fills_gaps_in_a_birth_made_of_two(way: Journey) -> None:
    merge = message("ADT^A40", 40).replace(b"PV1|1|I||N", b"MRG|00470002^^^^MR")
    other = message("ADT^A01", 5, MOTHER, weight("2900"), name="AHMAD RIZKI", whole=True).replace(b"|O5|", b"|P5|")
    await hear(way, message("ADT^A01", 10, MOTHER, weight("3150"), name="AHMAD RIZQI", whole=True))
    await hear(way, other.replace(NUMBER.encode(), b"00470002"), merge)
    await hear(way, message("ADT^A08", 8, FATHER, weight("3000")))
    birth = await way.birth(NUMBER)
    assert birth.record.child.weight_g == 3150
    assert birth.record.father is not None


async def test_a_final_result_that_is_the_preliminary_one_lets_the_birth_go_on(way: Journey) -> None:
    await hear(way, message("ADT^A01", 10, MOTHER, weight("3150", "P"), name="AHMAD RIZKI", whole=True))
    assert await way.state(NUMBER) is State.HOLD_DATA
    await hear(way, message("ORU^R01", 20, weight("3150")))
    assert "OBSERVATION_PRELIMINARY" not in await findings(way)
    assert await way.state(NUMBER) is State.READY


async def test_another_result_does_not_make_a_preliminary_one_final(way: Journey) -> None:
    apgar = "OBX|1|NM|9272-6^^LN||8|{score}|||||F"
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, weight("3150", "P"), name="AHMAD RIZKI", whole=True),
        message("ORU^R01", 20, apgar),
        message("ADT^A08", 30, FATHER),
    )
    assert await way.state(NUMBER) is State.HOLD_DATA
    assert "OBSERVATION_PRELIMINARY" in await findings(way)
    await hear(way, message("ORU^R01", 40, weight("3180")))
    assert await way.state(NUMBER) is State.READY


async def test_a_preliminary_result_that_is_taken_back_holds_nothing(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, weight("3150", "P"), name="AHMAD RIZKI", whole=True),
        message("ORU^R01", 20, weight("3150", "D")),
    )
    birth = await way.birth(NUMBER)
    assert (birth.record.child.weight_g, birth.state) == (None, State.READY)


async def test_the_father_is_no_answer_to_two_mothers(way: Journey) -> None:
    await hear(
        way,
        message("ADT^A01", 10, MOTHER, "NK1|2|IBU LAIN|MTH", name="AHMAD RIZKI", whole=True),
        message("ADT^A08", 20, FATHER),
    )
    assert "MOTHER_AMBIGUOUS" in await findings(way)
    await hear(way, message("ADT^A08", 30, MOTHER))
    assert "MOTHER_AMBIGUOUS" not in await findings(way)


async def test_two_mothers_are_seen_where_no_value_changes(way: Journey) -> None:
    await hear(way, message("ADT^A01", 10, MOTHER, name="AHMAD RIZKI", whole=True))
    assert await way.state(NUMBER) is State.READY
    await hear(way, message("ADT^A08", 20, MOTHER, "NK1|2|IBU LAIN|MTH"))
    assert "MOTHER_AMBIGUOUS" in await findings(way)
    assert await way.state(NUMBER) is State.HOLD_DATA


async def test_who_let_a_foreign_father_pass_is_asked_about_another_one(way: Journey) -> None:
    await hear(way, message("ADT^A01", 10, MOTHER, LIAM, name="AHMAD RIZKI", whole=True))
    assert await way.state(NUMBER) is State.REVIEW
    await operate.release(way.desk(), (await way.birth(NUMBER)).id)
    await hear(way, message("ADT^A08", 20, weight("3150")))
    assert await way.state(NUMBER) is State.READY
    await hear(way, message("ADT^A08", 30, NOAH))
    birth = await way.birth(NUMBER)
    assert (birth.state, birth.accepted) == (State.REVIEW, frozenset())


async def test_another_foreign_father_does_not_pass_while_the_registry_works_on_the_first(way: Journey) -> None:
    await hear(way, message("ADT^A01", 10, MOTHER, LIAM, name="AHMAD RIZKI", whole=True))
    await operate.release(way.desk(), (await way.birth(NUMBER)).id)
    await way.work()
    assert await way.state(NUMBER) is State.IN_PROCESS
    await way.tell(message("ADT^A08", 30, NOAH))
    await way.work()
    assert await way.state(NUMBER) is State.IN_PROCESS
    assert len(way.registry.submissions) == 1


def plurality(value: str) -> str:
    return f"OBX|1|NM|57722-1^^LN||{value}||||||F"


async def test_a_result_that_calls_a_twin_single_is_for_a_person_to_look_at(way: Journey) -> None:
    notice = message("ADT^A01", 10, MOTHER, name="AHMAD RIZKI", whole=True).replace(b"GI|N|1", b"GI|Y|1")
    await hear(way, notice, message("ORU^R01", 20, plurality("1")))
    assert (await way.state(NUMBER), "PLURALITY_CONFLICT" in await findings(way)) == (State.REVIEW, True)


async def test_a_result_that_agrees_or_tells_first_how_many_there_were_holds_nothing(way: Journey) -> None:
    notice = message("ADT^A01", 10, MOTHER, name="AHMAD RIZKI", whole=True).replace(b"GI|N|1", b"GI||3")
    await hear(way, notice, message("ORU^R01", 20, plurality("1")), message("ORU^R01", 30, plurality("1")))
    assert await way.state(NUMBER) is State.READY

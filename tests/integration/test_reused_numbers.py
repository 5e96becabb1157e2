"""A record number used again, on real PostgreSQL: at each state of the known birth, in any order, all at once (A.6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.errors import IllegalMoveError
from gateway.pipeline import decide_pair, operate
from tests.integration.test_merges import assigned, merge, message, pid, reasons
from tests.simulators.journey import HEAVIER, Journey, journey, notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NUMBER, OTHER = "00450121", "00450999"
AGAIN = "20250311101500+0700"
LATER = "20250312081500+0700"
# Another family's baby, of the same sex, a little later.
OTHERS = (
    ("SITI AMINAH", "DEWI LESTARI"),
    ("3510165203959001", "3510137101909001"),
    ("|19950312|", "|19900131|"),
    ("AHMAD RIZKI PRATAMA", "BY NY DEWI LESTARI"),
    ("||20250311041500+0700|M|", "||20250311050200+0700|M|"),
    ("||3150|g^g", "||2650|g^g"),
    ("|3150|49|", "|2650|49|"),
)
EARLY = (State.READY, State.SEALED)


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway's parts on a database of this test's own."""
    async with journey(database, tmp_path) as parts:
        yield parts


async def answer(way: Journey, raw: bytes) -> tuple[str, list[str]]:
    """Send a message in original mode; return MSA-1 and the codes of ERR-5.1 of the answer."""
    raw = raw.replace(b"|2.5|||AL|AL|", b"|2.5|||||")
    frames = await asyncio.wait_for(way.intake.take(raw, peer="127.0.0.1"), 20)
    lines = frames[-1].decode().split("\r")
    code = next(line for line in lines if line.startswith("MSA")).split("|")[1]
    return code, [line.split("|")[5].split("^")[0] for line in lines if line.startswith("ERR")]


async def mothers(way: Journey, number: str = NUMBER) -> str:
    birth = await way.birth(number)
    assert birth.record.mother is not None
    assert birth.record.mother.name is not None
    return birth.record.mother.name.reveal()


async def reach(way: Journey, state: State) -> None:
    if state in (State.CANCELLED, State.READY):
        await way.tell(notice())
        await assigned(way)
        if state is State.CANCELLED:
            await way.tell(notice("A11", sent="20250311100000+0700", segments=("PV1",)))
            await assigned(way)
    else:
        await way.reach(state)


@pytest.mark.parametrize("event", ["A01", "A28", "A08", "A31", "A03"])
@pytest.mark.parametrize("state", [State.READY, State.SEALED, State.IN_PROCESS, State.ISSUED, State.DELIVERED])
async def test_another_mothers_baby_changes_no_known_birth(way: Journey, state: State, event: str) -> None:
    await reach(way, state)
    before = await way.birth()
    assert await answer(way, notice(event, changes=OTHERS, sent=AGAIN)) == ("AE", ["MRN_REUSED"])
    await assigned(way)
    after = await way.birth()
    assert (after.id, after.record, after.priority) == (before.id, before.record, before.priority)
    assert after.state is (State.REVIEW if state in EARLY else state)
    assert [f["code"] for f in after.findings if f["state"]] == ["MRN_REUSED"] * (state in EARLY)
    assert "another baby than the one with this record number: not applied" in (await reasons(way, NUMBER))[-1]
    assert not await way.database.fetch("SELECT FROM acts")
    assert way.context.metrics.numbers_reused.labels("other-mother")._value.get() == 1


@pytest.mark.parametrize("event", ["A11", "A23", "A29"])
@pytest.mark.parametrize("state", [State.READY, State.IN_PROCESS, State.DELIVERED])
async def test_the_withdrawal_of_another_baby_withdraws_no_known_birth(way: Journey, state: State, event: str) -> None:
    await reach(way, state)
    raw = notice(event, changes=OTHERS[:5], sent=AGAIN, segments=("NK1", "PV1"))
    assert await answer(way, raw) == ("AE", ["MRN_REUSED"])
    await assigned(way)
    assert await way.state() is state


async def test_a_repeat_gets_its_stored_answer_byte_for_byte(way: Journey) -> None:
    await way.tell(notice())
    await assigned(way)
    raw = notice(changes=OTHERS, sent=AGAIN)
    first = await way.intake.take(raw, peer="127.0.0.1")
    await assigned(way)
    assert await way.intake.take(raw, peer="127.0.0.1") == first
    assert await way.count("messages") == 2


async def test_the_number_of_a_withdrawn_birth_opens_one_of_its_own(way: Journey) -> None:
    await reach(way, State.CANCELLED)
    withdrawn = await way.birth()
    assert await answer(way, notice(changes=OTHERS, sent=AGAIN)) == ("AA", ["MRN_REUSED", "NAME_PLACEHOLDER"])
    await assigned(way)
    birth = await way.birth()
    assert birth.id != withdrawn.id
    assert (birth.state, birth.revision) == (State.HOLD_NAME, 1)
    row = await way.database.fetchrow("SELECT state, medical_record FROM births WHERE id = $1", withdrawn.id)
    assert row is not None
    assert (row["state"], row["medical_record"]) == ("CANCELLED", f"{NUMBER}#{withdrawn.id}")


async def test_a_withdrawn_birth_told_again_is_itself(way: Journey) -> None:
    await reach(way, State.CANCELLED)
    withdrawn = await way.birth()
    assert await answer(way, notice(sent=AGAIN)) == ("AA", [])
    await assigned(way)
    birth = await way.birth()
    assert (birth.id, birth.state) == (withdrawn.id, State.READY)


@pytest.mark.parametrize("waits", [False, True])
async def test_before_the_first_is_assigned_the_second_is_refused_too(way: Journey, *, waits: bool) -> None:
    """Both in one commit, or the first kept and not read yet."""
    if waits:
        await way.tell(notice())
        seen = await answer(way, notice(changes=OTHERS, sent=AGAIN))
    else:
        first = way.intake.take(notice(), peer="127.0.0.1")
        seen = await answer(way, notice(changes=OTHERS, sent=AGAIN))
        await first
    assert seen == ("AE", ["MRN_REUSED"])
    await assigned(way)
    assert await mothers(way) == "SITI AMINAH"
    assert await way.state() is State.REVIEW
    assert await way.count("births") == 1


async def test_two_at_once_on_two_connections_end_with_one_baby_and_a_person(way: Journey) -> None:
    """Neither door knew of the other: the later one is laid aside when it is assigned."""
    await way.tell(notice())
    await way.tell(notice(changes=OTHERS, sent=AGAIN))
    await way.database.fetch("UPDATE messages SET told = NULL")  # as if it had been kept by another process at once
    await assigned(way)
    birth = await way.birth()
    assert (await mothers(way), birth.state) == ("SITI AMINAH", State.REVIEW)
    assert [f["code"] for f in birth.findings if f["state"]] == ["MRN_REUSED"]


async def test_a_refused_notice_is_not_applied_though_the_number_is_free_by_then(way: Journey) -> None:
    await way.tell(notice())
    await assigned(way)
    assert (await answer(way, notice(changes=OTHERS, sent=AGAIN)))[0] == "AE"
    await way.tell(notice("A11", sent=LATER, segments=("NK1", "PV1")))
    await assigned(way)
    assert await way.state() is State.CANCELLED
    assert await mothers(way) == "SITI AMINAH"


async def test_a_withdrawal_that_waits_frees_the_number_in_order(way: Journey) -> None:
    await way.tell(notice())
    await assigned(way)
    await way.tell(notice("A11", sent="20250311100000+0700", segments=("PV1",)))
    code, codes = await answer(way, notice(changes=OTHERS, sent=AGAIN))
    assert (code, codes) == ("AA", ["NAME_PLACEHOLDER"])
    await assigned(way)
    assert (await mothers(way), await way.state()) == ("DEWI LESTARI", State.HOLD_NAME)


async def test_a_person_lets_the_known_baby_go_on_and_is_asked_again_by_the_next_mistake(way: Journey) -> None:
    await way.tell(notice())
    await assigned(way)
    for sent in (AGAIN, LATER):
        await way.tell(notice(changes=OTHERS, sent=sent))
        await assigned(way)
        assert await way.state() is State.REVIEW
        assert await operate.release(way.desk(), (await way.birth()).id) is State.READY


async def test_the_ward_telling_of_its_baby_again_ends_the_doubt(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(changes=OTHERS, sent=AGAIN))
    await assigned(way)
    assert await way.state() is State.REVIEW
    await way.tell(message("A31", pid(NUMBER, name="MUHAMMAD HASAN"), sent=LATER))  # whose name is that?
    await assigned(way)
    assert await way.state() is State.REVIEW
    await way.tell(notice("A08", sent="20250312091500+0700"))
    await assigned(way)
    birth = await way.birth()
    assert birth.state is State.READY
    assert birth.record.child.name is not None
    assert birth.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"


@pytest.mark.parametrize("state", [State.READY, State.IN_PROCESS])
async def test_a_withdrawal_of_the_number_alone_takes_no_baby_that_is_in_doubt(way: Journey, state: State) -> None:
    """Who was refused the second baby withdraws it by the number they typed."""
    await reach(way, state)
    await way.tell(notice(changes=OTHERS, sent=AGAIN))
    await assigned(way)
    await way.tell(message("A11", pid(NUMBER, born="", sex=""), "PV1|1|I", sent=LATER))
    await assigned(way)
    assert await way.state() is (State.REVIEW if state is State.READY else state)
    assert "two babies were told under this number" in (await reasons(way, NUMBER))[-1]


async def test_a_retired_number_used_again_is_the_baby_it_leads_to(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(message("A47", pid(OTHER), f"MRG|{NUMBER}^^^RSCEMPAKA^MR", sent="20250311100000+0700"))
    await assigned(way)
    assert await answer(way, notice(changes=OTHERS, sent=AGAIN)) == ("AE", ["MRN_REUSED"])
    await assigned(way)
    assert (await mothers(way, OTHER), await way.state(OTHER)) == ("SITI AMINAH", State.REVIEW)


@pytest.mark.parametrize(
    "change",
    [
        (("3510165203959001", "3510137101909001"),),  # her NIK was another's
        (("SITI AMINAH^^", "NUR HASANAH^^"),),
        (("|20250311041500+0700|M|", "|20250310235500+0700|M|"),),
        (("|20250311041500+0700|M|", "|20250311041500+0700|F|"),),
        (("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),),
    ],
)
@pytest.mark.parametrize("event", ["A01", "A08"])
async def test_a_correction_is_applied(way: Journey, event: str, change: tuple[tuple[str, str], ...]) -> None:
    await way.tell(notice())
    await assigned(way)
    code, codes = await answer(way, notice(event, changes=change, sent=AGAIN))
    assert "MRN_REUSED" not in codes
    await assigned(way)
    birth = await way.birth()
    assert birth.revision == 2
    assert "MRN_REUSED" not in {f["code"] for f in birth.findings}
    assert code in ("AA", "AE")


# ------------------------------------------------------------------------------------- merges, and retired numbers


@pytest.mark.parametrize("event", ["A18", "A34", "A35", "A36", "A40", "A47"])
async def test_a_merge_of_two_mothers_babies_merges_nothing_and_says_so(way: Journey, event: str) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=OTHER))
    await assigned(way)
    assert await answer(way, merge(NUMBER, OTHER, event=event)) == ("AE", ["MERGE_CONTRADICTION"])
    await assigned(way)
    assert (await way.state(), await way.state(OTHER)) == (State.REVIEW, State.REVIEW)
    assert not await way.database.fetch("SELECT FROM aliases")
    why = await way.database.fetchrow("SELECT detail FROM events WHERE detail ? 'not_merged' LIMIT 1")
    assert why is not None
    assert "MOTHER_NIK_DIFFERS" in why["detail"]["seen"]


@pytest.mark.parametrize("into", [True, False])
async def test_a_certified_baby_takes_no_other_mothers_baby(way: Journey, *, into: bool) -> None:
    issued = await way.reach(State.DELIVERED)
    await way.tell(notice(record_number=OTHER))
    await assigned(way)
    pair = (OTHER, NUMBER) if into else (NUMBER, OTHER)
    assert await answer(way, merge(*pair)) == ("AE", ["MERGE_CONTRADICTION"])
    await assigned(way)
    assert (await way.birth()).record == issued.record
    assert (await way.state(), await way.state(OTHER)) == (State.DELIVERED, State.REVIEW)


async def test_a_merge_that_contradicts_lets_nobody_wait_for_the_registry(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.tell(notice(record_number=OTHER))
    await assigned(way)
    await way.tell(merge(NUMBER, OTHER))
    await way.tell(notice("A08", record_number=OTHER, sent=LATER, changes=HEAVIER))
    await assigned(way)
    assert (await way.state(), await way.state(OTHER)) == (State.IN_PROCESS, State.REVIEW)
    assert (await way.birth(OTHER)).record.child.weight_g == 3510
    assert await way.database.fetch("SELECT FROM messages WHERE assigned_at IS NULL") == []


async def test_another_mothers_withdrawn_baby_fills_no_gap(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A11", sent="20250311100000+0700", segments=("PV1",)))
    await way.tell(notice(record_number=OTHER, segments=("NK1", "PV1")))
    await assigned(way)
    assert await answer(way, merge(NUMBER, OTHER)) == ("AE", ["MERGE_CONTRADICTION"])
    await assigned(way)
    assert (await way.birth(OTHER)).record.child.weight_g is None


async def test_a_person_merges_no_babies_of_two_mothers(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=OTHER))
    await assigned(way)
    one, other = await way.birth(), await way.birth(OTHER)
    with pytest.raises(IllegalMoveError, match=r"the mothers differ \(mother_nik_differs, mother_born_differs\)"):
        await decide_pair.merge(way.desk(), one.id, other.id)
    assert (await way.state(), await way.state(OTHER)) == (State.READY, State.READY)


@pytest.mark.parametrize("event", ["A11", "A23", "A29"])
@pytest.mark.parametrize("join", ["A40", "A47"])
async def test_a_delete_of_the_retired_number_is_noted_nothing_else(way: Journey, join: str, event: str) -> None:
    await way.reach(State.DELIVERED)
    await way.tell(merge(NUMBER, OTHER, event=join))
    await assigned(way)
    before = await way.birth(OTHER)
    raw = notice(event, sent="20250313081500+0700", segments=("PV1",))
    assert await answer(way, raw) == ("AA", [])
    await assigned(way)
    assert (await way.birth(OTHER)) == before
    assert (await reasons(way, OTHER))[-1] == f"ADT^{event}: a number it had before: noted, nothing else"


async def test_a_delete_written_before_the_change_of_number_that_comes_late_is_noted(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(merge(NUMBER, OTHER, event="A47"))
    await way.tell(notice("A11", sent="20250311100000+0700", segments=("PV1",)))
    await assigned(way)
    assert await way.state(OTHER) is State.READY


async def test_a_delete_that_overtook_the_change_of_number_takes_no_baby(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A11", sent="20250313081500+0700", segments=("PV1",)))
    await assigned(way)
    assert await way.state() is State.CANCELLED
    await way.tell(merge(NUMBER, OTHER, event="A47", sent=LATER))
    await assigned(way)
    assert await way.state(OTHER) is State.READY


async def test_a_withdrawn_birth_with_a_new_number_stays_withdrawn(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice("A11", sent=LATER, segments=("PV1",)))
    await way.tell(merge(NUMBER, OTHER, event="A47", sent="20250313081500+0700"))
    await assigned(way)
    assert await way.state(OTHER) is State.CANCELLED


async def test_what_withdrew_the_merged_birth_makes_no_message_of_the_other_one_late(way: Journey) -> None:
    await way.tell(notice(sent="20250311093000+0700"))
    await way.tell(notice(record_number=OTHER, same_mother=True))
    await way.tell(notice("A11", sent="20250314081500+0700", segments=("PV1",)))
    await way.tell(merge(NUMBER, OTHER, sent="20250314091500+0700"))
    await assigned(way)
    await way.tell(notice("A08", record_number=OTHER, same_mother=True, sent=LATER, changes=HEAVIER))
    await assigned(way)
    birth = await way.birth(OTHER)
    assert (birth.state, birth.record.child.weight_g) == (State.READY, 3510)


async def test_a_chain_of_numbers_and_the_way_back(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(merge(NUMBER, OTHER, event="A47"))
    await way.tell(merge(OTHER, "00450888", event="A47", sent="20250312091500+0700"))
    await assigned(way)
    for number in (NUMBER, OTHER):
        await way.tell(message("A23", pid(number, born="", sex=""), "PV1|1|I", sent="20250312101500+0700"))
    await assigned(way)
    assert await way.state("00450888") is State.READY
    await way.tell(merge("00450888", NUMBER, event="A47", sent="20250312111500+0700"))
    await way.tell(message("A23", pid("00450888", born="", sex=""), "PV1|1|I", sent="20250312121500+0700"))
    await assigned(way)
    assert await way.state() is State.READY
    await way.tell(message("A23", pid(NUMBER, born="", sex=""), "PV1|1|I", sent="20250312131500+0700"))
    await assigned(way)
    assert await way.state() is State.CANCELLED


async def test_a_delete_that_names_the_old_number_first_is_of_the_old_number(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(merge(NUMBER, OTHER, event="A47"))
    await assigned(way)
    both = f"PID|1||{NUMBER}^^^RSCEMPAKA^MR~{OTHER}^^^RSCEMPAKA^MR"
    await way.tell(message("A29", both, "PV1|1|N", sent="20250313081500+0700"))
    await assigned(way)
    assert await way.state(OTHER) is State.READY

"""One baby under two record numbers, and twins, on real PostgreSQL (domain A.6, F 1 to 9, 62)."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.errors import BirthBusyError, IllegalMoveError, StoreUnavailableError
from gateway.pipeline import assign, decide_pair, operate
from gateway.pipeline.likeness import patiently
from gateway.store import likenesses, queue
from gateway.store.likenesses import Sought
from gateway.store.queue import Kind
from tests.simulators.facilities import CLINIC, HOSPITAL
from tests.simulators.journey import HEAVIER, RENAMED, Journey, journey, notice

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.store.births import Birth

OLD, NEW, THIRD = "00450121", "00450999", "00450777"
LATER, LATEST = "20250312081500+0700", "20250313081500+0700"
NAME = "AHMAD RIZKI PRATAMA"
AWAITED = ((NAME, "BY NY SITI AMINAH"),)
MOTHER = "3510165203959001"


@pytest_asyncio.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    """Lend a gateway of two facilities on a database of this test's own."""
    async with journey(database, tmp_path, settings={"facility": [{"code": CLINIC, "region": "3510"}]}) as parts:
        yield parts


def told(number: str = OLD, *, changes: tuple[tuple[str, str], ...] = (), event: str = "A01", sent: str = "") -> bytes:
    when = {"sent": sent} if sent else {}
    return notice(event, record_number=number, same_mother=True, changes=changes, **when)


def twin(order: int | str, number: str, *, minutes: str = "15", grams: int = 3150, name: str = "") -> bytes:
    """Return one of a pair of boys, born in the same hour."""
    name = name or {1: NAME, 2: "AHMAD RIZAL PRATAMA"}.get(int(order or 0), NAME)
    return told(
        number,
        changes=(
            (NAME, name),
            ("20250311041500+0700|M", f"2025031104{minutes}00+0700|M"),
            ("|BANYUWANGI|N|1|", f"|BANYUWANGI|Y|{order}|"),
            ("57722-1^Birth plurality of Pregnancy^LN||1|", "57722-1^Birth plurality of Pregnancy^LN||2|"),
            ("|1^Tunggal|", "|2^Kembar 2|"),
            ("||3150|g^g", f"||{grams}|g^g"),
            ("|3150|49|", f"|{grams}|49|"),
        ),
    )


def without_nik(raw: bytes) -> bytes:
    """Return a notice whose mother has no NIK yet."""
    return raw.replace(f"~{MOTHER}^^^DUKCAPIL^NI".encode(), b"").replace(f"{MOTHER}^^^DUKCAPIL^NI~".encode(), b"")


def elsewhere(raw: bytes) -> bytes:
    """Return a message as another facility sends it."""
    return raw.replace(HOSPITAL.encode(), CLINIC.encode(), 1)


async def assigned(way: Journey) -> None:
    while await way.database.fetch("SELECT FROM tasks WHERE kind = 'assign' AND due_at <= now()"):
        await way.work(Kind.ASSIGN)


async def states(way: Journey, *numbers: str) -> list[State]:
    return [await way.state(number) for number in numbers]


def codes(birth: Birth) -> list[str]:
    return [f["code"] for f in birth.findings if f["state"]]


async def verdicts(way: Journey) -> list[str | None]:
    return [r["verdict"] for r in await way.database.fetch("SELECT verdict FROM messages ORDER BY id")]


async def pairs(way: Journey) -> list[tuple[str, str, str | None]]:
    rows = await way.database.fetch("SELECT verdict, rule, decision FROM likenesses ORDER BY found_at, rule")
    return [(r["verdict"], r["rule"], r["decision"]) for r in rows]


async def at_clinic(way: Journey, number: str) -> uuid.UUID:
    row = await way.database.fetchrow(
        "SELECT id FROM births WHERE facility = $1 AND medical_record = $2", CLINIC, number
    )
    assert row is not None
    found: uuid.UUID = row["id"]
    return found


# ------------------------------------------------------------------------------------------------- one baby, twice


async def test_one_baby_under_two_numbers_waits_on_both_sides(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW, changes=(*AWAITED, ("202503110415", "202503110418"))))  # read off another clock
    await assigned(way)
    one, two = await way.birth(OLD), await way.birth(NEW)
    assert (one.state, two.state) == (State.REVIEW, State.REVIEW)
    assert codes(one) == ["DUP_SUSPECT"]
    assert "DUP_SUSPECT" in codes(two)
    assert await pairs(way) == [("suspect", "alike", None)]
    assert await verdicts(way) == ["new", "suspect"]
    (event,) = [e for e in await way.events() if e["step"] == "likeness" and e["birth_id"] == two.id]
    assert event["detail"]["with"] == str(one.id)
    assert {"code": "MOTHER_NIK_SAME", "weight": 4} in event["detail"]["reasons"]
    metrics = way.context.metrics.exposition().decode()
    assert 'procot_births_compared_total{verdict="suspect"} 1.0' in metrics


async def test_merged_by_a_person_they_are_one_birth_with_one_certificate(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    one, two = await way.birth(OLD), await way.birth(NEW)
    shown = await decide_pair.preview(way.desk(), two.id, one.id)
    fields = {name: (left, right, same) for name, left, right, same in shown.rows}
    assert fields["weight (g)"] == ("3150", "3150", True)
    assert fields["mother's NIK"] == ("told", "told", True)
    assert fields["record no."] == (NEW, OLD, False)
    assert MOTHER not in str(shown.as_dict())
    assert await decide_pair.merge(way.desk(), two.id, one.id) == one.id
    assert await states(way, OLD, NEW) == [State.READY, State.MERGED]
    assert await pairs(way) == [("suspect", "alike", "same")]
    await way.tell(told(NEW, event="A08", sent=LATEST, changes=HEAVIER))  # the old number leads to the one that lives
    await assigned(way)
    assert (await way.birth(OLD)).record.child.weight_g == 3510
    await way.work()
    assert len(way.registry.submissions) == 1


async def test_split_by_a_person_both_go_on_and_are_never_suspected_again(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    two = await way.birth(NEW)
    one = await way.birth(OLD)
    assert await decide_pair.split(way.desk(), two.id) == (one.id,)
    assert await states(way, OLD, NEW) == [State.READY, State.READY]
    await way.tell(told(NEW, event="A08", sent=LATEST, changes=HEAVIER))
    await assigned(way)
    assert await states(way, OLD, NEW) == [State.READY, State.READY]
    assert await pairs(way) == [("suspect", "alike", "different")]
    with pytest.raises(IllegalMoveError, match="resembles no other birth"):
        await decide_pair.split(way.desk(), two.id)


async def test_a_release_does_not_wave_a_duplicate_through(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    with pytest.raises(IllegalMoveError, match="procot births merge"):
        await operate.release(way.desk(), (await way.birth(NEW)).id)
    assert await way.state(NEW) is State.REVIEW


async def test_of_one_the_registry_has_the_later_one_waits_alone(way: Journey) -> None:
    await way.reach(State.IN_PROCESS)
    await way.tell(told(NEW))
    await assigned(way)
    assert await states(way, OLD, NEW) == [State.IN_PROCESS, State.REVIEW]
    first = await way.birth(OLD)
    reasons = [e["reason"] for e in await way.events() if e["birth_id"] == first.id and e["step"] == "likeness"]
    (reason,) = reasons
    assert reason.endswith("a person decides; this one is at the registry, or registered, and stays")
    with pytest.raises(IllegalMoveError, match="the registry has"):
        await decide_pair.merge(way.desk(), (await way.birth(NEW)).id, first.id)


async def test_withdrawn_by_the_hospital_the_other_one_goes_on_by_itself(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    await way.tell(told(NEW, event="A11", sent=LATER))
    await assigned(way)
    assert await states(way, OLD, NEW) == [State.READY, State.CANCELLED]


async def test_what_an_older_gateway_let_pass_stops_before_it_is_signed(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    birth = await way.birth(NEW)
    await way.database.fetch("UPDATE births SET state = 'READY', findings = '[]' WHERE id = $1", birth.id)
    async with way.database.transaction() as connection:
        await queue.add(connection, Kind.SEAL, birth_id=birth.id, priority=5)
    await way.step(Kind.SEAL)
    assert await way.state(NEW) is State.REVIEW
    assert await way.count("seals") == 0


@pytest.mark.parametrize("number", [OLD, NEW])
async def test_told_again_after_a_withdrawal_both_wait_again(way: Journey, number: str) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    await way.tell(told(number, event="A11", sent=LATER))
    await assigned(way)
    await way.tell(told(number, sent=LATEST))
    await assigned(way)
    assert await states(way, OLD, NEW) == [State.REVIEW, State.REVIEW]


async def test_a_merge_by_the_hospital_decides_it(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    head = f"MSH|^~\\&|SIMRS|{HOSPITAL}|AKTAGW|DISDUKCAPIL 3510|{LATER}||ADT^A40|MERGE1|P|2.5"
    pid = f"PID|1||{NEW}^^^RSCEMPAKA^MR||{NAME}||20250311|M"
    await way.tell("\r".join((head, f"EVN|A40|{LATER}", pid, f"MRG|{OLD}^^^RSCEMPAKA^MR", "")).encode())
    await assigned(way)
    assert await states(way, OLD, NEW) == [State.MERGED, State.READY]
    assert await pairs(way) == [("suspect", "alike", "same")]
    assert (await verdicts(way))[-1] == "amendment"


async def test_two_at_the_same_moment_by_two_gateways_do_not_both_pass(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(NEW))
    await way.tell(told(THIRD))
    tasks = await queue.claim(way.database, limit=10, lease_s=60)
    await asyncio.gather(*(assign.run(way.context, task) for task in tasks if task.kind is Kind.ASSIGN))
    assert await states(way, OLD, NEW, THIRD) == [State.REVIEW] * 3
    assert await way.count("likenesses") == 3


async def test_nobody_waits_crosswise_for_a_birth_that_is_being_worked_on(way: Journey) -> None:
    await way.tell(told())
    await assigned(way)
    one = await way.birth(OLD)
    await way.tell(told(NEW))
    task = await way.claim(Kind.ASSIGN)
    async with way.database.transaction() as connection:
        await connection.execute("SELECT FROM births WHERE id = $1 FOR UPDATE", one.id)
        running = asyncio.create_task(assign.run(way.context, task))
        done, _ = await asyncio.wait([running], timeout=0.2)
        assert not done  # it tries again and holds nothing meanwhile
        assert not await connection.fetchval("SELECT count(*) FROM births WHERE medical_record = $1", NEW)
    await running
    assert await states(way, OLD, NEW) == [State.REVIEW, State.REVIEW]


async def test_a_third_record_shows_when_a_merge_brings_the_mother(way: Journey) -> None:
    nameless = (("NK1|1|SITI AMINAH^^^^^^L|MTH", "NK1|1||OTH"),)
    bare = told(OLD, changes=nameless).replace(f"~{MOTHER}^^^DUKCAPIL^NI".encode(), b"")
    await way.tell(bare.replace(f"{MOTHER}^^^DUKCAPIL^NI~".encode(), b""))
    await way.tell(told(THIRD))
    await way.tell(told(NEW, changes=(("20250311041500+0700|M", "20250311041600+0700|M"),)))
    await assigned(way)
    assert len(await pairs(way)) == 1
    head = f"MSH|^~\\&|SIMRS|{HOSPITAL}|AKTAGW|DISDUKCAPIL 3510|{LATER}||ADT^A40|MERGE1|P|2.5"
    pid = f"PID|1||{OLD}^^^RSCEMPAKA^MR||{NAME}||20250311|M"
    await way.tell("\r".join((head, f"EVN|A40|{LATER}", pid, f"MRG|{NEW}^^^RSCEMPAKA^MR", "")).encode())
    await assigned(way)
    assert await states(way, OLD, NEW, THIRD) == [State.REVIEW, State.MERGED, State.REVIEW]


# ------------------------------------------------------------------------------------------------------ mothers


async def test_a_mother_without_nik_is_known_by_her_name_and_birth_date(way: Journey) -> None:
    await way.tell(told())
    await way.tell(without_nik(told(NEW)))
    await assigned(way)
    assert await pairs(way) == [("suspect", "alike", None)]
    assert codes(await way.birth(OLD)) == ["DUP_SUSPECT"]
    assert await way.state(NEW) is State.HOLD_DATA  # her NIK comes first


async def test_a_nik_that_comes_late_shows_the_duplicate(way: Journey) -> None:
    other = (("SITI AMINAH", "AMI"), ("19950312", "19950313"))
    await way.tell(told())
    await way.tell(without_nik(told(NEW, changes=other)))
    await assigned(way)
    assert await pairs(way) == []
    assert await way.state(OLD) is State.READY
    await way.tell(told(NEW, event="A08", sent=LATER))
    await assigned(way)
    assert await pairs(way) == [("suspect", "alike", None)]
    assert await states(way, OLD, NEW) == [State.REVIEW, State.REVIEW]
    assert await verdicts(way) == ["new", "new", "suspect"]


async def test_two_mothers_of_one_name_are_two_women(way: Journey) -> None:
    await way.tell(notice())
    await way.tell(notice(record_number=NEW))
    await assigned(way)
    assert await states(way, OLD, NEW) == [State.READY, State.READY]
    assert await way.count("likenesses") == 0


async def test_a_baby_moved_to_another_hospital_is_suspected_there_and_merged_into_the_first(way: Journey) -> None:
    await way.tell(told())
    await way.tell(elsewhere(told("P-77", changes=(("OBX|5|", "OBX|9|"),))))
    await assigned(way)
    second = await at_clinic(way, "P-77")
    one = await way.birth(OLD)
    assert await pairs(way) == [("suspect", "alike", None)]
    (seen,) = await likenesses.view(way.database, one.id)
    assert (seen["birth"], seen["facility"], seen["first"]) == (str(second), CLINIC, False)
    assert await decide_pair.merge(way.desk(), second, one.id) == one.id
    row = await way.database.fetchrow("SELECT state FROM births WHERE id = $1", second)
    assert row is not None
    assert row["state"] == "MERGED"
    assert await way.state(OLD) is State.READY


async def test_between_hospitals_the_one_at_the_registry_is_not_merged_away(way: Journey) -> None:
    await way.reach(State.ISSUED)
    await way.tell(elsewhere(told("P-77")))
    await assigned(way)
    one, second = await way.birth(OLD), await at_clinic(way, "P-77")
    with pytest.raises(IllegalMoveError, match=r"merge .* instead"):
        await decide_pair.merge(way.desk(), one.id, second)
    assert await decide_pair.merge(way.desk(), second, one.id) == one.id


# ------------------------------------------------------------------------------------------------------- twins


async def test_twins_of_two_names_go_on_as_two(way: Journey) -> None:
    await way.tell(twin(1, "TW1"))
    await way.tell(twin(2, "TW2", minutes="16"))
    await assigned(way)
    assert await states(way, "TW1", "TW2") == [State.READY, State.READY]
    assert await pairs(way) == [("twin", "orders-differ", None)]
    assert await verdicts(way) == ["new", "twin"]
    one, two = await way.birth("TW1"), await way.birth("TW2")
    with pytest.raises(IllegalMoveError, match="twins, which are never merged"):
        await decide_pair.merge(way.desk(), one.id, two.id)


async def test_twins_of_the_same_order_wait_for_a_person_until_the_hospital_mends_it(way: Journey) -> None:
    await way.tell(twin(1, "TW1"))
    await way.tell(twin(1, "TW2", minutes="31", grams=2480, name="AHMAD RIZAL PRATAMA"))
    await assigned(way)
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert (one.state, two.state) == (State.REVIEW, State.REVIEW)
    assert (codes(one), codes(two)) == (["SIBLING_CONFLICT"], ["SIBLING_CONFLICT"])
    assert await pairs(way) == [("conflict", "same-order", None)]
    update = twin(2, "TW2", minutes="31", grams=2480, name="AHMAD RIZAL PRATAMA").decode()
    update = update.replace("20250311093000+0700||ADT^A01", f"{LATER}||ADT^A08").replace(
        "EVN|A01|20250311093000", "EVN|A08|20250312081500"
    )
    await way.tell(update.encode())
    await assigned(way)
    assert await states(way, "TW1", "TW2") == [State.READY, State.READY]
    assert await pairs(way) == [("twin", "orders-differ", None)]
    assert (await way.birth("TW1")).findings == [] or "SIBLING_CONFLICT" not in codes(await way.birth("TW1"))


async def test_a_twin_told_again_under_a_new_number_is_a_duplicate_of_that_twin_only(way: Journey) -> None:
    await way.tell(twin(1, "TW1"))
    await way.tell(twin(2, "TW2", minutes="31", grams=2480))
    await way.tell(twin(2, "TW3", minutes="31", grams=2480))
    await assigned(way)
    assert await states(way, "TW1", "TW2", "TW3") == [State.READY, State.REVIEW, State.REVIEW]
    assert sorted(await pairs(way)) == [
        ("suspect", "same-order-one-baby", None),
        ("twin", "orders-differ", None),
        ("twin", "orders-differ", None),
    ]


# -------------------------------------------------------------------------------------------- ordinary messages


async def test_each_message_has_its_verdict(way: Journey) -> None:
    await way.tell(told())
    await way.tell(told(sent=LATER))
    await way.tell(told(event="A08", sent=LATEST, changes=RENAMED))
    await assigned(way)
    assert await verdicts(way) == ["new", "replay", "amendment"]
    first = next(e for e in await way.events() if e["reason"] == "judged")
    assert first["detail"] == {"verdict": "new", "compared": 0}


async def test_below_the_migration_nothing_is_compared(way: Journey) -> None:
    way.context.schema.level = 8
    await way.tell(told())
    await way.tell(told(NEW))
    await assigned(way)
    assert await states(way, OLD, NEW) == [State.READY, State.READY]
    assert await verdicts(way) == [None, None]


async def test_the_candidates_are_found_by_index(way: Journey) -> None:
    """Each look goes along an index from the moment outwards: none sorts or reads a whole table."""
    now = way.context.clock()
    async with way.database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        for sought in (Sought(b"nik", b"name"), Sought(None, b"name")):
            parts = [p for column, _, more in sought.looks() for p in likenesses.looks(column, "$5::bytea", more)]
            rows = await connection.fetch(f"EXPLAIN {' UNION ALL '.join(parts)}", now, 150, "F", "N", b"key")
            plan = "\n".join(row[0] for row in rows)
            assert len(re.findall("Index Scan (?:Backward )?using births_mother", plan)) == len(parts)
            assert "Sort" not in plan


async def test_a_birth_that_stays_busy_is_given_back_and_nothing_is_kept(way: Journey) -> None:
    async def busy(mothers: frozenset[bytes]) -> None:
        tried.append(mothers)
        raise BirthBusyError({b"her"})

    tried: list[frozenset[bytes]] = []
    with pytest.raises(StoreUnavailableError, match="try again"):
        await patiently(busy, random.Random(1))
    assert tried[0] == frozenset()
    assert set(tried[1:]) == {frozenset({b"her"})}  # from then on she is locked first

"""F 1 to 8: babies of one delivery are never taken for one, and one baby never for two."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from adapters.dukcapil.payload import document
from gateway.contract.lifecycle import State
from gateway.contract.record import PluralityKind
from gateway.contract.revision import build_record, proposed
from gateway.pipeline import operate
from gateway.pipeline.assign import URGENT
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.dialogue import LATER, NAME, assigned, codes_of, judged, message, tell, told

if TYPE_CHECKING:
    from typing import Any

    from tests.simulators.journey import Journey

MIDNIGHT = ("20250310235200+0700", "20250311000400+0700")


def twin(
    order: int,
    number: str,
    *,
    of: int = 2,
    name: str = "BINTANG PRATAMA",
    born: str = "20250311041500+0700",
    event: str = "A01",
    **options: Any,
) -> bytes:
    """Return the notice of one baby of a multiple birth of sample 01's mother."""
    return message(
        event,
        (NAME, name),
        ("||20250311041500+0700|M|", f"||{born}|M|"),
        ("|BANYUWANGI|N|1|", f"|BANYUWANGI|Y|{order}|"),
        ("57722-1^Birth plurality of Pregnancy^LN||1|", f"57722-1^Birth plurality of Pregnancy^LN||{of}|"),
        ("|1^Tunggal|", f"|{min(of, 5)}^Kembar|"),
        record_number=number,
        same_mother=True,
        **options,
    )


async def sent(way: Journey) -> list[dict[str, Any]]:
    """Return the applications that the registry got."""
    return [json.loads(s.payload) for s in way.registry.submissions]


@case(
    1,
    decision="A twin that is discharged, leaves within a day or nears the end of its term waits for nobody. "
    "The gateway sends nothing to SATUSEHAT; the order it would need (1, 2) is the record's.",
)
async def test_f001_twins_of_one_sex_are_two_births_and_leave_together(way: Journey) -> None:
    """Same mother, sex and placeholder: two births of one group, never one; a complete one waits 24 h."""
    await told(way, twin(1, "TW1", name="BINTANG PRATAMA"))
    await told(way, twin(2, "TW2", name="BY NY SITI AMINAH", born="20250311041900+0700"))
    await way.work()
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert (one.state, two.state) == (State.READY, State.HOLD_NAME)
    assert one.twin_group == two.twin_group is not None
    assert "DUP_SUSPECT" not in codes_of(one) | codes_of(two)
    waiting = await way.task(Kind.SEAL)
    assert (waiting["last_error"], round(waiting["due_in"] / 3600)) == ("TWIN_HELD", 24)
    assert await sent(way) == []

    await tell(way, twin(2, "TW2", name="LANGIT PRATAMA", born="20250311041900+0700", event="A08", sent=LATER))
    await way.work()
    assert sorted(s["nama"] for s in await sent(way)) == ["BINTANG PRATAMA", "LANGIT PRATAMA"]


@case(1)
async def test_f001_after_a_day_a_complete_twin_goes_alone(way: Journey) -> None:
    """After 24 h the complete twin goes alone, as a twin."""
    await told(way, twin(1, "TW1"))
    await told(way, twin(2, "TW2", name="BY NY SITI AMINAH"))
    await way.work()
    await way.hurry()  # the day is over
    await way.work()
    (alone,) = await sent(way)
    assert (alone["nama"], alone["kembar"]["jumlah"]) == ("BINTANG PRATAMA", 2)
    assert "TWIN_MISSING" not in codes_of(await way.birth("TW1"))


@case(1)
@pytest.mark.parametrize("left", ["before the wait", "in the middle of it"])
async def test_f001_a_discharged_twin_waits_for_nobody(way: Journey, left: str) -> None:
    """Once the parents leave, the complete twin goes at once, also in the middle of its wait."""
    await told(way, twin(1, "TW1"))
    if left == "in the middle of it":
        await way.work()
        assert await sent(way) == []
    await told(way, twin(1, "TW1", event="A03", sent=LATER))
    assert (await way.birth("TW1")).priority == URGENT
    await way.work()
    assert len(await sent(way)) == 1


@case(1)
async def test_f001_a_twin_does_not_wait_for_one_that_was_withdrawn(way: Journey) -> None:
    """The complete twin waits for one that is held; once that one is withdrawn it goes on."""
    await told(way, twin(1, "TW1"))
    await told(way, twin(2, "TW2", name="BY NY SITI AMINAH"))
    await way.work()
    assert (await way.task(Kind.SEAL))["last_error"] == "TWIN_HELD"
    await operate.cancel(way.desk(), (await way.birth("TW2")).id)
    await way.work()
    assert len(await sent(way)) == 1


@case(1)
async def test_f001_a_person_may_send_a_waiting_twin_off(way: Journey) -> None:
    """A person may send a waiting twin off."""
    await told(way, twin(1, "TW1"))
    await way.work()
    assert await way.open_kinds() == ["seal"]
    await operate.retry(way.desk(), (await way.birth("TW1")).id)
    await way.work()
    assert len(await sent(way)) == 1


@case(1)
@pytest.mark.parametrize(("observed", "form"), [(b"2", b"1"), (b"1", b"2"), (b"1", b"1")])
async def test_f001_a_twin_also_told_to_be_single_waits_for_a_person(
    way: Journey, observed: bytes, form: bytes
) -> None:
    """A twin (PID-24 Y) whom 57722-1 or ZKL-3 calls single keeps its order and goes to REVIEW; an A08 frees it."""
    raw = twin(2, "TW2").replace(b"|2^Kembar|", b"|" + form + b"^Kembar|")
    answer = await told(way, raw.replace(b"of Pregnancy^LN||2|", b"of Pregnancy^LN||" + observed + b"|"))
    await way.work()
    birth = await way.birth("TW2")
    assert (answer.code, answer.severities) == ("AA", {"PLURALITY_CONFLICT": "W"})
    assert (birth.state, birth.record.child.birth_order) == (State.REVIEW, 2)
    assert await sent(way) == []
    assert (await told(way, twin(2, "TW2", event="A08", sent=LATER))).code == "AA"
    birth = await way.birth("TW2")
    assert (birth.state, codes_of(birth), birth.record.child.plurality) == (State.READY, set(), PluralityKind.TWIN)


@case(1)
async def test_f001_a_single_birth_also_told_to_be_of_two_waits_for_a_person(way: Journey) -> None:
    """PID-24 N and 57722-1 = 2: a person looks, and nothing is sent."""
    answer = await told(way, twin(1, "TW1").replace(b"|BANYUWANGI|Y|1|", b"|BANYUWANGI|N|1|"))
    await way.work()
    assert (answer.code, answer.severities) == ("AA", {"PLURALITY_CONFLICT": "W"})
    assert (await way.birth("TW1")).state is State.REVIEW
    assert await sent(way) == []


@case(2)
async def test_f002_twins_on_two_dates_are_one_group(way: Journey) -> None:
    """Born at 23:52 and 00:04: grouped by mother and hours, each with its own date."""
    for order, born in enumerate(MIDNIGHT, 1):
        await told(way, twin(order, f"TW{order}", name=f"{'AB'[order - 1]}DI PRATAMA", born=born))
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert one.twin_group == two.twin_group is not None
    assert [str(b.record.child.born_on) for b in (one, two)] == ["2025-03-10", "2025-03-11"]
    assert {one.state, two.state} == {State.READY}


@case(
    3,
    decision="The first twin's answer bears no warning: at the door every first twin lacks the second. "
    "TWIN_MISSING stands with the birth once it went alone.",
)
async def test_f003_a_twin_whose_sibling_never_comes_goes_alone_and_is_flagged(way: Journey) -> None:
    """Plurality 2 and one baby told of: it waits two hours (twin_wait), then goes alone with TWIN_MISSING."""
    assert (await told(way, twin(1, "TW1"))).code == "AA"
    await way.work()
    waiting = await way.task(Kind.SEAL)
    assert (waiting["last_error"], round(waiting["due_in"] / 60)) == ("TWIN_AWAITED", 120)
    assert await sent(way) == []
    await way.hurry()  # the two hours are over
    await way.work()
    birth = await way.birth("TW1")
    assert (birth.state, codes_of(birth)) == (State.IN_PROCESS, {"TWIN_MISSING"})
    assert (await sent(way))[0]["kembar"]["jumlah"] == 2


@case(3)
async def test_f003_the_second_twin_ends_the_wait(way: Journey) -> None:
    """The second twin ends the wait at once."""
    await told(way, twin(1, "TW1"))
    await way.work()
    await told(way, twin(2, "TW2", name="LANGIT PRATAMA", born="20250311041900+0700"))
    await way.work()
    assert len(await sent(way)) == 2


@case(4, decision="Two with order 1 go to REVIEW and not to HOLD_DATA: either may be the wrong one, or be no twin.")
async def test_f004_a_missing_order_is_never_guessed(way: Journey) -> None:
    """A twin without an order waits in HOLD_DATA with BIRTH_ORDER; the time of birth decides nothing."""
    await told(way, twin(1, "TW1"))
    raw = twin(2, "TW2", name="LANGIT PRATAMA", born="20250311041900+0700").replace(b"|Y|2|", b"|Y||")
    answer = await told(way, raw)
    birth = await way.birth("TW2")
    assert (answer.code, answer.severities) == ("AA", {"BIRTH_ORDER": "W"})
    assert (birth.state, birth.record.child.birth_order) == (State.HOLD_DATA, None)


@case(4)
async def test_f004_two_first_twins_contradict_each_other(way: Journey) -> None:
    """Two twins with order 1 contradict each other: a person looks, and nothing is sent."""
    await told(way, twin(1, "TW1"))
    await told(way, twin(1, "TW2", name="LANGIT PRATAMA", born="20250311043900+0700"))
    await way.work()
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert (one.state, two.state) == (State.REVIEW, State.REVIEW)
    assert (codes_of(one), codes_of(two)) == ({"SIBLING_CONFLICT"}, {"SIBLING_CONFLICT"})
    assert await sent(way) == []


@case(5)
@pytest.mark.parametrize(("of", "kind"), [(2, 2), (3, 3), (4, 4), (5, 5), (6, 5)])
def test_f005_triplets_and_more_have_their_kind_of_birth(of: int, kind: int) -> None:
    """Plurality 3 and 4 are `jenis kelahiran` 3 and 4; five and more are 5 (lainnya)."""
    found = judged(twin(of, "TR1", of=of))
    assert (found.codes, found.values["child.plurality"]) == (set(), PluralityKind(kind))
    record = proposed(build_record(found.values))
    child = document(record, birth_id="x", revision=1, office="3510", twins=None)["anak"]
    assert (child["jenis_kelahiran"], child["urutan_kembar"]) == (kind, of)


@case(6)
async def test_f006_of_twins_one_may_be_stillborn(way: Journey) -> None:
    """The living twin gets an akta with "Kembar 2", its stillborn sibling the letter of stillbirth, in one group."""
    dead = twin(2, "TW2", name="", born="20250311041900+0700")
    dead = dead.replace(b"||Y^Yes^HL70136|", b"||N^No^HL70136|").replace(b"Apgar Score^LN||8|", b"Apgar Score^LN||0|")
    await told(way, twin(1, "TW1"))
    await told(way, dead.replace(b"Apgar Score^LN||9|", b"Apgar Score^LN||0|"))
    await way.work()
    living, stillborn = await way.birth("TW1"), await way.birth("TW2")
    assert (living.state, stillborn.state) == (State.IN_PROCESS, State.STILLBIRTH)
    assert living.twin_group == stillborn.twin_group is not None
    child = document(living.record, birth_id="x", revision=1, office="3510", twins=None)["anak"]
    assert child["jenis_kelahiran"] == 2
    assert stillborn.record.variant is None


@case(7)
async def test_f007_the_same_message_again_gets_the_stored_answer(way: Journey) -> None:
    """The same bytes again: the stored answer, byte by byte, and nothing else happens."""
    raw = message("A01", (NAME, "BUDI"))
    first = await told(way, raw)
    before = await way.snapshot()
    again = await told(way, raw)
    assert again.raw == first.raw
    assert await way.snapshot() == before
    assert await way.count("messages") == 1


@case(8)
async def test_f008_the_same_birth_under_a_new_control_id_changes_nothing(way: Journey) -> None:
    """The same birth with a new MSH-10: AA and no revision; with other content it is an update."""
    await told(way, message())
    assert (await told(way, message(sent=LATER))).code == "AA"
    assert (await way.birth()).revision == 1
    assert await way.count("births") == 1
    await assigned(way)
    await told(way, message("A01", (NAME, "AHMAD RIZQI PRATAMA"), sent="20250313081500+0700"))
    assert (await way.birth()).revision == 2

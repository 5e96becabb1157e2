"""Cases 73 to 77: stillbirth, and death after birth, each with its own document."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from adapters.dukcapil import payload
from gateway.contract.lifecycle import State
from gateway.errors import IllegalMoveError
from gateway.pipeline import clocks, operate
from gateway.pipeline.officer import Decision, Issue, IssueRefusedError, Reason
from gateway.store.queue import Kind
from gateway.verify.moment import deadline
from tests.cases.case import case
from tests.cases.seen import NOW, born, edited, seen, without
from tests.integration.test_office import ISSUE, at_office, say, take
from tests.simulators.facilities import sample
from tests.simulators.journey import notice
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

STILLBORN = sample("12")
BABY = "00450260"
LATER = "20250319090000+0700"
LETTER = Issue("474.1/007/SKLM/2025", "", "", dt.datetime(2025, 3, 20, 3, tzinfo=dt.UTC))
DIED = {"PID-29": "20250311221500+0700", "PID-30": "Y"}


async def stillborn(way: Journey) -> None:
    """Tell of the stillbirth of sample 12."""
    await way.tell(STILLBORN)
    await way.work()
    assert await way.state(BABY) is State.STILLBIRTH


# ------------------------------------------------------------------------------- stillbirth from 28 weeks on, F 73


@case(73)
def test_f073_a_stillbirth_needs_no_name_and_has_thirty_days() -> None:
    """From 28 weeks: LAHIR_MATI, 30 days, no name and no NIK asked for; the registry is asked for the letter only."""
    told = seen(STILLBORN)
    assert (told.code, told.state, told.codes) == ("AA", State.STILLBIRTH, {"STILLBIRTH_GE_28W"})
    assert deadline(told.record, NOW) == dt.date(2025, 4, 17)
    asked = payload.document(told.record, birth_id="b-1", revision=1, office="3510", twins=None)
    assert (asked["jenis"], asked["layanan"]) == ("LAHIR_MATI", ["SKLM"])
    assert "nama" not in asked["anak"]


@case(73)
async def test_f073_an_office_takes_a_stillbirth_and_gives_its_letter(way: Journey) -> None:
    """An office that takes records gets the stillbirth as SKLM; its number goes to the hospital, and no NIK."""
    at_office(way)
    await stillborn(way)
    (item,) = await take(way)
    assert (item["document_kind"], item["state"], item["deadline"]) == ("SKLM", "IN_PROCESS", "2025-04-17")
    assert item["record"]["event"] == "LAHIR_MATI"
    pdf = b"%PDF-1.7 surat keterangan lahir mati"
    decided = await say(way, item, Decision.ISSUE, issue=replace(LETTER, document=pdf))
    assert decided["state"] == "ISSUED"
    await way.work()
    assert await way.state(BABY) is State.DELIVERED
    (letter,) = way.hospital.received  # MDM^T02 alone: there is no NIK for an A31
    text = letter.decode()
    assert "TXA|1|SKLM|" in text
    assert "NO_SKLM" in text
    assert "474.1/007/SKLM/2025" in text
    assert hashlib.sha256(pdf).hexdigest() in text
    for absent in ("AKTALAHIR", "NO_AKTA_LHR", "NIK_ANAK", "^NI", "NO_KK"):
        assert absent not in text


@case(73)
async def test_f073_an_akta_or_a_nik_for_a_stillborn_child_is_refused(way: Journey) -> None:
    """What an akta would have is refused, and nothing changes: neither its number nor NIK and KK."""
    at_office(way)
    await stillborn(way)
    (item,) = await take(way)
    before = await way.snapshot()
    with pytest.raises(IssueRefusedError) as refused:
        await say(way, item, Decision.ISSUE, issue=ISSUE)
    assert {f.code for _, f in refused.value.problems} == {"ISSUED_LETTER_FORM", "ISSUED_LETTER_ALONE"}
    assert await way.snapshot() == before
    live = edited(notice(), {})
    await way.tell(live)
    await way.work()
    (akta,) = await take(way)
    with pytest.raises(IssueRefusedError):
        await say(way, akta, Decision.ISSUE, issue=LETTER)


@case(73)
async def test_f073_what_the_office_asks_of_a_stillbirth_comes_back_to_it(way: Journey) -> None:
    """Asked for more, the stillbirth is told again and taken again as a new revision."""
    at_office(way)
    await stillborn(way)
    (item,) = await take(way)
    await say(way, item, Decision.ASK, reason=Reason.DOCUMENTS_MISSING)
    assert await way.state(BABY) is State.HOLD_DATA
    again = edited(STILLBORN, {"MSH-7": LATER, "MSH-9": "ADT^A08^ADT_A01", "MSH-10": "AGAIN1"})
    await way.tell(again.replace(b"||1980|g", b"||1890|g"))
    await way.work()
    assert await way.state(BABY) is State.STILLBIRTH
    (item,) = await take(way)
    assert (item["revision"], item["record"]["child"]["weight_g"]) == (2, 1890)


@case(73)
async def test_f073_a_registry_with_an_interface_gets_it_when_a_person_releases_it(way: Journey) -> None:
    """Where births are submitted, a person releases the stillbirth, and it is submitted as LAHIR_MATI once."""
    await stillborn(way)
    await way.hurry()
    await way.work()
    assert way.registry.submissions == []
    await operate.release(way.desk(), (await way.birth(BABY)).id)
    await way.work()
    assert await way.state(BABY) is State.IN_PROCESS
    assert len(way.registry.submissions) == 1


@case(73)
async def test_f073_the_registrys_letter_comes_back_as_one(database: str, tmp_path: Path) -> None:
    """Through a running gateway and registry: submitted as LAHIR_MATI, its SKLM comes back as MDM^T02 alone."""
    async with system(database, tmp_path) as running:
        await running.send(STILLBORN)
        birth = await running.until(control_id_of(STILLBORN), "LAHIR_MATI")
        context = running.gateway.context
        desk = operate.Desk(context.database, context.config, "operator:tester", "seen the ward's letter")
        await operate.release(desk, UUID(birth["id"]))
        issued = await running.until(control_id_of(STILLBORN), "DELIVERED")
        (letter,) = running.letters()
        assert "TXA|1|SKLM|" in letter.decode()
        assert issued["certificate"]["number"] in letter.decode()
        assert issued["certificate"]["child_nik"] == ""


@case(73)
async def test_f073_a_stillbirth_is_given_to_one_of_several_who_ask_at_once(way: Journey) -> None:
    """Two officers who ask at the same moment: one of them gets the stillbirth, and it is signed once."""
    at_office(way)
    await stillborn(way)
    taken = [item for items in await asyncio.gather(*(take(way) for _ in range(3))) for item in items]
    assert len(taken) == 1
    assert await way.count("seals") == 1


@case(73)
async def test_f073_the_days_of_its_term_are_its_own(way: Journey) -> None:
    """On day 28 of its 30 somebody is told, as on day 58 of a birth's 60."""
    await stillborn(way)
    at = dt.datetime(2025, 4, 15, 3, tzinfo=dt.UTC)
    context = replace(way.context, clock=lambda: at)
    assert await clocks.escalate(context) == 1
    told = [e["detail"] for e in await way.events() if e["step"] == "clock"]
    assert told == [{"day": 28, "term": 30}]


# ------------------------------------------------------------------------------------------ before 28 weeks (74, 75)


@case(74)
async def test_f074_a_fetal_death_before_28_weeks_is_registered_nowhere(way: Journey) -> None:
    """Below 28 weeks nothing is registered and no term runs: no office can take it, nobody can release it."""
    early = STILLBORN.replace(b"||34|wk", b"||27|wk")
    told = seen(early)
    assert (told.code, told.codes) == ("AA", {"STILLBIRTH_LT_28W"})
    assert deadline(told.record, NOW) is None
    at_office(way)
    await way.tell(early)
    await way.work()
    assert await way.state(BABY) is State.STILLBIRTH
    assert await take(way) == []
    with pytest.raises(IllegalMoveError, match="STILLBIRTH_LT_28W"):
        await operate.release(replace(way.desk(), config=way.context.config), (await way.birth(BABY)).id)


@case(74)
def test_f074_of_unknown_gestation_an_officer_decides() -> None:
    """Without the weeks nobody can tell: an officer reviews."""
    told = seen(without(STILLBORN, "OBX|2|"))
    assert told.state is State.REVIEW
    assert "GESTATION_UNKNOWN" in told.codes


@case(75)
@pytest.mark.parametrize(
    "changes",
    [
        (b"OBX|3|NM|9272-6^1 minute Apgar Score^LN||0|", b"OBX|3|NM|9272-6^1 minute Apgar Score^LN||2|"),
        (b"||N^No^HL70136", b"||Y^Yes^HL70136"),
    ],
)
def test_f075_a_stillbirth_with_a_sign_of_life_is_for_an_officer(changes: tuple[bytes, bytes]) -> None:
    """An Apgar above 0, or living said beside a fetal death, contradicts: it is a live birth followed by death."""
    raw = STILLBORN.replace(*changes)
    assert raw != STILLBORN
    told = seen(raw)
    assert told.state is State.REVIEW
    assert "STILLBIRTH_CONTRADICTION" in told.codes


# ----------------------------------------------------------------------------------------- died after birth (76, 77)


@case(76)
async def test_f076_a_child_that_lived_gets_its_akta_and_then_a_report_of_its_death(way: Journey) -> None:
    """Died after live birth, before issue: the birth goes on to its akta; the report of death is named as next."""
    raw = born(DIED)
    told = seen(raw)
    assert (told.code, told.codes) == ("AA", {"CHILD_DIED"})
    assert "laporkan kematiannya dalam 30 hari" in told.texts["CHILD_DIED"]
    await way.tell(raw)
    await way.work()
    birth = await way.birth()
    assert birth.state is State.IN_PROCESS
    assert birth.record.child.died_at == "20250311221500+0700"


@case(76)
def test_f076_its_name_is_still_required() -> None:
    """A child that died needs a name for its akta all the same."""
    told = seen(born(DIED, changes=(("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),)))
    assert told.state is State.HOLD_NAME
    assert "CHILD_DIED" in told.codes


@case(76)
async def test_f076_a_discharge_that_says_expired_is_a_death(way: Journey) -> None:
    """A03 with disposition 20 (expired) tells the same, and the birth goes on."""
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await way.tell(edited(notice("A03", sent="20250312093000+0700", segments=("PV1",)), {"PV1-36": "20"}))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert birth.state is State.READY
    assert [f["code"] for f in birth.findings] == ["CHILD_DIED"]


@case(
    77,
    decision="The office is told by the finding CHILD_DIED and the log event birth.child_died: the registry's contract "
    "has no report of death, and that report needs documents of its own (a letter of death).",
)
async def test_f077_a_death_after_issue_changes_no_akta_and_is_told(way: Journey) -> None:
    """A08 with PID-30 after issue: the akta and the state stay, the death is told for the register of deaths."""
    await way.reach(State.DELIVERED)
    await way.tell(edited(notice("A08", sent="20250312093000+0700"), DIED))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert birth.state is State.DELIVERED
    assert "CHILD_DIED" in {f["code"] for f in birth.findings}
    assert birth.record.child.died_at == "20250311221500+0700"
    assert await way.count("certificates") == 1
    assert len(way.registry.submissions) == 1
    assert await way.open_kinds() == []

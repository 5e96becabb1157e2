"""Cases 60 to 72: where a child was born and whose office that is, and when."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.config import Config
from gateway.contract.lifecycle import State
from gateway.contract.ports import Effect
from gateway.contract.record import Attendant, PlaceKind
from gateway.pipeline import operate, pack
from gateway.pipeline.routing import route
from gateway.verify.akta import check_issued, read_issued
from tests.cases.case import case
from tests.cases.seen import born, edited, obx, plus, seen, without
from tests.integration.test_office import at_office
from tests.simulators.journey import journey, notice
from tests.simulators.records import FAMILY_CARD, birth_record

if TYPE_CHECKING:
    from pathlib import Path

FAR_CARD = (("3510161405189001", "3573011405189001"),)
FAR_NIK = (("3510165203959001", "3573015203959001"),)
OFFICES = Config.model_validate({"registry": {"out_of_domicile": False}})
HERE = Config()


# --------------------------------------------------------------------------------------------------- whose office


@case(60)
def test_f060_a_mother_registered_elsewhere_goes_to_her_office_or_is_registered_here() -> None:
    """A family registered elsewhere is for an officer: registered here, or by its own office, as the setting says."""
    told = seen(born(changes=FAR_CARD))
    assert (told.code, told.codes, told.state) == ("AA", {"MOTHER_OTHER_KABUPATEN"}, State.REVIEW)
    assert told.record.child.place_name == "BANYUWANGI"
    assert (route(told.record, HERE).office, route(told.record, OFFICES).office) == ("3510", "3573")


@case(60)
def test_f060_a_niks_prefix_is_no_address() -> None:
    """The prefix of a NIK from elsewhere alone changes nothing: only the KK or the address is proof."""
    told = seen(born(changes=FAR_NIK))
    assert "MOTHER_OTHER_KABUPATEN" not in told.codes
    assert route(told.record, OFFICES).office == "3510"


@case(
    61,
    decision="The states are AWAIT_OFFICE until the pack is made and IN_PROCESS from then on: AWAIT_FORM would ask the "
    "parents for something, and what was handed out has left the house like what was submitted.",
)
async def test_f061_an_office_that_is_not_connected_gets_a_pack_by_the_family(database: str, tmp_path: Path) -> None:
    """The family takes a pack, PDF and signed JSON, to its office; the registry here gets nothing."""
    async with journey(database, tmp_path) as way:
        at_office(way, way="push", out_of_domicile=False)
        await way.tell(notice(changes=FAR_CARD))
        await way.work()
        desk = replace(way.desk(), config=way.context.config)
        await operate.release(desk, (await way.birth()).id)
        await way.work()
        assert await way.state() is State.AWAIT_OFFICE
        made = await operate.hand_over(desk, (await way.birth()).id)
        assert (made.office, await way.state()) == ("3573", State.IN_PROCESS)
        assert json.loads(pack.as_json(made))["signed"]["signature"] == made.signature
        assert pack.as_pdf(made).startswith(b"%PDF")
        assert way.registry.submissions == []


# --------------------------------------------------------------------------------------------------- where


@case(63)
def test_f063_a_birth_on_the_way_is_at_another_place_and_needs_its_name() -> None:
    """Born on the way: place 5, the name of where that was; the letter of captain or village head is asked for."""
    raw = edited(without(notice(), "OBX|10|", "ZKL"), {"PID-23": "SITUBONDO"})
    told = seen(plus(raw, obx("73766-8", "5^Lainnya^99F201TEMPAT", kind="CE")))
    child = told.record.child
    assert (child.place_kind, child.place_name, child.place_region) == (PlaceKind.OTHER, "SITUBONDO", "3512")
    assert told.codes == {"BORN_ELSEWHERE"}
    assert "nakhoda" in told.texts["BORN_ELSEWHERE"]
    assert told.code == "AA"


@case(63)
def test_f063_the_hospitals_own_place_is_never_put_in() -> None:
    """Without the name of the place the birth is held: that of the hospital is not put in its stead."""
    raw = edited(without(notice(), "OBX|10|", "ZKL"), {"PID-23": ""})
    told = seen(plus(raw, obx("73766-8", "5^Lainnya^99F201TEMPAT", kind="CE")))
    assert (told.record.child.place_name, told.record.child.place_region) == (None, None)
    assert told.state is State.HOLD_DATA
    assert "BIRTH_PLACE" in told.codes


@case(63)
def test_f063_another_event_facility_is_another_place() -> None:
    """EVN-7 names another facility: the region of the sender is not supposed for the place of birth."""
    told = seen(edited(notice(), {"EVN-7": "PUSKESMAS LAIN", "PID-23": ""}))
    assert told.record.child.place_region is None
    assert "BIRTH_PLACE" in told.codes


@case(64)
def test_f064_a_home_birth_admitted_later_is_a_home_birth() -> None:
    """Born at home, admitted a day later: place 4 and attendant 3 stand, and without a letter F-2.03 is named."""
    raw = without(edited(notice(), {"PV1-44": "20250312101500+0700"}), "OBX|9|", "OBX|10|", "ZKL")
    told = seen(
        plus(
            raw,
            obx("73766-8", "4^Rumah^99F201TEMPAT", kind="CE"),
            obx("87286-1", "3^Dukun^99F201PENOLONG", kind="CE"),
        )
    )
    child = told.record.child
    assert (child.place_kind, child.attendant) == (PlaceKind.HOME, Attendant.TRADITIONAL)
    assert (told.code, told.codes) == ("AA", {"BORN_ELSEWHERE"})
    assert "F-2.03" in told.texts["BORN_ELSEWHERE"]


@case(64)
def test_f064_admitted_a_day_after_birth_and_no_word_where_is_asked_about() -> None:
    """Admitted a day after the birth and nothing said of the place: the sender is asked, the house is not supposed."""
    raw = without(edited(notice(), {"PV1-44": "20250312101500+0700"}), "OBX|10|", "ZKL")
    told = seen(raw)
    assert "ADMITTED_AFTER_BIRTH" in told.codes
    assert told.code == "AA"
    assert told.record.child.place_kind is None
    in_house = seen(without(notice(), "OBX|10|", "ZKL"))
    assert "ADMITTED_AFTER_BIRTH" not in in_house.codes


# ---------------------------------------------------------------------------------------------------------- when


@case(65)
def test_f065_the_day_is_the_day_of_birth_and_not_of_the_message() -> None:
    """Born before midnight, told and admitted after it: the day is PID-7's."""
    told = seen(born({"PID-7": "20250310235200+0700", "PV1-44": "20250311001500+0700"}))
    assert (told.record.child.born_on, told.record.child.born_at) == (dt.date(2025, 3, 10), "23:52")


@case(66)
def test_f066_a_birth_without_its_time_is_held_and_never_at_midnight() -> None:
    """A day without a time holds the birth: it is asked for, never put at 00:00."""
    told = seen(born({"PID-7": "20250311"}))
    assert (told.code, told.state, told.record.child.born_at) == ("AA", State.HOLD_DATA, None)
    assert "BIRTH_TIME" in told.codes


@case(66)
def test_f066_the_time_may_come_as_an_observation() -> None:
    """OBX 57715-5 brings the time that PID-7 lacks."""
    told = seen(plus(born({"PID-7": "20250311"}), obx("57715-5", "0415", kind="TM")))
    assert (told.record.child.born_at, told.state) == ("04:15", State.READY)


@case(67)
def test_f067_midnight_is_a_time_and_24_00_is_the_next_day() -> None:
    """00:00 with its minutes is a time; 24:00 is read as 00:00 of the next day, and that is said."""
    told = seen(born({"PID-7": "202503110000+0700"}))
    assert (told.record.child.born_on, told.record.child.born_at) == (dt.date(2025, 3, 11), "00:00")
    assert "BIRTH_TIME_MIDNIGHT" not in told.codes
    rolled = seen(born({"PID-7": "202503102400+0700"}))
    assert (rolled.record.child.born_on, rolled.record.child.born_at) == (dt.date(2025, 3, 11), "00:00")
    assert "BIRTH_TIME_MIDNIGHT" in rolled.codes
    assert rolled.code == "AA"


@case(68)
@pytest.mark.parametrize(("zone", "offset"), [("WIB", "+07:00"), ("WITA", "+08:00"), ("WIT", "+09:00")])
def test_f068_a_time_without_offset_is_the_facilitys(zone: str, offset: str) -> None:
    """A time without an offset is wall time of the facility's zone."""
    told = seen(born({"PID-7": "20250311041500"}), time_zone=zone)
    assert (told.record.child.born_at, told.record.child.utc_offset) == ("04:15", offset)


@case(69)
def test_f069_another_zones_offset_is_kept_as_it_came_and_said() -> None:
    """A WITA time from a WIB hospital keeps its wall time and its offset, with a warning."""
    told = seen(born({"PID-7": "20250311051500+0800"}))
    child = told.record.child
    assert (child.born_at, child.utc_offset, told.code) == ("05:15", "+08:00", "AA")
    assert told.codes == {"BIRTH_OFFSET"}


@case(70)
@pytest.mark.parametrize("moment", ["20250311110000+0700", "20250401041500+0700"])
def test_f070_a_birth_in_the_future_is_an_error(moment: str) -> None:
    """A birth after now, or more than an hour after its message, is answered AE and held."""
    told = seen(born({"PID-7": moment}))
    assert (told.code, told.state) == ("AE", State.HOLD_DATA)
    assert "BIRTH_FUTURE" in told.codes


@case(71)
def test_f071_a_birth_told_after_sixty_days_is_accepted_as_a_late_one() -> None:
    """Day 60 is in time, day 61 is late: accepted, with the application for approval named."""
    at = dt.datetime(2025, 5, 10, 9, tzinfo=dt.UTC)
    assert "BIRTH_LATE" not in seen(notice(), now=at).codes
    told = seen(notice(), now=at + dt.timedelta(days=1))
    assert (told.code, told.state) == ("AA", State.READY)
    assert "BIRTH_LATE" in told.codes
    assert "persetujuan" in told.texts["BIRTH_LATE"]


@case(71)
def test_f071_the_number_of_a_late_akta_is_of_kind_lt() -> None:
    """Reported after day 60, an akta with LU in its number is remarked upon, one with LT is not."""
    day = dt.date(2025, 5, 15)
    for kind, remarks in (("LU", [("number", "ISSUED_NUMBER_KIND")]), ("LT", [])):
        issued = read_issued(f"3510-{kind}-15052025-0001", "3510161103259001", FAMILY_CARD)
        assert check_issued(issued, birth_record(), reported_on=day, today=day) == ([], remarks)


@case(
    72,
    decision="The alarm is a rule on a metric: procot_messages_total counts what came in and was about no birth, and "
    "docs/operators.md names the rule. A threshold in the gateway would be a guess for every hospital.",
)
def test_f072_a_dumped_patient_index_opens_nothing() -> None:
    """Years-old patients dumped as A28 are accepted and open no birth."""
    told = seen(born({"PID-7": "20190311041500+0700", "PV1-4": "R", "PV2-36": ""}, segments=("PV1", "PV2", "NK1")))
    assert (told.code, told.codes, told.effect) == ("AA", set(), Effect.NONE)

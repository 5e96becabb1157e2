"""Offsets that leave the day of birth in doubt, births elsewhere, and dates that a newborn contradicts (issue 10 B)."""

from __future__ import annotations

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import Draft, Effect
from gateway.contract.record import PlaceKind
from gateway.contract.revision import apply_draft
from tests.cases.dialogue import judged, message, without

BORN = "20250311041500+0700"
AT = "20250312101500+0700"  # a day after


def told(*changes: tuple[str, str]) -> set[str]:
    return judged(message("A01", *changes)).codes


@pytest.mark.parametrize("offset", ["+0000", "-0000", "+0730", "+1000", "-0500", "+0530"])
def test_an_offset_of_no_indonesian_clock_holds(offset: str) -> None:
    found = judged(message("A01", (f"{BORN}|M", f"202503102115{offset}|M")))
    assert "BIRTH_ZONE" in found.codes
    assert "BIRTH_OFFSET" not in found.codes
    assert found.state is State.HOLD_DATA
    assert found.answer.code == "AA"


@pytest.mark.parametrize(
    ("born", "code"),
    [
        ("202503110515+0800", "BIRTH_OFFSET"),  # F 69
        ("202503110615+0900", "BIRTH_OFFSET"),
        ("202503110030+0900", "BIRTH_ZONE"),  # here it was still the 10th
        ("202503110059+0800", "BIRTH_ZONE"),
        ("202503110100+0800", "BIRTH_OFFSET"),
    ],
)
def test_a_neighbours_zone_holds_where_it_moves_the_day(born: str, code: str) -> None:
    assert {"BIRTH_ZONE", "BIRTH_OFFSET"} & told((f"{BORN}|M", f"{born}|M")) == {code}


def test_the_zone_of_the_place_of_birth_is_no_contradiction() -> None:
    codes = told((f"{BORN}|M", "202503110030+0800|M"), ("|BANYUWANGI|N|1|", "|DENPASAR|N|1|"))
    assert "BIRTH_ZONE" not in codes
    assert "BIRTH_OFFSET" in codes


def test_a_day_in_another_zone_stays_in_doubt_though_the_time_comes_alone() -> None:
    raw = message("A01", (f"{BORN}|M", "20250310+0000|M")) + b"OBX|90|TM|57715-5^Birth time^LN||0115||||||F\r"
    found = judged(raw)
    assert ("BIRTH_ZONE" in found.codes, found.values["child.born_at"]) == (True, "01:15")


def test_an_offset_in_the_time_alone_holds_too() -> None:
    raw = message("A01", (f"{BORN}|M", "20250311|M")) + b"OBX|90|TM|57715-5^Birth time^LN||0115+0000||||||F\r"
    assert "BIRTH_ZONE" in judged(raw).codes


def test_z_is_no_offset_and_no_date() -> None:
    found = judged(message("A01", (f"{BORN}|M", "20250310211500Z|M")))
    assert {"BIRTH_DATE"} <= found.codes
    assert found.state is State.HOLD_DATA


# ------------------------------------------------------------------------------------------------------ elsewhere

IN_HOUSE = without(message("A01", ("|BANYUWANGI|N|1|", "||N|1|")), "ZKL", "OBX|10|")


def admitted(raw: bytes, *, source: str = "", at: str = "") -> bytes:
    """Return a message with PV1-14 and PV1-44 so."""
    lines = []
    for line in raw.decode().split("\r"):
        fields = line.split("|")
        if fields[0] == "PV1":
            fields += [""] * (45 - len(fields))
            fields[14], fields[44] = source or fields[14], at or fields[44]
        lines.append("|".join(fields))
    return "\r".join(lines).encode()


def test_a_birth_in_the_house_is_in_its_region() -> None:
    found = judged(IN_HOUSE)
    assert found.values["child.place_region"] == "3510"
    assert "BIRTH_PLACE" not in found.codes


@pytest.mark.parametrize(
    "source", ["4", "6", "4^Transfer from a hospital", "RUJUKAN BIDAN", "RS LUAR", "TRANSFER", "PINDAHAN", "RUMAH"]
)
def test_brought_from_elsewhere_without_a_place_is_held(source: str) -> None:
    found = judged(admitted(IN_HOUSE, source=source))
    assert "BIRTH_PLACE" in found.codes
    assert found.state is State.HOLD_DATA
    assert "child.place_region" not in found.values


@pytest.mark.parametrize("source", ["1", "5", "7", "LAHIR DI SINI", "RUMAH SAKIT INI"])
def test_an_ordinary_admission_is_here(source: str) -> None:
    assert "BIRTH_PLACE" not in judged(admitted(IN_HOUSE, source=source)).codes


@pytest.mark.parametrize("at", [AT, "20250313", "20250401"])
def test_admitted_long_after_the_birth_without_a_place_is_held(at: str) -> None:
    assert {"BIRTH_PLACE", "ADMITTED_AFTER_BIRTH"} <= judged(admitted(IN_HOUSE, at=at)).codes


def test_a_ward_may_admit_late_what_was_born_in_the_house() -> None:
    kind = b"OBX|90|CE|73766-8^Place^LN||1^RS||||||F\r"
    assert "BIRTH_PLACE" not in judged(admitted(IN_HOUSE, at="20250311141500+0700") + kind).codes
    assert "BIRTH_PLACE" in judged(admitted(IN_HOUSE, at="20250314141500+0700") + kind).codes


def draft_of(raw: bytes, effect: Effect = Effect.AMEND) -> Draft:
    from adapters.hospital.baseline import BaselineHospital  # noqa: PLC0415 - one helper needs it
    from gateway.hl7.charset import decode  # noqa: PLC0415
    from gateway.hl7.message import parse_message  # noqa: PLC0415
    from tests.simulators.facilities import CLOCK, facility  # noqa: PLC0415

    return BaselineHospital().draft(parse_message(decode(raw).text), facility(), now=CLOCK)


def test_a_repetition_without_the_hour_of_admission_puts_nobody_here() -> None:
    held = apply_draft(None, draft_of(admitted(IN_HOUSE, at=AT)))
    assert held.child.place_region is None
    again = apply_draft(held, draft_of(without(IN_HOUSE, "PV1")))
    assert again.child.place_region is None
    named = apply_draft(again, draft_of(without(message("A01"), "PV1")))
    assert (named.child.place_name, named.child.place_region) == ("BANYUWANGI", "3510")


def test_told_at_home_later_is_not_here_any_more() -> None:
    here = apply_draft(None, draft_of(without(IN_HOUSE, "PV1")))
    assert here.child.place_region == "3510"
    kind = b"OBX|90|CE|73766-8^Place^LN||4^Rumah||||||F\r"
    home = apply_draft(here, draft_of(without(IN_HOUSE, "PV1") + kind))
    assert (home.child.place_kind, home.child.place_region) == (PlaceKind.HOME, None)
    city = apply_draft(apply_draft(None, draft_of(message("A01"))), draft_of(without(IN_HOUSE, "PV1") + kind))
    assert city.child.place_region == "3510"  # PID-23 had named it


# --------------------------------------------------------------------------------------------------- the date


@pytest.mark.parametrize("born", ["20240311041500+0700", "20230311041500+0700", "20250211041500+0700"])
def test_weighed_today_and_born_a_year_or_a_month_ago_is_for_a_person(born: str) -> None:
    found = judged(message("A01", (f"{BORN}|M", f"{born}|M")))
    assert "BIRTH_DATE_DOUBT" in found.codes
    assert found.state is State.REVIEW


def test_weighed_when_it_was_born_is_only_late() -> None:
    raw = (
        message("A01")
        .replace(b"20250311", b"20240911")
        .replace(b"|20240911093000+0700||ADT", b"|20250311093000+0700||ADT")
    )
    found = judged(raw)
    assert "BIRTH_LATE" in found.codes
    assert "BIRTH_DATE_DOUBT" not in found.codes


def test_a_birth_of_this_month_is_not_doubted() -> None:
    assert "BIRTH_DATE_DOUBT" not in told((f"{BORN}|M", "20250225041500+0700|M"))

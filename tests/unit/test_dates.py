from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7.dates import Precision, format_moment, is_moment, is_time, parse_moment

WIB = ZoneInfo("Asia/Jakarta")

digits = st.from_regex(r"\A[0-9]{4,14}(\.[0-9]{1,4})?([+-][0-9]{4})?\Z")
plausible = st.from_regex(
    r"\A(19|20|99|00)[0-9]{2}(0[0-9]|1[0-3])[0-3][0-9]([0-2][0-9]([0-6][0-9]){0,2})?(\+0[0-9]00)?\Z"
)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=30), digits, plausible))
def test_no_text_does_more_than_be_refused_and_both_readers_agree(text: str) -> None:
    try:
        moment = parse_moment(text, WIB)
    except ValueError:
        assert not is_moment(text)
        return
    assert is_moment(text)
    moment.at.astimezone(dt.UTC)  # every moment can be moved to UTC


@settings(deadline=None)
@given(st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2200, 1, 1)))  # noqa: DTZ001 - bounds
def test_what_is_written_is_read_back(at: dt.datetime) -> None:
    local = at.replace(microsecond=0, tzinfo=dt.timezone(dt.timedelta(hours=7)))
    written = format_moment(local, offset=True)
    assert written.endswith("+0700")
    assert parse_moment(written, dt.UTC).at == local
    assert parse_moment(format_moment(local, offset=False), local.tzinfo or dt.UTC).at == local


@pytest.mark.parametrize(
    ("text", "precision", "has_time"),
    [
        ("2025", Precision.YEAR, False),
        ("202503", Precision.MONTH, False),
        ("20250311", Precision.DAY, False),
        ("2025031104", Precision.HOUR, False),
        ("202503110415", Precision.MINUTE, True),
        ("20250311041500.25", Precision.SECOND, True),
    ],
)
def test_precision_is_kept(text: str, precision: Precision, has_time: bool) -> None:  # noqa: FBT001 - a table
    moment = parse_moment(text, WIB)
    assert moment.precision is precision
    assert moment.has_time is has_time
    assert not moment.has_offset


def test_without_an_offset_it_is_wall_time_of_the_facility() -> None:
    assert parse_moment("202503110415", WIB).at.utcoffset() == dt.timedelta(hours=7)
    assert parse_moment("202503110415+0900", WIB).at.utcoffset() == dt.timedelta(hours=9)
    assert parse_moment("202503110415-0330", WIB).has_offset


def test_2400_is_the_next_midnight() -> None:
    moment = parse_moment("202503112400", WIB)
    assert moment.rolled
    assert moment.date == dt.date(2025, 3, 12)


@pytest.mark.parametrize(
    "text",
    ["", "20251301", "20250230", "20250311T0415", "2025-03-11", "202503112401", "00000000", "99991231", "20250311+1500",
     "20250311+0760", "202503112460", "٢٠٢٥٠٣١١"],
)  # fmt: skip
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_moment(text, WIB)
    assert not is_moment(text)


def test_times_of_day() -> None:
    assert all(is_time(text) for text in ("04", "0415", "041500", "041500.1234+0700"))
    assert not any(is_time(text) for text in ("", "4", "2400", "0460", "04:15"))

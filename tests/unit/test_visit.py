"""What a message says about the stay: the VIP flag, a protected parent, when they leave."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from gateway.pipeline.visit import read_visit

WIB = ZoneInfo("Asia/Jakarta")
MSH = "MSH|^~\\&|A|B|C|D|20250311||ADT^A01|1|P|2.5\r"


def segment(name: str, **fields: str) -> str:
    numbers = {int(key[1:]): value for key, value in fields.items()}
    return name + "".join(f"|{numbers.get(n, '')}" for n in range(1, max(numbers) + 1)) + "\r"


@pytest.mark.parametrize(
    ("text", "restricted"),
    [
        (segment("PV1", f16="VIP"), True),
        (segment("PV1", f16="Y"), True),
        (segment("PV1", f16="N"), False),
        (segment("PV1", f16='""'), False),
        (segment("PV1", f2="I"), False),
        (segment("NK1", f23="Y"), True),
        (segment("NK1", f23="N") + segment("NK1", f23="Y"), True),
    ],
)
def test_the_flags_that_restrict(text: str, restricted: bool) -> None:  # noqa: FBT001
    assert read_visit((MSH + text).encode(), WIB).restricted is restricted


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        (segment("PV2", f9="20250314100000+0700"), dt.datetime(2025, 3, 14, 3, tzinfo=dt.UTC)),
        (segment("PV2", f9="202503141000"), dt.datetime(2025, 3, 14, 3, tzinfo=dt.UTC)),  # the facility's zone
        (
            segment("PV1", f45="20250313090000+0700") + segment("PV2", f9="20250314"),
            dt.datetime(2025, 3, 13, 2, tzinfo=dt.UTC),
        ),
        (segment("PV2", f9="soon"), None),
        (segment("PV2", f9='""'), None),
        (segment("PV2", f36="Y"), None),
        ("", None),
    ],
)
def test_when_they_leave(text: str, leaves: dt.datetime | None) -> None:
    assert read_visit((MSH + text).encode(), WIB).leaves_at == leaves


def test_other_delimiters_line_ends_and_marks_before_it_are_read() -> None:
    raw = "\ufeffMSH#^~\\&#A\nPV1" + "#" * 16 + "VIP\n"
    assert read_visit(raw.encode(), WIB).restricted


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe\x00", b"MSH", b"PV1|||"])
def test_nothing_readable_says_nothing(raw: bytes) -> None:
    visit = read_visit(raw, WIB)
    assert (visit.restricted, visit.leaves_at) == (False, None)

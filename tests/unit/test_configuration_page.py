"""Every key of the configuration is explained; a lease outlives a request."""

from __future__ import annotations

import pytest

from gateway.cli import configuration_page
from gateway.config import Config, parse
from gateway.errors import ConfigError


def test_every_section_and_key_is_on_the_page_with_a_meaning() -> None:
    rows = {title: rows for title, _, rows in configuration_page.sections()}
    assert len(rows) == len(Config.model_fields)
    assert ("`lease_s`", "number > 0", "`60`") in {row[:3] for row in rows["`[gateway]`"]}
    assert all(meaning for each in rows.values() for *_, meaning in each)


def test_a_needed_key_says_so() -> None:
    (facility,) = (rows for title, _, rows in configuration_page.sections() if "facility" in title)
    assert [row[2] for row in facility if row[0] == "`code`"] == ["**needed**"]


def test_a_lease_that_ends_before_a_request_does_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"lease_s must be longer than registry\.timeout_s"):
        parse({"gateway": {"lease_s": 20}, "registry": {"timeout_s": 20}}, where="test")


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ({"facility": [{"code": "RSUD X", "region": "BWI"}]}, "facility RSUD X: region = 'BWI': "),
        ({"facility": [{"code": "RSUD X", "region": "3510", "typo": 1}]}, "facility RSUD X: typo: unknown key"),
        (
            {"facility": [{"code": "RSUD X", "region": "3510", "policy": {"typo": 1}}]},
            "facility RSUD X: policy: 'typo'",
        ),
        ({"facility": [{"code": "RSUD X"}]}, "facility RSUD X: region: "),
        ({"facility": [{"region": "3510"}]}, "facility.0.code: "),
        ({"facility": [{"code": "", "region": "3510"}]}, "facility.0.code = '': "),
        ({"office": [{"code": "3578", "way": "fax"}]}, "office 3578: way = 'fax': "),
        ({"office": "3578"}, "office = '3578': "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_in_one_of_several_blocks_is_named_by_its_code(blocks: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse(blocks, where="test")
    assert named in str(wrong.value)

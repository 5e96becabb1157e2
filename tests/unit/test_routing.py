"""Which office: by the family's registered address, else the place of birth, by the settings (domain F 60, F 61)."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import Config
from gateway.contract.masked import Personal
from gateway.contract.record import Address
from gateway.errors import ConfigError
from gateway.pipeline.routing import Route, office_name, route
from tests.simulators.records import birth_record, child, mother

HERE, THERE = "3510161405189001", "3573011405189001"


def config(*, offices: tuple[dict[str, Any], ...] = (), **registry: Any) -> Config:
    return Config.model_validate({"registry": registry, "office": list(offices)})


@pytest.mark.parametrize(
    ("changes", "office", "reason"),
    [
        ({"family_card": Personal(THERE)}, "3573", "FAMILY_CARD"),
        ({"family_card": Personal(HERE), "mother": mother(family_card=Personal(THERE))}, "3573", "FAMILY_CARD"),
        ({"family_card": Personal("123"), "residence": Address(village="3578011001")}, "3578", "RESIDENCE"),
        ({"family_card": None, "child": child(place_region="357801")}, "3578", "PLACE_OF_BIRTH"),
        ({"family_card": None, "child": child(place_region=None)}, "3510", "FACILITY"),
    ],
)
def test_the_address_decides_and_then_the_place_of_birth(changes: dict[str, Any], office: str, reason: str) -> None:
    found = route(birth_record(**changes), config(out_of_domicile=False))
    assert (found.office, found.reason) == (office, reason)


def test_a_niks_prefix_is_no_address() -> None:
    record = birth_record(family_card=None, mother=mother(nik=None), child=child(place_region="3510"))
    assert route(record, config()).office == "3510"


def test_one_way_each() -> None:
    far = birth_record(family_card=Personal(THERE))
    near = birth_record()
    assert route(near, config()) == Route("3510", "push", "FAMILY_CARD")
    assert route(near, config(way="lease")).way == "lease"
    here = route(far, config())
    assert (here.office, here.way) == ("3510", "push")
    assert here.reason.startswith("OUT_OF_DOMICILE (3573")
    assert route(far, config(out_of_domicile=False)).way == "handover"
    connected = config(out_of_domicile=False, offices=({"code": "3573", "name": "Malang"},))
    assert route(far, connected) == Route("3573", "lease", "FAMILY_CARD")
    assert (office_name("3573", connected), office_name("3578", connected)) == ("Malang", "Disdukcapil 3578")


def test_an_office_given_twice_is_a_mistake_of_the_configuration() -> None:
    from gateway.config import parse  # noqa: PLC0415 - one test's

    for offices in ([{"code": "3573"}, {"code": "3573"}], [{"code": "3510"}]):
        with pytest.raises(ConfigError, match="given twice"):
            parse({"office": offices}, where="test")

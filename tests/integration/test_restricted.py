"""Cases for few: never in the lists of ordinary tokens, under no address, in no stream (domain F 83 to 85)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gateway.contract.lifecycle import State
from gateway.pipeline import operate
from gateway.store import tokens
from tests.integration.test_merges import merge
from tests.simulators.facilities import HOSPITAL, sample
from tests.simulators.journey import journey, notice
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

PV1 = b"PV1|1|I|"


def vip(message: bytes) -> bytes:
    """Return a message with PV1-16."""
    lines = message.split(b"\r")
    for number, line in enumerate(lines):
        if line.startswith(b"PV1|"):
            fields = line.split(b"|")
            fields += [b""] * (17 - len(fields))
            fields[16] = b"VIP"
            lines[number] = b"|".join(fields)
    return b"\r".join(lines)


async def test_a_vip_flag_restricts_and_nothing_but_a_person_takes_it_back(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.tell(vip(notice()))
        await way.work()
        assert (await way.birth()).restricted == "vip"
        await way.tell(notice("A08", sent="20250312093000+0700"))
        await way.work()
        assert (await way.birth()).restricted == "vip"
        await operate.restrict(way.desk("the family asked for it"), (await way.birth()).id, "")
        assert (await way.birth()).restricted == ""
        event = (await way.events())[-1]
        assert (event["step"], event["actor"]) == ("restrict", "operator:tester")


async def test_a_protected_next_of_kin_restricts_too(database: str, tmp_path: Path) -> None:
    line = next(x for x in notice().split(b"\r") if x.startswith(b"NK1"))
    fields = line.split(b"|")
    fields += [b""] * (24 - len(fields))
    fields[23] = b"Y"
    async with journey(database, tmp_path) as way:
        await way.tell(notice().replace(line, b"|".join(fields)))
        await way.work()
        assert (await way.birth()).restricted == "vip"


@pytest.mark.parametrize("value", [b"", b'""', b"N", b"0"])
async def test_a_flag_that_says_no_restricts_nothing(database: str, tmp_path: Path, value: bytes) -> None:
    async with journey(database, tmp_path) as way:
        await way.tell(vip(notice()).replace(b"|VIP", b"|" + value))
        await way.work()
        assert (await way.birth()).restricted == ""


async def test_a_merged_records_restriction_goes_with_it(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.tell(vip(notice(record_number="old", same_mother=True)))
        await way.tell(notice(record_number="new", same_mother=True))
        await way.tell(merge("old", "new"))
        await way.work()
        assert await way.state("old") is State.MERGED
        assert (await way.birth("new")).restricted == "vip"


async def test_a_restricted_birth_does_not_exist_for_ordinary_tokens(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        message = vip(sample("01"))
        await running.send(message)
        await running.until_count("DELIVERED", 1)
        assert running.letters() != []  # what is delivered by MLLP does not change
        database_ = running.gateway.context.database
        _, narrow = await tokens.new(database_, label="vip", role="facility", facility=HOSPITAL, restricted=True)
        _, office = await tokens.new(database_, label="vip", role="officer", office="3510", restricted=True)
        page = await running.get("/v1/births", token=narrow)
        (birth,) = page["items"]
        assert birth["restricted"] == "vip"
        for token in (running.operator, running.officer, running.facility[HOSPITAL]):
            for query in ({}, {"mrn": birth["mrn"]}, {"control_id": control_id_of(message)}, {"order": "urgency"}):
                assert await running.get("/v1/births", token=token, **query) == {"items": [], "next": None}
            for end in ("", "/history", "/document"):
                async with running.request(f"/v1/births/{birth['id']}{end}", token=token) as response:
                    assert response.status == 404
        for token in (narrow, office):
            assert (await running.get(f"/v1/births/{birth['id']}", token=token))["id"] == birth["id"]


async def test_a_foundlings_case_is_restricted(database: str, tmp_path: Path) -> None:
    text = notice(segments=("PV1", "OBX")).decode()
    line = next(x for x in text.split("\r") if x.startswith("PID"))
    fields = line.split("|")
    fields += [""] * (32 - len(fields))
    fields[31], fields[21], fields[6] = "Y", "", ""
    async with journey(database, tmp_path) as way:
        await way.tell(text.replace(line, "|".join(fields)).encode())
        await way.work()
        assert (await way.birth()).restricted == "foundling"
        assert await way.state() is State.REVIEW


def test_the_command_line_names_what_it_takes() -> None:
    from gateway.cli.main import procot  # noqa: PLC0415 - the whole command line, for one test

    said = CliRunner().invoke(procot, ["births", "restrict", "x", "--why", "gossip", "--reason", "r"]).output
    assert "adoption" in said
    assert "violence" in json.dumps(said)

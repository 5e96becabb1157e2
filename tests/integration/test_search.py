"""Births found by what identifies people: each key, within each scope, and nothing of it in an address or a log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import State
from gateway.store import tokens
from tests.integration.test_merges import merge
from tests.simulators.command import Done, configuration, procot
from tests.simulators.facilities import CLINIC, HOSPITAL, sample
from tests.simulators.journey import journey, notice
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.simulators.system import System

MOTHER_NIK = "3510165203959001"
OTHER = notice(record_number="00450122", changes=((MOTHER_NIK, "3510165203959002"), ("SITI AMINAH", "DEWI LESTARI")))


async def found(running: System, token: str, **wish: Any) -> list[str]:
    options: dict[str, Any] = {"method": "POST", "token": token, "json": wish}
    async with running.request("/v1/births/search", **options) as response:
        assert response.status == 200, await response.text()
        return [birth["mrn"] for birth in json.loads(await response.text())["items"]]


async def test_a_birth_is_found_by_each_key_and_only_where_all_fit(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(sample("01"))
        await running.send(OTHER)
        await running.until_count("DELIVERED", 2)
        birth = next(b for b in await running.births() if b["mrn"] == "00450121")
        sql = "SELECT record -> 'mother' ->> 'born_on' AS day FROM births WHERE id = $1"
        mother = (await running.fetch(sql, birth["id"]))[0]["day"]
        one = ["00450121"]
        for wish in (
            {"mother_nik": MOTHER_NIK},
            {"mother_nik": "3510 1652 0395 9001"},
            {"mother_name": "Aminah Siti"},
            {"mother_name": "siti", "mother_born_on": mother},
            {"child_nik": birth["certificate"]["child_nik"]},
            {"mrn": "00450121"},
            {"control_id": control_id_of(sample("01"))},
            {"certificate": birth["certificate"]["number"].lower()},
            {"mother_nik": MOTHER_NIK, "mrn": "00450121", "state": "DELIVERED", "facility": HOSPITAL},
        ):
            assert await found(running, running.operator, **wish) == one, wish
        assert "00450121" in await found(running, running.operator, mother_born_on=mother)
        for wish in (
            {"mother_nik": "3510165203959003"},
            {"mother_nik": MOTHER_NIK, "mrn": "00450122"},
            {"mother_name": "SITI", "mother_born_on": "1980-01-01"},
            {"certificate": "3510-LU-01012020-0001"},
            {"mrn": "00450121", "state": "REVIEW"},
        ):
            assert await found(running, running.operator, **wish) == [], wish


async def test_a_search_sees_no_further_than_its_token(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(sample("01"))
        await running.until_count("DELIVERED", 1)
        store = running.gateway.context.database
        _, elsewhere = await tokens.new(store, label="o", role="officer", office="3573")
        assert await found(running, running.facility[HOSPITAL], mother_nik=MOTHER_NIK) == ["00450121"]
        assert await found(running, running.facility[CLINIC], mother_nik=MOTHER_NIK) == []
        assert await found(running, running.facility[CLINIC], mother_nik=MOTHER_NIK, facility=HOSPITAL) == []
        assert await found(running, elsewhere, mother_nik=MOTHER_NIK) == []
        await running.fetch("UPDATE births SET restricted = 'vip'")
        assert await found(running, running.facility[HOSPITAL], mother_nik=MOTHER_NIK) == []
        _, few = await tokens.new(store, label="f", role="operator", restricted=True)
        assert await found(running, few, mother_nik=MOTHER_NIK) == ["00450121"]


async def test_nothing_finished_is_urgent_unless_it_is_asked_for(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(sample("01"))
        await running.send(notice(record_number="2", segments=("NK1", "PV1", "OBX")))
        await running.until_count("DELIVERED", 1)
        await running.until_count("AWAIT_FORM", 1)
        await running.fetch("UPDATE births SET priority = 0 WHERE state = 'DELIVERED'")
        assert [birth["state"] for birth in await running.births(order="urgency")] == ["AWAIT_FORM"]
        assert [birth["state"] for birth in await running.births(order="urgency", state="DELIVERED")] == ["DELIVERED"]
        assert len(await running.births()) == 2


async def test_pages_hold_together(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for number in "123":
            await running.send(notice(record_number=number, segments=("NK1", "PV1", "OBX")))
        await running.until_count("AWAIT_FORM", 3)
        key = running.gateway.context.keyring.index(MOTHER_NIK)
        await running.fetch("UPDATE births SET mother_key = $1", key)
        seen, cursor = [], None
        while True:
            wish = {"mother_nik": MOTHER_NIK, "limit": 2} | ({"cursor": cursor} if cursor else {})
            options: dict[str, Any] = {"method": "POST", "token": running.operator, "json": wish}
            async with running.request("/v1/births/search", **options) as response:
                page = json.loads(await response.text())
            seen += [birth["mrn"] for birth in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert sorted(seen) == ["1", "2", "3"]


async def test_what_was_asked_for_is_in_no_answer_and_no_log(
    database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with system(database, tmp_path) as running:
        for wish in (
            {"mother_nik": MOTHER_NIK, "luck": 1},
            {"mother_nik": MOTHER_NIK * 20},
            {"mother_nik": MOTHER_NIK, "mother_born_on": "DEWI"},
        ):
            options: dict[str, Any] = {"method": "POST", "token": running.operator, "json": wish}
            async with running.request("/v1/births/search", **options) as response:
                assert response.status == 422
                text = await response.text()
                assert MOTHER_NIK not in text
                assert "DEWI" not in text
        assert await found(running, running.operator, mother_nik=MOTHER_NIK) == []
    written = "".join(capfd.readouterr())
    assert MOTHER_NIK not in written
    assert "DEWI" not in written


async def test_names_wait_for_their_migration(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        running.gateway.context.schema.level = 8
        for wish in ({"mother_name": "SITI AMINAH"}, {"mother_born_on": "1995-03-12"}):
            options: dict[str, Any] = {"method": "POST", "token": running.operator, "json": wish}
            async with running.request("/v1/births/search", **options) as response:
                assert response.status == 501
                assert "migrated" in await response.text()
        assert await found(running, running.operator, mother_nik=MOTHER_NIK) == []


async def test_a_number_that_was_given_up_finds_the_birth_it_became(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.tell(notice())
        await way.work()
        await way.tell(merge("00450121", "00450199"))
        await way.work()
        shown = await find(configuration(tmp_path, database, facility=HOSPITAL), "mrn", "00450121\n")
        assert {birth["mrn"] for birth in shown.lines} >= {"00450199"}


async def find(config: Path, by: str, typed: str, *more: str) -> Done:
    """Run `procot births find` with what a person would type on standard input."""
    return await procot("births", "find", "--by", by, "--config", config, "--json", *more, typed=typed)


async def test_the_command_line_asks_and_takes_no_argument(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        birth = await way.reach(State.SEALED)
        config = configuration(tmp_path, database, facility=HOSPITAL)
        for by, typed in (
            ("mother-nik", MOTHER_NIK),
            ("mother", f"AMINAH\n{birth.record.mother.born_on if birth.record.mother else ''}"),
            ("mother-name", "SITI AMINAH"),
            ("mrn", "00450121"),
        ):
            done = await find(config, by, f"{typed}\n")
            assert [line["id"] for line in done.lines] == [str(birth.id)], (by, done)
        assert (await find(config, "child-nik", "3510161103259001\n")).lines == []
        empty = await find(config, "mother-nik", "")
        assert (empty.status, "standard input ended" in empty.err) == (1, True)
        wrong = await find(config, "mother", "SITI\nsoon\n")
        assert (wrong.status, "mother_born_on" in wrong.err, "soon" in wrong.err) == (1, True, False)
        (tmp_path / "keys" / "index.key").rename(tmp_path / "elsewhere.key")
        away = await find(config, "mother-nik", f"{MOTHER_NIK}\n")
        assert (away.status, "index.key is not here" in away.err) == (1, True)

"""GET /v1/births for people: what is missing, whose office, by when, the most urgent first; and the offices' scopes."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from gateway.app import Gateway
from gateway.cli.main import procot
from gateway.config import parse
from gateway.store import tokens
from tests.simulators.facilities import CLINIC, HOSPITAL, sample
from tests.simulators.journey import notice
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.system import System

WITHOUT_FORM = b"\r".join(line for line in sample("01").split(b"\r") if not line.startswith(b"ZKL"))


async def three(running: System) -> dict[str, Any]:
    """Send a complete birth, one without a form, one without a name; return their views by state."""
    await running.send(notice(record_number="1"))
    await running.send(notice(record_number="2", segments=("NK1", "PV1", "OBX")))
    await running.send(notice(record_number="3", changes=(("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),)))
    for state in ("DELIVERED", "AWAIT_FORM", "HOLD_NAME"):
        await running.until_count(state, 1)
    return {birth["state"]: birth for birth in await running.births()}


async def test_births_are_found_by_what_they_lack_by_office_and_by_deadline(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        births = await three(running)
        waiting, nameless = births["AWAIT_FORM"], births["HOLD_NAME"]
        deadline = dt.date.fromisoformat(waiting["deadline"])
        day_before = (deadline - dt.timedelta(days=1)).isoformat()
        for query, expected in (
            ({"missing": "witness_2"}, [waiting]),
            ({"missing": "name"}, [nameless]),
            ({"missing": "sex"}, []),
            ({"office": "3510", "state": "HOLD_NAME"}, [nameless]),
            ({"office": "3573"}, []),
            ({"deadline_before": deadline.isoformat(), "state": "AWAIT_FORM"}, [waiting]),
            ({"deadline_before": day_before}, []),
        ):
            assert await running.births(**query) == expected, query
        assert births["DELIVERED"]["missing"] == []
        for query, word in (
            ({"missing": "luck"}, "one of name"),
            ({"deadline_before": "soon"}, "2026-11-24"),
            ({"order": "random"}, "urgency"),
            ({"urgency": "high"}, "0 the most urgent"),
        ):
            async with running.request("/v1/births", token=running.operator, params=query) as response:
                assert response.status == 400
                assert word in json.loads(await response.text())["detail"]


async def test_the_most_urgent_come_first_page_by_page_each_once(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for number in "0123456":
            await running.send(notice(record_number=number, segments=("NK1", "PV1", "OBX")))
        await running.until_count("AWAIT_FORM", 7)
        for number, changes in {
            "5": "priority = 0",
            "2": "priority = 2, leaves_at = '2026-11-25T03:00Z'",
            "6": "priority = 2, leaves_at = '2026-11-24T03:00Z'",
            "1": "deadline = '2025-05-01'",
            "3": "deadline = NULL",
        }.items():
            await running.fetch(f"UPDATE births SET {changes} WHERE medical_record = $1", number)  # noqa: S608
        seen, cursor = [], None
        while True:
            query = {"order": "urgency", "limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = await running.get("/v1/births", **query)
            seen += [birth["mrn"] for birth in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == ["5", "6", "2", "1", "0", "4", "3"]
        assert {birth["mrn"] for birth in await running.births(urgency="2")} == {"5", "6", "2"}
        assert [birth["mrn"] for birth in await running.births(urgency="0")] == ["5"]
        first = (await running.get("/v1/births", limit="2"))["next"]
        async with running.request(
            "/v1/births", token=running.operator, params={"order": "urgency", "cursor": first}
        ) as response:
            assert response.status == 400  # a place in one order is none in the other


async def test_an_officer_of_an_office_sees_that_offices_births(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        births = await three(running)
        store = running.gateway.context.database
        for office, count in (("3510", 3), ("3573", 0), ("all", 3)):
            _, token = await tokens.new(store, label=office, role="officer", office=office)
            assert len((await running.get("/v1/births", token=token))["items"]) == count
            status = 200 if count else 404
            async with running.request(f"/v1/births/{births['DELIVERED']['id']}", token=token) as response:
                assert response.status == status
            async with running.request("/v1/registry/leases", method="POST", token=token, json={}) as response:
                assert response.status == 200
                assert (await response.json())["items"] == []  # these births are submitted, not laid out
        for token in (running.officer, running.operator, running.facility[CLINIC]):
            async with running.request("/v1/registry/leases", method="POST", token=token, json={}) as response:
                assert response.status == 403


async def test_numbers_without_a_file_are_delivered_when_the_facility_reads_them(database: str, tmp_path: Path) -> None:
    async with system(
        database, tmp_path, config={"registry": {"way": "lease"}}, without_listener=(HOSPITAL,)
    ) as running:
        await running.send(sample("01"))
        birth = await running.until(control_id_of(sample("01")), "AWAIT_OFFICE")
        _, officer = await tokens.new(running.gateway.context.database, label="o", role="officer", office="3510")
        async with running.request("/v1/registry/leases", method="POST", token=officer, json={}) as response:
            (item,) = (await response.json())["items"]
        today = dt.datetime.now(dt.UTC)
        said = {
            "lease": item["lease"],
            "outcome": "issue",
            "certificate": {
                "number": f"3510-LT-{today:%d%m%Y}-0007",
                "child_nik": "3510161103259007",
                "kk_number": "3510161405189001",
                "issued_at": today.isoformat(),
            },
        }
        path = f"/v1/registry/records/{birth['id']}/outcome"
        async with running.request(path, method="POST", token=officer, json=said) as response:
            assert response.status == 200, await response.text()
        await running.until(control_id_of(sample("01")), "ISSUED")
        async with running.request(f"/v1/births/{birth['id']}/document", token=running.facility[HOSPITAL]) as response:
            assert response.status == 409
        read = await running.get(f"/v1/births/{birth['id']}", token=running.facility[HOSPITAL])
        assert (read["state"], read["certificate"]["child_nik"]) == ("DELIVERED", "3510161103259007")


async def test_a_gateway_for_an_office_without_an_interface_needs_no_registry(database: str, tmp_path: Path) -> None:
    config = parse(
        {
            "database": {"dsn": database, "directory": str(tmp_path)},
            "mllp": {"listen": "127.0.0.1:0"},
            "http": {"listen": "127.0.0.1:0"},
            "registry": {"way": "lease"},
            "facility": [{"code": HOSPITAL, "region": "3510"}],
        },
        where="test",
    )
    async with Gateway(config).running() as addresses:
        assert addresses.http


# ----------------------------------------------------------------------------------------------------- command line


def _config(database: str, directory: Path) -> Path:
    path = directory / "procot.toml"
    path.write_text(
        f'[database]\ndsn = "{database}"\ndirectory = "{directory}"\n'
        "[registry]\nout_of_domicile = false\n"
        f'[[facility]]\ncode = "{HOSPITAL}"\nregion = "3510"\n'
    )
    return path


async def _run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, procot, arguments)


async def test_the_command_line_lists_by_need_restricts_and_hands_over(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, config={"registry": {"out_of_domicile": False}}) as running:
        await running.send(notice(record_number="far", changes=(("3510161405189001", "3573011405189001"),)))
        await running.send(notice(record_number="near", segments=("NK1", "PV1", "OBX")))
        await running.until_count("AWAIT_FORM", 1)
        await running.until_count("REVIEW", 1)
        config = ("--config", str(_config(database, tmp_path)))
        found = await _run("births", "list", "--missing", "reporter", "--urgent", "--json", *config)
        (near,) = [json.loads(line) for line in found.stdout.splitlines()]
        assert near["mrn"] == "near"
        (far,) = await running.births(mrn="far")
        assert (await _run("births", "release", far["id"], "--reason", "agreed", *config)).exit_code == 0
        await running.until_count("AWAIT_OFFICE", 1)
        made = await _run("births", "handover", far["id"], "--to", str(tmp_path / "packs"), "--json", *config)
        assert made.exit_code == 0, made.output
        told = json.loads(made.stdout)
        assert told["office"] == "3573"
        for kind in ("pdf", "json"):
            path = tmp_path / "packs" / f"handover-{far['id']}-1.{kind}"
            assert told[kind] == str(path)
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.read_bytes()
        done = await _run("births", "restrict", near["id"], "--why", "violence", "--reason", "asked for", *config)
        assert done.exit_code == 0, done.output
        assert [b["mrn"] for b in await running.births()] == ["far"]
        shown = await _run("births", "show", near["id"], *config)
        assert "violence" in shown.stdout
        back = await _run("births", "restrict", near["id"], "--why", "nobody", "--reason", "over", *config)
        assert back.exit_code == 0
        assert len(await running.births()) == 2


async def test_a_token_of_an_unknown_facility_is_refused_with_what_there_is(database: str, tmp_path: Path) -> None:
    config = ("--config", str(_config(database, tmp_path)))
    mistyped = f"{HOSPITAL}X"
    made = await _run("tokens", "new", "--role", "facility", "--facility", mistyped, "--label", "ward", *config)
    assert made.exit_code == 1
    told = str(made.exception)
    assert all(part in told for part in (repr(mistyped), repr(HOSPITAL), "procot facilities add")), told
    assert "ward" not in (await _run("tokens", "list", *config)).output


async def test_an_officer_without_an_office_is_told_that_the_token_only_reads(database: str, tmp_path: Path) -> None:
    config = ("--config", str(_config(database, tmp_path)))
    made = await _run("tokens", "new", "--role", "officer", "--label", "desk", *config)
    assert (made.exit_code, len(made.stdout.split())) == (0, 1)
    assert "only reads" in made.stderr
    assert "configured: 3510" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--role", "officer", "--office", "3510"), 0),
        (("--role", "officer", "--office", "all", "--restricted"), 0),
        (("--role", "officer", "--office", "Banyuwangi"), 1),
        (("--role", "operator", "--office", "3510"), 1),
    ],
)
async def test_a_token_is_made_for_an_office(
    database: str, tmp_path: Path, arguments: tuple[str, ...], status: int
) -> None:
    config = ("--config", str(_config(database, tmp_path)))
    made = await _run("tokens", "new", *arguments, "--label", "desk", *config)
    assert (made.exit_code != 0) == bool(status), made.output
    if not status:
        listed = await _run("tokens", "list", "--json", *config)
        (token,) = [json.loads(line) for line in listed.stdout.splitlines()]
        assert (token["office"], token["restricted"]) == (arguments[3], "--restricted" in arguments)

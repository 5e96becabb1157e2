"""`procot facilities`: the configuration file is changed whole or not at all, and keeps its own text."""

from __future__ import annotations

import asyncio
import tomllib
from typing import TYPE_CHECKING

import pytest

from gateway.config import load
from tests.simulators.command import Done, procot

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """# Our gateway. Ask the network people before you change addresses.
[registry]
url = "http://127.0.0.1:9"
token_file = "{token}"   # not in the repository

[[facility]]
code = "RS SATU"         # the first one
region = "3510"
peers = [
  "10.1.2.0/24",
]

# Bound by contract 17.
[[facility]]
code = "RS DUA"
region = "3578"
insecure = "msh-4"
time_zone = "WITA"
[facility.policy]
table = "ignore"

# The rest.
[observe]
level = "warning"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("a-token")
    path = tmp_path / "procot.toml"
    path.write_text(TEXT.format(token=tmp_path / "token"))
    path.chmod(0o640)
    return path


def content(path: Path) -> str:
    return path.read_text()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def write_inline(path: Path) -> None:
    rest = content(path).partition("[[facility]]")[0]
    path.write_text('facility = [{code = "RS SATU", region = "3510", insecure = "msh-4"}]\n' + rest)


async def run(config: Path, *words: object) -> Done:
    return await procot("facilities", *words, "--config", config)


async def test_facilities_are_listed_with_what_tells_that_a_message_is_theirs(config: Path) -> None:
    first, second = (await run(config, "list", "--json")).lines
    assert first["identified_by"] == "MSH-4; from 10.1.2.0/24"
    assert first["certificates_go_to"] == "pick-up over HTTP"
    assert (second["code"], second["time_zone"]) == ("RS DUA", "WITA")
    shown = await run(config, "list")
    assert "RS SATU" in shown.out
    assert "WIB" in shown.out


async def test_a_facility_is_added_at_the_end_and_all_else_stays(config: Path) -> None:
    before = content(config)
    done = await run(
        config, "add", 'RS "TIGA"', "--region", "3511", "--time-zone", "WIT", "--deliver-to", "10.0.0.1:2577",
        "--peer", "10.0.0.0/24", "--set", 'name_order="family_given"', "--set", "control_id_per_day=true",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "next start" in done.out
    after = content(config)
    assert after.startswith(before.rstrip())
    assert mode(config) == 0o640
    added = load(config, {}).facility[-1]
    assert (added.code, added.time_zone, added.name_order) == ('RS "TIGA"', "Asia/Jayapura", "family_given")
    assert (added.peers, added.control_id_per_day) == (("10.0.0.0/24",), True)
    assert [path.name for path in config.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("RS SATU", "--region", "3510"), "is given twice"),
        (("RS TIGA", "--region", "35"), "region"),
        (("RS TIGA", "--region", "3510"), "is known by nothing but MSH-4"),
        (("RS TIGA", "--region", "3510", "--time-zone", "MARS"), "no such time zone"),
        (("RS TIGA", "--region", "3510", "--adapter", "unknown"), "unknown"),
        (("RS TIGA", "--region", "3510", "--set", "colour=1"), "unknown key"),
        (("RS TIGA", "--region", "3510", "--set", "name=Rumah Sakit"), "--set name=Rumah Sakit"),
    ],
)
async def test_what_check_config_would_refuse_changes_nothing(config: Path, words: tuple[str, ...], told: str) -> None:
    before = content(config)
    done = await run(config, "add", *words)
    assert (done.status, told in done.err) == (1, True), done.err
    assert "/." not in done.err  # the draft is ours, the file is named as it is
    assert content(config) == before
    assert sorted(path.name for path in config.parent.iterdir()) == ["procot.toml", "token"]


async def test_a_facility_is_removed_with_its_tables_and_comments_around_it_stay(config: Path) -> None:
    refused = await run(config, "remove", "RS DUA")
    assert (refused.status, "--yes" in refused.err) == (1, True)
    done = await run(config, "remove", "RS DUA", "--yes")
    assert done.status == 0, done.err
    after = content(config)
    assert "# The rest.\n[observe]" in after
    assert "# the first one" in after
    assert "policy" not in after
    assert [profile.code for profile in load(config, {}).facility] == ["RS SATU"]
    assert (await run(config, "remove", "RS SATU", "--yes")).status == 0
    assert "facility" not in tomllib.loads(content(config))
    absent = await run(config, "remove", "RS SATU", "--yes")
    assert (absent.status, "no such facility" in absent.err) == (1, True)


async def test_a_file_written_in_another_way_is_left_to_its_owner(config: Path) -> None:
    write_inline(config)
    before = content(config)
    done = await run(config, "remove", "RS SATU", "--yes")
    assert (done.status, "edit it by hand" in done.err) == (1, True)
    assert content(config) == before


async def test_listeners_are_tried_and_the_one_that_is_not_reached_is_named(config: Path) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await run(config, "add", "RS TIGA", "--region", "3510", "--deliver-to", f"127.0.0.1:{port}", "--insecure", "msh-4")
    good = await run(config, "check", "--json")
    assert good.status == 0, good.err
    assert [row["good"] for row in good.lines] == [True, True, True]
    assert good.lines[2]["listener"] == f"reached at 127.0.0.1:{port}"
    server.close()
    await server.wait_closed()
    bad = await run(config, "check", "RS TIGA")
    assert (bad.status, "not reached" in bad.out) == (1, True)
    assert (await run(config, "check", "RS NONE")).status == 1

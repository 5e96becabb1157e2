"""Quarantine: what was refused is seen, tried again through the front door, or discarded; it never was accepted."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway.app import RUN_FILE
from gateway.mllp.framing import frame
from gateway.store import quarantine as store
from gateway.store.inbox import Quarantined
from tests.integration.test_cli import lines, procot, said
from tests.integration.test_inbox import Garbage, inbox_on, results, submit
from tests.integration.test_inbox import observing as _connection
from tests.integration.test_inbox import running as writing
from tests.simulators.facilities import HOSPITAL, sample
from tests.simulators.journey import notice
from tests.simulators.logs import configured
from tests.simulators.people import persons_in
from tests.simulators.system import FACILITIES, control_id_of, system

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.simulators.system import System

NOBODY = [{**FACILITIES[1]}]  # a gateway that does not know the hospital


@pytest.fixture(autouse=True)
def _logs(tmp_path: Path) -> Iterator[None]:
    """Send the gateway's logs to a file: commands in this process must print their own words only."""
    with configured(level="info", file=tmp_path / "log"):
        yield


async def command(running: System, directory: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run `procot quarantine …` beside the gateway, in a thread of its own."""
    return await asyncio.to_thread(procot, "quarantine", *words, "--data", directory)


async def items(running: System, directory: Path, *words: object) -> list[dict[str, Any]]:
    return lines(await command(running, directory, "list", "--json", *words))


@asynccontextmanager
async def refused(database: str, directory: Path) -> AsyncIterator[tuple[System, int]]:
    """Lend a gateway that knows the hospital and holds sample 01, which it refused when it did not."""
    async with system(database, directory, facilities=NOBODY) as running:
        await running.send(sample("01"))
    async with system(database, directory) as running:
        (row,) = await running.fetch("SELECT id FROM quarantine")
        yield running, row["id"]


async def test_a_list_shows_when_from_where_why_and_how_large_but_no_bytes(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, number):
        await running.send_raw(b"\x0bgarbage\x1c\r")
        newest, oldest = await items(running, tmp_path)
        assert (newest["reason"], newest["bytes"], newest["peer"]) == ("MSH_UNREADABLE", 7, "127.0.0.1")
        assert (oldest["id"], oldest["reason"], oldest["bytes"]) == (number, "FACILITY_UNKNOWN", len(sample("01")))
        assert await items(running, tmp_path, "--reason", "MSH_UNREADABLE") == [newest]
        page = await command(running, tmp_path, "list", "--json", "--limit", "1")
        assert said(page) == f"more: --cursor {newest['id']}"
        assert await items(running, tmp_path, "--cursor", newest["id"]) == [oldest]
        shown = (await command(running, tmp_path, "list")).stdout
        assert "FACILITY_UNKNOWN" in shown
        assert not persons_in(shown)


async def test_show_tells_the_reason_then_and_the_verdict_now_without_the_bytes(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, number):
        shown = (await command(running, tmp_path, "show", number)).stdout
        for words in ("FACILITY_UNKNOWN", control_id_of(sample("01")), HOSPITAL, "AA"):
            assert words in shown
        assert not persons_in(shown)
        (item,) = lines(await command(running, tmp_path, "show", number, "--json"))
        assert item["now"]["result"] == "AA"


async def test_show_says_that_a_used_control_id_stays_used(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, _):
        await running.send_raw(frame(sample("04")))
        await running.send_raw(frame(sample("04").replace(b"SITI", b"RINI")))
        newest = (await items(running, tmp_path))[0]
        assert newest["reason"] == "CONTROL_ID_REUSED"
        shown = (await command(running, tmp_path, "show", newest["id"])).stdout
        assert "AA by its content; under the used control id a replay gets AE 205" in shown


async def test_the_bytes_are_shown_only_when_asked_for_and_as_they_came(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, number):
        shown = await command(running, tmp_path, "show", number, "--raw")
        assert shown.stdout == sample("01").decode()


async def test_a_replay_goes_through_the_front_door_and_resolves_what_is_accepted(
    database: str, tmp_path: Path
) -> None:
    async with refused(database, tmp_path) as (running, number):
        done = await command(running, tmp_path, "replay", number)
        assert (done.returncode, done.stdout) == (0, f"CA: accepted; {number} is resolved\n")
        await running.until(control_id_of(sample("01")), "DELIVERED")
        assert await items(running, tmp_path) == []
        (item,) = await items(running, tmp_path, "--all")
        assert (item["resolution"], item["resolved_by"].partition(":")[0]) == ("replayed: CA", "operator")
        again = await command(running, tmp_path, "replay", number)
        assert again.returncode == 1
        assert "was resolved by operator:" in said(again)


async def test_a_replay_that_is_refused_again_leaves_it_open(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, facilities=NOBODY) as running:
        await running.send(sample("01"))
        (item,) = await items(running, tmp_path)
        done = await command(running, tmp_path, "replay", item["id"])
        assert (done.returncode, done.stdout) == (1, f"CR: it is refused again; {item['id']} stays open\n")
        assert item in await items(running, tmp_path)
        assert await running.fetch("SELECT FROM messages") == []


async def test_a_replay_that_must_be_corrected_leaves_it_open(database: str, tmp_path: Path) -> None:
    wrong = sample("10").replace(b"|AL|AL|", b"|||")
    async with system(database, tmp_path, facilities=NOBODY) as running:
        await running.send(wrong)
    async with system(database, tmp_path) as running:
        (item,) = await items(running, tmp_path)
        done = await command(running, tmp_path, "replay", item["id"])
        assert done.returncode == 1
        assert "AE: its sender must correct it" in done.stdout


async def test_a_replay_that_meets_no_gateway_changes_nothing(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, number):
        done = await command(running, tmp_path, "replay", number, "--to", "127.0.0.1:1")
        assert done.returncode == 2
        assert "not delivered" in said(done)
        assert [item["id"] for item in await items(running, tmp_path)] == [number]


async def test_a_discard_keeps_the_reason_and_removes_the_bytes(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, number):
        done = await command(running, tmp_path, "discard", number, "--reason", "sent anew by the ward")
        assert done.returncode == 0
        (item,) = await items(running, tmp_path, "--all")
        assert (item["resolution"], item["bytes"]) == ("discarded: sent anew by the ward", 0)
        (shown,) = lines(await command(running, tmp_path, "show", number, "--json"))
        assert shown["now"] is None


async def test_an_unknown_id_is_one_sentence(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for words in (("show", 7), ("replay", 7), ("discard", 7, "--reason", "x")):
            done = await command(running, tmp_path, *words)
            assert done.returncode == 1
            assert "7: nothing in quarantine has this id" in said(done)


async def test_without_a_running_gateway_a_replay_says_what_it_needs(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, number):
        config = tmp_path / "elsewhere.toml"
        (tmp_path / "token").write_text("token")
        config.write_text(f'[database]\ndsn = "{database}"\ndirectory = "{tmp_path / "other"}"\n'
                          '[mllp]\nlisten = "127.0.0.1:1"\n')  # fmt: skip
        done = await asyncio.to_thread(procot, "quarantine", "replay", number, "--config", config)
        assert done.returncode == 2
        assert "127.0.0.1:1" in said(done)
        run_file = json.loads((tmp_path / RUN_FILE).read_text())
        assert run_file["mllp"] == running.mllp


async def test_two_people_resolve_one_message_once(database: str, tmp_path: Path) -> None:
    async with refused(database, tmp_path) as (running, number):
        context = running.gateway.context
        done = [
            await store.resolve(context.database, number, by="operator:a", resolution="discarded: x", keep=True)
            for _ in range(2)
        ]
        assert done == [True, False]


async def test_the_cap_counts_open_messages_only(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.quarantine._RECOUNT_S", 0.0)
    monkeypatch.setattr("gateway.store.quarantine._RECOUNT_SHARE", 0.0)
    inbox = inbox_on(database, quarantine_rows=2)
    async with writing(inbox):
        for n in range(3):
            (kept,) = await results(*submit(inbox, Garbage(raw=b"%d" % n)))
            assert isinstance(kept.row, Quarantined)
        async with _connection(database) as connection:
            assert [r["raw"] for r in await connection.fetch("SELECT raw FROM quarantine ORDER BY id")] == [b"0", b"1"]
            await connection.execute("UPDATE quarantine SET resolved_at = now(), resolved_by = 'x' WHERE raw = '0'")
        await results(*submit(inbox, Garbage(raw=b"3"), Garbage(raw=b"4")))
        async with _connection(database) as connection:
            rows = await connection.fetch("SELECT raw FROM quarantine WHERE resolved_at IS NULL ORDER BY id")
            assert [r["raw"] for r in rows] == [b"1", b"3"]


async def test_ids_that_are_counted_per_day_are_new_each_day_and_go_back_verbatim(
    database: str, tmp_path: Path
) -> None:
    facilities = [{**FACILITIES[0], "control_id_per_day": True}]
    first = notice(control_id="000123", sent="20250311093000+0700")
    second = notice(control_id="000123", sent="20250312093000+0700", record_number="00450122")
    async with system(database, tmp_path, facilities=facilities) as running:
        answers = [await running.send(message) for message in (first, second, first)]
        assert all(b"MSA|CA|000123" in answer for answer in answers)
        assert answers[2] == answers[0]
        keys = await running.fetch("SELECT control_id FROM messages ORDER BY id")
        assert [row["control_id"] for row in keys] == ["20250311/000123", "20250312/000123"]

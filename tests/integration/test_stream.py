"""GET /v1/births/stream: each state change once, in scope, and on from where a reader was."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from gateway.store import stream
from gateway.store.stream import Scope
from tests.simulators.facilities import CLINIC, HOSPITAL, sample
from tests.simulators.journey import journey, notice
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

ALL = Scope(None, None, restricted=False)


async def read(response: aiohttp.ClientResponse, *, until: str) -> list[dict[str, Any]]:
    """Return the events of a stream up to the first that leads to a state."""
    found = []
    async with asyncio.timeout(60):
        async for line in response.content:
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
                if found[-1]["to"] == until:
                    return found
    raise AssertionError(f"the stream ended before {until}")


async def test_state_changes_come_as_they_happen_and_only_in_scope(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        headers = {"Accept": "text/event-stream"}
        async with (
            running.request("/v1/births/stream", token=running.operator, headers=headers) as all_of_them,
            running.request("/v1/births/stream", token=running.facility[CLINIC]) as clinics,
        ):
            assert all_of_them.content_type == "text/event-stream"
            await running.send(sample("01"))
            await running.until(control_id_of(sample("01")), "DELIVERED")
            await running.send(sample("05"))
            seen = await read(all_of_them, until="DELIVERED")
            own = await read(clinics, until="AWAIT_FORM")
        states = [e["to"] for e in seen if e["facility"] == HOSPITAL]
        assert states[0] == "RECEIVED"
        assert states[-2:] == ["ISSUED", "DELIVERED"]
        assert {e["facility"] for e in own} == {CLINIC}
        ids = [e["id"] for e in seen]
        assert ids == sorted(set(ids))
        # A reader that comes back goes on behind what it had; what it had may come again, under the same id.
        late = next(e for e in seen if e["to"] == "ISSUED")
        async with running.request(
            "/v1/births/stream", token=running.operator, headers={"Last-Event-ID": str(late["id"])}
        ) as response:
            again = await read(response, until="DELIVERED")
        assert again[-1] == seen[-1]


async def test_a_stream_needs_a_token_a_readable_place_and_room(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, config={"limits": {"streams": 1}}) as running:
        async with running.request("/v1/births/stream") as response:
            assert response.status == 401
        for place in ("x", "-1", "9" * 30):
            headers = {"Last-Event-ID": place}
            async with running.request("/v1/births/stream", token=running.operator, headers=headers) as response:
                assert response.status == 400
        async with running.request("/v1/births/stream", token=running.operator) as first:
            assert first.status == 200
            async with running.request("/v1/births/stream", token=running.operator) as second:
                assert second.status == 503
                assert second.headers["Retry-After"]


async def test_an_event_that_becomes_visible_late_is_told_too(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        follower = await stream.begin(way.database, ALL, after=None)
        await way.tell(notice())
        await way.work()
        events = await way.events()
        moved = [e["id"] for e in events if e["from_state"] != e["to_state"]]
        hidden = moved[1]
        await way.database.fetch("CREATE TABLE aside AS SELECT * FROM events WHERE id = $1".replace("$1", str(hidden)))
        await way.database.fetch("DELETE FROM events WHERE id = $1", hidden)
        first = [e["id"] for e in await follower.next(way.database)]
        await way.database.fetch("INSERT INTO events OVERRIDING SYSTEM VALUE SELECT * FROM aside")
        assert [e["id"] for e in await follower.next(way.database)] == [hidden]
        assert sorted([*first, hidden]) == moved
        assert await follower.next(way.database) == []


async def test_what_is_settled_is_forgotten(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        follower = await stream.begin(way.database, ALL, after=None)
        await way.tell(notice())
        await way.work()
        told = await follower.next(way.database)
        await way.database.fetch("UPDATE events SET at = at - interval '1 hour'")
        assert await follower.next(way.database) == []
        assert (follower.floor, follower.seen) == ((await way.events())[-1]["id"], set())
        assert told

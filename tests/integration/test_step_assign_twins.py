"""The step assign on twins: they find their sibling, whenever and by whomever they are assigned, and stay two."""

from __future__ import annotations

import asyncio
import json

from gateway.pipeline import assign
from gateway.pipeline.change import Told
from gateway.pipeline.reread import read_kept
from gateway.store import messages, queue
from gateway.store.queue import Kind
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import Journey, notice


def twin(order: int, record_number: str, *, name: str, born: str) -> bytes:
    return notice(
        record_number=record_number,
        same_mother=True,
        changes=(
            ("AHMAD RIZKI PRATAMA", name),
            ("20250311041500+0700|M", f"{born}|M"),
            ("|BANYUWANGI|N|1|", f"|BANYUWANGI|Y|{order}|"),
            ("57722-1^Birth plurality of Pregnancy^LN||1|", "57722-1^Birth plurality of Pregnancy^LN||2|"),
            ("|1^Tunggal|", "|2^Kembar 2|"),
        ),
    )


async def test_twins_over_midnight_share_a_group_and_stay_two(way: Journey) -> None:
    await way.tell(twin(1, "TW1", name="DEWA PRATAMA", born="20250310235200+0700"))
    await way.tell(twin(2, "TW2", name="DEWI PRATAMA", born="20250311000400+0700"))
    await way.work()
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert one.twin_group is not None
    assert one.twin_group == two.twin_group
    sent = [json.loads(s.payload)["kembar"] for s in way.registry.submissions]
    assert sent == [{"kelompok": str(one.twin_group), "jumlah": 2}] * 2


async def test_twins_assigned_by_two_workers_at_once_share_a_group(way: Journey) -> None:
    await way.tell(twin(1, "TW1", name="DEWA PRATAMA", born="20250310235200+0700"))
    await way.tell(twin(2, "TW2", name="DEWI PRATAMA", born="20250311000400+0700"))
    first, second = await queue.claim(way.database, limit=2, lease_s=60)
    async with way.database.transaction() as connection:
        (kept,) = await messages.unassigned(connection, HOSPITAL, "TW1")
        draft, _ = await read_kept(way.context, connection, kept)
        await assign._apply(way.context, connection, None, Told(kept, draft), number="TW1")
        other = asyncio.create_task(assign.run(way.context, second))
        async with asyncio.timeout(60):
            blocked = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await way.database.fetch(blocked):  # noqa: ASYNC110 - PostgreSQL tells nobody who waits
                await asyncio.sleep(0.005)
        await messages.assigned(connection, kept.id, None)
        await queue.finish(connection, first)
    await asyncio.wait_for(other, 60)
    groups = {r["twin_group"] for r in await way.database.fetch("SELECT twin_group FROM births")}
    assert len(groups) == 1
    assert None not in groups


async def test_a_birth_told_late_to_be_a_twin_joins_its_sibling(way: Journey) -> None:
    first = notice(record_number="TW1", same_mother=True, changes=(("AHMAD RIZKI PRATAMA", "DEWA PRATAMA"),))
    await way.tell(first)
    await way.tell(twin(2, "TW2", name="DEWI PRATAMA", born="20250311042000+0700"))
    await way.step(Kind.ASSIGN)
    await way.step(Kind.ASSIGN)
    one, two = await way.birth("TW1"), await way.birth("TW2")
    assert one.twin_group == two.twin_group is not None
    await way.tell(notice(record_number="S1", changes=(("AHMAD RIZKI PRATAMA", "RATNA SARI"),)))
    await way.step(Kind.ASSIGN)
    assert (await way.birth("S1")).twin_group is None


async def test_a_plurality_told_by_an_update_makes_a_group(way: Journey) -> None:
    await way.tell(notice(record_number="TW1", same_mother=True))
    await way.step(Kind.ASSIGN)
    first = twin(1, "TW1", name="DEWA PRATAMA", born="20250311041500+0700").decode()
    update = first.replace("ADT^A01^ADT_A01", "ADT^A08^ADT_A01").replace("EVN|A01", "EVN|A08")
    await way.tell(update.encode())
    await way.step(Kind.ASSIGN)
    assert (await way.birth("TW1")).twin_group is not None

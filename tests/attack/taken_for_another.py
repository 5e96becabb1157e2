"""One baby taken for another: a number used again, a merge by a typing error, the delete of a retired number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attack.attack import Attack, Ground, refused
from tests.simulators.facilities import sample
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from tests.simulators.system import System

_CONTROL_ID, _NUMBER, _OTHER = "RSC20250311000101", "00450121", "00450999"
_CONFIG = {"registry": {"require_form": False}}
_LATER = "20250312081500+0700"
_OTHERS = (
    ("SITI AMINAH", "DEWI LESTARI"),
    ("3510165203959001", "3510137101909001"),
    ("|19950312|", "|19900131|"),
    ("||20250311041500+0700|M|", "||20250311050200+0700|M|"),
)


async def _certified(running: System) -> tuple[object, ...]:
    await running.send(sample("01"))
    await running.until(_CONTROL_ID, "DELIVERED")
    return await _akta(running)


async def _akta(running: System) -> tuple[object, ...]:
    """Return what must stay of the certified birth: its state, revision and record."""
    rows = await running.fetch(
        "SELECT b.state, b.revision, b.record FROM births b JOIN certificates c ON c.birth_id = b.id"
    )
    refused(len(rows) == 1, f"{len(rows)} certificates")
    return (rows[0]["state"], rows[0]["revision"], str(rows[0]["record"]))


async def _all_read(running: System) -> None:
    async def there() -> bool:
        waiting = "SELECT FROM messages WHERE assigned_at IS NULL AND effect <> 'none'"
        return not await running.fetch(waiting)

    await running.until_true(there, "every message assigned")


async def _use_the_number_again(ground: Ground) -> str:
    async with ground.system(config=_CONFIG) as running:
        before = await _certified(running)
        for event in ("A01", "A28", "A08", "A11"):
            answer = await running.send(notice(event, changes=_OTHERS, sent=_LATER))
            refused(b"MRN_REUSED" in answer, f"a bare answer to {event}")
        await _all_read(running)
        refused(await _akta(running) == before, "another baby's data, or a correction of the akta")
    return "AE MRN_REUSED, the akta stands as it was"


async def _merge_another_mothers_baby(ground: Ground) -> str:
    async with ground.system(config=_CONFIG) as running:
        before = await _certified(running)
        await running.send(notice(record_number=_OTHER, control_id="OTHER1"))
        await running.until("OTHER1", "IN_PROCESS", "DELIVERED", "HOLD_DATA")
        both_certified = len(await running.fetch("SELECT FROM certificates")) > 1
        answer = await running.send(_merge(_OTHER, _NUMBER))
        await _all_read(running)
        if not both_certified:
            refused(b"MERGE_CONTRADICTION" in answer, "a bare answer")
            refused(await _akta(running) == before, "a change of the akta")
        refused(not await running.fetch("SELECT FROM births WHERE state = 'MERGED'"), "one birth of two babies")
    return "nothing merged"


async def _delete_the_retired_number(ground: Ground) -> str:
    async with ground.system(config=_CONFIG) as running:
        await _certified(running)
        await running.send(_merge(_NUMBER, _OTHER, event="A47"))
        await _all_read(running)
        before = await _akta(running)
        for event in ("A11", "A23", "A29"):
            await running.send(notice(event, sent="20250313081500+0700", segments=("PV1",)))
        await _all_read(running)
        refused(await _akta(running) == before, "a baby without its akta")
    return "noted, nothing else"


def _merge(old: str, new: str, *, event: str = "A40") -> bytes:
    head = f"MSH|^~\\&|SIMRS|RSU CEMPAKA CONTOH|AKTAGW|DISDUKCAPIL 3510|{_LATER}||ADT^{event}|MERGE{event}|P|2.5"
    pid = f"PID|1||{new}^^^RSCEMPAKA^MR||||20250311|M"
    return "\r".join((head, f"EVN|{event}|{_LATER}", pid, f"MRG|{old}^^^RSCEMPAKA^MR", "")).encode()


ATTACKS = (
    Attack("A1", "another mother's baby under the number of a baby with an akta", _use_the_number_again),
    Attack("A2", "a merge whose MRG-1 names another mother's baby", _merge_another_mothers_baby),
    Attack("A3", "deletes of a retired number", _delete_the_retired_number),
)

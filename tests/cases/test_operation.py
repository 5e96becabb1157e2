"""Cases 111 and 112: what is erased in the end, and what a restore must not do twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.config import Retention
from gateway.contract.lifecycle import State
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import IllegalMoveError
from gateway.observe.metrics import Metrics
from gateway.pipeline.cull import cull
from gateway.pipeline.erase import erase
from gateway.pipeline.reconcile import reconcile
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import notice
from tests.simulators.people import persons_in
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from tests.simulators.journey import Journey

# Every table but those of the server itself.
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"


async def people_left(way: Journey) -> set[str]:
    """Return what of the samples' people stands anywhere in the database."""
    found: set[str] = set()
    for (table,) in await way.database.fetch(_TABLES):
        for (row,) in await way.database.fetch(f"SELECT to_jsonb(t)::text FROM {table} t"):  # noqa: S608
            found |= persons_in(row)
        found |= await _in_bytes(way, table)
    return found - {HOSPITAL}


async def _in_bytes(way: Journey, table: str) -> set[str]:
    sql = "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND data_type = 'bytea'"
    found: set[str] = set()
    for (column,) in await way.database.fetch(sql, table):
        for (value,) in await way.database.fetch(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):  # noqa: S608
            found |= persons_in(bytes(value).decode("latin-1"))
    return found


@case(
    111,
    decision="Bodies go by themselves (retention.bodies_days); the record, which corrections need, goes when a person "
    "erases it at the parents' request (procot births erase), not before its time.",
)
async def test_f111_after_its_time_a_family_is_erased_and_the_proofs_stay(way: Journey) -> None:
    """At the parents' request, after retention, nothing is left that names the family; digests and signatures stay."""
    birth = await way.reach(State.DELIVERED)
    assert await people_left(way) != set()
    for table, column in (("messages", "received_at"), ("births", "updated_at")):
        await way.database.fetch(f"UPDATE {table} SET {column} = {column} - interval '91 days'")  # noqa: S608
    await cull(way.database, Retention(pause_s=0), Metrics())
    await erase(way.desk("asked for by the parents"), birth.id)
    assert await people_left(way) == set()
    (seal,) = await way.database.fetch("SELECT sha256, signature, payload FROM seals")
    assert seal["sha256"]
    assert seal["signature"]
    assert seal["payload"] == b""
    (message,) = await way.database.fetch("SELECT digest, content_digest FROM messages")
    assert all(message)
    (issued,) = await way.database.fetch("SELECT number, sha256, child_nik FROM certificates")
    assert (issued["number"], issued["child_nik"]) == ("3510-LU-20032025-9001", "")
    assert issued["sha256"]
    assert await way.state() is State.DELIVERED
    assert (await way.events())[-1]["step"] == "erase"


@case(111)
@pytest.mark.parametrize("state", [State.IN_PROCESS, State.DELIVERED])
async def test_f111_what_is_on_its_way_or_within_its_time_is_not_erased(way: Journey, state: State) -> None:
    """A birth that is not finished, or whose time is not over, is not erased: nothing changes."""
    birth = await way.reach(state)
    before = await way.snapshot()
    with pytest.raises(IllegalMoveError, match="retention"):
        await erase(way.desk("asked for by the parents"), birth.id)
    assert await way.snapshot() == before


@case(112)
async def test_f112_what_the_registry_took_after_the_backup_is_asked_about(way: Journey) -> None:
    """Restored to before the submission: the registry is asked by our id first, and nothing is sent again."""
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    there = Outcome(str(birth.id), 1, RegistryStatus.IN_PROCESS, reference="PRM-1")
    way.registry.cases[f"{birth.id}:1"] = there
    await way.database.fetch("UPDATE births SET ask_first = true")  # what `procot restore` leaves (store.backup)
    await way.work()
    assert await way.state() is State.IN_PROCESS
    assert (len(way.registry.asked), way.registry.submissions) == (1, [])


@case(112)
async def test_f112_what_was_issued_meanwhile_is_learnt_by_comparing(way: Journey) -> None:
    """Restored to before the issue: comparing births with the registry brings the akta in, and it is delivered."""
    birth = await way.reach(State.IN_PROCESS)
    way.registry.cases[f"{birth.id}:1"] = Outcome(
        str(birth.id), 1, RegistryStatus.ISSUED, reference=birth.reference, certificate=certificate()
    )
    await reconcile(way.context)
    await way.work()
    assert await way.state() is State.DELIVERED
    assert len(way.registry.submissions) == 1
    assert await way.count("certificates") == 1

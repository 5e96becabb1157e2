"""Attacks of whoever administers the database on the evidence journal, and on what it speaks of."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import asyncpg

from gateway.evidence.head import FILE
from gateway.pipeline.journal import check
from tests.attack.attack import Attack, Ground, refused
from tests.simulators.facilities import sample
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from tests.simulators.system import System

_CONTROL_ID = "RSC20250311000101"  # of sample 01
_LATER = "ATTACK0001"
_CALM = {"registry": {"require_form": False}}
_PATIENCE_S = 30.0

_REWRITE = """
UPDATE journal SET entry = replace(entry, '"AA"', '"AE"') WHERE position = 0;
UPDATE journal_tiles SET hashes = (
    SELECT string_agg(sha256('\\x00'::bytea || convert_to(entry, 'UTF8')), ''::bytea ORDER BY position) FROM journal)
WHERE level = 0;
"""
_ROLL_BACK = """
DELETE FROM journal WHERE position >= (SELECT size FROM journal_checkpoints ORDER BY size LIMIT 1);
DELETE FROM journal_checkpoints WHERE size > (SELECT min(size) FROM journal_checkpoints);
"""
_APPEND = "INSERT INTO journal (position, entry) SELECT max(position) + 1, '{}' FROM journal"
_FORGE = "UPDATE journal_checkpoints SET root = sha256('x') WHERE size = (SELECT max(size) FROM journal_checkpoints)"
_ANEW = "TRUNCATE journal, journal_checkpoints, journal_tiles; UPDATE journal_log SET id = gen_random_uuid()"


async def _as_administrator(ground: Ground, sql: str) -> None:
    connection = await asyncpg.connect(ground.superuser_dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _sealed(running: System, control_id: str) -> None:
    """Tell of a birth and wait until it is issued and all of it is sealed."""
    message = sample("01") if control_id == _CONTROL_ID else notice(control_id=control_id, record_number="00450122")
    await running.send(message)
    await running.until(control_id, "DELIVERED", patience=_PATIENCE_S)

    async def all_sealed() -> bool:
        (row,) = await running.fetch("SELECT count(*) AS n FROM journal_pending")
        return bool(row["n"] == 0)

    await running.until_true(all_sealed, "everything sealed", patience=_PATIENCE_S)


async def _stopped(running: System) -> str:
    """Wait until /readyz says that the signer stopped; births go on and nothing is signed meanwhile."""
    said: list[str] = []

    async def told() -> bool:
        async with running.request("/readyz") as answer:
            notices = (await answer.json())["notices"]
            refused(answer.status == 200, "births were refused because of the journal")
        said[:] = [notice_ for notice_ in notices if "evidence journal" in notice_]
        return bool(said)

    await running.until_true(told, "the signer stopped", patience=_PATIENCE_S)
    before = await running.fetch("SELECT max(size) AS size FROM journal_checkpoints")
    answer = await running.send(notice(control_id="ATTACK0009", record_number="00450129"))
    refused(b"MSA|CA|" in answer or b"MSA|AA|" in answer, "a birth was refused because of the journal")
    after = await running.fetch("SELECT max(size) AS size FROM journal_checkpoints")
    refused(before == after, "a signature over the rewritten journal")
    return said[0]


async def _change_the_journal(sql: str, ground: Ground) -> str:
    async with ground.system(config=_CALM) as running:
        await _sealed(running, _CONTROL_ID)
        await _sealed(running, _LATER)
        await _as_administrator(ground, sql)
        said = await _stopped(running)
    return said.partition(";")[0]


async def _lose_the_head(ground: Ground) -> str:
    """Delete the head's file while nothing runs, then cut the journal."""
    async with ground.system(config=_CALM) as running:
        await _sealed(running, _CONTROL_ID)
        await _sealed(running, _LATER)
    (ground.directory / "keys" / FILE).unlink()
    await _as_administrator(ground, _ROLL_BACK)
    async with ground.system(config=_CALM) as running:
        said = await _stopped(running)
    return "a signer that lost its head stops" if FILE in said else said


async def _change_a_body(sql: str, place: str, ground: Ground) -> str:
    async with ground.system(config=_CALM) as running:
        await _sealed(running, _CONTROL_ID)
        await _as_administrator(ground, sql)
        keyring = running.gateway.keyring
        found = await check(running.gateway.context.database, keyring.public, keyring=keyring)
        places = [str(one) for one in found.bodies.places]
        refused(any(place in one for one in places), f"{place} changed unnoticed; the check found {places}")
    return next(one for one in places if place in one)


async def _guess_a_number(ground: Ground) -> str:
    """Whoever has receipts tries the few million numbers that an office may give."""
    async with ground.system(config=_CALM) as running:
        await _sealed(running, _CONTROL_ID)
        rows = await running.fetch("SELECT number FROM certificates")
        hits = await running.fetch(
            "SELECT count(*) AS n FROM journal WHERE position($1 IN entry) > 0"
            " OR position(encode(sha256(convert_to($1, 'UTF8')), 'hex') IN entry) > 0",
            rows[0]["number"],
        )
        refused(hits[0]["n"] == 0, "the akta's number by trying")
    return "the number stands under a keyed hash"


ATTACKS = (
    *(
        Attack("E5", f"the database's administrator {name}", partial(_change_the_journal, sql))
        for name, sql in (
            ("rewrites an entry and the tree over it", _REWRITE),
            ("deletes an entry", "DELETE FROM journal WHERE position = 1"),
            ("puts yesterday's journal back", _ROLL_BACK),
            ("appends an entry behind the last checkpoint", _APPEND),
            ("forges the last checkpoint", _FORGE),
            ("begins the journal anew under another name", _ANEW),
        )
    ),
    Attack("E5", "the signer's head is deleted and the journal cut", _lose_the_head),
    *(
        Attack("E5", f"the database's administrator changes {place}", partial(_change_a_body, sql, place))
        for place, sql in (
            (", raw", "UPDATE messages SET raw = replace(encode(raw, 'escape'), 'RIZKI', 'BUDI')::bytea"),
            (", answer", "UPDATE messages SET answer = answer || 'x'"),
            (", payload", "UPDATE seals SET payload = payload || ' '"),
            (", document", "UPDATE certificates SET document = 'another file'"),
            (", number", "UPDATE certificates SET number = '3510-LU-01011990-0001'"),
        )
    ),
    Attack("E5", "guessing an akta's number from its entry", _guess_a_number),
)

"""How long it takes to find one of a million births, by each key and in each list, through the gateway's own code.

    python bench/search.py                      a million births, 200 times each search; writes docs/search.md
    python bench/search.py --births 20000       a look in a minute; writes nothing into docs/

PostgreSQL makes the births itself, in the real tables with their real indexes: messages, revisions, events, seals'
certificates, a few corrected and renumbered ones. Loading skips triggers and foreign keys and waits for no disk; then
comes VACUUM ANALYZE. Each search is a request as the API makes it (web.search, store.views), to a target drawn anew.
The server and its data are removed afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import asyncpg

from gateway import plugins
from gateway.cli import loop
from gateway.contract.facility import FacilityProfile
from gateway.evidence.keys import Keyring
from gateway.observe.logging import configure
from gateway.pipeline.verdict import Judge
from gateway.store import views
from gateway.store.database import Database
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.migrate import migrate
from gateway.store.views import Filter
from gateway.web.search import Search, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = 50
GOAL_MS = 60.0
_CHUNK = 50_000
_SENDER = "RSU CEMPAKA CONTOH"
_FACILITIES, _OFFICES, _NAMES = 50, 30, 4000
_PLAN_LINES, _PLAN_WIDTH = 14, 150
_BLOCK = 64  # of SHA-256, for the keyed hash in SQL
_FIRST = ("SITI", "DEWI", "SRI", "NUR", "RINA", "AYU", "WATI", "ENDANG", "LINA", "MAYA")
_SECOND = ("AMINAH", "LESTARI", "HANDAYANI", "RAHAYU", "SUSANTI", "KUSUMA", "PERTIWI", "ASTUTI", "WULANDARI", "YANTI")

# Every mother has some births: her number is a birth's divided by 1.6. Her NIK has serial 90xx, as all invented ones.
_MOTHER = "(n * 10 / 16)"
_DAY = f"date '1975-01-01' + ({_MOTHER} / 100 % 10957)::int"
_NIK = f"""'3510' || lpad(({_MOTHER} / 1464100 % 99 + 1)::text, 2, '0') || to_char({_DAY}, 'DD')::int + 40
    || to_char({_DAY}, 'MMYY') || '90' || lpad(({_MOTHER} % 100)::text, 2, '0')"""
_BORN = f"to_char({_DAY}, 'YYYY-MM-DD')"
# 1 in 25 births is open, as after five years of a busy regency.
_STATE = """CASE WHEN n % 25 <> 0 THEN (CASE WHEN n % 90 = 1 THEN 'CANCELLED' ELSE 'DELIVERED' END)
    ELSE (ARRAY['AWAIT_FORM', 'AWAIT_FORM', 'HOLD_NAME', 'HOLD_DATA', 'REVIEW', 'IN_PROCESS'])[1 + n / 25 % 6] END"""
_AT = "timestamptz '2021-01-01' + (n::float8 / $1 * 5.8) * interval '365 days'"
_ID = "('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
_RECORD = f"""jsonb_set(jsonb_set(jsonb_set(jsonb_set($3::jsonb, '{{mother,nik}}', to_jsonb({_NIK})),
    '{{mother,born_on}}', to_jsonb({_BORN})), '{{mother,name}}', to_jsonb(m.name)),
    '{{child,medical_record}}', to_jsonb('R' || lpad(n::text, 9, '0')))"""
# ruff: noqa: S608 - constant text throughout; every value is an argument
_STATEMENTS = {
    "births": f"""
        INSERT INTO births (id, facility, medical_record, state, revision, record, mother_key, mother_name_key, born_at,
            deadline, office, missing, priority, leaves_at, restricted, first_message_id, received_at, updated_at)
        SELECT {_ID}, 'RS CONTOH ' || n / 7 % {_FACILITIES}, 'R' || lpad(n::text, 9, '0'), {_STATE}, 1, {_RECORD},
            sha256($5::bytea || sha256($4::bytea || convert_to({_NIK}, 'UTF8'))), m.key, {_AT},
            ({_AT})::date + 60, (3500 + n / 11 % {_OFFICES})::text,
            CASE n / 25 % 6 WHEN 0 THEN ARRAY['reporter', 'witness_1'] WHEN 1 THEN ARRAY['marriage']
                 WHEN 2 THEN ARRAY['name'] ELSE ARRAY[]::text[] END,
            CASE WHEN n % 25 = 0 THEN n % 6 ELSE 5 END, CASE WHEN n % 50 = 0 THEN {_AT} + interval '2 days' END,
            CASE WHEN n % 500 = 7 THEN 'vip' END, n, {_AT}, {_AT} + (n % 97) * interval '1 hour'
        FROM generate_series($2::bigint, $6::bigint) AS n JOIN mothers m ON m.number = {_MOTHER} % {_NAMES}""",
    "messages": f"""
        INSERT INTO messages (id, facility, application, control_id, event, peer, raw, digest, content_digest, answer,
            answer_code, effect, medical_record, findings, birth_id, assigned_at, received_at)
        OVERRIDING SYSTEM VALUE
        SELECT n, 'RS CONTOH ' || n / 7 % {_FACILITIES}, 'SIMRS', 'C' || lpad(n::text, 12, '0'), 'ADT^A01', '127.0.0.1',
            $3::bytea, sha256(int8send(n)), sha256(int8send(n)), $4::bytea, 'AA', 'open',
            'R' || lpad(n::text, 9, '0'), '[]', {_ID}, {_AT}, {_AT}
        FROM generate_series($2::bigint, $5::bigint) AS n""",
    "revisions": """
        INSERT INTO revisions (birth_id, revision, message_id, actor, record, changed, at)
        SELECT id, 1, first_message_id, 'hospital', record, '{}', received_at FROM births
        WHERE first_message_id BETWEEN $1 AND $2""",
    "events": """
        INSERT INTO events (birth_id, at, actor, step, from_state, to_state, reason)
        SELECT b.id, b.received_at + s.hour * interval '1 hour', 'gateway', s.step, s.before, s.after, s.step
        FROM births b CROSS JOIN (VALUES (1, 'assign', NULL, 'RECEIVED'), (2, 'check', 'RECEIVED', 'READY'),
            (3, 'submit', 'READY', 'IN_PROCESS'), (4, 'settle', 'IN_PROCESS', 'ISSUED'))
            AS s (hour, step, before, after)
        WHERE b.first_message_id BETWEEN $1 AND $2""",
    "certificates": """
        INSERT INTO certificates (birth_id, revision, number, child_nik, family_card, issued_at, sha256, document_url,
            settled_at)
        SELECT id, 1, office || '-LU-' || to_char(received_at, 'DDMMYYYY') || '-' || lpad((n % 1000000)::text, 6, '0'),
            '3510' || lpad(n::text, 8, '0') || '9' || lpad((n % 1000)::text, 3, '0'),
            '3510161405189001', received_at, encode(sha256(int8send(n)), 'hex'), '', received_at
        FROM (SELECT *, first_message_id AS n FROM births) AS b
        WHERE state = 'DELIVERED' AND n BETWEEN $1 AND $2""",
    "earlier": """
        INSERT INTO earlier_certificates (birth_id, revision, number, child_nik, family_card, issued_at, sha256,
            document_url, registered, settled_at)
        SELECT birth_id, 1, 'OLD-' || number, child_nik, family_card, issued_at, sha256, '', '{}', settled_at
        FROM certificates WHERE hashtext(number) % 200 = 0 AND birth_id IN (
            SELECT id FROM births WHERE first_message_id BETWEEN $1 AND $2)""",
    "aliases": """
        INSERT INTO aliases (facility, old, new, message_id)
        SELECT facility, 'OLD' || medical_record, medical_record, first_message_id FROM births
        WHERE first_message_id % 100 = 3 AND first_message_id BETWEEN $1 AND $2""",
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ filling


def _names() -> list[str]:
    """Return names, each but the first ones with a third word of its own."""
    pairs = [f"{first} {second}" for first in _FIRST for second in _SECOND]
    thirds = ["", *(f" {a}{b}A" for a in ascii_uppercase for b in ascii_uppercase)]
    return [pairs[n % len(pairs)] + thirds[n // len(pairs)] for n in range(_NAMES)]


async def fill(dsn: str, births: int, keyring: Keyring, key: bytes, record: dict[str, Any]) -> None:
    """Put so many births into the migrated database, by its superuser."""
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(_BLOCK, b"\0")) for pad in (0x36, 0x5C))
    connection = await asyncpg.connect(dsn, command_timeout=3600)
    try:
        await connection.execute("SET synchronous_commit = off; SET session_replication_role = replica; SET jit = off")
        await connection.execute("CREATE TEMP TABLE mothers (number bigint PRIMARY KEY, name text, key bytea)")
        rows = [(number, name, named(name, keyring)) for number, name in enumerate(_names())]
        await connection.copy_records_to_table("mothers", records=rows)
        raw, answer = b"MSH|^~\\&|SIMRS|RS\r" + b"X" * 1800, b"MSH|^~\\&|AKTAGW|D\rMSA|AA|1\r"
        for first in range(1, births + 1, _CHUNK):
            last = min(births, first + _CHUNK - 1)
            await connection.execute(_STATEMENTS["births"], births, first, json.dumps(record), inner, outer, last)
            await connection.execute(_STATEMENTS["messages"], births, first, raw, answer, last)
            for name in ("revisions", "events", "certificates", "earlier", "aliases"):
                await connection.execute(_STATEMENTS[name], first, last)
        for table in ("births", "messages", "revisions", "events", "certificates", "earlier_certificates", "aliases"):
            await connection.execute(f"VACUUM (ANALYZE) {table}")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


# ----------------------------------------------------------------------------------------------------------- searches


class Town:
    """What is there to be looked for: the numbers PostgreSQL made, computed again from a birth's own."""

    def __init__(self, rows: list[asyncpg.Record], keyring: Keyring) -> None:
        self.rows = rows
        self.keyring = keyring
        self.dice = random.Random(7)  # noqa: S311 - the same targets in every run

    def one(self, **having: Any) -> asyncpg.Record:  # noqa: ANN401 - columns
        """Return a birth of the sample with these values."""
        while True:
            row = self.dice.choice(self.rows)
            if all(row[name] == value for name, value in having.items()):
                return row

    def office(self) -> str:
        """Return one of the offices."""
        return str(3500 + self.dice.randrange(_OFFICES))

    def facility(self) -> str:
        """Return one of the facilities."""
        return f"RS CONTOH {self.dice.randrange(_FACILITIES)}"

    def search(self, **wish: Any) -> Filter:  # noqa: ANN401 - keys of a search
        """Return the filter of a search by an operator."""
        return Search.model_validate(wish).filter(None, self.keyring)


def searches(town: Town, last: dt.datetime) -> dict[str, Callable[[], Filter]]:
    """Return each search by its name: a filter with a target of its own, every time it is asked for."""
    one, search = town.one, town.search
    office, facility, anybody = town.office, town.facility, Filter(restricted=True)
    return {
        "NIK of the mother (keyed hash)": lambda: search(mother_nik=one()["nik"]),
        "mother: whole name (keyed hash)": lambda: search(mother_name=one()["name"]),
        "mother: a word of her name, day of birth": lambda: _by_word(search, one()),
        "NIK of the child": lambda: search(child_nik=one(state="DELIVERED")["child_nik"]),
        "record number": lambda: search(mrn=one()["medical_record"]),
        "record number and facility": lambda: _by_number(search, one()),
        "record number that was given up": lambda: search(mrn=f"OLD{one(renumbered=True)['medical_record']}"),
        "control id": lambda: search(control_id=one()["control_id"]),
        "certificate": lambda: search(certificate=one(state="DELIVERED")["number"]),
        "list: all, the longest unchanged first": lambda: anybody,
        "list: state": lambda: replace(anybody, state=town.dice.choice(("REVIEW", "HOLD_NAME", "DELIVERED"))),
        "list: a facility's": lambda: replace(anybody, scope=facility()),
        "list: a facility's, one state": lambda: replace(anybody, scope=facility(), state="AWAIT_FORM"),
        "list: an office's": lambda: replace(anybody, office=office()),
        "list: an office's, one state": lambda: replace(anybody, office=office(), state="REVIEW"),
        "list: missing": lambda: replace(anybody, missing=town.dice.choice(("name", "reporter", "marriage"))),
        "list: missing, of an office": lambda: replace(anybody, missing="reporter", office=office()),
        "list: missing, most urgent first": lambda: replace(anybody, missing="reporter", office=office(), urgent=True),
        "list: deadline, one state": lambda: replace(anybody, before=last.date(), state="AWAIT_FORM"),
        "list: changed since": lambda: replace(anybody, since=last - dt.timedelta(days=town.dice.randrange(1, 30))),
        "list: all that is open, by urgency": lambda: replace(anybody, urgent=True),
        "list: an office's, by urgency": lambda: replace(anybody, office=office(), state="AWAIT_FORM", urgent=True),
    }  # fmt: skip


def _by_word(search: Callable[..., Filter], row: asyncpg.Record) -> Filter:
    return search(mother_name=row["name"].split()[0], mother_born_on=row["born_on"])


def _by_number(search: Callable[..., Filter], row: asyncpg.Record) -> Filter:
    return search(mrn=row["medical_record"], facility=row["facility"])


async def measured(database: Database, make: Callable[[], Filter], times: int) -> dict[str, Any]:
    """Ask so many times and return what it took in ms; every fifth list also turns to its third page."""
    walls, found, pages = [], 0, []
    for number in range(times):
        wanted = make()
        began = time.perf_counter()
        items, cursor = await views.births(database, wanted, cursor=None, limit=PAGE)
        walls.append((time.perf_counter() - began) * 1000)
        found += len(items)
        for _ in range(2 if cursor and number % 5 == 0 else 0):
            began = time.perf_counter()
            _, cursor = await views.births(database, wanted, cursor=cursor, limit=PAGE)
            pages.append((time.perf_counter() - began) * 1000)
            if cursor is None:
                break
    return {
        "times": times, "found": round(found / times, 1), "p50_ms": _quantile(walls, 0.5),
        "p95_ms": _quantile(walls, 0.95), "max_ms": round(max(walls), 1),
        "next_page_p95_ms": _quantile(pages, 0.95) if pages else None,
    }  # fmt: skip


def _quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


async def plan(database: Database, wanted: Filter) -> tuple[list[str], float]:
    """Return the plan of a search, trimmed, and the time PostgreSQL itself took for it, in ms: the middle of five."""
    sql, arguments = views.statement(wanted, views.URGENT if wanted.urgent else views.OLDEST, cursor=None, limit=PAGE)
    took, lines = [], list[str]()
    for _ in range(5):
        async with database.transaction() as connection:
            await connection.execute(views.AS_ASKED)
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {sql}", *arguments)
        lines = [row[0] for row in rows]
        took.append(float(next(line for line in lines if line.startswith("Execution Time")).split()[2]))
    kept = [_trimmed(line) for line in lines if not line.strip().startswith(("Planning", "Execution", "Settings"))]
    kept = [line for line in kept if "Memory" not in line and not line.strip().startswith("Buffers: shared hit=0")]
    return [*kept[:_PLAN_LINES], *(["…"] if len(kept) > _PLAN_LINES else [])], statistics.median(took)


def _trimmed(line: str) -> str:
    return line if len(line) <= _PLAN_WIDTH else line[: _PLAN_WIDTH - 1] + "…"


# ---------------------------------------------------------------------------------------------------------------- run


async def run(births: int, times: int) -> dict[str, Any]:
    """Fill, measure, remove; return the figures."""
    directory = Path(tempfile.mkdtemp(prefix="procot-search-"))
    server = EmbeddedPostgres(directory / "postgres")
    try:
        keyring = Keyring(directory / "keys")
        keyring.open()
        dsn = await server.start()
        connection = await asyncpg.connect(dsn)
        await migrate(connection)
        await connection.close()
        began = time.monotonic()
        key = (directory / "keys" / "index.key").read_bytes()
        await fill(server.superuser_dsn.replace("/postgres?", "/procot?"), births, keyring, key, sample())
        print(f"{births:,} births stored in {time.monotonic() - began:.0f} s", flush=True)
        database = Database(dsn, size=2, timeout_s=60)
        await database.open()
        try:
            return await _all(database, keyring, births, times)
        finally:
            await database.close()
    finally:
        await server.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _all(database: Database, keyring: Keyring, births: int, times: int) -> dict[str, Any]:
    rows = await database.fetch(
        """SELECT b.medical_record, b.facility, b.state, b.record #>> '{mother,nik}' AS nik,
                  b.record #>> '{mother,name}' AS name, b.record #>> '{mother,born_on}' AS born_on, m.control_id,
                  c.number, c.child_nik, b.first_message_id % 100 = 3 AS renumbered
           FROM births b JOIN messages m ON m.id = b.first_message_id LEFT JOIN certificates c ON c.birth_id = b.id
           WHERE b.first_message_id = ANY($1)""",
        random.Random(3).sample(range(1, births + 1), min(births, 5000)),  # noqa: S311 - the same ones in every run
    )
    newest = await database.fetchrow(
        "SELECT max(updated_at) AS at, pg_database_size(current_database()) AS bytes FROM births"
    )
    assert newest is not None  # noqa: S101 - a SELECT of aggregates has one row
    town = Town(rows, keyring)
    found: dict[str, Any] = {}
    for name, make in searches(town, newest["at"]).items():
        await measured(database, make, 10)
        figures = await measured(database, make, times)
        lines, server_ms = await plan(database, make())
        found[name] = {**figures, "server_ms": round(server_ms, 2), "plan": lines}
        words = (f"{key} {figures[f'{key}_ms']:8.2f}" for key in ("p50", "p95"))
        print(f"{name:45}", *words, f"found {figures['found']:5}  PostgreSQL {server_ms:8.2f} ms", flush=True)
    sizes = await database.fetch(
        """SELECT relname AS name, pg_relation_size(oid) AS bytes FROM pg_class WHERE relkind = 'i'
           AND relname IN ('revisions_mother_born', 'certificates_child', 'earlier_certificates_number',
                           'births_waiting_office', 'births_waiting_facility')"""
    )
    return {
        "births": births, "database_bytes": newest["bytes"], "searches": found,
        "indexes": {row["name"]: row["bytes"] for row in sizes},
    }  # fmt: skip


def sample() -> dict[str, Any]:
    """Return the record of an invented birth, as the load client's message leaves it."""
    raw = (ROOT / "tests/vectors/load_birth_a01_v25.hl7").read_bytes().replace(b"\n", b"\r")
    judge = Judge(
        facilities={_SENDER: FacilityProfile(code=_SENDER, region="3510")},
        hospitals={"baseline": plugins.hospital("baseline")},
        clock=lambda: dt.datetime(2026, 11, 24, tzinfo=dt.UTC),
        test_messages="accept",
        require_form=True,
        segment_limit=2000,
    )
    draft = judge.evaluate(raw, peer="127.0.0.1").draft
    assert draft is not None  # noqa: S101 - a vector of ours
    assert draft.record is not None  # noqa: S101
    made: dict[str, Any] = draft.record.model_dump(mode="json")
    return made


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--births", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=200)
    options = parser.parse_args()
    configure(level="error")
    began, load = dt.datetime.now(dt.UTC), os.getloadavg()[0]
    result = loop.run(run(options.births, options.times))
    stamp = f"{began:%Y-%m-%dT%H%M%SZ}"
    result |= {
        "at": stamp, "load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1), "cores": os.cpu_count(),
        "machine": platform.platform(), "goal_p95_ms": GOAL_MS,
    }  # fmt: skip
    if options.births < 1_000_000:  # noqa: PLR2004 - what the figures are for
        print("fewer than a million: nothing was written")
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"search-{stamp}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    import search_page  # noqa: PLC0415 - only where it writes

    search_page.write(result)


if __name__ == "__main__":
    main()

"""The ledger: what the senders were promised against what registry and hospital hold in records of their own.

The gateway's tables are read for what only it can know: which birth is whose, and whether a step was written twice.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from tests.chaos.quiet import MOVING
from tests.chaos.victims import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.senders import Promises
    from tests.chaos.town import Town

_SIXTEEN = re.compile(rb"(?<!\d)\d{16}(?!\d)")
_WORD = re.compile(rb"(?<![\w-])[A-Z]{4,}(?![\w-])")
_NUMBER = re.compile(rb"\d{4}-L[A-Z]-\d{8}-\d{4,}")
_PLACES = {b"BANYUWANGI", b"CEMPAKA", b"CONTOH", b"DISDUKCAPIL", b"SIMRS"}
_TRACE_LINES = 60
# A step writes these once; a second one is a second worker's, or an outcome that was applied again.
_TWICE = """
SELECT birth_id, reason, count(*) AS n FROM events
WHERE reason = 'certificate issued' OR reason LIKE '% accepted'
GROUP BY birth_id, reason, detail ->> 'control_id' HAVING count(*) > 1
"""


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not be, of which birth (control id)."""

    rule: str
    control_id: str = ""


@dataclass(slots=True)
class Ledger:
    """What was found."""

    violations: list[Violation] = field(default_factory=list)
    births: Counter[str] = field(default_factory=Counter)  # by state
    cases: int = 0
    certificates: int = 0
    letters: int = 0
    journal: int = 0  # entries

    def broken(self, rule: str, control_id: str = "") -> None:
        """Write down a violation."""
        self.violations.append(Violation(rule, control_id))


@dataclass(frozen=True, slots=True)
class _Case:
    control_id: str
    status: str
    number: str


async def balance(town: Town, promises: Promises) -> Ledger:
    """Compare promises and records."""
    ledger = Ledger()
    cases = _cases(town.directory / "registry" / "registry.sqlite3")
    letters = _letters(town.directory / "inbox")
    connection = await asyncpg.connect(town.dsn)
    try:
        states = await _states(connection)
        await _own_books(connection, ledger, promises)
    finally:
        await connection.close()
    ledger.births.update(state for state, _ in states.values())
    _registry(ledger, promises, cases)
    for control_id in promises.acknowledged:
        _birth(ledger, promises, control_id, states.get(control_id), (cases[control_id], letters))
    for key in town.wire.unasked:
        ledger.broken(f"sent to the registry again without asking: {key}")
    for control_id in promises.differing:
        ledger.broken("the same bytes got another answer", control_id)
    _logs(ledger, town, promises)
    await _journal(ledger, town)
    ledger.letters = sum(len(found) for found in letters.values())
    return ledger


def _cases(file: Path) -> dict[str, list[_Case]]:
    """Read the registry's own records: cases by the number of the hospital's letter, which holds the control id."""
    found: dict[str, list[_Case]] = defaultdict(list)
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        for status, number, payload in database.execute("SELECT status, number, payload FROM cases"):
            control_id = str(json.loads(payload)["faskes"].get("no_skl", "")).rpartition("/")[2]
            found[control_id].append(_Case(control_id, status, number or ""))
    return found


def _letters(inbox: Path) -> dict[str, list[bytes]]:
    """Read the hospital's inbox: its MDM^T02 by the baby's record number."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for path in sorted(inbox.glob("*MDM_T02*.hl7")):
        raw = path.read_bytes()
        found[_medical_record(raw)].append(raw)
    return found


def _medical_record(message: bytes) -> str:
    for segment in message.split(b"\r"):
        if segment.startswith(b"PID|"):
            return segment.split(b"|")[3].split(b"^")[0].decode("ascii", "replace")
    return ""


async def _states(connection: asyncpg.Connection) -> dict[str, tuple[str, list[str]]]:
    rows = await connection.fetch(
        """SELECT m.control_id, b.state, ARRAY(SELECT e.reason FROM events e WHERE e.birth_id = b.id) AS reasons
           FROM births b JOIN messages m ON m.id = b.first_message_id"""
    )
    return {r["control_id"]: (r["state"], r["reasons"]) for r in rows}


async def _own_books(connection: asyncpg.Connection, ledger: Ledger, promises: Promises) -> None:
    owners = await connection.fetch(
        """SELECT b.id, m.control_id FROM births b JOIN messages m ON m.id = b.first_message_id"""
    )
    control_ids = {r["id"]: r["control_id"] for r in owners}
    for control_id in control_ids.values():
        if control_id not in promises.sent:
            ledger.broken("a birth that nobody sent", control_id)
    for row in await connection.fetch(_TWICE):
        ledger.broken(f"written {row['n']} times: {row['reason']}", control_ids.get(row["birth_id"], ""))
    orphans = await connection.fetchval(
        """SELECT count(*) FROM tasks t WHERE birth_id IS NULL AND message_id IS NULL AND outbound_id IS NULL
           OR birth_id IS NOT NULL AND NOT EXISTS (SELECT FROM births b WHERE b.id = t.birth_id)"""
    )
    if orphans:
        ledger.broken(f"{orphans} tasks without a birth or message")


def _registry(ledger: Ledger, promises: Promises, cases: dict[str, list[_Case]]) -> None:
    numbers: Counter[str] = Counter()
    for control_id, several in cases.items():
        ledger.cases += len(several)
        numbers.update(case.number for case in several if case.number)
        if control_id not in promises.sent:
            ledger.broken("the registry has a case that nobody sent", control_id)
        if len(several) > 1:
            ledger.broken(f"the registry has {len(several)} cases of one birth", control_id)
    ledger.certificates = len(numbers)
    for number, count in numbers.items():
        if count > 1:
            ledger.broken(f"{count} cases with the number {number}")


def _birth(
    ledger: Ledger,
    promises: Promises,
    control_id: str,
    known: tuple[str, list[str]] | None,
    records: tuple[list[_Case], dict[str, list[bytes]]],
) -> None:
    """Follow one acknowledged birth to its end."""
    cases, letters = records
    if known is None:
        ledger.broken("acknowledged and lost", control_id)
        return
    state, reasons = known
    told = letters.get(_medical_record(promises.sent[control_id].message), [])
    numbers = {number for letter in told for number in _NUMBER.findall(letter)}
    issued = {case.number.encode() for case in cases if case.number}
    if state in MOVING:
        ledger.broken(f"still {state}", control_id)
    elif state == "DELIVERED" or issued:
        if len(issued) != 1:
            ledger.broken(f"{state}, and the registry issued {len(issued)} certificates", control_id)
        elif not told:
            ledger.broken("issued, and the hospital was not told", control_id)
        elif numbers != issued:
            ledger.broken(f"the hospital was told {len(numbers)} numbers, not the one issued", control_id)
    else:
        if told:
            ledger.broken(f"{state}, and the hospital has a certificate", control_id)
        if not any(reasons):
            ledger.broken(f"{state} without a reason", control_id)
    if any(case.status == "DITOLAK" for case in cases) and state != "REFUSED":
        ledger.broken(f"rejected by the registry, and {state} here", control_id)


def _logs(ledger: Ledger, town: Town, promises: Promises) -> None:
    """Look for the senders' people in what every process wrote."""
    people = _people(promises)
    for log in sorted(town.directory.glob("*.out")):
        text = log.read_bytes()
        if found := (set(_SIXTEEN.findall(text)) | set(_WORD.findall(text))) & people:
            ledger.broken(f"{len(found)} names or numbers of people in {log.name}")


async def _journal(ledger: Ledger, town: Town) -> None:
    """Let the gateway's own command check every entry, root and signature, and that nothing kept is missing there."""
    command = [sys.executable, "-m", "gateway.cli", "evidence", "check", "--json", "--config", str(town.config)]
    run = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False, capture_output=True, text=True)
    try:
        found = json.loads(run.stdout)
    except ValueError:
        ledger.broken(f"the journal could not be checked: {run.stderr.strip().rpartition(chr(10))[2]}")
        return
    ledger.journal = found["entries"]
    for problem in found["problems"]:
        ledger.broken(f"the journal: {problem}")


def _people(promises: Promises) -> set[bytes]:
    found: set[bytes] = set()
    for birth in promises.sent.values():
        found.update(_SIXTEEN.findall(birth.message))
        for segment in birth.message.split(b"\r"):
            fields = segment.split(b"|")
            if fields[0] in (b"PID", b"NK1"):
                found.update(_WORD.findall(fields[5 if fields[0] == b"PID" else 2]))
    return found - _PLACES


async def trace(town: Town, control_id: str) -> str:
    """Return a birth's whole way: events, tasks, attempts, letters, and the log lines that bear its id."""
    connection = await asyncpg.connect(town.dsn)
    try:
        found = await connection.fetchrow(
            "SELECT id, birth_id, answer_code, received_at FROM messages WHERE control_id = $1", control_id
        )
        if found is None:
            return f"{control_id}: no such message in the store"
        lines = [f"{control_id}: message {found['id']} of {found['received_at']}, answered {found['answer_code']}"]
        for table, columns in _TRACED.items():
            where = "id" if table == "births" else "birth_id"
            sql = f"SELECT {columns} FROM {table} WHERE {where} = $1 ORDER BY 1"  # noqa: S608 - the constants below
            rows = await connection.fetch(sql, found["birth_id"])
            lines += [f"  {table}: " + " ".join(str(value) for value in row.values()) for row in rows]
    finally:
        await connection.close()
    return "\n".join((*lines, *_log_lines(town, control_id, found)))


_TRACED = {
    "births": "state, revision, submitted, reference",
    "events": "at, actor, step, from_state, to_state, reason, detail",
    "attempts": "started_at, finished_at, result",
    "outbound": "kind, control_id, made_at, accepted_at, answer_code",
    "tasks": "kind, due_at, attempts, failures, lease, last_error",
}


def _log_lines(town: Town, control_id: str, message: Any) -> list[str]:
    marks = (control_id, f'"message_id": {message["id"]},', str(message["birth_id"] or control_id))
    lines = []
    for log in sorted(town.directory.glob("gateway*.out")):
        text = log.read_text(encoding="utf-8", errors="replace")
        lines += [f"  {log.stem}: {line}" for line in text.splitlines() if any(mark in line for mark in marks)]
    return lines[:_TRACE_LINES]

"""Bodies against the journal: every message, answer, sealed record, certificate and scan hashed again, and told apart.

What does not fit is named by its place (table, id, column), never by its content. What retention and erasures removed
is counted: their digests still are the journal's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.errors import KeyMissingError
from gateway.store import bodies as store

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from gateway.evidence.keys import Keyring
    from gateway.store.database import Connection

MOST = 100  # places named a table; the rest is counted
_STEP = 2000  # messages a page
_SCANS = 50  # scans a page: they are large


@dataclass(frozen=True, slots=True)
class Difference:
    """One place that is not what the journal tells. `entry` is the position of the entry it contradicts, if any."""

    table: str
    id: str
    column: str
    problem: str
    entry: int | None = None

    def __str__(self) -> str:
        behind = f" (entry {self.entry})" if self.entry is not None else ""
        return f"{self.table} {self.id}, {self.column}: {self.problem}{behind}"


@dataclass(slots=True)
class Bodies:
    """What was found: places, at most MOST a table, how many there are in all, and what was looked at."""

    places: list[Difference] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)  # a table
    hashed: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)  # by retention, an erasure, or never here
    unchecked: list[str] = field(default_factory=list)  # what could not be looked at, in sentences

    def add(self, difference: Difference, *, count: int = 1) -> None:
        """Note a place."""
        table = difference.table
        self.found[table] = self.found.get(table, 0) + count
        if sum(place.table == table for place in self.places) < MOST:
            self.places.append(difference)

    def looked(self, table: str, count: int, removed: int = 0) -> None:
        """Count what was hashed, and what was not there to be."""
        self.hashed[table] = self.hashed.get(table, 0) + count - removed
        self.removed[table] = self.removed.get(table, 0) + removed

    @property
    def problems(self) -> list[str]:
        """One sentence a table, with the first place."""
        first = {place.table: place for place in reversed(self.places)}
        return [
            f"{count} {'place' if count == 1 else 'places'} in {table} not as the journal tells; "
            f"the first: {first[table]}"
            for table, count in self.found.items()
        ]

    def told(self) -> list[dict[str, Any]]:
        """Return the places for machines."""
        return [asdict(place) for place in self.places]


async def compare(connection: Connection, keyring: Keyring | None, progress: Callable[[str, int, int], None]) -> Bodies:
    """Hash all bodies in the caller's snapshot. `keyring` has the key of numbers; without it they are not compared.

    `progress` is told the table, rows done and rows there are (0: not known). Raises StoreUnavailableError.
    """
    found = Bodies()
    await _messages(connection, found, progress)
    await _seals(connection, found, progress)
    for table in ("certificates", "earlier_certificates"):
        await _certificates(connection, table, found, keyring, progress)
    await _attachments(connection, found, progress)
    for table in store.GONE:
        await _gone(connection, table, found)
    return found


# ---------------------------------------------------------------------------------------------------------- messages


async def _messages(connection: Connection, found: Bodies, progress: Callable[[str, int, int], None]) -> None:
    first, last = await store.span(connection, "messages")
    for after in range(first, last, _STEP):
        for row in await store.odd_messages(connection, after, after + _STEP):
            await _message(connection, row, found)
        progress("messages", min(after + _STEP, last) - first, last - first)
    found.looked("messages", last - first, await store.removed_messages(connection))


async def _message(connection: Connection, row: asyncpg.Record, found: Bodies) -> None:
    """Say which column of a message is not what its entry tells."""
    key = str(row["id"])

    def place(column: str, problem: str, entry: int | None = None) -> None:
        found.add(Difference("messages", key, column, problem, entry))

    if row["removed"] and row["young"]:
        place("culled_at", f"its body was removed before its time of {store.KEPT_DAYS} days")
    if not row["removed"] and not row["whole"]:
        known = await store.digest_known(connection, "messages", row["id"])
        column = "raw" if known is None else "digest"
        place(column, "raw and digest are not of the same bytes; the message was changed", known)
    if row["told"] or row["waits"]:
        return
    entries = [(e["position"], _read(e["entry"])) for e in await store.entries_about(connection, row)]
    said = [(position, entry) for position, entry in entries if entry.get("kind") == "message"]
    if not said:
        place("digest", "no entry tells of these bytes from this facility")
        return
    position, entry = min(said, key=lambda one: len(_differing(row, one[1])))
    for column in _differing(row, entry) or ["answer"]:
        place(column, "is not what its entry tells", position)


def _differing(row: asyncpg.Record, entry: dict[str, Any]) -> list[str]:
    """Return the columns of a message in which an entry tells something else."""
    columns = {"answer": "answer", "answer_code": "answer_code", "application_answer": "application_answer"}
    columns |= {} if row["removed"] else {"at": "received_at"}
    return [column for member, column in columns.items() if row[member] != entry.get(member)]


def _read(text: str) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


# ------------------------------------------------------------------------------------- records, certificates, scans


async def _seals(connection: Connection, found: Bodies, progress: Callable[[str, int, int], None]) -> None:
    done = 0
    async for rows in store.seals(connection):
        for row in rows:
            key = f"{row['birth_id']}/{row['revision']}"
            if row["removed"] and row["young"]:
                found.add(Difference("seals", key, "payload", "is empty, and the birth was not erased"))
            elif not row["removed"] and not row["whole"]:
                column = "payload" if row["told"] else "sha256"
                found.add(Difference("seals", key, column, "payload and sha256 are not of the same bytes"))
            elif not (row["told"] or row["waits"] or row["before"]):
                found.add(Difference("seals", key, "payload", "no entry tells of these bytes"))
        done += len(rows)
        found.looked("seals", len(rows), sum(row["removed"] for row in rows))
        progress("seals", done, 0)


async def _certificates(
    connection: Connection,
    table: str,
    found: Bodies,
    keyring: Keyring | None,
    progress: Callable[[str, int, int], None],
) -> None:
    done = 0
    async for rows in store.certificates(connection, table):
        for row in rows:
            _certificate(row, table, found, keyring)
        done += len(rows)
        found.looked(table, len(rows), sum(row["removed"] for row in rows))
        progress(table, done, 0)


def _certificate(row: asyncpg.Record, table: str, found: Bodies, keyring: Keyring | None) -> None:
    key = str(row["birth_id"])
    if row["whole"] is False:
        found.add(Difference(table, key, "document", "is not the file whose SHA-256 the registry told"))
    entries = [_read(entry) for entry in row["entries"]]
    if not entries:
        if not (row["waits"] or row["before"]):
            found.add(Difference(table, key, "sha256", "no entry tells that it was issued to this birth"))
        return
    said = [_same_number(row["number"], entry, keyring) for entry in entries]
    if None in said and not any(said):
        note = "numbers of certificates: the key under which they stand in the journal is not here (index.key)"
        found.unchecked += [] if note in found.unchecked else [note]
    elif not any(said):
        found.add(Difference(table, key, "number", "is not the number that was issued"))
    elif row["revision"] not in [entry.get("revision") for entry in entries]:
        found.add(Difference(table, key, "revision", "is not the revision it was issued for"))


def _same_number(number: str, entry: dict[str, Any], keyring: Keyring | None) -> bool | None:
    """Compare a number with what an entry tells of it; None where its key is another one.

    Entries of before there was a keyed hash have the SHA-256 alone (`number`).
    """
    digest = hashlib.sha256(number.encode()).digest()
    if "number" in entry:
        return bool(entry["number"] == digest.hex())
    try:
        if keyring is None or entry.get("number_key") != keyring.number_key_id:
            return None
        return bool(entry.get("number_hmac") == keyring.number(digest).hex())
    except KeyMissingError:
        return None


async def _attachments(connection: Connection, found: Bodies, progress: Callable[[str, int, int], None]) -> None:
    first, last = await store.span(connection, "attachments")
    since = await store.scans_begin(connection)
    for after in range(first, last, _SCANS):
        rows = await store.attachments(connection, after, after + _SCANS, since=since)
        for row in rows:
            _attachment(row, found)
        found.looked("attachments", len(rows), sum(row["removed"] for row in rows))
        progress("attachments", min(after + _SCANS, last) - first, last - first)


def _attachment(row: asyncpg.Record, found: Bodies) -> None:
    def place(column: str, problem: str) -> None:
        found.add(Difference("attachments", str(row["id"]), column, problem))

    if row["removed"]:
        if row["told"] and row["young"]:
            place("content", "was taken away before its time")
    elif not row["whole"]:
        place("sha256" if row["known"] else "content", "content, size and sha256 are not of the same scan")
    elif row["late"] and not (row["told"] or row["waits"]):
        place("content", "no entry tells of this scan")


async def _gone(connection: Connection, table: str, found: Bodies) -> None:
    count, rows = await store.gone(connection, table, most=MOST)
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        difference = Difference(table, str(row["what"]), "row", "an entry tells of it, and it is gone", row["position"])
        found.add(difference, count=count - number if last else 1)

"""The registry's memory: one SQLite file. What was answered is in it before it was answered; kill -9 loses nothing.

SQLite enforces what must not happen: one case for an id and revision, no number twice. Write-ahead log with
synchronous=NORMAL: a killed process loses no commit, and two hundred births a second need no fsync each.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id_kasus TEXT NOT NULL, revisi INTEGER NOT NULL,
    digest BLOB NOT NULL, payload TEXT NOT NULL, answer TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL, received_at TEXT NOT NULL,
    due REAL, verdict TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '', text TEXT NOT NULL DEFAULT '',
    number TEXT UNIQUE, child_nik TEXT UNIQUE, family_card TEXT, issued_at TEXT, sha256 TEXT, document BLOB,
    UNIQUE (id_kasus, revisi)
);
CREATE INDEX IF NOT EXISTS cases_due ON cases (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS callbacks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, case_no INTEGER NOT NULL REFERENCES cases (no),
    body BLOB NOT NULL, tries INTEGER NOT NULL DEFAULT 0, due REAL
);
CREATE INDEX IF NOT EXISTS callbacks_due ON callbacks (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS earlier_keys (
    id_kasus TEXT NOT NULL, revisi INTEGER NOT NULL, case_no INTEGER NOT NULL REFERENCES cases (no),
    digest BLOB NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (id_kasus, revisi)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS acts (
    no INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, case_no INTEGER NOT NULL REFERENCES cases (no),
    kind TEXT NOT NULL, digest BLOB NOT NULL, body TEXT NOT NULL, answer TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'DITERIMA', code TEXT NOT NULL DEFAULT '', due REAL
);
CREATE INDEX IF NOT EXISTS acts_due ON acts (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS acts_case ON acts (case_no, no);
CREATE TABLE IF NOT EXISTS files (
    sha256 TEXT NOT NULL, case_no INTEGER NOT NULL REFERENCES cases (no), content BLOB NOT NULL,
    PRIMARY KEY (case_no, sha256)
);
CREATE TABLE IF NOT EXISTS spellings (case_no INTEGER PRIMARY KEY REFERENCES cases (no), name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = (
    "no, id_kasus, revisi, digest, payload, answer, status, received_at, due, verdict, code, text, "
    "number, child_nik, family_card, issued_at, sha256"
)
FINAL = frozenset({"TERBIT", "DITOLAK", "DIBATALKAN", "DIBETULKAN", "DICABUT"})
# There is, or was, a certificate: no other application for this birth.
CERTIFIED = frozenset({"TERBIT", "DIBETULKAN", "DICABUT"})
# Waiting for the hospital or over: a newer revision may take its place.
_REPLACEABLE = frozenset({"PERLU_PERBAIKAN", "DITOLAK", "DIBATALKAN"})


@dataclass(frozen=True, slots=True, repr=False)
class Case:
    """One submission and how far the office is with it. `payload` is people's data: it is never printed."""

    no: int
    case_id: str
    revision: int
    digest: bytes
    payload: str
    answer: str
    status: str
    received_at: str
    due: float | None
    verdict: str  # status the office will come to instead of TERBIT, decided when it was received
    code: str
    text: str
    number: str | None
    child_nik: str | None
    family_card: str | None
    issued_at: str | None
    sha256: str | None

    @property
    def body(self) -> dict[str, Any]:
        """The document as submitted."""
        document: dict[str, Any] = json.loads(self.payload)
        return document


@dataclass(frozen=True, slots=True, repr=False)
class Act:
    """One act about a case: withdrawal, correction, documents. `body` is people's data too."""

    no: int
    key: str
    case_no: int
    kind: str  # PEMBATALAN, PEMBETULAN, BERKAS
    digest: bytes
    body: str
    answer: str
    status: str  # DITERIMA, DIKABULKAN, DITOLAK
    code: str


class Arrival(Enum):
    """What a submission is to the registry."""

    NEW = "new"
    REPEATED = "repeated"  # same key, same body
    KEY_REUSED = "key reused"  # same key, another body
    ISSUED = "issued"  # another revision has its certificate
    IN_PROCESS = "in process"  # another revision is being worked on
    STALE = "stale"  # a newer revision was here


@dataclass(frozen=True, slots=True)
class Issued:
    """What issuing adds to a case."""

    number: str
    child_nik: str | None
    family_card: str | None
    issued_at: str
    sha256: str
    document: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Callback:
    """A message to the gateway that was not yet accepted."""

    id: int
    body: bytes
    tries: int


class Records:
    """The file. Every method is one statement or a few; `transaction` makes many one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # autocommit; transactions are explicit. One connection, used from one thread.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        # What was being sent when the last process ended was perhaps not taken: it is sent again at once.
        self._db.execute("UPDATE callbacks SET due = ? WHERE due IS NOT NULL", (time.time(),))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # on a full disk SQLite may have rolled back itself
                self._db.execute("ROLLBACK")
            raise

    # ------------------------------------------------------------------------------------------------ cases

    def arrival(self, case_id: str, revision: int, digest: bytes) -> tuple[Arrival, Case | None]:
        """Tell what a submission with this key and body would be, and the case that makes it so."""
        if earlier := self.earlier_key(case_id, revision):
            return (Arrival.REPEATED if earlier.digest == digest else Arrival.KEY_REUSED), earlier
        known = {case.revision: case for case in self._cases("id_kasus = ? ORDER BY revisi", case_id)}
        if same := known.get(revision):
            return (Arrival.REPEATED if same.digest == digest else Arrival.KEY_REUSED), same
        for case in known.values():
            if case.status in CERTIFIED:
                return Arrival.ISSUED, case
        if known and max(known) > revision:
            return Arrival.STALE, known[max(known)]
        for case in known.values():
            if case.status not in _REPLACEABLE:
                return Arrival.IN_PROCESS, case
        return Arrival.NEW, None

    def add(self, case_id: str, revision: int, *, digest: bytes, payload: str, received_at: str) -> Case:
        """Keep a new submission; older revisions that waited for data are over now."""
        self._db.execute(
            "UPDATE cases SET status = 'DIBATALKAN', due = NULL WHERE id_kasus = ? AND status = 'PERLU_PERBAIKAN'",
            (case_id,),
        )
        found = self._db.execute(
            "INSERT INTO cases (id_kasus, revisi, digest, payload, status, received_at) "
            "VALUES (?, ?, ?, ?, 'DITERIMA', ?) RETURNING no",
            (case_id, revision, digest, payload, received_at),
        ).fetchone()
        return self.get(int(found[0]))

    def get(self, no: int) -> Case:
        """Return a case that exists."""
        return self._cases("no = ?", no)[0]

    def find(self, no: int) -> Case | None:
        """Return a case by number, or None."""
        return next(iter(self._cases("no = ?", no)), None)

    def find_by_key(self, case_id: str, revision: int) -> Case | None:
        """Return a case by the gateway's id and a revision it has or had, or None."""
        found = next(iter(self._cases("id_kasus = ? AND revisi = ?", case_id, revision)), None)
        if found is None and (earlier := self.earlier_key(case_id, revision)):
            return self.get(earlier.no)
        return found

    def earlier_key(self, case_id: str, revision: int) -> Case | None:
        """Return the case that a revision was amended in since, with that revision's digest and answer, or None."""
        row = self._db.execute(
            "SELECT case_no, digest, answer FROM earlier_keys WHERE id_kasus = ? AND revisi = ?", (case_id, revision)
        ).fetchone()
        if row is None:
            return None
        return replace(self.get(row[0]), revision=revision, digest=row[1], answer=row[2])

    def amend(self, case: Case, revision: int, *, digest: bytes, payload: str, status: str) -> None:
        """Let a case have the data of a newer revision; the key before is kept with its answer."""
        self._db.execute(
            "INSERT INTO earlier_keys VALUES (?, ?, ?, ?, ?)",
            (case.case_id, case.revision, case.no, case.digest, case.answer),
        )
        self._db.execute(
            "UPDATE cases SET revisi = ?, digest = ?, payload = ?, answer = '', status = ?, verdict = '', code = '', "
            "text = '' WHERE no = ?",
            (revision, digest, payload, status, case.no),
        )

    def respell(self, no: int, name: str) -> None:
        """Note how the office spells the child's name."""
        self._db.execute("INSERT OR REPLACE INTO spellings VALUES (?, ?)", (no, name))

    def spelling(self, no: int) -> str:
        """Return the office's own spelling of the child's name, "" for the one that was submitted."""
        row = self._db.execute("SELECT name FROM spellings WHERE case_no = ?", (no,)).fetchone()
        return str(row[0]) if row else ""

    # ----------------------------------------------------------------------------------------------- acts

    def act(self, key: str) -> Act | None:
        """Return an act by its key, or None."""
        return next(iter(self._acts("key = ?", key)), None)

    def acts_of(self, no: int) -> list[Act]:
        """Return the acts about a case, oldest first."""
        return self._acts("case_no = ? ORDER BY no", no)

    def add_act(self, key: str, no: int, kind: str, *, digest: bytes, body: str, due: float | None) -> Act:
        """Keep a new act."""
        self._db.execute(
            "INSERT INTO acts (key, case_no, kind, digest, body, due) VALUES (?, ?, ?, ?, ?, ?)",
            (key, no, kind, digest, body, due),
        )
        return self._acts("key = ?", key)[0]

    def end_act(self, key: str, status: str, code: str = "") -> None:
        """Decide an act."""
        self._db.execute("UPDATE acts SET status = ?, code = ?, due = NULL WHERE key = ?", (status, code, key))

    def set_act_answer(self, key: str, answer: str) -> None:
        """Keep the first answer to an act, to be given again word for word."""
        self._db.execute("UPDATE acts SET answer = ? WHERE key = ?", (answer, key))

    def due_acts(self, now: float, limit: int) -> list[Act]:
        """Return acts to be decided now."""
        return self._acts("due <= ? ORDER BY due LIMIT ?", now, limit)

    def _acts(self, where: str, *values: object) -> list[Act]:
        rows = self._db.execute(
            f"SELECT no, key, case_no, kind, digest, body, answer, status, code FROM acts WHERE {where}",  # noqa: S608
            values,
        )
        return [Act(*row) for row in rows]

    def keep_file(self, no: int, sha256: str, content: bytes) -> None:
        """Keep a document of a case."""
        self._db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?)", (sha256, no, content))

    def files_of(self, no: int) -> list[str]:
        """Return the digests of a case's documents."""
        return [row[0] for row in self._db.execute("SELECT sha256 FROM files WHERE case_no = ? ORDER BY sha256", (no,))]

    def set_answer(self, no: int, answer: str) -> None:
        """Keep the first answer, to be given again word for word."""
        self._db.execute("UPDATE cases SET answer = ? WHERE no = ?", (answer, no))

    def decide_later(self, no: int, *, verdict: str, code: str, text: str) -> None:
        """Note what the office will find instead of issuing."""
        self._db.execute("UPDATE cases SET verdict = ?, code = ?, text = ? WHERE no = ?", (verdict, code, text, no))

    def move(self, no: int, status: str, *, due: float | None) -> None:
        """Put a case one step on."""
        self._db.execute("UPDATE cases SET status = ?, due = ? WHERE no = ?", (status, due, no))

    def issue(self, no: int, issued: Issued, *, status: str = "TERBIT") -> None:
        """Give a case its certificate. SQLite refuses a number that was given before."""
        self._db.execute(
            "UPDATE cases SET status = ?, due = NULL, code = '', text = '', number = ?, child_nik = ?, "
            "family_card = ?, issued_at = ?, sha256 = ?, document = ? WHERE no = ?",
            (
                status,
                issued.number,
                issued.child_nik,
                issued.family_card,
                issued.issued_at,
                issued.sha256,
                issued.document,
                no,
            ),
        )

    def document(self, number: str) -> bytes | None:
        """Return the certificate file of a number, or None."""
        found = self._db.execute("SELECT document FROM cases WHERE number = ?", (number,)).fetchone()
        return bytes(found[0]) if found else None

    def due_cases(self, now: float, limit: int) -> list[Case]:
        """Return cases whose next step has come, oldest first."""
        return self._cases("due <= ? ORDER BY due LIMIT ?", now, limit)

    def overview(self) -> list[dict[str, Any]]:
        """Return all cases without anything about people."""
        rows = self._db.execute("SELECT no, id_kasus, revisi, status, number, code FROM cases ORDER BY no")
        keys = ("no", "id_kasus", "revisi", "status", "no_akta", "kode")
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def count(self, name: str) -> int:
        """Return the next value of a named counter, from 0."""
        row = self._db.execute(
            "INSERT INTO counters VALUES (?, 0) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name,),
        ).fetchone()
        return int(row[0])

    def _cases(self, where: str, *values: object) -> list[Case]:
        # `where` is one of the constants above; values are bound.
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM cases WHERE {where}", values)  # noqa: S608
        return [Case(*row) for row in rows]

    # -------------------------------------------------------------------------------------------- callbacks

    def queue_callback(self, no: int, body: bytes, *, wait_s: float = 0.0) -> None:
        """Keep a message to the gateway until it is accepted; it leaves after `wait_s`."""
        due = time.time() + wait_s
        self._db.execute("INSERT INTO callbacks (case_no, body, due) VALUES (?, ?, ?)", (no, body, due))

    def due_callbacks(self, now: float, limit: int) -> list[Callback]:
        """Return messages to send now, oldest first."""
        rows = self._db.execute(
            "SELECT id, body, tries FROM callbacks WHERE due <= ? ORDER BY due LIMIT ?", (now, limit)
        )
        return [Callback(*row) for row in rows]

    def callback_taken(self, callback: int, *, until: float) -> None:
        """Hide a message from `due_callbacks` while it is being sent."""
        self._db.execute("UPDATE callbacks SET due = ? WHERE id = ?", (until, callback))

    def callback_tried(self, callback: int, *, due: float | None) -> None:
        """Count a try; `due` is when to try again, None for never."""
        self._db.execute("UPDATE callbacks SET tries = tries + 1, due = ? WHERE id = ?", (due, callback))

    def next_due(self) -> tuple[float | None, float | None]:
        """Return when the next case and the next callback are due."""
        row = self._db.execute(
            "SELECT (SELECT min(due) FROM (SELECT min(due) AS due FROM cases WHERE due IS NOT NULL "
            "UNION ALL SELECT min(due) FROM acts WHERE due IS NOT NULL)), "
            "(SELECT min(due) FROM callbacks WHERE due IS NOT NULL)"
        ).fetchone()
        return row[0], row[1]

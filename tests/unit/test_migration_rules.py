"""What a migration may do while gateways of the release before it work on the same tables."""

from __future__ import annotations

import re

import pytest

from gateway.store.migrate import Migration, read, statements

HISTORY = 8  # 0001 to 0008 were applied while nothing ran
_MARK = re.compile(r"-- expand|-- contract, needs code >= (\d+)")
_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_TEXT = re.compile(r"'(?:[^']|'')*'")
_TABLE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.IGNORECASE)
_INDEX = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?(?:IF NOT EXISTS )?\w+ ON (?:ONLY )?(\w+)", re.IGNORECASE
)
_ALTER = re.compile(r"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+) (.*)", re.IGNORECASE)
_CHANGE = re.compile(r"(?:UPDATE|DELETE FROM|TRUNCATE(?: TABLE)?|LOCK(?: TABLE)?) (?:ONLY )?(\w+)", re.IGNORECASE)
_VOLATILE = r"random|gen_random_uuid|clock_timestamp|nextval|timeofday"

# By what is left of a statement without literals and bodies; `word` is why not.
_NEVER_IN_EXPAND = {
    r"\bDROP (?!NOT NULL\b|DEFAULT\b)": "older code may use what is dropped",
    r"\bRENAME\b": "older code knows the old name",
    r"\bSET NOT NULL\b": "older code may leave it empty, and the table is read under a lock",
    r"\bALTER (?:COLUMN )?\w+ (?:SET DATA )?TYPE\b": "the table is written anew under a lock",
}
_ON_A_TABLE_THAT_WAS_THERE = {
    r"ADD (?:COLUMN )?(?:IF NOT EXISTS )?(?!CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY|EXCLUDE)\w+ (?=[^,]*\bNOT NULL\b)"
    r"(?![^,]*\bDEFAULT\b)": "older code writes rows without the new column",
    rf"ADD (?:COLUMN )?(?:IF NOT EXISTS )?\w+ [^,]*\bDEFAULT (?:{_VOLATILE})\b": "the table is written anew",
    r"ADD (?:CONSTRAINT \w+ )?(?:CHECK|FOREIGN KEY)\b(?!.*\bNOT VALID\b)": "rows are checked under a lock: NOT VALID",
    r"ADD (?:CONSTRAINT \w+ )?(?:UNIQUE|PRIMARY KEY|EXCLUDE)\b(?!.*\bUSING INDEX\b)": "an index is built under a lock",
}


def faults(migration: Migration, before: list[Migration]) -> list[str]:
    """Return what is wrong with a migration that gateways work beside."""
    marks = [match for match in map(_MARK.fullmatch, migration.marks) if match]
    if len(marks) != 1:
        return ["its leading comment needs one line `-- expand` or `-- contract, needs code >= N`"]
    if needs := marks[0][1]:
        return _contract_faults(migration, int(needs), before)
    made = {name.lower() for name in _TABLE.findall(_plain(migration))}
    return [fault for statement in statements(_plain(migration)) for fault in _faults(statement, made, migration)]


def _contract_faults(migration: Migration, needs: int, before: list[Migration]) -> list[str]:
    pair = [other for other in before if other.version == needs and "-- expand" in other.marks]
    if pair and needs < migration.version:
        return []
    return [f"there is no expand migration {needs:04d} before it, whose code stopped using what this takes away"]


def _faults(statement: str, made: set[str], migration: Migration) -> list[str]:
    found = [why for pattern, why in _NEVER_IN_EXPAND.items() if re.search(pattern, statement, re.IGNORECASE)]
    if (index := _INDEX.match(statement)) and index[2].lower() not in made:
        if not index[1]:
            found.append("an index is built under a lock: CONCURRENTLY, in a file marked `-- concurrently`")
        elif not migration.concurrently:
            found.append("CONCURRENTLY needs a file of its own, marked `-- concurrently`")
    if (alter := _ALTER.match(statement)) and alter[1].lower() not in made:
        found += [w for p, w in _ON_A_TABLE_THAT_WAS_THERE.items() if re.search(p, alter[2], re.IGNORECASE)]
    if (change := _CHANGE.match(statement)) and change[1].lower() not in made:
        found.append("many rows are locked at once: do it in batches, by code")
    return [f"{statement[:80]}: {why}" for why in found]


def _plain(migration: Migration) -> str:
    """Return its text without function bodies and literals, which only look like statements."""
    return _TEXT.sub("''", _BODY.sub("''", re.sub(r"--[^\n]*", "", migration.sql)))


NEW = [migration for migration in read() if migration.version > HISTORY]


@pytest.mark.parametrize("migration", NEW, ids=lambda migration: migration.name)
def test_a_migration_can_be_applied_while_gateways_work(migration: Migration) -> None:
    assert faults(migration, read()) == []


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("ALTER TABLE births ADD COLUMN x int;", "its leading comment"),
        ("-- expand\n-- contract, needs code >= 9\n", "its leading comment"),
        ("-- contract, needs code >= 9\nDROP TABLE old;", "no expand migration 0009"),
        ("-- expand\nDROP TABLE acts;", "may use what is dropped"),
        ("-- expand\nALTER TABLE births DROP COLUMN held;", "may use what is dropped"),
        ("-- expand\nDROP INDEX tasks_claim;", "may use what is dropped"),
        ("-- expand\nALTER TABLE births RENAME COLUMN held TO stopped;", "knows the old name"),
        ("-- expand\nALTER TABLE births ALTER COLUMN revision TYPE bigint;", "written anew"),
        ("-- expand\nALTER TABLE births ALTER COLUMN born_at SET NOT NULL;", "may leave it empty"),
        ("-- expand\nALTER TABLE births ADD COLUMN x int NOT NULL;", "without the new column"),
        (
            "-- expand\nALTER TABLE births ADD COLUMN y int DEFAULT 0, ADD COLUMN x int NOT NULL;",
            "without the new column",
        ),
        ("-- expand\nALTER TABLE births ADD COLUMN x uuid NOT NULL DEFAULT gen_random_uuid();", "written anew"),
        ("-- expand\nALTER TABLE births ADD CHECK (revision > 0);", "NOT VALID"),
        ("-- expand\nALTER TABLE births ADD CONSTRAINT c FOREIGN KEY (id) REFERENCES acts;", "NOT VALID"),
        ("-- expand\nALTER TABLE births ADD CONSTRAINT c UNIQUE (facility);", "an index is built"),
        ("-- expand\nCREATE INDEX x ON births (id);", "an index is built under a lock"),
        ("-- expand\nCREATE INDEX CONCURRENTLY IF NOT EXISTS x ON births (id);", "a file of its own"),
        ("-- expand\nUPDATE births SET held = false;", "in batches"),
    ],
)
def test_what_would_stop_intake_or_older_code_is_found(sql: str, why: str) -> None:
    found = faults(Migration(10, "0010_wrong", sql), [])
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(
    "sql",
    [
        "-- expand\nALTER TABLE births ADD COLUMN x int, ADD COLUMN y text NOT NULL DEFAULT '';",
        "-- expand\nCREATE TABLE fresh (id int NOT NULL CHECK (id > 0)); CREATE INDEX fresh_id ON fresh (id);",
        "-- expand\nALTER TABLE births ADD CONSTRAINT c CHECK (revision > 0) NOT VALID;",
        "-- expand\nALTER TABLE births ALTER COLUMN born_at DROP NOT NULL;",
        "-- expand\nCOMMENT ON TABLE births IS 'DROP TABLE, UPDATE and RENAME are words here';",
        "-- expand\nCREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE births SET held = false; $$;",
        "-- expand\n-- concurrently\nCREATE INDEX CONCURRENTLY IF NOT EXISTS x ON births (id);",
        "-- contract, needs code >= 9\nALTER TABLE births DROP COLUMN held;",
    ],
)
def test_what_does_no_harm_is_allowed(sql: str) -> None:
    assert faults(Migration(10, "0010_right", sql), [Migration(9, "0009_pair", "-- expand\n")]) == []

"""What births are to one another: candidates of one mother, verdicts on pairs, and what a person decided of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping

    import asyncpg

    from gateway.store.births import Birth
    from gateway.store.database import Connection, Database

SINCE = 11  # the migration that finished table and indexes (0009, 0011)
MOST = 8  # births one is compared with on each side of its moment, and of those whose moment is not known
_DAYS = 150  # how far apart births of one mother are compared: nearer ones cannot be two deliveries
_COLUMNS = """earlier, later, verdict, rule, score, reasons, owner, message_id, found_at, decision, decided_at,
              decided_by, reason"""


@dataclass(frozen=True, slots=True)
class Pair:
    """One stored verdict."""

    earlier: uuid.UUID
    later: uuid.UUID
    verdict: str
    rule: str
    score: int
    reasons: list[dict[str, Any]]
    owner: uuid.UUID | None
    message_id: int | None
    found_at: dt.datetime
    decision: str | None
    decided_at: dt.datetime | None
    decided_by: str | None
    reason: str | None

    @classmethod
    def of(
        cls,
        earlier: uuid.UUID,
        later: uuid.UUID,
        told: Mapping[str, Any],
        *,
        owner: uuid.UUID | None,
        message_id: int | None,
    ) -> Pair:
        """Return a verdict (verify.likeness.Likeness.as_dict) to be kept."""
        words = (told["verdict"], told["rule"], told["score"], told["reasons"])
        return cls(earlier, later, *words, owner, message_id, dt.datetime.now(dt.UTC), None, None, None, None)

    def other(self, birth_id: uuid.UUID) -> uuid.UUID:
        """Return the other side."""
        return self.earlier if birth_id == self.later else self.later

    @property
    def waits(self) -> bool:
        """Whether a person must decide: also of twins that contradict each other."""
        return self.decision is None and (
            self.verdict != "twin" or self.of_one_name or "PLURALITY_DIFFERS" in self._seen
        )

    @property
    def of_one_name(self) -> bool:
        """Whether two living babies that may be of one sex bear one full name."""
        return "NAME_SAME" in self._seen and self._seen.isdisjoint(("SEX_DIFFERS", "LIFE_DIFFERS"))

    @property
    def _seen(self) -> frozenset[str]:
        return frozenset(reason["code"] for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Sought:
    """A mother as she is looked up: under the keyed hashes of her NIK (where it is of use) and of her name."""

    nik: bytes | None
    name: bytes | None

    @property
    def locks(self) -> frozenset[bytes]:
        """What keeps two births of her from being compared at once. One without NIK goes nowhere before it has one."""
        return frozenset(key for key in (self.nik or self.name,) if key)

    def looks(self) -> list[tuple[str, bytes | None, str]]:
        """Return where to look: column, key and what else holds."""
        if self.nik:
            return [("mother_key", self.nik, ""), ("mother_name_key", self.name, "AND mother_key IS NULL")]
        return [("mother_name_key", self.name, "")]


async def known(connection: Connection) -> bool:
    """Tell whether the database has the table: before the migration nothing is compared."""
    return bool(await connection.fetchval("SELECT to_regclass('likenesses') IS NOT NULL"))


async def lock_mothers(connection: Connection, keys: Iterable[bytes]) -> None:
    """Keep others from comparing births of these mothers until the transaction ends.

    Waits: only for a transaction that holds nothing yet. The locks are taken in the order of their keys.
    """
    await connection.execute(
        """SELECT pg_advisory_xact_lock(key) FROM (
               SELECT DISTINCT hashtextextended(mother, 1) AS key FROM unnest($1::text[]) AS mother ORDER BY key
           ) AS keys""",
        [key.hex() for key in keys],
    )


async def try_lock_mothers(connection: Connection, keys: Iterable[bytes]) -> bool:
    """Do the same without waiting; False where somebody has one of them."""
    return bool(
        await connection.fetchval(
            """SELECT coalesce(bool_and(pg_try_advisory_xact_lock(key)), true) FROM (
                   SELECT DISTINCT hashtextextended(mother, 1) AS key FROM unnest($1::text[]) AS mother ORDER BY key
               ) AS keys""",
            [key.hex() for key in keys],
        )
    )


async def candidates(
    connection: Connection, sought: Sought, *, near: dt.datetime, but: tuple[str, str]
) -> list[asyncpg.Record]:
    """Return (id, record) of the births of a mother nearest to a moment; not `but` (facility, record number).

    Each look goes along an index from the moment outwards and ends after some rows: neither a common name nor a number
    that a hospital types for everybody makes it long.
    """
    ways = [(column, key, more) for column, key, more in sought.looks() if key]
    parts = [part for n, (column, _, more) in enumerate(ways, 5) for part in looks(column, f"${n}", more)]
    rows = await connection.fetch(" UNION ALL ".join(parts), near, _DAYS, *but, *(key for _, key, _ in ways))
    return list({row["id"]: row for row in rows}.values())


def looks(column: str, key: str, more: str) -> list[str]:
    """Return the statements that look for a mother under one key: from a moment ($1) on, before it, and without one."""
    what = f"""SELECT id, record FROM births WHERE {column} = {key} {more}
               AND NOT (facility = $3 AND medical_record = $4) AND state NOT IN ('CANCELLED', 'MERGED')"""  # noqa: S608
    span = "$2 * interval '1 day'"
    return [
        f"({what} AND born_at BETWEEN $1 AND $1 + {span} ORDER BY born_at LIMIT {MOST})",
        f"({what} AND born_at < $1 AND born_at >= $1 - {span} ORDER BY born_at DESC LIMIT {MOST})",
        f"({what} AND born_at IS NULL LIMIT {MOST})",
    ]


async def of_birth(connection: Connection, birth_id: uuid.UUID) -> list[Pair]:
    """Return all verdicts on a birth, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM likenesses WHERE earlier = $1 OR later = $1 ORDER BY found_at, earlier, later",  # noqa: S608
        birth_id,
    )
    return [Pair(*row) for row in rows]


async def waiting_of(connection: Connection, birth_id: uuid.UUID, *, reopening: uuid.UUID | None = None) -> list[Pair]:
    """Return the verdicts on a birth that a person must decide; what is withdrawn or merged is nobody's double or twin.

    `reopening` is a withdrawn birth that is being told again in this transaction: it counts.
    """
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM likenesses l
            WHERE (earlier = $1 OR later = $1) AND decision IS NULL
              AND ((SELECT state FROM births WHERE id = CASE WHEN l.earlier = $1 THEN l.later ELSE l.earlier END)
                  NOT IN ('CANCELLED', 'MERGED') OR $2::uuid IN (l.earlier, l.later))
            ORDER BY found_at, earlier, later""",  # noqa: S608 - constant text
        birth_id,
        reopening,
    )
    return [pair for pair in (Pair(*row) for row in rows) if pair.waits]


async def has_sibling(connection: Connection, birth_id: uuid.UUID, *, reopening: uuid.UUID | None = None) -> bool:
    """Tell whether a birth has a sibling of its delivery: by the rules, or as a person said of two that were alike."""
    return bool(
        await connection.fetchval(
            """SELECT EXISTS (SELECT FROM likenesses l
                WHERE (earlier = $1 OR later = $1)
                  AND ((verdict IN ('twin', 'conflict') AND decision IS DISTINCT FROM 'same')
                       OR (decision = 'different' AND rule IN ('alike', 'sex-mistyped')))
                  AND ((SELECT state FROM births WHERE id = CASE WHEN l.earlier = $1 THEN l.later ELSE l.earlier END)
                      NOT IN ('CANCELLED', 'MERGED') OR $2::uuid IN (l.earlier, l.later)))""",
            birth_id,
            reopening,
        )
    )


async def keep(connection: Connection, pair: Pair) -> None:
    """Write down a verdict, or a new one in place of an old; never over what was decided."""
    await connection.execute(
        """INSERT INTO likenesses (earlier, later, verdict, rule, score, reasons, owner, message_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
           ON CONFLICT (earlier, later) DO UPDATE SET verdict = excluded.verdict, rule = excluded.rule,
               score = excluded.score, reasons = excluded.reasons, owner = excluded.owner,
               message_id = excluded.message_id, found_at = now()
           WHERE likenesses.decision IS NULL""",
        pair.earlier,
        pair.later,
        pair.verdict,
        pair.rule,
        pair.score,
        pair.reasons,
        pair.owner,
        pair.message_id,
    )


async def forget(connection: Connection, pair: Pair) -> None:
    """Remove a verdict that does not hold any more and that nobody decided."""
    await connection.execute(
        "DELETE FROM likenesses WHERE earlier = $1 AND later = $2 AND decision IS NULL", pair.earlier, pair.later
    )


async def decide(connection: Connection, pair: Pair, *, same: bool, by: str, reason: str) -> None:
    """Keep what was decided of a pair."""
    await connection.execute(
        """UPDATE likenesses SET decision = $3, decided_at = now(), decided_by = $4, reason = $5
           WHERE earlier = $1 AND later = $2""",
        pair.earlier,
        pair.later,
        "same" if same else "different",
        by,
        reason,
    )


async def view(database: Database, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return what a birth is to others, as it is published, with the scope of each other one; oldest first."""
    async with database.connection() as connection:
        if not await known(connection):
            return []
        rows = await connection.fetch(
            """SELECT l.*, b.id AS other, b.facility, b.office, b.restricted, b.state FROM likenesses l
               JOIN births b ON b.id = CASE WHEN l.earlier = $1 THEN l.later ELSE l.earlier END
               WHERE l.earlier = $1 OR l.later = $1 ORDER BY l.found_at, b.id""",
            birth_id,
        )
    return [
        {
            "birth": str(row["other"]),
            "facility": row["facility"],
            "office": row["office"] or "",
            "restricted": row["restricted"] or "",
            "state": row["state"],
            "first": row["other"] == row["earlier"],
            "hospital_of_birth": None if row["owner"] is None else row["owner"] == row["other"],
            **{name: row[name] for name in ("verdict", "rule", "score", "reasons", "decision", "decided_by", "reason")},
            "found_at": row["found_at"].astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        for row in rows
    ]


async def listed(database: Database, *, limit: int) -> list[dict[str, Any]]:
    """Return the pairs that wait for a person, the oldest first."""
    async with database.connection() as connection:
        if not await known(connection):
            return []
        rows = await connection.fetch(
            """SELECT l.earlier, l.later, l.verdict, l.rule, l.score, l.found_at, e.state AS earlier_state,
                      o.state AS later_state
               FROM likenesses l JOIN births e ON e.id = l.earlier JOIN births o ON o.id = l.later
               WHERE l.decision IS NULL AND e.state NOT IN ('CANCELLED', 'MERGED')
                 AND o.state NOT IN ('CANCELLED', 'MERGED')
                 AND (l.verdict <> 'twin' OR l.reasons @> '[{"code": "PLURALITY_DIFFERS"}]'
                      OR (l.reasons @> '[{"code": "NAME_SAME"}]' AND NOT l.reasons @> '[{"code": "SEX_DIFFERS"}]'
                          AND NOT l.reasons @> '[{"code": "LIFE_DIFFERS"}]'))
               ORDER BY l.found_at, l.earlier, l.later LIMIT $1""",
            limit,
        )
    return [{**row, "earlier": str(row["earlier"]), "later": str(row["later"])} for row in rows]


async def lock_free(connection: Connection, *birth_ids: uuid.UUID) -> bool:
    """Lock births' rows if nobody has one of them; never waits, so that nobody can wait for us meanwhile."""
    sql = "SELECT id FROM births WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED"
    return len(await connection.fetch(sql, birth_ids)) == len(set(birth_ids))


def in_order(one: Birth, other: Birth) -> tuple[Birth, Birth]:
    """Return two births as they were told: the first one first."""
    return (one, other) if (one.received_at, one.id) <= (other.received_at, other.id) else (other, one)

"""What the store knows under a record number, for the answer at the door: asked once a commit, and of few messages.

A notice (A01) mostly tells of a baby nobody knows. It is not asked about: that nothing is known is a condition of the
insert, three probes of an index, and only where one of them finds something the question is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.contract.lifecycle import JUDGED, State
from gateway.contract.ports import PATIENT
from gateway.store.queue import CHANNEL

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Collection, Mapping, Sequence

    import asyncpg

    from gateway.contract.ports import Draft

Baby = tuple[str, str]  # facility, medical record
NO_NOTICE = ("none", *(effect.value for effect in PATIENT))  # what only waits for a birth tells of none
_MOST_BYTES = (
    65536  # of a waiting message that is read to compare with: larger ones are compared when they are assigned
)
# What is with the registry, or issued, waits for a decision instead when it is withdrawn.
_WITHDRAWABLE = {state.value for state in JUDGED | {State.RECEIVED, State.SEALED, State.AWAIT_OFFICE}}


class Waiting(NamedTuple):
    """A kept notice that no step has read yet."""

    raw: bytes
    charset: str
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Known:
    """A birth, or what waits to become one (state RECEIVED). `record` is as stored, None where it was not asked for.

    `draft` was told earlier in the same commit, `waiting` in an earlier one. `retired`: by a number it had before.
    `withdrawal`: one that is not applied yet lies under the number.
    """

    state: str
    record: Mapping[str, Any] | None = None
    told_at: dt.datetime | None = None
    birth_id: uuid.UUID | None = None
    retired: bool = False
    withdrawal: bool = False
    waiting: Waiting | None = None
    draft: Draft | None = None

    def once(self, effect: str | None) -> Known:
        """Return what will be known for what comes next, when a message of this effect that was kept is applied."""
        if effect == "cancel":
            state = State.CANCELLED.value if self.state in _WITHDRAWABLE else self.state
            return replace(self, state=state, withdrawal=True)
        if effect == "open" and self.state == State.CANCELLED.value:
            return replace(self, state=State.RECEIVED.value)
        return self


_UNASSIGNED = """m.facility = k.facility AND m.medical_record = k.medical_record AND m.assigned_at IS NULL
                 AND m.effect <> 'none'"""
# Of a baby's numbers the one it has now counts. `told` is the last of a notice and its withdrawal that was kept and not
# assigned yet: it decides what the birth will be.
_KNOWN = f"""
SELECT k.facility, k.medical_record, coalesce(b.state, 'RECEIVED') AS state, b.id, b.told_at,
       (SELECT m.effect FROM messages m WHERE {_UNASSIGNED} AND m.effect IN ('open', 'cancel')
        ORDER BY m.id DESC LIMIT 1) AS told,
       a.new IS NOT NULL AS retired, CASE WHEN k.whole THEN b.record END AS record,
       k.whole AND EXISTS (SELECT FROM messages m WHERE {_UNASSIGNED} AND m.effect = 'cancel') AS withdrawal,
       w.raw, w.charset, w.received_at
FROM unnest($1::text[], $2::text[], $3::bool[]) AS k(facility, medical_record, whole)
LEFT JOIN aliases a ON a.facility = k.facility AND a.old = k.medical_record
LEFT JOIN births b ON b.facility = k.facility AND b.medical_record = coalesce(a.new, k.medical_record)
LEFT JOIN LATERAL (
    SELECT m.raw, coalesce(m.told ->> 'charset', '') AS charset, m.received_at FROM messages m
    WHERE k.whole AND b.id IS NULL AND {_UNASSIGNED} AND m.effect IN ('open', 'amend')
      AND octet_length(m.raw) <= {_MOST_BYTES}
    ORDER BY m.id LIMIT 1) AS w ON true
WHERE b.id IS NOT NULL OR EXISTS (SELECT FROM messages m WHERE {_UNASSIGNED} AND m.effect <> ALL($4))
"""  # noqa: S608 - constants
_NOTICES = ", ".join(f"'{effect}'" for effect in NO_NOTICE)
# Of `told` (facility, medical_record, effect) a notice whose number is known; scalar subqueries are never hashed.
_UNKNOWN = f"""
    SELECT k.facility FROM told k WHERE k.effect = 'open' AND coalesce(
        (SELECT true FROM births b WHERE b.facility = k.facility AND b.medical_record = k.medical_record LIMIT 1),
        (SELECT true FROM aliases a WHERE a.facility = k.facility AND a.old = k.medical_record LIMIT 1),
        (SELECT true FROM messages m WHERE {_UNASSIGNED} AND m.effect NOT IN ({_NOTICES}) LIMIT 1), false)
    LIMIT 1
"""  # noqa: S608 - constants


def insert_from(columns: Sequence[str], source: str, told: str = "") -> str:
    """Return the insert of messages. `told`: nothing is kept where a notice among these has a number that is known."""
    first = f"told(facility, medical_record, effect) AS ({told}), known AS MATERIALIZED ({_UNKNOWN})," if told else ""
    only = "WHERE NOT EXISTS (SELECT FROM known)" if told else ""
    more = "UNION ALL SELECT NULL, facility, NULL, NULL, NULL FROM known" if told else ""
    return f"""
WITH {first} kept AS (
    INSERT INTO messages ({", ".join(columns)})
    {source} {only}
    ON CONFLICT (control_id, facility, application) DO NOTHING
    RETURNING id, facility, application, control_id, effect
), first_task AS (
    INSERT INTO tasks (kind, message_id) SELECT 'assign', id FROM kept WHERE effect <> 'none'
)
SELECT id, facility, application, control_id,
       (SELECT pg_notify('{CHANNEL}', '') WHERE EXISTS (SELECT FROM kept WHERE effect <> 'none'))
FROM kept {more}
"""  # noqa: S608 - constant names


async def known(
    connection: asyncpg.Connection, babies: Collection[Baby], *, whole: Collection[Baby]
) -> dict[Baby, Known]:
    """Return what is known of these babies; of those in `whole` also the record, and what waits under the number."""
    if not babies:
        return {}
    asked = list(babies)
    columns = ([b[0] for b in asked], [b[1] for b in asked], [b in whole for b in asked])
    rows = await connection.fetch(_KNOWN, *columns, NO_NOTICE)
    return {(row["facility"], row["medical_record"]): _known(row) for row in rows}


def _known(row: asyncpg.Record) -> Known:
    found = Known(
        state=row["state"],
        record=row["record"],
        told_at=row["told_at"],
        birth_id=row["id"],
        retired=row["retired"],
        withdrawal=row["withdrawal"],
        waiting=Waiting(row["raw"], row["charset"], row["received_at"]) if row["raw"] else None,
    )
    return found.once(row["told"])

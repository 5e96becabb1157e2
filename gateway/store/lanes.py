"""Claims of what waits for one counterpart of many: a hospital's listener, or the address that a file lies at.

Each counterpart is a lane of its own, so that no backlog, silence or slowness of one keeps the work of another. A lane
is named by its kind, whether its tasks failed before (`again`), and whom it is for; it is read from the rows that say
so, and needs no column. What failed before has its own lane beside the fresh ones: it never takes their place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.store.queue import Kind, task_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.store.database import Database
    from gateway.store.queue import Task

KINDS = (Kind.ANSWER, Kind.DELIVER, Kind.COLLECT)
_WINDOW = 64  # of one kind and urgency looked at together
_FAILED, _FRESH = "again", "fresh"


def lane(kind: Kind, whom: str, *, again: bool = False) -> str:
    """Return a lane's name: `whom` is a facility's code, or for COLLECT an address's origin as it is written there."""
    return f"{kind.value} {_FAILED if again else _FRESH} {whom}"


@dataclass(slots=True)
class Room:
    """How many tasks may be claimed: of each kind, and of each lane that differs from `otherwise`.

    `suspects` failed where they are wanted for a next try: any other task of their lane goes first.
    """

    kinds: Mapping[Kind, int]
    lanes: Mapping[str, int] = field(default_factory=dict)
    suspects: Iterable[int] = ()
    otherwise: int = 1


# The lane of a row, by a look into the row it is about: a subquery a row, so that no plan reads a whole table for it.
# `last_error` and not `failures`: while a counterpart is down for everybody failures are not counted.
_LANE = f"""
CASE t.kind
    WHEN '{Kind.DELIVER.value}' THEN
        CASE WHEN t.failures > 0 THEN '{Kind.DELIVER.value} {_FAILED} ' ELSE '{Kind.DELIVER.value} {_FRESH} ' END
        || coalesce((SELECT facility FROM outbound WHERE id = t.outbound_id), '')
    WHEN '{Kind.COLLECT.value}' THEN
        CASE WHEN t.last_error IS NULL THEN '{Kind.COLLECT.value} {_FRESH} ' ELSE '{Kind.COLLECT.value} {_FAILED} ' END
        || coalesce((SELECT substring(document_url FROM '^[^/?#]*//[^/?#]*') FROM certificates
                     WHERE birth_id = t.birth_id), '')
    ELSE t.kind || ' {_FRESH} ' || coalesce(t.facility, '')
END
"""  # noqa: S608 - constants
# Letters of one birth keep their order: the certificate before what replaces it.
_FIRST_OF_ITS_BIRTH = f"""
(t.kind <> '{Kind.DELIVER.value}' OR t.birth_id IS NULL OR 0 = (
    SELECT count(*) FROM tasks e
    WHERE e.birth_id = t.birth_id AND e.kind = t.kind AND e.outbound_id < t.outbound_id))
"""  # noqa: S608 - constants
_CLAIM = f"""
WITH soft AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)  -- as every claim (gateway.store.queue)
), seen AS MATERIALIZED (
    SELECT s.* FROM soft CROSS JOIN unnest($2::text[]) AS k(kind) CROSS JOIN generate_series(0, 9) AS p(priority)
    CROSS JOIN LATERAL (
        SELECT t.id, t.kind, t.priority, t.due_at, l.lane
        FROM tasks t CROSS JOIN LATERAL (SELECT {_LANE} AS lane OFFSET 0) AS l
        WHERE t.kind = k.kind AND t.priority = p.priority AND t.due_at <= now() AND l.lane <> ALL ($4::text[])
          AND {_FIRST_OF_ITS_BIRTH}
        ORDER BY t.due_at, t.id LIMIT {_WINDOW} FOR UPDATE OF t SKIP LOCKED) AS s
), turns AS (
    SELECT seen.*, coalesce(r.room, $7) AS room, row_number() OVER (
        PARTITION BY seen.lane ORDER BY coalesce(array_position($8::bigint[], seen.id), 0), priority, due_at, id) AS n
    FROM seen LEFT JOIN unnest($5::text[], $6::int[]) AS r(lane, room) ON r.lane = seen.lane
), due AS MATERIALIZED (
    SELECT id FROM (
        SELECT t.id, k.room, row_number() OVER (PARTITION BY t.kind ORDER BY priority, due_at, id) AS of_kind
        FROM turns t JOIN unnest($2::text[], $3::int[]) AS k(kind, room) ON k.kind = t.kind WHERE n <= t.room) AS w
    WHERE of_kind <= room
)
UPDATE tasks t SET lease = gen_random_uuid(), attempts = t.attempts + 1, due_at = now() + $1 * interval '1 second'
FROM due WHERE t.id = due.id
RETURNING t.id, t.kind, t.lease, t.attempts, t.birth_id, t.message_id, t.outbound_id, t.last_error, t.failures,
          t.facility, extract(epoch FROM now() - t.made_at)::float8 AS age_s,
          (SELECT lane FROM seen WHERE seen.id = t.id) AS lane
"""  # noqa: S608 - constants
_NEXT = """
SELECT extract(epoch FROM min(t.due_at) - now())::float8 AS s FROM unnest($1::text[]) AS k(kind)
CROSS JOIN LATERAL (SELECT min(due_at) AS due_at FROM tasks WHERE kind = k.kind AND due_at > now()) AS t
"""


async def claim(database: Database, room: Room, *, lease_s: float) -> list[tuple[Task, str]]:
    """Take what is due and fits, for `lease_s` seconds: each task with its lane."""
    kinds = {kind: number for kind, number in room.kinds.items() if number > 0}
    if not kinds:
        return []
    narrow = {name: number for name, number in room.lanes.items() if number > 0}
    rows = await database.fetch(
        _CLAIM,
        lease_s,
        [kind.value for kind in kinds],
        list(kinds.values()),
        [name for name, number in room.lanes.items() if number <= 0],
        list(narrow),
        list(narrow.values()),
        room.otherwise,
        list(room.suspects),
    )
    return [(task_of(row), row["lane"]) for row in rows]


async def seconds_to_next(database: Database, kinds: Iterable[Kind] = KINDS) -> float | None:
    """Return how long until a task that is not due yet becomes due, None where there is none."""
    row = await database.fetchrow(_NEXT, [kind.value for kind in kinds])
    found: Any = row["s"] if row else None
    return None if found is None else max(0.0, float(found))

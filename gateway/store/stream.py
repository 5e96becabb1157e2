"""Events in the order they become visible, for readers that follow them.

Ids are given before a transaction commits, so a later id may be seen before an earlier one. A reader therefore looks
again at all that is younger than `_SETTLED`, and leaves out what it has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid

    from gateway.store.database import Database

_SETTLED = "20 seconds"  # longer than any transaction of ours: database.timeout_s ends them sooner
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose events: None means any."""

    facility: str | None
    office: str | None
    restricted: bool


@dataclass(slots=True)
class Follower:
    """One reader's place: all up to `floor` is settled and told, of what is above it `seen` was told."""

    scope: Scope
    floor: int
    seen: set[int] = field(default_factory=set)

    async def next(self, database: Database) -> list[dict[str, Any]]:
        """Return what is new: state changes only, oldest first."""
        rows = await database.fetch(
            f"""SELECT e.id, e.birth_id, e.at, e.actor, e.step, e.from_state, e.to_state, b.facility, b.medical_record,
                      e.at < now() - interval '{_SETTLED}' AS settled,
                      e.from_state IS DISTINCT FROM e.to_state
                        AND ($2::text IS NULL OR b.facility = $2) AND ($3::text IS NULL OR b.office = $3)
                        AND ($4 OR b.restricted IS NULL) AS told
               FROM events e JOIN births b ON b.id = e.birth_id
               WHERE e.id > $1 AND e.id <> ALL($5::bigint[]) ORDER BY e.id LIMIT {_PAGE}""",  # noqa: S608 - constants
            self.floor,
            self.scope.facility,
            self.scope.office,
            self.scope.restricted,
            list(self.seen),
        )
        self.seen |= {row["id"] for row in rows}
        await self._settle(database)
        return [_event(row) for row in rows if row["told"]]

    async def _settle(self, database: Database) -> None:
        """Raise the floor to the newest event that nothing can come before any more."""
        row = await database.fetchrow(
            f"""SELECT max(id) AS id FROM events
                WHERE id = ANY($1::bigint[]) AND at < now() - interval '{_SETTLED}'""",  # noqa: S608 - a constant
            list(self.seen),
        )
        if row is not None and row["id"] is not None:
            self.floor = row["id"]
            self.seen = {number for number in self.seen if number > self.floor}


async def begin(database: Database, scope: Scope, *, after: int | None) -> Follower:
    """Return a reader that goes on behind an event it had, or begins with what happens from now on.

    What became visible around the event it had may come twice, under the same id.
    """
    row = await database.fetchrow(
        f"""SELECT id FROM events
            WHERE id <= coalesce($1, (SELECT max(id) FROM events))
              AND at < coalesce((SELECT at FROM events WHERE id = $1), now()) - interval '{_SETTLED}'
            ORDER BY id DESC LIMIT 1""",  # noqa: S608 - a constant
        after,
    )
    floor = int(row["id"]) if row else 0
    if after is not None:
        return Follower(scope, floor)
    visible = await database.fetch("SELECT id FROM events WHERE id > $1", floor)
    return Follower(scope, floor, {r["id"] for r in visible})


def _event(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the query above
    birth: uuid.UUID = row["birth_id"]
    return {
        "id": row["id"],
        "birth": str(birth),
        "facility": row["facility"],
        "mrn": row["medical_record"],
        "at": row["at"].isoformat(timespec="milliseconds"),
        "step": row["step"],
        "from": row["from_state"],
        "to": row["to_state"],
    }

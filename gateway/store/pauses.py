"""Services of the registry that refused us: until when all processes leave them alone, over restarts too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from gateway.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Pause:
    """Why and as whom (a keyed hash) we were refused, since when, and until when; `until` None: until a person."""

    service: str
    cause: str
    identity: bytes
    since: dt.datetime
    until: dt.datetime | None
    lifted_at: dt.datetime | None

    def holds(self, identity: bytes, now: dt.datetime) -> bool:
        """Tell whether the service is still to be left alone by whoever calls as `identity`."""
        if self.lifted_at is not None or (self.until is not None and self.until <= now):
            return False
        return identity == self.identity


_COLUMNS = "service, cause, identity, since, until, lifted_at"


async def read(connection: Connection, service: str) -> Pause | None:
    """Return the newest pause of a service, over or not."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM registry_pauses WHERE service = $1", service)  # noqa: S608
    return Pause(*row) if row else None


async def keep(connection: Connection, pause: Pause) -> None:
    """Write down that a service refused us. A pause that stands keeps its beginning."""
    await connection.execute(
        """INSERT INTO registry_pauses (service, cause, identity, since, until) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (service) DO UPDATE
           SET cause = $2, identity = $3, since = $4, until = $5, lifted_at = NULL, lifted_by = NULL
           WHERE registry_pauses.lifted_at IS NOT NULL OR registry_pauses.identity <> $3
              OR registry_pauses.cause <> $2 OR registry_pauses.until <= $4""",
        pause.service,
        pause.cause,
        pause.identity,
        pause.since,
        pause.until,
    )


async def listing(database: Database, now: dt.datetime) -> list[Pause]:
    """Return the pauses that were not lifted and did not end by themselves."""
    rows = await database.fetch(
        f"""SELECT {_COLUMNS} FROM registry_pauses
            WHERE lifted_at IS NULL AND (until IS NULL OR until > $1) ORDER BY service""",  # noqa: S608
        now,
    )
    return [Pause(*row) for row in rows]


async def lift(connection: Connection, service: str, *, by: str, now: dt.datetime) -> bool:
    """Let a service be called again; False where it was not left alone."""
    lifted = await connection.fetchval(
        """UPDATE registry_pauses SET lifted_at = $2, lifted_by = $3
           WHERE service = $1 AND lifted_at IS NULL AND (until IS NULL OR until > $2) RETURNING service""",
        service,
        now,
        by,
    )
    if lifted is not None:
        # What waited for the pause is looked at now; the births' own tasks decide the rest.
        await connection.execute(
            """UPDATE tasks SET due_at = now()
               WHERE kind = $1 AND lease IS NULL AND last_error IN ('REGISTRY_QUOTA', 'REGISTRY_LOGIN')""",
            service,
        )
    return lifted is not None

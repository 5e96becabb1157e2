"""What is marked where a database may be behind the registry: after a restore, or an acceptance of its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

    from gateway.store.database import Connection

# The registry may know more than this database; nobody holds a task; counterparts are compared as soon as it runs.
_MARKS = (
    """UPDATE births b SET ask_first = true
       WHERE state <> 'MERGED' AND NOT EXISTS (SELECT FROM certificates c WHERE c.birth_id = b.id)""",
    "UPDATE tasks SET lease = NULL, due_at = least(due_at, now())",
    "UPDATE chores SET started_at = NULL WHERE name = 'reconcile'",
)


async def go_on_behind(connection: Connection | asyncpg.Connection) -> None:
    """Mark what must be asked about before anything is sent, in the caller's transaction."""
    for statement in _MARKS:
        await connection.execute(statement)

"""What each revision of a birth was: when, by whom, by which message, what it changed, and whether it was signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid

    from gateway.store.database import Connection


async def listing(connection: Connection, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return a birth's revisions, oldest first: names of fields, never values."""
    rows = await connection.fetch(
        """SELECT r.revision, r.at, r.actor, m.control_id, r.changed, s.sealed_at
           FROM revisions r LEFT JOIN messages m ON m.id = r.message_id
           LEFT JOIN seals s ON s.birth_id = r.birth_id AND s.revision = r.revision
           WHERE r.birth_id = $1 ORDER BY r.revision""",
        birth_id,
    )
    return [dict(row) for row in rows]

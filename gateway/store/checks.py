"""What the population register said of a birth's parents, element by element: verdicts and scores, never values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid

    from gateway.store.database import Connection


async def newest(connection: Connection, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return the verdicts of the newest element check, one entry a parent who was asked about; empty without a check.

    They stand in the event that the check left: `at`, `revision`, and by field whether it agrees and its score.
    """
    row = await connection.fetchrow(
        """SELECT at, detail FROM events WHERE birth_id = $1 AND step = 'check' AND detail ? 'checks'
           ORDER BY id DESC LIMIT 1""",
        birth_id,
    )
    if row is None:
        return []
    at, revision = row["at"].isoformat(timespec="seconds"), row["detail"]["revision"]
    return [{**check, "at": at, "revision": revision} for check in row["detail"]["checks"]]

"""Record numbers that became another's: after a merge, a renumbering, or for what may still come under an old one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Around:
    """What is known around some record numbers: aliases by old number, and every number that belongs to them."""

    aliases: dict[str, str]
    numbers: frozenset[str]


_AROUND = """
SELECT old AS one, new AS other, true AS alias FROM aliases WHERE facility = $1 AND (old = ANY($2) OR new = ANY($2))
UNION ALL
SELECT m.medical_record, number, false FROM messages m, json_array_elements_text(m.told -> 'concerns') AS number
WHERE m.facility = $1 AND m.assigned_at IS NULL AND m.effect IN ('merge', 'renumber', 'link', 'unlink')
  AND (m.medical_record = ANY($2) OR number = ANY($2))
"""


async def around(connection: Connection, facility: str, numbers: frozenset[str]) -> Around:
    """Return what belongs to these numbers: aliases either way, and whom waiting merges and links name with them."""
    rows = await connection.fetch(_AROUND, facility, list(numbers))
    found = {number for row in rows for number in (row["one"], row["other"])}
    return Around({r["one"]: r["other"] for r in rows if r["alias"]}, numbers | found)


async def point(connection: Connection, facility: str, *, old: str, new: str, message_id: int) -> None:
    """Let an old number, and all that led to it, lead to a new one. Both must be locked."""
    await connection.execute("DELETE FROM aliases WHERE facility = $1 AND old = $2", facility, new)
    await connection.execute("UPDATE aliases SET new = $3 WHERE facility = $1 AND new = $2", facility, old, new)
    await connection.execute(
        """INSERT INTO aliases (facility, old, new, message_id) VALUES ($1, $2, $3, $4)
           ON CONFLICT (facility, old) DO UPDATE SET new = excluded.new, message_id = excluded.message_id""",
        facility,
        old,
        new,
        message_id,
    )

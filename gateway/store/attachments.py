"""Documents that came with messages about a birth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid

    from gateway.contract.ports import Attachment
    from gateway.store.database import Connection


async def keep(
    connection: Connection, birth_id: uuid.UUID, message_id: int, attachment: Attachment, content: bytes | None
) -> bool:
    """Keep a document with its birth, once; False where it was there already."""
    kept = await connection.fetchval(
        """INSERT INTO attachments (birth_id, message_id, place, kind, mime, size, sha256, pointer, content)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id""",
        birth_id,
        message_id,
        str(attachment.place),
        attachment.kind,
        attachment.mime,
        attachment.size,
        attachment.sha256,
        attachment.pointer,
        content,
    )
    return kept is not None


async def hand_over(connection: Connection, *, old: uuid.UUID, new: uuid.UUID) -> None:
    """Give one birth's documents to another, except those it has."""
    await connection.execute(
        """UPDATE attachments a SET birth_id = $2 WHERE birth_id = $1 AND NOT EXISTS (
               SELECT FROM attachments b WHERE b.birth_id = $2 AND b.sha256 = a.sha256 AND b.pointer = a.pointer)""",
        old,
        new,
    )

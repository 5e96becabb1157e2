"""Documents that came with messages about a birth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.ports import Scan

if TYPE_CHECKING:
    import uuid

    from gateway.contract.ports import Attachment
    from gateway.store.database import Connection


async def keep(
    connection: Connection,
    birth_id: uuid.UUID,
    message_id: int | None,
    attachment: Attachment,
    content: bytes | None,
    *,
    actor: str = "hospital",
) -> bool:
    """Keep a document with its birth, once; False where it was there already. `message_id` is None for a form's.

    What is kept with its bytes gets an entry in the journal: of their digest, in this transaction.
    """
    kept = await connection.fetchval(
        """INSERT INTO attachments (birth_id, message_id, place, kind, mime, size, sha256, pointer, content, actor)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id""",
        birth_id,
        message_id,
        str(attachment.place),
        attachment.kind,
        attachment.mime,
        attachment.size,
        attachment.sha256,
        attachment.pointer,
        content,
        actor,
    )
    if kept is not None and content:
        await _tell_journal(connection, birth_id, attachment.sha256)
    return kept is not None


async def _tell_journal(connection: Connection, birth_id: uuid.UUID, sha256: str) -> None:
    """Make the entry of a scan. No trigger does: below the journal's migration there is no place for it."""
    if await connection.fetchval("SELECT to_regclass('journal_pending') IS NOT NULL"):
        await connection.execute(
            """INSERT INTO journal_pending (kind, facilities, digests, births)
               SELECT 'scan', ARRAY[facility], ARRAY[decode($2, 'hex')], ARRAY[id] FROM births WHERE id = $1""",
            birth_id,
            sha256,
        )


async def of_birth(connection: Connection, birth_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return what documents a birth has, oldest first, without their bytes."""
    rows = await connection.fetch(
        """SELECT kind, mime, size, sha256, pointer, actor, content IS NOT NULL AS here FROM attachments
           WHERE birth_id = $1 ORDER BY id""",
        birth_id,
    )
    return [dict(row) for row in rows]


async def content(connection: Connection, birth_id: uuid.UUID, sha256: str) -> tuple[str, bytes] | None:
    """Return type and bytes of a birth's document; None where it is not there, or lies elsewhere."""
    row = await connection.fetchrow(
        "SELECT mime, content FROM attachments WHERE birth_id = $1 AND sha256 = $2 AND content IS NOT NULL",
        birth_id,
        sha256,
    )
    return (row["mime"], row["content"]) if row else None


async def scans(connection: Connection, birth_id: uuid.UUID, digests: list[str]) -> tuple[Scan, ...]:
    """Return documents of a birth with their bytes, by SHA-256; those that lie elsewhere are left out."""
    rows = await connection.fetch(
        """SELECT DISTINCT ON (sha256) kind, sha256, mime, content FROM attachments
           WHERE birth_id = $1 AND sha256 = ANY($2) AND content IS NOT NULL ORDER BY sha256, id""",
        birth_id,
        digests,
    )
    return tuple(Scan(row["kind"], row["sha256"], row["mime"], row["content"]) for row in rows)


async def hand_over(connection: Connection, *, old: uuid.UUID, new: uuid.UUID) -> None:
    """Give one birth's documents to another, except those it has."""
    await connection.execute(
        """UPDATE attachments a SET birth_id = $2 WHERE birth_id = $1 AND NOT EXISTS (
               SELECT FROM attachments b WHERE b.birth_id = $2 AND b.sha256 = a.sha256 AND b.pointer = a.pointer)""",
        old,
        new,
    )

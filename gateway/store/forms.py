"""Forms by their Idempotency-Key: what was answered once is answered again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid

    from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Answered:
    """A form that was taken under a key: the SHA-256 of its body, and the answer."""

    digest: bytes
    answer: dict[str, Any]


async def answered(connection: Connection, birth_id: uuid.UUID, key: str) -> Answered | None:
    """Return what was answered under a key; the birth's lock keeps two of one key apart."""
    row = await connection.fetchrow("SELECT digest, answer FROM forms WHERE birth_id = $1 AND key = $2", birth_id, key)
    return Answered(row["digest"], row["answer"]) if row else None


async def keep(connection: Connection, birth_id: uuid.UUID, key: str, *, actor: str, answered: Answered) -> None:
    """Keep an answer under its key, in the transaction that did what it says."""
    await connection.execute(
        "INSERT INTO forms (birth_id, key, digest, actor, answer) VALUES ($1, $2, $3, $4, $5)",
        birth_id,
        key,
        answered.digest,
        actor,
        answered.answer,
    )

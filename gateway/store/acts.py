"""Acts: what is asked of the registry about a case it has. Made once, sent under one key until it is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.contract.ports import ActKind

if TYPE_CHECKING:
    import datetime as dt
    import uuid

    from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Act:
    """One act of a birth. `status` is open, accepted (the office decides), granted or refused."""

    id: int
    birth_id: uuid.UUID
    kind: ActKind
    key: str
    revision: int
    actor: str
    reason: str
    detail: dict[str, Any]
    payload: bytes | None = field(repr=False)
    signature: str | None
    sent_at: dt.datetime | None
    status: str
    code: str


_COLUMNS = "id, birth_id, kind, key, revision, actor, reason, detail, payload, signature, sent_at, status, code"


def _act(row: Any) -> Act:  # noqa: ANN401 - asyncpg.Record
    values = dict(row)
    return Act(**{**values, "kind": ActKind(values["kind"])})


async def ask(  # noqa: PLR0913 - what an act is
    connection: Connection,
    birth_id: uuid.UUID,
    kind: ActKind,
    *,
    revision: int,
    actor: str,
    reason: str,
    detail: dict[str, Any] | None = None,
) -> Act:
    """Keep a new act of a locked birth that has no open one. Its key says birth, revision, kind and which of them."""
    number: int = await connection.fetchval("SELECT count(*) + 1 FROM acts WHERE birth_id = $1", birth_id)
    row = await connection.fetchrow(
        f"""INSERT INTO acts (birth_id, kind, key, revision, actor, reason, detail)
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_COLUMNS}""",  # noqa: S608 - constant text
        birth_id,
        kind.value,
        f"{birth_id}:{revision}:{kind.value}:{number}",
        revision,
        actor,
        reason,
        detail or {},
    )
    return _act(row)


async def undecided(connection: Connection, birth_id: uuid.UUID) -> Act | None:
    """Return the act of a birth that is not decided yet; there is at most one."""
    sql = f"SELECT {_COLUMNS} FROM acts WHERE birth_id = $1 AND ended_at IS NULL"  # noqa: S608
    row = await connection.fetchrow(sql, birth_id)
    return _act(row) if row else None


async def last(connection: Connection, birth_id: uuid.UUID, kind: ActKind) -> Act | None:
    """Return the newest act of a kind, decided or not."""
    sql = f"SELECT {_COLUMNS} FROM acts WHERE birth_id = $1 AND kind = $2 ORDER BY id DESC LIMIT 1"  # noqa: S608
    row = await connection.fetchrow(sql, birth_id, kind.value)
    return _act(row) if row else None


async def sign(connection: Connection, act: Act, payload: bytes, signature: str) -> None:
    """Keep the exact bytes of an act, once: the first ones stay."""
    await connection.execute(
        "UPDATE acts SET payload = $2, signature = $3 WHERE id = $1 AND payload IS NULL", act.id, payload, signature
    )


async def leaves(connection: Connection, act: Act) -> None:
    """Write down that an act is about to leave."""
    await connection.execute("UPDATE acts SET sent_at = coalesce(sent_at, now()) WHERE id = $1", act.id)


async def not_sent(connection: Connection, act: Act) -> None:
    """Write down that the first try did not reach the registry."""
    await connection.execute("UPDATE acts SET sent_at = NULL WHERE id = $1 AND status = 'open'", act.id)


async def set_status(connection: Connection, act: Act, status: str, code: str = "") -> bool:
    """Write down what became of an act; False where that was known, or it is decided already."""
    changed = await connection.fetchval(
        """UPDATE acts SET status = $2, code = $3, ended_at = CASE WHEN $2 IN ('granted', 'refused') THEN now() END
           WHERE id = $1 AND ended_at IS NULL AND status <> $2 RETURNING id""",
        act.id,
        status,
        code,
    )
    return changed is not None


async def applied(connection: Connection, act: Act) -> None:
    """Note that what a correction brought was applied: another certificate after it is none of its doing."""
    await connection.execute("UPDATE acts SET detail = detail || '{\"applied\": true}' WHERE id = $1", act.id)


async def take_back(connection: Connection, birth_id: uuid.UUID) -> None:
    """Note that the hospital told the birth again after its withdrawal came to nothing."""
    await connection.execute(
        """UPDATE acts SET detail = detail || '{"taken_back": true}'
           WHERE birth_id = $1 AND kind = 'withdraw' AND status = 'refused'""",
        birth_id,
    )

"""The events of a birth: write one, and what they say of its past: where it was before, who moved it.

A move's own event is written by `births.move`, in one statement with the move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.errors import IllegalMoveError

if TYPE_CHECKING:
    from gateway.store.births import Birth, Why
    from gateway.store.database import Connection

# Why a review after issue was opened, where the hospital can take that back (detail `cause` of the move's event).
CHANGED, WITHDRAWN = "changed", "withdrawn"


async def write(connection: Connection, birth: Birth, before: State | None, why: Why) -> None:
    """Write an event of a birth that is in its state now and was in `before`, None where there was no birth yet."""
    await connection.execute(
        """INSERT INTO events (birth_id, actor, step, from_state, to_state, reason, message_id, detail)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        birth.id,
        why.actor,
        why.step,
        before.value if before else None,
        birth.state.value,
        why.reason,
        why.message_id,
        why.detail,
    )


async def state_before(connection: Connection, birth: Birth, state: State) -> State:
    """Return where a birth was before it last came to `state`."""
    before: str | None = await connection.fetchval(
        """SELECT from_state FROM events WHERE birth_id = $1 AND to_state = $2 AND from_state <> $2
           ORDER BY id DESC LIMIT 1""",
        birth.id,
        state.value,
    )
    if before is None:
        raise IllegalMoveError(f"nothing is known of birth {birth.id} before {state.value}")
    return State(before)


async def is_told(connection: Connection, birth: Birth, key: str) -> bool:
    """Tell whether an event of a birth has this in its detail."""
    sql = "SELECT EXISTS (SELECT FROM events WHERE birth_id = $1 AND detail ? $2)"
    return bool(await connection.fetchval(sql, birth.id, key))


async def moved_by(connection: Connection, birth: Birth, state: State) -> str:
    """Return who last moved a birth to `state`, "" where nobody did."""
    actor: str | None = await connection.fetchval(
        """SELECT actor FROM events WHERE birth_id = $1 AND to_state = $2 AND from_state <> $2
           ORDER BY id DESC LIMIT 1""",
        birth.id,
        state.value,
    )
    return actor or ""


async def is_only_cause(connection: Connection, birth: Birth, cause: str) -> bool:
    """Tell whether a birth came to its present state for this cause, and nobody named another one since.

    Another one: a second certificate, or a merge with a birth that has one too.
    """
    only: bool | None = await connection.fetchval(
        """SELECT detail ->> 'cause' = $3 AND NOT EXISTS (
               SELECT FROM events e WHERE e.birth_id = $1 AND e.id > m.id
                 AND (e.detail ? 'certificate_number' OR e.detail ? 'merged_with'))
           FROM events m WHERE birth_id = $1 AND to_state = $2 AND from_state <> $2 ORDER BY id DESC LIMIT 1""",
        birth.id,
        birth.state.value,
        cause,
    )
    return bool(only)

"""Application answers on their way to a sender's own listener: kept with their message, sent in its order.

They lie in `outbound` under the kind ACK. One task a facility sends them, so that none overtakes another: it is made
with the first one that waits and ends with the last. Whoever adds one locks that task until its commit, and whoever
ends the task looks again after locking it: no answer is ever left without a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.contract.ports import AnswerKind
from gateway.store.outbound import Outbound
from gateway.store.queue import CHANNEL, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.store.database import Connection, Database
    from gateway.store.queue import Task

_KIND = AnswerKind.APPLICATION_ANSWER.value
_PRIORITY = 6  # behind whatever a birth waits for


class Letter(NamedTuple):
    """An application answer to keep. `subject` is what it answers, once: see `outbound.subject`."""

    facility: str
    subject: str
    control_id: str
    message: bytes


# What was rejected may come again and is judged again (it has no idempotency key): a new answer once the old is out.
_KEEP = f"""
WITH kept AS (
    INSERT INTO outbound (facility, kind, subject, control_id, message)
    SELECT facility, '{_KIND}', subject, control_id, message
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
         WITH ORDINALITY AS said(facility, subject, control_id, message, n) ORDER BY n
    ON CONFLICT (kind, subject) DO UPDATE
    SET control_id = excluded.control_id, message = excluded.message, made_at = now(),
        accepted_at = NULL, answer_code = NULL
    WHERE outbound.accepted_at IS NOT NULL OR outbound.answer_code IS NOT NULL
    RETURNING facility
), sender AS (
    INSERT INTO tasks (kind, facility, priority)
    SELECT DISTINCT '{Kind.ANSWER.value}', facility, {_PRIORITY} FROM kept ORDER BY facility
    ON CONFLICT (kind, facility) WHERE facility IS NOT NULL
    DO UPDATE SET priority = tasks.priority WHERE false  -- locks it
)
SELECT pg_notify('{CHANNEL}', '') WHERE EXISTS (SELECT FROM kept)
"""  # noqa: S608 - constants
_SEND_AGAIN = f"""
WITH waiting AS (
    UPDATE outbound SET answer_code = NULL
    WHERE kind = '{_KIND}' AND subject = ANY($1) AND accepted_at IS NULL AND discarded_at IS NULL RETURNING facility
), sender AS (
    INSERT INTO tasks (kind, facility, priority)
    SELECT DISTINCT '{Kind.ANSWER.value}', facility, {_PRIORITY} FROM waiting ORDER BY facility
    ON CONFLICT (kind, facility) WHERE facility IS NOT NULL
    DO UPDATE SET due_at = now() WHERE tasks.lease IS NULL
)
SELECT pg_notify('{CHANNEL}', '') WHERE EXISTS (SELECT FROM waiting)
"""  # noqa: S608 - constants
_WAITS = f"kind = '{_KIND}' AND accepted_at IS NULL AND answer_code IS NULL AND discarded_at IS NULL"


async def keep(connection: Connection, letters: Sequence[Letter]) -> None:
    """Keep answers in the caller's transaction, in this order, and see that somebody sends them."""
    last = {letter.subject: letter for letter in letters}.values()
    if last:
        await connection.execute(_KEEP, *([letter[i] for letter in last] for i in range(len(Letter._fields))))


async def send_again(connection: Connection, message_ids: Collection[int]) -> None:
    """Send the answers to messages that were repeated, where they did not arrive: refused ones too, and soon."""
    await connection.execute(_SEND_AGAIN, [str(number) for number in message_ids])


async def waiting(connection: Connection, facility: str, *, limit: int) -> list[Outbound]:
    """Return the oldest answers that wait for a facility's listener."""
    rows = await connection.fetch(
        f"""SELECT id, birth_id, facility, kind, control_id, message FROM outbound
            WHERE facility = $1 AND {_WAITS} ORDER BY id LIMIT $2""",  # noqa: S608 - constants
        facility,
        limit,
    )
    return [Outbound(*row) for row in rows]


async def finish(connection: Connection, task: Task) -> bool:
    """Remove the sending task where nothing waits any more. The caller's transaction has locked it (queue.holds)."""
    row = await connection.fetchrow(
        f"""DELETE FROM tasks WHERE id = $1 AND NOT EXISTS (SELECT FROM outbound WHERE facility = $2 AND {_WAITS})
            RETURNING id""",  # noqa: S608 - constants
        task.id,
        task.facility,
    )
    return row is not None


async def waiting_counts(database: Database) -> dict[str, int]:
    """Return how many answers wait, by facility."""
    rows = await database.fetch(f"SELECT facility, count(*) AS n FROM outbound WHERE {_WAITS} GROUP BY facility")  # noqa: S608 - constants
    return {r["facility"]: r["n"] for r in rows}

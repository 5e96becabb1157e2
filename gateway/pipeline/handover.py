"""A hospital without a listener fetches the certificate itself: that fetch is the delivery (step 9 by HTTP)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.store import births
from gateway.store.births import Why

if TYPE_CHECKING:
    import uuid

    from gateway.pipeline.context import Context


async def picked_up(context: Context, birth_id: uuid.UUID, *, actor: str) -> None:
    """Move an ISSUED birth of a facility without listener to DELIVERED; otherwise leave everything as it is."""
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        if birth.state is not State.ISSUED or context.facility(birth.facility).deliver_to:
            return
        await births.move(connection, birth, State.DELIVERED, Why(actor, "deliver", "certificate picked up over HTTP"))
        context.metrics.moves.labels(State.DELIVERED.value).inc()
        context.metrics.journey.observe((context.clock() - birth.received_at).total_seconds())

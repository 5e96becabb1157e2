"""A kept message read from the store again, by the helper where it is large: nobody else waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.pipeline.draft import read_again
from gateway.pipeline.helper import HELPED_BYTES
from gateway.pipeline.visit import read_visit
from gateway.store import messages

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.facility import FacilityProfile
    from gateway.contract.ports import Draft, HospitalAdapter
    from gateway.pipeline.context import Context
    from gateway.pipeline.visit import Visit
    from gateway.store.database import Connection
    from gateway.store.messages import Kept


async def read_kept(context: Context, connection: Connection, kept: Kept) -> tuple[Draft, Visit]:
    """Return what a kept message says of a birth and of the stay; a large one is read by the helper.

    One at a time, since each may hold megabytes of documents. Raises LookupError and HelperError.
    """
    raw, _ = await messages.origin(connection, kept.id)
    profile = context.facility(kept.facility)
    hospital, limit = context.hospitals[profile.adapter], context.config.limits.segments_per_message
    if len(raw) < HELPED_BYTES:
        return _both(raw, kept.charset, profile, hospital, kept.received_at, limit)
    return await context.helper.run(_both, raw, kept.charset, profile, hospital, kept.received_at, limit)


def _both(
    raw: bytes,
    charset: str,
    facility: FacilityProfile,
    hospital: HospitalAdapter,
    received_at: dt.datetime,
    segment_limit: int,
) -> tuple[Draft, Visit]:
    draft = read_again(
        raw, charset=charset, facility=facility, hospital=hospital, received_at=received_at, segment_limit=segment_limit
    )
    return draft, read_visit(raw, ZoneInfo(facility.time_zone), charset=charset)

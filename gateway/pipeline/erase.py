"""The parents' right to erasure (UU 27/2022, domain F 111): what the gateway still knows of a family, after its time.

The registration is the office's and stays there. While a birth is on its way, and until retention has removed its
bodies, it is needed: to deliver, to correct, to prove. After that a person erases it at the parents' request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.lifecycle import FINAL
from gateway.contract.record import BirthRecord, Child
from gateway.errors import IllegalMoveError
from gateway.store import births, retention

if TYPE_CHECKING:
    import uuid

    from gateway.pipeline.operate import Desk
    from gateway.store.births import Birth


async def erase(desk: Desk, birth_id: uuid.UUID) -> None:
    """Erase what says who the family is; digests, signatures, the akta's number and the history stay.

    The record number stays too, so that a message about this baby is never taken for a new birth. Raises LookupError,
    IllegalMoveError where the time is not over.
    """
    async with desk.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        if birth.state not in FINAL or not await retention.is_over(connection, birth.id):
            raise IllegalMoveError(
                f"the birth is {birth.state.value} and its time is not over: it is erased once it is finished and "
                f"retention has removed its bodies (retention.bodies_days = {desk.config.retention.bodies_days})"
            )
        await retention.erase(connection, birth.id, _bare(birth))
        await births.note(connection, birth, desk.why("erase"))


def _bare(birth: Birth) -> BirthRecord:
    record = birth.record
    facility = record.facility.model_copy(update={"letter_number": None, "letter_date": None})
    return BirthRecord(event=record.event, facility=facility, child=Child(medical_record=record.child.medical_record))

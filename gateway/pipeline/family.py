"""The record numbers that are, or may be, one baby's, locked together: aliases both ways, both sides of a merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.store import aliases, births

if TYPE_CHECKING:
    import uuid

    from gateway.store.births import Birth
    from gateway.store.database import Connection


@dataclass(slots=True)
class Family:
    """Births by record number, and which numbers lead to another. `numbers` are all that are locked."""

    facility: str
    numbers: frozenset[str]
    births: dict[str, Birth]
    aliases: dict[str, str]

    @property
    def revisions(self) -> dict[uuid.UUID, int]:
        """The revision of each birth now."""
        return {birth.id: birth.revision for birth in self.births.values()}

    async def read_again(self, connection: Connection) -> None:
        """Read the births anew: all are locked, and one may have been changed by its row's other reader."""
        for number, birth in self.births.items():
            self.births[number] = await births.read(connection, birth.id)

    def number(self, number: str) -> str:
        """Return the number a baby has now."""
        return self.aliases.get(number, number)

    def birth(self, number: str) -> Birth | None:
        """Return the birth under a number, whichever of its numbers that is."""
        return self.births.get(self.number(number))

    async def point(self, connection: Connection, *, old: str, new: str, message_id: int) -> None:
        """Let an old number lead to a new one from now on."""
        await aliases.point(connection, self.facility, old=old, new=new, message_id=message_id)
        self.aliases.pop(new, None)
        for one, other in self.aliases.items():
            if other == old:
                self.aliases[one] = new
        self.aliases[old] = new


async def lock(connection: Connection, facility: str, numbers: frozenset[str]) -> Family | frozenset[str]:
    """Lock these numbers and what is under them; return all numbers to lock where there are more of the family.

    More cannot be locked now: only locks taken in one order, all at once, never meet another worker's crosswise. The
    caller ends its transaction and begins again with what it was given.
    """
    found = await births.lock_by_record_numbers(connection, facility, numbers)
    known = await aliases.around(connection, facility, numbers)
    return known.numbers if known.numbers - numbers else Family(facility, numbers, found, known.aliases)

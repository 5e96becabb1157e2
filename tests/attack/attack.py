"""What an attack is: somebody does harm to a gateway that runs, and is refused.

Each module beside this one holds the attacks of one subject in a tuple `ATTACKS`. `make attack` performs them all and
prints each with how it was refused; `pytest tests/attack` performs each as a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.simulators.system import System, system

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


class NotRefusedError(AssertionError):
    """An attack did harm. The sentence says what the attacker got."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where one attack happens: a directory and a migrated database of its own."""

    directory: Path
    dsn: str  # as the gateway's role
    superuser_dsn: str  # as the database's administrator, who may be the attacker

    def system(self, **wishes: Any) -> AbstractAsyncContextManager[System]:
        """Run gateway, registry and hospital here; keywords are tests.simulators.system.Wishes."""
        return system(self.dsn, self.directory, **wishes)


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `run` returns in a few words how it was refused, and raises NotRefusedError where it was not."""

    line: str  # of the issue that asked for it, such as "D1"
    name: str  # what the attacker does: "a gzip body of 1 MB without a token"
    run: Callable[[Ground], Awaitable[str]]


def refused(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Go on where the attack was refused so far; raise NotRefusedError saying what the attacker got otherwise."""
    if not holds:
        raise NotRefusedError(otherwise)

"""Retry is a decision, not a loop: (error, attempt) to when, or never.

What is known to pass is tried again with full jitter and a cap. What nobody knows is tried a few times and then laid
before a person with everything needed to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import (
    DeliveryUnavailableError,
    KeyMissingError,
    Next,
    ProcotError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    import random

UNKNOWN_ERROR_ATTEMPTS = 5
LONGEST_WISH_S = 86_400.0  # a Retry-After beyond a day is a mistake of the other side; nothing may sleep for ever


@dataclass(frozen=True, slots=True)
class Pace:
    """Exponential back-off: the first ceiling and the highest, in seconds."""

    first_s: float
    highest_s: float

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Return a delay for the n-th attempt (1-based): half fixed, half jitter, so that herds spread out."""
        ceiling = min(self.highest_s, self.first_s * float(2 ** min(attempt - 1, 20)))
        return ceiling * (0.5 + rng.random() / 2)


_PACES: dict[type[ProcotError], Pace] = {
    RegistryUnavailableError: Pace(1, 300),
    RegistryUnknownOutcomeError: Pace(0.5, 60),
    DeliveryUnavailableError: Pace(1, 300),
    StoreUnavailableError: Pace(0.5, 15),
    KeyMissingError: Pace(5, 60),
}
_UNKNOWN = Pace(1, 60)


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after so many seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A person decides; the code says why."""

    code: str


def code_of(error: BaseException) -> str:
    """Return the stable name of an error."""
    return error.code if isinstance(error, ProcotError) else type(error).__name__


def decide(error: BaseException, *, attempt: int, rng: random.Random, before: str | None = None) -> Again | GiveUp:
    """Return what to do after the n-th attempt (1-based) ended in `error`; `before` is how the one before it ended.

    A task may have waited many times for good reasons (a poll does): its attempts count against it only where the
    same unknown error comes again.
    """
    if isinstance(error, RegistryUnavailableError) and error.after is not None:
        return Again(min(max(error.after, 0.0), LONGEST_WISH_S) + rng.random())
    if isinstance(error, ProcotError):
        pace = _PACES.get(type(error))
        if pace is not None:
            return Again(pace.delay(attempt, rng))
        if error.next in (Next.HOLD, Next.REFUSE):
            return GiveUp(error.code)
    if attempt < UNKNOWN_ERROR_ATTEMPTS or before not in (None, code_of(error)):
        return Again(_UNKNOWN.delay(attempt, rng))
    return GiveUp(code_of(error))

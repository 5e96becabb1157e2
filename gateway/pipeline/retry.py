"""Retry is a decision, not a loop: (error, attempt) to when, or never.

Four classes of error, and what each means for a task:

    theirs       the other side must change something         a person, at once
    ours         a bug, a setting, a key, the database        a few tries; a person where it does not pass
    unavailable  nothing happened there                       again with jitter, for as long as the outage lasts
    unknown      it may have happened                         asked about before anything is sent again, then as above

Attempts are bounded: what fails again and again while its counterpart serves others is laid before a person with
everything needed to decide. While a counterpart is down for everybody no attempt counts (`pipeline.breaker`), until the
task is OLD_S old: then every attempt counts, since nothing may wait for ever unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gateway.errors import (
    BirthBusyError,
    DeliveryRefusedError,
    DeliveryUnansweredError,
    DeliveryUnavailableError,
    DocumentAddressError,
    IllegalMoveError,
    KeyMissingError,
    Next,
    ProcotError,
    RegistryDocumentError,
    RegistryLoginError,
    RegistryProtocolError,
    RegistryQuotaError,
    RegistryRefusedError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
    SignatureError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    import random

UNKNOWN_ERROR_ATTEMPTS = 5
MOST_ATTEMPTS = 60  # of one task, while its counterpart serves others: at the highest pace some five hours
OLD_S = 3 * 86_400.0  # from this age on a task's failures count, whoever else is served
LONGEST_WISH_S = 86_400.0  # a Retry-After beyond a day is a mistake of the other side; nothing may sleep for ever


class Fault(Enum):
    """Whose turn it is when a step failed."""

    THEIRS = "theirs"
    OURS = "ours"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


_FAULTS: dict[type[ProcotError], Fault] = {
    RegistryUnknownOutcomeError: Fault.UNKNOWN,
    RegistryUnavailableError: Fault.UNAVAILABLE,
    DeliveryUnavailableError: Fault.UNAVAILABLE,
    RegistryRefusedError: Fault.THEIRS,
    RegistryProtocolError: Fault.THEIRS,
    DeliveryRefusedError: Fault.THEIRS,
    SignatureError: Fault.THEIRS,
}
# What an operator does about a dead letter, by the stable name of its error.
ADVICE: dict[str, str] = {
    RegistryRefusedError.code: "read the registry's code; the hospital corrects the data, or the office decides",
    RegistryProtocolError.code: "the registry answered off its contract: call the office, then retry",
    DocumentAddressError.code: "the registry names an address for the file that is not its own: call the office; if it "
    "is right, add its origin to registry.document_origins and restart, then retry",
    RegistryUnavailableError.code: "the registry serves others: ask the office what is special here, then retry",
    RegistryDocumentError.code: "the registry does not give out this one file; the hospital has the numbers already: "
    "ask the office for it, then retry",
    RegistryQuotaError.code: "nothing: it goes on at midnight WIB; procot registry resume, if the quota was raised",
    RegistryLoginError.code: "correct registry.check_user, check_password_file or check_ip and restart, or "
    "procot registry resume once Dukcapil mended its side",
    RegistryUnknownOutcomeError.code: "ask the office whether it has the case; retry asks by our id before it sends",
    DeliveryUnavailableError.code: "the hospital's listener takes other letters and leaves this one unanswered: "
    "look at it there, then retry",
    DeliveryRefusedError.code: "the hospital's listener refused the letter: mend it there and retry, or tell the ward "
    "by another way and discard",
    SignatureError.code: "keys do not fit: check the registry's keys, then retry",
    IllegalMoveError.code: "a programming error: keep the log, report it; the birth is as it was",
    "LookupError": "something the step needs is missing, perhaps a [[facility]] block: put it back, then retry",
}
_ADVICE_OTHERWISE = "an error nobody foresaw: its place is in the log (task.given_up); mend or report it, then retry"


@dataclass(frozen=True, slots=True)
class Pace:
    """Exponential back-off: the first ceiling and the highest, in seconds."""

    first_s: float
    highest_s: float

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Return a delay for the n-th attempt (1-based): half fixed, half jitter, so that herds spread out."""
        return self._ceiling(attempt) * (0.5 + rng.random() / 2)

    def full(self, attempt: int, rng: random.Random) -> float:
        """Return a delay with full jitter: anywhere up to the ceiling, for herds that failed in the same moment."""
        return self._ceiling(attempt) * max(0.01, rng.random())

    def _ceiling(self, attempt: int) -> float:
        return min(self.highest_s, self.first_s * float(2 ** min(attempt - 1, 20)))


_PACES: dict[type[ProcotError], Pace] = {
    RegistryUnavailableError: Pace(1, 300),
    RegistryDocumentError: Pace(30, 300),
    DocumentAddressError: Pace(30, 300),
    RegistryUnknownOutcomeError: Pace(0.5, 60),
    DeliveryUnavailableError: Pace(1, 300),
    DeliveryUnansweredError: Pace(10, 300),
    StoreUnavailableError: Pace(0.5, 15),
    BirthBusyError: Pace(0.2, 5),
    KeyMissingError: Pace(5, 60),
}
# Those whose cause heals for all tasks at once; no task of theirs is ever special.
_COMMON = (StoreUnavailableError, KeyMissingError)
# What one of many meets by itself comes back alone: no herd, and no hurry.
BY_ITSELF = (RegistryDocumentError, DeliveryUnansweredError)
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


def fault_of(error: BaseException) -> Fault:
    """Return the class of an error; what nobody knows is ours."""
    found = (fault for kind, fault in _FAULTS.items() if isinstance(error, kind))
    return next(found, Fault.OURS)


def advice(code: str) -> str:
    """Return what an operator does about a dead letter of this code."""
    return ADVICE.get(code, _ADVICE_OTHERWISE)


def decide(error: BaseException, *, attempt: int, rng: random.Random, before: str | None = None) -> Again | GiveUp:
    """Return what to do after the n-th failure in a row (1-based) was `error`; `before` is how the one before ended.

    What nobody knows is given up early only where the same error comes again.
    """
    code = code_of(error)
    if isinstance(error, ProcotError):
        pace = _PACES.get(type(error))
        if isinstance(error, _COMMON) and pace is not None:
            return Again(pace.full(attempt, rng))
        if error.next in (Next.HOLD, Next.REFUSE) or attempt >= MOST_ATTEMPTS:
            return GiveUp(code)
        if isinstance(error, RegistryUnavailableError) and error.after is not None:
            return Again(min(max(error.after, 0.0), LONGEST_WISH_S) + rng.random())
        if pace is not None:
            return Again((pace.delay if isinstance(error, BY_ITSELF) else pace.full)(attempt, rng))
    if attempt < UNKNOWN_ERROR_ATTEMPTS or (before not in (None, code) and attempt < MOST_ATTEMPTS):
        return Again(_UNKNOWN.full(attempt, rng))
    return GiveUp(code)

"""The one error root. Every error says whose fault it is and what to do next.

A port converts foreign exceptions to these at its edge, always with `from`. Texts name the thing, the reason and the
next step, and never hold personal data: they end in logs and in answers.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Next(Enum):
    """What the caller does with an error (architecture, principle 6)."""

    RETRY = "retry"  # nothing happened, or it is safe to do again
    ASK = "ask"  # it may have happened: ask before doing it again
    REFUSE = "refuse"  # the other side must change something
    HOLD = "hold"  # a person decides


class ProcotError(Exception):
    """Root of everything raised on purpose. `code` is stable and may be logged.

    `outage` is set where a counterpart is down for everybody: it says nothing about the one task that met it.
    """

    code = "PROCOT"
    next = Next.HOLD
    outage = False


class ConfigError(ProcotError):
    """A setting is wrong. The text names the key, the value and the reason."""

    code = "CONFIG"


class DataDirectoryHeldError(ProcotError):
    """Another process holds the data directory; the text says which."""

    code = "DATA_DIRECTORY_HELD"


class DatabaseStartError(ProcotError):
    """The embedded PostgreSQL did not start."""

    code = "DATABASE_START"


class StoreUnavailableError(ProcotError):
    """PostgreSQL cannot be reached, is read-only or full: nothing was kept."""

    code = "STORE_UNAVAILABLE"
    next = Next.RETRY


class RateLimitedError(StoreUnavailableError):
    """A facility sends more messages a second than are taken from one (limits.messages_per_s_per_facility)."""

    code = "RATE_LIMITED"


class OverloadedError(StoreUnavailableError):
    """More messages wait to be kept than a cap allows; nothing was kept."""

    code = "OVERLOADED"


class MessageNotKeptError(ProcotError):
    """PostgreSQL will not take this one message; it lies in quarantine where that was possible."""

    code = "MESSAGE_NOT_KEPT"


class BirthBusyError(StoreUnavailableError):
    """Somebody works on a birth that this one has to do with; nothing was changed. `mothers`: lock them first.

    Whoever holds a birth waits for no other one to compare with (pipeline.likeness): it gives up, and begins again.
    """

    code = "BIRTH_BUSY"

    def __init__(self, mothers: Iterable[bytes] = ()) -> None:
        super().__init__("a birth that this one has to do with is being worked on; nothing was changed, try again")
        self.mothers = frozenset(mothers)


class LeaseLostError(ProcotError):
    """Another worker took the task over; this one writes nothing."""

    code = "LEASE_LOST"
    next = Next.RETRY


class IllegalMoveError(ProcotError):
    """The life cycle has no such move; nothing was changed."""

    code = "ILLEGAL_MOVE"


class Hl7SyntaxError(ProcotError):
    """The bytes are not an HL7 v2 message."""

    code = "HL7_SYNTAX"
    next = Next.REFUSE


class FrameError(ProcotError):
    """The MLLP stream broke a rule or a cap; the connection is closed."""

    code = "FRAME"
    next = Next.REFUSE


class DeliveryUnavailableError(ProcotError):
    """The hospital's listener did not answer; the same bytes are sent again later."""

    code = "DELIVERY_UNAVAILABLE"
    next = Next.RETRY


class DeliveryUnansweredError(DeliveryUnavailableError):
    """The listener took the connection and gave this one letter no usable answer in time: it waits by itself.

    What cannot be connected to is away for every letter; what does not answer may be unable to read this one.
    """


class DeliveryRefusedError(ProcotError):
    """The hospital's listener answered AE, AR, CE or CR; the same bytes are not sent again."""

    code = "DELIVERY_REFUSED"
    next = Next.HOLD


class RegistryUnavailableError(ProcotError):
    """The registry could not be reached, or said so itself (429, 503): nothing happened there.

    `after` is the registry's own wish for the next try, in seconds (Retry-After), or None.
    """

    code = "REGISTRY_UNAVAILABLE"
    next = Next.RETRY

    def __init__(self, text: str, *, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


class RegistryDocumentError(RegistryUnavailableError):
    """This one certificate's file cannot be had (401, 403, 404, 410): that says nothing about any other."""

    code = "DOCUMENT_UNAVAILABLE"


class DocumentAddressError(RegistryDocumentError):
    """This one file lies at an address that is not the registry's and that nobody allowed: nothing was called."""

    code = "DOCUMENT_ADDRESS"


class RegistryQuotaError(RegistryUnavailableError):
    """The day's quota of the element check is used up; `after` is how long until the next day (domain F 93)."""

    code = "REGISTRY_QUOTA"
    outage = True


class RegistryLoginError(RegistryUnavailableError):
    """The element check refuses user, password or address: tried again it may lock the account (domain F 94)."""

    code = "REGISTRY_LOGIN"
    outage = True


class RegistryUnknownOutcomeError(ProcotError):
    """The request left and no usable answer came: it may have been done. Ask by our id before any resend."""

    code = "REGISTRY_UNKNOWN_OUTCOME"
    next = Next.ASK


class RegistryRefusedError(ProcotError):
    """The registry refuses this content for good (4xx with a code). `reason` is the registry's code."""

    code = "REGISTRY_REFUSED"
    next = Next.REFUSE

    def __init__(self, text: str, *, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class RegistryTooLateError(ProcotError):
    """The registry's case went on without this change: it was not taken, and is not taken again. The case stands.

    `reason` is the registry's code.
    """

    code = "REGISTRY_TOO_LATE"
    next = Next.REFUSE

    def __init__(self, text: str, *, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class RegistryProtocolError(ProcotError):
    """The registry answered something its contract does not know. A person looks."""

    code = "REGISTRY_PROTOCOL"
    next = Next.HOLD


class NonsenseError(RegistryProtocolError):
    """Something rightly signed holds a value out of all bounds: a time, a number, an address. Nothing was changed."""

    code = "SIGNED_NONSENSE"


class JournalRewrittenError(ProcotError):
    """The database's journal does not go on from the head that its signer keeps: nothing is signed on it."""

    code = "JOURNAL_REWRITTEN"


class HeadNotKeptError(ProcotError):
    """The head of the journal cannot be kept beside the keys, or read there: nothing is signed meanwhile."""

    code = "JOURNAL_HEAD_NOT_KEPT"
    next = Next.RETRY


class SignatureError(ProcotError):
    """A signature is missing, malformed, by an unknown key, or does not fit the bytes."""

    code = "SIGNATURE"
    next = Next.REFUSE


class EvidenceError(ProcotError):
    """What is shown does not prove what it says. The text names the part that does not fit, and where."""

    code = "EVIDENCE"
    next = Next.REFUSE


class KeyMissingError(ProcotError):
    """No signing key can be read."""

    code = "KEY_MISSING"
    next = Next.RETRY

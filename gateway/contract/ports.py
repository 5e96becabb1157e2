"""The ports adapters fill: hospital (HL7 to record and back) and registry (check, document, submit, outcome).

An adapter converts foreign exceptions to gateway.errors at its edge. It never touches the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

from gateway.contract.revision import build_record, leaves_of, proposed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from gateway.contract.facility import FacilityProfile
    from gateway.contract.finding import Finding
    from gateway.contract.masked import Nik, Personal
    from gateway.contract.record import BirthRecord
    from gateway.hl7.location import Location
    from gateway.hl7.message import Message

# --------------------------------------------------------------------------------------------------- hospital


class Effect(Enum):
    """What a message means for a birth (domain A.1)."""

    NONE = "none"  # understood, not about a birth: AA, no case
    OPEN = "open"  # may create a birth, or amend the one that is there
    AMEND = "amend"  # changes a known birth; creates only where the facility allows
    CANCEL = "cancel"  # withdraws the birth notice
    DISCHARGE = "discharge"  # parents are about to leave: urgency up
    UNDO_DISCHARGE = "undo_discharge"  # they stay: urgency down again
    MOVE = "move"  # another bed or class: an event of a known birth, nothing else
    MERGE = "merge"  # two record numbers are one baby
    RENUMBER = "renumber"  # a baby has another record number
    LINK = "link"  # mother and newborn belong together, or two newborns look like one
    UNLINK = "unlink"  # takes a link back
    OBSERVE = "observe"  # measurements that come after the notice
    ATTACH = "attach"  # scanned documents of a birth


# These wait for a birth that is not known yet, since they may overtake its notice.
PATIENT = (Effect.OBSERVE, Effect.ATTACH)


@dataclass(frozen=True, slots=True)
class Prior:
    """One pair of a merge or renumbering: what was under `old` is under `new` from now on (MRG-1, PID-3).

    `says` is what the PID beside it tells of the child: for what neither had.
    """

    old: str
    new: str
    says: Draft | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document that came with a message: its bytes (ED), or where it lies (RP). `sha256` is hex, "" for a pointer.

    `content` is empty where a draft was read back from the store: the raw message has the bytes.
    """

    place: Location
    kind: str  # OBX-3.1: what the document is
    mime: str
    size: int = 0
    sha256: str = ""
    pointer: str = field(default="", repr=False)
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Draft:
    """A message mapped to the fields of a record, before any judgement. Pure data, no decisions.

    `values` are the record's fields by dotted path, None where the message brings no data of a birth; `places` gives
    where each came from; `cleared` names fields the sender asked to delete (""). `prior` are the pairs of a merge or
    renumbering, `linked` the other newborns of a link. `if_unknown` is what is said where no birth has its number,
    `if_open` where one has it that is not registered yet.
    """

    effect: Effect
    medical_record: str
    values: Mapping[str, Any] | None = field(repr=False)
    places: Mapping[str, Location] = field(default_factory=dict)
    cleared: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    sent_at: dt.datetime | None = None
    prior: tuple[Prior, ...] = ()
    linked: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    if_unknown: tuple[Finding, ...] = ()
    if_open: tuple[Finding, ...] = ()

    @classmethod
    def of_record(cls, effect: Effect, record: BirthRecord, places: Mapping[str, Location]) -> Self:
        """Return a draft that says all that a record says."""
        return cls(effect, record.child.medical_record.reveal(), leaves_of(record), places)

    @cached_property
    def record(self) -> BirthRecord | None:
        """The values as a record, with the variant they speak for. Built when asked for: at the door nobody does."""
        if self.values is None:
            return None
        places = {path: str(place) for path, place in self.places.items()}
        return proposed(build_record(self.values)).model_copy(update={"provenance": places})

    @property
    def concerns(self) -> tuple[str, ...]:
        """Every record number it speaks of beside its own: what must be locked with it."""
        numbers = {*self.linked, *(n for pair in self.prior for n in (pair.old, pair.new))}
        return tuple(sorted(numbers - {self.medical_record}))


class AnswerKind(Enum):
    """What goes back to a hospital."""

    CERTIFICATE = "MDM^T02"
    CHILD_IDENTITY = "ADT^A31"
    REPLACEMENT = "MDM^T10"
    REVOCATION = "MDM^T11"
    APPLICATION_ANSWER = "ACK"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the registry issued."""

    number: str
    child_nik: Nik
    family_card: Personal
    issued_at: dt.datetime
    sha256: str
    document_url: str
    document: bytes = b""
    registered: Mapping[str, Personal] = field(default_factory=dict, repr=False)  # what the akta says, by record path


@dataclass(frozen=True, slots=True)
class Correspondence:
    """All an outbound message needs beside the certificate: who, in whose format, under which control id."""

    facility: FacilityProfile
    record: BirthRecord
    control_id: str
    now: dt.datetime
    our_application: str
    our_facility: str
    origin: bytes  # the first message of the birth: version, delimiters, charset and application of the sender
    replaces: str = ""  # the certificate's number before a correction
    differs: tuple[str, ...] = ()  # record paths in which the akta differs from what the hospital told (domain F 97)


class HospitalAdapter(Protocol):
    """How one kind of hospital system speaks."""

    name: str

    def draft(self, message: Message, facility: FacilityProfile, *, now: dt.datetime) -> Draft:
        """Map a message to a draft. Pure; what cannot be mapped becomes a finding, never an exception."""
        ...

    def certificate_messages(self) -> tuple[AnswerKind, ...]:
        """Return the messages a certificate goes back with, in order."""
        ...

    def replacement_messages(self) -> tuple[AnswerKind, ...]:
        """Return the messages a corrected certificate goes back with, in order."""
        ...

    def revocation_messages(self) -> tuple[AnswerKind, ...]:
        """Return the messages that tell of a revoked certificate, in order."""
        ...

    def compose(self, kind: AnswerKind, certificate: Certificate, letter: Correspondence) -> bytes:
        """Return the HL7 bytes of one outbound message, without MLLP framing."""
        ...


# --------------------------------------------------------------------------------------------------- registry


class RegistryStatus(Enum):
    """Where the registry has a case, in our words."""

    UNKNOWN = "unknown"  # it has no such case
    IN_PROCESS = "in_process"
    NEEDS_DATA = "needs_data"
    ISSUED = "issued"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class ActKind(Enum):
    """What may be asked of a registry about a case it has (domain C.4)."""

    WITHDRAW = "withdraw"  # pembatalan before issue
    CORRECT = "correct"  # pembetulan of an issued akta
    REVOKE = "revoke"  # pembatalan after issue
    DOCUMENTS = "documents"  # berkas


class ActStatus(Enum):
    """What became of an act."""

    ACCEPTED = "accepted"  # the office has it and decides
    GRANTED = "granted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ActOutcome:
    """What the registry says of one act; `key` is our Idempotency-Key, `reason` its code."""

    key: str
    status: ActStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """One document that goes to the registry; `kind` says what it is."""

    kind: str
    sha256: str
    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What an act says: about which case and revision, of which certificate, why.

    `basis` of a correction is `clerical` or `court` (then with the `order`'s number), `paths` what it changes.
    """

    kind: ActKind
    birth_id: str
    revision: int
    number: str = ""
    reason: str = ""
    basis: str = ""
    order: str = ""
    paths: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedAct:
    """The exact bytes of an act that were signed, and under which key they go, the same for every try."""

    kind: ActKind
    birth_id: str
    revision: int
    reference: str  # no_permohonan of the case
    key: str
    payload: bytes = field(repr=False)
    signature: str
    scans: tuple[Scan, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer of the registry about one case and revision, from submission, poll or callback alike.

    `acts` are those it knows of, whatever became of them.
    """

    birth_id: str
    revision: int
    status: RegistryStatus
    reference: str = ""  # no_permohonan
    certificate: Certificate | None = None
    reason: str = ""  # the registry's code, e.g. NIK_IBU_TIDAK_SESUAI
    text: str = ""  # its sentence for people
    acts: tuple[ActOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class ElementVerdict:
    """What the register said of one element of a parent. `field` is the record's; None: it was asked and not answered.

    `score` is out of 100, None where no score came with the word.
    """

    field: str
    agrees: bool | None
    score: int | None = None


@dataclass(frozen=True, slots=True)
class ParentCheck:
    """The registry's opinion on one parent's elements. `findings` is empty where all agree.

    `learned` are values by record path that were missing and that the registry told, where it may be asked for them.
    `elements` are the verdicts one by one, for the officer; empty where the answer was about the whole person.
    """

    parent: str  # "mother" or "father"
    findings: tuple[Finding, ...]
    learned: Mapping[str, Personal] = field(default_factory=dict, repr=False)
    elements: tuple[ElementVerdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """The exact bytes that were signed, and the signature over them.

    `amends` is the registry's reference of the open case whose data they replace (perbaikan), "" for a new application.
    """

    birth_id: str
    revision: int
    payload: bytes
    signature: str  # detached JWS, RFC 7515 appendix F
    amends: str = ""

    @property
    def idempotency_key(self) -> str:
        """Case and revision: the same key for every try, never a new one (domain F 96)."""
        return f"{self.birth_id}:{self.revision}"


@dataclass(frozen=True, slots=True)
class TwinGroup:
    """Births of one delivery."""

    group_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """What a registry adapter is opened with: configuration section `registry`, its secrets already read.

    `repr` shows no secret. `options` are the adapter's own; one it does not know is a ConfigError.
    """

    url: str
    clock: Callable[[], dt.datetime]  # aware, UTC
    office: str = "3510"
    token: str = field(default="", repr=False)
    check_user: str = field(default="", repr=False)
    check_password: str = field(default="", repr=False)
    check_ip: str = ""
    callback_jwks: str = ""  # file or http(s) URL; empty: no callback is believed
    document_origins: tuple[str, ...] = ()  # where a certificate's file may lie beside `url`'s own origin
    timeout_s: float = 20.0
    options: Mapping[str, str] = field(default_factory=dict)


class RegistryAdapter(Protocol):
    """A civil registry. Network errors become RegistryUnavailableError or RegistryUnknownOutcomeError."""

    name: str

    @property
    def check_identity(self) -> str:
        """As whom `check_parents` asks, as a digest: what was refused to one is not refused to another."""
        ...

    def reopen_checks(self, since: dt.datetime) -> None:
        """Forget a refusal of quota or login from before `since`: a person mended its cause."""
        ...

    async def check_parents(self, record: BirthRecord) -> tuple[ParentCheck, ...]:
        """Ask whether the parents' data are right (domain C.2)."""
        ...

    def document(self, record: BirthRecord, *, birth_id: str, revision: int, twins: TwinGroup | None) -> dict[str, Any]:
        """Map a record to the registry's document. Pure: plain JSON data, ready to be made canonical and signed."""
        ...

    async def submit(self, submission: Submission) -> Outcome:
        """Send the signed bytes. A repeated key with the same bytes is answered as the first time.

        Raises RegistryTooLateError for an amendment that the office does not take any more; the case stands.
        """
        ...

    @property
    def amends(self) -> bool:
        """Whether this office takes changes of a case it works on (domain F 18)."""
        ...

    @property
    def acts(self) -> frozenset[ActKind]:
        """What this office takes over its interface."""
        ...

    def act_document(self, ask: Ask, record: BirthRecord) -> dict[str, Any]:
        """Map an act to the registry's document. Pure."""
        ...

    async def act(self, act: SignedAct) -> Outcome:
        """Send an act. A repeated key with the same bytes is answered as the first time.

        Raises RegistryRefusedError where it is not taken; the case stands as it was.
        """
        ...

    async def ask(self, *, birth_id: str, revision: int, reference: str) -> Outcome:
        """Ask where a case is, by the registry's reference or, without one, by our id and revision."""
        ...

    async def fetch_document(self, certificate: Certificate) -> bytes:
        """Return the certificate file; its SHA-256 is checked by the caller."""
        ...

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Check the signature of a callback and return what it says. Raises SignatureError, RegistryProtocolError."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...

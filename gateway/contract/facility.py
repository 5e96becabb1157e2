"""A facility as adapters and rules see it: who sends, in which zone, with which habits, and where answers go."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.contract.strictness import Change, read_changes

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

NameOrder = Literal["auto", "full_in_family", "given_family", "family_given"]
ApplicationAnswer = Literal["none", "same_connection", "listener"]

_DATE = re.compile(r"\d{8}", re.ASCII)  # how an HL7 time begins that names a day

# The three Indonesian zones by the names people write (domain B.12).
ZONES = {"WIB": "Asia/Jakarta", "WITA": "Asia/Makassar", "WIT": "Asia/Jayapura"}
# What their clocks are east of UTC, as records write it. A birth told with another offset was not told by them.
INDONESIAN_OFFSETS = frozenset({"+07:00", "+08:00", "+09:00"})


def _zone(value: str) -> str:
    name = ZONES.get(value.upper(), value)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("no such time zone; write WIB, WITA, WIT or a name such as Asia/Jakarta") from None
    return name


def _listener(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value and (not host or not port.isdigit()):
        raise ValueError("write HOST:PORT of the facility's MLLP listener")
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueError(f"{network!r} is not an IP network ({error})") from None
    return value


class FacilityProfile(BaseModel):
    """One `[[facility]]` block."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(min_length=1, description="MSH-4.1, exactly as the sender writes it")
    name: str = Field(default="", description="name on the record; default: the code")
    region: str = Field(pattern=r"^\d{4}$", description="Kemendagri code of its kabupaten/kota, four digits")
    faskes: str = Field(default="", description="national facility code, if it has one")
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="Asia/Jakarta", description="WIB, WITA, WIT or a name; for times without an offset"
    )
    adapter: str = Field(default="baseline", description="hospital adapter (entry point gateway.hospital)")
    name_order: NameOrder = Field(default="auto", description="how PID-5 holds a name (domain A.4)")
    charset: Literal["cp1252", "iso-8859-1"] = Field(
        default="cp1252", description="tried where MSH-18 is empty and the bytes are not UTF-8"
    )
    applications: tuple[str, ...] = Field(default=(), description="MSH-3 values allowed; empty: any")
    peers: Annotated[tuple[str, ...], AfterValidator(_networks)] = Field(
        default=(), description="IP networks it may connect from; empty: any"
    )
    certificates: tuple[str, ...] = Field(
        default=(), description="names (CN or DNS) its TLS client certificate may bear; empty: any"
    )
    insecure: Literal["", "msh-4"] = Field(
        default="",
        description="`msh-4`: it is known by nothing but MSH-4, which anybody can write; a gateway serves a facility "
        "without `certificates` and without `peers` only where this says so",
    )
    deliver_to: Annotated[str, AfterValidator(_listener)] = Field(
        default="", description="HOST:PORT of its MLLP listener; empty: results wait for pick-up over HTTP"
    )
    deliver_document: Literal["pointer", "pdf", "both"] = Field(
        default="pointer", description="how MDM^T02 brings the certificate: RP pointer, ED PDF, or both"
    )
    application_answer: ApplicationAnswer = Field(
        default="none",
        description="where the application answer of enhanced mode goes (domain A.5): nowhere, behind the accept "
        "answer on its connection, or later as a message of its own to deliver_to",
    )
    update_creates: bool = Field(default=True, description="an A08/A31 for an unknown newborn opens a birth")
    consent: Literal["public_task", "required"] = Field(
        default="public_task",
        description="the registration of a birth is a public task: a missing consent is named and holds nothing; "
        "or it is required and the birth waits for the form",
    )
    control_id_per_day: bool = Field(
        default=False, description="MSH-10 starts anew each day: it is unique with the day of MSH-7 only"
    )
    policy: Annotated[tuple[Change, ...], BeforeValidator(read_changes)] = Field(
        default=(), description='table CHECK = "error|warning|ignore": how strictly it is read (docs/integrators.md)'
    )

    @model_validator(mode="after")
    def _answers_have_a_listener(self) -> Self:
        if self.application_answer == "listener" and not self.deliver_to:
            raise ValueError('application_answer = "listener" needs deliver_to, the HOST:PORT of that listener')
        return self

    @property
    def bound(self) -> bool:
        """Whether the connection tells that a message is its own: by certificate or address."""
        return bool(self.certificates or self.peers)

    @property
    def display_name(self) -> str:
        """The name for records and documents."""
        return self.name or self.code

    def control_key(self, control_id: str, sent_at: str, clock: Callable[[], dt.datetime]) -> str:
        """Return what makes a message of this sender unique: MSH-10, after its day where ids are counted per day.

        The day is that of MSH-7 as it is written there, else the day of receipt at the facility (domain A.6).
        """
        if not self.control_id_per_day:
            return control_id
        day = _DATE.match(sent_at)
        return f"{day[0] if day else clock().astimezone(ZoneInfo(self.time_zone)).strftime('%Y%m%d')}/{control_id}"

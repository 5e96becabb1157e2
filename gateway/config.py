"""Configuration: one TOML file, every key overridable as `PROCOT_SECTION__KEY`, checked whole before anything starts.

All settings are frozen objects with a unit in the name where there is one. An unknown key, a wrong value or a missing
secret is a `ConfigError` that names key, value and reason. Secrets are named by file (`*_file`) or come from the
environment; they are never written back or logged.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from gateway.contract.facility import FacilityProfile
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_PREFIX = "PROCOT_"


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the highest TCP port
        raise ValueError("write HOST:PORT, for example 127.0.0.1:2575 (port 0 takes a free one)")
    return value


def _dsn(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("write postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return value


def _as_written(value: object) -> object:
    """Take a number for its text: TOML tells 95 from "95", whoever sets a threshold need not."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


OptionText = Annotated[str, BeforeValidator(_as_written)]
Address = Annotated[str, AfterValidator(_address)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A configuration section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Gateway(Section):
    """Who we are in HL7 and how many hands we have."""

    application: str = Field(default="AKTAGW", description="our MSH-3")
    facility: str = Field(default="DISDUKCAPIL 3510", description="our MSH-4")
    public_url: str = Field(default="", description="base of the links given to hospitals; empty: the HTTP address")
    workers: int = Field(default=8, ge=0, le=64, description="tasks worked on at the same time; 0: intake only")
    lease_s: Seconds = Field(default=60, description="after which another worker takes a task over; longer than a step")
    drain_s: Seconds = Field(default=10, description="how long SIGTERM waits for work in hand")
    test_messages: Literal["accept", "reject"] = Field(
        default="accept",
        description="MSH-11 T or D: answered AA with TEST and kept out of the registry, or AR 202",
    )


class Database(Section):
    """PostgreSQL 15 or newer by `dsn`, or the embedded server in `directory` where none is given."""

    dsn: Annotated[SecretStr, AfterValidator(_dsn)] | None = Field(
        default=None, description="postgresql://…; several hosts with target_session_attrs=read-write for a fail-over"
    )
    directory: Path = Field(default=Path("var"), description="keys, the run file, and the embedded PostgreSQL")
    pool_size: int = Field(
        default=8, ge=2, le=50, description="connections of workers and HTTP; intake has its own two"
    )
    timeout_s: Seconds = Field(default=10, description="of one statement, and of connecting")
    migrate: Literal["start", "never"] = Field(
        default="start", description="who brings the schema up: each gateway at its start, or `procot migrate` alone"
    )

    @model_validator(mode="after")
    def _somebody_migrates(self) -> Self:
        if self.migrate == "never" and self.dsn is None:
            raise ValueError('migrate = "never" needs dsn: the embedded PostgreSQL is migrated at its start alone')
        return self


class Mllp(Section):
    """The MLLP listener."""

    listen: Address = Field(default="127.0.0.1:2575", description="HOST:PORT; port 0 takes a free one")
    tls_listen: Address | None = Field(default=None, description="MLLP over TLS; needs [tls]")
    release: Literal[1, 2] = Field(default=1, description="MLLP release of `listen`; 2: a commit block before answers")
    tls_release: Literal[1, 2] = Field(default=1, description="the same for `tls_listen`")
    batch_answers: Literal["batch", "each"] = Field(
        default="batch",
        description="a batch (FHS, BHS) is answered by a batch of answers in one block, or by a block each",
    )
    insecure: Literal["", "plain"] = Field(
        default="",
        description="`plain`: `listen` may lie outside of loopback, unencrypted, also for facilities without `peers`",
    )
    reuse_port: bool = Field(default=False, description="several gateway processes share the address (SO_REUSEPORT)")


class Http(Section):
    """The HTTP listener."""

    listen: Address = Field(default="127.0.0.1:8080", description="HOST:PORT; port 0 takes a free one")
    insecure: Literal["", "plain"] = Field(
        default="",
        description="`plain`: `listen` may lie outside of loopback, as behind a proxy that speaks TLS",
    )
    ack_status: Literal["always200", "hapi"] = Field(
        default="always200",
        description="status of an answer of POST /v1/hl7: 200 whatever it says, or AA/CA 200, AR/CR 400, AE/CE 500",
    )


class Tls(Section):
    """Certificates for MLLP over TLS. With `client_ca_file` a sender must show a certificate it signed."""

    certificate_file: Path | None = Field(default=None, description="our certificate chain, PEM")
    key_file: Path | None = Field(default=None, description="its key, PEM")
    client_ca_file: Path | None = Field(
        default=None, description="CA of the senders' certificates; none: none asked for"
    )


class Limits(Section):
    """Every cap on what comes from outside, with its unit."""

    message_bytes: int = Field(default=5 * 1024 * 1024, ge=1024, description="one MLLP block; more ends the connection")
    segments_per_message: int = Field(default=2000, ge=10, description="more: AR")
    messages_per_block: int = Field(default=1000, ge=1, description="batch segments count too; more: AR for the block")
    connections: int = Field(default=2500, ge=1, description="MLLP connections at the same time")
    connections_per_peer: int = Field(default=1000, ge=1, description="the same, from one address")
    http_connections: int = Field(
        default=1024,
        ge=1,
        description="HTTP connections at the same time; fewer where files are short",
    )
    http_connections_per_peer: int = Field(default=256, ge=1, description="the same, from one address")
    idle_s: Seconds = Field(default=600, description="a connection without any byte is closed")
    read_s: Seconds = Field(
        default=30, description="a frame begun, a request's headers, a body: each ends in this time"
    )
    write_s: Seconds = Field(default=30, description="an answer must be taken within this time")
    burst_s: Seconds = Field(default=10, description="so many seconds' worth of each rate below may come at once")
    messages_per_s_per_peer: float = Field(
        default=2000, ge=0, description="HL7 messages from one address; more is read later; 0: no limit"
    )
    messages_per_s_per_facility: float = Field(
        default=2000,
        ge=0,
        description="HL7 messages of one facility; more: AR/CR; 0: no limit",
    )
    requests_per_s_per_peer: float = Field(
        default=500, ge=0, description="HTTP requests from one address; more: 429; 0: no limit"
    )
    requests_per_s_per_token: float = Field(default=500, ge=0, description="the same, with one token")
    unauthorized_per_s_per_peer: float = Field(
        default=10, ge=0, description="requests without a good token from one address; more: 429, and none is looked up"
    )
    in_flight_per_connection: int = Field(default=32, ge=1, description="frames read ahead before reading pauses")
    inbox_batch: int = Field(default=256, ge=1, le=4096, description="messages in one commit")
    inbox_waiting: int = Field(default=2048, ge=1, description="messages waiting for commit before AR/CR")
    inbox_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, description="bytes waiting for commit before AR/CR")
    http_body_bytes: int = Field(default=5 * 1024 * 1024, ge=1024, description="one HTTP body but a form's; more: 413")
    page_items: int = Field(default=100, ge=1, le=1000, description="items of one page of a list")
    form_document_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="one scan in a form")
    form_documents_bytes: int = Field(default=12 * 1024 * 1024, ge=1024, description="all scans of a form together")
    form_documents: int = Field(default=12, ge=0, le=100, description="scans in a form")
    streams: int = Field(default=64, ge=0, description="readers of GET /v1/births/stream at the same time")
    document_bytes: int = Field(default=10 * 1024 * 1024, ge=1024, description="one scanned document or certificate")
    quarantine_rows: int = Field(default=100_000, ge=0, description="unreadable messages kept for a person to look at")
    quarantine_bytes: int = Field(default=2 * 1024**3, ge=0, description="their bytes; more: answered, not kept")
    quarantine_bytes_per_peer: int = Field(default=256 * 1024**2, ge=0, description="the same, from one address")


class Registry(Section):
    """The registry that births are submitted to, through the adapter of that name."""

    adapter: str = Field(default="dukcapil", description="registry adapter (entry point gateway.registry)")
    url: str = Field(default="", description="base URL of its service")
    office: str = Field(default="3510", description="kode_kantor of the receiving office")
    token_file: Path | None = Field(default=None, description="bearer token for submissions")
    check_user: str = Field(default="", description="user of the element check; empty: an officer checks")
    check_password_file: Path | None = Field(default=None, description="its password")
    check_ip: str = Field(default="", description="address that the agreement names as ours")
    callback_jwks: str = Field(default="", description="file or http(s) URL of the keys its callbacks are signed with")
    document_origins: tuple[str, ...] = Field(
        default=(),
        description="where a certificate's file may lie beside the registry's own address: https://HOST[:PORT]; an "
        "address elsewhere is not called (DOCUMENT_ADDRESS)",
    )
    way: Literal["push", "lease"] = Field(
        default="push",
        description="births of `office` are submitted through the adapter, or wait until the office takes them",
    )
    out_of_domicile: bool = Field(
        default=True,
        description="families registered elsewhere are registered by `office` too, once an officer agreed (REVIEW); "
        "false: by the office of their domicile, see [[office]]",
    )
    require_form: bool = Field(default=True, description="reporter, witnesses and marriage proof are required")
    timeout_s: Seconds = Field(default=20, description="of one request to the registry")
    poll_first_s: Seconds = Field(default=30, description="after which a case is asked about the first time")
    poll_max_s: Seconds = Field(default=900, description="the pause between two questions grows up to this")
    twin_wait_s: float = Field(
        default=7200, ge=0, description="a complete twin waits so long for one nobody told of yet; 0: not at all"
    )
    twin_held_s: float = Field(
        default=86_400, ge=0, description="and so long for one that is held; one that is discharged waits for nobody"
    )
    options: dict[str, OptionText] = Field(default_factory=dict, description="settings of the adapter itself")


class Office(Section):
    """One `[[office]]` block: an office that takes its records itself. One without a block gets hand-over packs."""

    code: str = Field(pattern=r"^\d{4}$", description="Kemendagri code of its kabupaten/kota, four digits")
    name: str = Field(default="", description="its name on a hand-over pack")
    way: Literal["lease", "handover"] = Field(default="lease", description="it takes records, or gets a pack of each")


class Signing(Section):
    """Where our signing keys are. Made on first use with mode 0600."""

    directory: Path | None = Field(default=None, description="default: keys/ in the database directory")


class Retention(Section):
    """When bodies of what is finished are removed; digests, answers, records and events stay."""

    bodies_days: int = Field(default=90, ge=90, description="days after a birth is finished; not less, for replays")
    every_s: Seconds = Field(default=3600, description="how often one of the processes looks")
    batch: int = Field(default=200, ge=1, le=10_000, description="births or messages in one short transaction")
    pause_s: float = Field(default=0.1, ge=0, description="rest between two batches")


class Reconcile(Section):
    """Gateway, registry and hospital compared birth by birth."""

    every_s: Seconds = Field(default=86_400, description="how often one of the processes does it")
    days: int = Field(default=30, ge=1, description="finished births are compared so long after their last change")
    page: int = Field(default=200, ge=1, le=10_000, description="births read at once")
    per_s: float = Field(default=20, gt=0, description="questions to the registry a second, at most")


class Observe(Section):
    """Logs go to stderr as JSON lines; `log_file` sends them to a file instead."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="the least that is logged")
    log_file: Path | None = Field(default=None, description="where lines go instead of stderr")


class Config(Section):
    """The whole configuration."""

    gateway: Gateway = Gateway()
    database: Database = Database()
    mllp: Mllp = Mllp()
    http: Http = Http()
    tls: Tls = Tls()
    limits: Limits = Limits()
    registry: Registry = Registry()
    signing: Signing = Signing()
    observe: Observe = Observe()
    retention: Retention = Retention()
    reconcile: Reconcile = Reconcile()
    office: tuple[Office, ...] = ()
    facility: tuple[FacilityProfile, ...] = ()

    @model_validator(mode="after")
    def _facilities_are_distinct(self) -> Self:
        codes = [f.code for f in self.facility]
        twice = sorted({c for c in codes if codes.count(c) > 1})
        if twice:
            raise ValueError(f"facility code {twice[0]!r} is given twice; one [[facility]] block a code")
        return self

    @model_validator(mode="after")
    def _offices_are_distinct(self) -> Self:
        codes = [self.registry.office, *(office.code for office in self.office)]
        twice = sorted({c for c in codes if codes.count(c) > 1})
        if twice:
            raise ValueError(
                f"office {twice[0]!r} is given twice; registry.office has registry.way, each other one [[office]] block"
            )
        return self

    @model_validator(mode="after")
    def _leases_outlive_a_request(self) -> Self:
        # A task taken over while its request is still out would ask the registry for nothing, at best.
        if self.gateway.lease_s <= self.registry.timeout_s:
            raise ValueError("gateway.lease_s must be longer than registry.timeout_s: a step waits that long")
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.mllp.tls_listen and not (self.tls.certificate_file and self.tls.key_file):
            raise ValueError("mllp.tls_listen needs tls.certificate_file and tls.key_file")
        return self

    @property
    def keys_directory(self) -> Path:
        """Where signing keys lie."""
        return self.signing.directory or self.database.directory / "keys"


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read `path` (TOML), lay the environment over it, check everything.

    Raises ConfigError naming key, value and reason of every problem found.
    """
    values = _read(path) if path else {}
    return parse(_overlay(values, environment), where=str(path or "environment"))


def parse(values: dict[str, Any], *, where: str) -> Config:
    """Check `values` (nested plain data) and return the frozen configuration. Raises ConfigError."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_problem(p, values) for p in error.errors(include_url=False)]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from None


def _problem(problem: Any, values: dict[str, Any]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails is typed by name only
    key = _key(problem["loc"], values)
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key (see docs/configuration.md for the keys there are)"
    value = problem["input"]
    if isinstance(value, dict | Section):
        shown = ""
    elif "dsn" in key or "password" in key or "token" in key:
        shown = " = (not shown)"
    else:
        shown = f" = {value!r}"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{key}{shown}: {reason}"


def _key(loc: tuple[int | str, ...], values: dict[str, Any]) -> str:
    """Return a setting's name as a person finds it: of a block among several by its code, where it has one."""
    match loc:
        case (("facility" | "office") as section, int(number), *rest):
            blocks = values.get(section)
            block = blocks[number] if isinstance(blocks, list | tuple) else None
            code = block.get("code") if isinstance(block, dict) else None
            if isinstance(code, str) and code and rest != ["code"]:
                key = ".".join(map(str, rest))
                return f"{section} {code}" + (f": {key}" if key else "")
    return ".".join(str(part) for part in loc) or "configuration"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an existing file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _overlay(values: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    merged = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for name, value in environment.items():
        if not name.startswith(ENV_PREFIX) or "__" not in name:
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        target = merged.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"{name}: [[{section}]] is a list of blocks and is set in the file, not by environment")
        target[key] = value
    return merged


def secret(path: Path | None, key: str) -> str:
    """Read the secret in `path` (named by setting `key`). Raises ConfigError where it is absent or empty."""
    if path is None:
        raise ConfigError(f"{key}: is not set; name a file that holds the secret and nothing else")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{key} = {str(path)!r}: cannot be read ({error.strerror})") from None
    if not text:
        raise ConfigError(f"{key} = {str(path)!r}: the file is empty")
    return text


def peer_allowed(profile: FacilityProfile, peer: str) -> bool:
    """Tell whether `peer` (an IP address) may send for this facility; no list means any."""
    if not profile.peers:
        return True
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network) for network in profile.peers)

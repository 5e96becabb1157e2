"""What a step may use. Built once by gateway.app, read by all steps, changed by none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gateway.pipeline.breaker import Breaker
from gateway.pipeline.helper import Helper
from gateway.pipeline.incident import Incidents
from gateway.pipeline.signer import Signer
from gateway.pipeline.turns import Turns
from gateway.store.schema import Schema

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable, Mapping

    from gateway.config import Config
    from gateway.contract.facility import FacilityProfile
    from gateway.contract.ports import HospitalAdapter, RegistryAdapter
    from gateway.evidence.keys import Keyring
    from gateway.mllp.client import ClientPool
    from gateway.observe.metrics import Metrics
    from gateway.store.database import Database


SERVICE_FAILURES = 3  # in a row, after which a service of the registry is left alone


class Rules(Protocol):
    """What judging a birth needs: a running gateway has it, and so has the command line."""

    @property
    def config(self) -> Config:
        """The configuration."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Where moves are counted."""
        ...

    @property
    def clock(self) -> Callable[[], dt.datetime]:
        """The present moment, UTC."""
        ...

    def facility(self, code: str) -> FacilityProfile:
        """Return a facility's profile. Raises LookupError."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one gateway."""

    config: Config
    database: Database
    registry: RegistryAdapter
    hospitals: Mapping[str, HospitalAdapter]
    facilities: Mapping[str, FacilityProfile]
    keyring: Keyring
    listeners: ClientPool
    metrics: Metrics
    clock: Callable[[], dt.datetime]
    rng: random.Random
    public_url: Callable[[], str]
    breaker: Breaker = field(default_factory=Breaker)  # of hospitals' listeners
    turns: Turns = field(default_factory=Turns)  # at hospitals' listeners
    services: Breaker = field(default_factory=lambda: Breaker(threshold=SERVICE_FAILURES))  # of the registry's services
    incidents: Incidents = field(default_factory=Incidents)
    helper: Helper = field(default_factory=Helper)  # for what is large
    signer: Signer = field(default_factory=Signer)
    schema: Schema = field(default_factory=Schema)  # shared; it moves on when the database is migrated

    @property
    def schema_level(self) -> int:
        """The newest migration that the database has: what needs a later one is off (docs/operators.md, Upgrades)."""
        return self.schema.level

    def facility(self, code: str) -> FacilityProfile:
        """Return a facility's profile. Raises LookupError where it was taken out of the configuration."""
        return known(self.facilities, code)


def known(facilities: Mapping[str, FacilityProfile], code: str) -> FacilityProfile:
    """Return a configured facility. Raises LookupError."""
    try:
        return facilities[code]
    except KeyError:
        raise LookupError(f"facility {code!r} is not configured any more; put its [[facility]] block back") from None

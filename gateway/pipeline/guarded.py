"""The registry behind its circuit breaker: each call tells whether its service is there.

It changes no answer and no error. Which tasks are claimed while a service is down is the workers' business. Health is
kept by what is asked: each service of the registry, and each origin (scheme, host, port) that files lie at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gateway.contract.origin import origin_of
from gateway.errors import (
    RegistryDocumentError,
    RegistryLoginError,
    RegistryQuotaError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from gateway.pipeline.breaker import Service
from gateway.pipeline.incident import FILES
from gateway.pipeline.retry import code_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Hashable, Mapping

    from gateway.contract.ports import (
        ActKind,
        Ask,
        Certificate,
        Outcome,
        ParentCheck,
        RegistryAdapter,
        SignedAct,
        Submission,
        TwinGroup,
    )
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.breaker import Breaker
    from gateway.pipeline.incident import Incidents

T = TypeVar("T")


class Guarded:
    """A RegistryAdapter (gateway.contract.ports) around another."""

    def __init__(self, registry: RegistryAdapter, services: Breaker, incidents: Incidents) -> None:
        self._registry = registry
        self._services = services
        self._incidents = incidents
        self.name = registry.name

    @property
    def check_identity(self) -> str:
        """As the registry's."""
        return self._registry.check_identity

    def reopen_checks(self, since: dt.datetime) -> None:
        """As the registry's."""
        self._registry.reopen_checks(since)

    async def check_parents(self, record: BirthRecord) -> tuple[ParentCheck, ...]:
        """As the registry's."""
        return await self._watched(Service.CHECK, self._registry.check_parents(record))

    def document(self, record: BirthRecord, *, birth_id: str, revision: int, twins: TwinGroup | None) -> dict[str, Any]:
        """As the registry's."""
        return self._registry.document(record, birth_id=birth_id, revision=revision, twins=twins)

    async def submit(self, submission: Submission) -> Outcome:
        """As the registry's."""
        return await self._watched(Service.CASES, self._registry.submit(submission))

    @property
    def amends(self) -> bool:
        """As the registry's."""
        return self._registry.amends

    @property
    def acts(self) -> frozenset[ActKind]:
        """As the registry's."""
        return self._registry.acts

    def act_document(self, ask: Ask, record: BirthRecord) -> dict[str, Any]:
        """As the registry's."""
        return self._registry.act_document(ask, record)

    async def act(self, act: SignedAct) -> Outcome:
        """As the registry's."""
        return await self._watched(Service.CASES, self._registry.act(act))

    async def ask(self, *, birth_id: str, revision: int, reference: str) -> Outcome:
        """As the registry's."""
        asked = self._registry.ask(birth_id=birth_id, revision=revision, reference=reference)
        return await self._watched(Service.CASES, asked)

    async def fetch_document(self, certificate: Certificate) -> bytes:
        """As the registry's. One file that is not to be had tells that its origin answers."""
        target = files_at(certificate)
        try:
            return await self._watched(Service.DOCUMENTS, self._registry.fetch_document(certificate), target)
        except RegistryDocumentError as error:
            self._services.answered(target)
            self._incidents.seen(error.code, FILES)
            error.outage = not self._services.serves(target)
            raise

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """As the registry's. That it calls does not say that it can be called."""
        return await self._registry.read_callback(headers, body)

    async def close(self) -> None:
        """As the registry's."""
        await self._registry.close()

    async def _watched(self, service: Service, call: Awaitable[T], target: Hashable | None = None) -> T:
        target = target or service
        try:
            answer = await call
        except RegistryDocumentError:
            raise
        except (RegistryQuotaError, RegistryLoginError) as error:
            self._incidents.seen(error.code, service.value)  # pipeline.pause decides when it is called again
            raise
        except (RegistryUnavailableError, RegistryUnknownOutcomeError) as error:
            if self._services.failed(target, getattr(error, "after", None)):
                self._incidents.seen(code_of(error), service.value)
            error.outage = self._services.outage(target) or not self._services.serves(target)
            raise
        except Exception:
            self._there(service, target)  # whatever it says of this birth, it says something
            raise
        self._there(service, target)
        return answer

    def _there(self, service: Service, target: Hashable) -> None:
        self._services.answered(target)
        self._services.served(target)
        self._incidents.works(service.value)


def files_at(certificate: Certificate) -> tuple[Service, str]:
    """Return the target under which the health of a certificate's file address is kept."""
    return Service.DOCUMENTS, origin_of(certificate.document_url)

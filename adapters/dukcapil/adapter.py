"""Dukcapil as the gateway sees it: the parents' element check, the document, submission, outcome, callbacks.

The only public names are `open_dukcapil` (the entry point gateway.registry) and `Dukcapil`. It keeps no births; what
it remembers is in `element_check` alone.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import structlog

from adapters.dukcapil import payload
from adapters.dukcapil.addresses import origin_of
from adapters.dukcapil.client import Client, Tls
from adapters.dukcapil.codes import ACTS, NOT_OFFERED
from adapters.dukcapil.element_check import ElementCheck
from adapters.dukcapil.keyring import KeyRing
from adapters.dukcapil.options import read_options, tls_context
from adapters.dukcapil.told import Told
from gateway.errors import ConfigError, RegistryProtocolError, RegistryRefusedError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.dukcapil.options import Options
    from gateway.contract.ports import (
        ActKind,
        Ask,
        Certificate,
        Outcome,
        ParentCheck,
        RegistryAdapter,
        RegistrySettings,
        SignedAct,
        Submission,
        TwinGroup,
    )
    from gateway.contract.record import BirthRecord

CALLBACK_WINDOW_S = 300  # X-Waktu, domain C.4
MAX_CALLBACK_BYTES = 1024 * 1024

log = structlog.get_logger("procot.registry")


def open_dukcapil(settings: RegistrySettings) -> RegistryAdapter:
    """Return the adapter; it connects with its first call. Raises ConfigError naming the setting that is wrong."""
    options = read_options(settings)
    for key, url in (("registry.url", settings.url), ("registry.options.check_url", options.check_url)):
        try:
            origin_of(url)
        except ValueError as error:
            raise ConfigError(f"{key} = {url!r}: {error}; write an http:// or https:// address") from None
    if not settings.check_user:
        log.warning("registry.check_not_configured", step="check")
    return Dukcapil(settings, options)


class Dukcapil:
    """A RegistryAdapter (gateway.contract.ports)."""

    name = "dukcapil"

    def __init__(self, settings: RegistrySettings, options: Options) -> None:
        self._settings = settings
        self._options = options
        tls = Tls(tls_context(options), tls_context(options, shown=False))
        self._client = Client(settings, check_url=options.check_url.rstrip("/"), tls=tls)
        self._keys = KeyRing(settings.callback_jwks)
        self._told = Told(2 * CALLBACK_WINDOW_S)
        self._checks = ElementCheck(settings, options, self._client)

    @property
    def check_identity(self) -> str:
        """As whom the element check is called, as a digest: one that was refused says nothing about another."""
        return self._checks.identity

    def reopen_checks(self, since: dt.datetime) -> None:
        """Call the element check again, where it was closed before `since`: a person mended the cause."""
        self._checks.reopen(since)

    async def check_parents(self, record: BirthRecord) -> tuple[ParentCheck, ...]:
        """Ask about each parent that has a NIK and is no foreigner, both at once (domain C.2)."""
        return await self._checks.check_parents(record)

    def document(self, record: BirthRecord, *, birth_id: str, revision: int, twins: TwinGroup | None) -> dict[str, Any]:
        """Map a record to the body of domain C.4."""
        return payload.document(record, birth_id=birth_id, revision=revision, office=self._settings.office, twins=twins)

    async def submit(self, submission: Submission) -> Outcome:
        """Send the signed bytes (domain C.4)."""
        return await self._client.submit(submission)

    @property
    def amends(self) -> bool:
        """Whether this office takes perbaikan."""
        return "perbaikan" in self._options.acts

    @property
    def acts(self) -> frozenset[ActKind]:
        """Which of pembatalan, pembetulan, berkas this office takes."""
        return frozenset(kind for kind, word in ACTS.items() if word in self._options.acts)

    def act_document(self, ask: Ask, record: BirthRecord) -> dict[str, Any]:
        """Map an act to its body."""
        return payload.act_document(ask, record, office=self._settings.office)

    async def act(self, act: SignedAct) -> Outcome:
        """Send an act; one that this office does not take over its interface is refused here."""
        if act.kind not in self.acts:
            raise RegistryRefusedError(
                f"the office takes no {ACTS[act.kind]} over its interface (registry.options.acts): call the office",
                reason=NOT_OFFERED,
            )
        return await self._client.act(act)

    async def ask(self, *, birth_id: str, revision: int, reference: str) -> Outcome:
        """Ask where a case is."""
        return await self._client.ask(birth_id=birth_id, revision=revision, reference=reference)

    async def fetch_document(self, certificate: Certificate) -> bytes:
        """Fetch the certificate file."""
        return await self._client.download(certificate.document_url)

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Check who says it and when, then read what is said (domain C.4).

        1. the signature, by a key of the registry, over exactly `body`; 2. the signed time `iat` is within five
        minutes of ours, and `nbf` and `exp`, where they are signed, are kept; 3. X-Waktu, which alone anybody could
        change, says the same time; 4. `aud`, where it is signed, is us; 5. `jti`, where it is signed, was not another
        callback's; 6. the body. Raises SignatureError, RegistryProtocolError (NonsenseError for values out of all
        bounds); RegistryUnavailableError where the keys cannot be had.
        """
        if len(body) > MAX_CALLBACK_BYTES:
            raise RegistryProtocolError(f"the callback is longer than {MAX_CALLBACK_BYTES} bytes")
        lower = {key.lower(): value for key, value in headers.items()}
        verified = await self._keys.verify(lower.get("x-tanda-tangan", ""), body)
        now = self._settings.clock().timestamp()
        if verified.issued_at is None or abs(now - verified.issued_at) > CALLBACK_WINDOW_S:
            raise SignatureError("the callback's signed time (iat) is missing or more than five minutes off")
        if not (verified.not_before or 0) - CALLBACK_WINDOW_S <= now < (verified.expires_at or now + 1):
            raise SignatureError("the callback is signed for another time (nbf, exp)")
        if _seconds(lower.get("x-waktu", "")) != verified.issued_at:
            raise SignatureError("the callback's X-Waktu is not the signed time (iat)")
        if verified.audience is None and self._options.audience:
            raise SignatureError("the callback does not say whom it is for (aud), and registry.options.audience asks")
        if verified.audience not in (None, self._options.audience or self._settings.office):
            raise SignatureError("the callback is for somebody else (aud)")
        self._told.check(verified.token_id, body, now)
        return self._client.read_case(body)

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()


def _seconds(text: str) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.tzinfo else None

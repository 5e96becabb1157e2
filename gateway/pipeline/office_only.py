"""The registry without an interface: its office takes the records (`registry.way = "lease"`) and checks parents itself.

It fills the real port, so that every step is the same; nothing is ever sent anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import RegistryProtocolError, SignatureError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from gateway.contract.ports import ActKind, Ask, Certificate, ParentCheck, SignedAct, Submission, TwinGroup
    from gateway.contract.record import BirthRecord


class OfficeOnly:
    """A RegistryAdapter (gateway.contract.ports)."""

    name = "office"
    check_identity = ""
    amends = False
    acts: frozenset[ActKind] = frozenset()

    def reopen_checks(self, since: dt.datetime) -> None:
        """Nothing was closed."""

    async def check_parents(self, record: BirthRecord) -> tuple[ParentCheck, ...]:  # noqa: ARG002 - the port's
        """Find nothing: the officer looks the parents up."""
        return ()

    def document(
        self,
        record: BirthRecord,  # noqa: ARG002 - the port's
        *,
        birth_id: str,
        revision: int,  # noqa: ARG002
        twins: TwinGroup | None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Refuse: what an office takes is the record itself (pipeline.seal)."""
        raise _nobody(birth_id)

    async def submit(self, submission: Submission) -> Outcome:
        """Refuse: nothing is submitted."""
        raise _nobody(submission.birth_id)

    def act_document(self, ask: Ask, record: BirthRecord) -> dict[str, Any]:  # noqa: ARG002 - the port's
        """Refuse: an office that takes records decides by its outcomes."""
        raise _nobody(ask.birth_id)

    async def act(self, act: SignedAct) -> Outcome:
        """Refuse, as above."""
        raise _nobody(act.birth_id)

    async def ask(self, *, birth_id: str, revision: int, reference: str) -> Outcome:  # noqa: ARG002 - the port's
        """Know nothing."""
        return Outcome(birth_id, revision, RegistryStatus.UNKNOWN)

    async def fetch_document(self, certificate: Certificate) -> bytes:  # noqa: ARG002 - the port's
        """Refuse: the file comes with the office's outcome."""
        raise RegistryProtocolError("the office told a file's digest and not the file; ask it for the certificate")

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> NoReturn:  # noqa: ARG002 - the port's
        """Believe nobody."""
        raise SignatureError("this registry sends no callbacks")

    async def close(self) -> None:
        """Close nothing."""


def _nobody(birth_id: str) -> RegistryProtocolError:
    return RegistryProtocolError(
        f"birth {birth_id} is to be submitted, and no registry is configured; set registry.url, or registry.way = lease"
    )

"""Fetch the certificate's file, check its digest, and write the messages that bring it to the hospital.

A file whose SHA-256 is not the announced one is never delivered (domain F 99). While a file is missing the hospital
gets the numbers at once (MDM^T02, ADT^A31) and the file later by MDM^T10; and the registry is asked by case whether the
file lies at another address now.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from gateway.contract.lifecycle import State
from gateway.contract.ports import AnswerKind, Certificate, Correspondence, RegistryStatus
from gateway.contract.registered import as_registered, differing
from gateway.contract.revision import under_number
from gateway.errors import (
    RegistryProtocolError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from gateway.pipeline.breaker import NotTriedError, Service
from gateway.pipeline.guarded import files_at
from gateway.pipeline.settle import settle
from gateway.store import births, likenesses, messages, outbound, queue, revisions, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    import uuid

    from gateway.contract.ports import HospitalAdapter
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.queue import Task


FRESH_EVERY = 3  # failures with one file after which the registry is asked where it is now
_AWAY_S = 60.0  # after which a file is looked for again whose address nobody answers at
_log = structlog.get_logger()


async def run(context: Context, task: Task) -> None:
    """Collect the file of an issued birth and queue its messages."""
    assert task.birth_id is not None  # noqa: S101 - a collect task is made with its birth
    certificate, revoked = await _read(context, task.birth_id)
    try:
        document = b"" if revoked else await _document(context, certificate)
    except RegistryUnavailableError as error:
        if not isinstance(error.__cause__, NotTriedError):
            context.services.suspect(files_at(certificate), task.id)
        found = await _elsewhere(context, task, certificate, error)
        if found is None:
            await _numbers(context, task, certificate)
            raise
        certificate, document = found
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.finish(connection, task)
        if await _is_newer(connection, birth, certificate):
            await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)
            return
        late = bool(document) and not certificate.document
        if document:
            await submissions.keep_document(connection, birth.id, document)
        whole = replace(certificate, document=document)
        await _write_letters(context, connection, birth, whole, revoked=revoked, late=late)


async def _read(context: Context, birth_id: uuid.UUID) -> tuple[Certificate, bool]:
    """Return the certificate, and whether it is revoked. Raises RegistryProtocolError where there is none."""
    async with context.database.connection() as connection:
        certificate = await submissions.certificate(connection, birth_id)
        revoked = certificate is not None and await submissions.revoked(connection, birth_id)
    if certificate is None:
        raise RegistryProtocolError("there is no certificate to collect")
    return certificate, revoked


async def _elsewhere(
    context: Context, task: Task, certificate: Certificate, error: RegistryUnavailableError
) -> tuple[Certificate, bytes] | None:
    """Ask the registry by case where the file is now, and fetch it there; None where it is not to be had either.

    It is asked about a file that was not to be had FRESH_EVERY times, and about each whose address nobody answers at.
    """
    assert task.birth_id is not None  # noqa: S101 - as above
    target = files_at(certificate)
    gone = not context.services.open(target) and not task.last_error
    if not (gone or context.services.moved(target) or task.attempts % FRESH_EVERY == 0):
        return None
    try:
        fresh = await _fresh(context, task.birth_id, certificate)
        if fresh is None:
            return None
        _log.info("certificate.readdressed", birth_id=str(task.birth_id), code=error.code)
        if files_at(fresh) != target:
            context.services.moved(target, now_moved=True)
        return fresh, await _document(context, fresh)
    except (RegistryUnavailableError, RegistryUnknownOutcomeError):
        return None


async def _fresh(context: Context, birth_id: uuid.UUID, certificate: Certificate) -> Certificate | None:
    """Return the certificate with another address than before, None where the registry tells no other."""
    if not context.services.room(Service.CASES, 1):
        return None
    async with context.database.connection() as connection:
        birth = await births.read(connection, birth_id)
        revision = await submissions.certified_revision(connection, birth_id)
    if birth.way or not birth.reference:
        return None  # an office without an interface issued it
    outcome = await context.registry.ask(birth_id=str(birth_id), revision=revision, reference=birth.reference)
    if outcome.status is not RegistryStatus.ISSUED:
        return None  # a poll, or the reconciliation, makes of it what is to be made
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, birth_id)
        await settle(context, connection, birth, outcome, actor="registry", step="collect")
        told = await submissions.certificate(connection, birth_id)
    same = told is not None and (told.number, told.sha256) == (certificate.number, certificate.sha256)
    return told if same and told is not None and told.document_url != certificate.document_url else None


async def _numbers(context: Context, task: Task, certificate: Certificate) -> None:
    """Write the letters without the file, once."""
    assert task.birth_id is not None  # noqa: S101 - as above
    if task.last_error:
        return  # with the first failure
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.holds(connection, task)
        if not await _is_newer(connection, birth, certificate):
            await _write_letters(context, connection, birth, certificate, revoked=False, late=False)


async def _document(context: Context, certificate: Certificate) -> bytes:
    """Return the file. Raises RegistryUnavailableError, RegistryProtocolError."""
    document = certificate.document
    if not document and certificate.sha256:  # an office without an interface may have told the numbers only
        try:
            context.services.check(files_at(certificate))
        except NotTriedError as wait:
            if context.services.open(files_at(certificate)):
                raise  # it is let in step by step
            away = RegistryUnavailableError(
                "nobody answers where the certificate's file is", after=max(wait.after, _AWAY_S)
            )
            away.outage = True
            raise away from wait
        document = await context.registry.fetch_document(certificate)
    if certificate.sha256 and hashlib.sha256(document).hexdigest() != certificate.sha256:
        raise RegistryProtocolError("the certificate's file does not have the announced SHA-256; it was not delivered")
    return document


async def _is_newer(connection: Connection, birth: Birth, read: Certificate) -> bool:
    """Whether a correction replaced the certificate while its file was fetched."""
    now = await submissions.certificate(connection, birth.id)
    return now is not None and (now.number, now.sha256) != (read.number, read.sha256)


async def _write_letters(
    context: Context, connection: Connection, birth: Birth, certificate: Certificate, *, revoked: bool, late: bool
) -> None:
    """Write to the hospital of the birth, and to one the baby was moved to (domain F 62).

    `late` is for a file that may come after its numbers: who has them gets the file alone.
    """
    revision = await submissions.certified_revision(connection, birth.id)
    asked = await revisions.record_of(connection, birth.id, revision)
    differs = differing(asked, certificate.registered)
    news = _News(
        # What the akta says, whatever was said since.
        record=as_registered(asked, certificate.registered, differs),
        differs=differs,
        replaces=await submissions.replaced_number(connection, birth.id),
        revision=revision,
        revoked=revoked,
        late=late,
    )
    link = f"{context.public_url()}/v1/births/{birth.id}/document" if certificate.document else ""
    await _write_to(context, connection, birth, replace(certificate, document_url=link), news)
    if context.schema_level < likenesses.SINCE:
        return
    for other in await outbound.also_told(connection, birth.id):  # the link is for the hospital of birth alone
        moved = await births.read(connection, other)
        await _write_to(context, connection, moved, replace(certificate, document_url=""), news)


@dataclass(frozen=True, slots=True)
class _News:
    """What all letters about one certificate tell."""

    record: BirthRecord
    differs: tuple[str, ...]
    replaces: str
    revision: int
    revoked: bool
    late: bool

    def kinds(self, adapter: HospitalAdapter, certificate: Certificate) -> tuple[AnswerKind, ...]:
        if self.revoked:
            return adapter.revocation_messages()
        kinds = adapter.replacement_messages() if self.replaces else adapter.certificate_messages()
        if certificate.child_nik:
            return kinds
        # A stillborn child, or one of foreigners: there is no NIK to tell (F 58, 73).
        return tuple(kind for kind in kinds if kind is not AnswerKind.CHILD_IDENTITY)


async def _write_to(
    context: Context, connection: Connection, birth: Birth, certificate: Certificate, news: _News
) -> None:
    """Write to the hospital that a birth, or what was merged into it, came from: in its format, under its number."""
    facility = context.facility(birth.facility)
    if not facility.deliver_to:
        await births.note(connection, birth, Why("gateway", "collect", "waits for pick-up over HTTP"))
        return
    adapter = context.hospitals[facility.adapter]
    origin, _ = await messages.origin(connection, birth.first_message_id)
    # A correction may keep the number: its letters are still others.
    subject = f"{certificate.number}:{news.revision}" if news.replaces else certificate.number
    if birth.state is State.MERGED:
        subject += f"@{birth.id}"
    kinds = news.kinds(adapter, certificate)
    replaces = "" if news.revoked else news.replaces
    if news.late and await outbound.written(connection, birth.id, kinds[0].value, subject):
        # The numbers went ahead: the document of the same number takes the place of the one without content.
        kinds = tuple(kind for kind in adapter.replacement_messages() if kind is not AnswerKind.CHILD_IDENTITY)
        subject, replaces = f"{subject}+file", certificate.number
    for kind in kinds:
        control_id = outbound.new_control_id()
        letter = Correspondence(
            facility=facility,
            record=under_number(news.record, birth.medical_record),
            control_id=control_id,
            now=context.clock(),
            our_application=context.config.gateway.application,
            our_facility=context.config.gateway.facility,
            origin=origin,
            replaces=replaces,
            differs=news.differs,
        )
        kept = await outbound.keep(
            connection,
            birth_id=birth.id,
            facility=birth.facility,
            kind=kind.value,
            subject=subject,
            letter=(control_id, adapter.compose(kind, certificate, letter)),
        )
        if kept is not None:
            await queue.add(connection, Kind.DELIVER, birth_id=birth.id, outbound_id=kept, priority=birth.priority)

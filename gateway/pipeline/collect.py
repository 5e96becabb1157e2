"""Fetch the certificate's file, check its digest, and write the messages that bring it to the hospital.

A file whose SHA-256 is not the announced one is never delivered (domain F 99).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import State
from gateway.contract.ports import AnswerKind, Certificate, Correspondence
from gateway.contract.registered import as_registered, differing
from gateway.contract.revision import under_number
from gateway.errors import RegistryProtocolError
from gateway.store import births, likenesses, messages, outbound, queue, revisions, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
    from gateway.contract.ports import HospitalAdapter
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection
    from gateway.store.queue import Task


async def run(context: Context, task: Task) -> None:
    """Collect the file of an issued birth and queue its messages."""
    assert task.birth_id is not None  # noqa: S101 - a collect task is made with its birth
    async with context.database.connection() as connection:
        certificate = await submissions.certificate(connection, task.birth_id)
        revoked = certificate is not None and await submissions.revoked(connection, task.birth_id)
    if certificate is None:
        raise RegistryProtocolError("there is no certificate to collect")
    document = b"" if revoked else await _document(context, certificate)
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.finish(connection, task)
        if await _is_newer(connection, birth, certificate):
            await queue.add(connection, Kind.COLLECT, birth_id=birth.id, priority=birth.priority)
            return
        if document:
            await submissions.keep_document(connection, birth.id, document)
        await _write_letters(context, connection, birth, replace(certificate, document=document), revoked=revoked)


async def _document(context: Context, certificate: Certificate) -> bytes:
    document = certificate.document
    if not document and certificate.sha256:  # an office without an interface may have told the numbers only
        document = await context.registry.fetch_document(certificate)
    if certificate.sha256 and hashlib.sha256(document).hexdigest() != certificate.sha256:
        raise RegistryProtocolError("the certificate's file does not have the announced SHA-256; it was not delivered")
    return document


async def _is_newer(connection: Connection, birth: Birth, read: Certificate) -> bool:
    """Whether a correction replaced the certificate while its file was fetched."""
    now = await submissions.certificate(connection, birth.id)
    return now is not None and (now.number, now.sha256) != (read.number, read.sha256)


async def _write_letters(
    context: Context, connection: Connection, birth: Birth, certificate: Certificate, *, revoked: bool
) -> None:
    """Write to the hospital of the birth, and to one the baby was moved to (domain F 62)."""
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
    for kind in news.kinds(adapter, certificate):
        control_id = outbound.new_control_id()
        letter = Correspondence(
            facility=facility,
            record=under_number(news.record, birth.medical_record),
            control_id=control_id,
            now=context.clock(),
            our_application=context.config.gateway.application,
            our_facility=context.config.gateway.facility,
            origin=origin,
            replaces="" if news.revoked else news.replaces,
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

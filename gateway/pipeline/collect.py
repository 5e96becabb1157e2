"""Fetch the certificate's file, check its digest, and write the messages that bring it to the hospital.

A file whose SHA-256 is not the announced one is never delivered (domain F 99).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.contract.ports import Certificate, Correspondence
from gateway.contract.registered import as_registered, differing
from gateway.contract.revision import under_number
from gateway.errors import RegistryProtocolError
from gateway.store import births, messages, outbound, queue, submissions
from gateway.store.births import Why
from gateway.store.queue import Kind

if TYPE_CHECKING:
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
    facility = context.facility(birth.facility)
    if not facility.deliver_to:
        await births.note(connection, birth, Why("gateway", "collect", "waits for pick-up over HTTP"))
        return
    adapter = context.hospitals[facility.adapter]
    origin, _ = await messages.origin(connection, birth.first_message_id)
    revision = await submissions.certified_revision(connection, birth.id)
    asked = await births.record_of(connection, birth.id, revision)
    differs = differing(asked, certificate.registered)
    # What the akta says, whatever was said since.
    record = under_number(as_registered(asked, certificate.registered, differs), birth.medical_record)
    replaces = await submissions.replaced_number(connection, birth.id)
    link = f"{context.public_url()}/v1/births/{birth.id}/document" if certificate.document else ""
    linked = replace(certificate, document_url=link)
    kinds = adapter.replacement_messages() if replaces else adapter.certificate_messages()
    if revoked:
        kinds = adapter.revocation_messages()
    # A correction may keep the number: its letters are still others.
    subject = f"{certificate.number}:{revision}" if replaces else certificate.number
    for kind in kinds:
        control_id = outbound.new_control_id()
        letter = Correspondence(
            facility=facility,
            record=record,
            control_id=control_id,
            now=context.clock(),
            our_application=context.config.gateway.application,
            our_facility=context.config.gateway.facility,
            origin=origin,
            replaces="" if revoked else replaces,
            differs=differs,
        )
        kept = await outbound.keep(
            connection,
            birth_id=birth.id,
            facility=birth.facility,
            kind=kind.value,
            subject=subject,
            letter=(control_id, adapter.compose(kind, linked, letter)),
        )
        if kept is not None:
            await queue.add(connection, Kind.DELIVER, birth_id=birth.id, outbound_id=kept, priority=birth.priority)

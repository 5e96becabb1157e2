"""Fetch the certificate's file, check its digest, and write the messages that bring it to the hospital.

A file whose SHA-256 is not the announced one is never delivered (domain F 99).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.contract.ports import Certificate, Correspondence
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
    if certificate is None:
        raise RegistryProtocolError("there is no certificate to collect")
    document = certificate.document or await context.registry.fetch_document(certificate)
    if hashlib.sha256(document).hexdigest() != certificate.sha256:
        raise RegistryProtocolError("the certificate's file does not have the announced SHA-256; it was not delivered")
    async with context.database.transaction() as connection:
        birth = await births.lock(connection, task.birth_id)
        await queue.finish(connection, task)
        await submissions.keep_document(connection, birth.id, document)
        await _write_letters(context, connection, birth, replace(certificate, document=document))


async def _write_letters(context: Context, connection: Connection, birth: Birth, certificate: Certificate) -> None:
    facility = context.facility(birth.facility)
    if not facility.deliver_to:
        await births.note(connection, birth, Why("gateway", "collect", "waits for pick-up over HTTP"))
        return
    adapter = context.hospitals[facility.adapter]
    origin, _ = await messages.origin(connection, birth.first_message_id)
    record = await births.record_of(connection, birth.id, await submissions.certified_revision(connection, birth.id))
    linked = replace(certificate, document_url=f"{context.public_url()}/v1/births/{birth.id}/document")
    for kind in adapter.certificate_messages():
        control_id = outbound.new_control_id()
        letter = Correspondence(
            facility=facility,
            record=under_number(record, birth.medical_record),  # what the akta says, whatever was said since
            control_id=control_id,
            now=context.clock(),
            our_application=context.config.gateway.application,
            our_facility=context.config.gateway.facility,
            origin=origin,
        )
        kept = await outbound.keep(
            connection,
            birth_id=birth.id,
            facility=birth.facility,
            kind=kind.value,
            subject=certificate.number,
            letter=(control_id, adapter.compose(kind, linked, letter)),
        )
        if kept is not None:
            await queue.add(connection, Kind.DELIVER, birth_id=birth.id, outbound_id=kept, priority=birth.priority)

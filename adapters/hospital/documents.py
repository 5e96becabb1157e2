"""OBX ED and RP of an MDM^T02 to attachments: scanned letters of birth, marriage books (domain A.1).

What a document is, its first bytes say, not the sender: only kinds on the list are kept. A pointer is noted and never
followed.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING

from adapters.hospital.sheet import clean
from gateway.contract.finding import Finding
from gateway.contract.ports import Attachment
from gateway.hl7.location import Location
from gateway.hl7.message import Message, value_of

if TYPE_CHECKING:
    from gateway.hl7.lexer import Segment

_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
_SUBTYPES = {"PDF": "application/pdf", "JPEG": "image/jpeg", "JPG": "image/jpeg", "PNG": "image/png"}
_DOCUMENTS = ("ED", "RP")
_KIND_LENGTH = 80
_POINTER_LENGTH = 2000


def has_documents(message: Message) -> bool:
    """Tell whether any OBX holds a document or points to one."""
    return any(value_of(obx, 2).upper() in _DOCUMENTS for obx in message.all("OBX"))


def read_documents(message: Message) -> tuple[tuple[Attachment, ...], tuple[Finding, ...]]:
    """Return the documents of a message, and what is wrong with those that cannot be kept."""
    attachments: list[Attachment] = []
    findings: list[Finding] = []
    for obx in message.all("OBX"):
        kind = value_of(obx, 2).upper()
        read = _embedded(obx) if kind == "ED" else _pointed(obx) if kind == "RP" else None
        if isinstance(read, Attachment):
            attachments.append(read)
        elif read is not None:
            findings.append(read)
    return tuple(attachments), tuple(findings)


def _embedded(obx: Segment) -> Attachment | Finding:
    """ED: source^type^subtype^encoding^data (HL7 v2.5 chapter 2.A.24)."""
    place = Location(obx.name, obx.sequence, 5)
    content = _decoded(value_of(obx, 5, component=4).upper(), value_of(obx, 5, component=5))
    if not content:
        return Finding("DOCUMENT_UNREADABLE", place)
    mime = next((mime for magic, mime in _MAGIC if content.startswith(magic)), "")
    if not mime:
        return Finding("DOCUMENT_TYPE", place)
    return Attachment(
        place=place,
        kind=_kind(obx),
        mime=mime,
        size=len(content),
        sha256=sha256(content).hexdigest(),
        content=content,
    )


def _pointed(obx: Segment) -> Attachment | Finding:
    """RP: pointer^application^type^subtype (chapter 2.A.64)."""
    place = Location(obx.name, obx.sequence, 5)
    pointer = clean(value_of(obx, 5))[:_POINTER_LENGTH]
    if not pointer:
        return Finding("DOCUMENT_UNREADABLE", place)
    return Attachment(place, _kind(obx), _SUBTYPES.get(value_of(obx, 5, component=4).upper(), ""), pointer=pointer)


def _decoded(encoding: str, data: str) -> bytes:
    """Return the bytes of table 0299: Base64, Hex, or A for text as it is; nothing where they do not decode."""
    try:
        match encoding:
            case "BASE64" | "":
                return base64.b64decode("".join(data.split()), validate=True)
            case "HEX":
                return bytes.fromhex(data)
            case "A":
                return data.encode("latin-1")
    except (binascii.Error, ValueError):
        return b""
    return b""


def _kind(obx: Segment) -> str:
    return clean(value_of(obx, 3) or value_of(obx, 3, component=2))[:_KIND_LENGTH]

"""The certificate on its way back: MDM^T02 and ADT^A31 in the hospital's own version, delimiters and charset (A.11).

A corrected certificate goes by MDM^T10, that one was revoked is told by MDM^T11.

MSH-15 and MSH-16 stay empty, whatever the hospital itself asks for: original mode makes its listener answer with one
AA, AE or AR that tells whether the message was taken in, where enhanced mode's CA would only tell that it arrived.
(A deferred application answer asks for that CA: it is an ACK of gateway.hl7.ack, and nobody answers an answer.)
Here a person's data are written out on purpose: each `reveal()` goes to the hospital the child was born in.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.contract.naming import normalise_name
from gateway.contract.record import Event, Sex
from gateway.hl7.build import Field, Repetition, Verbatim, Writer
from gateway.hl7.charset import decode
from gateway.hl7.dates import format_moment
from gateway.hl7.header import Header, read_header
from gateway.hl7.message import Message, parse_message, repetitions_of, value_of

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.masked import Personal
    from gateway.contract.ports import Certificate, Correspondence

OUR_CODES = "99AKTAGW"
_AUTHORITY = "DUKCAPIL"
_SEXES = {Sex.MALE: "M", Sex.FEMALE: "F"}
_DIFFERENCES = {
    "child.name": "nama anak",
    "child.born_on": "tanggal lahir anak",
    "child.sex": "jenis kelamin anak",
    "mother.name": "nama ibu",
    "father.name": "nama ayah",
}
_OFFICE = re.compile(r"\d{4}(?=-)")
# MSH-9.3 came with 2.3.1, but A31 got a structure of its own with 2.4; EVN-1 went with 2.7.
_STRUCTURE_SINCE = {"MDM_T01": (2, 3, 1), "MDM_T02": (2, 3, 1), "ADT_A05": (2, 4)}
_EVN_1_UNTIL = (2, 7)
# 2.3.1 alone requires OBX-4, where others want it only to tell like results apart.
_OBX_4_REQUIRED = (2, 3, 1)


@dataclass(frozen=True, slots=True)
class _Reply:
    """A message under construction, and what the origin tells about its reader."""

    certificate: Certificate
    letter: Correspondence
    origin: Message
    header: Header
    writer: Writer
    version: tuple[int, ...]
    zone: ZoneInfo

    def time(self, at: dt.datetime) -> str:
        """Write a moment as wall time of the facility, with its offset."""
        return format_moment(at.astimezone(self.zone), offset=True)


def compose_certificate(certificate: Certificate, letter: Correspondence) -> bytes:
    """Return MDM^T02: the document's notice, its numbers, and the document or the way to it."""
    return _with_content(certificate, letter, "T02")


def compose_replacement(certificate: Certificate, letter: Correspondence) -> bytes:
    """Return MDM^T10: the corrected certificate; TXA-13 is the number it replaces (domain A.11)."""
    return _with_content(certificate, letter, "T10")


def compose_revocation(certificate: Certificate, letter: Correspondence) -> bytes:
    """Return MDM^T11: the certificate is valid no more (TXA-19 CA); a notice without content."""
    reply = _begin(certificate, letter)
    _notice(reply, "T11", "MDM_T01")
    _txa(reply, availability="CA")
    return reply.writer.render()


def _notice(reply: _Reply, event: str, structure: str) -> None:
    _msh(reply, ("MDM", event, structure))
    _evn(reply, event)
    _pid(reply)
    visit = reply.letter.record.child.visit
    patient_class = reply.origin.value("PV1", 2) or "N"
    reply.writer.segment("PV1", {1: "1", 2: patient_class, **({19: visit.reveal()} if visit else {})})


def _with_content(certificate: Certificate, letter: Correspondence, event: str) -> bytes:
    reply = _begin(certificate, letter)
    _notice(reply, event, "MDM_T02")
    _txa(reply)
    sub_id: dict[int, Field] = {4: "1"} if reply.version == _OBX_4_REQUIRED else {}
    for number, (kind, code, name, value) in enumerate(_observations(certificate, letter), start=1):
        fields: dict[int, Field] = {1: str(number), 2: kind, 3: [[code, name, OUR_CODES]], 5: value, 11: "F"}
        reply.writer.segment("OBX", fields | sub_id)
    return reply.writer.render()


def compose_identity(certificate: Certificate, letter: Correspondence) -> bytes:
    """Return ADT^A31: the child's NIK and family card for the hospital's own index. What is empty changes nothing."""
    reply = _begin(certificate, letter)
    _msh(reply, ("ADT", "A31", "ADT_A05"))
    _evn(reply, "A31")
    _pid(reply)
    reply.writer.segment("PV1", {1: "1", 2: "N"})  # class "not applicable": no visit is meant
    return reply.writer.render()


def _begin(certificate: Certificate, letter: Correspondence) -> _Reply:
    read = decode(letter.origin, fallback=letter.facility.charset)
    origin = parse_message(read.text)
    header = read_header(origin)
    numbers = header.version.split(".")
    version = tuple(int(n[:3]) for n in numbers) if all(n.isascii() and n.isdigit() for n in numbers) else (2, 5)
    writer = Writer(origin.delimiters, read.codec)
    return _Reply(certificate, letter, origin, header, writer, version, ZoneInfo(letter.facility.time_zone))


def _msh(reply: _Reply, kind: tuple[str, str, str]) -> None:
    code, event, structure = kind
    named = [code, event, structure] if reply.version >= _STRUCTURE_SINCE[structure] else [code, event]
    header, letter = reply.header, reply.letter
    known = reply.origin.value("MSH", 6) == letter.our_facility
    fields: dict[int, Field] = {
        3: letter.our_application,
        4: Verbatim(header.receiving_facility) if known else letter.our_facility,
        5: Verbatim(header.sending_application),
        6: Verbatim(header.sending_facility),
        7: reply.time(letter.now),
        9: [named],
        10: letter.control_id,
        11: header.processing_id or "P",
        12: header.version or "2.5",
    }
    tail: dict[int, Field] = {17: Verbatim(header.country), 18: Verbatim(header.charset)}
    reply.writer.segment("MSH", fields | (tail if header.charset else {}))


def _evn(reply: _Reply, event: str) -> None:
    first: dict[int, Field] = {1: event} if reply.version < _EVN_1_UNTIL else {}
    reply.writer.segment("EVN", first | {2: reply.time(reply.letter.now)})


def _pid(reply: _Reply) -> None:
    child = reply.letter.record.child
    nik, card = reply.certificate.child_nik.reveal(), _card(reply.certificate, reply.letter)
    identifiers: list[Repetition] = [_record_number(reply)]
    if nik:
        identifiers.append([nik, "", "", _AUTHORITY, "NI"])
    if card:
        identifiers.append([card.reveal(), "", "", _AUTHORITY, "KK"])
    fields: dict[int, Field] = {1: "1", 3: identifiers, 5: _name(reply), 7: _born(reply)}
    if child.sex:
        fields[8] = _SEXES[child.sex]
    reply.writer.segment("PID", fields)


def _card(certificate: Certificate, letter: Correspondence) -> Personal | None:
    """Return the family card the child is in: none for a stillborn one (F 73)."""
    if letter.record.event is Event.STILLBIRTH:
        return None
    return certificate.family_card or letter.record.family_card


def _record_number(reply: _Reply) -> Repetition:
    """Return the MR as the hospital wrote it, with its authority; after a renumbering (A47) the number alone."""
    number = reply.letter.record.child.medical_record.reveal()
    pid = reply.origin.first("PID")
    if pid:
        for n in repetitions_of(pid, 3):
            if value_of(pid, 3, repetition=n) == number:
                parts = [Verbatim(p) for p in pid.components(3, n)]
                return parts if len(parts) > 4 and parts[4] else [*parts[:4], *[""] * (4 - len(parts)), "MR"]  # noqa: PLR2004
    return [number, "", "", "", "MR"]


def _name(reply: _Reply) -> Field:
    """Return the name as registered: in the hospital's own parts where it is what the hospital sent, else whole."""
    name = reply.letter.record.child.name
    if name is None:
        return ""
    pid = reply.origin.first("PID")
    sent = reply.letter.record.child.name_as_sent
    if pid and sent and normalise_name(sent.reveal()) == name.reveal() and len(list(repetitions_of(pid, 5))) == 1:
        parts = [str(value_of(pid, 5, component=c)).upper() for c in (1, 2, 3)]
        if sorted(" ".join(parts).split()) == sorted(name.reveal().split()):
            return [[*parts, "", "", "", "L"]]
    return [[name.reveal(), "", "", "", "", "", "L"]]


def _born(reply: _Reply) -> Field:
    child = reply.letter.record.child
    if child.born_on is None:
        return ""
    day = f"{child.born_on:%Y%m%d}"
    if child.born_at is None:
        return day
    return f"{day}{child.born_at.replace(':', '')}00{(child.utc_offset or '').replace(':', '')}"


def _numbered(reply: _Reply, number: str) -> Field:
    office = _OFFICE.match(number)
    return [[number, f"{_AUTHORITY}{office[0] if office else reply.letter.facility.region}"]]


def _txa(reply: _Reply, *, availability: str = "AV") -> None:
    """TXA-12 is the number of the akta, TXA-13 the one it replaces, TXA-14 the message the birth came with."""
    number = reply.certificate.number
    replaced: dict[int, Field] = {13: _numbered(reply, reply.letter.replaces)} if reply.letter.replaces else {}
    issued = reply.time(reply.certificate.issued_at)
    reply.writer.segment(
        "TXA",
        {
            1: "1",
            2: "SKLM" if reply.letter.record.event is Event.STILLBIRTH else "AKTALAHIR",
            3: "AP",
            4: issued,
            6: issued,
            12: _numbered(reply, number),
            **replaced,
            14: [[Verbatim(reply.header.control_id), reply.header.application_code]],
            16: f"{re.sub(r'[^A-Za-z0-9._-]', '_', number)}.pdf",
            17: "LA",  # legally authenticated
            18: "R",
            19: availability,
        },
    )


def _observations(certificate: Certificate, letter: Correspondence) -> list[tuple[str, str, str, Field]]:
    wish = letter.facility.deliver_document
    card, nik = _card(certificate, letter), certificate.child_nik.reveal()
    lines: list[tuple[str, str, str, Field]] = [("ST", "NO_AKTA_LHR", "Nomor akta kelahiran", certificate.number)]
    if letter.record.event is Event.STILLBIRTH:
        lines = [("ST", "NO_SKLM", "Nomor surat keterangan lahir mati", certificate.number)]
    if nik:
        lines.append(("ST", "NIK_ANAK", "NIK anak", nik))
    if card:
        lines.append(("ST", "NO_KK", "Nomor kartu keluarga", card.reveal()))
    if letter.differs:  # names what differs, not how: PID and the document have the values that count (domain F 97)
        named = ", ".join(_DIFFERENCES.get(path, path) for path in letter.differs)
        lines.append(("ST", "BEDA_DATA", "Berbeda dari data rumah sakit", named))
    with_file = wish != "pointer" and bool(certificate.document)
    if certificate.document_url and (wish != "pdf" or not with_file):
        pointer: Field = [[certificate.document_url, "AKTAGW", "AP", "PDF"]]
        lines.append(("RP", "AKTA_URL", "Tautan unduh akta", pointer))
    if with_file:
        file: Field = [["AKTAGW", "AP", "PDF", "Base64", base64.b64encode(certificate.document).decode("ascii")]]
        lines.append(("ED", "AKTA_PDF", "Berkas akta (TTE)", file))
    if certificate.sha256:
        lines.append(("ST", "AKTA_SHA256", "Sidik berkas", certificate.sha256))
    return lines

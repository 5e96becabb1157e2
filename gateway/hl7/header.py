"""MSH, read once: what routes a message and what its answer must echo (HL7 v2.5 chapter 2.15.9, domain A.5).

Raw parts stay verbatim, in the sender's escapes: they go back into the answer as they came. Nothing here judges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import Hl7SyntaxError
from gateway.hl7.escape import unescape
from gateway.hl7.lexer import DEFAULT, Delimiters, Segment, can_be_mark, read_delimiters

if TYPE_CHECKING:
    from gateway.hl7.message import Message

_LINE_END = re.compile(r"[\r\n]")
_NAME_AND_SEPARATOR = 4  # "MSH" and MSH-1
# Up to 2.2 these message types had one event each, and MSH-9 did not name it.
_ONLY_EVENT = {"ORU": "R01"}
_TABLE_0155 = frozenset({"AL", "NE", "ER", "SU"})


@dataclass(slots=True)  # not frozen: of so many fields that would be a third of the time it takes to read them
class Header:
    """The parts of MSH that route, judge or answer a message. Fields named raw in their comment are verbatim."""

    sending_application: str  # MSH-3, raw
    sending_facility: str  # MSH-4, raw
    receiving_application: str  # MSH-5, raw
    receiving_facility: str  # MSH-6, raw
    application_code: str  # MSH-3.1, unescaped
    facility_code: str  # MSH-4.1, unescaped
    sent_at_raw: str  # MSH-7.1
    message_code: str  # MSH-9.1, upper case
    event: str  # MSH-9.2, upper case; before 2.3 and where it is empty, EVN-1
    structure: str  # MSH-9.3, upper case; came with 2.3.1
    control_id: str  # MSH-10, raw
    processing_id: str  # MSH-11.1
    version: str  # MSH-12.1
    continuation: str  # MSH-14, raw
    accept_ack: str  # MSH-15: a value of table 0155; any other asks for nothing, and is as empty
    application_ack: str  # MSH-16, likewise
    country: str  # MSH-17, raw
    charset: str  # MSH-18, raw
    delimiters: Delimiters
    encoding_characters: str  # MSH-2, verbatim: shorter than the standard asks, where the sender wrote it so

    @property
    def enhanced(self) -> bool:
        """Whether the sender asks for the enhanced acknowledgement mode (chapter 2.9.3)."""
        return bool(self.accept_ack or self.application_ack)

    @property
    def acknowledges(self) -> bool:
        """Whether the message is itself an acknowledgement: answering it invites an endless exchange."""
        return self.message_code == "ACK"


def read_header(message: Message) -> Header:
    """Read MSH of a lexed message. Never raises: what is absent is empty."""
    return _read(message.segments[0], message.raw("EVN", 1))


def _read(msh: Segment, event_segment: str) -> Header:
    marks = msh.delimiters
    fields = msh.fields + [""] * (19 - len(msh.fields))
    component = marks.component
    code, event, structure = (*fields[9].split(component), "", "")[:3]
    code = code.strip().upper()
    if not event.strip():
        event = event_segment.split(component, maxsplit=1)[0].strip() or _ONLY_EVENT.get(code, "")
    return Header(
        sending_application=fields[3],
        sending_facility=fields[4],
        receiving_application=fields[5],
        receiving_facility=fields[6],
        application_code=unescape(fields[3].split(component)[0], marks).strip(),
        facility_code=unescape(fields[4].split(component)[0], marks).strip(),
        sent_at_raw=fields[7].split(component)[0].strip(),
        message_code=code,
        event=event.strip().upper(),
        structure=structure.strip().upper(),
        control_id=fields[10],
        processing_id=fields[11].split(component)[0].strip().upper(),
        version=fields[12].split(component)[0].strip(),
        continuation=fields[14],
        accept_ack=_condition(fields[15]),
        application_ack=_condition(fields[16]),
        country=fields[17],
        charset=fields[18],
        delimiters=marks,
        encoding_characters=fields[2],
    )


def _condition(value: str) -> str:
    code = value.strip().upper()
    return code if code in _TABLE_0155 else ""


def salvage_header(text: str) -> Header | None:
    """Read what can be read of MSH where the message could not be lexed, so that an AR can name it (domain A.5, 5).

    None where the text does not begin with MSH and a separator.
    """
    line = _LINE_END.split(text.lstrip("\ufeff\r\n \t\0"), maxsplit=1)[0].replace("\0", "")
    if line[:3].upper() != "MSH" or len(line) < _NAME_AND_SEPARATOR:
        return None
    try:
        marks = read_delimiters(line)
    except Hl7SyntaxError:
        return _guessed(line)
    return _read(Segment("MSH" + line[3:], marks), "")


def _guessed(line: str) -> Header | None:
    """Read a header whose MSH-2 is broken with the usual encoding characters; the answer then bears those."""
    separator = line[3]
    if not can_be_mark(separator) or separator in DEFAULT.encoding_characters:
        return None
    msh = Segment("MSH" + line[3:], Delimiters(separator))
    msh.fields[2:3] = [DEFAULT.encoding_characters]
    return _read(msh, "")

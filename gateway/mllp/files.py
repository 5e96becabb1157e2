"""HL7 messages out of a file: one, many, or a batch, with or without MLLP bytes. Owns where one message ends.

Never decodes anything and never repairs a message: apart from segment ends every byte is the sender's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.hl7.batch import cut, remarks
from gateway.mllp.framing import CR, FS, VT

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"
_BATCH = frozenset({b"FHS", b"BHS", b"BTS", b"FTS"})


def split_messages(data: bytes) -> list[bytes]:
    """Return each message in `data`, in order, without framing and with CR after each segment.

    Batch envelopes (domain A.7: FHS > BHS > messages > BTS > FTS) and empty lines are left out. Lines that belong to no
    message come back as a piece of their own, so that somebody answers that they are not HL7: nothing vanishes.
    """
    messages: list[list[bytes]] = []
    inside = False
    for line in _segments(data):
        name = line[:3]
        if name in _BATCH and not line[3:4].isalnum():
            inside = False
            continue
        if not inside or name == b"MSH":
            messages.append([])
            inside = True
        messages[-1].append(line)
    return [CR.join(lines) + CR for lines in messages]


def envelope_remarks(data: bytes) -> list[str]:
    """Return where the batch counts in `data` are not what is there; the envelopes themselves are never sent."""
    block = CR.join(_segments(data)) + CR
    return remarks(cut(block, limit=len(block)))


def _segments(data: bytes) -> Iterator[bytes]:
    # LF and CRLF are segment ends as well (A.7); FS VT is the edge of two blocks where the CR was forgotten.
    text = data.replace(b"\r\n", CR).replace(b"\n", CR).replace(FS + VT, CR)
    for line in text.split(CR):
        # A byte order mark belongs to the file, not to the message (A.8).
        segment = line.removeprefix(_BOM).strip(VT + FS).removeprefix(_BOM)
        if segment:
            yield segment

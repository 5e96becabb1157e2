"""HL7 messages out of a file: one, many, or a batch, with or without MLLP bytes. Owns where one message ends.

Never decodes anything and never repairs a message: apart from segment ends every byte is the sender's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.hl7.batch import cut, remarks
from gateway.mllp.framing import CR, FS, VT

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"
_BATCH = frozenset({b"FHS", b"BHS", b"BTS", b"FTS"})
# UTF-16 and UTF-32, by their mark or the NULs in "MSH", as the reader of the message sees them (gateway.hl7.charset).
_WIDE = re.compile(rb"\x0b?(?:\xff\xfe|(?:\0\0)?\xfe\xff|\0{0,3}M\0{1,3}S\0)")


def split_messages(data: bytes) -> list[bytes]:
    """Return each message in `data`, in order, without framing and with CR after each segment.

    Batch envelopes (domain A.7: FHS > BHS > messages > BTS > FTS) and empty lines are left out. Lines that belong to no
    message come back as a piece of their own, so that somebody answers that they are not HL7: nothing vanishes.
    """
    if _WIDE.match(data):  # one message, as in a block: no byte of it is a segment's end
        return [data[1 : data.rfind(FS)] if data.startswith(VT) and FS in data else data.removeprefix(VT)]
    messages: list[list[bytes]] = []
    inside = False
    for line, first, last in _segments(data):
        name = line[:3]
        if name in _BATCH and not line[3:4].isalnum():
            inside = False
            continue
        if first or not inside or name == b"MSH":
            messages.append([])
        messages[-1].append(line)
        inside = not last
    return [CR.join(lines) + CR for lines in messages]


def envelope_remarks(data: bytes) -> list[str]:
    """Return where the batch counts in `data` are not what is there; the envelopes themselves are never sent."""
    if _WIDE.match(data):
        return []
    block = CR.join(line for line, _, _ in _segments(data)) + CR
    return remarks(cut(block, limit=len(block)))


def _segments(data: bytes) -> Iterator[tuple[bytes, bool, bool]]:
    """Yield each segment, and whether an MLLP block begins before it or ends behind it."""
    # LF and CRLF are segment ends as well (A.7); FS VT is the edge of two blocks where the CR was forgotten.
    text = data.replace(b"\r\n", CR).replace(b"\n", CR).replace(FS + VT, FS + CR + VT)
    began = False
    for line in text.split(CR):
        # A byte order mark belongs to the file, not to the message (A.8).
        bare = line.removeprefix(_BOM)
        began = began or bare.startswith(VT)
        segment = bare.strip(VT + FS).removeprefix(_BOM)
        if segment:
            yield segment, began, bare.endswith(FS)
            began = False
        elif bare.endswith(FS):  # behind the CR of the last segment: what follows is no part of its block
            began = True

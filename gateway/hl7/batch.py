"""Several messages in one block: where each begins and ends, and how their answers become a batch (chapter 2.10.3).

    [FHS] { [BHS] { MSH … } [BTS] } [FTS]

Bytes in, bytes out, no I/O. A message is a slice of the block, to the last byte as it was sent: its digest and its
repeat must not depend on what it was sent with. Lines that belong to no message (between BHS and MSH, after BTS) are a
part of their own, so that somebody answers that they are no message: nothing vanishes.

Only a block that begins with MSH, FHS or BHS is cut; any other is one part, and one answer says what is wrong with it.
A block in UTF-16 is not cut either: the lexer refuses a second MSH, and the sender is told.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# A segment's start: the start of the block or of a line, blanks and byte order marks forgiven as the lexer does.
_START = re.compile(
    rb"(?:^|[\r\n])(?:[ \t\0]|\xef\xbb\xbf|\xc3\xaf\xc2\xbb\xc2\xbf)*(MSH|FHS|BHS|BTS|FTS)(?=[^\sA-Za-z0-9]|\s|$)",
    re.IGNORECASE,
)
_BLANK = b" \t\r\n\0"
_MARKS = b"\xef\xbb\xbf\xc3\xaf\xc2"  # the bytes of byte order marks
_BEFORE_MSH = _BLANK + _MARKS + b"\xbb\xbf"  # what may end right before a message's first segment
_LOOKS = 200  # a block of nothing but "MSH" is cut by one regular expression instead
_LINE_END = re.compile(rb"[\r\n]")
_OPENING = frozenset({b"MSH", b"FHS", b"BHS"})
_DEFAULT_HEAD = b"|^~\\&"
# Of FHS and BHS alike: 3 and 4 sender, 5 and 6 receiver, 7 time, 9 name, 10 comment, 11 control id, 12 reference.
_SENDER, _RECEIVER, _CONTROL_ID = (3, 4), (5, 6), 11


def is_one_message(block: bytes) -> bool:
    """Tell, by a search or a few, that a block is one message. False means that it must be looked at by `cut`.

    Base64 of a scan has "MSH" in it now and then: only one at the start of a line, blanks and marks before it forgiven,
    begins a message.
    """
    if not block.startswith(b"MSH"):
        return False
    at = 0
    for _ in range(_LOOKS):
        at = block.find(b"MSH", at + 1)
        if at < 0:
            return True
        if block[at - 1] in _BEFORE_MSH:
            return False
    return False


@dataclass(slots=True)
class Batch:
    """A BHS (b"" where there was none), the numbers of its messages among the parts, and its BTS."""

    header: bytes = b""
    parts: list[int] = field(default_factory=list)
    trailer: bytes | None = None


@dataclass(slots=True)
class Block:
    """What was found in a block. `batches` is empty where it had no envelope: then every part is answered by itself."""

    parts: list[bytes] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    file_header: bytes = b""
    file_trailer: bytes | None = None

    @property
    def enveloped(self) -> bool:
        """Whether the sender sent a batch and not just messages."""
        return bool(self.batches or self.file_header)


def cut(block: bytes, *, limit: int) -> Block:
    """Cut a block into its messages. A block that is one message, or none, is one part and the very same bytes.

    So is one of more than `limit` segments that begin something: the lexer refuses it whole, with one answer.
    """
    starts = list(itertools.islice(_START.finditer(block), limit + 1))
    whole = Block([block])
    if not starts or len(starts) > limit or block[: starts[0].start(1)].strip(_BLANK + _MARKS):
        return whole
    first = starts[0][1].upper()
    if first not in _OPENING or (len(starts) == 1 and first == b"MSH"):
        return whole
    found = Block()
    edges = [*(match.start(1) for match in starts[1:]), len(block)]
    for match, end in zip(starts, edges, strict=True):
        _place(found, match[1].upper(), block[match.start(1) : end])
    if first == b"MSH":  # an envelope that begins after the first message does not hold it
        found.batches, found.file_header = [], b""
    return found


def _place(found: Block, name: bytes, piece: bytes) -> None:
    """Put one piece, from a segment's name to the next one's, where it belongs."""
    if name == b"MSH":
        _add(found, piece)
        return
    line_end = _LINE_END.search(piece)
    line, rest = (piece[: line_end.start()], piece[line_end.end() :]) if line_end else (piece, b"")
    match name:
        case b"FHS":
            found.file_header = found.file_header or line
        case b"BHS":
            found.batches.append(Batch(line))
        case b"FTS":
            found.file_trailer = line
        case _:
            _open_batch(found).trailer = line
    if rest.strip(_BLANK):
        _add(found, rest)


def _add(found: Block, part: bytes) -> None:
    if found.enveloped:
        _open_batch(found).parts.append(len(found.parts))
    found.parts.append(part)


def _open_batch(found: Block) -> Batch:
    """Return the batch under way; messages right below FHS, or after a BTS, are a batch without a header."""
    if not found.batches or (found.batches[-1].trailer is not None):
        found.batches.append(Batch())
    return found.batches[-1]


@dataclass(frozen=True, slots=True)
class Signature:
    """Who answers: MSH-3 and MSH-4 of ours, the time (HL7 TS), and control ids: the file's, then one a batch."""

    application: str
    facility: str
    sent_at: str
    control_ids: Sequence[str]


def join(block: Block, answers: Sequence[Sequence[bytes]], signature: Signature) -> bytes:
    """Return the batch of answers to `block`, whose part n was answered by `answers[n]`.

    Form a) of chapter 2.10.3.3: all messages are acknowledged in the response batch. BHS-12 and FHS-12 name the batch
    and file that are answered, BTS-1 and FTS-1 count what is in the answer, and BTS-2 tells where the sender's own
    count (BTS-1, FTS-1) is not what came: something was lost on the way, and only the sender can tell what.
    """
    lines: list[bytes] = []
    if block.file_header:
        lines.append(_header(b"FHS", block.file_header, signature, 0))
    for number, batch in enumerate(block.batches, 1):
        lines.append(_header(b"BHS", batch.header or block.file_header, signature, number))
        inside = [answer for part in batch.parts for answer in answers[part]]
        lines += inside
        lines.append(_trailer(b"BTS", batch.header or block.file_header, len(inside), _missing(batch)))
    if block.file_header:
        lines.append(_trailer(b"FTS", block.file_header, len(block.batches), _missing_batches(block)))
    return b"".join(lines)


def remarks(block: Block) -> list[str]:
    """Return where the sender's own counts are not what came, batch by batch: what `join` says in BTS-2 and FTS-2."""
    said = [(f"batch {number}: ", _missing(batch)) for number, batch in enumerate(block.batches, 1)]
    said += [("file: ", _missing_batches(block))] if block.file_header else []
    return [where + what for where, what in said if what]


def _header(name: bytes, theirs: bytes, signature: Signature, number: int) -> bytes:
    """Answer FHS or BHS: parties exchanged, our time and control id, theirs as the reference."""
    separator, fields = _fields(theirs)
    us = (signature.application, signature.facility)
    parts = [b""] * 13
    parts[0], parts[2] = name, fields[2] or _DEFAULT_HEAD[1:]
    for mine, other, own in zip(_SENDER, _RECEIVER, us, strict=True):
        parts[mine] = fields[other] or _plain(own, separator)
        parts[other] = fields[mine]
    parts[7] = signature.sent_at.encode()
    parts[_CONTROL_ID] = signature.control_ids[number].encode()
    parts[_CONTROL_ID + 1] = fields[_CONTROL_ID]
    del parts[1]  # the separator is field 1
    return separator.join(parts).rstrip(separator) + b"\r"


def _trailer(name: bytes, theirs: bytes, count: int, comment: str) -> bytes:
    separator, _ = _fields(theirs)
    parts = [name, str(count).encode(), comment.encode()]
    return separator.join(parts).rstrip(separator) + b"\r"


def _fields(line: bytes) -> tuple[bytes, list[bytes]]:
    """Return separator and fields (numbered as the standard does) of FHS or BHS; of no line the usual separator."""
    separator = line[3:4]
    if not separator or separator.isalnum() or separator.isspace():
        separator, line = b"|", b""
    fields = line.split(separator) if line else [b""]
    fields.insert(1, separator)
    return separator, fields + [b""] * (13 - len(fields))


def _plain(text: str, separator: bytes) -> bytes:
    """Our own name: ASCII, and without what a sender might have chosen as its separator."""
    return text.encode("ascii", "replace").replace(separator, b" ")


def _missing(batch: Batch) -> str:
    if batch.trailer is None:
        return "no BTS came" if batch.header else ""
    return _difference("BTS-1", batch.trailer, len(batch.parts))


def _missing_batches(block: Block) -> str:
    if block.file_trailer is None:
        return "no FTS came"
    return _difference("FTS-1", block.file_trailer, len(block.batches))


def _difference(name: str, trailer: bytes, came: int) -> str:
    """Compare a trailer's count, where it has one, with what came."""
    told = trailer[4:].split(trailer[3:4])[0].strip() if len(trailer) > 4 else b""  # noqa: PLR2004 - "BTS" and separator
    return f"{name} says {int(told)}, {came} came" if told.isdigit() and int(told) != came else ""

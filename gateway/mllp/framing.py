"""MLLP blocks cut out of a byte stream, and put around a message. Owns the tolerances of domain A.7.

Never reads or writes anything itself, never looks at what a block means, and never keeps more than one block's cap plus
one packet.

    block = VT (0x0B)  content  FS (0x1C)  CR (0x0D)

What senders do that the standard does not know, and what is made of it:

- bytes before a VT are noise: dropped and counted. CR and LF between blocks are dropped and not counted.
- FS directly followed by VT ends the block: the CR was forgotten. So does FS LF before a VT: the LF stood for the CR.
- FS followed by anything else is content. Neither FS nor VT can be escaped, so a sender that means it is wrong already;
  keeping the byte lets the reader of the message say so, cutting there would lose the rest without an answer.
- FS as the last byte, or FS LF, waits for what follows. The owner of the clock may end the block with `finish` (A.7:
  "accept FS without CR after a short wait").
- VT inside a block: a VT never legally occurs in content, so a sender died half-way and began anew on the same
  connection. What came before is dropped as noise and a new block starts.
- an empty block is dropped and counted (some senders use it to keep a connection open).
"""

from __future__ import annotations

import re

from gateway.errors import FrameError

VT = b"\x0b"
FS = b"\x1c"
CR = b"\r"
_TAIL = FS + CR
_EDGES = len(VT) + len(_TAIL)
_LF_TAIL = FS + b"\n"
# One search in C for all ends of a block; the VT of a forgotten CR is left for the next block.
_END = re.compile(rb"\x1c(?:\r|\n?(?=\x0b))")


class BlockTooLargeError(FrameError):
    """A block is longer than the cap. `complete` are the blocks that were whole before it, in order."""

    code = "FRAME_TOO_LARGE"

    def __init__(self, text: str, *, complete: list[bytes]) -> None:
        super().__init__(text)
        self.complete = complete


def frame(content: bytes) -> bytes:
    """Put an MLLP block around `content`."""
    return b"\x0b%b\x1c\r" % content


def _length_of_tail(source: bytes | bytearray) -> int:
    """Return how many of the last bytes may turn out to end a block."""
    return 1 if source.endswith(FS) else 2 * source.endswith(_LF_TAIL)


class Deframer:
    """Cuts blocks out of a stream that arrives in packets of any size.

    Each byte is looked at once: `_scan` remembers where the search for the end of the block under way stopped.
    """

    __slots__ = ("_buffer", "_inside", "_max_bytes", "_scan", "empty_blocks", "noise_bytes", "restarts")

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()  # the content of the block under way, nothing else
        self._inside = False
        self._scan = 0
        self.noise_bytes = 0
        self.empty_blocks = 0
        self.restarts = 0

    @property
    def partial(self) -> bool:
        """Whether a block has begun and not ended."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many bytes of the block under way are kept."""
        return len(self._buffer)

    @property
    def awaiting_cr(self) -> bool:
        """Whether the block under way is whole but for the CR after its FS."""
        return self._inside and self._buffer.endswith((FS, _LF_TAIL))

    def feed(self, data: bytes) -> list[bytes]:
        """Take a packet; return the contents of the blocks it completes, in order.

        Raises BlockTooLargeError as soon as a block exceeds the cap; the stream is of no use after that.
        """
        if not self._inside and self._is_one_block(data):
            return [data[1:-2]]
        if not self._buffer:
            return self._cut(data)
        self._buffer += data
        return self._cut(self._buffer)

    def finish(self) -> list[bytes]:
        """End the block whose FS has come without a CR. Does nothing where `awaiting_cr` is false."""
        if not self.awaiting_cr:
            return []
        if self._buffer.endswith(_LF_TAIL):
            del self._buffer[-1:]
        return self.feed(CR)

    def drop(self) -> int:
        """Forget the block under way; return how many of its bytes were kept."""
        size = len(self._buffer)
        self._buffer = bytearray()
        self._inside = False
        return size

    def _is_one_block(self, data: bytes) -> bool:
        # The usual packet is exactly one block: four looks in C and one slice, nothing kept.
        size = len(data)
        return (
            data[:1] == VT
            and _EDGES < size <= self._max_bytes + _EDGES
            and data.find(FS) == size - 2
            and data[-1:] == CR
            and data.find(VT, 1) < 0
        )

    def _cut(self, source: bytes | bytearray) -> list[bytes]:
        blocks: list[bytes] = []
        at = 0  # inside a block: where its content begins
        while True:
            if not self._inside:
                at = self._find_start(source, at)
                if not self._inside:
                    break
            end = _END.search(source, self._scan)
            stop = end.start() if end else len(source) - _length_of_tail(source)
            at = self._begin_anew(source, at, stop, blocks)
            self._check_size(stop - at, blocks)
            if not end:
                self._scan = stop
                break
            if stop > at:
                blocks.append(source[at:stop] if isinstance(source, bytes) else bytes(memoryview(source)[at:stop]))
            else:
                self.empty_blocks += 1
            at = end.end()
            self._inside = False
        self._keep(source, at)
        return blocks

    def _find_start(self, source: bytes | bytearray, at: int) -> int:
        start = source.find(VT, at)
        stop = start if start >= 0 else len(source)
        if stop > at:
            self.noise_bytes += stop - at - source.count(CR, at, stop) - source.count(b"\n", at, stop)
        if start < 0:
            return stop
        self._inside = True
        self._scan = start + 1
        return start + 1

    def _begin_anew(self, source: bytes | bytearray, at: int, stop: int, blocks: list[bytes]) -> int:
        last = source.rfind(VT, self._scan, stop)
        if last < 0:
            return at
        # The cap holds for a block that was given up, too; or a packet's edge would decide whether it was too large.
        self._check_size(source.find(VT, self._scan, stop) - at, blocks)
        given_up = source.count(VT, self._scan, last + 1)
        self.restarts += given_up
        self.noise_bytes += last + 1 - at - given_up
        return last + 1

    def _check_size(self, size: int, blocks: list[bytes]) -> None:
        if size <= self._max_bytes:
            return
        self.drop()
        raise BlockTooLargeError(f"an MLLP block is longer than {self._max_bytes} bytes", complete=blocks)

    def _keep(self, source: bytes | bytearray, at: int) -> None:
        if source is self._buffer:
            del self._buffer[:at]
        else:
            self._buffer = bytearray(source[at:])
        self._scan -= at

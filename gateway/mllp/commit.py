"""MLLP release 2: a commit block from transport to transport, apart from what HL7 itself answers (domain A.7).

    commit = VT  ACK (0x06) or NAK (0x15)  FS CR

A block is committed (ACK) when its message is safely stored, be it as a message or in quarantine, and also when it was
there before. NAK means that nothing was kept and the sender shall send again; no HL7 answer follows then, since a
sender that has sent again would take it for the answer to the repeat.
"""

from __future__ import annotations

from typing import Final

ACK: Final = b"\x06"
NAK: Final = b"\x15"
COMMITS: Final = frozenset({ACK, NAK})


class NotKept(tuple[bytes, ...]):
    """The answers to a block of which something was not kept. Over release 1 they go out as any others."""

    __slots__ = ()

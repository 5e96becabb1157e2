"""Memory habits of a process that serves: set once, at its start."""

from __future__ import annotations

import ctypes
import gc

_M_MMAP_THRESHOLD = -3  # glibc, mallopt(3)
_LARGE = 1 << 20  # bytes


def return_large_blocks() -> None:
    """Let what is freed of a large message go back to the system: glibc else keeps ever larger blocks for itself.

    Other C libraries have no such switch and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def freeze() -> None:
    """Take what was loaded at start out of garbage collection: tables and rules live as long as the process."""
    gc.collect()
    gc.freeze()

"""Files in a directory of keys: whole or not at all, their owner's alone, never through a link laid in their place."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Let one process at a time change what lies in a directory. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def create(path: Path, data: bytes) -> None:
    """Write a file that is not there yet; where another process was first, its file stays. Raises OSError."""
    draft = _draft(path, data)
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    _sync(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Put a file in the place of the one before, on the disk when this returns. Raises OSError."""
    draft = _draft(path, data)
    try:
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def close_directory(directory: Path) -> None:
    """Make a directory that only its owner may enter, or close one that is ours. Raises OSError.

    A link in its place is followed (secrets are often mounted so); what it leads to is closed where it is ours. What is
    mounted read-only was closed, or not, by whoever mounted it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
    if status.st_uid == os.geteuid() and status.st_mode & 0o077 and not read_only:
        directory.chmod(0o700)


def _draft(path: Path, data: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

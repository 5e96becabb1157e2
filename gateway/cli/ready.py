"""The ready file: there, and whole, exactly while everything listens."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.app import write_private
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTION = click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON with the addresses, written whole when everything listens and removed at the end",
)


def forget(path: Path | None) -> None:
    """Remove what a run that was killed left behind: nothing is ready yet. Raises ConfigError.

    The file of a process that lives stays: it says the truth, and this start may still be refused.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _lives(path):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--ready-file {path}: cannot be written there ({error.strerror})") from None


def _lives(path: Path) -> bool:
    try:
        os.kill(int(json.loads(path.read_text(encoding="utf-8"))["pid"]), 0)
    except PermissionError:  # it is there, and somebody else's
        return True
    except (OSError, OverflowError, ValueError, KeyError, TypeError):
        return False
    return True


@contextmanager
def ready(path: Path | None, content: dict[str, Any]) -> Iterator[None]:
    """Keep the file while the block runs. It may hold a token: mode 0600."""
    if path is None:
        yield
        return
    write_private(path, json.dumps(content))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

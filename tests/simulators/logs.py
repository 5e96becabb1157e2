"""Logging as a command configures it, for the length of a `with`: what was before comes back, to the last handler.

A command configures logging for the process that ends with it. A test that runs one in its own process must take that
back, or the tests behind it hear less than they ask for.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from gateway.observe.logging import configure

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def logging_kept() -> Iterator[None]:
    """Bring structlog's configuration and the root logger's handlers and level back at the end."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


@contextmanager
def configured(**options: Any) -> Iterator[None]:
    """Configure logging as a command does (gateway.observe.logging.configure), and close the file that it opened."""
    with logging_kept():
        stream = configure(**options)
        try:
            yield
        finally:
            if options.get("file"):
                stream.close()

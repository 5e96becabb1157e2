"""The order of the files: `--files-reversed` runs the last file first, each file from its first test to its last.

Random orders (pytest-randomly) seldom put two given files behind each other; this order turns every pair around. Given
with `--randomly-dont-reorganize`, which keeps the seed and leaves the order alone.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from _pytest.terminal import TerminalReporter


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--files-reversed", action="store_true", help="run the last file first, in one process (-n 0)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Turn the files around where that was asked for."""
    if config.getoption("files_reversed"):
        files = [list(tests) for _, tests in groupby(items, lambda item: item.path)]
        items[:] = [item for tests in reversed(files) for item in tests]


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say how this order is had again: `-q` hides what pytest-randomly says at the start."""
    seed = config.getoption("randomly_seed", None)
    if seed is not None and config.getoption("randomly_reorganize"):
        terminalreporter.write_line(f"seed {seed}; the same order again: make test SEED={seed}")

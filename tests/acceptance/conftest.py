"""The acceptance suite: from bytes on a socket to the certificate reference, with every log line kept and searched.

Each test's logs, those of subprocesses included, go to files in one directory of the session. When the suite ends, no
line of them may hold a name, an address, a NIK or another number of a person in the samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulators.logs import configured
from tests.simulators.people import persons_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def log_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lend the directory of all logs of the suite, and search them at its end."""
    directory = tmp_path_factory.mktemp("acceptance-logs")
    yield directory
    told = {path.name: persons_in(path.read_text(encoding="utf-8")) for path in directory.iterdir()}
    assert not {name: found for name, found in told.items() if found}, "the logs speak of people"


@pytest.fixture(autouse=True)
def logs(log_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Send this test's logs, at the most talkative level, to a file of its own."""
    path = log_directory / f"{request.node.name.replace('/', '_')[:150]}.log"
    with configured(level="debug", file=path):
        yield path

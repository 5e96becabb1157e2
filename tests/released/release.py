"""Released code as it was, one archive a schema level, for tests that run it beside the code of this tree.

`NNNN.tar.xz` holds gateway/, adapters/ and schemas/ of the release with its entry points (a `procot-*.dist-info`);
`NNNN.sql` is the schema that its migrations make, for reading and comparing. `python -m tests.released.make` writes
both.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.cluster import Binaries

HERE = Path(__file__).parent
ABOUT = "release.json"
LIMIT_BYTES = 500_000


@dataclass(frozen=True, slots=True)
class Release:
    """One archive."""

    level: int

    @property
    def archive(self) -> Path:
        """The code."""
        return HERE / f"{self.level:04d}.tar.xz"

    @property
    def schema(self) -> str:
        """The schema its migrations make, as `dump` writes it."""
        return self.archive.with_name(f"{self.level:04d}.sql").read_text("utf-8")

    def unpack(self, directory: Path) -> Path:
        """Unpack the code and return where it lies: to be put on PYTHONPATH."""
        with tarfile.open(self.archive) as archive:
            archive.extractall(directory, filter="data")
        return directory

    def migrations(self) -> dict[str, bytes]:
        """Return its migrations by file name."""
        found = {}
        with tarfile.open(self.archive) as archive:
            for member in archive:
                if member.name.startswith("schemas/sql/") and (file := archive.extractfile(member)):
                    found[member.name.rpartition("/")[2]] = file.read()
        return found

    def about(self) -> dict[str, Any]:
        """Return which revision it was made of, and what was laid over it."""
        with tarfile.open(self.archive) as archive:
            file = archive.extractfile(ABOUT)
            assert file is not None
            about: dict[str, Any] = json.loads(file.read())
            return about


def releases() -> list[Release]:
    """Return all releases that are held, oldest first."""
    return [Release(int(path.name[:4])) for path in sorted(HERE.glob("[0-9][0-9][0-9][0-9].tar.xz"))]


def dump(dsn: str) -> str:
    """Return a database's schema as SQL text, without what depends on the moment: pg_dump's comments and settings.

    The list of migrations is left out: it is kept by the code, not by a migration.
    """
    program = Binaries.locate().postgres.with_name("pg_dump")
    done = subprocess.run(
        [program, "--schema-only", "--no-owner", "--no-privileges", "--exclude-table=schema_migrations", dsn],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
    )
    noise = ("--", "SET ", "SELECT pg_catalog.set_config", "\\")
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith(noise)]
    return "\n".join(lines) + "\n"

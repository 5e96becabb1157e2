"""Write the archive of a release, by one command at each release: `python -m tests.released.make [REVISION]`.

What is archived is the commit, never the working tree, except for files named by `--lay-over`. Archives of levels that
this code does not run on any more are removed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from gateway.store.database import connect
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.migrate import OLDEST_SCHEMA, migrate
from tests.released.release import ABOUT, HERE, LIMIT_BYTES, Release, dump, releases

ROOT = HERE.parent.parent
PARTS = ("gateway", "adapters", "schemas")


def committed(revision: str) -> dict[str, bytes]:
    """Return the files of a commit that belong to the product, by path."""
    done = subprocess.run(
        ["git", "archive", "--format=tar", revision, *PARTS, "pyproject.toml"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            if file := archive.extractfile(member):
                found[member.name] = file.read()
    return found


def distribution(project: dict[str, object]) -> dict[str, bytes]:
    """Return the metadata by which the archive's own adapters are found, made from its pyproject.toml."""
    groups: dict[str, dict[str, str]] = {"console_scripts": project["scripts"], **project["entry-points"]}  # type: ignore[dict-item]
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {what}\n" for name, what in entries.items()) + "\n"
        for group, entries in groups.items()
    )
    place = f"procot-{project['version']}.dist-info"
    return {
        f"{place}/METADATA": f"Metadata-Version: 2.1\nName: procot\nVersion: {project['version']}\n".encode(),
        f"{place}/entry_points.txt": points.encode(),
    }


def write(path: Path, files: dict[str, bytes]) -> None:
    """Write an archive that depends on nothing but its files."""
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


async def schema_of(release: Release) -> str:
    """Return the schema that a release's migrations make of an empty database."""
    with tempfile.TemporaryDirectory(prefix="procot-release-") as place:
        directory = Path(place)
        sql = release.unpack(directory / "code") / "schemas" / "sql"
        server = EmbeddedPostgres(directory / "postgres")
        connection = await connect(await server.start(), timeout_s=60)
        try:
            await migrate(connection, directory=sql)
            return await asyncio.to_thread(dump, server.dsn)
        finally:
            await connection.close()
            await server.stop()


def make(revision: str, over: list[str]) -> Release:
    """Write archive and schema of a revision."""
    files = committed(revision)
    commit = subprocess.run(
        ["git", "rev-parse", revision], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.strip()
    files |= {name: (ROOT / name).read_bytes() for name in over}
    files |= distribution(tomllib.loads(files.pop("pyproject.toml").decode())["project"])
    files[ABOUT] = json.dumps({"commit": commit, "laid_over": over}).encode()
    level = max(int(Path(name).name[:4]) for name in files if name.startswith("schemas/sql/") and name.endswith(".sql"))
    release = Release(level)
    write(release.archive, files)
    if release.archive.stat().st_size > LIMIT_BYTES:
        release.archive.unlink()
        sys.exit(f"the archive is larger than {LIMIT_BYTES} bytes: leave out what no running gateway needs")
    release.archive.with_name(f"{level:04d}.sql").write_text(asyncio.run(schema_of(release)), "utf-8")
    for old in releases():
        if old.level < OLDEST_SCHEMA:
            old.archive.unlink()
            old.archive.with_name(f"{old.level:04d}.sql").unlink()
    return release


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default="HEAD")
    parser.add_argument("--lay-over", nargs="*", default=[], help="files of the working tree to put in their place")
    arguments = parser.parse_args()
    made = make(arguments.revision, arguments.lay_over)
    print(f"{made.archive.relative_to(ROOT)}: {made.archive.stat().st_size} bytes, schema {made.level:04d}")  # noqa: T201

"""Started as root: the embedded server has no capability where nothing above it is closed, and never reads the keys."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.app import write_private
from gateway.errors import DatabaseStartError
from gateway.evidence.head import FILE, Memory
from gateway.evidence.keys import Keyring
from gateway.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give its server to another user")


@pytest.fixture
def data() -> Iterator[Path]:
    """Lend a data directory as root makes it, below directories that everybody may enter."""
    above = Path(tempfile.mkdtemp(prefix="procot-privileges-"))
    above.chmod(0o755)
    made = above / "var"
    made.mkdir(mode=0o700)
    yield made
    shutil.rmtree(above)


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data / "postgres", within=data)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


def capabilities(server: EmbeddedPostgres) -> set[str]:
    """Return the capability masks of the postmaster: effective, permitted, inheritable, ambient."""
    text = Path(f"/proc/{server.pid}/status").read_text("ascii", "replace")
    fields = dict(line.split(":\t", 1) for line in text.splitlines())
    assert fields["NoNewPrivs"] == "1"
    return {fields[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}


def secrets_in(data: Path) -> list[Path]:
    """Return every file that the server has no business with."""
    ours = [path for path in data.rglob("*") if path.is_file() and data / "postgres" / "data" not in path.parents]
    return [path for path in ours if path.name != "startup.log" and path.parent.name not in {"log", "run"}]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def owner(path: Path | str) -> int:
    return Path(path).stat().st_uid


def lay_link(place: Path, to: Path) -> bytes:
    """Put a link in the place of a file; return what it leads to."""
    place.unlink()
    place.symlink_to(to)
    return to.read_bytes()


def set_mode(path: Path, bits: int) -> None:
    path.chmod(bits)


def wide_open(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def read_as(uid: int, path: Path) -> tuple[int, bool]:
    """Try to read a file as another user; return the status and whether it was denied."""
    done = subprocess.run(["/bin/cat", path], user=uid, group=uid, extra_groups=[], capture_output=True, check=False)
    return done.returncode, b"denied" in done.stderr


def furnish(data: Path) -> list[Path]:
    ring = Keyring(data / "keys")
    ring.open()
    Memory(ring.directory).write("", committed=True)
    write_private(data / "procot.json", "{}")
    found = [data / "keys" / FILE, data / "keys" / "index.key", *(data / "keys").glob("sign-*.pem")]
    return [*found, data / "procot.json"]


async def test_in_the_usual_installation_the_server_has_no_capability(data: Path) -> None:
    async with running(data) as server:
        assert capabilities(server) == {"0" * 16}
        assert await one(server.dsn, "SELECT 1") == 1
    assert mode(data) == 0o710, "to walk through, not to look into"
    assert owner(data) == 0


async def test_neither_its_user_nor_its_superuser_reads_a_key(data: Path) -> None:
    ours = furnish(data)
    async with running(data) as server:
        uid = owner(f"/proc/{server.pid}")
        assert uid != 0
        for path in {*ours, *secrets_in(data)}:
            assert read_as(uid, path) == (1, True), path
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await one(server.superuser_dsn, "SELECT pg_read_binary_file($1)", str(path))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await one(server.superuser_dsn, "SELECT pg_ls_dir($1)", str(data / "keys"))
        with pytest.raises(asyncpg.PostgresError):
            await one(server.superuser_dsn, f"COPY (SELECT 1) TO '{data}/keys/planted'")


async def one(dsn: str, sql: str, *values: object) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql, *values)
    finally:
        await connection.close()


async def test_a_data_directory_of_before_is_taken_over_with_what_it_holds(data: Path) -> None:
    before = EmbeddedPostgres(data / "postgres")  # as it was: nothing above its own directory was opened
    await before.start()
    assert capabilities(before) != {"0" * 16}
    await one(before.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    await before.stop()
    wide_open(data / "keys")
    furnish(data)
    assert mode(data / "keys") == 0o700, "closed when the keys were opened"
    async with running(data) as server:
        assert capabilities(server) == {"0" * 16}
        assert await one(server.dsn, "SELECT n FROM kept") == 7


async def test_a_link_that_the_servers_user_laid_shows_nothing_of_what_it_leads_to(data: Path) -> None:
    async with running(data):
        pass
    keys = Keyring(data / "keys")
    keys.open()
    secret = lay_link(data / "postgres" / "data" / "PG_VERSION", keys.directory / "index.key")
    with pytest.raises(DatabaseStartError, match="neither empty nor a PostgreSQL cluster") as told:
        async with running(data):
            pass
    assert secret.decode("ascii", "replace").strip()[:10] not in str(told.value)


async def test_a_mode_that_a_group_relies_on_stays(data: Path) -> None:
    set_mode(data, 0o750)
    async with running(data) as server:
        assert capabilities(server) == {"0" * 16}
    assert mode(data) == 0o751


async def test_below_a_closed_directory_it_keeps_the_one_and_says_so(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_mode(data.parent, 0o700)
    told: list[tuple[str, str]] = []

    class Log:
        def warning(self, event: str, *, directory: str) -> None:
            told.append((event, directory))

        def info(self, *_: object, **__: object) -> None:
            """Nothing of this is looked at."""

    monkeypatch.setattr("gateway.store.embedded.structlog.get_logger", Log)
    async with running(data) as server:
        masks = capabilities(server)
    assert "0000000000000004" in masks or "0000000000000002" in masks
    assert told == [("postgres.capability", str(data.parent))]
    assert mode(data.parent) == 0o700, "not ours to open"

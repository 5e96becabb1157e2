"""The same code on a PostgreSQL of somebody else's: the oldest supported version, where this machine has one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.store.database import connect
from gateway.store.migrate import migrate
from tests.simulators.facilities import sample
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARIES = sorted(Path("/usr/lib/postgresql").glob("1[5-7]/bin/initdb"))


@pytest.fixture
def foreign_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the distribution's PostgreSQL on a socket of its own; lends a DSN."""
    if not BINARIES:
        pytest.skip("no PostgreSQL 15 to 17 of the distribution is installed here")
    binaries = BINARIES[0].parent
    directory = Path(f"/tmp/procot-pg-{os.getpid()}")
    directory.mkdir(mode=0o700)
    user = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = directory / "data"

    def run(*arguments: str) -> None:
        subprocess.run(arguments, check=True, capture_output=True, cwd="/", **user)  # type: ignore[call-overload]

    run(str(binaries / "initdb"), "-D", str(data), "-U", "procot", "--auth=trust", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses='' -c unix_socket_directories={directory}"
    run(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(directory / "log"), "-o", options, "start")
    try:
        yield f"postgresql://procot@/postgres?host={directory}"
    finally:
        run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(directory)


async def test_the_journey_works_on_the_oldest_supported_postgres(foreign_postgres: str, tmp_path: Path) -> None:
    connection = await connect(foreign_postgres, timeout_s=60)
    try:
        assert await migrate(connection)
    finally:
        await connection.close()
    async with system(foreign_postgres, tmp_path) as running:
        await running.send(sample("01"))
        birth = await running.until(control_id_of(sample("01")), "DELIVERED")
    assert birth["certificate"]["number"]

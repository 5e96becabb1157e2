from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.errors import DatabaseStartError, DataDirectoryHeldError
from gateway.store import privilege
from gateway.store.cluster import Binaries, _servers_in
from gateway.store.embedded import EmbeddedPostgres, _tidy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

REPOSITORY = Path(__file__).parents[2]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
NEEDS_SETPRIV = pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes capabilities from root")
DOCKER = (
    "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,"
    "audit_write,setfcap"
)

# A supervisor in a process of its own: writes 100 rows, says so, and serves until its standard input ends.
SUPERVISOR = """
import asyncio, sys
from pathlib import Path
import asyncpg
from gateway.store.embedded import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    connection = await asyncpg.connect(await server.start())
    await connection.execute("CREATE TABLE IF NOT EXISTS births (id int)")
    await connection.execute("INSERT INTO births SELECT generate_series(1, 100)")
    await connection.close()
    print("READY", server.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()

asyncio.run(main())
"""


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(directory)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(dsn: str, question: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        answer: object = await connection.fetchval(question)
    finally:
        await connection.close()
    return answer


async def run(dsn: str, statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


@contextmanager
def supervisor(
    directory: Path,
    *,
    python: Path = Path(sys.executable),
    prefix: Sequence[str] = (),
    become: Callable[[], None] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*prefix, python, "-c", SUPERVISOR, directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(libraries()), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=become,  # noqa: PLW1509
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def postmaster_of(process: subprocess.Popen[str]) -> int:
    """Wait until the supervisor serves, and return its server's process id."""
    said = []
    assert process.stdout
    for line in process.stdout:
        if line.startswith("READY "):
            return int(line.split()[1])
        said.append(line)
    pytest.fail("The supervisor ended before it served. It said:\n" + "".join(said))


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def stopped_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a cluster once: initdb is most of a first start."""
    directory = tmp_path_factory.mktemp("stopped") / "pg"

    async def make() -> None:
        async with running(directory):
            pass

    asyncio.run(make())
    return directory


@pytest.fixture
def pg(stopped_server: Path, tmp_path: Path) -> Path:
    """Lend the directory of a server that ran before and was stopped."""
    subprocess.run(["cp", "-a", stopped_server, tmp_path / "pg"], check=True)
    return tmp_path / "pg"


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Lend a directory that every user can walk into; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def user_of(pid: int | None) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def present(path: Path) -> bool:
    return path.exists()


def python_for(user: pwd.struct_passwd) -> tuple[privilege.Identity, Path]:
    """Find an interpreter that `user` can run; one below root's closed home costs a capability, so it comes second."""
    places = [Path(name) / "x" for name in libraries()]
    pythons = [Path(sys.executable).resolve(), Path(f"/usr/bin/python3.{sys.version_info.minor}")]
    found = [
        (privilege.identity_for(user.pw_uid, user.pw_gid, places, [python]), python)
        for python in pythons
        if python.exists()
    ]
    return min(found, key=lambda pair: pair[0].capability is not None)


def libraries() -> list[str]:
    return [str(REPOSITORY), *(place for place in sys.path if place.endswith("site-packages"))]


def capabilities(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)


async def test_the_dsn_leads_to_a_database_that_the_role_owns(postgres: str) -> None:
    assert await ask(postgres, "SELECT current_user || ' in ' || current_database()") == "procot in procot"
    assert await ask(postgres, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'procot'") == "procot"
    assert await ask(postgres, "SELECT lower('ÉŻ') || current_setting('timezone')") == "éżUTC"


def test_the_dsn_works_with_psql(postgres: str) -> None:
    psql = Binaries.locate().postgres.with_name("psql")
    asked = subprocess.run([psql, postgres, "-XAtc", "SELECT 6 * 7"], capture_output=True, text=True, check=True)
    assert asked.stdout == "42\n"


async def test_what_was_committed_is_on_the_disk(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        settings = [await ask(server.dsn, f"SHOW {n}") for n in ("fsync", "synchronous_commit", "full_page_writes")]
    assert settings == ["on", "on", "on"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_read_file('postgresql.conf')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT lo_import('/etc/passwd')",
        "CREATE ROLE other SUPERUSER",
        "SET log_min_messages = 'debug1'",
        "ALTER SYSTEM SET fsync = off",
    ],
)
async def test_the_role_reaches_no_file_no_program_and_no_setting(postgres: str, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ask(postgres, statement)


async def test_a_wrong_password_is_refused_for_both_roles(postgres_server: EmbeddedPostgres) -> None:
    for dsn in (postgres_server.dsn, postgres_server.superuser_dsn):
        user, _, rest = dsn.removeprefix("postgresql://").partition(":")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(f"postgresql://{user}:wrong@{rest.partition('@')[2]}", "SELECT 1")


async def test_the_server_listens_on_no_network_and_trusts_nobody(postgres_server: EmbeddedPostgres) -> None:
    assert await ask(postgres_server.superuser_dsn, "SHOW listen_addresses") == ""
    methods = await ask(postgres_server.superuser_dsn, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules")
    assert methods == ["scram-sha-256"]


async def test_values_in_failing_statements_do_not_reach_the_servers_log(postgres_server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await ask(postgres_server.dsn, "SELECT 'SITI AMINAH'::text::int")
    with pytest.raises(asyncpg.UniqueViolationError):
        await run(
            postgres_server.dsn,
            "CREATE TEMP TABLE n (nik text UNIQUE); INSERT INTO n VALUES ('SITI AMINAH'), ('SITI AMINAH')",
        )
    logs = [path.read_text() for path in (postgres_server._directory / "log").iterdir()]
    assert logs
    assert not any("SITI" in log for log in logs)


def test_only_the_newest_log_files_are_kept(tmp_path: Path) -> None:
    for hour in range(10):
        (tmp_path / f"postgres-20261124T{hour:02}0000.log").touch()
    _tidy(tmp_path)
    assert [path.name[18:20] for path in sorted(tmp_path.iterdir())] == ["05", "06", "07", "08", "09"]


async def test_a_second_supervisor_is_told_who_holds_the_directory(postgres_server: EmbeddedPostgres) -> None:
    name = Path(sys.argv[0]).name
    with pytest.raises(DataDirectoryHeldError, match=rf"held by process {os.getpid()} \({name}\) since 20"):
        await EmbeddedPostgres(postgres_server._directory).start()
    assert postgres_server.pid is not None


async def test_rows_password_and_lock_outlive_a_stop(pg: Path) -> None:
    async with running(pg) as server:
        await ask(server.dsn, "CREATE TABLE births AS SELECT 7 AS id")
        before, pid = server.dsn, server.pid
        waiting = asyncio.create_task(server.wait_dead())
        await asyncio.sleep(0)
    assert await waiting == 0
    assert pid not in _servers_in(pg / "data")
    async with running(pg) as server:
        assert await ask(server.dsn, "SELECT id FROM births") == 7
        assert server.dsn == before


async def test_an_open_session_does_not_hold_up_the_stop(pg: Path) -> None:
    async with running(pg) as server:
        session = await asyncpg.connect(server.dsn)
        busy = asyncio.create_task(session.execute("SELECT pg_sleep(600)"))
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while not await ask(server.superuser_dsn, sleeping):
            assert not busy.done()
    with pytest.raises((asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)):
        await busy
    session.terminate()


async def test_kill_9_of_the_parent_leaves_no_orphan_and_no_row_is_lost(pg: Path) -> None:
    with supervisor(pg) as parent:
        postmaster = postmaster_of(parent)
        assert postmaster in _servers_in(pg / "data")
        parent.kill()
        parent.wait()
    await until(lambda: not _servers_in(pg / "data"))
    async with running(pg) as server:
        assert await ask(server.dsn, "SELECT count(*) FROM births") == 100


async def test_a_start_right_after_kill_9_of_the_parent_waits_for_the_old_server(pg: Path) -> None:
    with supervisor(pg) as parent:
        postmaster = postmaster_of(parent)
        os.kill(postmaster, signal.SIGSTOP)  # it cannot hear yet that its parent died
        parent.kill()
        parent.wait()
    server = EmbeddedPostgres(pg)
    starting = asyncio.create_task(server.start())
    done, _ = await asyncio.wait([starting], timeout=0.3)
    os.kill(postmaster, signal.SIGCONT)
    try:
        assert await ask(await starting, "SELECT count(*) FROM births") == 100
        assert not done
    finally:
        await server.stop()


async def test_kill_9_of_the_postmaster_is_noticed_and_restart_serves_the_same_dsn(pg: Path) -> None:
    async with running(pg) as server:
        await ask(server.dsn, "CREATE TABLE births AS SELECT 7 AS id")
        dsn, pid = server.dsn, server.pid
        session = await asyncpg.connect(dsn)  # its backend outlives the postmaster for a moment
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert await server.wait_dead() == -signal.SIGKILL
        assert server.pid is None
        await server.restart()
        session.terminate()
        assert server.pid not in (None, pid)
        assert server.dsn == dsn
        assert await ask(dsn, "SELECT id FROM births") == 7


async def test_a_stale_pid_file_that_names_a_living_stranger_does_not_block_the_start(pg: Path, tmp_path: Path) -> None:
    async with running(pg) as server:
        pid_file = pg / "data" / "postmaster.pid"
        lines, owner = pid_file.read_text().splitlines(), pid_file.stat()
        assert server.pid == int(lines[0])
    sleep = shutil.which("sleep") or "/bin/sleep"
    with (tmp_path / "output").open("wb") as output:
        stranger = privilege.spawn(
            [sleep, "600"],
            privilege.Identity(owner.st_uid, owner.st_gid),  # of another user PostgreSQL would not mind it
            output=output,
            parent_signal=signal.SIGKILL,
        )
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:], ""]))
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        async with running(pg) as server:
            assert await ask(server.dsn, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_kill_during_initdb_leaves_no_half_cluster(tmp_path: Path) -> None:
    directory = tmp_path / "pg"
    with supervisor(directory) as parent:
        await until(lambda: list(directory.glob("initdb-*/data/PG_VERSION")))
        parent.kill()
        parent.wait()
    assert not (directory / "data").exists()
    assert list(directory.glob("initdb-*"))
    async with running(directory) as server:
        assert await ask(server.dsn, "SELECT 1") == 1
        assert not list(directory.glob("initdb-*"))


async def test_a_cancelled_start_leaves_nothing_half_made_and_lets_the_directory_go(tmp_path: Path) -> None:
    directory = tmp_path / "pg"
    starting = asyncio.create_task(EmbeddedPostgres(directory).start())
    await until(lambda: list(directory.glob("initdb-*/data/PG_VERSION")))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not list(directory.glob("initdb-*"))
    assert not (directory / "data").exists()
    async with running(directory) as server:
        assert await ask(server.dsn, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["with a space", "comma, quote's and ü", "/".join(["long" * 25] * 3)])
async def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    async with running(tmp_path / name / "pg") as server:
        assert await ask(server.dsn, "SELECT 1") == 1
        socket = server._socket
        assert socket is not None
        assert socket.stat().st_mode & 0o077 == 0
    assert socket.parent == tmp_path / name / "pg" or not socket.exists()


async def test_a_short_socket_directory_left_by_a_killed_supervisor_is_used_again(tmp_path: Path) -> None:
    directory = tmp_path / "/".join(["long" * 25] * 3)
    with supervisor(directory) as parent:
        postmaster_of(parent)
        left = Path((directory / "socket").read_text())
        parent.kill()
        parent.wait()
    assert present(left)
    async with running(directory) as server:
        assert server._socket == left
    assert not present(left)


async def test_a_cluster_of_another_major_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pg" / "data").mkdir(parents=True)
    (tmp_path / "pg" / "data" / "PG_VERSION").write_text("17\n")
    for _ in range(2):  # the failure gave the lock back
        with pytest.raises(DatabaseStartError, match=r"made by PostgreSQL 17; .* Dump and restore"):
            await EmbeddedPostgres(tmp_path / "pg").start()


async def test_a_directory_full_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pg" / "data").mkdir(parents=True)
    (tmp_path / "pg" / "data" / "thesis.odt").touch()
    with pytest.raises(DatabaseStartError, match="neither empty nor a PostgreSQL cluster"):
        await EmbeddedPostgres(tmp_path / "pg").start()
    assert (tmp_path / "pg" / "data" / "thesis.odt").exists()


async def test_a_server_that_refuses_its_settings_is_quoted(pg: Path) -> None:
    with pytest.raises(DatabaseStartError, match=r"(?s)before it was ready.*shared_buffers"):
        await EmbeddedPostgres(pg, settings={"shared_buffers": "plenty"}).start()


async def test_a_superusers_password_that_is_lost_or_wrong_is_explained(pg: Path) -> None:
    async with running(pg):
        pass
    secret = pg / "password.postgres"
    secret.write_text("wrong")
    with pytest.raises(DatabaseStartError, match="does not fit its cluster"):
        await EmbeddedPostgres(pg).start()
    secret.unlink()
    with pytest.raises(DatabaseStartError, match=r"password\.postgres is missing"):
        await EmbeddedPostgres(pg).start()


async def test_a_lost_password_of_the_gateways_role_is_replaced(pg: Path) -> None:
    async with running(pg) as server:
        before = server.dsn
    (pg / "password.procot").unlink()
    async with running(pg) as server:
        assert server.dsn != before
        assert await ask(server.dsn, "SELECT 1") == 1


async def test_a_server_that_was_not_started_says_so(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    with pytest.raises(DatabaseStartError, match="is not started"):
        _ = server.dsn
    with pytest.raises(DatabaseStartError, match="is not started"):
        await server.wait_dead()
    assert server.pid is None
    await server.stop()


async def test_only_the_main_thread_may_start_a_server(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    with pytest.raises(DatabaseStartError, match="main thread"):
        await asyncio.to_thread(asyncio.run, server.start())


async def test_an_ordinary_user_needs_nothing_of_root(open_directory: Path) -> None:
    if os.geteuid() != 0:
        async with running(open_directory / "pg") as server:
            assert await ask(server.dsn, "SELECT 1") == 1
        return
    nobody = pwd.getpwnam("nobody")
    os.chown(open_directory, nobody.pw_uid, nobody.pw_gid)
    user, python = python_for(nobody)
    with supervisor(open_directory / "pg", python=python, become=privilege._becoming(user, signal.SIGKILL)) as parent:
        postmaster = postmaster_of(parent)
        assert user_of(postmaster) == nobody.pw_uid
        assert mode_of(open_directory / "pg") == 0o700
        parent.communicate()
        assert parent.returncode == 0


@AS_ROOT
async def test_under_root_the_server_is_a_user_of_its_own_without_any_capability(open_directory: Path) -> None:
    async with running(open_directory / "pg") as server:
        owner = user_of(server.pid)
        assert owner == (open_directory / "pg" / "data").stat().st_uid >= privilege.DEDICATED_ID
        if privilege.identity_for(owner, owner, (), [Binaries.locate().postgres]).capability is None:
            assert capabilities(server.pid) == 0
        for secret in ("password.postgres", "password.procot", "lock"):
            status = (open_directory / "pg" / secret).stat()
            assert (status.st_uid, status.st_mode & 0o777) == (0, 0o600)


@AS_ROOT
async def test_below_a_closed_directory_the_server_keeps_one_capability_and_no_mode_changes(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open_directory / "root"
    closed.mkdir(mode=0o700)
    package = Binaries.locate().postgres.parents[2]
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / "site-packages" / name, ignore=_unneeded)
    monkeypatch.syspath_prepend(closed / "site-packages")
    assert closed in Binaries.locate().postgres.parents
    async with running(closed / "pg") as server:
        assert await ask(server.dsn, "SELECT 1") == 1
        assert capabilities(server.pid) in (1 << privilege.CAP_DAC_READ_SEARCH, 1 << privilege.CAP_DAC_OVERRIDE)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(server.dsn, "SELECT pg_read_file('/etc/shadow')")
    assert (closed.stat().st_uid, closed.stat().st_mode & 0o777) == (0, 0o700)


@AS_ROOT
@NEEDS_SETPRIV
def test_root_with_dockers_capabilities_serves_below_a_closed_directory(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    with supervisor(tmp_path / "closed" / "pg", prefix=with_only(DOCKER)) as parent:
        postmaster = postmaster_of(parent)
        assert capabilities(postmaster) == 1 << privilege.CAP_DAC_OVERRIDE
        data = str(tmp_path / "closed" / "pg" / "data")
        code = f"from gateway.store.cluster import Path, _servers_in; print(_servers_in(Path({data!r})))"
        seen = subprocess.run(
            [*with_only(DOCKER), sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
        )
        assert str(postmaster) in seen.stdout  # although its working directory is hidden from such a root
        parent.communicate()
        assert parent.returncode == 0


@AS_ROOT
@NEEDS_SETPRIV
def test_root_that_may_hand_on_no_capability_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    with supervisor(tmp_path / "closed" / "pg", prefix=with_only("chown,dac_override,setuid,setgid,kill")) as parent:
        said, _ = parent.communicate()
    outermost = next(path for path in reversed(tmp_path.parents) if not path.stat().st_mode & 0o077)
    assert f"{outermost}" in said
    assert "or run as an ordinary user" in said


def with_only(names: str) -> list[str]:
    return ["setpriv", "--bounding-set", ",+".join(("-all", *names.split(",")))]


def _unneeded(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name in {"include", "__pycache__"} or name.endswith(".a")]

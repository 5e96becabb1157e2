"""The command line as a person and a script meet it: real processes, real exit codes, one `procot up` for most."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import click
import pytest
from click.testing import CliRunner

from gateway.cli.demo_births import demo_births
from gateway.cli.main import main
from gateway.cli.main import procot as program
from gateway.mllp.framing import frame
from tests.simulators.facilities import CLINIC, HOSPITAL, SAMPLES, sample
from tests.simulators.logs import logging_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
START_S, STOP_S, LOOK_S = 60.0, 30.0, 0.02
STRANGER = sample("01").replace(HOSPITAL.encode(), b"RSU TAK DIKENAL")


# ------------------------------------------------------------------------------------------------------ processes


def procot(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a command that does its work and ends, from its entry point, in this process: it is quicker here."""
    words = [str(argument) for argument in arguments]
    with logging_kept(), patch.object(sys, "argv", ["procot", *words]):
        done = CliRunner().invoke(click.Command("entry", callback=main), [], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def process(*arguments: object, patience: float = START_S) -> subprocess.CompletedProcess[str]:
    """Run a command that takes signals or ports, as a process of its own, to its end."""
    command = (sys.executable, "-m", "gateway.cli", *map(str, arguments))
    return subprocess.run(command, capture_output=True, timeout=patience, cwd=ROOT, check=False, text=True)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a failed command said to a person: stderr without log lines. It is never a traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if not line.startswith("{"))


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return the JSON lines a command printed, and nothing else it may have printed."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def until(there: Callable[[], Any], what: str, *, patience: float = START_S) -> Any:
    """Return the first true value of `there`."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := there():
            return value
        time.sleep(LOOK_S)
    raise AssertionError(f"never came: {what}")


@dataclass
class Process:
    """A command that goes on until it is told to stop."""

    popen: subprocess.Popen[bytes]
    ready: dict[str, Any]
    ready_file: Path
    log: Path

    def stop(self) -> int:
        """Send SIGTERM; its exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(STOP_S)


@contextmanager
def started(directory: Path, *arguments: object) -> Iterator[Process]:
    """Start a command with a ready file and lend it when it is ready; it is ended if the test did not end it."""
    ready_file, log = directory / "ready.json", directory / "log"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            (sys.executable, "-m", "gateway.cli", *map(str, arguments), "--ready-file", str(ready_file)),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
        )
    try:
        until(lambda: ready_file.exists() or popen.poll() is not None, "the ready file")
        assert popen.poll() is None, log.read_text()
        yield Process(popen, json.loads(ready_file.read_text()), ready_file, log)
    finally:
        if popen.poll() is None:
            popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            popen.wait(STOP_S)
        popen.kill()
        popen.wait()


@dataclass
class Up:
    """The module's `procot up`."""

    process: Process
    data: Path

    @property
    def mllp(self) -> str:
        return str(self.process.ready["mllp"])

    def http(self, path: str, *, token: str = "") -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.process.ready['http']}{path}",
            headers={"Authorization": f"Bearer {token or self.process.ready['api_token']}"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
            return json.loads(response.read())

    def behave(self, **values: object) -> None:
        """Change the registry sandbox's behaviour."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.process.ready['registry']}/sandbox/behaviour",
            data=json.dumps(values).encode(),
            method="PUT",
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - as above

    def births(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return procot("births", *arguments, "--data", self.data)

    def send(self, content: bytes, *arguments: object) -> subprocess.CompletedProcess[str]:
        return procot("send", "-", "--to", self.mllp, *arguments, stdin=content)

    def state(self, control_id: str) -> str | None:
        items = self.http(f"/v1/births?control_id={control_id}")["items"]
        return str(items[0]["state"]) if items else None

    def until(self, control_id: str, *states: str) -> None:
        until(lambda: self.state(control_id) in states, f"{control_id} in {states}")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("up")
    data = directory / "data"
    with started(directory, "up", "--data", data, "--free-ports", "--work-seconds", "0") as running:
        yield Up(running, data)


@pytest.fixture
def births_of_today() -> list[tuple[str, bytes]]:
    """Lend two new births: control id and message."""
    fresh = str(time.time_ns())[-11:]
    made = []
    for number, birth in enumerate(demo_births(2)):
        control_id = f"C{fresh}{number}"
        record = re.search(rb"PID\|1\|\|(\w+)\^", birth.message)
        assert record is not None
        text = birth.message.replace(birth.control_id.encode(), control_id.encode())
        made.append((control_id, text.replace(record[1], f"M{fresh}{number}".encode())))
    return made


def held_sample(number: str, control_id: str, record: str, *, district: int) -> bytes:
    """Return a sample under another control id and record number, so that each test has a birth of its own.

    And of a mother of its own: twice told by one mother it would be suspected (docs/identity.md).
    """
    raw = sample(number)
    first = raw.split(b"\r", 1)[0].split(b"|")[9]
    found = re.search(rb"PID\|1?\|[^|]*\|([\w-]+)", raw)
    assert found is not None
    raw = re.sub(rb"3510\d\d(\d{6}9\d{3})", rb"3510%02d\1" % district, raw)
    return raw.replace(first, control_id.encode()).replace(found[1], record.encode())


# ----------------------------------------------------------------------------------------------------------- help


def commands(group: click.Group = program, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return every command's path, groups included."""
    found = [path]
    for name, command in group.commands.items():
        here = (*path, name)
        found += commands(command, here) if isinstance(command, click.Group) else [here]
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_the_help_of_every_command_fits_the_terminal_and_explains_each_option(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(program, [*path, "--help"], prog_name="procot", terminal_width=80)
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    assert not re.search(r"^  .*\.\.\.$", shown.output, re.MULTILINE)  # no sentence is cut
    command: click.Command = program
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


def test_the_program_explains_itself_and_lists_commands_in_the_order_one_needs_them() -> None:
    done = process("-h")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: procot ")
    names = re.findall(r"^  ([a-z][a-z-]+)  ", done.stdout, re.MULTILINE)
    assert names[:2] == ["demo", "up"]
    assert set(names) == set(program.commands)


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    for arguments in (("fly",), ("births", "list", "--sideways"), ("send",)):
        done = process(*arguments)
        assert done.returncode == 2
        assert "Usage: procot" in said(done)


# ---------------------------------------------------------------------------------------------------------- set-up


def config_file(directory: Path, text: str = "", **replaced: str) -> Path:
    """Write a configuration that is good apart from what a test changes."""
    token = directory / "token"
    token.write_text("a-token-of-the-tests\n")
    parts = {
        "registry": f'url = "http://127.0.0.1:9"\ntoken_file = "{token}"\n',
        "facility": f'code = "{HOSPITAL}"\nregion = "3510"\ninsecure = "msh-4"\n',
    } | replaced
    path = directory / "procot.toml"
    path.write_text(f"[registry]\n{parts['registry']}{text}\n[[facility]]\n{parts['facility']}")
    return path


def test_a_good_configuration_is_called_good_with_what_is_surprising_about_it(tmp_path: Path) -> None:
    done = procot("check-config", config_file(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "good, 1 facility" in done.stdout
    assert "has no deliver_to" in done.stdout
    assert "callback_jwks is not set" in done.stdout


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"text": "[mllp]\nlisten_on = 1"}, ("mllp.listen_on", "unknown key")),
        ({"text": "[typo]\nx = 1"}, ("typo", "unknown key")),
        ({"text": '[mllp]\nlisten = "2575"'}, ("mllp.listen", "'2575'", "HOST:PORT")),
        ({"text": "[limits]\nconnections = 0"}, ("limits.connections", "0", "greater than or equal to 1")),
        ({"text": '[mllp]\ntls_listen = "127.0.0.1:0"'}, ("mllp.tls_listen", "tls.certificate_file")),
        ({"registry": 'url = "http://x"\n'}, ("registry.token_file", "is not set")),
        ({"registry": 'url = "http://x"\ntoken_file = "/no/such"\n'}, ("registry.token_file", "'/no/such'", "No such")),
        ({"registry": ""}, ("registry.url", "is not set")),
        ({"facility": 'code = "X"\nregion = "BWI"\n'}, ("facility X: region", "'BWI'", "pattern")),
        (
            {"facility": 'code = "X"\nregion = "3510"\nadapter = "mirth"\n'},
            ("facility X: adapter", "'mirth'", "installed: baseline"),
        ),
        ({"facility": 'code = "X"\nregion = "3510"\ntime_zone = "WIP"\n'}, ("facility X: time_zone", "'WIP'", "WITA")),
        ({"facility": 'region = "3510"\n'}, ("facility.0.code", "required")),
        ({"text": "this is not TOML"}, ("procot.toml", "is not TOML")),
        ({"text": '[registry.options]\nlookup = "CALL_NIK"'}, ("registry.options.lookup", "unknown key")),
        ({"text": "[registry.options]\nname_threshold = 12"}, ("registry.options.name_threshold", "'12'", "80 to 100")),
        ({"text": '[registry.options]\nacts = "perbaikn"'}, ("registry.options.acts", "'perbaikn'", "or none")),
        ({"text": "[registry.options]\ncache_hours = true"}, ("registry.options.cache_hours", "True", "string")),
        ({"registry": 'url = "dukcapil"\ntoken_file = "/dev/null"\n'}, ("registry.token_file", "is empty")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_wrong_configuration_names_key_value_and_reason(
    tmp_path: Path, change: dict[str, str], named: tuple[str, ...]
) -> None:
    done = procot("check-config", config_file(tmp_path, **change))
    assert done.returncode == 1
    assert done.stdout == ""
    for part in named:
        assert part in said(done)


def test_an_office_that_takes_its_records_needs_no_address_of_the_registry(tmp_path: Path) -> None:
    done = procot("check-config", config_file(tmp_path, registry='way = "lease"\n'))
    assert (done.returncode, done.stderr) == (0, "")
    assert "callback" not in done.stdout


def test_numbers_among_the_options_of_an_adapter_need_no_quotes(tmp_path: Path) -> None:
    text = '[registry.options]\nname_threshold = 90\ncache_hours = 1.5\nsex_threshold = "100"'
    done = procot("check-config", config_file(tmp_path, text))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_registry_adapter_is_named_with_those_there_are(tmp_path: Path) -> None:
    text = config_file(tmp_path).read_text().replace("[registry]", '[registry]\nadapter = "siak"')
    (tmp_path / "procot.toml").write_text(text)
    done = procot("check-config", tmp_path / "procot.toml")
    assert done.returncode == 1
    assert "registry.adapter = 'siak'" in said(done)
    assert "installed: dukcapil" in said(done)


def test_a_configuration_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for arguments in (("check-config", tmp_path / "none.toml"), ("serve", "--config", tmp_path / "none.toml")):
        done = procot(*arguments)
        assert done.returncode == 1
        assert "cannot be read" in said(done)


async def test_migrate_brings_a_database_up_to_date_and_then_has_nothing_to_do(
    empty_database: str, tmp_path: Path
) -> None:
    path = config_file(tmp_path, f'[database]\ndsn = "{empty_database}"')
    first = await asyncio.to_thread(procot, "migrate", "--config", path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("applied 0001_")
    again = await asyncio.to_thread(procot, "migrate", "--config", path)
    assert (again.returncode, again.stdout) == (0, "nothing to apply: the schema is current\n")


def test_migrate_without_a_dsn_says_that_it_is_not_needed(tmp_path: Path) -> None:
    done = procot("migrate", "--config", config_file(tmp_path))
    assert done.returncode == 1
    assert "database.dsn: is not set" in said(done)


def test_keys_are_made_one_at_a_time_with_mode_0600_and_the_newest_signs(tmp_path: Path) -> None:
    none = procot("keys", "list", "--data", tmp_path)
    assert none.returncode == 1
    assert "there are no keys yet" in said(none)
    assert list(tmp_path.iterdir()) == []  # looking makes nothing
    for count in (1, 2):
        made = procot("keys", "new", "--data", tmp_path)
        assert made.returncode == 0, made.stderr
        listed = lines(procot("keys", "list", "--data", tmp_path, "--json"))
        assert len(listed) == count
        assert [key["signs"] for key in listed] == [False] * (count - 1) + [True]
        assert f"made {listed[-1]['key_id']}" in made.stdout
    files = list((tmp_path / "keys").iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert listed[0]["key_id"] in procot("keys", "list", "--data", tmp_path).stdout


# ----------------------------------------------------------------------------------------------------- procot up


def test_the_ready_file_is_whole_private_and_true(up: Up) -> None:
    ready = up.process.ready
    assert set(ready) == {"mllp", "http", "registry", "hospital", "dsn", "pid", "api_token"}
    assert ready["pid"] == up.process.popen.pid
    assert up.process.ready_file.stat().st_mode & 0o777 == 0o600
    assert up.http("/readyz")["status"] == "ready"
    shown = up.process.log.read_text()
    for value in (ready["mllp"], ready["http"], ready["registry"], ready["hospital"], ready["api_token"]):
        assert value in shown


def test_a_second_up_on_the_same_directory_says_who_holds_it_and_leaves_the_first_alone(up: Up) -> None:
    began = time.monotonic()
    done = process("up", "--data", up.data, "--free-ports", "--ready-file", up.process.ready_file)
    assert done.returncode == 1
    assert time.monotonic() - began < 15
    assert f"{up.data} is held by process {up.process.popen.pid} (procot)" in said(done)
    assert json.loads(up.process.ready_file.read_text()) == up.process.ready
    assert up.http("/readyz")["status"] == "ready"


def test_a_birth_goes_in_by_send_and_its_certificate_lies_in_the_inbox(
    up: Up, births_of_today: list[tuple[str, bytes]]
) -> None:
    control_id, message = births_of_today[0]
    assert up.send(message).returncode == 0
    up.until(control_id, "DELIVERED")
    number = up.http(f"/v1/births?control_id={control_id}")["items"][0]["certificate"]["number"]
    letters = [path.read_bytes() for path in (up.data / "hospital-inbox").glob("*.hl7")]
    assert [letter for letter in letters if b"MDM^T02" in letter and number.encode() in letter]


def test_sigterm_ends_it_with_0_without_ready_file_orphans_or_traceback(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--data", tmp_path / "data", "--free-ports") as running:
        family = descendants(running.popen.pid)
        assert family  # PostgreSQL
        assert running.stop() == 0
        assert not running.ready_file.exists()
        until(lambda: not any(map(lives, family)), "the end of every child", patience=5)
        assert not (tmp_path / "data" / "procot.json").exists()
        assert "Traceback" not in running.log.read_text()
    done = procot("births", "list", "--data", tmp_path / "data")
    assert done.returncode == 1
    assert "no gateway runs on" in said(done)


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Return the living children, children's children and so on of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def test_a_killed_gateways_leftovers_are_explained_and_do_not_pass_for_ready(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with started(tmp_path, "up", "--data", data, "--free-ports") as running:
        family = descendants(running.popen.pid)
        running.popen.kill()
        running.popen.wait()
        until(lambda: not any(map(lives, family)), "the end of PostgreSQL")
        assert running.ready_file.exists()
        done = procot("births", "list", "--data", data)
        assert done.returncode == 1
        assert "does not answer; does it run?" in said(done)
        old = running.ready_file.read_text()
    with started_over(tmp_path, data, old) as again:
        assert again.ready["pid"] == again.popen.pid


@contextmanager
def started_over(directory: Path, data: Path, old: str) -> Iterator[Process]:
    """Start on a ready file that an earlier run left behind: it must go before the new one comes."""
    ready_file, log = directory / "ready.json", directory / "log"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            (sys.executable, "-m", "gateway.cli", "up", "--data", data, "--free-ports", "--ready-file", ready_file),
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )
    try:
        until(lambda: not ready_file.exists() or ready_file.read_text() != old, "the end of the old ready file")
        until(ready_file.exists, "the ready file")
        yield Process(popen, json.loads(ready_file.read_text()), ready_file, log)
    finally:
        popen.terminate()
        popen.wait(STOP_S)


def test_a_port_in_use_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        config = tmp_path / "up.toml"
        config.write_text(f'[mllp]\nlisten = "127.0.0.1:{port}"\n')
        done = process("up", "--data", tmp_path / "data", "--config", config)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} (mllp)" in said(done)
    assert "--free-ports" in said(done)
    assert not (tmp_path / "data" / "postgres").exists()


async def test_serve_on_a_port_in_use_says_so(database: str, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        for section in ("mllp", "http"):
            free = "http" if section == "mllp" else "mllp"
            path = config_file(
                tmp_path,
                f'[database]\ndsn = "{database}"\ndirectory = "{tmp_path}"\n[{section}]\nlisten = "127.0.0.1:{port}"\n'
                f'[{free}]\nlisten = "127.0.0.1:0"',
            )
            done = await asyncio.to_thread(process, "serve", "--config", path)
            assert done.returncode == 1
            assert f"127.0.0.1:{port}: cannot listen there" in said(done)


async def test_serve_runs_on_a_dsn_and_ends_with_0(database: str, tmp_path: Path) -> None:
    path = config_file(
        tmp_path,
        f'[database]\ndsn = "{database}"\ndirectory = "{tmp_path}"\n[mllp]\nlisten = "127.0.0.1:0"\n'
        '[http]\nlisten = "127.0.0.1:0"',
    )

    def run() -> None:
        with started(tmp_path, "serve", "--config", path) as running:
            assert running.ready["dsn"] == database
            assert procot("births", "list", "--config", path).stdout == "nothing found\n"
            answered = procot("send", "-", "--to", running.ready["mllp"], stdin=STRANGER)
            assert answered.returncode == 1
            assert running.stop() == 0
            assert not running.ready_file.exists()

    await asyncio.to_thread(run)


async def test_up_works_on_a_dsn_of_its_configuration_and_keeps_its_files_in_data(
    database: str, tmp_path: Path, births_of_today: list[tuple[str, bytes]]
) -> None:
    config = tmp_path / "up.toml"
    config.write_text(f'[database]\ndsn = "{database}"\ndirectory = "{tmp_path / "elsewhere"}"\n')

    def run() -> None:
        data = tmp_path / "data"
        with started(tmp_path, "up", "--data", data, "--config", config, "--free-ports") as running:
            up = Up(running, data)
            assert running.ready["dsn"] == database
            control_id, message = births_of_today[0]
            assert up.send(message).returncode == 0
            up.until(control_id, "DELIVERED")
            assert not (data / "postgres").exists()
            assert not (tmp_path / "elsewhere").exists()

    await asyncio.to_thread(run)


# ----------------------------------------------------------------------------------------------------------- send


def test_send_prints_each_answer_and_exits_0_where_all_are_accepted(up: Up) -> None:
    done = procot("send", *sorted(SAMPLES.glob("0[1-3]*.hl7")), "--to", up.mllp)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^CA RSC\d+", done.stdout, re.MULTILINE)) == 3
    assert "MSA|CA|RSC20250311000101" in done.stdout
    assert done.stdout.endswith("3 accepted, 0 refused, 0 not delivered\n")


def test_send_exits_1_where_one_is_refused(up: Up, births_of_today: list[tuple[str, bytes]]) -> None:
    done = up.send(births_of_today[0][1] + STRANGER)
    assert done.returncode == 1
    assert "1 accepted, 1 refused, 0 not delivered" in done.stdout
    assert "FACILITY_UNKNOWN" in done.stdout


def test_send_exits_2_where_nobody_listens(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    done = procot("send", "-", "--to", f"127.0.0.1:{port}", stdin=sample("01"))
    assert done.returncode == 2
    assert "not delivered: RSC20250311000101" in said(done)
    told = procot("send", "-", "--to", f"127.0.0.1:{port}", "--json", stdin=sample("01"))
    assert told.returncode == 2
    (item,) = [json.loads(line) for line in told.stdout.splitlines()]
    assert (item["control_id"], item["code"], item["answer"]) == ("RSC20250311000101", None, None)


def test_send_exits_2_where_a_listener_never_answers() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        to = f"127.0.0.1:{silent.getsockname()[1]}"
        done = procot("send", "-", "--to", to, "--timeout", "0.3", stdin=sample("01"))
    assert done.returncode == 2
    assert "did not answer within 0.3 s" in said(done)


def test_send_as_json_is_one_object_a_message_and_nothing_else(
    up: Up, tmp_path: Path, births_of_today: list[tuple[str, bytes]]
) -> None:
    path = tmp_path / "two.hl7"
    path.write_bytes(b"".join(message for _, message in births_of_today))
    items = lines(procot("send", path, "--to", up.mllp, "--json"))
    assert [set(item) for item in items] == [{"file", "control_id", "code", "ms", "answer"}] * 2
    assert [item["control_id"] for item in items] == [control_id for control_id, _ in births_of_today]
    assert {item["file"] for item in items} == {str(path)}
    assert all(item["code"] in {"AA", "CA"} and item["ms"] > 0 and "MSA|" in item["answer"] for item in items)


@pytest.mark.parametrize("kind", ["plain", "mllp", "lf", "crlf", "batch"])
def test_send_takes_many_messages_in_one_file_in_every_wrapping(
    up: Up, births_of_today: list[tuple[str, bytes]], kind: str
) -> None:
    messages = [message for _, message in births_of_today]
    whole = b"".join(messages)
    content = {
        "plain": whole,
        "mllp": b"".join(map(frame, messages)),
        "lf": whole.replace(b"\r", b"\n"),
        "crlf": whole.replace(b"\r", b"\r\n"),
        "batch": b"FHS|^~\\&\rBHS|^~\\&\r" + whole + b"BTS|2\rFTS|1\r",
    }[kind]
    items = lines(up.send(content, "--json"))
    assert [item["control_id"] for item in items] == [control_id for control_id, _ in births_of_today]


def test_send_over_many_connections_delivers_each_message_once(up: Up) -> None:
    fresh = str(time.time_ns())[-11:]
    messages = [sample("09").replace(b"RSC20250316000003", f"N{fresh}{n:03}".encode()) for n in range(40)]
    done = up.send(b"".join(messages), "--connections", "8", "--json")
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(item["control_id"] for item in items) == [f"N{fresh}{n:03}" for n in range(40)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-", "--to", "nowhere"), "write HOST:PORT"),
        (("-", "--to", "127.0.0.1:70000"), "write HOST:PORT"),
        (("/no/such/file", "--to", "127.0.0.1:1"), "cannot be read (No such file"),
        (("/", "--to", "127.0.0.1:1"), "cannot be read (Is a directory"),
        (("-", "--to", "127.0.0.1:1"), "there is no HL7 message in there"),
        (("-", "--to", "127.0.0.1:1", "--tls-cert", "x.pem"), "--tls-ca"),
        (("-", "--to", "127.0.0.1:1", "--tls-ca", "/no/such.pem"), "/no/such.pem"),
    ],
)
def test_send_that_cannot_begin_exits_2_with_a_reason(arguments: tuple[str, ...], reason: str) -> None:
    done = procot("send", *arguments, stdin=b"\r\n")
    assert done.returncode == 2
    assert reason in said(done)


# --------------------------------------------------------------------------------------------------------- births


def test_births_are_listed_shown_and_told_by_id_or_control_id(up: Up) -> None:
    up.send(sample("01"))
    up.until("RSC20250311000101", "DELIVERED")
    (item,) = lines(up.births("list", "--control-id", "RSC20250311000101", "--json"))
    item |= {"likenesses": []}
    assert item == up.http(f"/v1/births/{item['id']}")
    for name in (item["id"], "RSC20250311000101"):
        assert lines(up.births("show", name, "--json")) == [item]
        shown = up.births("show", name).stdout
        assert item["certificate"]["number"] in shown
        assert "BIRTH_LATE: The birth is reported after the legal term" in shown
    events = lines(up.births("history", item["id"], "--json"))
    assert next(e["to"] for e in events if e["from"] != e["to"]) == "RECEIVED"
    told = up.births("history", item["id"]).stdout
    assert [state for state in ("SEALED", "SUBMITTED", "ISSUED", "DELIVERED") if state not in told] == []
    table = up.births("list").stdout
    assert item["id"] in table
    assert item["certificate"]["number"] in table


def test_lists_can_be_narrowed_and_paged(up: Up) -> None:
    up.send(held_sample("09", "LIST1", "LIST-R1", district=31) + held_sample("10", "LIST2", "LIST-R2", district=32))
    for control_id in ("LIST1", "LIST2"):
        up.until(control_id, "HOLD_DATA")
    held = lines(up.births("list", "--state", "hold_data", "--json"))
    assert {item["state"] for item in held} == {"HOLD_DATA"}
    assert {"LIST-R1", "LIST-R2"} <= {item["mrn"] for item in held}
    assert [item["mrn"] for item in lines(up.births("list", "--mrn", "LIST-R1", "--json"))] == ["LIST-R1"]
    assert lines(up.births("list", "--facility", "NOBODY", "--json")) == []
    assert up.births("list", "--facility", "NOBODY").stdout == "nothing found\n"
    page = up.births("list", "--state", "HOLD_DATA", "--limit", "1", "--json")
    cursor = said(page).removeprefix("more: --cursor ")
    first = lines(page)
    second = lines(up.births("list", "--state", "HOLD_DATA", "--limit", "1", "--cursor", cursor, "--json"))
    assert first + second == held[:2]


def test_a_wrong_cursor_and_an_unknown_birth_are_one_sentence(up: Up) -> None:
    done = up.births("list", "--cursor", "x")
    assert done.returncode == 1
    assert said(done).startswith("procot: --cursor: ")
    for name in ("NOBODY", "1a0bafb9-42fc-4073-912e-2bdfea3a4023"):
        for command in (("show", name), ("history", name), ("hold", name, "--reason", "x")):
            done = up.births(*command)
            assert done.returncode == 1
            assert f"{name}: no birth has this id" in said(done)


def test_a_person_holds_and_releases_and_both_are_in_the_history(up: Up) -> None:
    up.send(held_sample("02", "HOLD1", "HOLD-R1", district=33))
    up.until("HOLD1", "AWAIT_FORM")
    assert "is AWAIT_FORM (held)" in up.births("hold", "HOLD1", "--reason", "the parents asked").stdout
    assert "(held)" in up.births("show", "HOLD1").stdout
    (freed,) = lines(up.births("release", "HOLD1", "--reason", "they agreed", "--json"))  # all of standard output
    assert (freed["state"], freed["held"]) == ("AWAIT_FORM", False)
    released = up.births("release", "HOLD1", "--reason", "paper form seen")
    assert re.search(r"is \w+\n", released.stdout), released.stderr
    up.until("HOLD1", "DELIVERED")
    by_hand = [e for e in lines(up.births("history", "HOLD1", "--json")) if e["actor"].startswith("operator:")]
    assert [e["reason"] for e in by_hand][:3] == ["the parents asked", "they agreed", "paper form seen"]


def test_what_a_person_may_not_do_is_refused_with_what_to_do_instead(up: Up) -> None:
    up.send(held_sample("10", "REFUSED1", "REFUSED-R1", district=34))
    up.until("REFUSED1", "HOLD_DATA")
    for command in ("release", "retry"):
        done = up.births(command, "REFUSED1", "--reason", "hurry")
        assert done.returncode == 1
        assert "waits for" in said(done)
        assert "A08/A31 from the hospital" in said(done)
    assert up.state("REFUSED1") == "HOLD_DATA"
    without = up.births("cancel", "REFUSED1")
    assert without.returncode == 2
    assert "--reason" in said(without)
    assert up.births("cancel", "REFUSED1", "--reason", "sent by mistake").stdout.endswith(" is CANCELLED\n")


def test_retry_makes_a_waiting_step_due_now_and_is_kept_in_the_history(
    up: Up, births_of_today: list[tuple[str, bytes]]
) -> None:
    control_id, message = births_of_today[0]
    up.behave(outage=True)
    try:
        assert up.send(message).returncode == 0
        up.until(control_id, "READY", "SEALED", "SUBMITTED")
        done = up.births("retry", control_id, "--reason", "it may be back")
        assert done.returncode == 0, done.stderr
    finally:
        up.behave(outage=False)
    up.until(control_id, "DELIVERED")
    tried = [e for e in lines(up.births("history", control_id, "--json")) if e["step"] == "retry"]
    assert [e["reason"] for e in tried] == ["it may be back"]


# --------------------------------------------------------------------------------------------------------- tokens


def test_a_token_is_shown_once_listed_without_its_text_and_revoked(up: Up) -> None:
    made = procot(
        "tokens", "new", "--role", "facility", "--facility", CLINIC, "--label", "ward", "--days", "30",
        "--data", up.data,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert {item["facility"] for item in up.http("/v1/births", token=token)["items"]} <= {CLINIC}
    listed = lines(procot("tokens", "list", "--data", up.data, "--json"))
    (mine,) = [item for item in listed if item["label"] == "ward"]
    table = procot("tokens", "list", "--data", up.data).stdout
    assert mine["id"] in table
    assert token not in table
    assert token not in json.dumps(listed)
    assert procot("tokens", "revoke", mine["id"], "--data", up.data).returncode == 0
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        up.http("/v1/births", token=token)
    refused.value.close()
    again = procot("tokens", "revoke", mine["id"], "--data", up.data)
    assert again.returncode == 1
    assert "revoked before" in said(again)


@pytest.mark.parametrize("arguments", [("--role", "facility"), ("--role", "officer", "--facility", "X")])
def test_a_facility_goes_with_its_role_only(up: Up, arguments: tuple[str, ...]) -> None:
    done = procot("tokens", "new", *arguments, "--label", "x", "--data", up.data)
    assert done.returncode == 1
    assert "--facility goes with --role facility" in said(done)


# ------------------------------------------------------------------------------------------------ demo, sandboxes


def test_the_demo_prints_an_object_a_birth_and_nothing_else() -> None:
    items = lines(process("demo", "--births", 5, "--json", patience=120))
    assert len(items) == 5
    assert all(
        set(item) == {"control_id", "birth_id", "state", "certificate_number", "child_nik", "seconds"} for item in items
    )
    assert {item["state"] for item in items} == {"DELIVERED"}
    assert len({item["certificate_number"] for item in items}) == 5


def test_the_hospital_sandbox_alone_keeps_what_it_gets_and_answers_as_told(tmp_path: Path) -> None:
    for answer, status in (("accept", 0), ("AE", 1)):
        directory = tmp_path / answer
        directory.mkdir()
        inbox = directory / "inbox"
        arguments = ("--listen", "127.0.0.1:0", "--inbox", inbox, "--answer", answer)
        with started(directory, "sandbox", "hospital", *arguments) as running:
            done = procot("send", "-", "--to", running.ready["hospital"], stdin=sample("01"))
            assert done.returncode == status
            (kept,) = inbox.glob("*.hl7")
            assert kept.read_bytes() == sample("01")
            assert running.stop() == 0
            assert not running.ready_file.exists()


def test_the_registry_sandbox_alone_serves_its_keys_and_keeps_its_token_to_itself(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    (tmp_path / "token").write_text("a-token-of-the-tests")
    arguments = (
        "--listen", "127.0.0.1:0", "--data", tmp_path / "registry", "--gateway-jwks", tmp_path / "jwks.json",
        "--token-file", tmp_path / "token", "--refuse", "DUPLIKAT", "--latency-ms", "1",
    )  # fmt: skip
    with started(tmp_path, "sandbox", "registry", *arguments) as running:
        url = running.ready["registry"]
        with urllib.request.urlopen(f"{url}/.well-known/jwks.json", timeout=60) as response:  # noqa: S310 - our own
            assert json.loads(response.read())["keys"]
        with urllib.request.urlopen(f"{url}/sandbox/behaviour", timeout=60) as response:  # noqa: S310 - our own
            assert json.loads(response.read())["refuse"] == "DUPLIKAT"
        assert running.stop() == 0
        assert not running.ready_file.exists()
        assert "a-token-of-the-tests" not in running.log.read_text()


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("--error-rate", "2", "behaviour.error_rate"), ("--listen", "here", "HOST:PORT")],
)
def test_a_sandbox_that_is_told_nonsense_says_what(tmp_path: Path, option: str, value: str, reason: str) -> None:
    (tmp_path / "token").write_text("x")
    done = process(
        "sandbox", "registry", "--data", tmp_path, "--gateway-jwks", tmp_path / "none", "--token-file",
        tmp_path / "token", option, value,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert reason in said(done)


def test_output_that_nobody_reads_any_more_is_no_traceback(up: Up) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        (sys.executable, "-m", "gateway.cli", "births", "list", "--data", str(up.data), "--json"),
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(write)
    assert b"Traceback" not in done.stderr

"""Other people's HL7 software against `procot up` as a user starts it.

python-hl7's two clients, hl7apy's, and Node's simple-hl7 and @medplum/hl7 send; hl7apy reads what comes back. Node's
packages are those of `make peers` (bench/node_modules), or of the directory that PROCOT_NODE_MODULES names.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message as hl7apy_parse

from gateway.cli.demo_births import demo_births
from tests.simulators.facilities import MANIFEST, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 60.0
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
NODE_MODULES = Path(os.environ.get("PROCOT_NODE_MODULES") or ROOT / "bench" / "node_modules")
NODE_CLIENT = ROOT / "tests" / "simulators" / "node_client.cjs"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, log_directory: Path) -> Iterator[dict[str, Any]]:
    """Run `procot up` on free ports; lends its ready file and data directory."""
    directory = tmp_path_factory.mktemp("up")
    ready = directory / "ready.json"
    with (log_directory / "procot-up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "up", "--data", str(directory / "data"), "--free-ports",
             "--work-seconds", "0", "--ready-file", str(ready)],
            stderr=log, stdout=subprocess.DEVNULL, env={**os.environ, "PROCOT_OBSERVE__LEVEL": "debug"},
        )  # fmt: skip
        try:
            _until(ready.exists, "the ready file", process)
            yield {**json.loads(ready.read_text()), "inbox": directory / "data" / "hospital-inbox"}
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _until(there: Any, what: str, process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + PATIENCE_S
    while not there():
        assert time.monotonic() < end, f"never came: {what}"
        assert process is None or process.poll() is None, "procot up ended"
        time.sleep(0.02)


def _letters(up: dict[str, Any], number_of: str) -> list[str]:
    texts = [path.read_bytes().decode() for path in sorted(up["inbox"].glob("*.hl7"))]
    return [text for text in texts if number_of in text]


def test_a_birth_sent_by_python_hl7_s_mllp_send_reaches_the_inbox(up: dict[str, Any], tmp_path: Path) -> None:
    (birth,) = demo_births(1)
    record_number = birth.message.split(b"PID|1||", 1)[1].split(b"^", 1)[0].decode()
    file = tmp_path / "birth.mllp"
    file.write_bytes(b"\x0b" + birth.message + b"\x1c\x0d")
    host, port = up["mllp"].split(":")
    sent = subprocess.run(
        [str(BIN / "mllp_send"), "--port", port, "--file", str(file), host], capture_output=True, check=True, timeout=60
    )
    assert b"MSA|AA|" + birth.control_id.encode() in sent.stdout
    _until(lambda: len(_letters(up, record_number)) == 2, "MDM and A31 of the birth")


def test_what_goes_back_to_the_hospital_parses_and_validates_in_hl7apy(up: dict[str, Any], tmp_path: Path) -> None:
    (birth,) = demo_births(1)
    record_number = birth.message.split(b"PID|1||", 1)[1].split(b"^", 1)[0].decode()
    file = tmp_path / "birth.hl7"
    file.write_bytes(birth.message)
    command = [sys.executable, "-m", "gateway.cli", "send", str(file), "--to", up["mllp"], "--json"]
    sent = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert json.loads(sent.stdout)["code"] == "AA"
    _until(lambda: len(_letters(up, record_number)) == 2, "MDM and A31 of the birth")
    parsed = {}
    for text in _letters(up, record_number):
        message = hl7apy_parse(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
        assert message.validate()
        parsed[message.msh.msh_9.to_er7()] = message
    assert set(parsed) == {"MDM^T02^MDM_T02", "ADT^A31^ADT_A05"}
    mdm = parsed["MDM^T02^MDM_T02"]
    assert mdm.txa.txa_12.to_er7().startswith("3510-LU-")
    assert mdm.txa.txa_17.to_er7() == "LA"
    identifiers = [field.to_er7() for field in parsed["ADT^A31^ADT_A05"].pid.pid_3]
    assert [i for i in identifiers if i.endswith("^NI")], "the child's NIK"


async def test_python_hl7_s_asyncio_client_gets_its_acknowledgement(up: dict[str, Any]) -> None:
    from hl7.mllp import open_hl7_connection  # noqa: PLC0415 - its import is what is tested

    (birth,) = demo_births(1)
    host, port = up["mllp"].split(":")
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await open_hl7_connection(host, int(port), encoding="utf-8")
        import hl7  # noqa: PLC0415

        writer.writemessage(hl7.parse(birth.message.decode()))
        await writer.drain()
        message = await reader.readmessage()
        writer.close()
    assert str(message["MSA"][0][1]) == "AA"
    assert str(message["MSA"][0][2]) == birth.control_id


def test_hl7apy_s_documented_client_gets_its_acknowledgement_with_one_recv(up: dict[str, Any]) -> None:
    """hl7apy has no client class: its documentation sends `to_mllp()` on a socket, and reads with one recv."""
    (birth,) = demo_births(1)
    message = hl7apy_parse(birth.message.decode(), validation_level=VALIDATION_LEVEL.TOLERANT)
    host, port = up["mllp"].split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(message.to_mllp().encode("utf-8"))
        received = connection.recv(1024 * 1024).decode()
    assert received.startswith("\x0bMSH|")
    assert received.endswith("\r\x1c\r"), "the whole answer came in one piece"
    answer = hl7apy_parse(received.strip("\x0b\x1c\r") + "\r", validation_level=VALIDATION_LEVEL.TOLERANT)
    assert answer.msa.msa_1.to_er7() == "AA"
    assert answer.msa.msa_2.to_er7() == birth.control_id


def node(package: str) -> str:
    """Return the program node, or skip the test with what is missing and how to get it."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node is not on this machine; install Node 18 or newer to test with its HL7 clients")
    if not (NODE_MODULES / package / "package.json").exists():
        pytest.skip(f"{package} is not in {NODE_MODULES}; `make peers` fetches it, PROCOT_NODE_MODULES names another")
    return program


def sent_by_node(up: dict[str, Any], package: str, files: list[Path]) -> list[dict[str, str]]:
    host, port = up["mllp"].split(":")
    sent = subprocess.run(
        [node(package), str(NODE_CLIENT), host, port, package, *map(str, files)],
        capture_output=True, check=False, timeout=PATIENCE_S, env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr.decode()
    return [json.loads(line) for line in sent.stdout.splitlines()]


@pytest.mark.parametrize("package", ["simple-hl7", "@medplum/hl7"])
def test_births_sent_by_a_node_client_are_acknowledged_and_reach_the_inbox(
    package: str, up: dict[str, Any], tmp_path: Path
) -> None:
    births = demo_births(3)
    files = [tmp_path / f"{n}.hl7" for n in range(len(births))]
    for file, birth in zip(files, births, strict=True):
        file.write_bytes(birth.message)
    assert sent_by_node(up, package, files) == [{"code": "AA", "control_id": b.control_id} for b in births]
    numbers = [birth.message.split(b"PID|1||", 1)[1].split(b"^", 1)[0].decode() for birth in births]
    _until(lambda: all(len(_letters(up, number)) == 2 for number in numbers), "MDM and A31 of each birth")


@pytest.mark.parametrize("package", ["simple-hl7", "@medplum/hl7"])
def test_a_node_client_takes_the_answer_to_every_sample(package: str, up: dict[str, Any], tmp_path: Path) -> None:
    """Of all versions, in both modes. Latin-1 is left out: these clients write UTF-8 only."""
    samples = [entry for entry in MANIFEST["messages"] if "latin1" not in entry["file"]]
    files, ids = [], []
    for entry in samples:  # each client writes a message its own way: under an id of its own, or it were another's
        raw = (SAMPLES / entry["file"]).read_bytes()
        head, segments = raw.split(b"\r", 1)
        fields = head.split(b"|")
        fields[9] = fields[9][:18] + package.strip("@")[:1].encode()
        files.append(tmp_path / entry["file"])
        files[-1].write_bytes(b"|".join(fields) + b"\r" + segments)
        ids.append(fields[9].decode())
    answers = sent_by_node(up, package, files)
    assert [answer["control_id"] for answer in answers] == ids
    assert [answer["code"] for answer in answers] == [entry["ack"][0] for entry in samples]

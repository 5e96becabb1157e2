"""Other people's HL7 software against `procot up` as a user starts it: python-hl7 sends, hl7apy reads the answer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message as hl7apy_parse

from gateway.cli.demo_births import demo_births

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 60.0
BIN = Path(sys.executable).parent


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

"""`procot send`: an MLLP client for integrators. Sends files, prints each answer."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import click
from rich.progress import Progress
from rich.text import Text

from gateway.cli import loop
from gateway.cli.addresses import ADDRESS
from gateway.cli.output import as_json, console, emit, errors
from gateway.contract.visible import printable
from gateway.errors import ConfigError, Hl7SyntaxError, ProcotError
from gateway.hl7.charset import decode
from gateway.hl7.header import salvage_header
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.mllp.files import envelope_remarks, split_messages
from gateway.mllp.tls import client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_ACCEPTED = ("AA", "CA")


class _NotSent(click.ClickException):
    """Nothing could be sent: exit status 2, as for everything that was not delivered."""

    exit_code = 2

    def show(self, file: IO[str] | None = None) -> None:  # noqa: ARG002 - click's signature
        errors.print(f"procot: {self.message}", markup=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Message:
    file: str
    content: bytes
    control_id: str


@dataclass(slots=True)
class _Run:
    host: str
    port: int
    tls: ssl.SSLContext | None
    timeout_s: float
    json_output: bool
    release: Literal[1, 2]
    waiting: list[_Message]
    refused: int = 0
    lost: int = 0
    accepted: int = 0
    progress: Progress | None = None
    bar: object = field(default=None)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--to", "target", type=ADDRESS, required=True, metavar="HOST:PORT", help="where the gateway listens")
@click.option("--tls-ca", type=click.Path(path_type=Path), help="certificate that signed the gateway's: turns TLS on")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="our own certificate, for mutual TLS")
@click.option("--tls-key", type=click.Path(path_type=Path), help="its key")
@click.option("--connections", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N",
              help="send over so many at a time")  # fmt: skip
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1), default=30.0, show_default=True, metavar="SECONDS",
              help="how long to wait for an answer")  # fmt: skip
@click.option("--mllp2", is_flag=True, help="MLLP release 2: wait for the commit block before each answer")
@as_json(shown="one object a message: file, control_id, code, ms, answer")
def send(
    files: tuple[str, ...], target: tuple[str, int], tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None,
    connections: int, timeout_s: float, mllp2: bool, json_output: bool,
) -> None:  # fmt: skip
    """Send HL7 messages over MLLP and print each answer.

    FILE may hold one message, many, or a batch, with or without MLLP bytes, with CR, LF or CRLF; - is standard input.
    Exit status: 0 all accepted (AA or CA), 1 some answered AE, CE, AR or CR, 2 some not delivered.
    """
    if (tls_cert or tls_key) and not tls_ca:
        raise click.UsageError("--tls-cert and --tls-key are for TLS, which --tls-ca turns on")
    try:
        tls = client_context(tls_ca, tls_cert, tls_key) if tls_ca else None
        messages = list(_read(files))
    except ConfigError as error:
        raise _NotSent(str(error)) from None
    if not messages:
        raise _NotSent(f"{', '.join(files)}: there is no HL7 message in there (one begins with MSH)")
    run = _Run(*target, tls, timeout_s, json_output, 2 if mllp2 else 1, messages[::-1])
    loop.run(_send_all(run, connections))
    if not json_output:
        console.print(f"{run.accepted} accepted, {run.refused} refused, {run.lost} not delivered")
    sys.exit(2 if run.lost else 1 if run.refused else 0)


def _read(files: tuple[str, ...]) -> Iterator[_Message]:
    for name in files:
        try:
            data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise ConfigError(f"{name}: cannot be read ({error.strerror})") from None
        for remark in envelope_remarks(data):
            errors.print(f"{name}: {remark}", markup=False, soft_wrap=True)
        for content in split_messages(data):
            header = salvage_header(decode(content).text)
            yield _Message(name, content, header.control_id if header else "")


async def _send_all(run: _Run, connections: int) -> None:
    total = len(run.waiting)
    # One terminal cannot show answers and a bar in turn: with answers on it, they are the progress.
    quiet = total == 1 or not errors.is_terminal or (console.is_terminal and not run.json_output)
    with Progress(console=errors, transient=True, disable=quiet) as progress:
        run.progress, run.bar = progress, progress.add_task("sending", total=total)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(connections, total)):
                group.create_task(_connection(run))


async def _connection(run: _Run) -> None:
    client: MllpClient | None = None
    while run.waiting:
        message = run.waiting.pop()
        started = time.perf_counter()
        try:
            if client is None or not client.usable:
                client = await MllpClient(run.host, run.port, ssl=run.tls, release=run.release).connect()
            answer = await client.exchange(message.content, control_id=_wire(message), timeout=run.timeout_s)
            code = acknowledgement(answer)[0]
        except (ProcotError, Hl7SyntaxError) as error:
            client = None
            _lost(run, message, error)
            continue
        _answered(run, message, answer=answer, code=code, ms=(time.perf_counter() - started) * 1000)
    if client is not None:
        await client.aclose()


def _wire(message: _Message) -> bytes:
    """Return MSH-10 as it stands in the bytes."""
    line = message.content.split(b"\r", 1)[0]
    fields = line.split(line[3:4]) if len(line) > 3 else []  # noqa: PLR2004 - "MSH" and its separator
    return fields[9].strip() if len(fields) > 9 else b""  # noqa: PLR2004 - MSH-10


def _answered(run: _Run, message: _Message, *, answer: bytes, code: str, ms: float) -> None:
    run.accepted += code in _ACCEPTED
    run.refused += code not in _ACCEPTED
    text = decode(answer).text
    if run.json_output:
        emit({"file": message.file, "control_id": message.control_id, "code": code, "ms": round(ms, 1), "answer": text})
    else:
        colour = "green" if code in _ACCEPTED else "red"
        about = printable(f" {message.control_id}  ({ms:.1f} ms)")
        console.print(Text.assemble((printable(code), f"bold {colour}"), about), soft_wrap=True)
        for line in text.rstrip().split("\r"):
            console.print(Text(printable(line), "dim"), soft_wrap=True)
    _advance(run)


def _lost(run: _Run, message: _Message, error: Exception) -> None:
    run.lost += 1
    if run.json_output:
        emit({"file": message.file, "control_id": message.control_id, "code": None, "ms": None, "answer": None,
              "error": str(error)})  # fmt: skip
    else:
        said = printable(f"not delivered: {message.control_id or message.file}: {error}")
        errors.print(said, markup=False, soft_wrap=True)
    _advance(run)


def _advance(run: _Run) -> None:
    if run.progress is not None:
        run.progress.advance(run.bar)  # type: ignore[arg-type]

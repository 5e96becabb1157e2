"""`procot sandbox`: the two counterparts alone, with settable behaviour."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway import plugins
from gateway.cli import loop, ready
from gateway.cli.addresses import ADDRESS, check_free
from gateway.cli.output import console
from gateway.config import Limits, secret
from gateway.mllp.server import MllpServer, Peer, as_future
from gateway.observe.logging import configure
from gateway.observe.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence


def hospital_sandbox(directory: Path, **behaviour: Any) -> Any:
    """Open a hospital sandbox that keeps what it gets in `directory`."""
    module = plugins.load_module(plugins.SANDBOXES, "hospital")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = module.HospitalSandboxSettings(directory=directory, behaviour=module.Behaviour(**behaviour))
    return module.open_sandbox(settings)


class HospitalListener:
    """A hospital sandbox behind an MLLP listener."""

    def __init__(self, sandbox: Any, *, latency_s: float = 0) -> None:
        self._sandbox = sandbox
        self._latency_s = latency_s
        self._server = MllpServer(self._handle, limits=Limits(), observer=Metrics())
        self.address = ""

    @classmethod
    async def start(cls, sandbox: Any, host: str, port: int, *, latency_s: float = 0) -> HospitalListener:
        """Listen; `address` is where."""
        listener = cls(sandbox, latency_s=latency_s)
        bound = await listener._server.start(host, port)
        listener.address = f"{bound[0]}:{bound[1]}"
        return listener

    def _handle(self, frame: bytes, _peer: Peer) -> asyncio.Future[Sequence[bytes]]:
        return as_future(self._answer(frame))

    async def _answer(self, frame: bytes) -> Sequence[bytes]:
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        answers: Sequence[bytes] = self._sandbox.handle(frame)
        return answers

    async def stop(self) -> None:
        """Answer what is in hand and close."""
        await self._server.drain(2)


@click.group()
def sandbox() -> None:
    """Run a registry or a hospital to test against.

    They keep what they get, and they are never real.
    """


@sandbox.command(short_help="A civil registry that issues specimens.")
@click.option("--listen", type=ADDRESS, default="127.0.0.1:8090", show_default=True, metavar="HOST:PORT",
              help="port 0: a free one")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path("var/registry"),
              show_default=True, help="where its cases and its key are kept")  # fmt: skip
@click.option("--gateway-jwks", required=True, metavar="FILE|URL", help="public keys of the gateway that may submit")
@click.option("--token-file", required=True, type=click.Path(path_type=Path), help="bearer token it must show")
@click.option("--callback", default="", metavar="URL", help="where outcomes are sent, …/v1/registry/callbacks/dukcapil")
@click.option("--office", default="3510", show_default=True, help="kode_kantor")
@click.option("--work-seconds", default=1.0, show_default=True, help="time from submission to certificate")
@click.option("--latency-ms", default=0, show_default=True, help="delay of every answer")
@click.option("--error-rate", default=0.0, show_default=True, help="share of answers that are a 500")
@click.option("--lose-answer-rate", default=0.0, show_default=True, help="share of answers lost after the work is done")
@click.option("--garbage-rate", default=0.0, show_default=True, help="share of answers that are no JSON")
@click.option("--refuse", default="", metavar="CODE", help="refuse every case, e.g. DUPLIKAT or NAMA_TIDAK_SAH")
@click.option("--duplicate-callbacks", is_flag=True, help="send each callback twice")
@click.option("--drop-callbacks", is_flag=True, help="send no callback: outcomes are found by asking")
@click.option("--outage", is_flag=True, help="answer 503 to everything")
@ready.OPTION
def registry(
    listen: tuple[str, int], data: Path, gateway_jwks: str, token_file: Path, callback: str, office: str,
    work_seconds: float, ready_file: Path | None, **behaviour: Any,
) -> None:  # fmt: skip
    """A civil registry that works cases and issues specimens.

    It knows a NIK by its last four digits: 9000-9009 exist and match, 9011-9015 give codes 11-15, 9060-9069 match but
    for the name, any other is not found. Change its behaviour while it runs: PUT /sandbox/behaviour (JSON).
    """
    configure(level="info")
    module = plugins.load_module(plugins.SANDBOXES, "registry")
    host, port = listen
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = module.RegistrySandboxSettings(
        directory=data,
        gateway_jwks=gateway_jwks,
        token=secret(token_file, "--token-file"),
        host=host,
        port=port,
        office=office,
        work_seconds=work_seconds,
        callback_url=callback,
        behaviour=module.Behaviour().changed(behaviour),
    )
    loop.run(_run_registry(module, settings, ready_file))


async def _run_registry(module: Any, settings: Any, ready_file: Path | None) -> None:
    stop = loop.stop_signal()
    ready.forget(ready_file)
    check_free({"--listen": f"{settings.host}:{settings.port}"}, instead="choose another --listen")
    opened = await module.open_sandbox(settings)
    try:
        url = await opened.start()
        with ready.ready(ready_file, {"registry": url, "pid": os.getpid()}):
            _say(f"Registry sandbox on {url}: specimens only. Its keys: {url}/.well-known/jwks.json")
            await stop.wait()
    finally:
        await opened.stop()


@sandbox.command(short_help="A hospital's listener that keeps what it gets.")
@click.option("--listen", type=ADDRESS, default="127.0.0.1:2577", show_default=True, metavar="HOST:PORT",
              help="port 0: a free one")  # fmt: skip
@click.option("--inbox", type=click.Path(path_type=Path, file_okay=False), default=Path("var/hospital-inbox"),
              show_default=True, help="one file a message")  # fmt: skip
@click.option("--answer", type=click.Choice(["accept", "AE", "AR"]), default="accept", show_default=True,
              help="what it says to every message")  # fmt: skip
@click.option("--latency-ms", default=0, show_default=True, help="delay of every answer")
@click.option("--silent", is_flag=True, help="take messages and never answer")
@click.option("--wrong-control-id", is_flag=True, help="answer with an MSA-2 nobody sent")
@ready.OPTION
def hospital(
    listen: tuple[str, int], inbox: Path, answer: str, latency_ms: int, silent: bool, wrong_control_id: bool,
    ready_file: Path | None,
) -> None:  # fmt: skip
    """A hospital's MLLP listener that keeps every message it gets as a file."""
    configure(level="info")
    opened = hospital_sandbox(inbox, answer=answer, silent=silent, wrong_control_id=wrong_control_id)
    loop.run(_run_hospital(opened, listen, latency_ms / 1000, ready_file))


async def _run_hospital(opened: Any, address: tuple[str, int], latency_s: float, ready_file: Path | None) -> None:
    stop = loop.stop_signal()
    ready.forget(ready_file)
    listener = await HospitalListener.start(opened, *address, latency_s=latency_s)
    try:
        with ready.ready(ready_file, {"hospital": listener.address, "pid": os.getpid()}):
            _say(f"Hospital sandbox on MLLP {listener.address}; what it gets lies in {opened.directory}")
            await stop.wait()
    finally:
        await listener.stop()


def _say(text: str) -> None:
    console.print(f"{text}\nCtrl-C ends it.", markup=False, soft_wrap=True)
    sys.stdout.flush()

"""A gateway process of whatever code lies on PYTHONPATH, with a clock that may stand still.

    python tests/released/serve.py CONFIG READY_FILE LOG_FILE MOMENT

It uses nothing of this tree, so that a release runs as it was; MOMENT is an ISO time with an offset, or "".
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import os
import sys
from pathlib import Path

from gateway.app import Gateway, utc_now, write_private
from gateway.cli import loop
from gateway.cli.run import until
from gateway.config import load
from gateway.observe.logging import configure


async def _main(config: Path, ready_file: Path, moment: str) -> None:
    stop = loop.stop_signal()
    clock = (lambda: dt.datetime.fromisoformat(moment).astimezone(dt.UTC)) if moment else utc_now
    gateway = Gateway(load(config), clock=clock)
    async with gateway.running() as addresses:
        about = {**dataclasses.asdict(addresses), "pid": os.getpid(), "code": sys.modules["gateway"].__file__}
        await asyncio.to_thread(write_private, ready_file, json.dumps(about))
        await until(stop, gateway)


def run(config: Path, ready_file: Path, log_file: Path, moment: str = "") -> None:
    """Be that gateway until SIGTERM."""
    configure(level="debug", file=log_file)
    loop.run(_main(config, ready_file, moment))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])

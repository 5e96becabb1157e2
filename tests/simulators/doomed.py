"""A real gateway process that kills itself with SIGKILL at a named point of the journey, the first time it gets there.

A point is `before:module.function` or `after:module.function` (methods: `module.Class.method`). The product has no such
hook: the function is replaced in this process only. Nothing is cleaned up, as when a machine loses its power supply.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
import json
import os
import signal
from typing import TYPE_CHECKING, Any

from gateway.app import Gateway, write_private
from gateway.cli import loop
from gateway.cli.run import until
from gateway.config import load
from gateway.observe.logging import configure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def arm(point: str) -> None:
    """Replace the function of a point by one that ends the process before or after its work."""
    when, _, path = point.partition(":")
    owner, name = _owner(path)
    original = getattr(owner, name)
    setattr(owner, name, (_async_bomb if inspect.iscoroutinefunction(original) else _bomb)(original, when))


def _owner(path: str) -> tuple[Any, str]:
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise ValueError(path)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _async_bomb(original: Callable[..., Any], when: str) -> Callable[..., Any]:
    async def doomed(*arguments: Any, **keywords: Any) -> Any:
        if when == "before":
            _die()
        await original(*arguments, **keywords)
        _die()

    return doomed


def _bomb(original: Callable[..., Any], when: str) -> Callable[..., Any]:
    def doomed(*arguments: Any, **keywords: Any) -> Any:
        if when == "before":
            _die()
        original(*arguments, **keywords)
        _die()

    return doomed


async def _main(config: Path, ready_file: Path) -> None:
    stop = loop.stop_signal()
    gateway = Gateway(load(config))
    async with gateway.running() as addresses:
        ready = json.dumps({**dataclasses.asdict(addresses), "pid": os.getpid()})
        await asyncio.to_thread(write_private, ready_file, ready)
        await until(stop, gateway)


def run(config: Path, ready_file: Path, log_file: Path, point: str = "") -> None:
    """Be that gateway until a signal, or until it dies at its point."""
    configure(level="debug", file=log_file)
    if point:
        arm(point)
    loop.run(_main(config, ready_file))

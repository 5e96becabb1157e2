"""The command line beside a journey: from its entry point, in a thread of its own, on the test's own database."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import click
from click.testing import CliRunner

from gateway.cli.main import main
from tests.simulators.logs import logging_kept

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines it printed, and nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]


def _run(words: list[str], environment: dict[str, str], typed: str) -> Done:
    with logging_kept(), patch.object(sys, "argv", ["procot", *words]):
        done = CliRunner(env=environment).invoke(click.Command("entry", callback=main), [], typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


async def procot(*arguments: object, typed: str = "", **environment: str) -> Done:
    """Run a command to its end; `typed` is what it reads on standard input."""
    return await asyncio.to_thread(_run, [str(argument) for argument in arguments], environment, typed)


def configuration(
    directory: Path, dsn: str, *, facility: str, registry: str = "http://127.0.0.1:9", more: str = ""
) -> Path:
    """Write the configuration of a gateway on the test's database and return its path."""
    token = directory / "registry-token"
    token.write_text("a-token")
    path = directory / "procot.toml"
    path.write_text(
        f"""
        [database]
        dsn = "{dsn}"
        directory = "{directory}"
        [registry]
        url = "{registry}"
        token_file = "{token}"
        [[facility]]
        code = "{facility}"
        region = "3510"
        insecure = "msh-4"
        {more}
        """
    )
    return path

"""How the command line speaks: tables for people, JSON lines for machines, errors as one sentence on stderr."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

F = TypeVar("F", bound="Callable[..., Any]")

_WIDE = 200  # where nobody looks, nothing is cut


def _console(*, stderr: bool) -> Console:
    probe = Console(stderr=stderr, highlight=False)
    return probe if probe.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDE)


console = _console(stderr=False)
errors = _console(stderr=True)


def program() -> str:
    """Return how a person calls this program here: by name where the shell finds it, else by its place."""
    if shutil.which("procot"):
        return "procot"
    script = Path(sys.executable).with_name("procot")
    if not script.exists():
        return "python -m gateway.cli"
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)


def emit(item: dict[str, Any]) -> None:
    """Print one JSON object on a line of its own and flush it."""
    sys.stdout.write(json.dumps(item, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; where there are no rows, say so."""
    drawn = Table(*columns, title=title, box=None, header_style="bold", title_justify="left", pad_edge=False)
    count = 0
    for row in rows:
        drawn.add_row(*("" if cell is None else str(cell) for cell in row))
        count += 1
    if count:
        console.print(drawn)
    else:
        console.print("nothing found")


def as_json(*, shown: str = "one JSON object a line, nothing else on standard output") -> Callable[[F], F]:
    """Return the `--json` option."""
    return click.option("--json", "json_output", is_flag=True, help=shown)

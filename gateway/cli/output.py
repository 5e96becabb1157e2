"""How the command line speaks: tables for people, JSON lines for machines, errors as one sentence on stderr.

The one door to a terminal. Much of what is shown was written by strangers, and a terminal obeys what it is sent: no
text reaches it with a control character, a mark of writing direction or rich's markup in it, whichever command prints.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from gateway.contract.visible import escaped, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import ConsoleOptions, RenderableType

F = TypeVar("F", bound="Callable[..., Any]")

_WIDE = 200  # where nobody looks, nothing is cut


class _Terminal(Console):
    """A console that writes strangers' text as text: no markup or emoji is read, every segment is made visible."""

    def __init__(self, *, stderr: bool, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is written; rich's own segments of control pass, which no text can make."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(by_line(segment.text), segment.style)


def by_line(text: str) -> str:
    """Return a text of several lines of ours with visible signs in them (gateway.contract.visible)."""
    return "\n".join(map(printable, text.split("\n")))


def _console(*, stderr: bool) -> Console:
    probe = _Terminal(stderr=stderr)
    return probe if probe.is_terminal else _Terminal(stderr=stderr, width=_WIDE)


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


def when(moment: dt.datetime | str | None) -> str:
    """Return a moment as every table shows it: UTC, to the second, `2026-11-24 02:00:00Z`; "" for none."""
    if not moment:
        return ""
    at = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}Z"


def _plain(value: object) -> str:
    """Return a time as RFC 3339 has it, anything else as text."""
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def emit(item: dict[str, Any]) -> None:
    """Print one JSON object on a line of its own and flush it; a control character stands there as its number."""
    sys.stdout.write(escaped(json.dumps(item, ensure_ascii=False, default=_plain)) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int = 1) -> None:
    """Print a table, the first `whole` columns never cut or folded; where there are no rows, say so."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(columns):
        drawn.add_column(Text(printable(name)), no_wrap=number < whole, overflow="fold")
    count = 0
    for row in rows:
        drawn.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
        count += 1
    if count:
        console.print(drawn)
    else:
        console.print("nothing found")


def details(lines: Iterable[tuple[str, object]]) -> None:
    """Print one thing's values, a line each, long ones folded beside their names."""
    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(justify="right", style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in lines:
        drawn.add_row(Text(printable(name)), Text(printable(str(value))))
    console.print(drawn)


def as_json(*, shown: str = "one JSON object a line, nothing else on standard output") -> Callable[[F], F]:
    """Return the `--json` option."""
    return click.option("--json", "json_output", is_flag=True, help=shown)

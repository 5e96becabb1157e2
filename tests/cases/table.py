"""The table of all cases, made from their tests: `python -m tests.cases.table --write` writes docs/cases.md."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cases.case import CASES, Case
from tests.cases.situations import GROUPS, SITUATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "cases.md"
_AS_WRITTEN = "as the domain page says"
_OTHERWISE = "decided otherwise"
_INTRODUCTION = """\
# The cases

Each case of the domain page (part F) has a test that shows what Procot does: `test_f009_…` is case 9. This page is made
of those tests by `python -m tests.cases.table --write`; edit the tests, not the page. Where the domain page is silent,
contradicts itself or leaves a choice, the decision stands in the last column.
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One test of a case: where it is, and the behaviour in plain words."""

    name: str
    file: str
    case: Case
    behaviour: str


def shown() -> list[Shown]:
    """Import every test file of this directory and return its tests of cases, by number, then as they stand."""
    found = [test for path in sorted(HERE.glob("test_*.py")) for test in _in_file(path)]
    return sorted(found, key=lambda test: test.case.number)


def _in_file(path: Path) -> Iterator[Shown]:
    module = importlib.import_module(f"tests.cases.{path.stem}")
    for name, test in vars(module).items():
        if isinstance(marked := getattr(test, "case", None), Case):
            first, *_ = (inspect.getdoc(test) or "").splitlines() or [""]
            yield Shown(name, path.name, marked, first)


def page(tests: Sequence[Shown]) -> str:
    """Return docs/cases.md."""
    otherwise = {test.case.number for test in tests if test.case.decision}
    numbers = {test.case.number for test in tests}
    count = (
        f"{len(numbers)} of {len(CASES)} cases have their test: {len(numbers) - len(otherwise)} {_AS_WRITTEN}, "
        f"{len(otherwise)} {_OTHERWISE}.\n"
    )
    sections = [_section(title, numbers, tests) for title, numbers in _groups()]
    return "\n".join([_INTRODUCTION, count, *sections])


def _groups() -> Iterator[tuple[str, range]]:
    starts = [*GROUPS, CASES.stop]
    for title, first, following in zip(GROUPS.values(), starts, starts[1:], strict=False):
        yield title, range(first, following)


def _section(title: str, numbers: range, tests: Sequence[Shown]) -> str:
    rows = [_row(number, [test for test in tests if test.case.number == number]) for number in numbers]
    head = "| # | situation | what Procot does | state |\n|---|---|---|---|\n"
    return f"## {title}\n\n{head}" + "".join(rows)


def _row(number: int, tests: Sequence[Shown]) -> str:
    decisions = list(dict.fromkeys(test.case.decision for test in tests if test.case.decision))
    state = f"{_OTHERWISE}: {' '.join(decisions)}" if decisions else _AS_WRITTEN
    behaviour = " ".join(test.behaviour for test in tests)
    files = sorted({test.file for test in tests})
    links = ", ".join(f"[{file}](../tests/cases/{file})" for file in files)
    told = f"{behaviour} {links}" if tests else "no test yet"
    cells = (str(number), SITUATIONS[number], told, state if tests else "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, or say by the exit status whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/cases.md")
    made = page(shown())
    if parser.parse_args(arguments).write:
        PAGE.write_text(made, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
        sys.exit("docs/cases.md is old: run python -m tests.cases.table --write")


if __name__ == "__main__":
    main()

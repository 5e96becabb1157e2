"""`make attack`: perform each attack on a gateway of its own and print how it was refused.

    python -m tests.attack.run [words of pytest, such as -k D1]

Exit status 1 where any attack was not refused; what the attacker got stands below its line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


class _Lines:
    """Prints a line an attack, and a sum at the end."""

    def __init__(self) -> None:
        self.refused = self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        how = dict(report.user_properties).get("refused")
        name = report.nodeid.partition("[")[2].removesuffix("]") or report.nodeid.rpartition("::")[2]
        if report.failed:
            self.failed += 1
            print(f"NOT REFUSED  {name}\n{report.longreprtext}", flush=True)
        elif report.when == "call" and how:
            self.refused += 1
            print(f"refused  {name}: {how}", flush=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed += 1
            print(report.longreprtext, flush=True)


def main() -> int:
    """Perform the attacks; return the exit status."""
    lines = _Lines()
    quiet = ["-o", "addopts=--strict-markers", "-p", "no:terminal", "-p", "no:randomly", "-p", "no:xdist"]
    pytest.main([*quiet, str(Path(__file__).parent), *sys.argv[1:]], plugins=[lines])
    print(f"{lines.refused} attacks refused, {lines.failed} not")
    return 1 if lines.failed or not lines.refused else 0


if __name__ == "__main__":
    sys.exit(main())

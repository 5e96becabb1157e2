"""docs/framing.md and the code say the same: each row names a test that exists, each reason of a close has a row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "framing.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| case")
]
# Reasons are arguments of these methods of a connection, and one is made where a peer vanishes.
ENDS = re.compile(r'(?:abort|_close|_end_when_answered|_mark_closed)\("(\w+)"\)')


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_names_a_test_that_exists() -> None:
    assert len(ROWS) > 30
    for case, _, _, test in ROWS:
        file, _, name = test.partition("::")
        assert name in functions(ROOT / "tests" / file), f"{case}: {test}"


def test_every_reason_of_a_close_is_documented_and_no_other_is() -> None:
    source = "".join((ROOT / "gateway" / "mllp" / name).read_text(encoding="utf-8") for name in ("server.py",))
    made = {*ENDS.findall(source), "reset", "peer"}
    told = {reason for row in ROWS for reason in re.findall(r"`(\w+)`", row[2])}
    assert told == made

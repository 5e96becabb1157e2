"""`make fuzz` runs, and finds nothing in three seconds. A longer run is for a person or a nightly job."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_three_seconds_of_dirty_messages_break_nothing() -> None:
    command = [sys.executable, "tests/fuzz/fuzz.py", "--seconds", "3", "--seed", "20250311"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"^OK  answers (\d+), .*inputs (\d+)", run.stdout, re.MULTILINE)
    assert found, run.stdout
    assert min(map(int, found.groups())) > 50

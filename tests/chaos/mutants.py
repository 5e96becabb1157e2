"""`make chaos-mutants`: the harness is tried on gateways without one protection each, and must notice every one.

    python -m tests.chaos.mutants [--seconds 60] [--seed 1] [--at-once 2] [NAME ...]

Exit status 1 where one was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections import Counter

from tests.chaos.mutant import MUTANTS
from tests.chaos.victims import ROOT

# What gives a late writer, or an outcome told twice, often enough: both are rare in the full mix.
FOCUS = {"no-fencing": "pause gateway", "settle-again": "registry misbehaves"}
_BROKEN = re.compile(r"^BROKEN  (.+?)  ", re.MULTILINE)
_VARYING = re.compile(r"\d+|: [0-9a-f-]{36}.*")


async def _try(name: str, seconds: float, seed: int, turn: asyncio.Semaphore) -> tuple[str, bool, str]:
    """Run the harness on a mutant; return its name, whether it was caught, and by which rules."""
    async with turn:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.run", "--mutant", name, "--seconds", str(seconds), "--seed", str(seed),
            "--only", FOCUS.get(name, ""), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    text = output.decode()
    rules = Counter(_VARYING.sub("N", rule) for rule in _BROKEN.findall(text))
    caught = process.returncode == 1 and bool(rules)
    said = "; ".join(f"{rule} ({count})" for rule, count in rules.most_common(3))
    return name, caught, said or text.strip().rpartition("\n")[2]


async def _all(names: list[str], seconds: float, seed: int, at_once: int) -> int:
    turn = asyncio.Semaphore(at_once)
    missed = 0
    for trial in asyncio.as_completed([_try(name, seconds, seed, turn) for name in names]):
        name, caught, said = await trial
        missed += not caught
        print(f"{'caught' if caught else 'MISSED'}  {name:24} {said}", flush=True)
    return 1 if missed else 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(MUTANTS), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    return asyncio.run(_all(options.names, options.seconds, options.seed, options.at_once))


if __name__ == "__main__":
    sys.exit(main())

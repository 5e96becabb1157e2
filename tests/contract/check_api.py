"""`make check-api`: schemathesis against a gateway that runs, as each kind of token, for so many seconds in all.

    python -m tests.contract.check_api --seconds 300

It sends what schemas/openapi.json allows and what it forbids; every answer must be one that the document names, and no
answer a server error. Exit status 1 where one was not, with the request that shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.local import Wishes, local
from gateway.observe.logging import configure
from gateway.store import tokens
from tests.simulators.facilities import HOSPITAL

if TYPE_CHECKING:
    from gateway.store.database import Database

ROOT = Path(__file__).parents[2]
_HERE = Path(__file__).parent
_ENDLESS = "/v1/births/stream"  # answers for as long as somebody reads


async def attack(
    http: str, token: str, *, seconds: int, place: Path, phases: str = "examples,coverage,fuzzing"
) -> tuple[int, str]:
    """Run schemathesis on a gateway with a token; return its exit status and what it says. Its files lie in `place`."""
    words = (
        "--config-file", _HERE / "schemathesis.toml", "run", ROOT / "schemas" / "openapi.json", "--url", http,
        "--header", f"Authorization: Bearer {token}", "--max-time", seconds, "--phases", phases, "--no-color",
        "--exclude-path", _ENDLESS, "--request-timeout", 30, "--continue-on-failure", "--warnings", "off",
        "--generation-database", "none",
    )  # fmt: skip
    command = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        str(command), *map(str, words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=place
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")


async def roles(database: Database) -> dict[str, str]:
    """Make a token of each kind and return them by the kind's name."""
    officer = {"role": "officer", "office": "all", "restricted": True}
    wanted = {
        "operator": {"role": "operator"},
        "officer": officer,
        "facility": {"role": "facility", "facility": HOSPITAL},
    }
    return {name: (await tokens.new(database, label="check-api", **how))[1] for name, how in wanted.items()}  # type: ignore[arg-type]


async def _check(seconds: int) -> int:
    worst = 0
    with tempfile.TemporaryDirectory(prefix="procot-check-api-") as place:
        configure(level="error", file=Path(place) / "procot.log")
        async with local(Wishes(data=Path(place) / "var", free_ports=True)) as running:
            made = await roles(running.gateway.context.database)
            for name, token in made.items():
                status, said = await attack(
                    running.http, token, seconds=max(seconds // len(made), 1), place=Path(place)
                )
                sys.stdout.write(f"as {name}:\n{said}\n")
                sys.stdout.flush()
                worst = max(worst, status)
    return worst


def main() -> int:
    """Check the interface; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    return asyncio.run(_check(parser.parse_args().seconds))


if __name__ == "__main__":
    sys.exit(main())

"""`make chaos`: kill everything, and show by the counterparts' records that no birth was lost or doubled.

    python -m tests.chaos.run [--seconds 60] [--seed N] [--gateways 3] [--mutant NAME] [--json FILE]

Exit status 1 and the trace of each birth concerned where anything is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.cli.demo_births import demo_births
from gateway.observe.logging import configure
from tests.chaos.faults import GAP_S, KINDS, Hand, schedule
from tests.chaos.figures import figures
from tests.chaos.ledger import Ledger, Violation, balance, trace
from tests.chaos.mutant import MUTANTS
from tests.chaos.quiet import until_quiet
from tests.chaos.senders import Promises, Sender
from tests.chaos.town import Town, town
from tests.chaos.victims import ROOT

SENDERS = 6
PAUSE_S = 0.6  # between two births of a sender, on average
QUIET_S = 120.0
_ANSWER_S = 60.0  # for the message in hand after the faults
_TRACES = 3
_TOLD = 50
_TELL_S = 10.0
_MOST_BIRTHS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What a run is to be."""

    seed: int
    seconds: float
    gateways: int = 3
    mutant: str = ""  # which protection the gateways lack
    only: str = ""  # the only kinds of fault, commas between them
    gap_s: float = GAP_S  # between two faults, on average
    quiet_s: float = QUIET_S  # after the faults, without progress, while anything is left to do


@dataclass(slots=True)
class Result:
    """What a run found."""

    storm: Storm
    promises: Promises
    ledger: Ledger
    faults: Counter[str]
    town: dict[str, Any] = field(default_factory=dict)
    quiet_s: float = 0.0
    old_callbacks: int = 0


async def run(storm: Storm, directory: Path) -> Result:
    """Run one storm in `directory` and balance its books."""
    rng = random.Random(f"{storm.seed} callbacks")
    async with town(directory, gateways=storm.gateways, mutant=storm.mutant, rng=rng) as place:
        promises, hand = Promises(), Hand(place)
        unanswered = await _storm(place, hand, promises, storm)
        began = time.monotonic()
        left = await _calm(place, hand, storm.quiet_s)
        ledger = await balance(place, promises)
        ledger.violations += [Violation("not answered though everything was up")] * unanswered
        if left:
            ledger.broken(f"no progress for {storm.quiet_s:.0f} s: {left}")
        result = Result(storm, promises, ledger, hand.done, figures(place, hand, promises))
        result.quiet_s = time.monotonic() - began
        result.old_callbacks = place.post.again
        await _tell_traces(place, ledger)
    return result


async def _storm(place: Town, hand: Hand, promises: Promises, storm: Storm) -> int:
    """Send and hurt; return how many senders never got an answer to their last message."""
    seed, seconds = storm.seed, storm.seconds
    births = iter(demo_births(min(_MOST_BIRTHS, int(seconds * SENDERS / PAUSE_S * 2) + 100)))
    until = time.monotonic() + seconds
    senders = [
        asyncio.create_task(
            Sender(births, lambda: place.doors, promises, random.Random(f"{seed} {n}")).run(until, PAUSE_S)
        )
        for n in range(SENDERS)
    ]
    teller = asyncio.create_task(_tell(promises, hand))
    try:
        await hand.run(schedule(random.Random(seed), seconds, only=storm.only, gap_s=storm.gap_s))
    finally:
        teller.cancel()
    await place.all_up()
    _, late = await asyncio.wait(senders, timeout=max(0.0, until - time.monotonic()) + _ANSWER_S)
    for sender in late:
        sender.cancel()
    for done in await asyncio.gather(*senders, return_exceptions=True):
        if isinstance(done, Exception):
            raise done
    return len(late)


async def _tell(promises: Promises, hand: Hand) -> None:
    """Show that it goes on."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(_TELL_S)
        done = f"{len(promises.acknowledged)} births acknowledged, {hand.done.total()} faults"
        print(f"{time.monotonic() - began:7.0f} s  {done}", flush=True)


async def _calm(place: Town, hand: Hand, quiet_s: float) -> str:
    """Mend everything and wait until nothing is left to do; return what is left."""
    for wire in place.wires:
        wire.delay_s = 0.0
        wire.cut()  # what is half-open would only be found out by time-outs
    place.hospital.kill(0.1)  # it may have been started to refuse
    await place.all_up()
    await hand.behave()
    left = await until_quiet(place, within_s=quiet_s)
    await asyncio.sleep(1.0)  # a late callback would come now
    return left


async def _tell_traces(place: Town, ledger: Ledger) -> None:
    told: Counter[str] = Counter()
    for violation in ledger.violations:
        told[kind := violation.rule.partition(":")[0]] += 1
        if told[kind] <= _TOLD:  # of each kind: many of one never hide another
            print(f"BROKEN  {violation.rule}  {violation.control_id}")
    for control_id in list(dict.fromkeys(v.control_id for v in ledger.violations if v.control_id))[:_TRACES]:
        print(await trace(place, control_id))


def summary(result: Result) -> dict[str, Any]:
    """Return a run as JSON data, for the record."""
    promises, ledger = result.promises, result.ledger
    return {
        "at": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H%MZ"),
        "version": _version(),
        "load": round(os.getloadavg()[2], 1),
        **{name: value for name, value in asdict(result.storm).items() if value},
        "births_sent": len(promises.sent),
        "acknowledged": len(promises.acknowledged),
        "refused": len(promises.refused),
        "resends": promises.resends,
        "repeats": promises.repeats,
        "reused_ids_refused": promises.reused,
        "old_callbacks_taken": result.old_callbacks,
        "states": dict(ledger.births),
        "registry_cases": ledger.cases,
        "certificates": ledger.certificates,
        "letters_with_certificate": ledger.letters,
        "journal_entries": ledger.journal,
        "faults": dict(result.faults),
        "quiet_after_s": round(result.quiet_s, 1),
        "violations": len(ledger.violations),
        **result.town,
    }


def _version() -> str:
    """Return the commit that runs, with a mark where files were changed since; "" outside of a checkout."""
    command = ["git", "describe", "--always", "--dirty=+"]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()


def _print(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if name == "silence_s":
            for what, each in value.items():
                told = "; ".join(f"no {kind} for {s['median']} s, at most {s['highest']} s" for kind, s in each.items())
                print(f"{what:>26}  {each['AA']['n']} times: {told}")
            continue
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name.replace('_', ' '):>26}  {text}")


def _kinds(text: str) -> str:
    """Check names of faults. Raises ArgumentTypeError naming the one that there is not."""
    if unknown := {name for name in text.split(",") if name} - set(KINDS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; choose among {', '.join(KINDS)}")
    return text


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0: a new one")
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--mutant", choices=MUTANTS, default="")
    parser.add_argument("--only", type=_kinds, default="", help=f"these kinds of fault alone: {', '.join(KINDS)}")
    parser.add_argument("--gap", type=float, default=GAP_S, help="seconds between two faults, on average")
    parser.add_argument("--quiet", type=float, default=QUIET_S, help="seconds without progress until all is done")
    parser.add_argument("--json", type=Path, help="add the run's figures to this file, a line each")
    parser.add_argument("--keep", action="store_true", help="keep the directory with logs and records")
    options = parser.parse_args()
    seed = options.seed or time.time_ns() // 1_000_000 % 1_000_000
    configure(level="error")
    directory = Path(tempfile.mkdtemp(prefix="procot-chaos-"))
    print(f"seed {seed}, {options.seconds:g} s, {options.gateways} gateways, {directory}", flush=True)
    directory.chmod(0o755)  # PostgreSQL may run as another user below it
    wanted = Storm(
        seed=seed,
        seconds=options.seconds,
        gateways=options.gateways,
        mutant=options.mutant,
        only=options.only,
        gap_s=options.gap,
        quiet_s=options.quiet,
    )
    began = time.monotonic()
    result = asyncio.run(run(wanted, directory))
    found = summary(result)
    _print(found)
    if options.json:
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
    broken = bool(result.ledger.violations)
    if not broken and not options.keep:
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)
    print(f"took {time.monotonic() - began:.0f} s")
    print("BROKEN" if broken else "nothing lost, nothing doubled")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

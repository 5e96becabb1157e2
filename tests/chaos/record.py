"""The tables of docs/reliability.md, made from recorded runs: `make chaos-record`.

    python -m tests.chaos.run --json tests/chaos/recorded/runs.jsonl ...
    python -m tests.chaos.record

A recorded run is a line of JSON as `--json` writes it. Medians of several runs are put together by how many faults each
had; the longest is the longest of all.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.victims import ROOT

RECORDED = ROOT / "tests" / "chaos" / "recorded"
DOCUMENT = ROOT / "docs" / "reliability.md"
VICTIMS = ("gateway", "postgres", "registry", "hospital")
# What each fault looks like to a hospital, the registry and an operator.
SEEN: dict[str, tuple[str, str, str, str]] = {
    "kill gateway": (
        "SIGKILL of a gateway",
        "the connection is reset; the same message to the next gateway gets its stored answer",
        "a request that ends; a question by our id before anything comes again",
        "its tasks come back at the end of their lease",
    ),
    "pause gateway": (
        "SIGSTOP of a gateway for longer than its lease",
        "silence until its own time-out, then as above",
        "the other gateway's question, or a repeat of the same key",
        "`task.lease_lost` when it wakes: it writes nothing",
    ),
    "full gateway": (
        "a gateway can write no file",
        "nothing: its messages lie in PostgreSQL; its log has a gap",
        "nothing",
        "a gap in the log",
    ),
    "wrong clock": (
        "the gateways' clocks jump by up to 20 minutes and back",
        "nothing; MSH-7 of the answers is off",
        "a submission or callback more than five minutes off is refused (401) and comes again",
        "`incident` of the registry while the clock is off",
    ),
    "kill postgres": (
        "SIGKILL of PostgreSQL and all backends",
        "AR/CR 207: keep and send again",
        "nothing",
        "`workers.store_unavailable`, an incident; `/readyz` says no",
    ),
    "full postgres": (
        "PostgreSQL's disk is full: it panics and cannot start until there is room",
        "as above",
        "nothing",
        "as above; PostgreSQL's own log",
    ),
    "read-only postgres": (
        "PostgreSQL takes no writes",
        "as above",
        "nothing",
        "as above",
    ),
    "kill registry": (
        "SIGKILL of the registry",
        "nothing: AA as ever; certificates late",
        "–",
        "incident REGISTRY_UNAVAILABLE, opened and closed once",
    ),
    "pause registry": (
        "SIGSTOP of the registry",
        "as above",
        "–",
        "incident REGISTRY_UNKNOWN_OUTCOME: asked before resent",
    ),
    "full registry": (
        "the registry's disk is full",
        "as above",
        "its own 500s",
        "incident",
    ),
    "lost answers": (
        "the registry does the work and its answer is lost; callbacks twice or never",
        "nothing, or certificates late",
        "a question by our id before anything comes again",
        "incident REGISTRY_UNKNOWN_OUTCOME where it is many in a row",
    ),
    "registry misbehaves": (
        "late, doubled, garbled, refused answers (earlier runs: lost ones too); 5xx, 429; callbacks twice or never",
        "certificates late; a refusal is told with its code",
        "each unknown outcome is asked about by our id",
        "incident; a refused case is REFUSED with the registry's code",
    ),
    "out of order": (
        "callbacks at each step, late, overtaken, twice; questions answered from a copy that lags (older state, 404)",
        "nothing, or certificates a poll later",
        "a question more; a submission with the same key and bytes after such a 404, answered as a repeat",
        "nothing",
    ),
    "old callback": (
        "a callback from before, sent again",
        "nothing",
        "204: the same twice changes nothing",
        "nothing",
    ),
    "kill hospital": (
        "SIGKILL of the hospital's listener",
        "its letters come when it is back, the same bytes",
        "nothing",
        "incident DELIVERY_UNAVAILABLE of that facility",
    ),
    "pause hospital": (
        "SIGSTOP of the hospital's listener",
        "as above; a letter may come twice with the same bytes and id",
        "nothing",
        "as above",
    ),
    "full hospital": (
        "the listener's disk is full",
        "its listener answers nothing; its letters wait",
        "nothing",
        "incident DELIVERY_UNAVAILABLE of that facility",
    ),
    "hospital refuses": (
        "the listener answers AE/AR, is silent, or answers another id",
        "its letters wait",
        "nothing",
        "AE/AR: DEAD_LETTER until `procot queue retry`",
    ),
    "cut": ("all connections of a wire are reset", "one resend", "a question before a resend", "–"),
    "delay": ("a wire 0.2 to 1.1 s slower a chunk", "slower answers", "slower requests", "–"),
    "half-open": (
        "a wire swallows what is sent on its open connections",
        "one time-out, one resend",
        "a question before a resend",
        "–",
    ),
}  # fmt: skip


def runs_table(runs: list[dict[str, Any]]) -> str:
    """Return a line for each run, and the sum."""
    heads = ["seed", "gateways", "s", "a fault each s", "version", *(f"{name} kills" for name in VICTIMS), "pauses",
             "AA", "resends", "registry cases", "certificates told", "states at the end", "broken"]  # fmt: skip
    numbers = [_numbers(run) for run in runs]
    rows = [
        [
            str(run["seed"]), str(run["gateways"]), f"{run['seconds']:g}", f"{run['gap_s']:g}", run.get("version", ""),
            *(f"{number:,}" for number in found[:-1]), _states(run), str(found[-1]),
        ]
        for run, found in zip(runs, numbers, strict=True)
    ]  # fmt: skip
    sums = [sum(column) for column in zip(*numbers, strict=True)]
    seconds = sum(run["seconds"] for run in runs)
    total = ["**all**", "", f"{seconds:g}", "", "", *(f"**{number:,}**" for number in sums[:-1]), "", f"**{sums[-1]}**"]
    return f"**{sum(sums[:4]):,} kills, {sums[4]:,} pauses.**\n\n{_table(heads, [*rows, total])}"


def _numbers(run: dict[str, Any]) -> list[int]:
    names = ("acknowledged", "resends", "registry_cases", "letters_with_certificate")
    kills = [run["kills"].get(name, 0) for name in VICTIMS]
    return [*kills, run["pauses"], *(run[name] for name in names), run["violations"]]


def _states(run: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in run["states"].items())


def faults_table(runs: list[dict[str, Any]]) -> str:
    """Return what each fault looks like, and the silences that overlapped it."""
    heads = ["fault", "times", "hospital", "registry", "operator", "no AA, s", "no certificate, s"]
    rows = []
    for kind, (what, *seen) in SEEN.items():
        found = [run["silence_s"][kind] for run in runs if kind in run.get("silence_s", {})]
        times = sum(each["AA"]["n"] for each in found)
        if times:
            rows.append([what, f"{times:,}", *seen, *(_spread([e[name] for e in found]) for name in _LOOKED_AT)])
    starts = "; ".join(_start(runs, kind) for kind in VICTIMS if any(kind in run.get("start_s", {}) for run in runs))
    return f"From start to listening: {starts}.\n\n{_table(heads, rows)}"


_LOOKED_AT = ("AA", "certificate")


def _start(runs: list[dict[str, Any]], kind: str) -> str:
    found = [run["start_s"][kind] for run in runs if kind in run.get("start_s", {})]
    median, _, longest = _spread(found).partition(" / ")
    return f"{kind} {median} s (longest {longest} s)"


def _spread(several: list[dict[str, float]]) -> str:
    """Return "median / longest" of several runs' (n, median, highest)."""
    medians = Counter[float]()
    for each in several:
        medians[each["median"]] += int(each["n"])
    return f"{statistics.median(medians.elements()):.1f} / {max(each['highest'] for each in several):.1f}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def put(text: str, name: str, content: str) -> str:
    """Return the document with one part replaced. Raises SystemExit where its markers are missing."""
    pattern = re.compile(rf"(<!-- chaos {name} -->\n).*?(<!-- /chaos {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{DOCUMENT.name} has no markers <!-- chaos {name} --> … <!-- /chaos {name} -->; add them")
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)


def main() -> int:
    """Write the tables from the files named, or from all recorded ones."""
    files = [Path(name) for name in sys.argv[1:]] or sorted(RECORDED.glob("*.jsonl"))
    runs = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    if not runs:
        raise SystemExit(f"no recorded runs in {RECORDED.relative_to(ROOT)}")
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, content in (("runs", runs_table(runs)), ("faults", faults_table(runs))):
        text = put(text, name, content)
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What was measured, as tables and plots in docs/performance.md. Each part lies between its own markers.

    <!-- bench intake --> … <!-- /bench intake -->

A run replaces the parts it measured and leaves the others, each of which says when and where it was taken.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import chart
from servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

DOCUMENT = ROOT / "docs" / "performance.md"
OURS = "procot"
_USUAL = 64  # connections
_AT_LEAST, _AT_MOST = "≥", "≤"


def write(result: dict[str, Any], *, kept_in: Path) -> None:
    """Write every part of `result` into the document, and its plots beside it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    taken = _taken(result, kept_in)
    for name, make in PARTS.items():
        if name in result:
            text = put(text, name, f"{make(result)}\n\n{taken}")
    text = put(text, "goals", f"{goals(result)}\n\n*The newest run of each part: {kept_in.name}, and older ones.*")
    DOCUMENT.write_text(text, encoding="utf-8")
    if found := result.get("intake"):
        _plot_intake(found)
    if found := result.get("soak"):
        _plot_soak(found)
    if found := result.get("backlog"):
        _plot_backlog(found)


def put(text: str, name: str, content: str) -> str:
    """Return the document with one part replaced. Raises SystemExit where its markers are missing."""
    pattern = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- /bench {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{DOCUMENT.name} has no markers <!-- bench {name} --> … <!-- /bench {name} -->; add them")
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)


def _taken(result: dict[str, Any], kept_in: Path) -> str:
    machine = result["machine"]
    return (
        f"*{result['at']}: {machine['cpu']}, {machine['cores']} cores for all, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, load before {machine['load_before']:.1f}; "
        f"[JSON](../{kept_in.relative_to(ROOT).as_posix()}).*"
    )


# ------------------------------------------------------------------------------------------------ parts


def _journey(result: dict[str, Any]) -> str:
    found = result["journey"]
    rows = [
        [label, *(f"{found[key][k]:g} ms" for k in ("p50", "p99", "min", "max"))]
        for key, label in (
            ("ack_ms", "MLLP in → AA, committed with fsync"),
            ("certificate_ms", "MLLP in → MDM^T02 at the hospital"),
        )
    ]
    return _table([f"one birth at a time, {found['births']} births", "p50", "p99", "min", "max"], rows)


def _throughput(result: dict[str, Any]) -> str:
    heads = [
        "processes", "births/s offered", "births", "certificates/s", "AA ms p50 / p99", "AA → certificate ms p50",
        "p99",
        "waiting at the end", "drained after s", "CPU ms a birth: gateway", "PostgreSQL", "registry", "bad", "lost",
    ]  # fmt: skip
    cells = [
        [
            r["processes"],
            f"{r['offered_s']:g}",
            f"{r['births']:,}",
            f"**{r['certificates_s']:g}**",
            f"{r['ack_ms']['p50']:g} / {r['ack_ms']['p99']:g}",
            _whole(r["certificate_ms"]["p50"]),
            _whole(r["certificate_ms"]["p99"]),
            r["waiting_at_end"],
            f"{max(0.0, r['drained_after_s']):g}",
            *(f"{r['cpu_ms'][name]:g}" for name in ("gateway", "postgres", "registry")),
            r["bad"],
            r["acknowledged"] - r["certificates"],
        ]
        for r in result["throughput"]
    ]
    return _table(heads, cells)


def _backlog(result: dict[str, Any]) -> str:
    found = result["backlog"]
    fresh = found["fresh"]
    rows = [
        ["births that waited", f"{found['births']:,}, offered in {found['outage_s']:g} s of outage"],
        ["their AA meanwhile, p50 / p99", f"{found['ack_ms']['p50']:g} / {found['ack_ms']['p99']:g} ms"],
        ["registry back → first certificate at the hospital", f"{found['first_s']:g} s"],
        ["→ half of them", f"{found['half_s']:g} s"],
        ["→ all of them", f"**{found['all_s']:g} s**, {found['certificates_s']:g} a second"],
        ["new births meanwhile, 5 a second", f"{fresh['births']:,}"],
        ["their AA, p50 / p99", f"{fresh['ack_ms']['p50']:g} / {fresh['ack_ms']['p99']:g} ms"],
        [
            "their certificate, p50 / p99",
            f"{fresh['certificate_ms']['p50'] / 1e3:.1f} / {fresh['certificate_ms']['p99'] / 1e3:.1f} s",
        ],
        ["lost", found["births"] - found["certificates"]],
        ["cases at the registry beyond one a birth", found["doubled"]],
    ]
    plot = "![births that wait for their certificate](performance-backlog.svg)"
    return f"{plot}\n\n{_table(['backlog', ''], rows)}"


def _plot_backlog(found: dict[str, Any]) -> None:
    points = found["curve"]
    x = chart.Axis("seconds from the start of the outage", chart.steps(max(at for at, _ in points)))
    y = chart.Axis("births", chart.steps(max(n for _, n in points)))
    title = f"Acknowledged births without a certificate; the registry is away for {found['outage_s']:g} s"
    _draw("backlog", title, [chart.Curve("waiting", points, bold=True)], x, y)


def _start(result: dict[str, Any]) -> str:
    found = result["start"]
    row = [f"{found['tasks']:,}", f"**{found['median_s']:g}**", " ".join(f"{s:g}" for s in found["seconds"])]
    return _table(["open tasks", "kill -9 → first AA, s, median", "rounds"], [row])


def _intake(result: dict[str, Any]) -> str:
    rows = result["intake"]
    heads = ["server", "connections", "births/s", "range", "p50 ms", "p99 ms", "CPU µs: server", "PostgreSQL", "client",
             "MB a process", "bad", "lost"]  # fmt: skip
    cells = [
        [
            f"**{r['server']}**" if r["server"].startswith(OURS) else r["server"],
            r["connections"],
            f"{r['births_s']:,.0f}",
            f"{r['births_s_min']:,.0f}–{r['births_s_max']:,.0f}",
            _number(r["p50_ms"]),
            _number(r["p99_ms"]),
            _whole(r["server_us"]),
            _whole(r["postgres_us"]),
            _whole(r["client_us"]),
            _whole(r["memory_mb"]),
            r["bad"],
            r["lost"],
        ]
        for r in rows
    ]
    table = _table(heads, cells)
    plot = "![births a second by connections](performance-intake.svg)"
    return f"{plot}\n\n{table}\n\nMedians of {rows[0]['rounds']} rounds."


def _plot_intake(rows: list[dict[str, Any]]) -> None:
    counts = sorted({r["connections"] for r in rows})
    curves = [
        chart.Curve(
            name,
            [(r["connections"], r["births_s"]) for r in rows if r["server"] == name and r["births_s"]],
            bold=name.startswith(OURS),
        )
        for name in dict.fromkeys(r["server"] for r in rows)
    ]
    curves = [curve for curve in curves if curve.points]
    x = chart.Axis("connections", counts, logarithmic=len(counts) > 1)
    y = chart.Axis("births a second", chart.decades([b for c in curves for _, b in c.points]), logarithmic=True)
    _draw("intake", "Acknowledged births a second (floors and rivals store nothing but 'floor: commit')", curves, x, y)


def _steps(result: dict[str, Any]) -> str:
    found = result["steps"]
    builds = [found, *([found["compiled"]] if "compiled" in found else [])]
    rows = [[label, *_spreads([b["steps"][label] for b in builds])] for label in found["steps"]]
    rows.append(["**all, without sockets**", *_spreads([b["total"] for b in builds])])
    heads = ["step", "CPU µs a message", "lower to upper tenth"]
    heads += ["compiled", "lower to upper tenth"] * (len(builds) - 1)
    return (
        f"{_table(heads, rows)}\n\n"
        f"{found['messages']:,} births of {found['bytes']:,} bytes, 64 at a time, process time. "
        f"Structural verdict: {found['structure_alone']['us']:g} µs for the check, {found['structural']['us']:g} µs "
        "with decoding and lexer."
    )


def _spreads(found: Sequence[dict[str, float]]) -> list[str]:
    return [cell for s in found for cell in (f"{s['us']:g}", f"{s['low']:g}–{s['high']:g}")]


def _flood(result: dict[str, Any]) -> str:
    heads = ["others send beside", "p50 ms", "p99 ms", "range of p99", "max ms", "× undisturbed", "answers"]
    cells = [
        [
            r["beside"],
            _number(r["p50_ms"]),
            _number(r["p99_ms"]),
            f"{r['p99_ms_min']:g}–{r['p99_ms_max']:g}",
            _number(r["max_ms"]),
            f"{r['p99_times']:g}",
            r["answers"],
        ]
        for r in result["flood"]
    ]
    return _table(heads, cells)


def _large(result: dict[str, Any]) -> str:
    heads = ["5 MiB message", "× its size in memory", "its answer ms", "others' p99 ms: before", "meanwhile", "max"]
    cells = [
        [
            r["message"],
            f"{r['times']:g}",
            r["answer_ms"],
            _number(r["before_p99_ms"]),
            _number(r["others_p99_ms"]),
            _number(r["others_max_ms"]),
        ]
        for r in result["large"]
    ]
    return _table(heads, cells)


def _poison(result: dict[str, Any]) -> str:
    heads = ["one bad birth at", "others", "p50 ms", "p99 ms", "p99 more than with none, ms"]
    cells = [
        [r["step"], r["births"], _number(r["p50_ms"]), _number(r["p99_ms"]), r["added_ms"]] for r in result["poison"]
    ]
    return _table(heads, cells)


def _attacks(result: dict[str, Any]) -> str:
    heads = ["attack", "tries", "it got", "its answer, KB", "others' p99 ms: before", "beside", "max", "gateway + MB"]
    cells = [
        [
            r["attack"],
            f"{r['tries']:,}",
            f"{r['let_in']} let in" if r["let_in"] is not None else " ".join(map(str, r["statuses"])) or "answers",
            _number(r["answer_bytes"] / 1024),
            _number(r["before_p99_ms"]),
            _number(r["p99_ms"]),
            _number(r["max_ms"]),
            _number(r["memory_mb"]),
        ]
        for r in result["attacks"]
    ]
    return _table(heads, cells)


def _soak(result: dict[str, Any]) -> str:
    found = result["soak"]
    rows = [
        [p["process"], p["median_mb"], p["max_mb"], p["rise_mb"], "flat" if p["flat"] else "**not flat**"]
        for p in found["processes"]
    ]
    table = _table(["process", "median MB", "max MB", "rise MB, last two thirds", "verdict"], rows)
    return (
        f"![memory at full load](performance-soak.svg)\n\n{table}\n\n"
        f"{found['seconds']:g} s, {found['births']:,} births, {found['births_s']:,.0f} a second, "
        f"p99 {found['p99_ms']:g} ms, {found['bad']} bad, {found['lost']} lost."
    )


def _plot_soak(found: dict[str, Any]) -> None:
    curves = [
        chart.Curve(p["process"], p["curve"], bold=p["process"].startswith("gateway")) for p in found["processes"]
    ]
    x = chart.Axis("seconds", chart.steps(found["seconds"]))
    y = chart.Axis("resident memory, MiB", chart.steps(max(p["max_mb"] for p in found["processes"])))
    _draw("soak", f"Memory at full load, {found['connections']} connections", curves, x, y)


def _stored(result: dict[str, Any]) -> str:
    rows = []
    for r in result["stored"]:
        if "left_out" in r:
            rows.append([f"{r['stored']:,}", f"left out: the disk {r['left_out']}", "", "", "", ""])
            continue
        rows.append(
            [
                f"{r['stored']:,}",
                f"{r['bytes'] / 2**30:.1f} GiB",
                f"{r['births_s']:,.0f}",
                f"{r['empty_births_s']:,.0f}",
                f"**{r['ratio']:.2f}** ({r['ratio_min']:.2f}–{r['ratio_max']:.2f})",
                f"{r['p99_ms']:g} / {r['empty_p99_ms']:g}",
            ]
        )
    heads = ["messages stored", "database", "births/s", "empty, same rounds", "ratio", "p99 ms, full / empty"]
    return _table(heads, rows)


def goals(result: dict[str, Any]) -> str:
    """Set what was measured against what must be reached. What this run left out comes from the newest run with it."""
    newest = {**_older(), **result}
    return _table(["figure", "must reach", "measured", ""], [*_speed_goals(newest), *_other_goals(newest)])


def _older() -> dict[str, Any]:
    """Return the newest kept measurement of each part, short runs left out."""
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "bench" / "results").glob("2*.json"), reverse=True):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if not kept.get("quick"):
            found |= {name: kept[name] for name in PARTS if name in kept and name not in found}
    return found


def _speed_goals(result: dict[str, Any]) -> list[list[Any]]:
    rows = {(r["server"], r["connections"]): r for r in result.get("intake", [])}

    def of(name: str, connections: int, key: str) -> float | None:
        row = rows.get((name, connections))
        return row[key] if row and row[key] else None

    mine_at_64 = [name for name, connections in rows if name.startswith(OURS) and connections == _USUAL]
    ours = max(mine_at_64, default="", key=lambda name: rows[name, _USUAL]["births_s"])
    goals: list[list[Any]] = []
    for rival, least in (("simple-hl7", 1.0), ("floor: commit", 0.5), ("python-hl7", 10.0)):
        mine, theirs = of(ours, _USUAL, "births_s"), of(rival, _USUAL, "births_s")
        if mine and theirs:
            goals.append(_goal(f"births/s at 64 connections, × {rival}", _AT_LEAST, least, mine / theirs))
    if p99 := of(ours, _USUAL, "p99_ms"):
        goals.append(_goal("p99 at 64 connections, ms", _AT_MOST, 20, p99))
    alone = [row["p50_ms"] for (name, count), row in rows.items() if count == 1 and name.startswith(OURS)]
    if alone and (floor := of("floor: commit", 1, "p50_ms")):
        goals.append(_goal("p50 at 1 connection, × floor: commit", _AT_MOST, 1.5, min(alone) / floor))
    if rows:
        wrong = sum(r["bad"] + r["lost"] for r in rows.values() if r["server"].startswith(OURS))
        goals.append(_goal("lost, doubled, mismatched answers", _AT_MOST, 0, wrong))
    return goals


def _other_goals(result: dict[str, Any]) -> list[list[Any]]:
    goals: list[list[Any]] = []
    if found := result.get("start"):
        goals.append(_goal(f"kill -9 → first AA, {found['tasks']:,} open tasks, s", _AT_MOST, 5, found["max_s"]))
    if found := result.get("steps"):
        goals.append(_goal("structural verdict, µs", _AT_MOST, 40, found["structural"]["us"]))
    if found := result.get("flood"):
        worst = max(r["p99_times"] for r in found)
        goals.append(_goal("others' p99 beside a crowd and a flood, × undisturbed", _AT_MOST, 3, worst))
    if found := result.get("large"):
        worst = max(found, key=lambda r: float(r["times"]))
        goals.append(_goal(f"5 MiB message, {worst['message']}, × its size", _AT_MOST, 5, worst["times"]))
    if found := result.get("poison"):
        worst = max(r["added_ms"] for r in found)
        goals.append(_goal("one bad birth of 1,000, any step: others' p99, ms more", _AT_MOST, 1000, worst))
    goals += [
        _goal(f"others' p99 beside {r['attack']}, ms", _AT_MOST, 100, r["p99_ms"]) for r in result.get("attacks", [])
    ]
    if found := result.get("soak"):
        gateways = [p for p in found["processes"] if p["process"].startswith("gateway")]
        goals.append(_goal("memory at full load, MB a process", _AT_MOST, 200, max(p["max_mb"] for p in gateways)))
        goals.append(_goal("memory, processes not flat", _AT_MOST, 0, sum(not p["flat"] for p in gateways)))
    measured = [r for r in result.get("stored", []) if "ratio" in r]
    goals += [_goal(f"births/s with {r['stored']:,} stored, × empty", _AT_LEAST, 0.9, r["ratio"]) for r in measured]
    return goals


def _goal(figure: str, sign: str, bound: float, value: float) -> list[Any]:
    reached = value >= bound if sign == _AT_LEAST else value <= bound
    return [figure, f"{sign} {bound:g}", f"{value:.3g}", "✓" if reached else "**not reached**"]


PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "journey": _journey,
    "throughput": _throughput,
    "backlog": _backlog,
    "start": _start,
    "intake": _intake,
    "steps": _steps,
    "flood": _flood,
    "large": _large,
    "poison": _poison,
    "attacks": _attacks,
    "soak": _soak,
    "stored": _stored,
}


# ------------------------------------------------------------------------------------------------ helpers


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in lines)


def _draw(name: str, title: str, curves: Sequence[chart.Curve], x: chart.Axis, y: chart.Axis) -> None:
    (DOCUMENT.parent / f"performance-{name}.svg").write_text(chart.draw(title, curves, x, y), encoding="utf-8")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"

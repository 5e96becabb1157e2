"""docs/search.md from the figures of bench/search.py: one table, and the plan of each search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "search.md"
_BEGIN, _END = "<!-- bench search -->", "<!-- /bench search -->"


def write(result: dict[str, Any]) -> None:
    """Put the figures between the marks of the page; the words around them stay as they are."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n{_figures(result)}\n{_END}{after}", encoding="utf-8")


def _figures(result: dict[str, Any]) -> str:
    lines = [
        "| search | found | p50 ms | p95 ms | next page p95 | PostgreSQL ms |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(name, found) for name, found in result["searches"].items()),
        "",
        _conditions(result),
        "",
        "## The plan of each",
    ]
    for name, found in result["searches"].items():
        lines += ["", f"**{name}**", "", "```", *found["plan"], "```"]
    return "\n".join(lines)


def _conditions(result: dict[str, Any]) -> str:
    times = next(iter(result["searches"].values()))["times"]
    return (
        f"*{result['at']}: {result['births']:,} births, {result['database_bytes'] / 2**30:.1f} GiB, "
        f"{times} times each, {result['cores']} cores for all, "
        f"load {result['load_before']} before and {result['load_after']} after; "
        f"[JSON](../bench/results/search-{result['at']}.json).*"
    )


def _row(name: str, found: dict[str, Any]) -> str:
    page = "" if found["next_page_p95_ms"] is None else f"{found['next_page_p95_ms']:.1f}"
    return (
        f"| {name} | {found['found']:g} | {found['p50_ms']:.1f} | {found['p95_ms']:.1f} | {page} | "
        f"{found['server_ms']:.2f} |"
    )

"""What a run is told by: kills by victim, and the silence that each kind of fault caused.

A silence is the longest time without an acknowledgement (or without a certificate at the hospital) that overlaps the
fault: what a ward sees, whichever gateway it talks to. Seconds.
"""

from __future__ import annotations

import datetime as dt
import re
import statistics
import time
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.faults import Hand
    from tests.chaos.senders import Promises
    from tests.chaos.town import Town

_STAMP = re.compile(r"^(\d{8}T\d{12})Z")


def figures(place: Town, hand: Hand, promises: Promises) -> dict[str, Any]:
    """Return the figures of a run as JSON data."""
    answers = [at for at, _ in promises.answers]
    letters = _letters(place.directory / "inbox")
    kills = [(f"kill {kill.kind}", kill.at, kill.again_at) for kill in place.book.kills]
    others = [episode for episode in hand.episodes if not episode[0].startswith("kill ")]
    return {
        "kills": dict(Counter(kill.kind for kill in place.book.kills)),
        "pauses": len(place.book.pauses),
        "ended_by_itself": {p.name: p.ended_by_itself for p in place.programs if p.ended_by_itself},
        "silence_s": _silences([*kills, *others], answers, letters),
        "start_s": {kind: spread(values) for kind, values in place.book.starts.items()},
        "wire": {"submissions": place.wire.submissions, "again": place.wire.again, "asked": place.wire.asked},
    }


def _letters(inbox: Path) -> list[float]:
    """Return when the hospital got each certificate, on the monotonic clock."""
    offset = time.time() - time.monotonic()
    stamps = (_STAMP.match(path.name) for path in sorted(inbox.glob("*MDM_T02*.hl7")))
    return [
        dt.datetime.strptime(f"{found[1]}+0000", "%Y%m%dT%H%M%S%f%z").timestamp() - offset for found in stamps if found
    ]


def _silences(
    episodes: Sequence[tuple[str, float, float]], answers: list[float], letters: list[float]
) -> dict[str, dict[str, Any]]:
    if not episodes:
        return {}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"AA": [], "certificate": []})
    first, last = min(began for _, began, _ in episodes), max(over for _, _, over in episodes)
    series = {name: sorted({first, *times, last}) for name, times in (("AA", answers), ("certificate", letters))}
    for what, began, over in episodes:
        for name, times in series.items():
            found[what][name].append(max((b - a for a, b in pairwise(times) if b > began and a < over), default=0.0))
    return {what: {name: spread(values) for name, values in each.items()} for what, each in sorted(found.items())}


def spread(values: list[float]) -> dict[str, float]:
    """Return number, median and highest."""
    return {"n": len(values), "median": round(statistics.median(values), 2), "highest": round(max(values), 2)}

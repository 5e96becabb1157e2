"""CPU a message by step: process time over the load client's message, 64 of them at a time; plain, and compiled.

The steps inside the verdict are timed where the verdict calls them, so that each reads what the one before it has
read already, as on the wire. The clock's own cost is taken off. What a step costs in waiting is not counted here.

    python bench/steps.py DIRECTORY DSN BATCHES     the same for whatever build is first on the path; prints JSON
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import statistics
import sys
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import mllp_load
from servers import COMPILED, ROOT

from adapters.hospital.baseline import BaselineHospital
from gateway.config import Limits
from gateway.contract.facility import FacilityProfile
from gateway.mllp.framing import Deframer
from gateway.observe.logging import configure
from gateway.observe.metrics import Metrics
from gateway.pipeline import verdict as module
from gateway.pipeline.answer import Answerer
from gateway.pipeline.intake import Intake
from gateway.store.database import connect
from gateway.store.inbox import Inbox, Kept, Quarantined, Row
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from servers import Workshop

    from gateway.contract.ports import Draft
    from gateway.hl7.message import Message
    from gateway.store.inbox import Submission
    from gateway.store.known import Baby, Known

TOGETHER = 64
WARM_UP = 10
# Label, and the names under which gateway.pipeline.verdict calls what it stands for.
VERDICT = {
    "decode": ("decode",),
    "lexer": ("parse_message",),
    "header, envelope, sender": ("read_header", "check_envelope", "check_sender"),
    "recognise and map": (),
    "structure (hl7apy's tables)": ("check_structure",),
    "judge": ("judge",),
}
_MAP = "recognise and map"
_STRUCTURE = "structure (hl7apy's tables)"


class Stopwatch:
    """Adds up the process time of wrapped functions, by label."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.overhead_ns = self._overhead()

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""
        spent, calls, clock = self.spent, self.calls, time.process_time_ns

        def timed(*args: Any, **known: Any) -> Any:  # noqa: ANN401 - stands for any function
            began = clock()
            try:
                return function(*args, **known)
            finally:
                spent[label] += clock() - began
                calls[label] += 1

        return timed

    def _overhead(self) -> float:
        nothing = self.wrap("overhead", lambda: None)
        for _ in range(10_000):
            nothing()
        return self.spent.pop("overhead") / self.calls.pop("overhead")

    def take(self) -> dict[str, float]:
        """Return the nanoseconds by label since the last time, without the clock's own."""
        found = {label: ns - self.calls[label] * self.overhead_ns for label, ns in self.spent.items()}
        self.spent.clear()
        self.calls.clear()
        return found


class Catcher:
    """Stands where the inbox is, and keeps what the intake submits."""

    def __init__(self) -> None:
        self.caught: list[tuple[Submission, asyncio.Future[Kept]]] = []

    def submit(self, submission: Submission) -> asyncio.Future[Kept]:
        """Keep it for the measurement."""
        done: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self.caught.append((submission, done))
        return done


@dataclass(slots=True)
class Built:
    """A submission whose row was built before, so that the inbox's own work is all that is timed."""

    built: Row | Quarantined
    raw: bytes
    peer: str
    size: int
    asks_about: Baby | None = None
    opens: bool = True
    compares: bool = True
    others: tuple[Baby, ...] = ()
    draft: Draft | None = None

    def row(self, known: Mapping[Baby, Known]) -> Row | Quarantined:  # noqa: ARG002 - as every submission
        """Return the row."""
        return self.built


class Timed:
    """The hospital's adapter with its `draft` timed: what is compiled cannot be patched."""

    def __init__(self, watch: Stopwatch) -> None:
        self._draft = watch.wrap(_MAP, BaselineHospital().draft)

    def draft(self, message: Message, facility: FacilityProfile, *, now: dt.datetime) -> Draft:
        """Map a message to a draft."""
        return cast("Draft", self._draft(message, facility, now=now))


async def measure(shop: Workshop, *, batches: int) -> dict[str, Any]:
    """Return microseconds a message by step: medians over the batches, with the range's lower and upper tenth.

    The compiled build, where there is one, is measured by a process of its own, beside it under `compiled`.
    """
    found = await measure_here(shop.directory, shop.dsn, batches=batches)
    if COMPILED.exists():
        site = next((COMPILED.parent.parent / "lib").glob("python*/site-packages"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(shop.directory), shop.dsn, str(batches),
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        found["compiled"] = json.loads(output)
    return found


async def measure_here(directory: Path, dsn: str, *, batches: int) -> dict[str, Any]:
    """Measure what this process imported."""
    configure(level="info", file=directory / "steps.log")
    watch = Stopwatch()
    hospital = Timed(watch)
    samples: list[dict[str, float]] = []
    births = mllp_load.births(f"C{time.time_ns() // 1_000_000 % 10**8}N")
    with ExitStack() as stack:
        for label, names in VERDICT.items():
            for name in names:
                stack.enter_context(mock.patch.object(module, name, watch.wrap(label, _called(name))))
        async with _inbox(dsn) as inbox:
            for _ in range(batches + WARM_UP):
                frames = [next(births)[1] for _ in range(TOGETHER)]
                samples.append(await _batch(frames, hospital, watch, inbox))
    configure(level="error")
    return _summary(samples[WARM_UP:])


def _called(name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if function is None:
        raise SystemExit(f"bench/steps.py: gateway.pipeline.verdict calls no {name} any more; mend VERDICT")
    return cast("Callable[..., Any]", function)


@asynccontextmanager
async def _inbox(dsn: str) -> AsyncIterator[Inbox]:
    connection = await connect(dsn, timeout_s=60)
    await migrate(connection)
    await connection.close()
    inbox = Inbox(dsn, observer=Metrics(), limits=Limits(), timeout_s=10)
    writing = asyncio.create_task(inbox.run())
    try:
        yield inbox
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


_METRICS = Metrics()


async def _batch(frames: list[bytes], hospital: Timed, watch: Stopwatch, inbox: Inbox) -> dict[str, float]:
    """Take one batch through every step; nanoseconds a batch by step."""
    clock = time.process_time_ns
    catcher = Catcher()
    answerer = Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: dt.datetime.now(dt.UTC))
    intake = Intake(judge=_judge(hospital), answerer=answerer, inbox=cast("Inbox", catcher), metrics=_METRICS)
    cuts = Deframer(max_bytes=Limits().message_bytes)
    spent: dict[str, float] = {}

    began = clock()
    raws = [raw for packet in frames for raw in cuts.feed(packet)]
    spent["framing"] = clock() - began

    watch.take()
    began = clock()
    answers = [intake.take(raw, peer="127.0.0.1") for raw in raws]
    whole = clock() - began
    inside = watch.take()
    spent |= {label: inside.get(label, 0.0) for label in VERDICT}
    wrapped = sum(len(names) or 1 for names in VERDICT.values()) * TOGETHER * 2  # calls of a pair of clocks cost both
    spent["verdict, rest"] = max(0.0, whole - sum(inside.values()) - wrapped * watch.overhead_ns)

    began = clock()
    rows = [submission.row(None) for submission, _ in catcher.caught]
    spent["answer and row (digests)"] = clock() - began

    built = [Built(row, raw, "127.0.0.1", len(raw)) for row, raw in zip(rows, raws, strict=True)]
    began = clock()
    kept = await asyncio.gather(*(inbox.submit(each) for each in built))
    spent["inbox"] = clock() - began

    began = clock()
    for (_, done), result in zip(catcher.caught, kept, strict=True):
        done.set_result(result)
    answered = await asyncio.gather(*answers)
    spent["log, metrics, futures"] = clock() - began
    if not all(b"\rMSA|AA|" in answer for frames_of_one in answered for answer in frames_of_one):
        raise SystemExit(f"the load client's message was not accepted: {answered[0]!r}")
    return spent


def _judge(hospital: Timed) -> module.Judge:
    code = "RSU CEMPAKA CONTOH"
    return module.Judge(
        facilities={code: FacilityProfile(code=code, region="3510")},
        hospitals={"baseline": cast("BaselineHospital", hospital)},
        clock=lambda: dt.datetime.now(dt.UTC),
        test_messages="accept",
        require_form=True,
        segment_limit=Limits().segments_per_message,
    )


def _summary(samples: list[dict[str, float]]) -> dict[str, Any]:
    def spread(values: list[float]) -> dict[str, float]:
        ordered = sorted(value / 1000 / TOGETHER for value in values)
        tenth = len(ordered) // 10
        return {
            "us": round(statistics.median(ordered), 1),
            "low": round(ordered[tenth], 1),
            "high": round(ordered[-1 - tenth], 1),
        }

    structural = ("decode", "lexer", _STRUCTURE)
    return {
        "messages": len(samples) * TOGETHER,
        "bytes": len(next(mllp_load.births("SIZE"))[1]) - 3,
        "steps": {label: spread([sample[label] for sample in samples]) for label in samples[0]},
        "total": spread([sum(sample.values()) for sample in samples]),
        "structural": spread([sum(sample[label] for label in structural) for sample in samples]),
        "structure_alone": spread([sample[_STRUCTURE] for sample in samples]),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure_here(Path(sys.argv[1]), sys.argv[2], batches=int(sys.argv[3])))))

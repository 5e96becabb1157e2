"""`make fuzz`: dirty messages through framing, charset, lexer, verdict, batches and a listening gateway.

    python tests/fuzz/fuzz.py [--seconds 60] [--seed N]

The gateway is the real one from socket to verdict and answer; only the inbox is a dictionary, which now and then
"cannot" keep. Checked for every input: nothing crashes; every block has exactly the answers it must have, in order,
byte for byte what was made for it; every answer parses, and names the message it answers; what would be stored can be
stored; memory does not grow. The first failure is kept in var/fuzz/ and ends the run, exit 1.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import os
import random
import sys
import time
import traceback
from collections import Counter, OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).parents[2]))

from adapters.hospital.baseline import BaselineHospital
from gateway.config import Limits
from gateway.errors import Hl7SyntaxError, MessageNotKeptError, StoreUnavailableError
from gateway.hl7.batch import cut
from gateway.hl7.charset import CODECS, decode, encode
from gateway.hl7.escape import escape, unescape
from gateway.hl7.header import salvage_header
from gateway.hl7.lexer import split_segments
from gateway.hl7.message import Message, parse_message
from gateway.mllp.commit import COMMITS
from gateway.mllp.files import split_messages
from gateway.mllp.framing import BlockTooLargeError, Deframer, frame
from gateway.mllp.server import MllpServer
from gateway.observe.metrics import Metrics
from gateway.pipeline.answer import Answerer
from gateway.pipeline.frames import Frames
from gateway.pipeline.intake import Intake
from gateway.pipeline.verdict import Judge
from gateway.store.inbox import Kept, Quarantined, Row, Stored
from gateway.store.known import Known
from tests.fuzz.mutate import corpus, message, packets, stream
from tests.simulators.facilities import CLINIC, CLOCK, HOSPITAL, facility

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from gateway.contract.ports import Draft
    from gateway.mllp.server import Peer
    from gateway.store.inbox import Inbox, Submission
    from gateway.store.known import Baby

FAILURES = Path(__file__).parents[2] / "var" / "fuzz"
MESSAGE_BYTES = 150_000
KEYS_KEPT = 300
PATIENCE_S = 20.0
GROWTH_MB = 24  # from the end of the warm-up; allocators and caches of bounded size breathe that much
LEAST_FOR_GROWTH_S = 20.0
WIDE = ("utf-16", "utf-32")


class BrokenPromiseError(Exception):
    """Something that must hold did not."""


def must(held: object, promise: str) -> None:
    """Fail where a promise does not hold."""
    if not held:
        raise BrokenPromiseError(promise)


class MemoryInbox:
    """An inbox that keeps the last keys and sometimes says no. Looks at each row as PostgreSQL would."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._stored: OrderedDict[tuple[str, str, str], Row] = OrderedDict()
        self._waiting: list[tuple[Submission, asyncio.Future[Kept]]] = []
        self.broken: BaseException | None = None
        self._said: Draft | None = None

    def submit(self, submission: Submission) -> asyncio.Future[Kept]:
        """Queue a message for the loop's next turn."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Kept] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._commit)
        self._waiting.append((submission, done))
        return done

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        for submission, done in waiting:
            try:
                self._keep(submission, done)
            except Exception as error:  # noqa: BLE001 - shown by the run's own loop, which waits for answers
                self.broken = error
                done.set_exception(StoreUnavailableError("broken"))

    def _known(self, submission: Submission) -> dict[Baby, Known]:
        """Return what is known of a submission's babies: nothing, a state, or that and what an earlier message said."""
        state = self._rng.choice((None, None, "HOLD_NAME", "SUBMITTED", "ISSUED", "CANCELLED"))
        said = self._rng.choice((None, self._said))
        self._said = submission.draft or self._said
        babies = [b for b in (submission.asks_about, *submission.others) if b]
        return {baby: Known(state, draft=said) for baby in babies} if state else {}

    def _keep(self, submission: Submission, done: asyncio.Future[Kept]) -> None:
        match self._rng.randrange(60):
            case 0:
                done.set_exception(StoreUnavailableError("away"))
                return
            case 1:
                done.set_exception(MessageNotKeptError("refused"))
                return
        row = submission.row(self._known(submission))
        if isinstance(row, Quarantined):
            done.set_result(Kept(None, row=row))
            return
        _storable(row)
        before = self._stored.get(row.key)
        if before is not None:
            was = Stored(before.digest, before.content_digest, before.answer, before.application_answer)
            done.set_result(Kept(None, before=was, row=row))
            return
        self._stored[row.key] = row
        if len(self._stored) > KEYS_KEPT:
            self._stored.popitem(last=False)
        done.set_result(Kept(len(self._stored), row=row))


def _storable(row: Row) -> None:
    for name in ("facility", "application", "control_id", "event", "medical_record", "told", "findings"):
        text = getattr(row, name) or ""
        must("\0" not in text and "\\u0000" not in text, f"{name} holds a NUL")
        text.encode()


class Watched:
    """The intake, with what went in and what came out of it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.taken: list[tuple[bytes, asyncio.Future[Sequence[bytes]]]] = []

    def take(self, raw: bytes, **known: Any) -> asyncio.Future[Sequence[bytes]]:
        """Pass on, and remember."""
        future = self._intake.take(raw, **known)
        self.taken.append((raw, future))
        return future


class Gateway:
    """From socket to answer, in this process."""

    def __init__(self, rng: random.Random) -> None:
        answerer = Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: CLOCK.astimezone(dt.UTC))
        judge = Judge(
            facilities={
                HOSPITAL: facility(application_answer="same_connection"),
                CLINIC: facility(CLINIC, charset="iso-8859-1"),
            },
            hospitals={"baseline": BaselineHospital()},
            clock=answerer.clock,
            test_messages="accept",
            require_form=True,
            segment_limit=500,
        )
        self.inbox = MemoryInbox(rng)
        metrics = Metrics()
        self.watched = Watched(Intake(judge=judge, answerer=answerer, inbox=cast("Inbox", self.inbox), metrics=metrics))
        frames = Frames(cast("Intake", self.watched), answerer, batch_answers="batch", messages_per_block=100)
        self.blocks: list[tuple[bytes, asyncio.Future[Sequence[bytes]]]] = []

        def handle(block: bytes, peer: Peer) -> asyncio.Future[Sequence[bytes]]:
            future = frames.take(block, peer=peer.host, connection=peer.connection_id)
            self.blocks.append((block, future))
            return future

        self.server = MllpServer(handle, limits=Limits(message_bytes=MESSAGE_BYTES), observer=metrics)


class Fuzzer:
    """One run: inputs from one seed until the time is over or something breaks."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.samples = corpus()
        self.counts: Counter[str] = Counter()
        self.data = b""  # the input under way
        self.poisoned: list[str] = []
        self.gateway = Gateway(random.Random(seed + 1))
        self.address = ("", 0)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._oracle = Deframer(max_bytes=MESSAGE_BYTES)

    async def run(self, seconds: float) -> None:
        """Run until the time is over; raises what broke."""
        structlog.configure(processors=[self._listen])
        self.address = await self.gateway.server.start("127.0.0.1", 0)
        began = said = time.monotonic()
        base = 0.0
        while (now := time.monotonic()) - began < seconds:
            await self._once()
            if not base and now - began > seconds / 3:
                base = memory_mb()
            if now - said > 10:
                said = now
                say(f"{now - began:5.0f} s  {self.counts['inputs']} inputs, {self.counts['answers']} answers, "
                    f"{memory_mb():.0f} MB")  # fmt: skip
        grown = memory_mb() - base
        self.counts["grown_mb"] = round(grown)
        self._close()
        await self.gateway.server.drain(1)
        if seconds >= LEAST_FOR_GROWTH_S:
            must(grown < GROWTH_MB, f"memory grew by {grown:.0f} MB after the first third of the run")

    def _listen(self, _: object, _method: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] in {"message.poisoned", "mllp.handler_failed"}:
            self.poisoned.append(traceback.format_exc() if event.get("exc_info") else str(event))
        self.counts[f"log {event['event']}"] += 1
        raise structlog.DropEvent

    async def _once(self) -> None:
        messages = [message(self.rng, self.samples) for _ in range(self.rng.choice((1, 1, 1, 2, 4)))]
        self.data = b"".join(map(frame, messages))
        for raw in messages:
            self._check_parts(raw)
        self.data = stream(self.rng, messages)
        self._check_framing(self.data)
        await self._check_answers(self.data)
        self.counts["inputs"] += len(messages)

    # ------------------------------------------------------------------------------------------------ parts

    def _check_parts(self, raw: bytes) -> None:
        """Charset, escapes, lexer and batch by themselves."""
        decoded = decode(raw)
        must(
            decoded.codec in {*CODECS.values(), "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"}, "codec"
        )
        encode(decoded.text, decoded.codec)
        try:
            lexed = parse_message(decoded.text, limit=500)
        except Hl7SyntaxError:
            self.counts["unreadable"] += 1
        else:
            for segment in lexed.segments:
                for text in segment.fields[2:]:
                    plain = unescape(text, segment.delimiters)
                    kept = plain.replace("\0", "").replace("\x0b", "").replace("\x1c", "")
                    must(unescape(escape(plain, segment.delimiters), segment.delimiters) == kept, "escapes")
        found = cut(raw, limit=100)
        must(all(part in raw for part in found.parts), "a part is a slice of its block")

    def _check_framing(self, data: bytes) -> None:
        """Cut the same blocks whatever the packets."""
        results = []
        for pieces in ([data], packets(self.rng, data)):
            machine = Deframer(max_bytes=MESSAGE_BYTES)
            try:
                results.append(([b for p in pieces for b in machine.feed(p)], machine.noise_bytes, machine.partial))
            except BlockTooLargeError:
                results.append(([], -1, False))
        must(results[0] == results[1], "packets do not change what is read")

    # ---------------------------------------------------------------------------------------------- gateway

    async def _check_answers(self, data: bytes) -> None:
        gateway, writer = self.gateway, await self._connected()
        blocks, whole = self._expected(data)
        if self._oracle.partial:
            data += b"\x1c\r"
            more, whole_too = self._expected(b"\x1c\r")
            blocks, whole = blocks + more, whole and whole_too
        expected = [block for block in blocks if block not in COMMITS]
        for packet in packets(self.rng, data):
            writer.write(packet)
            if self.rng.random() < 0.3:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._answered(expected, whole=whole)
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise BrokenPromiseError(f"a block went unanswered ({type(error).__name__})") from error
        for raw, future in gateway.watched.taken:
            self._check_answer(raw, future.result())
        for block, future in gateway.blocks:
            self._check_block(block, future.result())
        gateway.blocks.clear()
        gateway.watched.taken.clear()
        must(not self.poisoned, f"our own code failed: {self.poisoned[:1]}")
        must(gateway.inbox.broken is None, f"a row could not be stored: {gateway.inbox.broken!r}")
        if not whole or self.counts["streams"] % 50 == 0:
            self._close()
        self.counts["streams"] += 1

    def _expected(self, data: bytes) -> tuple[list[bytes], bool]:
        try:
            return self._oracle.feed(data), True
        except BlockTooLargeError as error:
            return error.complete, False

    async def _answered(self, expected: list[bytes], *, whole: bool) -> None:
        """Read what comes back: the answers to the expected blocks, in order and nothing else, or the named close."""
        gateway, reader = self.gateway, self._reader
        assert reader is not None
        while len(gateway.blocks) < len(expected):
            must(gateway.inbox.broken is None, f"a row could not be stored: {gateway.inbox.broken!r}")
            await asyncio.sleep(0)
        must([block for block, _ in gateway.blocks] == expected, "the blocks that were sent are handed over, in order")
        answers = [answer for _, future in gateway.blocks for answer in await future]
        wanted = b"".join(map(frame, answers))
        got = await reader.readexactly(len(wanted))
        must(got == wanted, "the answers are written as they were made, in order")
        self.counts["answers"] += len(answers)
        if not whole:
            self.counts["closed as oversized"] += 1
            must(await _rest(reader) == b"", "nothing comes behind the answers")

    def _check_answer(self, raw: bytes, answers: Sequence[bytes]) -> None:
        """One message: one answer; none or two only where enhanced mode asks for it, none to an acknowledgement.

        Each parses and names it.
        """
        header = salvage_header(decode(raw).text)
        counts = {1} if header is None else {0, 1, 2} if header.enhanced else {0} if header.acknowledges else {1}
        must(len(answers) in counts, f"{len(answers)} answers to one message")
        for answer in answers:
            decoded = decode(answer)
            parsed = Message(*split_segments(decoded.text, limit=2000))  # without the caps on what comes from outside
            must(parsed.raw("MSA", 1) in {"AA", "AE", "AR", "CA", "CE", "CR"}, "MSA-1")
            if header and header.control_id.isascii() and header.control_id.isprintable():
                must(parsed.raw("MSA", 2) == header.control_id, "MSA-2 is MSH-10")
            if not decoded.codec.startswith(WIDE):
                must(b"\x0b" not in answer and b"\x1c" not in answer, "an answer fits into a block")

    def _check_block(self, block: bytes, answers: Sequence[bytes]) -> None:
        found = cut(block, limit=100)
        if found.enveloped:
            must(len(answers) == 1, "a batch is answered by one block")
            must(answers[0][:3] in {b"FHS", b"BHS"}, "a batch is answered by a batch")
            split_messages(answers[0])
            self.counts["batches"] += 1

    async def _connected(self) -> asyncio.StreamWriter:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self.address, limit=2**24)
            self._oracle = Deframer(max_bytes=MESSAGE_BYTES)
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = self._reader = None


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def memory_mb() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run, tell, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("DURATION", "60")))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args(arguments)
    say(f"fuzzing for {chosen.seconds:g} s with --seed {chosen.seed}")
    fuzzer = Fuzzer(chosen.seed)
    try:
        asyncio.run(fuzzer.run(chosen.seconds))
    except Exception:  # noqa: BLE001 - whatever broke is what was looked for
        traceback.print_exc(file=sys.stdout)
        FAILURES.mkdir(parents=True, exist_ok=True)
        path = FAILURES / f"{hashlib.sha256(fuzzer.data).hexdigest()[:16]}.bin"
        path.write_bytes(fuzzer.data)
        say(f"FAILED at input {fuzzer.counts['inputs']} with --seed {chosen.seed}; the stream is kept in {path}")
        return 1
    finally:
        structlog.reset_defaults()
    shown = ", ".join(f"{name} {count}" for name, count in sorted(fuzzer.counts.items()) if not name.startswith("log"))
    say(f"OK  {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

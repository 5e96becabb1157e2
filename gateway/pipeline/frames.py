"""Frames to messages: a block may hold several, or a batch (domain A.7, F 109). Sits between transport and intake.

The usual block is one message and costs one search. Of several, each is judged, kept and answered by itself, a few at
a time, so that a batch of thousands neither fills the inbox nor holds up other connections. Blocks of one connection
stay in order: what comes behind a batch waits for it.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import structlog

from gateway.hl7.batch import Block, Signature, cut, is_one_message, join, remarks
from gateway.hl7.dates import format_moment
from gateway.mllp.commit import NotKept
from gateway.pipeline.answer import new_control_id
from gateway.pipeline.large import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from gateway.pipeline.answer import Answerer
    from gateway.pipeline.intake import Intake

_log = structlog.get_logger()
_AT_A_TIME = 32  # messages of one batch between verdict and commit
_OUR_ZONE = ZoneInfo("Asia/Jakarta")


def _few_at_a_time(parts: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the messages of a batch in order, so many that go together; as much as a large one ends its few."""
    few: list[bytes] = []
    size = 0
    for part in parts:
        few.append(part)
        size += len(part)
        if len(few) == _AT_A_TIME or size >= LARGE_BYTES:
            yield few
            few, size = [], 0
    if few:
        yield few


class Frames:
    """Takes blocks, lends their messages to the intake, joins the answers."""

    def __init__(
        self,
        intake: Intake,
        answerer: Answerer,
        *,
        batch_answers: Literal["batch", "each"],
        messages_per_block: int,
    ) -> None:
        self._intake = intake
        self._answerer = answerer
        self._in_one = batch_answers == "batch"
        self._limit = messages_per_block
        self._busy: dict[int, asyncio.Future[Sequence[bytes]]] = {}  # by connection: the last block that is not done

    def take(
        self, block: bytes, *, peer: str, certificate_names: AbstractSet[str] = frozenset(), connection: int = 0
    ) -> asyncio.Future[Sequence[bytes]]:
        """Return a future of the answers to one block, in the order of its messages."""
        if is_one_message(block) and connection not in self._busy:
            return self._one(block, peer, certificate_names, connection)
        found = cut(block, limit=self._limit)
        if len(found.parts) == 1 and not found.enveloped and connection not in self._busy:
            return self._one(found.parts[0], peer, certificate_names, connection)
        before = self._busy.get(connection)
        task = asyncio.get_running_loop().create_task(self._work(found, peer, certificate_names, before))
        return self._behind(connection, task)

    def _one(
        self, message: bytes, peer: str, names: AbstractSet[str], connection: int
    ) -> asyncio.Future[Sequence[bytes]]:
        answers = self._intake.take(message, peer=peer, certificate_names=names)
        return answers if len(message) < LARGE_BYTES else self._behind(connection, answers)

    def _behind(self, connection: int, block: asyncio.Future[Sequence[bytes]]) -> asyncio.Future[Sequence[bytes]]:
        """Let what comes next on this connection wait for a block."""
        self._busy[connection] = block
        block.add_done_callback(lambda done: self._done(connection, done))
        return block

    def _done(self, connection: int, block: asyncio.Future[Sequence[bytes]]) -> None:
        if self._busy.get(connection) is block:
            del self._busy[connection]

    async def _work(
        self, found: Block, peer: str, names: AbstractSet[str], before: asyncio.Future[Sequence[bytes]] | None
    ) -> Sequence[bytes]:
        if before is not None:
            await asyncio.wait([before])
        answers: list[Sequence[bytes]] = []
        for few in _few_at_a_time(found.parts):
            answers += await asyncio.gather(
                *(self._intake.take(part, peer=peer, certificate_names=names) for part in few)
            )
        return self._joined(found, answers)

    def _joined(self, found: Block, answers: list[Sequence[bytes]]) -> Sequence[bytes]:
        """Put the answers together; one message that was not kept makes the whole block one to send again.

        A count that is not what came is told in BTS-2; where each message is answered alone there is only the log.
        """
        for remark in remarks(found):
            _log.warning("batch.incomplete", note=remark, messages=len(found.parts))
        if found.enveloped and self._in_one:
            frames: tuple[bytes, ...] = (join(found, answers, self._signature(found)),)
        else:
            frames = tuple(itertools.chain.from_iterable(answers))
        return NotKept(frames) if any(isinstance(answer, NotKept) for answer in answers) else frames

    def _signature(self, found: Block) -> Signature:
        return Signature(
            self._answerer.application,
            self._answerer.facility,
            format_moment(self._answerer.clock().astimezone(_OUR_ZONE), offset=True),
            [new_control_id() for _ in range(len(found.batches) + 1)],
        )

"""Blocks between transport and intake: each message its answer, in order, a few at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from gateway.mllp.commit import NotKept
from gateway.pipeline.answer import Answerer
from gateway.pipeline.frames import Frames
from tests.simulators.facilities import CLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.pipeline.intake import Intake

MESSAGES = [b"MSH|^~\\&|%d\r" % n for n in range(200)]
BHS = b"BHS|^~\\&|SIMRS|RS|AKTAGW|D|2025||||B88\r"


class Desk:
    """An intake whose answers the test gives by hand, or at once."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.taken: list[bytes] = []
        self.known: list[dict[str, Any]] = []
        self.futures: list[asyncio.Future[Sequence[bytes]]] = []

    def take(self, raw: bytes, **known: Any) -> asyncio.Future[Sequence[bytes]]:
        self.taken.append(raw)
        self.known.append(known)
        future: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if self.at_once:
            future.set_result((b"ACK " + raw,))
        return future


def frames_of(desk: Desk, **wishes: Any) -> Frames:
    settings = {"batch_answers": "batch", "messages_per_block": 1000, **wishes}
    return Frames(cast("Intake", desk), Answerer("AKTAGW", "DUKCAPIL", lambda: CLOCK), **settings)


async def test_one_message_goes_straight_to_the_intake() -> None:
    desk = Desk()
    future = frames_of(desk).take(MESSAGES[1], peer="10.0.0.1", certificate_names=frozenset({"rs"}), connection=7)
    assert future is desk.futures[0], "no task and no copy"
    assert desk.taken[0] is MESSAGES[1]
    assert desk.known == [{"peer": "10.0.0.1", "certificate_names": frozenset({"rs"})}]


async def test_msh_within_a_field_is_no_second_message() -> None:
    desk = Desk()
    raw = MESSAGES[1] + b"NTE|1||MSH\r"
    assert frames_of(desk).take(raw, peer="x") is desk.futures[0]
    assert desk.taken[0] is raw


async def test_each_of_several_is_answered_in_a_block_of_its_own_and_in_order() -> None:
    desk = Desk()
    answers = await frames_of(desk).take(b"".join(MESSAGES), peer="x")
    assert desk.taken == MESSAGES
    assert list(answers) == [b"ACK " + raw for raw in MESSAGES]


async def test_a_batch_is_answered_by_one_batch() -> None:
    (answer,) = await frames_of(Desk()).take(BHS + MESSAGES[0] + MESSAGES[1] + b"BTS|2\r", peer="x")
    lines = answer.decode().split("\r")
    assert lines[0].split("|")[11] == "B88"
    assert lines[1:] == ["ACK MSH|^~\\&|0", "ACK MSH|^~\\&|1", "BTS|2", ""]


@pytest.mark.parametrize("batch_answers", ["batch", "each"])
async def test_a_batch_that_lost_something_is_told_in_the_log_however_it_is_answered(batch_answers: str) -> None:
    frames = frames_of(Desk(), batch_answers=batch_answers)
    with capture_logs() as lines:
        await frames.take(BHS + MESSAGES[0] + MESSAGES[1] + b"BTS|3\r", peer="x")
        await frames.take(BHS + MESSAGES[0] + MESSAGES[1] + b"BTS|2\r", peer="x")
    assert [(line["event"], line["note"]) for line in lines] == [
        ("batch.incomplete", "batch 1: BTS-1 says 3, 2 came"),
    ]


async def test_a_batch_is_answered_block_by_block_where_the_setting_says_so() -> None:
    frames = frames_of(Desk(), batch_answers="each")
    assert len(await frames.take(BHS + MESSAGES[0] + MESSAGES[1] + b"BTS|2\r", peer="x")) == 2


async def test_a_batch_is_handed_over_a_few_at_a_time() -> None:
    desk = Desk(at_once=False)
    future = frames_of(desk).take(b"".join(MESSAGES), peer="x")
    seen: list[int] = []
    while not future.done():
        await asyncio.sleep(0)
        for open_one in desk.futures:
            if not open_one.done():
                open_one.set_result((b"ACK",))
        if not seen or seen[-1] != len(desk.taken):
            seen.append(len(desk.taken))
    assert seen[0] == 32, "the others wait for the first to be answered"
    assert len(desk.taken) == len(MESSAGES)


async def test_what_comes_behind_a_batch_on_its_connection_waits_and_other_connections_do_not() -> None:
    desk = Desk(at_once=False)
    frames = frames_of(desk)
    first = frames.take(MESSAGES[0] + MESSAGES[1], peer="x", connection=1)
    second = frames.take(MESSAGES[2], peer="x", connection=1)
    other = frames.take(MESSAGES[3], peer="x", connection=2)
    await asyncio.sleep(0.01)
    assert desk.taken == [MESSAGES[3], MESSAGES[0], MESSAGES[1]]
    for future in desk.futures:
        future.set_result((b"ACK",))
    await asyncio.gather(first, other)
    await asyncio.sleep(0.01)
    assert desk.taken[3:] == [MESSAGES[2]]
    desk.futures[3].set_result((b"ACK",))
    await second
    await asyncio.sleep(0)
    assert frames._busy == {}, "nothing is remembered of a connection whose blocks are answered"
    frames.take(MESSAGES[4], peer="x", connection=1)
    assert desk.taken[-1] == MESSAGES[4], "and the next goes straight on"


async def test_one_message_that_was_not_kept_makes_the_block_one_to_send_again() -> None:
    desk = Desk(at_once=False)
    for envelope in (b"", BHS):
        future = frames_of(desk).take(envelope + MESSAGES[0] + MESSAGES[1], peer="x")
        await asyncio.sleep(0)
        desk.futures[-2].set_result((b"AA",))
        desk.futures[-1].set_result(NotKept((b"AR",)))
        assert isinstance(await future, NotKept)


async def test_a_block_of_more_messages_than_may_be_is_one_message_for_the_intake() -> None:
    desk = Desk()
    raw = b"".join(MESSAGES)
    await frames_of(desk, messages_per_block=199).take(raw, peer="x")
    assert desk.taken == [raw]


async def test_a_cancelled_intake_cancels_the_block() -> None:
    desk = Desk(at_once=False)
    future = frames_of(desk).take(MESSAGES[0] + MESSAGES[1], peer="x")
    await asyncio.sleep(0)
    desk.futures[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await future

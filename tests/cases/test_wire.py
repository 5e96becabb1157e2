"""Cases 103 to 110: test messages, strangers, dirt, size, several babies at once, and clocks."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from gateway.contract.lifecycle import State
from gateway.contract.ports import Effect
from gateway.mllp.framing import frame
from gateway.pipeline.answer import Answerer
from gateway.pipeline.frames import Frames
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.seen import NOW, OTHER_FAMILY, born, edited, plus, seen
from tests.integration.test_mllp_server import serving
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import RENAMED, notice

if TYPE_CHECKING:
    from tests.simulators.journey import Journey


# ------------------------------------------------------------------------------------------------ test messages


@case(103)
@pytest.mark.parametrize("kind", ["T", "D"])
async def test_f103_a_test_message_is_answered_and_never_becomes_a_birth(way: Journey, kind: str) -> None:
    """MSH-11 T or D: AA with TEST in its text; no birth, and nothing for the registry."""
    raw = born({"MSH-11": kind, "MSH-15": "", "MSH-16": ""})
    told = seen(raw)
    assert (told.code, told.codes, told.effect) == ("AA", {"TEST_MESSAGE"}, Effect.NONE)
    assert "|TEST" in next(line for line in told.answer.split("\r") if line.startswith("MSA"))
    assert await way.tell(raw) == "AA"
    await way.work()
    assert await way.count("births") == 0
    assert way.registry.submissions == []


@case(103)
def test_f103_a_setting_rejects_test_messages() -> None:
    """By setting a test message is rejected: AR with 202."""
    told = seen(born({"MSH-11": "T", "MSH-15": "", "MSH-16": ""}), tests="reject")
    assert (told.code, told.codes) == ("AR", {"PROCESSING_ID_UNSUPPORTED"})
    assert "202^" in told.answer


# ---------------------------------------------------------------------------------------------------- strangers


@case(104)
async def test_f104_a_certificate_of_another_facility_is_rejected_and_logged(way: Journey) -> None:
    """A valid certificate that is not this facility's: AR, nothing kept as a birth, a line in the log with the peer."""
    ours = seen(notice(), certificates=("rs-cempaka.example",), certificate="rs-cempaka.example")
    assert (ours.code, ours.codes) == ("AA", set())
    other = seen(
        born({"MSH-15": "", "MSH-16": ""}), certificates=("rs-cempaka.example",), certificate="rs-lain.example"
    )
    assert (other.code, other.codes, other.effect) == ("AR", {"FACILITY_NOT_ALLOWED"}, Effect.NONE)
    profile = way.context.facility(HOSPITAL).model_copy(update={"certificates": ("rs-cempaka.example",)})
    way.context.facilities[HOSPITAL] = profile  # type: ignore[index] # a dictionary behind the mapping
    with capture_logs() as logs:
        (answer, *_) = await way.intake.take(notice(), peer="192.0.2.7", certificate_names=frozenset({"rs-lain"}))
    assert b"MSA|CR|" in answer
    (line,) = [entry for entry in logs if entry["event"] == "sender.refused"]
    assert (line["log_level"], line["peer"], line["code"]) == ("warning", "192.0.2.7", "FACILITY_NOT_ALLOWED")
    await way.work()
    assert await way.count("births") == 0


# --------------------------------------------------------------------------------------------------------- dirt


@case(105)
@pytest.mark.parametrize("name", ["ZOÃ« RIZKI PRATAMA", "ZO\N{REPLACEMENT CHARACTER} RIZKI", "NURâ€™AINI RIZKI"])
def test_f105_broken_letters_in_a_name_are_held(name: str) -> None:
    """Letters of the wrong character set in a name: held, with the character set named."""
    told = seen(born({"PID-5": name}))
    assert (told.code, told.state) == ("AA", State.HOLD_NAME)
    assert "NAME_UNREADABLE" in told.codes
    assert "MSH-18" in told.texts["NAME_UNREADABLE"]


@case(105)
@pytest.mark.parametrize(
    ("place", "name", "code"),
    [
        ("NK1-2", "SITI \N{REPLACEMENT CHARACTER}MINAH", "MOTHER_NAME_UNREADABLE"),
        ("NK1-2", "ZOÃ‹ AMINAH", "MOTHER_NAME_UNREADABLE"),
        ("NK1#2-2", "BUD\N{REPLACEMENT CHARACTER}", "FATHER_NAME_UNREADABLE"),
    ],
)
def test_f105_broken_letters_in_a_parents_name_are_held(place: str, name: str, code: str) -> None:
    """In a parent's name, too: the akta bears it."""
    told = seen(born({place: name}))
    assert (told.code, told.state, told.codes) == ("AA", State.HOLD_NAME, {code})
    assert "MSH-18" in told.texts[code]


@case(105)
@pytest.mark.parametrize(
    ("place", "value", "code", "state"),
    [
        ("ZKL-10", "3510160407929001^BUD\N{REPLACEMENT CHARACTER}^AYAH", "REPORTER_NAME_UNREADABLE", State.AWAIT_FORM),
        ("ZKL-11", "3510161508709001^SLAM\N{REPLACEMENT CHARACTER}T", "WITNESS_NAME_UNREADABLE", State.AWAIT_FORM),
    ],
)
def test_f105_broken_letters_in_the_names_of_the_form_wait_for_it(
    place: str, value: str, code: str, state: State
) -> None:
    """In the name of reporter or witness: AWAIT_FORM, and the form or an A08 mends it."""
    told = seen(born({place: value}))
    assert (told.code, told.state, told.codes) == ("AA", state, {code})


@case(106)
def test_f106_what_we_do_not_know_is_ignored() -> None:
    """Unknown Z segments, fields beyond the version, a newer version: taken in, and the birth is complete."""
    raw = plus(edited(notice(), {"MSH-12": "2.8", "PID-60": "MASA DEPAN", "PV1-80": "X"}), "ZZ9|1|apa saja^&~", "ZKK|")
    told = seen(raw)
    assert told.code == "AA"
    assert told.state is State.READY
    assert told.record.child.name is not None
    assert {c for c in told.codes if not c.startswith(("SEGMENT_", "FIELD_", "COMPONENT_", "SUBCOMPONENT_"))} == set()


@case(107)
def test_f107_segments_out_of_order_lower_case_and_indented_are_read() -> None:
    """Segments in another order, in lower case, behind blanks: read as if they were in place."""
    head, *lines = notice().decode().rstrip("\r").split("\r")
    evn, pid, *rest = lines
    shuffled = [head, evn, pid, *(f"  {line[:3].lower()}{line[3:]}" for line in reversed(rest))]
    told = seen(("\r".join(shuffled) + "\r").encode())
    right = seen(notice())
    assert told.code == "AA"
    assert told.state is State.READY
    assert told.record.child == right.record.child
    assert (told.record.mother, told.record.father) == (right.record.mother, right.record.father)


@case(107)
def test_f107_without_msh_or_pid_nothing_can_be_told() -> None:
    """Only MSH and PID are strict: without one of them the message is refused."""
    lines = notice().split(b"\r")
    without_pid = b"\r".join(line for line in lines if not line.startswith(b"PID"))
    assert seen(without_pid).code in ("AE", "CE")


# --------------------------------------------------------------------------------------------------------- size


@case(108)
async def test_f108_a_huge_or_half_message_is_not_worked_on_and_hurts_nobody() -> None:
    """Larger than the cap, or stopped half-way: the connection ends, nothing of it is worked on, others are served."""
    taken: list[bytes] = []

    def handler(content: bytes, peer: Any) -> Any:
        taken.append(content)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result((b"ACK",))
        return future

    async with serving(handler, message_bytes=4096, read_s=0.1, idle_s=60) as served:
        huge = await served.client()
        huge.send(b"\x0b" + b"x" * 100_000)
        await huge.closed()
        half = await served.client()
        half.send(b"\x0b" + notice()[:500])
        assert await half.closed() == b""
        assert sorted(await served.until_closed(2)) == ["frame_timeout", "oversized"]
        assert taken == []
        good = await served.client()
        good.send(frame(b"whole"))
        assert await good.answer() == b"ACK"
        assert taken == [b"whole"]


# ---------------------------------------------------------------------------------------------- several babies


@case(109)
async def test_f109_several_messages_in_one_block_are_split_and_each_is_answered(way: Journey) -> None:
    """Two MSH in one block: two answers in order, two births."""
    frames = Frames(
        way.intake,
        Answerer("AKTAGW", "DISDUKCAPIL 3510", way.context.clock),
        batch_answers="batch",
        messages_per_block=1000,
    )
    block = notice(control_id="FIRST1") + notice(control_id="SECOND2", record_number="2", changes=OTHER_FAMILY)
    answers = await frames.take(block, peer="127.0.0.1")
    told = [next(line for line in a.decode().split("\r") if line.startswith("MSA")) for a in answers]
    assert [line.split("|")[1:3] for line in told] == [["CA", "FIRST1"], ["CA", "SECOND2"]]
    await way.work()
    assert await way.count("births") == 2


@case(109)
def test_f109_two_patients_in_one_adt_are_an_error() -> None:
    """Two PID in one ADT: AE with 100, and no birth of either, since nobody can say whose each segment is."""
    raw = plus(born({"MSH-15": "", "MSH-16": ""}), "PID|2||99^^^RSCEMPAKA^MR||BAYI LAIN||20250311041500+0700|M")
    told = seen(raw)
    assert (told.code, told.effect) == ("AE", Effect.NONE)
    assert "SEGMENT_EXTRA" in told.codes
    assert "|100^" in told.answer


# -------------------------------------------------------------------------------------------------------- clocks


@case(
    110,
    decision="A clock that is ahead is told from the message alone, and then receipt orders. One behind looks like "
    "a message that waited: it keeps its own order (F 16), which a slow clock keeps too; what lies before the "
    "known state is in the history as not applied.",
)
async def test_f110_a_fast_clock_is_told_and_receipt_orders_its_messages(way: Journey) -> None:
    """MSH-7 hours ahead: a warning, and the time of receipt counts: what comes later is not taken for older."""
    ahead = (NOW + dt.timedelta(hours=3)).strftime("%Y%m%d%H%M%S+0000")
    told = seen(notice(sent=ahead))
    assert (told.code, told.codes) == ("AA", {"CLOCK_SKEW"})
    assert "CLOCK_SKEW" not in seen(notice(sent=(NOW + dt.timedelta(minutes=9)).strftime("%Y%m%d%H%M%S+0000"))).codes
    await way.tell(notice(sent="20250313093000+0700"))  # so it says; it came two days earlier
    await way.database.fetch("UPDATE messages SET received_at = '2025-03-11 10:00+07'")
    await way.step(Kind.ASSIGN)
    await way.tell(notice("A08", sent="20250311110000+0700", changes=RENAMED))
    await way.step(Kind.ASSIGN)
    name = (await way.birth()).record.child.name
    assert name is not None
    assert name.reveal() == "AHMAD RIZQI PRATAMA"


@case(110)
async def test_f110_a_slow_clock_keeps_the_order_of_its_own_messages(way: Journey) -> None:
    """A clock hours behind is behind for all its messages: the later correction is applied, the earlier one is not."""
    await way.tell(notice(sent="20250311013000+0700"))
    await way.step(Kind.ASSIGN)
    await way.tell(notice("A08", sent="20250311023000+0700", changes=RENAMED))
    await way.step(Kind.ASSIGN)
    await way.tell(notice("A08", sent="20250311020000+0700"))
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert birth.record.child.name is not None
    assert birth.record.child.name.reveal() == "AHMAD RIZQI PRATAMA"
    assert "kept, not applied" in (await way.reasons())[-1]

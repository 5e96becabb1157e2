"""Several messages in one block, and batches: what is cut where, and how the answers are joined (chapter 2.10.3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.hl7.batch import Block, Signature, cut, is_one_message, join

MSH = b"MSH|^~\\&|SIMRS|RS|AKTAGW|D|2025||ADT^A01|%d|P|2.5\r"
ONE, TWO, THREE = (MSH % n + b"PID|1||%d\r" % n for n in (1, 2, 3))
FHS = b"FHS|^~\\&|SIMRS|RS|AKTAGW|D|2025||berkas|x|F77\r"
BHS = b"BHS|^~\\&|SIMRS|RS|AKTAGW|D|2025||kelompok|x|B88\r"
US = Signature("AKTAGW", "DUKCAPIL", "20250311093000+0700", ["GW0", "GW1", "GW2", "GW3"])
LIMIT = 100

anything = st.lists(
    st.sampled_from(
        [b"MSH|^~\\&|", b"msh|", b"MSH", b"FHS|", b"BHS|", b"BTS|1", b"FTS", b"PID|1", b"\xef\xbb\xbf", b"\r", b"\n"]
    )
    | st.sampled_from([b" ", b"\0", b"\r"]),
    max_size=30,
).map(b"".join)


def parts(block: bytes) -> list[bytes]:
    return cut(block, limit=LIMIT).parts


# Where one message ends.


@pytest.mark.parametrize(
    "block",
    [
        ONE,
        b"\r\n " + ONE,
        b"\xef\xbb\xbf" + ONE,
        ONE.lower(),
        ONE + b"NTE|1||MSH|^~\\&|no message\r",
        ONE + b"OBX|1|TX|||MSH",
        b"",
        b"hello",
        b"PID|1\rMSH|^~\\&|A",
        b"BTS|1\r" + ONE,
        b"x\r" + ONE + TWO,
        ONE.decode().encode("utf-16"),
        (ONE + TWO).decode().encode("utf-16-le"),
    ],
    ids=["one", "blanks", "mark", "lower case", "MSH in a field", "MSH as a value", "empty", "text", "PID first",
         "trailer first", "junk first", "UTF-16", "two in UTF-16"],
)  # fmt: skip
def test_what_is_one_message_or_none_stays_the_very_same_bytes(block: bytes) -> None:
    assert cut(block, limit=LIMIT) == Block([block])


def test_the_usual_block_is_known_by_one_search() -> None:
    for block in (ONE, ONE + b"NTE|1||MSH", ONE + b"OBX|1|ED|||QUJDMSHD"):
        assert is_one_message(block)
    for block in (ONE + TWO, BHS + ONE, b"\r" + ONE, ONE + b" \xef\xbb\xbf" + TWO, b"", b"msh|", ONE + b"MSH" * 1000):
        assert not is_one_message(block)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\r", b"\n  ", b"\r\xef\xbb\xbf"])
def test_messages_begin_where_a_line_begins_with_msh(end: bytes) -> None:
    got = parts(b"MSH|^~\\&|1" + end + b"PID|1" + end + b"MSH|^~\\&|2" + end + b"msh*^~\\&*3")
    assert [part.split()[0][8:] for part in got] == [b"|1", b"|2", b"*3"]
    assert got[0].split()[1].removeprefix(b"\xef\xbb\xbf") == b"PID|1"


def test_a_message_of_several_is_cut_to_the_byte() -> None:
    assert parts(ONE + TWO + THREE) == [ONE, TWO, THREE]
    assert parts(ONE + TWO.rstrip()) == [ONE, TWO.rstrip()]


def test_a_batch_gives_its_messages_without_the_envelope() -> None:
    found = cut(FHS + BHS + ONE + TWO + b"BTS|2\r" + b"FTS|1\r", limit=LIMIT)
    assert found.parts == [ONE, TWO]
    assert [batch.parts for batch in found.batches] == [[0, 1]]
    assert found.enveloped


def test_a_file_may_hold_several_batches_and_messages_without_one() -> None:
    found = cut(FHS + BHS + ONE + b"BTS|1\r" + BHS + TWO + b"BTS|1\r" + THREE + b"FTS|3\r", limit=LIMIT)
    assert [batch.parts for batch in found.batches] == [[0], [1], [2]]
    assert [bool(batch.header) for batch in found.batches] == [True, True, False]


def test_lines_that_belong_to_no_message_are_a_part_of_their_own() -> None:
    found = cut(BHS + b"NTE|1||note\r" + ONE + b"BTS|1\r" + b"PID|1\r", limit=LIMIT)
    assert found.parts == [b"NTE|1||note\r", ONE, b"PID|1\r"]


def test_an_envelope_behind_the_first_message_does_not_make_a_batch() -> None:
    found = cut(ONE + BHS + TWO + b"BTS|1\r", limit=LIMIT)
    assert (found.parts, found.enveloped) == ([ONE, TWO], False)


def test_more_than_the_cap_is_left_whole() -> None:
    block = ONE * (LIMIT + 1)
    assert cut(block, limit=LIMIT) == Block([block])
    assert len(parts(ONE * LIMIT)) == LIMIT


@settings(deadline=None)
@given(anything)
def test_nothing_vanishes_but_envelopes_and_blanks(block: bytes) -> None:
    found = cut(block, limit=LIMIT)
    at = 0
    for part in found.parts:
        start = block.find(part, at)
        assert start >= 0, "parts are slices, in order"
        before, at = block[at:start], start + len(part)
        for line in before.replace(b"\n", b"\r").split(b"\r"):
            assert line.strip(b" \0\xef\xbb\xbf")[:3].upper() in {b"", b"FHS", b"BHS", b"BTS", b"FTS"}
    answered = [n for batch in found.batches for n in batch.parts]
    assert answered == (list(range(len(found.parts))) if found.enveloped else [])


# The batch of answers.


def joined(block: bytes, answers: list[list[bytes]]) -> list[str]:
    return join(cut(block, limit=LIMIT), answers, US).decode().split("\r")[:-1]


def test_a_batch_is_answered_by_a_batch_that_names_it_and_counts_its_answers() -> None:
    block = FHS + BHS + ONE + TWO + b"BTS|2\r" + b"FTS|1\r"
    assert joined(block, [[b"MSH|1\rMSA|AA|1\r"], [b"MSH|2\rMSA|AE|2\r"]]) == [
        "FHS|^~\\&|AKTAGW|D|SIMRS|RS|20250311093000+0700||||GW0|F77",
        "BHS|^~\\&|AKTAGW|D|SIMRS|RS|20250311093000+0700||||GW1|B88",
        "MSH|1", "MSA|AA|1", "MSH|2", "MSA|AE|2",
        "BTS|2",
        "FTS|1",
    ]  # fmt: skip


def test_the_answer_uses_the_separator_of_the_batch_and_our_name_where_none_is_asked_for() -> None:
    block = b"BHS*^~\\&*SIMRS*RS\r" + ONE + b"BTS*1\r"
    assert joined(block, [[b"MSH|1\r"]]) == [
        "BHS*^~\\&*AKTAGW*DUKCAPIL*SIMRS*RS*20250311093000+0700****GW1", "MSH|1", "BTS*1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trailer", "said"),
    [
        (b"BTS|3\r", "BTS|2|BTS-1 says 3, 2 came"),
        (b"", "BTS|2|no BTS came"),
        (b"BTS\r", "BTS|2"),
        (b"BTS|x\r", "BTS|2"),
        (b"BTS|02\r", "BTS|2"),
    ],
)
def test_a_count_that_is_not_what_came_is_told(trailer: bytes, said: str) -> None:
    assert joined(BHS + ONE + TWO + trailer, [[b"a\r"], [b"b\r"]])[-1] == said


def test_a_file_without_its_end_is_told() -> None:
    assert joined(FHS + BHS + ONE + b"BTS|1\r", [[b"a\r"]])[-1] == "FTS|1|no FTS came"
    assert joined(FHS + BHS + ONE + b"BTS|1\rFTS|2\r", [[b"a\r"]])[-1] == "FTS|1|FTS-1 says 2, 1 came"


def test_silent_and_double_answers_are_counted_as_they_are() -> None:
    got = joined(BHS + ONE + TWO + b"BTS|2\r", [[], [b"CA\r", b"AA\r"]])
    assert got[1:] == ["CA", "AA", "BTS|2"]


def test_an_empty_batch_and_an_empty_file_are_answered_by_empty_ones() -> None:
    assert joined(BHS + b"BTS|0\r", [])[1:] == ["BTS|0"]
    assert [line[:5] for line in joined(FHS + b"FTS|0\r", [])] == ["FHS|^", "FTS|0"]


def test_messages_right_below_a_file_header_are_answered_in_a_batch() -> None:
    assert [line[:3] for line in joined(FHS + ONE + b"FTS|1\r", [[b"a\r"]])] == ["FHS", "BHS", "a", "BTS", "FTS"]


@settings(deadline=None)
@given(anything)
def test_joining_never_fails_nor_loses_an_answer(block: bytes) -> None:
    found = cut(block, limit=LIMIT)
    ids = [str(n) for n in range(len(found.batches) + 1)]
    answers = join(found, [[b"MSA|x\r"]] * len(found.parts), Signature("A", "B", "2025", ids))
    if found.enveloped:  # nothing else is joined
        assert answers.count(b"MSA|x\r") >= len(found.parts), "each message's answer is in it"

"""The helper's process: what crosses over, what breaks it, and that it ends."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from adapters.hospital.baseline import BaselineHospital
from gateway.errors import ProcotError
from gateway.pipeline.helper import HELPED_BYTES, Helper, HelperError
from gateway.pipeline.verdict import Judge
from tests.simulators.facilities import CLOCK, HOSPITAL, facility
from tests.simulators.journey import notice


def _judge() -> Judge:
    return Judge(
        facilities={HOSPITAL: facility()},
        hospitals={"baseline": BaselineHospital()},
        clock=lambda: CLOCK,
        test_messages="accept",
        require_form=False,
        segment_limit=2000,
    )


def test_names_of_a_megabyte_cost_no_more_than_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Counted in calls of Python, not in time: none for each letter of a name that is nobody's."""
    for letters in ("DR. ", "SITI ", "Ë", "A/", "BIN "):
        raw = notice().replace(b"SITI", letters.encode() * (HELPED_BYTES // 4))
        calls = _calls_of(raw)
        assert calls < 10 * _calls_of(notice()), letters
    assert not capsys.readouterr().err


def _calls_of(raw: bytes) -> int:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    judge = _judge()
    judge.evaluate(raw, peer="127.0.0.1")  # catalogues are read once
    sys.setprofile(count)
    try:
        judge.evaluate(raw, peer="127.0.0.1")
    finally:
        sys.setprofile(None)
    return calls


async def test_a_verdict_made_there_is_the_one_made_here() -> None:
    helper, judge = Helper(), _judge()
    try:
        there = await helper.run(judge.as_of_now().evaluate, notice(), peer="127.0.0.1")
        assert helper.pid != os.getpid()
    finally:
        await helper.close()
    here = judge.evaluate(notice(), peer="127.0.0.1")
    assert there.draft is not None
    assert here.draft is not None
    assert (there.findings, there.codec, there.event) == (here.findings, here.codec, here.event)
    assert (there.draft.values, there.draft.places) == (here.draft.values, here.draft.places)
    assert there.draft.record == here.draft.record


async def test_work_that_dies_or_does_not_end_fails_alone() -> None:
    helper = Helper(work_s=15)
    try:
        with pytest.raises(HelperError, match="died"):
            await helper.run(os.kill, *(await helper.run(os.getpid), signal.SIGKILL))
        assert await helper.run(len, b"abc") == 3
        helper._work_s = 0.2
        with pytest.raises(HelperError, match="did not end"):
            await helper.run(time.sleep, 60)
        helper._work_s = 15
        assert await helper.run(len, b"abcd") == 4
    finally:
        await helper.close()
    assert helper.pid is None


async def test_what_it_raises_is_told_by_kind_and_place_and_never_by_its_text() -> None:
    helper = Helper()
    try:
        with pytest.raises(HelperError, match="KeyError") as failed:
            await helper.run(dict[str, int]().__getitem__, "SITI AMINAH")
        assert "SITI" not in str(failed.value)
        assert isinstance(failed.value, ProcotError)
        with pytest.raises(ValueError, match="invalid literal"):
            await helper.run(int, "x")
    finally:
        await helper.close()


async def test_what_is_small_is_done_here() -> None:
    helper = Helper()
    assert await helper.run_if_large(10, os.getpid) == os.getpid()
    assert helper.pid is None
    await helper.close()

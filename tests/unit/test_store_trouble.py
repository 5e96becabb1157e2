"""A database that refused the last commit makes the gateway not ready for a moment, and then it is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.observe.metrics import Metrics

if TYPE_CHECKING:
    import pytest


def test_a_refused_commit_is_told_until_one_succeeds_or_a_moment_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("gateway.observe.metrics.time.monotonic", lambda: now)
    counted = Metrics()
    assert not counted.refused_lately()
    counted.commit_failed()
    assert counted.refused_lately()
    counted.committed(1)
    assert not counted.refused_lately()
    counted.commit_failed()
    now += 11
    assert not counted.refused_lately()

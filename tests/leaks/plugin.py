"""The plugin that fails a test which leaves state behind, and names it: no test may reach another one.

Whoever leaves something is told: a test at its own end, a wider fixture at the end of its module or session. What a
wider fixture makes while a test asks for it is the fixture's, not the test's. `pytest_configure` sets what all tests
start from, so that the order in which modules are imported sets nothing.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio
import structlog
import uvloop

from tests.leaks.elsewhere import MARK, Processes, Temporary
from tests.leaks.state import ENDING, Snapshot, differences, snapshot, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from pathlib import Path

# What ends by itself needs a moment, and on a busy machine more than one.
GRACE_S, LOOK_S = float(os.environ.get("LEAK_GRACE_S", "10")), 0.01
_WIDTHS = {"function": 0, "class": 1, "module": 2, "package": 3, "session": 4}
_KEY = pytest.StashKey["Watch"]()


@dataclass
class _Scope:
    """What there was when a test, a module or the session began."""

    width: int
    state: Snapshot
    processes: frozenset[int]
    temporary: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Left:
    """What is otherwise than it was: now, and by name."""

    now: Snapshot
    differences: list[tuple[str, str]]
    processes: frozenset[int]
    temporary: set[str]
    lines: tuple[str, ...] = ()


class Watch:
    """Compares what there is with what there was."""

    def __init__(self, directory: Path, mark: str) -> None:
        self._processes = Processes(mark, directory)
        self._temporary = Temporary(directory)
        self._open: list[_Scope] = []
        self._last: Snapshot | None = None  # still true: nothing ran since

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Fail with what is there at the end and was not there at the beginning."""
        scope = _Scope(_WIDTHS[name], self._last or snapshot(), self._processes.running(), self._lying())
        self._open.append(scope)
        try:
            yield
        finally:
            self._open.remove(scope)
        found = self._left(scope)
        if found.lines:
            self._take_over(found, _WIDTHS["session"] + 1)  # it is told once
            pytest.fail("left behind, for whichever test comes next:\n  " + "\n  ".join(found.lines), pytrace=False)

    @contextmanager
    def made_for_longer(self, name: str) -> Iterator[None]:
        """Take what happens inside as there before, for every narrower scope that is open."""
        before, ran, lay = snapshot(), self._processes.running(), self._lying()
        yield
        self._last = now = snapshot()
        made = _Left(now, differences(before, now), self._processes.running() - ran, self._lying() - lay)
        self._take_over(made, _WIDTHS[name])

    def _lying(self) -> set[str]:
        return set(self._temporary.left())

    def _take_over(self, found: _Left, width: int) -> None:
        for scope in (scope for scope in self._open if scope.width < width):
            for kind, name in found.differences:
                if name in found.now[kind]:
                    scope.state[kind][name] = found.now[kind][name]
                else:
                    scope.state[kind].pop(name, None)
            scope.processes |= found.processes
            scope.temporary |= found.temporary

    def _left(self, scope: _Scope) -> _Left:
        end = time.monotonic() + GRACE_S
        while True:
            self._last = now = snapshot()
            found = differences(scope.state, now)
            processes = self._processes.left(scope.processes) if scope.processes != self._processes.running() else {}
            ending = bool(processes) or any(kind in ENDING for kind, _ in found)
            if not ending or time.monotonic() > end:
                break
            gc.collect()
            time.sleep(LOOK_S)
        temporary = self._lying() - scope.temporary
        lines = (
            *told(scope.state, now, found),
            *(f"process: {pid} {command}" for pid, command in processes.items()),
            *(f"temporary: {path}" for path in sorted(temporary)),
        )
        return _Left(now, found, frozenset(processes), temporary, lines)


def pytest_configure() -> None:
    """Set what every test starts from."""
    asyncio.set_event_loop(None)  # or pytest-asyncio would find a loop where nobody made one
    uvloop.new_event_loop().close()  # libuv makes a pipe for the process with its first loop and keeps it
    tempfile.gettempdir()
    structlog.configure(  # pytest keeps descriptor 2 for the test that fails; what a command prints stays its own
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=structlog.PrintLoggerFactory(sys.__stderr__),
        cache_logger_on_first_use=False,
    )


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Take what a fixture of a wider scope makes as that fixture's, not as the test's that asks first."""
    watch = request.config.stash.get(_KEY, None)
    if watch is None or fixturedef.scope == "function" or fixturedef.argname in _OWN:
        return (yield)
    with watch.made_for_longer(fixturedef.scope):
        return (yield)


@pytest.fixture(autouse=True, scope="session")
def _session_leaves_nothing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    os.environ[MARK] = mark = uuid4().hex
    watch = request.config.stash[_KEY] = Watch(tmp_path_factory.getbasetemp(), mark)
    with watch.scope("session"):
        yield
    del os.environ[MARK]


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_nothing(request: pytest.FixtureRequest, _session_leaves_nothing: None) -> Iterator[None]:
    with request.config.stash[_KEY].scope("module"):
        yield


@pytest.fixture(autouse=True)
def _test_leaves_nothing(request: pytest.FixtureRequest, _module_leaves_nothing: None) -> Iterator[None]:
    with request.config.stash[_KEY].scope("function"):
        yield


@pytest.fixture(autouse=True)
def _asynchronous_test_leaves_no_task(request: pytest.FixtureRequest, _test_leaves_nothing: None) -> None:
    """Ask for the look at the loop where there is one; from `_test_leaves_nothing` it would outlive that one."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("_test_leaves_no_task")


@pytest_asyncio.fixture
async def _test_leaves_no_task() -> AsyncIterator[None]:
    """Look at the loop behind the last fixture that lives on it: a task there would be cancelled without a word."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=GRACE_S)
    if left:
        pytest.fail("left running, to be cancelled:\n  " + "\n  ".join(map(repr, left)), pytrace=False)


_OWN = frozenset({_session_leaves_nothing.__name__, _module_leaves_nothing.__name__})

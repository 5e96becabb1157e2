"""Processes forked from one that has imported everything: a gateway of a test's own starts in a tenth of the time.

They are processes like any other, with their own id, sockets and death; only the imports are shared.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.simulators.warm"])
forkserver.ensure_running()  # now: it stays as long as this process, and no test is to be the one that left it behind


class Forked:
    """A running function in a process of its own; `wait` and `poll` tell its exit status as subprocess.Popen's do."""

    def __init__(self, function: Callable[..., None], *arguments: object) -> None:
        self._process = _CONTEXT.Process(target=function, args=arguments, daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        """Return the exit status, None while it lives; minus the signal where one ended it."""
        return self._process.exitcode

    def wait(self) -> int:
        """Wait for its end."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

"""A process beside ours that reads and judges what is large, so that nobody else waits for it.

A thread would not do: it holds the interpreter's lock while it works. The process is started with the first piece of
work and ended after a while without any; one piece at a time, each within `_WORK_S` and the process within
`_MEMORY_BYTES`. Work that takes longer, or breaks the process, fails alone: it is killed and the next one gets a fresh
process. It ends with its parent, since its input ends then.

Both sides speak pickle over pipes: eight bytes of length, then the text. It is our own code on both ends.
"""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import signal
import sys
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, ParamSpec, TypeVar, cast

from gateway.errors import ProcotError

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import resource
except ImportError:  # not on Windows, which has no such limit
    resource = None  # type: ignore[assignment]

P = ParamSpec("P")
T = TypeVar("T")

HELPED_BYTES = 64 * 1024  # what is larger is read and judged by the helper
_WORK_S = 60.0
_IDLE_S = 300.0
_MEMORY_BYTES = 2 * 1024**3  # of address space beyond what a fresh interpreter maps
_LENGTH = 8
_NICE = 5  # whoever waits for an answer goes first
_BUFFER_BYTES = 1024 * 1024


class HelperError(ProcotError):
    """The helper could not do its work: it met an error of ours, took too long, or its process died."""

    code = "HELPER_FAILED"


class Helper:
    """The process, from the first work on; work waits for its turn."""

    def __init__(self, *, work_s: float = _WORK_S, idle_s: float = _IDLE_S) -> None:
        self._work_s = work_s
        self._idle_s = idle_s
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        return self._process.pid if self._process is not None else None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work`, a function of a module, returns there, or raise what it raised if it is one of ours.

        Raises HelperError where it broke, took too long or could not be started.
        """
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                async with asyncio.timeout(self._work_s):
                    done, result = await self._exchange(_packed((work, args, kwargs)))
            except TimeoutError:
                await self._end()
                raise HelperError(f"work in the helper process did not end within {self._work_s:g} s") from None
            except (OSError, EOFError, asyncio.IncompleteReadError) as error:
                await self._end()
                raise HelperError(f"the helper process died or could not be started ({type(error).__name__})") from None
            except asyncio.CancelledError:  # what it would still write is nobody's answer
                await self._end()
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._let_go)
        if not done:
            raise cast("Exception", result)
        return cast("T", result)

    async def run_if_large(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do like `run` what is about so many bytes; what is about few is done here and now."""
        if size < HELPED_BYTES:
            return work(*args, **kwargs)
        return await self.run(work, *args, **kwargs)

    async def close(self) -> None:
        """End the process; work under way fails."""
        if self._idle is not None:
            self._idle.cancel()
        await self._end()

    async def _exchange(self, request: bytes) -> tuple[bool, object]:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await _start()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(len(request).to_bytes(_LENGTH))
        process.stdin.write(request)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(_LENGTH))
        return cast("tuple[bool, object]", pickle.loads(await process.stdout.readexactly(size)))  # noqa: S301 - ours

    def _let_go(self) -> None:
        if not self._turn.locked() and self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # it ends by itself, and the next work starts another
            self._process = None

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",  # not -m: what crosses over must name this module as we do
        f"from {__name__} import main; main()",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_BUFFER_BYTES,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


# ------------------------------------------------------------------------------------------------ what crosses over


class _Pickler(pickle.Pickler):
    """Takes data classes by their fields: compiled ones (pyproject.toml, mypyc) are not pickled otherwise."""

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - as the base class
        if not is_dataclass(obj) or isinstance(obj, type):
            return NotImplemented
        return _rebuilt, (type(obj), {field.name: getattr(obj, field.name) for field in fields(obj) if field.init})


def _rebuilt(kind: Callable[..., object], values: dict[str, object]) -> object:
    return kind(**values)


def _packed(what: object) -> bytes:
    out = io.BytesIO()
    _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(what)
    return out.getvalue()


# ----------------------------------------------------------------------------------------------------- its own side


def _answer(request: bytes) -> bytes:
    """Do one piece of work; what it raised is its answer, other people's errors as a HelperError without their text."""
    try:
        work, args, kwargs = pickle.loads(request)  # noqa: S301 - ours
        return _packed((True, work(*args, **kwargs)))
    except (ProcotError, ValueError) as error:
        return _packed((False, error if isinstance(error, ProcotError) else ValueError(str(error))))
    except Exception as error:  # noqa: BLE001 - whatever it was, its caller is told where
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_qualname}:{place.tb_lineno}" if place else "?"
        return _packed((False, HelperError(f"{type(error).__name__} in {where}")))


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while len(length := requests.read(_LENGTH)) == _LENGTH:
        answer = _answer(requests.read(int.from_bytes(length)))
        answers.write(len(answer).to_bytes(_LENGTH))
        answers.write(answer)
        answers.flush()


def main() -> None:
    """Be the helper: serve until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints beside the answers
    for number in (signal.SIGINT, signal.SIGTERM):  # a group is told to stop: our input ends with our parent's work
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(_NICE)
    if resource is not None:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    _serve(sys.stdin.buffer, answers)

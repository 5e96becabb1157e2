"""What one test could leave behind for the next: a snapshot of this process's state, and what changed since one.

A snapshot maps a kind of state to its parts: each part's name to a value that compares equal as long as nobody touched
it. Objects compare by identity, except containers of ours, which compare by what they hold.
"""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import gc
import locale
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import prometheus_client
import structlog

from tests.leaks.bindings import Bindings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

try:
    import resource
except ImportError:  # not POSIX
    resource = None  # type: ignore[assignment]

ENDING = frozenset({"thread", "open file"})  # may end by themselves, and whoever ends one leaves nothing
Parts = dict[str, Any]
Snapshot = dict[str, Parts]

_BINDINGS = Bindings()
ROOT = Path(__file__).parents[2]
_OF_PYTEST = frozenset({"PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_TESTRUNUID"})
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_OPEN_FILES = Path("/proc/self/fd")


def snapshot() -> Snapshot:
    """Return the state of this process now. Takes about a millisecond."""
    return {kind: look() for kind, look in KINDS.items()}


def differences(before: Snapshot, after: Snapshot) -> list[tuple[str, str]]:
    """Return the kind and the name of everything that is not as it was, in order of kinds."""
    found = []
    for kind, was in before.items():
        now = after[kind]
        if was != now:
            names = now.keys() - was.keys() if kind in ENDING else was.keys() | now.keys()
            found += [(kind, name) for name in sorted(names) if was.get(name) != now.get(name)]
    return found


def _structlog() -> Parts:
    config = structlog.get_config()
    return {name: [id(p) for p in value] if name == "processors" else value for name, value in config.items()}


def _logging() -> Parts:
    loggers = [logging.root, *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger))]
    return {logger.name: state for logger in loggers if (state := _logger(logger)) is not None} | {
        "logging.disable": logging.root.manager.disable,
        "logging.raiseExceptions": logging.raiseExceptions,
    }


def _logger(logger: logging.Logger) -> tuple[object, ...] | None:
    """Return what somebody set on a logger, None where nobody set anything. The handlers of pytest come and go."""
    handlers = tuple(id(h) for h in logger.handlers if not type(h).__module__.startswith("_pytest."))
    set_by_somebody = handlers or logger.level or logger.disabled or not logger.propagate or logger.filters
    if not set_by_somebody:
        return None
    return logger.level, handlers, tuple(map(id, logger.filters)), logger.propagate, logger.disabled


def _context() -> Parts:
    values = contextvars.copy_context().items()  # structlog writes `...` where it takes something back
    return {v.name: repr(value)[:200] for v, value in values if value is not ... and v.name != "decimal_context"}


def _environment() -> Parts:
    return {name: value for name, value in os.environ.items() if name not in _OF_PYTEST}


def _process() -> Parts:
    umask = os.umask(0o077)
    os.umask(umask)
    parts = {"cwd": os.getcwd(), "umask": oct(umask)}  # noqa: PTH109 - a string compares quickest
    if resource is not None:
        parts["RLIMIT_NOFILE"] = str(resource.getrlimit(resource.RLIMIT_NOFILE))
        parts["RLIMIT_CORE"] = str(resource.getrlimit(resource.RLIMIT_CORE))
    return parts


def _interpreter() -> Parts:
    return {
        "sys.argv": tuple(sys.argv),
        "sys.path": tuple(sys.path),
        "sys.hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook, sys.breakpointhook),
        "sys.limits": (sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode),
        "gc": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0),
        "locale": locale.setlocale(locale.LC_ALL, None),
        "decimal": (decimal.getcontext().prec, decimal.getcontext().rounding),  # its flags say what was calculated
        "time zone": time.tzname,
        "socket.getdefaulttimeout": socket.getdefaulttimeout(),
        "tempfile.tempdir": tempfile.tempdir,
    }


def _signals() -> Parts:
    parts: Parts = {signal.Signals(number).name: signal.getsignal(number) for number in _SIGNALS if _named(number)}
    if threading.current_thread() is threading.main_thread():
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        parts["wake-up descriptor"] = wakeup
    return parts


def _named(number: int) -> bool:
    return number in signal.Signals._value2member_map_


def _loops() -> Parts:
    running = asyncio._get_running_loop()
    return {"policy": asyncio.get_event_loop_policy(), "running loop": running}


def _threads() -> Parts:
    return {f"{thread.name} ({thread.ident})": True for thread in threading.enumerate()}


def _descriptors() -> Parts:
    """Return the open files, sockets and pipes by number; what each is is read for the message only."""
    return dict.fromkeys(os.listdir(_OPEN_FILES), True) if _OPEN_FILES.exists() else {}  # noqa: PTH208 - the quickest


def _checkout() -> Parts:
    """Return what lies in the top directory: a test writes into directories of its own."""
    return dict.fromkeys(os.listdir(ROOT), True)  # noqa: PTH208 - as above


def _metrics() -> Parts:
    return dict.fromkeys(prometheus_client.REGISTRY._names_to_collectors, True)


def _modules() -> Parts:
    return dict(_BINDINGS.look(_watched()))


def _watched() -> Iterable[ModuleType]:
    """Return our own modules, and those of others that a test could patch or that keep settings."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and (name.startswith(_OURS) or name in _OTHERS):
            yield module


_OURS = ("gateway", "adapters", "schemas", "tests.")
_OTHERS = frozenset(
    {
        "aiohttp", "asyncio", "asyncpg", "datetime", "hl7apy", "os", "random", "resource", "secrets", "shutil",
        "signal", "socket", "ssl", "structlog", "subprocess", "time", "uuid", "uvloop",
    }
)  # fmt: skip

KINDS: dict[str, Callable[[], Parts]] = {
    "structlog": _structlog,
    "logging": _logging,
    "context variable": _context,
    "environment": _environment,
    "process": _process,
    "interpreter": _interpreter,
    "signal handler": _signals,
    "asyncio": _loops,
    "module": _modules,
    "prometheus registry": _metrics,
    "top directory": _checkout,
    "thread": _threads,
    "open file": _descriptors,
}


def told(before: Snapshot, after: Snapshot, found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each difference: what it is, what it was before and what it is now."""
    for kind, name in found:
        was, now = before[kind].get(name), after[kind].get(name)
        if kind == "open file":
            yield f"{kind}: {name} -> {_target(name)}"
        elif kind == "module":
            yield f"{kind}: {name}: {_BINDINGS.changed(name, was, now)}"
        elif was is None or now is None:
            yield f"{kind}: {name} {'is new' if was is None else 'is gone'}{_value(was if now is None else now)}"
        else:
            yield f"{kind}: {name} was{_value(was)}, is{_value(now)}"


def _value(value: object) -> str:
    return "" if value is True else f" {str(value)[:120]}"


def _target(descriptor: str) -> str:
    with suppress(OSError):
        return str((_OPEN_FILES / descriptor).readlink())
    return "closed by now"

"""Structured logs: one JSON object a line, ids bound once, and no people in it at any level.

Three fences keep people out. Only field names in `FIELDS` are printed. A value of type `Personal` is masked by type,
and any text that looks like a NIK by its shape. An exception is logged as its type and its place in the code; its
text only where it is one of ours (gateway.errors promises to hold no personal data).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from gateway.contract.masked import MASK, Personal
from gateway.contract.visible import escaped
from gateway.errors import ProcotError

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

# The stable vocabulary (docs/events.md, generated). The value of a field that is not here is not printed.
FIELDS = frozenset(
    {
        "timestamp",
        "level",
        "event",
        "birth_id",
        "births",
        "message_id",
        "facility",
        "control_id",
        "step",
        "state",
        "code",
        "duration_ms",
        "address",
        "attempt",
        "bytes",
        "compiled",
        "connection",
        "connections",
        "directory",
        "due_in_s",
        "effect",
        "entries",
        "error",
        "error_text",
        "exit_status",
        "since",
        "findings",
        "forced",
        "host",
        "key_id",
        "kind",
        "limit_bytes",
        "lines",
        "logger",
        "message_type",
        "messages",
        "migration",
        "noise_bytes",
        "note",
        "outcome",
        "path",
        "peer",
        "pid",
        "port",
        "reason",
        "seconds",
        "size",
        "status",
        "task_id",
        "text",
        "tls",
        "token_id",
        "until",
        "url",
        "where",
    }
)
_SIXTEEN_DIGITS = re.compile(r"(?<!\d)\d{16}(?!\d)")
_DIGITS = 16
_NUMBERS = (int, float, bool)
_MOST_WAITING = 256  # lines of one turn of the loop
_encoded = json.JSONEncoder(ensure_ascii=False).encode
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def looks_like_nik(digits: str) -> bool:
    """Tell whether 16 digits have the shape of a NIK or KK number: a province and a day and month (domain B.1)."""
    province, day, month = int(digits[:2]), int(digits[6:8]), int(digits[8:10])
    return 11 <= province <= 96 and 1 <= (day - 40 if day > 40 else day) <= 31 and 1 <= month <= 12  # noqa: PLR2004


def mask(value: Any) -> Any:  # noqa: ANN401, PLR0911 - any value may be logged; one line a type
    """Return `value` with everything personal masked."""
    if isinstance(value, Personal):
        return MASK
    if isinstance(value, str):
        if len(value) < _DIGITS:
            return value
        return _SIXTEEN_DIGITS.sub(lambda m: MASK if looks_like_nik(m[0]) else m[0], value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {str(k): mask(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(v) for v in value]
    if value is None or isinstance(value, int | float | bool):
        return value
    return mask(str(value))


def _line(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    """Return the line: masked, the first things first, without what is None."""
    said: dict[str, Any] = {"timestamp": event.pop("timestamp"), "level": event.pop("level")}
    said["event"] = mask(event.pop("event", ""))
    for key, value in event.items():
        if value is None:
            continue
        kind = type(value)
        if key not in FIELDS:
            said[key] = MASK
        elif kind in _NUMBERS or (kind is str and len(value) < _DIGITS):  # most are: nothing in them is to be masked
            said[key] = value
        else:
            said[key] = mask(value)
    return escaped(_encoded(said))


def _exception(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else sys.exc_info()[1] if info else None
    if error is not None:
        event.update(describe(error))
    return event


def describe(error: BaseException) -> dict[str, str]:
    """Return what may be said of an exception: its type, its place in the code, and our own text."""
    frames = traceback.extract_tb(error.__traceback__)
    said = {"error": type(error).__name__}
    if frames:
        said["where"] = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} {frames[-1].name}"
    if isinstance(error, ProcotError):
        said["error_text"] = str(error)
    return said


class _LibraryHandler(logging.Handler):
    """Other people's log lines: the unformatted template only, since arguments may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        name = level if level in _LEVELS else "error"
        cause = describe(record.exc_info[1]) if record.exc_info and record.exc_info[1] else {}
        structlog.get_logger().log(
            _LEVELS[name],
            "library.log",
            logger=record.name,
            text=str(record.msg)[:200],
            error=cause.get("error"),
            where=cause.get("where"),
        )


class _Lines:
    """Where lines go. A full disk or a broken pipe there never fails the work that is logged; what was lost is told.

    What is logged as `info` within one turn of the event loop is written together at its end, in its order: a group
    commit is one write. All else takes along what waits and is written at once, as is everything without a loop.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.RLock()  # a collection of garbage under it may log, too
        self._waiting: list[str] = []
        self._due: asyncio.AbstractEventLoop | None = None  # which will write what waits
        self._lost = 0

    def __call__(self, *_names: object) -> _Lines:
        """Return the one logger, as a factory does."""
        return self

    def info(self, line: str) -> None:
        """Write a line by the end of this turn of the loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.msg(line)
            return
        with self._lock:
            self._waiting.append(line)
            full = len(self._waiting) >= _MOST_WAITING
            armed, self._due = self._due is loop, loop
        if full:
            self._flush()
        elif not armed:
            loop.call_soon(self._flush)

    def msg(self, line: str) -> None:
        """Write a line, behind those that wait; count them where that fails."""
        with self._lock:
            self._waiting.append(line)
        self._flush()

    debug = warning = error = critical = msg

    def _flush(self) -> None:
        with self._lock:
            lines, self._waiting, self._due = self._waiting, [], None
            if not lines:
                return
            try:
                self._file.write("\n".join(lines) + "\n")
                self._file.flush()
            except OSError:
                self._lost += len(lines)
                return
            lost, self._lost = self._lost, 0
        if lost:
            structlog.get_logger().error("log.not_written", lines=lost)


def configure(*, level: str, file: Path | None = None, stream: TextIO | None = None) -> TextIO:
    """Send logs to `file`, else to `stream`, else to stderr, and return that stream. Called before anything logs."""
    target = file.open("a", encoding="utf-8", buffering=1) if file else stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exception,
            _line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Lines(target),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler()]
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    return target

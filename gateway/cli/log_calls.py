"""What this program logs, read from its sources: every log call's event, level and fields.

A line of code that this cannot read (a computed event name, fields from who knows where) is an error: the documented
vocabulary would be wrong. Runs nothing that it reads.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = ("gateway", "adapters")
_LOGGERS = frozenset({"_log", "log"})
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log"})
_CAUSE = frozenset({"error", "error_text", "where"})  # what gateway.observe.logging.describe says of an exception
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, order=True)
class LogCall:
    """One place that logs one event. `level` is `any` where it is another library's."""

    event: str
    level: str
    fields: frozenset[str]
    module: str
    line: int


@dataclass(frozen=True, slots=True)
class _Forwarder:
    """A function that logs the event it is given, with the fields it is given and some of its own."""

    name: str
    level: str
    fields: frozenset[str]


def log_calls(root: Path) -> list[LogCall]:
    """Return every log call below `root`, by event. Raises ConfigError naming a line that cannot be read."""
    files = (path for part in PARTS for path in sorted((root / part).rglob("*.py")))
    return sorted(call for path in files for call in read(path.read_text(encoding="utf-8"), module=_module(root, path)))


def bound_fields(root: Path) -> frozenset[str]:
    """Return the fields that code binds to all later lines of a task (`bind_contextvars`)."""
    trees = (ast.parse(p.read_text(encoding="utf-8")) for part in PARTS for p in (root / part).rglob("*.py"))
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return frozenset(k.arg for c in calls if _attribute(c) == "bind_contextvars" for k in c.keywords if k.arg)


def read(source: str, *, module: str) -> Iterator[LogCall]:
    """Yield the log calls of one module's source."""
    tree = ast.parse(source)
    calls = [(call, function) for function, call in _calls(tree, None)]
    forwarders: dict[str, _Forwarder] = {}
    for call, function in calls:
        if not _is_log_call(call):
            continue
        event = _event(call)
        if isinstance(event, str):
            yield LogCall(event, _level(call), _fields(call, module, None), module, call.lineno)
        elif function is not None and event is not None and event.id in _parameters(function):
            own = _fields(call, module, function)
            forwarders[function.name] = _Forwarder(function.name, _level(call), own)
        else:
            raise _unreadable(module, call, "the event's name is computed")
    for call, _ in calls:
        through = forwarders.get(_attribute(call) or "")
        if through is not None:
            event = _event(call)
            if not isinstance(event, str):
                raise _unreadable(module, call, "the event's name is computed")
            fields = through.fields | _fields(call, module, None)
            yield LogCall(event, through.level, fields, module, call.lineno)


def _calls(node: ast.AST, function: _Function | None) -> Iterator[tuple[_Function | None, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield function, child
        yield from _calls(child, child if isinstance(child, _Function) else function)


def _attribute(call: ast.Call) -> str | None:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return None


def _is_log_call(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id=name), attr=level):
            return name in _LOGGERS and level in _LEVELS
        case ast.Attribute(value=ast.Call(func=ast.Attribute(attr="get_logger")), attr=level):
            return level in _LEVELS
    return False


def _event(call: ast.Call) -> str | ast.Name | None:
    """Return the event's text, the name it comes by, or None where it is something else."""
    place = 1 if _attribute(call) == "log" else 0  # .log(level, event)
    if len(call.args) <= place:
        return None
    match call.args[place]:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name() as name:
            return name
    return None


def _parameters(function: _Function) -> frozenset[str]:
    return frozenset(a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs))


def _level(call: ast.Call) -> str:
    level = _attribute(call) or ""
    return {"exception": "error", "log": "any"}.get(level, level)


def _fields(call: ast.Call, module: str, function: _Function | None) -> frozenset[str]:
    fields: set[str] = set(_CAUSE) if _attribute(call) == "exception" else set()
    for keyword in call.keywords:
        match keyword:
            case ast.keyword(arg=str(name)):
                fields.add(name)
            case ast.keyword(value=ast.Call(func=ast.Name(id="describe"))):
                fields |= _CAUSE
            case ast.keyword(value=ast.Name(id=name)) if function and _rest(function) == name:
                pass  # the caller's fields, read where it calls
            case _:
                raise _unreadable(module, call, "fields come from a computed mapping")
    return frozenset(fields)


def _rest(function: _Function) -> str | None:
    return function.args.kwarg.arg if function.args.kwarg else None


def _module(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


def _unreadable(module: str, call: ast.Call, reason: str) -> ConfigError:
    return ConfigError(f"{module}, line {call.lineno}: {reason}; write event and fields where they are logged")

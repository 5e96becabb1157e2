"""docs/configuration.md from the configuration's own classes: every key with its type, default, caps and meaning."""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from gateway.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", SecretStr: "secret"}
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
COLUMNS = ("key", "value", "default", "meaning")

INTRODUCTION = """\
One TOML file, named with `--config`. Every key of a section can be set by environment, which wins: `timeout_s` of
`[registry]` is `PROCOT_REGISTRY__TIMEOUT_S`. An unknown key, a wrong value or a missing secret stops the start;
`procot check-config FILE` says so without starting. A key ending in `_s` is in seconds, `_bytes` in bytes, `_days` in
days; one ending in `_file` names a file that holds a secret and nothing else. What is usual to set is shown in
[operators.md](operators.md)."""


def sections() -> Iterator[tuple[str, str, list[tuple[str, str, str, str]]]]:
    """Yield title, words and rows (key, value, default, meaning) of each section. Raises LookupError without words."""
    for name, field in Config.model_fields.items():
        model = _model(field.annotation)
        title = f"`[{name}]`" if isinstance(field.annotation, type) else f"`[[{name}]]`, one block each"
        words = " ".join((model.__doc__ or "").split())
        yield title, words, [_row(key, each) for key, each in model.model_fields.items()]


def _model(annotation: Any) -> type[BaseModel]:
    found = annotation if isinstance(annotation, type) else get_args(annotation)[0]
    assert issubclass(found, BaseModel)  # noqa: S101 - the configuration is sections and lists of blocks
    return found


def _row(key: str, field: FieldInfo) -> tuple[str, str, str, str]:
    if not field.description:
        raise LookupError(f"{key}: has no description in its Field")
    bounds = [
        f"{sign} {getattr(part, name)}" for part in field.metadata for name, sign in _BOUNDS if hasattr(part, name)
    ]
    value = " ".join([_kind(field.annotation), *bounds])
    return f"`{key}`", value, _default(field), field.description


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in arguments if each is not type(None))
    if origin is tuple and arguments[0] in _NAMES:
        return f"list of {_kind(arguments[0])}"
    return _NAMES.get(annotation, "table")


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "**needed**"
    if default is None or default in ("", (), {}):
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"

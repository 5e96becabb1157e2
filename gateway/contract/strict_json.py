"""JSON that says one thing: no key twice in one object, no NaN or infinity (RFC 8259 section 4 and 6).

No value is of another kind than the document tells: `0` is no day of 1970, `true` no number, `"yes"` no truth. Of a
name that is told twice a reader would take one and another reader the other: what stands on an akta must not depend
on that.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

if TYPE_CHECKING:
    from typing import Any

M = TypeVar("M", bound=BaseModel)
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _written(value: object) -> object:
    if isinstance(value, str) and _WRITTEN.match(value):
        return value
    if isinstance(value, dt.date):
        return value
    raise ValueError("Input should be a text that begins with YYYY-MM-DD")


def number(value: object) -> object:
    """Return a number as it came. Raises ValueError for what is none, also where Python would take it for one."""
    if type(value) in (int, float):
        return value
    raise ValueError("Input should be a number")


def _truth(value: object) -> object:
    if isinstance(value, bool):
        return value
    raise ValueError("Input should be true or false")


Day = Annotated[dt.date, BeforeValidator(_written)]
Moment = Annotated[dt.datetime, BeforeValidator(_written)]
Whole = Annotated[int, BeforeValidator(number)]
Truth = Annotated[bool, BeforeValidator(_truth)]


class _AmbiguousError(Exception):
    """The text may be read in two ways; the sentence says why and repeats nothing of it."""


def validated(shape: type[M], raw: bytes) -> M:
    """Return the object that a JSON text describes. Raises ValidationError naming every place that is wrong."""
    try:
        json.loads(raw, object_pairs_hook=_distinct, parse_constant=_refused)
    except _AmbiguousError as error:
        told = PydanticCustomError("ambiguous_json", "%s" % error)  # noqa: UP031 - a constant sentence
        detail = InitErrorDetails(type=told, loc=(), input=None)
        raise ValidationError.from_exception_data(shape.__name__, [detail]) from None
    except (ValueError, RecursionError):
        pass  # no JSON, or nested too deep: the validation below says so in its own words
    return shape.model_validate_json(raw)


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _AmbiguousError("A key stands twice in one object")


def _refused(_constant: str) -> None:
    raise _AmbiguousError("NaN and Infinity are no JSON")

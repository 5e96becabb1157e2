"""The cases of domain F. A test says which it shows; `python -m tests.cases.table --write` makes docs/cases.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = range(1, 113)
_Test = TypeVar("_Test", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True)
class Case:
    """One case as its test shows it. `decision` says what we do instead, and why, where domain F is wrong or silent."""

    number: int
    decision: str = ""


def case(number: int, *, decision: str = "") -> Callable[[_Test], _Test]:
    """Mark a test `test_f009_…`; the first line of its docstring is the behaviour, as a newcomer would say it."""

    def mark(test: _Test) -> _Test:
        test.case = Case(number, decision)  # type: ignore[attr-defined]
        return test

    return mark

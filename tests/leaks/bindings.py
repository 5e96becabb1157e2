"""What the names of modules are bound to: a patch that was not undone, a module-level list that grew.

A cache of a pure function (`functools.cache`) is no state: it answers the same, only sooner. It is not looked into.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONTAINERS = (dict, list, set)
_MISSING = object()


class Bindings:
    """The modules, classes and module-level containers seen so far, and every state each was seen in.

    There are some 20,000 names and thousands of tests: what did not change is compared at C speed and not copied.
    """

    def __init__(self) -> None:
        self._states: dict[str, list[Any]] = {}
        self._inside: dict[str, list[tuple[str, Any]]] = {}  # of a module: its classes and containers
        self._now: dict[str, int] = {}

    def look(self, modules: Iterable[ModuleType]) -> dict[str, int]:
        """Return the number of the state of each owner that is not as it was seen first."""
        for module in modules:
            owner = module.__name__
            here = vars(module)
            if not self._is_as_it_was(owner, here):
                self._inside[owner] = [(name, live) for name, live in _inside(module)]
            for name, live in self._inside[owner]:
                self._is_as_it_was(name, live)
        return {owner: number for owner, number in self._now.items() if number}

    def _is_as_it_was(self, owner: str, live: Any) -> bool:
        states = self._states.setdefault(owner, [])
        if states and live == states[self._now[owner]]:
            return True
        for number, state in enumerate(states):
            if not _changed(state, live):
                self._now[owner] = number
                return False
        self._now[owner] = len(states)
        states.append(type(live)(live) if type(live) in _CONTAINERS else dict(live))
        return False

    def changed(self, owner: str, before: int | None, after: int | None) -> str:
        """Return what is another thing in one state of an owner than in another one."""
        states = self._states[owner]
        return ", ".join(_changed(states[before or 0], states[after or 0]))[:200]


def _inside(module: ModuleType) -> Iterable[tuple[str, Any]]:
    for name, value in list(vars(module).items()):
        if name.startswith("__"):
            continue
        if type(value) in _CONTAINERS:
            yield f"{module.__name__}.{name}", value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            yield f"{module.__name__}.{name}", vars(value)


def _changed(was: Any, now: Any) -> list[str]:
    """Return the names that are bound to something else. What an import or the language adds by itself is none."""
    if isinstance(was, list | set):
        return [] if was == now else [f"{len(was)} entries, now {len(now)}"]
    return sorted(str(name) for name in was.keys() | now.keys() if _is_another(str(name), was, now))


def _is_another(name: str, was: Any, now: Any) -> bool:
    before, after = was.get(name, _MISSING), now.get(name, _MISSING)
    if before is after or name.startswith(("__", "_abc_")):
        return False
    return not (before is _MISSING and isinstance(after, ModuleType))
